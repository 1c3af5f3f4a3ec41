"""Single stories of capture: other writers, counters, bases, `after`, what is refused at open."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import which
from typing import Any

import msgspec
import pytest
from replica_lab import LIBRARIES, SCHEMA, Device, captured, device, difference, dump, kinds

from holdfast.core.errors import (
    ConstraintFailed,
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseError,
    ReplicaError,
    SchemaError,
)
from holdfast.replica.changes.outbox import change_message, next_batch
from holdfast.replica.storage.database import (
    LocalDatabase,
    capture_digest,
    transaction,
    write_state,
)
from holdfast.replica.storage.making import is_free
from holdfast.schema import Column, ForeignKey, Schema, Table
from holdfast.sql.replica import PROGRAM_FORMAT
from holdfast.sqlite import driver

FOREIGN = """
PRAGMA foreign_keys = on;
BEGIN;
INSERT INTO item (id, sku, qty, slot) VALUES ('shell', 'k9', 7, 5);
UPDATE item SET qty = qty - 2 WHERE id = 'a';
COMMIT;
INSERT OR REPLACE INTO item (id, sku, slot, name) VALUES ('b', 'k9', 1, 'it''s');
DELETE FROM item WHERE id = 'c';
"""


@pytest.fixture(params=LIBRARIES)
def phone(request: pytest.FixtureRequest) -> Iterator[Device]:
    with device(request.param) as found:
        yield found


def tx(phone: Device, number: int | None) -> dict[str, Any]:
    ((id_, state, at, after, replaces, void),) = phone.rows(
        "SELECT id, state, at, after, replaces, void FROM holdfast_tx WHERE number = ?", number
    )
    return {
        "id": id_, "state": state, "at": at, "after": json.loads(str(after)), "replaces": replaces,
        "void": void,
    }  # fmt: skip


def bases(
    phone: Device, table: str, number: int | None
) -> dict[str, tuple[object, dict[str, int]]]:
    return {
        str(key): (base, json.loads(str(own)) if own else {})
        for key, base, own in phone.rows(
            f"SELECT key, base, bases FROM holdfast_change_{table} WHERE tx = ?", number
        )
    }


def known_to_server(phone: Device, table: str, key: str, rev: int) -> None:
    """As if news had told of the row."""
    with transaction(phone.db.sync):
        phone.db.sync.execute(
            "INSERT INTO holdfast_row (tbl, key, rev) VALUES (?, ?, ?) "
            "ON CONFLICT (tbl, key) DO UPDATE SET rev = excluded.rev",
            (table, key, rev),
        )


def quietly(phone: Device, *statements: str) -> None:
    """As if news had written the rows."""
    with transaction(phone.db.sync):
        write_state(phone.db.sync, applying=1)
        for sql in statements:
            phone.db.sync.execute(sql)
        write_state(phone.db.sync, applying=0)


def settle(phone: Device, number: int | None, state: str = "refused") -> None:
    with transaction(phone.db.sync):
        phone.db.sync.execute("UPDATE holdfast_tx SET state = ? WHERE number = ?", (state, number))


# --- other writers ------------------------------------------------------------------------------


def foreign_write(phone: Device, write: object) -> None:
    phone.run(
        "INSERT INTO item (id, qty, slot) VALUES ('a', 10, 0), ('b', 5, 1), ('c', 1, 2)",
        "INSERT INTO part (id, item_id) VALUES ('p', 'a')",
    )
    before = dump(phone.db.app)
    write(phone.path)  # type: ignore[operator]
    after = dump(phone.db.app)
    assert before != after
    expected = difference(before, after)
    number = phone.seal_now()
    assert number == 2
    assert kinds(captured(phone.db.app, number)) == kinds(expected)
    assert phone.seal_now() is None


def test_writes_of_the_sqlite3_shell_are_captured(phone: Device) -> None:
    shell = which("sqlite3")
    if shell is None:
        pytest.skip("there is no sqlite3 shell here (apt install sqlite3)")

    def write(path: Path) -> None:
        subprocess.run([shell, "-bail", str(path)], input=FOREIGN, text=True, check=True)

    foreign_write(phone, write)


def test_writes_of_another_process_are_captured(phone: Device) -> None:
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.executescript(sys.argv[2])"
    )

    def write(path: Path) -> None:
        subprocess.run([sys.executable, "-c", program, str(path), FOREIGN], check=True)

    foreign_write(phone, write)


def test_writes_of_an_orm_in_this_process_are_captured() -> None:
    with device("stdlib") as phone:

        def write(path: Path) -> None:
            with closing(sqlite3.connect(path)) as orm:
                orm.executescript(FOREIGN)

        foreign_write(phone, write)


def test_foreign_writes_are_grouped_by_connection_and_never_with_ours(phone: Device) -> None:
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.executescript(sys.argv[2])"
    )
    for number in (1, 2):
        sql = "; ".join(f"INSERT INTO tag VALUES ('x', '{number}{at}')" for at in "ab")
        subprocess.run([sys.executable, "-c", program, str(phone.path), sql], check=True)
    ours = phone.run("INSERT INTO tag VALUES ('x', 'ours')", "DELETE FROM tag WHERE word = '1a'")
    assert ours == 3
    assert set(captured(phone.db.app, 1)["tag"]) == {"x/1a", "x/1b"}
    assert set(captured(phone.db.app, 2)["tag"]) == {"x/2a", "x/2b"}
    assert set(captured(phone.db.app, 3)["tag"]) == {"x/1a", "x/ours"}


def test_a_foreign_write_that_is_rolled_back_leaves_nothing(phone: Device) -> None:
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "db.execute('BEGIN'); db.execute(\"INSERT INTO tag VALUES ('a', 'b')\"); db.close()"
    )
    subprocess.run([sys.executable, "-c", program, str(phone.path)], check=True)
    assert phone.seal_now() is None
    assert phone.rows("SELECT * FROM holdfast_change_tag") == []


# --- transactions -------------------------------------------------------------------------------


def test_a_rollback_leaves_nothing(phone: Device) -> None:
    phone.run("INSERT INTO item (id) VALUES ('a')")
    before = dump(phone.db.app)
    with pytest.raises(RuntimeError), phone.write() as db:  # noqa: PT012 - it fails at its end
        db.execute("DELETE FROM item")
        db.execute("INSERT INTO tag VALUES ('a', 'b')")
        raise RuntimeError
    assert dump(phone.db.app) == before
    assert phone.rows("SELECT count(*) FROM holdfast_tx") == [(1,)]
    assert phone.rows("SELECT open_tx FROM holdfast_state") == [(2,)]
    assert phone.seal_now() is None


def test_a_commit_that_fails_leaves_nothing(phone: Device) -> None:
    with pytest.raises(ConstraintFailed) as caught, phone.write() as db:
        db.execute("INSERT INTO part (id, item_id) VALUES ('p', 'nobody')")
    assert caught.value.kind == "foreign_key"
    assert not phone.db.app.in_transaction
    assert phone.rows("SELECT count(*) FROM holdfast_tx") == [(0,)]
    assert phone.seal_now() is None
    assert phone.run("INSERT INTO tag VALUES ('a', 'b')") == 1


def test_a_transaction_that_the_app_lost_is_an_error_and_tells_the_truth(phone: Device) -> None:
    """``OR ROLLBACK`` ends it behind the app's back: what followed was autocommitted."""
    phone.run("INSERT INTO tag VALUES ('a', 'b')")
    before = dump(phone.db.app)
    with pytest.raises(DatabaseError), phone.write() as db:  # noqa: PT012 - it fails at its end
        db.execute("INSERT INTO tag VALUES ('lost', 'lost')")
        with pytest.raises(ConstraintFailed):
            db.execute("INSERT OR ROLLBACK INTO tag VALUES ('a', 'b')")
        db.execute("INSERT INTO tag VALUES ('kept', 'kept')")
    expected = difference(before, dump(phone.db.app))
    phone.seal_now()
    found = [captured(phone.db.app, number) for number in (2, 3)]
    assert [kinds(net) for net in found if net] == [kinds(expected)]


def test_no_net_change_makes_no_transaction(phone: Device) -> None:
    phone.run("INSERT INTO item (id, qty) VALUES ('a', 1)")
    assert (
        phone.run(
            "UPDATE item SET qty = qty + 1, name = 'z'",
            "DELETE FROM item",
            "INSERT INTO item (id, qty) VALUES ('a', 1)",
            "INSERT INTO item (id, slot) VALUES ('gone', 1)",
            "DELETE FROM item WHERE id = 'gone'",
            "INSERT OR IGNORE INTO item (id) VALUES ('a')",
            "UPDATE item SET qty = qty",
        )
        is None
    )
    assert phone.rows("SELECT count(*) FROM holdfast_change_item") == [(1,)]


def test_ids_are_drawn_and_stamps_never_go_back(phone: Device) -> None:
    phone.run("INSERT INTO tag VALUES ('a', '1')")
    phone.now_us -= 10_000_000
    phone.run("INSERT INTO tag VALUES ('a', '2')")
    first, second = tx(phone, 1), tx(phone, 2)
    assert first["id"] != second["id"]
    assert int(str(second["at"])) > int(str(first["at"]))


def test_a_full_disk_fails_the_write_whole(phone: Device) -> None:
    phone.run("INSERT INTO item (id) VALUES ('a')")
    before = dump(phone.db.app)
    ((pages,),) = phone.rows("PRAGMA page_count")
    phone.rows(f"PRAGMA max_page_count = {pages!s}")
    with pytest.raises(DatabaseError) as caught, phone.write() as db:
        db.execute("UPDATE item SET raw = zeroblob(300000)")
    assert caught.value.code == "database_full"
    assert dump(phone.db.app) == before
    phone.rows("PRAGMA max_page_count = 1000000")
    assert phone.seal_now() is None
    assert phone.run("UPDATE item SET raw = zeroblob(300000)") == 2


# --- what a change says -------------------------------------------------------------------------


def message(phone: Device, table: str, number: int | None, key: str) -> dict[str, Any]:
    statements = phone.db.program.tables[table]
    (row,) = [r for r in phone.db.app.execute(statements.changes, (number, number)) if r[1] == key]
    made: dict[str, Any] = msgspec.to_builtins(change_message(phone.schema.by_name[table], row))
    return made


@pytest.mark.parametrize(
    ("write", "new"),
    [
        ("UPDATE item SET qty = qty - 1", "-1"),
        ("UPDATE item SET qty = 9", "-1"),
        ("INSERT OR REPLACE INTO item (id, qty) VALUES ('a', 12)", "2"),
        ("INSERT INTO item (id, qty) VALUES ('a', 5) ON CONFLICT DO UPDATE SET qty = qty + 5", "5"),
    ],
)
def test_a_counter_is_captured_as_a_difference(phone: Device, write: Any, new: Any) -> None:
    phone.run("INSERT INTO item (id, qty) VALUES ('a', 10)")
    change = message(phone, "item", phone.run(write), "a")
    assert (change["op"], change["new"]) == ("update", {"qty": new})
    assert "old" not in change
    first = message(phone, "item", 1, "a")
    assert first["op"] == "insert"
    assert first["new"]["qty"] == "10"


def test_a_counter_that_leaps_too_far_is_void_and_stops_nothing(phone: Device) -> None:
    phone.run(f"INSERT INTO item (id, qty) VALUES ('a', {-(2**63)})")
    phone.run(f"UPDATE item SET qty = {2**63 - 1}")
    phone.run("INSERT INTO tag VALUES ('a', 'b')")
    with transaction(phone.db.sync):
        batch = next_batch(phone.db.sync, phone.schema, phone.db.program)
    assert [(sent.number, sent.void, len(sent.changes)) for sent in batch] == [
        (1, "", 1), (2, "bad_value", 0), (3, "", 1),
    ]  # fmt: skip


def test_a_change_names_what_it_touched(phone: Device) -> None:
    phone.run("INSERT INTO item (id, sku, qty) VALUES ('a', 'k', 1)")
    settle(phone, 1, "acked")
    number = phone.run(
        "UPDATE item SET name = 'it''s', sku = NULL, ratio = 2, raw = x'ff', qty = 3"
    )
    assert message(phone, "item", number, "a") == {
        "table": "item",
        "key": ["a"],
        "op": "update",
        "new": {"name": "it's", "sku": None, "ratio": 2.0, "raw": "/w==", "qty": "2"},
        "old": {"name": "new", "sku": "k", "ratio": None, "raw": None},
    }


def test_a_delete_says_what_was_there(phone: Device) -> None:
    phone.run("INSERT INTO pair (a, b, note) VALUES ('x/y', -5, 'n')")
    settle(phone, 1, "acked")
    assert message(phone, "pair", phone.run("DELETE FROM pair"), "x%2Fy/-5") == {
        "table": "pair", "key": ["x/y", "-5"], "op": "delete", "old": {"note": "n"},
    }  # fmt: skip


@pytest.mark.parametrize(
    "write",
    [
        "UPDATE item SET id = 'b'",
        "UPDATE OR REPLACE item SET id = 'b'",
        "UPDATE OR IGNORE item SET id = 'b'",
        "UPDATE pair SET b = b + 1",
        "UPDATE tag SET word = 'other'",
        "UPDATE num SET id = 9",
        "UPDATE num SET rowid = 9",
        "UPDATE num SET _rowid_ = 9, v = 'x'",
        "UPDATE OR REPLACE num SET oid = 2",
        "INSERT INTO item (id) VALUES ('a') ON CONFLICT (id) DO UPDATE SET id = 'b'",
    ],
)
def test_keys_never_change(phone: Device, write: Any) -> None:
    phone.run(
        "INSERT INTO item (id) VALUES ('a')",
        "INSERT INTO pair (a, b) VALUES ('a', 1)",
        "INSERT INTO tag VALUES ('a', 'b')",
        "INSERT INTO num (id, code) VALUES (1, 'p'), (2, 'q')",
    )
    before = dump(phone.db.app)
    with pytest.raises(ConstraintFailed) as caught, phone.write() as db:
        db.execute(write)
    assert caught.value.kind == "trigger"
    assert "never changes" in caught.value.message
    assert dump(phone.db.app) == before


@pytest.mark.parametrize("hidden", ["item", "num"])
def test_a_default_that_replaces_null_is_seen(phone: Device, hidden: Any) -> None:
    """``OR REPLACE`` puts the default in place of a NULL, and then it may meet another row."""
    if hidden == "item":
        phone.run("INSERT INTO item (id, slot) VALUES ('a', 0), ('b', 1)")
        number = phone.run("UPDATE OR REPLACE item SET slot = NULL WHERE id = 'b'")
        assert captured(phone.db.app, number)["item"]["a"][:2] == (True, False)
    else:
        phone.run("INSERT INTO num (id, code) VALUES (1, 'd')")
        number = phone.run("INSERT OR REPLACE INTO num (id, code) VALUES (2, NULL)")
        assert captured(phone.db.app, number)["num"]["1"][:2] == (True, False)


# --- bases and after ----------------------------------------------------------------------------


def test_bases_are_the_revisions_that_were_seen(phone: Device) -> None:
    quietly(phone, "INSERT INTO item (id, qty) VALUES ('a', 1)")
    known_to_server(phone, "item", "a", 7)
    first = phone.run("UPDATE item SET name = 'x'", "INSERT INTO item (id, slot) VALUES ('new', 1)")
    assert bases(phone, "item", first) == {"a": (7, {}), "new": (0, {})}
    known_to_server(phone, "item", "a", 9)
    second = phone.run("UPDATE item SET name = 'y', qty = 5")
    assert bases(phone, "item", second)["a"] == (9, {"name": 7})
    known_to_server(phone, "item", "a", 12)
    third = phone.run("UPDATE item SET name = 'z', qty = 6, sku = 's' WHERE id = 'a'")
    assert bases(phone, "item", third)["a"] == (12, {"name": 7, "qty": 9})
    settle(phone, first, "refused")
    settle(phone, second, "acked")
    settle(phone, third, "acked")
    fourth = phone.run("UPDATE item SET name = 'w' WHERE id = 'a'")
    assert bases(phone, "item", fourth)["a"] == (12, {})


def test_a_row_that_was_deleted_here_is_inserted_on_what_was_seen(phone: Device) -> None:
    quietly(phone, "INSERT INTO pair (a, b, note) VALUES ('a', 1, 'n')")
    known_to_server(phone, "pair", "a/1", 7)
    deleted = phone.run("DELETE FROM pair")
    known_to_server(phone, "pair", "a/1", 8)
    inserted = phone.run("INSERT INTO pair (a, b, note) VALUES ('a', 1, 'n')")
    assert bases(phone, "pair", deleted)["a/1"] == (7, {})
    assert bases(phone, "pair", inserted)["a/1"] == (8, {"note": 7})
    replaced = phone.run("INSERT OR REPLACE INTO pair (a, b, note) VALUES ('a', 1, 'm')")
    assert bases(phone, "pair", replaced)["a/1"] == (8, {"note": 7})


def test_after_names_what_a_transaction_builds_on(phone: Device) -> None:
    one = phone.run("INSERT INTO item (id, sku, slot) VALUES ('a', 'k1', 1)")
    two = phone.run("INSERT INTO item (id, sku, slot) VALUES ('b', 'k2', 2)")
    unrelated = phone.run("INSERT INTO tag VALUES ('a', 'b')")
    same_row = phone.run("UPDATE item SET qty = 1 WHERE id = 'a'")
    parent = phone.run("INSERT INTO part (id, item_id) VALUES ('p', 'b')")
    freed = phone.run("UPDATE item SET sku = 'k3' WHERE id = 'b'")
    takes = phone.run("INSERT INTO item (id, sku, slot) VALUES ('c', 'k2', 3)")
    both = phone.run("UPDATE part SET item_id = 'a'")
    removed = phone.run("DELETE FROM tag")
    again = phone.run("INSERT INTO tag VALUES ('a', 'b')")
    assert [tx(phone, n)["after"] for n in (one, two, unrelated)] == [[], [], []]
    assert tx(phone, same_row)["after"] == [one]
    assert tx(phone, parent)["after"] == [two]
    assert tx(phone, freed)["after"] == [two]
    assert freed in tx(phone, takes)["after"]
    assert tx(phone, both)["after"] == [one, parent]
    assert tx(phone, removed)["after"] == [unrelated]
    assert removed in tx(phone, again)["after"]


def test_after_names_the_last_change_of_a_column_alone(phone: Device) -> None:
    """Each names the one before it, so the chain is whole and its cost does not grow."""
    phone.run("INSERT INTO num (id, code) VALUES (1, 'a')")
    numbers = [phone.run(f"UPDATE num SET v = '{n}'") for n in range(5)]
    assert [tx(phone, n)["after"] for n in numbers] == [
        [1],
        *([1, int(str(n)) - 1] for n in numbers[1:]),
    ]


def test_after_forgets_what_is_settled(phone: Device) -> None:
    one = phone.run("INSERT INTO item (id) VALUES ('a')")
    settle(phone, one, "acked")
    assert tx(phone, phone.run("INSERT INTO part (id, item_id) VALUES ('p', 'a')"))["after"] == []
    settle(phone, one, "refused")
    assert tx(phone, phone.run("UPDATE item SET qty = 1"))["after"] == []


KINDS = {
    "text": ("'x/y%'", "'x/y%'"),
    "integer": ("-5", "7"),
    "bytes": ("x'00AF'", "x'ff'"),
    "uuid": ("'0190163d-8694-739b-aea5-966c26f8ad91'",) * 2,
    "timestamp": ("12", "13"),
    "date": ("'2024-02-29'", "'2024-03-01'"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape", ["column", "only key", "part of key", "composite", "composite in key"]
)
def test_after_finds_parents_of_every_kind_of_key(kind: Any, shape: str) -> None:
    composite = shape.startswith("composite")
    parent = Table(
        "parent", ("a", "b") if composite else ("b",),
        (*((Column("a"),) if composite else ()), Column("b", kind)), ("all",),
    )  # fmt: skip
    columns = (Column("id"), *((Column("pa"),) if composite else ()), Column("p", kind))
    names = ("pa", "p") if composite else ("p",)
    key = {
        "column": ("id",), "only key": ("p",), "part of key": ("id", "p"), "composite": ("id",),
        "composite in key": ("p", "id", "pa"),
    }[shape]  # fmt: skip
    child = Table("child", key, columns, ("all",), foreign_keys=(ForeignKey(names, "parent"),))
    value = KINDS[kind][0]
    a, pa = (("'%/a', "), ("'%/a', ")) if composite else ("", "")
    with device("apsw", Schema("s", (parent, child))) as phone:
        other = phone.run(
            "INSERT INTO parent SELECT " + ("'%25', " if composite else "") + KINDS[kind][1]
        )
        made = phone.run(f"INSERT OR REPLACE INTO parent SELECT {a}{value}")
        made = other if made is None else made
        number = phone.run(f"INSERT INTO child SELECT 'c/1%', {pa}{value}")
        assert tx(phone, number)["after"] == [made]


# --- what is refused at open --------------------------------------------------------------------


def reopen(phone: Device, schema: Schema | None = None) -> None:
    phone.close()
    try:
        Device(phone.path, library=phone.library, schema=schema).close()
    finally:
        phone.db = Device(phone.path.with_name("other.db"), library=phone.library).db


def tamper(phone: Device, *statements: str) -> None:
    for sql in statements:
        phone.db.app.execute(sql)


def test_it_opens_again_with_and_without_its_schema(phone: Device) -> None:
    phone.run("INSERT INTO item (id) VALUES ('a')")
    phone.close()
    for schema in (None, SCHEMA):
        again = Device(phone.path, library=phone.library, schema=schema)
        assert again.schema == SCHEMA
        assert set(dump(again.db.app)["item"]) == {"a"}
        again.close()
    phone.db = Device(phone.path, library=phone.library).db


@pytest.mark.parametrize("name", ["after_insert", "after_update", "after_delete", "before_insert_1",
                                  "before_update_2", "key"])  # fmt: skip
def test_a_missing_trigger_is_refused(phone: Device, name: str) -> None:
    tamper(phone, f"DROP TRIGGER holdfast_item_{name}")
    with pytest.raises(SchemaError) as caught:
        reopen(phone)
    assert caught.value.code == "capture_broken"
    assert f"holdfast_item_{name}" in caught.value.message


def test_a_changed_trigger_is_refused(phone: Device) -> None:
    ((sql,),) = phone.rows("SELECT sql FROM sqlite_schema WHERE name = 'holdfast_tag_after_insert'")
    tamper(
        phone, "DROP TRIGGER holdfast_tag_after_insert", str(sql).replace("'tag', 0", "'tag', 1")
    )
    with pytest.raises(SchemaError) as caught:
        reopen(phone)
    assert caught.value.code == "capture_broken"


def test_triggers_of_another_engine_are_made_anew(phone: Device) -> None:
    """What another version made and nobody has touched since is no damage."""
    ((sql,),) = phone.rows("SELECT sql FROM sqlite_schema WHERE name = 'holdfast_tag_after_insert'")
    older = str(sql).replace("BEGIN", "BEGIN /* older */")
    assert older != sql
    tamper(phone, "DROP TRIGGER holdfast_tag_after_insert", older)
    triggers = {
        str(name): str(text)
        for name, text in phone.rows(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND name GLOB 'holdfast_*'"
        )
    }
    tamper(phone, f"UPDATE holdfast_state SET capture = '{capture_digest(triggers)}'")
    phone.close()
    again = Device(phone.path, library=phone.library)
    phone.db = again.db
    found = again.rows("SELECT sql FROM sqlite_schema WHERE name = 'holdfast_tag_after_insert'")
    assert found == [(sql,)]


def test_a_table_made_anew_without_its_triggers_is_refused(phone: Device) -> None:
    tamper(phone, "DROP TABLE tag", "CREATE TABLE tag (item TEXT, word TEXT)")
    with pytest.raises(SchemaError):
        reopen(phone)


@pytest.mark.parametrize(
    "body",
    [
        "INSERT INTO tag VALUES (NEW.id, 'x');",
        "INSERT OR REPLACE INTO \"tag\" VALUES (NEW.id, 'x');",
        "REPLACE INTO [tag] VALUES (NEW.id, 'x');",
        "UPDATE item SET qty = qty + 1 WHERE id = NEW.id;",
        "UPDATE OR IGNORE `item` SET qty = 1;",
        "DELETE FROM PAIR;",
        "INSERT/* */INTO tag VALUES (NEW.id, 'x');",
        "DELETE\n--comment\nFROM tag;",
        "INSERT INTO holdfast_conflict (id) VALUES (NEW.id);",
    ],
)
def test_an_apps_trigger_that_writes_a_synced_table_is_refused(phone: Device, body: Any) -> None:
    tamper(phone, f"CREATE TRIGGER app AFTER INSERT ON item BEGIN {body} END")
    with pytest.raises(SchemaError) as caught:
        reopen(phone)
    assert caught.value.code == "trigger_writes_synced"


@pytest.mark.parametrize(
    "sql",
    [
        (
            "AFTER INSERT ON item WHEN (SELECT applying FROM holdfast_state) = 0 BEGIN "
            "INSERT INTO tag VALUES (NEW.id, 'x'); END"
        ),
        "AFTER UPDATE OF name ON item BEGIN INSERT INTO log VALUES (NEW.name, 1); END",
        "AFTER DELETE ON item BEGIN DELETE FROM log WHERE tbl = OLD.id; END",
        "INSERT ON item BEGIN INSERT INTO log SELECT word, 1 FROM tag; END",
    ],
)
def test_an_apps_trigger_that_maintains_its_own_tables_is_fine(phone: Device, sql: Any) -> None:
    tamper(phone, f"CREATE TRIGGER app {sql}")
    reopen(phone)


def test_another_schema_is_refused_and_nothing_is_changed(phone: Device) -> None:
    other = msgspec.structs.replace(SCHEMA, generation=2)
    before = phone.rows("SELECT * FROM sqlite_schema")
    with pytest.raises(SchemaError) as caught:
        reopen(phone, other)
    assert caught.value.code == "schema_mismatch"
    with closing(sqlite3.connect(phone.path)) as raw:
        assert raw.execute("SELECT * FROM sqlite_schema").fetchall() == before


def test_local_sql_of_another_version_does_not_matter(phone: Device) -> None:
    reopen(phone, msgspec.structs.replace(SCHEMA, local=()))


def test_news_are_not_applied_past_the_log(phone: Device) -> None:
    """What came after a touch is told by what the tables hold: nobody may change that unnoticed."""
    phone.db.app.execute("INSERT INTO num (id) VALUES (77)")
    with pytest.raises(DatabaseError), transaction(phone.db.sync):
        write_state(phone.db.sync, applying=1)
    phone.seal_now()
    with transaction(phone.db.sync):
        write_state(phone.db.sync, applying=1)
        write_state(phone.db.sync, applying=0)


@pytest.mark.parametrize("other", [1, PROGRAM_FORMAT - 1, PROGRAM_FORMAT + 1, 999])
def test_another_format_is_refused(phone: Device, other: Any) -> None:
    tamper(phone, f"UPDATE holdfast_state SET format = {other}")
    with pytest.raises(ReplicaError) as caught:
        reopen(phone)
    assert caught.value.code == "replica_format"


def test_an_unreadable_schema_is_refused(phone: Device) -> None:
    tamper(phone, "UPDATE holdfast_state SET schema = '{}'")
    with pytest.raises((SchemaError, DatabaseCorrupt)):
        reopen(phone)


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_no_replica_is_refused(library: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    with pytest.raises(ReplicaError) as caught:
        Device(path, library=library, schema=None)
    assert caught.value.code == "no_replica"
    assert not path.exists()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE item (a)")
    with pytest.raises(ReplicaError) as caught:
        Device(path, library=library, schema=None)
    assert caught.value.code == "no_replica"
    with pytest.raises(ReplicaError) as caught:
        Device(path, library=library)
    assert caught.value.code == "not_empty"


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("mine", ["TABLE note (a)", "VIEW looks AS SELECT 1", "TABLE item (a)"])
def test_a_database_of_something_else_stays_as_it_is(
    library: Any, mine: Any, tmp_path: Path
) -> None:
    """Whatever it has in it, and by whichever way it is offered: no byte of it is touched."""
    path = tmp_path / "r.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"CREATE {mine}")
    before = path.read_bytes()
    with pytest.raises(ReplicaError, match="a file of its own") as caught:
        Device(path, library=library)
    assert caught.value.code == "not_empty"
    assert not is_free(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["r.db"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_no_database_is_refused(library: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    path.write_bytes(b"not a database at all, only a long text " * 200)
    with pytest.raises(DatabaseCorrupt):
        Device(path, library=library)
    assert path.read_bytes().startswith(b"not a database")


def test_local_sql_that_does_not_run_leaves_no_half_made_replica(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    broken = msgspec.structs.replace(SCHEMA, local=("CREATE TABLE fine (a)", "CREATE NONSENSE"))
    with pytest.raises(DatabaseError):
        Device(path, schema=broken)
    Device(path, schema=SCHEMA).close()


def test_opening_while_another_process_writes_says_busy(phone: Device) -> None:
    with transaction(phone.db.app), pytest.raises(DatabaseBusy):
        LocalDatabase.open(
            str(phone.path),
            driver=driver(phone.library),
            schema=None,
            synchronous="OFF",
            busy_timeout_ms=50,
        )


# --- values that cannot travel ------------------------------------------------------------------


def test_text_that_is_not_utf8_stops_only_its_own_transaction(phone: Device) -> None:
    phone.run("INSERT INTO item (id, name, slot) VALUES ('good', 'x', 1)")
    phone.run("INSERT INTO item (id, name, slot) VALUES ('bad', CAST(x'ff41' AS TEXT), 2)")
    phone.run("UPDATE item SET qty = 1 WHERE id = 'bad'")
    phone.run("UPDATE item SET name = CAST(x'c3' AS TEXT), qty = 2 WHERE id = 'bad'")
    phone.run("INSERT OR REPLACE INTO item (id, slot) VALUES ('bad', 2)")
    phone.run("INSERT INTO tag VALUES ('a', 'b')")
    with transaction(phone.db.sync):
        batch = next_batch(phone.db.sync, phone.schema, phone.db.program)
    assert [(sent.number, sent.void) for sent in batch] == [
        (1, ""), (2, "bad_value"), (3, ""), (4, "bad_value"), (5, ""), (6, ""),
    ]  # fmt: skip
