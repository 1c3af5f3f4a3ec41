"""The inbox works offline: conflicts are settled, refusals retried or given up, nothing is lost."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from replica_lab import LIBRARIES, SCHEMA, START_US, dump

from holdfast.core.errors import BadValue, ConstraintFailed, UsageError
from holdfast.core.values import to_wire
from holdfast.protocol.messages import Checkpoint, Head, Line, Outcome, Position, Rows, ScopeGrant
from holdfast.replica.changes.outbox import change_message, next_batch
from holdfast.replica.changes.seal import seal
from holdfast.replica.host import Host
from holdfast.replica.inbox.freeing import Freed
from holdfast.replica.rebase.apply import Applier
from holdfast.replica.replica import Replica
from holdfast.replica.storage.database import LocalDatabase, transaction, write_state
from holdfast.sqlite import driver
from holdfast.sqlite.driver import OpenOptions

KEY = "00" * 32


class Shop:
    """A replica without a network, and a server that says what a test wants."""

    def __init__(self, path: Path, library: Literal["apsw", "stdlib"]) -> None:
        numbers = itertools.count(1)
        self.host = Host(
            now_us=lambda: START_US, random_bytes=lambda count: next(numbers).to_bytes(count, "big")
        )
        self.replica = Replica.open(
            path, SCHEMA, driver_name=library, synchronous="OFF", host=self.host
        )
        self.revs = itertools.count(1)

    @property
    def db(self) -> LocalDatabase:
        return self.replica._database

    def write(self, *statements: str) -> None:
        with self.replica.transaction() as db:
            for sql in statements:
                db.execute(sql)

    def seal(self) -> None:
        """As an exchange does before anything else."""
        with transaction(self.db.sync):
            seal(
                self.db.sync, SCHEMA, self.db.program, now_us=START_US,
                random_bytes=self.host.random_bytes,
            )  # fmt: skip

    def answer(self, fates: dict[int, tuple[str, str, int]], **rows: list[dict[str, Any]]) -> None:
        """Outcomes (state, code, held by) by number; rows by table, what is left out is default."""
        self.seal()
        with transaction(self.db.sync):
            sent = {tx.number: tx.id for tx in next_batch(self.db.sync, SCHEMA, self.db.program)}
            outcomes = [
                Outcome(number, sent[number], state, code, f"because of {code}", "slot", by)  # type: ignore[arg-type]
                for number, (state, code, by) in fates.items()
            ]
            lines: list[Line] = [
                Rows(name, [self.row(name, row) for row in rows[name]]) for name in rows
            ]
            head = Head(
                1,
                "e",
                "d1",
                "u1",
                "echo",
                0,
                SCHEMA.fingerprint,
                {"all": ScopeGrant(KEY)},
                outcomes,
            )
            write_state(self.db.sync, device="d1", user="ann")
            Applier(
                self.db.sync,
                SCHEMA,
                self.db.program,
                now_us=START_US,
                random_bytes=self.host.random_bytes,
            ).apply(head, lines, Checkpoint({"all": Position(1, 0, "0" * 32, "s")}, 0))

    def row(self, name: str, given: dict[str, Any]) -> list[Any]:
        table = SCHEMA.by_name[name]
        values = [given.get(column.name, column.default_value()) for column in table.columns]
        return [
            next(self.revs),
            *(to_wire(c.type, value) for c, value in zip(table.columns, values, strict=True)),
        ]

    def tables(self) -> dict[str, Any]:
        return dump(self.db.app)

    def numbers(self) -> dict[int, str]:
        self.seal()
        return dict(self.replica.query("SELECT number, state FROM holdfast_tx ORDER BY number"))  # type: ignore[arg-type]

    def sent(self, number: int) -> list[Any]:
        self.seal()
        return [
            change_message(table, row)
            for table in SCHEMA.all_tables
            for row in self.replica.query(
                self.db.program.tables[table.name].changes, (number, number)
            )
        ]


@pytest.fixture(params=LIBRARIES)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path / "r.db", request.param)
    yield found
    found.replica.close()


CONFLICT = {
    "id": "0190163d-8694-739b-aea5-966c26f8ad91",
    "scopes": '["all"]',
    "table_name": "item",
    "row_key": "a",
    "column_name": "name",
    "base": '"old"',
    "mine": '"ours"',
    "theirs": '"theirs"',
    "user": "ann",
    "device": "d1",
    "at": 5,
    "their_user": "bob",
    "their_device": "d2",
    "their_at": 6,
}


def conflicted(shop: Shop, **changes: Any) -> str:
    shop.answer(
        {}, item=[{"id": "a", "name": "theirs", "qty": 3}], holdfast_conflict=[CONFLICT | changes]
    )
    return str(CONFLICT["id"])


def refused(shop: Shop) -> None:
    """1 is refused, 2 and 3 are held with it (3 through 2), 4 stands alone and is refused too."""
    shop.answer({}, item=[{"id": "a", "qty": 10}, {"id": "b", "slot": 1, "qty": 20}])
    shop.write(
        "UPDATE item SET qty = qty - 1, name = 'mine' WHERE id = 'a'",
        "INSERT INTO tag VALUES ('a', 't')",
    )
    shop.write(
        "UPDATE item SET qty = qty - 2, name = 'mine too' WHERE id = 'a'",
        "UPDATE item SET name = 'n' WHERE id = 'b'",
    )
    shop.write("UPDATE item SET qty = qty - 4, name = 'm' WHERE id = 'b'")
    shop.write("INSERT INTO num (id, code) VALUES (1, 'p')")
    assert shop.tables()["item"]["a"][4] == 7
    shop.answer(
        {
            1: ("refused", "rule", 0),
            2: ("held", "held", 1),
            3: ("held", "held", 2),
            4: ("refused", "unique", 0),
        }
    )


# --- conflicts ----------------------------------------------------------------------------------


def test_a_conflict_is_shown_with_both_sides(shop: Shop) -> None:
    item = conflicted(shop)
    (found,) = shop.replica.conflicts()
    assert (found.id, found.table, found.key, found.column) == (item, "item", "a", "name")
    assert (found.base, found.mine, found.theirs) == ("old", "ours", "theirs")
    assert (found.user, found.device, found.at) == ("ann", "d1", 5)
    assert (found.their_user, found.their_device, found.their_at) == ("bob", "d2", 6)
    assert shop.replica.status.conflicts == 1
    assert shop.replica.row_status("item", "a") == "conflict"
    assert shop.replica.query("SELECT kind, id, tbl, key, field FROM holdfast_inbox") == [
        ("conflict", item, "item", "a", "name")
    ]


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"keep": "device"}, "ours"),
        ({"keep": "server"}, "theirs"),
        ({"keep": "yours"}, "ours"),
        ({"keep": "other"}, "theirs"),
        ({"keep": "mine"}, "ours"),
        ({"keep": "theirs"}, "theirs"),
        ({"value": "both"}, "both"),
        ({"value": ""}, ""),
    ],
)
def test_settling_writes_the_value_and_closes_the_conflict_in_one_transaction(
    shop: Shop, choice: Any, name: Any
) -> None:
    shop.replica.resolve(conflicted(shop), **choice)
    assert shop.replica.query("SELECT name FROM item") == [(name,)]
    assert shop.replica.conflicts() == []
    assert shop.replica.query(
        "SELECT state, chosen, settled_by, settled_at FROM holdfast_conflict"
    ) == [("settled", json.dumps(name), "ann", START_US)]
    assert shop.numbers() == {1: "pending"}
    tables = {change.table for change in shop.sent(1)}
    assert tables == ({"holdfast_conflict"} if name == "theirs" else {"item", "holdfast_conflict"})
    assert shop.replica.row_status("item", "a") == ("synced" if name == "theirs" else "pending")


@pytest.mark.parametrize(
    ("column", "wire", "stored"),
    [
        ("slot", '"9223372036854775807"', 2**63 - 1),
        ("qty", '"-5"', -5),
        ("price", '"1.50"', "1.50"),
        ("ratio", "0.5", 0.5),
        ("ratio", "null", None),
        ("raw", '"AP8="', b"\x00\xff"),
        ("facts", '"{\\"a\\": 1}"', '{"a": 1}'),
    ],
)
def test_every_type_of_value_is_settled_exactly(
    shop: Shop, column: Any, wire: Any, stored: Any
) -> None:
    shop.replica.resolve(conflicted(shop, column_name=column, base="null", mine=wire), keep="mine")
    assert shop.replica.query(f"SELECT {column} FROM item") == [(stored,)]


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        ("slot", "7", 7),
        ("slot", 7, 7),
        ("price", "1.5", "1.50"),
        ("ratio", "2.5", 2.5),
        ("raw", "00ff", b"\x00\xff"),
        ("raw", b"x", b"x"),
        ("facts", "[1]", "[1]"),
        ("name", "7", "7"),
        ("sku", None, None),
    ],
)
def test_a_person_may_type_another_value(shop: Shop, column: Any, value: Any, stored: Any) -> None:
    item = conflicted(shop, column_name=column, base="null", mine="null", theirs="null")
    shop.replica.resolve(item, value=value)
    assert shop.replica.query(f"SELECT {column} FROM item") == [(stored,)]


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("slot", "seven", BadValue),
        ("slot", 2**63, BadValue),
        ("price", "1.555", BadValue),
        ("ratio", "nan", BadValue),
        ("raw", "0g", BadValue),
        ("facts", "{", BadValue),
        ("name", 5, BadValue),
        ("name", "a\0", BadValue),
        ("name", None, ConstraintFailed),
    ],
)
def test_a_value_that_does_not_fit_settles_nothing(
    shop: Shop, column: Any, value: Any, error: Any
) -> None:
    item = conflicted(shop, column_name=column, base="null", mine="null", theirs="null")
    before = shop.tables()
    with pytest.raises(error):
        shop.replica.resolve(item, value=value)
    assert shop.tables() == before
    assert len(shop.replica.conflicts()) == 1
    assert shop.numbers() == {}


@pytest.mark.parametrize(
    ("changes", "yours"),
    [
        ({}, "device"),
        ({"device": "d2", "user": "bob", "their_device": "d1", "their_user": "ann"}, "server"),
        ({"device": "d3"}, "device"),  # ann's, on another device of hers
        ({"device": "d3", "their_device": "d4", "their_user": "ann"}, None),  # both ann's
        ({"device": "d3", "user": "cleo"}, None),  # two others
        ({"device": "d3", "their_device": "d1", "their_user": "bob"}, "server"),  # device first
    ],
)
@pytest.mark.parametrize("kind", ["edit", "delete"])
def test_yours_is_what_belongs_to_who_asks_or_nobody_guesses(
    shop: Shop, kind: Any, changes: Any, yours: Any
) -> None:
    if kind == "delete":
        changes |= {"kind": "delete", "column_name": "", "mine": '{"name":"ours"}', "theirs": None}
    item = conflicted(shop, **changes)
    (found,) = shop.replica.conflicts()
    assert found.yours == yours
    assert (found.device_value, found.server_value) == (found.mine, found.theirs)
    if yours is None:
        before = shop.tables()
        for keep in ("yours", "other"):
            with pytest.raises(UsageError, match=r"ann.*on d3|cleo.*on d3") as caught:
                shop.replica.resolve(item, keep=keep)
            assert caught.value.code == "unclear_side"
            assert "Keep device or server" in caught.value.message
        assert (shop.tables(), len(shop.replica.conflicts())) == (before, 1)
        return
    shop.replica.resolve(item, keep="yours")
    ((chosen,),) = shop.replica.query("SELECT chosen FROM holdfast_conflict")
    kept = found.device_value if yours == "device" else found.server_value
    assert (None if chosen is None else json.loads(str(chosen))) == kept


def test_a_word_that_is_no_side_settles_nothing(shop: Shop) -> None:
    item = conflicted(shop)
    words: tuple[Any, ...] = ("Mine", "", "ours")
    for wrong in words:
        with pytest.raises(UsageError) as caught:
            shop.replica.resolve(item, keep=wrong)
        assert caught.value.code == "bad_choice"
    assert len(shop.replica.conflicts()) == 1


def test_a_conflict_that_makes_no_sense_does_not_hide_the_others(shop: Shop) -> None:
    conflicted(shop, column_name="qty", base='"many"', table_name="item")
    assert [item.base for item in shop.replica.conflicts()] == ["many"]


def test_a_deleted_row_is_kept_or_not(shop: Shop) -> None:
    item = conflicted(shop, kind="delete", column_name="", mine='{"name": "x"}', theirs="null")
    with pytest.raises(UsageError) as caught:
        shop.replica.resolve(item, value="x")
    assert caught.value.code == "bad_choice"
    shop.replica.resolve(item, keep="device")
    assert shop.replica.query("SELECT state, chosen FROM holdfast_conflict") == [
        ("settled", '{"name": "x"}')
    ]


def test_a_conflict_is_settled_once(shop: Shop) -> None:
    item = conflicted(shop)
    shop.replica.resolve(item, keep="mine")
    for unknown in (item, "", "nope"):
        with pytest.raises(UsageError) as caught:
            shop.replica.resolve(unknown, keep="mine")
        assert caught.value.code == "no_conflict"


# --- refusals -----------------------------------------------------------------------------------


def test_refused_work_leaves_the_tables_and_stays_in_the_inbox(shop: Shop) -> None:
    refused(shop)
    tables = shop.tables()
    assert [tables["item"][key][4] for key in "ab"] == [10, 20]
    assert tables["tag"] == tables["num"] == {}
    found = shop.replica.refused()
    assert [(r.number, r.state, r.code, r.held_by) for r in found] == [
        (1, "refused", "rule", 0),
        (2, "held", "held", 1),
        (3, "held", "held", 2),
        (4, "refused", "unique", 0),
    ]
    assert found[0].message == "because of rule"
    assert found[0].field == "slot"
    assert found[0].changes == (
        {
            "table": "item",
            "key": "a",
            "op": "update",
            "current": {"name": "new", "qty": 10},
            "new": {"name": "mine", "qty": -1},
            "old": {"name": "new"},
        },
        {"table": "tag", "key": "a/t", "op": "insert", "current": {}, "new": {}, "old": {}},
    )
    first = found[0]
    assert (first.table, first.key, first.column) == ("item", "a", "name")
    assert (first.base, first.mine, first.theirs) == ("new", "mine", "new")
    status = shop.replica.status
    assert (status.pending, status.sent, status.refused, status.held) == (0, 0, 2, 2)
    assert shop.replica.row_status("item", "a") == "refused"
    assert shop.replica.row_status("item", "b") == "held"
    assert shop.replica.row_status("tag", "a/t") == "refused"
    assert {row[0] for row in shop.replica.query("SELECT id FROM holdfast_inbox")} == {
        "1",
        "2",
        "3",
        "4",
    }


def test_the_order_of_changes_in_an_answer_does_not_matter(shop: Shop) -> None:
    refused(shop)
    assert shop.replica.query("SELECT * FROM holdfast_shadow_item") == []
    assert shop.replica.query("SELECT confirmed FROM holdfast_state") == [(4,)]


def test_what_waits_goes_on_with_what_it_waits_for_directly_or_not(shop: Shop) -> None:
    refused(shop)
    assert shop.replica.if_discarded("1").numbers == (2, 3)
    assert shop.replica.if_discarded("2").numbers == (3,)
    assert shop.replica.if_discarded("3") == shop.replica.if_discarded("4") == Freed()
    with pytest.raises(UsageError):
        shop.replica.if_discarded("99")
    assert shop.numbers() == {1: "refused", 2: "held", 3: "held", 4: "refused"}


def test_retry_makes_it_again_with_all_that_was_held_with_it(shop: Shop) -> None:
    refused(shop)
    shop.answer({}, item=[{"id": "a", "qty": 100, "name": "server"}])
    before = {item.number: item.changes for item in shop.replica.refused()}
    assert shop.replica.retry("1") == [5, 6, 7]
    assert shop.numbers() == {4: "refused", 5: "pending", 6: "pending", 7: "pending"}
    assert shop.replica.query("SELECT replaces FROM holdfast_tx WHERE number > 4") == [
        (1,),
        (2,),
        (3,),
    ]
    tables = shop.tables()["item"]
    assert (tables["a"][3], tables["a"][4]) == ("mine too", 97)
    assert (tables["b"][3], tables["b"][4]) == ("m", 16)
    assert [change.new for change in shop.sent(5)] == [{"name": "mine", "qty": "-1"}, {}]
    assert [change.new for change in shop.sent(6)] == [
        {"name": "mine too", "qty": "-2"}, {"name": "n"},
    ]  # fmt: skip
    after = json.loads(
        str(shop.replica.query("SELECT after FROM holdfast_tx WHERE number = 7")[0][0])
    )
    assert after == [6]
    assert len(before) == 4
    ids = shop.replica.query("SELECT id FROM holdfast_tx")
    assert len(set(ids)) == len(ids)


def test_retry_by_the_long_id(shop: Shop) -> None:
    refused(shop)
    ((long,),) = shop.replica.query("SELECT id FROM holdfast_tx WHERE number = 4")
    assert shop.replica.retry(str(long)) == [5]


def test_retry_that_breaks_a_constraint_changes_nothing(shop: Shop) -> None:
    refused(shop)
    shop.answer({}, num=[{"id": 9, "code": "p"}])
    before, numbers = shop.tables(), shop.numbers()
    with pytest.raises(ConstraintFailed) as caught:
        shop.replica.retry("4")
    assert caught.value.kind == "unique"
    assert (shop.tables(), shop.numbers()) == (before, numbers)


def test_retry_of_an_update_of_a_row_that_is_not_there_changes_nothing(shop: Shop) -> None:
    """As an insert it would bring back what nobody chose, and a counter would count twice."""
    refused(shop)
    shop.write("DELETE FROM item WHERE id = 'a'")
    before, numbers = shop.tables(), shop.numbers()
    with pytest.raises(UsageError) as caught:
        shop.replica.retry("1")
    assert caught.value.code == "no_row"
    assert "item" in caught.value.message
    assert "discard" in caught.value.message
    assert (shop.tables(), shop.numbers()) == (before, numbers)
    shop.write("INSERT INTO item (id, qty) VALUES ('a', 50)")
    assert shop.replica.retry("1")
    assert shop.tables()["item"]["a"][4] == 50 - 1 - 2, "differences count once, on what is there"


def test_retry_of_what_is_there_already_leaves_the_inbox(shop: Shop) -> None:
    refused(shop)
    shop.write("INSERT INTO num (id, code) VALUES (1, 'p')")
    assert shop.replica.retry("4") == []
    assert 4 not in shop.numbers()


def test_retry_of_a_swap(shop: Shop) -> None:
    shop.answer({}, item=[{"id": "a", "slot": 1}, {"id": "b", "slot": 2}, {"id": "c", "slot": 3}])
    shop.write(
        "UPDATE item SET slot = 9 WHERE id = 'a'", "UPDATE item SET slot = 1 WHERE id = 'b'",
        "UPDATE item SET slot = 2 WHERE id = 'c'", "UPDATE item SET slot = 3 WHERE id = 'a'",
    )  # fmt: skip
    shop.answer({1: ("refused", "rule", 0)})
    assert [shop.tables()["item"][key][2] for key in "abc"] == [1, 2, 3]
    assert shop.replica.retry("1") == [2]
    assert [shop.tables()["item"][key][2] for key in "abc"] == [3, 1, 2]
    assert [(change.op, change.new) for change in shop.sent(2)] == [
        ("update", {"slot": "3"}), ("update", {"slot": "1"}), ("update", {"slot": "2"}),
    ]  # fmt: skip


def test_discard_gives_one_up_and_lets_go_on_what_waited(shop: Shop) -> None:
    refused(shop)
    foreseen = shop.replica.if_discarded("1")
    freed = shop.replica.discard("1")
    assert freed == foreseen == Freed(numbers=(2, 3), made=(5, 6))
    assert shop.numbers() == {4: "refused", 5: "pending", 6: "pending"}
    tables = shop.tables()["item"]
    assert (tables["a"][3], tables["a"][4]) == ("mine too", 8)
    assert (tables["b"][3], tables["b"][4]) == ("m", 16)
    assert shop.replica.query("SELECT count(*) FROM holdfast_change_tag") == [(0,)]
    assert shop.replica.query("SELECT replaces FROM holdfast_tx WHERE number > 4") == [(2,), (3,)]


def test_discard_from_the_end_gives_all_up(shop: Shop) -> None:
    refused(shop)
    tables = shop.tables()
    for item in "3214":
        assert shop.replica.discard(item).numbers == ()
    assert shop.replica.refused() == []
    assert shop.tables() == tables
    assert shop.replica.row_status("item", "a") == "synced"
    assert shop.replica.row_status("num", "1") == "unknown"


def test_what_is_not_in_the_inbox_can_be_neither_retried_nor_discarded(shop: Shop) -> None:
    shop.write("INSERT INTO tag VALUES ('a', 'b')")
    for item in ("1", "99", "", "x", "01"):
        for verb in (shop.replica.retry, shop.replica.discard):
            with pytest.raises(UsageError) as caught:
                verb(item)
            assert caught.value.code == "no_refused"
    assert shop.numbers() == {1: "pending"}


def test_the_inbox_survives_closing(shop: Shop) -> None:
    refused(shop)
    conflicted(shop)
    before = (shop.replica.refused(), shop.replica.conflicts())
    shop.replica.close()
    again = Replica.open(shop.db.path, driver_name="apsw", host=shop.host)
    try:
        assert (again.refused(), again.conflicts()) == before
    finally:
        again.close()


def test_text_that_is_not_utf8_is_refused_alone_and_shown(shop: Shop) -> None:
    """From the keyboard of the sqlite3 shell to the inbox, without stopping anything on the way.

    Known limit: a row whose *key* is no UTF-8 is refused and shown, but stays in its table; no key
    text can name it, so it is for the app to delete.
    """
    shop.answer({}, item=[{"id": "a", "name": "good"}])
    shell = driver(shop.replica._database.driver.name).connect(shop.db.path, OpenOptions())
    shell.execute("UPDATE item SET name = CAST(x'ff' AS TEXT) WHERE id = 'a'")
    shop.write("INSERT INTO num (id, code) VALUES (1, 'p')")
    shell.execute("INSERT INTO tag VALUES ('k', CAST(x'c328' AS TEXT))")
    shell.close()
    shop.seal()
    with transaction(shop.db.sync):
        batch = next_batch(shop.db.sync, SCHEMA, shop.db.program)
    assert [tx.void for tx in batch] == ["bad_value", "", "bad_value"]
    shop.answer({}, item=[{"id": "a", "name": "better", "qty": 5}])
    shop.answer(
        {1: ("refused", "bad_value", 0), 2: ("applied", "", 0), 3: ("refused", "bad_value", 0)}
    )
    assert shop.replica.query("SELECT name, qty FROM item") == [("better", 5)]
    assert shop.replica.query("SELECT count(*) FROM tag") == [(1,)]
    assert [item.number for item in shop.replica.refused()] == [1, 3]
    assert "not valid UTF-8" in shop.replica.refused()[0].changes[0]["error"]
    with pytest.raises(ConstraintFailed):
        shop.replica.retry("1")
    shop.replica.discard("1")
    shop.replica.discard("3")
    assert shop.replica.refused() == []
