"""A replica's file becomes one of a newer schema with all its work, or stays as it was.

Devices and servers are real; those that are killed are processes of their own.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.core.digest import Digest, row_hash
from holdfast.core.errors import (
    ConstraintFailed,
    DatabaseError,
    HoldfastError,
    Offline,
    ReplicaError,
    SchemaError,
)
from holdfast.protocol.messages import ExchangeRequest
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.replica import Replica
from holdfast.replica.storage.lock import SyncLock
from holdfast.schema import Check, Column, ForeignKey, Schema, Table
from holdfast.server import Principal, Server, open_server
from holdfast.sql.replica import PROGRAM_FORMAT

CORPUS = Path(__file__).parents[2] / "data"
ITEM = Table(
    name="item",
    key=("id",),
    columns=(
        Column("id"),
        Column("name", default=""),
        Column("sku", nullable=True),
        Column("price", "integer", merge="manual", default="1"),
        Column("stock", "integer", merge="counter"),
    ),
    scopes=("main",),
    unique=(("sku",),),
    checks=(Check("price", "range", min=0, max=100), Check("name", "length", max=20)),
)
PART = Table(
    name="part",
    key=("item", "n"),
    columns=(Column("item"), Column("n", "integer"), Column("note", default="")),
    scopes=("main",),
    foreign_keys=(ForeignKey(("item",), "item"),),
)
OLD = Schema(name="shop", tables=(ITEM, PART))


def grown(*columns: Column, table: Table = ITEM, **changes: Any) -> Schema:
    """The schema with more columns in a table, first and last; and other changes of that table."""
    first, rest = columns[:1], columns[1:]
    new = msgspec.structs.replace(table, columns=(*first, *table.columns, *rest), **changes)
    tables = tuple(new if one.name == table.name else one for one in OLD.tables)
    return msgspec.structs.replace(OLD, tables=tables, generation=2)


TAG = Table(name="tag", key=("word",), columns=(Column("word"), Column("at", "timestamp", nullable=True)), scopes=("main",))  # fmt: skip # noqa: E501
PLAIN = grown(Column("vat", "integer", default="20"), Column("brand", nullable=True))
PLAIN = msgspec.structs.replace(PLAIN, tables=(TAG, *PLAIN.tables))
FILLED = grown(
    Column("gross", "integer", default="0", fill="price * 2"),
    Column("label", nullable=True, fill="CASE WHEN name <> '' THEN name || ':' || gross END"),
)


LOOSER = grown(checks=(Check("name", "length", max=20),))


class Line(MemoryTransport):
    """A line on which an answer can get lost; it keeps what was sent."""

    lose = False
    sent: list[ExchangeRequest]

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        self.__dict__.setdefault("sent", []).append(request)
        answer = super().exchange(request, echo)
        if self.lose:
            answer.close()
            raise Offline("the answer was lost", code="timeout")
        return answer


class BehindLine(Line):
    """A line to a server that serves its older devices, as if their rows were the same."""

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        return super().exchange(
            msgspec.structs.replace(request, schema=LOOSER.fingerprint, brief=False), echo
        )


class Stage:
    """A server and its devices, which grow one after the other."""

    def __init__(self, folder: Path, library: str = "apsw") -> None:
        self.folder = folder
        self.library = library
        self.lines: dict[str, Line] = {}
        self.server: Server | None = None
        self.serve(OLD)

    def serve(self, schema: Schema) -> None:
        self.close()
        self.server = open_server(
            schema, str(self.folder / "server.db"), lambda _headers: self._principal("a")
        )

    def close(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    def _principal(self, name: str) -> Principal:
        return Principal(f"u{name}", name, write=("main",))

    def open(self, name: str, schema: Schema | None, **options: Any) -> Replica:
        assert self.server is not None
        line = Line(self.server.service, self._principal(name))
        self.lines[name] = line
        return Replica.open(
            self.folder / f"{name}.db", schema, transport=line, synchronous="OFF",
            driver_name=self.library, **options,  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.fixture(params=["apsw", "stdlib"])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with closing(Stage(tmp_path, request.param)) as made:
        yield made


@pytest.fixture
def one_stage(tmp_path: Path) -> Iterator[Stage]:
    with closing(Stage(tmp_path)) as made:
        yield made


def write(replica: Replica, *statements: str) -> None:
    with replica.transaction() as db:
        for sql in statements:
            db.execute(sql)


def busy_device(stage: Stage) -> None:
    """A device ``a`` with a conflict, something refused, something held by it, what was sent and
    not answered, what is queued, and what is in the log."""
    a, b = stage.open("a", OLD), stage.open("b", OLD)
    write(a, "INSERT INTO item (id, name, price, stock) "
        "VALUES ('i1', 'one', 5, 10), ('i2', 'two', 6, 0), ('i3', 'three', 7, 0)",
          "INSERT INTO part VALUES ('i1', 1, 'p')")  # fmt: skip
    a.sync()
    b.sync()
    write(b, "UPDATE item SET price = 50 WHERE id = 'i1'", "UPDATE item SET sku = 'S' WHERE id = 'i2'")  # fmt: skip # noqa: E501
    b.sync()
    write(a, "UPDATE item SET price = 60 WHERE id = 'i1'")
    write(a, "INSERT INTO item (id, sku) VALUES ('r', 'S')")  # will be refused
    write(a, "INSERT INTO part VALUES ('r', 1, 'held by it')")
    a.sync()
    assert [item.state for item in a.refused()] == ["refused", "held"]
    assert len(a.conflicts()) == 1
    stage.lines["a"].lose = True
    write(a, "INSERT INTO item (id, name, price) VALUES ('sent', 'sent', 8)")
    with pytest.raises(Offline):
        a.sync()
    write(a, "UPDATE item SET stock = stock + 1, price = 9 WHERE id = 'i2'")
    write(a, "UPDATE item SET price = 9 WHERE id = 'sent'", "DELETE FROM item WHERE id = 'i3'")
    a.seal()
    write(a, "INSERT INTO item (id, price) VALUES ('log', 11)")
    write(b, "UPDATE item SET name = 'news' WHERE id = 'i2'")
    b.sync()
    a.close()
    b.close()


def digests_are_true(replica: Replica) -> None:
    """Each scope's digest is that of its members as they are shown; nothing is pending."""
    ((scope_key,),) = replica.query("SELECT hash_key FROM holdfast_scope WHERE scope = 'main'")
    assert isinstance(scope_key, bytes)
    total = Digest()
    for table in replica.schema.all_tables:
        columns = ", ".join(f'"{name}"' for name in table.column_names)
        for row in replica.query(f"SELECT {columns} FROM {table.name}"):
            key = "/".join(str(row[place]) for place in table.key_positions)
            total = total.add(row_hash(scope_key, table.name, key, row))
    found = replica.query("SELECT count, digest FROM holdfast_scope WHERE scope = 'main'")
    assert found == [(total.count, total.hex)]


def test_all_work_of_a_device_survives_and_arrives_once(stage: Stage) -> None:
    busy_device(stage)
    before = stage.lines["a"].sent[-1].transactions
    stage.serve(PLAIN)
    with stage.open("a", PLAIN) as a:
        assert [item.state for item in a.refused()] == ["refused", "held"]
        assert len(a.conflicts()) == 1
        assert (
            a.query("SELECT vat, brand FROM item WHERE id IN ('sent', 'i1', 'log')")
            == [(20, None)] * 3
        )
        write(
            a,
            "INSERT INTO item (id, vat, brand) VALUES ('new', 7, 'b')",
            "INSERT INTO tag (word) VALUES ('t')",
        )
        assert a.sync().verified
        sent = stage.lines["a"].sent[0].transactions
        assert sent[: len(before)] == before, "what was sent is sent again as it was"
        fields = [set(change.new) for one in sent[:-1] for change in one.changes]
        assert not any({"vat", "brand"} & names for names in fields)
        (made,) = [change for change in sent[-1].changes if change.table == "item"]
        assert {"vat", "brand"} <= set(made.new)
        assert a.verify(deep=True).ok
        digests_are_true(a)
        assert a.query("SELECT id, name, price, stock, vat FROM item ORDER BY id") == [
            ("i1", "one", 50, 10, 20), ("i2", "news", 9, 1, 20), ("log", "", 11, 0, 20),
            ("new", "", 1, 0, 7), ("sent", "sent", 9, 0, 20),
        ]  # fmt: skip
        write(a, "UPDATE item SET sku = NULL WHERE id = 'i2'")
        a.sync()
        (refused, _held) = a.refused()
        a.retry(refused.id)
        assert a.sync().verified
        assert not a.refused()
        assert a.query("SELECT vat FROM item WHERE id = 'r'") == [(20,)]
        (conflict,) = a.conflicts()
        a.resolve(conflict.id, keep="device")
        assert a.sync().verified
        shown = a.query("SELECT * FROM item ORDER BY id")
    with stage.open("b", PLAIN) as b:
        assert b.sync().verified
        assert b.query("SELECT * FROM item ORDER BY id") == shown
        digests_are_true(b)


def test_fills_are_those_of_the_servers_row(stage: Stage) -> None:
    busy_device(stage)
    with stage.open("b", FILLED) as b:
        assert b.query("SELECT id, gross, label FROM item ORDER BY id") == [
            ("i1", 100, "one:100"), ("i2", 12, "news:12"), ("i3", 14, "three:14"),
            ("sent", 16, "sent:16"),
        ]  # fmt: skip
        digests_are_true(b)
    with stage.open("a", FILLED) as a:
        assert a.query("SELECT id, gross FROM item ORDER BY id") == [
            ("i1", 100), ("i2", 12), ("log", 22), ("sent", 16),
        ], "not of what is queued"  # fmt: skip
        notes = a.query("SELECT key, was, now, o_gross, n_gross FROM holdfast_change_item")
        assert all(not (was and now) or old == new for _, was, now, old, new in notes)
        assert ("i3", 1, 0, 14, None) in notes
        assert ("log", 0, 1, None, 22) in notes


def test_a_fill_that_does_not_fit_is_named_and_nothing_is_changed(stage: Stage) -> None:
    busy_device(stage)
    bad = grown(Column("day", "date", nullable=True, fill="'soon' || price"))
    before = contents(stage.folder / "a.db")
    with pytest.raises(SchemaError) as caught:
        stage.open("a", bad)
    assert caught.value.code == "bad_fill"
    assert "item.day" in caught.value.message
    assert contents(stage.folder / "a.db") == before


def test_a_looser_check_keeps_what_others_made_on_the_table(stage: Stage) -> None:
    busy_device(stage)
    with closing(sqlite3.connect(stage.folder / "a.db")) as raw:
        raw.execute("CREATE INDEX of_somebody ON item (name)")
        raw.execute("CREATE TABLE noted (n)")
        raw.execute(
            "CREATE TRIGGER noting AFTER INSERT ON item BEGIN INSERT INTO noted "
            "VALUES (NEW.id); END"
        )
        raw.execute("CREATE VIEW seen AS SELECT name FROM item")
    looser = grown(
        Column("extra", "integer", default="3"), Column("more", nullable=True),
        checks=(Check("price", "range", min=0), Check("extra", "range", min=1)),
    )  # fmt: skip
    with stage.open("a", looser) as a:
        write(a, f"INSERT INTO item (id, name, price) VALUES ('x', '{'n' * 40}', 1000)")
        assert a.query("SELECT n FROM noted") == [("x",)]
        assert a.query("SELECT count(*) FROM seen") == a.query("SELECT count(*) FROM item")
        assert a.query("SELECT count(*) FROM item INDEXED BY of_somebody WHERE name > ''")
        for wrong in ("price = -1", "extra = 0"):
            with pytest.raises(ConstraintFailed):
                write(a, f"UPDATE item SET {wrong}")
    with closing(sqlite3.connect(stage.folder / "a.db")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("strange", ["INTEGER", "INTEGER AS (length(name))"])
def test_a_looser_check_loses_no_column_of_somebody_else(stage: Stage, strange: str) -> None:
    busy_device(stage)
    path = stage.folder / "a.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"ALTER TABLE item ADD COLUMN strange {strange}")
    before = contents(path)
    with pytest.raises(SchemaError, match="strange") as caught:
        stage.open("a", grown(checks=(Check("price", "range", min=0),)))
    assert caught.value.code == "schema_mismatch"
    assert contents(path) == before
    with stage.open("a", grown(Column("more", nullable=True))) as a:
        rows = a.query("SELECT strange IS NULL, more IS NULL FROM item")
    assert rows
    assert all(row == (strange == "INTEGER", True) for row in rows)


def contents(path: Path) -> list[str]:
    """All that a file holds, but for where in it."""
    with closing(sqlite3.connect(path)) as raw:
        return list(raw.iterdump())


REFUSED = {
    "replica_newer": msgspec.structs.replace(OLD, generation=1),
    "generation_reused": msgspec.structs.replace(
        grown(Column("other", nullable=True)), generation=5
    ),
    "schema_mismatch": msgspec.structs.replace(OLD, tables=(ITEM,), generation=9),
}


@pytest.mark.parametrize("code", list(REFUSED))
def test_what_cannot_be_made_is_said_and_nothing_is_changed(tmp_path: Path, code: str) -> None:
    made = msgspec.structs.replace(OLD, generation=5)
    path = tmp_path / "r.db"
    with Replica.open(path, made) as replica:
        write(replica, "INSERT INTO item (id) VALUES ('a')")
    before = contents(path)
    with pytest.raises((ReplicaError, SchemaError)) as caught:
        Replica.open(path, REFUSED[code])
    assert caught.value.code == code
    assert contents(path) == before
    with Replica.open(path) as replica:
        assert replica.status.pending == 1


OPENS = """
import json, sys
from holdfast import Replica, Schema
schema = Schema.from_json(open(sys.argv[2]).read())
with Replica.open(sys.argv[1], schema, synchronous="OFF") as replica:
    print(replica.schema.generation)
"""


def opens(path: Path, schema: Schema, **env: str) -> subprocess.Popen[str]:
    document = path.with_suffix(".json")
    document.write_bytes(schema.to_json())
    return subprocess.Popen(
        [sys.executable, "-c", OPENS, str(path), str(document)], text=True,
        env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["sealed", "loosened", "added", "filled", "before_commit", "after_commit"]
)
def test_a_device_that_dies_has_the_old_file_or_the_new_one(one_stage: Stage, point: str) -> None:
    stage = one_stage
    busy_device(stage)
    path = stage.folder / "a.db"
    with Replica.open(path) as replica:
        assert replica.status.pending
    before = contents(path)
    new = msgspec.structs.replace(FILLED, tables=(*FILLED.tables, TAG))
    item = msgspec.structs.replace(new.tables[0], checks=())
    new = msgspec.structs.replace(new, tables=(item, *new.tables[1:]))
    killed = opens(path, new, HOLDFAST_FAILPOINT=f"migrate.{point}:1")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    if point != "after_commit":
        assert contents(path) == before
    with stage.open("a", new) as a:
        assert [item.state for item in a.refused()] == ["refused", "held"]
        assert a.query("SELECT gross FROM item WHERE id = 'log'") == [(22,)]
        assert a.query("SELECT count(*) FROM holdfast_added") == [(2,)]


@pytest.mark.slow
def test_two_processes_open_an_old_file_at_once(one_stage: Stage) -> None:
    busy_device(one_stage)
    tmp_path = one_stage.folder
    both = [opens(tmp_path / "a.db", PLAIN) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "2\n"), err
    with Replica.open(tmp_path / "a.db", PLAIN) as replica:
        assert replica.query("SELECT count(*) FROM item WHERE id = 'log'") == [(1,)]


def test_who_syncs_is_waited_for_and_named(one_stage: Stage) -> None:
    stage, tmp_path = one_stage, one_stage.folder
    busy_device(stage)
    before = contents(tmp_path / "a.db")
    lock = SyncLock(str(tmp_path / "a.db"))
    assert lock.acquire()
    try:
        with pytest.raises(ReplicaError) as caught:
            stage.open("a", PLAIN, busy_timeout_ms=100)
    finally:
        lock.release()
    assert caught.value.code == "replica_busy"
    assert contents(tmp_path / "a.db") == before
    stage.open("a", PLAIN).close()


def test_who_has_the_file_open_goes_on_reading_and_does_not_seal_it(stage: Stage) -> None:
    busy_device(stage)
    with stage.open("a", OLD) as older:
        stage.open("a", PLAIN).close()
        assert older.query("SELECT price FROM item WHERE id = 'log'") == [(11,)]
        write(older, "UPDATE item SET price = 12 WHERE id = 'log'")
        for act in (older.seal, older.sync):
            with pytest.raises(HoldfastError) as caught:
                act()
            assert caught.value.code == "replica_migrated"
    stage.serve(PLAIN)
    with stage.open("a", PLAIN) as a:
        assert a.sync().verified
        assert a.query("SELECT price, vat FROM item WHERE id = 'log'") == [(12, 20)]


def test_what_the_progress_raises_leaves_the_file_as_it_was(stage: Stage) -> None:
    busy_device(stage)
    with stage.open("a", OLD) as a:
        a.seal()
    before = contents(stage.folder / "a.db")
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.open("a", PLAIN, on_migrate=stop)
    assert contents(stage.folder / "a.db") == before
    assert told[0] == (0, 4)
    stage.open("a", PLAIN, on_migrate=lambda done, total: told.append((done, total))).close()
    assert told[-1] == (4, 4)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    with Replica.open(path, OLD, synchronous="OFF") as replica:
        write(
            replica,
            *(f"INSERT INTO item (id, name) VALUES ('{n}', 'name {n}')" for n in range(400)),
        )
        replica.seal()
    before = contents(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 8, hard))
    try:
        with pytest.raises(DatabaseError):
            Replica.open(path, FILLED, synchronous="OFF")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert contents(path) == before
    Replica.open(path, FILLED, synchronous="OFF").close()


@pytest.fixture(params=sorted(CORPUS.glob("replica_format_*.sql")), ids=lambda path: path.stem)
def file_of_before(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A file as an earlier version left it: a row, an update and an insert queued, or the update
    sent and not answered, and an update of that insert in the log."""
    path = tmp_path / "r.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(request.param.read_text())
    return path


@pytest.mark.parametrize("grows", [False, True])
def test_files_of_formats_before_are_read(file_of_before: Path, grows: bool) -> None:
    with closing(sqlite3.connect(file_of_before)) as raw:
        ((text,),) = raw.execute("SELECT schema FROM holdfast_state").fetchall()
    schema = Schema.from_json(text)
    if grows:
        (note,) = schema.tables
        note = msgspec.structs.replace(note, columns=(*note.columns, Column("more", default="m")))
        schema = msgspec.structs.replace(schema, tables=(note,), generation=2)
    with Replica.open(file_of_before, schema if grows else None) as replica:
        assert replica.query("SELECT id, text, n FROM note ORDER BY id") == [
            ("a", "synced", 4), ("b", "in the log", 0),
        ]  # fmt: skip
        assert replica.status.pending + replica.status.sent == 3
        assert replica.query("SELECT replica FROM holdfast_state") == [("d",)], "as servers know it"
        replica.seal()
        assert replica.query("SELECT DISTINCT generation FROM holdfast_tx") == [(1,)]
        assert replica.query("SELECT format FROM holdfast_state") == [(PROGRAM_FORMAT,)]


@pytest.mark.slow
def test_a_file_of_a_format_before_is_whole_when_its_reader_dies(file_of_before: Path) -> None:
    before = contents(file_of_before)
    with closing(sqlite3.connect(file_of_before)) as raw:
        ((text,),) = raw.execute("SELECT schema FROM holdfast_state").fetchall()
    killed = opens(file_of_before, Schema.from_json(text), HOLDFAST_FAILPOINT="migrate.format:1")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert contents(file_of_before) == before
    with Replica.open(file_of_before) as replica:
        assert replica.status.pending + replica.status.sent == 3


def test_local_objects_are_compared_and_caches_filled_again(stage: Stage) -> None:
    def with_local(generation: int, *local: str) -> Schema:
        return msgspec.structs.replace(OLD, generation=generation, local=local)

    own = "CREATE TABLE cart (id TEXT PRIMARY KEY, n INTEGER)"
    kept = "CREATE TABLE basket (id TEXT PRIMARY KEY)"
    old_sums = "CREATE TABLE sums (id TEXT PRIMARY KEY, n INTEGER)"
    counts = "CREATE TABLE counts (n INTEGER)"
    counting = (
        "CREATE TRIGGER counting AFTER INSERT ON item BEGIN INSERT INTO counts VALUES (1); END"
    )
    old_summing = (
        "CREATE TRIGGER summing AFTER INSERT ON item "
        "BEGIN INSERT INTO sums VALUES (NEW.id, NEW.price); END"
    )
    gone = "CREATE VIEW cheap AS SELECT * FROM item WHERE price < 10"
    with stage.open(
        "a", with_local(1, own, kept, old_sums, old_summing, counts, counting, gone)
    ) as a:
        write(a, "INSERT INTO item (id, price) VALUES ('a', 3), ('b', 4)",
              "INSERT INTO cart VALUES ('c', 1)", "INSERT INTO basket VALUES ('d')")  # fmt: skip
    new = with_local(
        2,
        "CREATE TABLE cart (id TEXT PRIMARY KEY, n INTEGER, note TEXT DEFAULT 'none')",
        kept,
        "CREATE TABLE sums (id TEXT PRIMARY KEY, n INTEGER, twice INTEGER)",
        "CREATE TRIGGER summing AFTER INSERT ON item "
        "BEGIN INSERT INTO sums VALUES (NEW.id, NEW.price, 2 * NEW.price); END",
        counts,
        counting,
        "CREATE INDEX by_price ON item (price)",
    )
    with stage.open("a", new) as a:
        assert a.query("SELECT * FROM cart") == [("c", 1, "none")]
        assert a.query("SELECT * FROM basket") == [("d",)]
        assert a.query("SELECT * FROM sums ORDER BY id") == [("a", 3, 6), ("b", 4, 8)]
        assert a.query("SELECT count(*) FROM counts") == [(2,)], "it was not counted again"
        assert a.query("SELECT name FROM sqlite_schema WHERE name IN ('cheap', 'by_price')") == [
            ("by_price",)
        ]
        write(a, "INSERT INTO item (id, price) VALUES ('e', 5)")
        assert a.query("SELECT count(*) FROM counts") == [(3,)]
        assert a.query("SELECT twice FROM sums WHERE id = 'e'") == [(10,)]
        assert a.status.pending == 2


def test_a_cache_made_anew_has_the_rows_that_the_schema_puts_there(stage: Stage) -> None:
    """Triggers that count in a row find it, in its old form and its new one."""
    counting = (
        "CREATE TRIGGER counting AFTER INSERT ON item "
        "BEGIN UPDATE total SET n = n + 1 WHERE id = 'all'; END"
    )
    table = "CREATE TABLE total (id TEXT PRIMARY KEY, n INTEGER{})"
    same = "INSERT INTO total (id, n) VALUES ('all', 0)"
    begun = "INSERT INTO total (id, n, since) VALUES ('all', 0, 'begun')"
    more = ", since TEXT DEFAULT 'default'"
    for name, first, since in (("a", same, "default"), ("b", begun, "begun")):
        old = msgspec.structs.replace(OLD, local=(table.format(""), same, counting))
        with stage.open(name, old) as replica:
            write(replica, "INSERT INTO item (id, price) VALUES ('i', 3), ('j', 4)")
        new = msgspec.structs.replace(
            OLD, generation=2, local=(table.format(more), first, counting)
        )
        with stage.open(name, new) as replica:
            assert replica.query("SELECT * FROM total") == [("all", 2, since)]


def test_server_truth_applies_where_the_checks_of_the_device_are_stricter(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is replayed on it is checked as ever."""
    with stage.open("a", OLD) as a:
        write(a, "INSERT INTO item (id, price) VALUES ('i1', 1), ('i2', 2), ('i3', 3)")
        a.sync()
    with open_server(LOOSER, str(stage.folder / "newer.db"), lambda _headers: None) as newer:
        monkeypatch.setattr(stage, "server", newer)
        with stage.open("b", LOOSER) as b:
            write(b, "INSERT INTO item (id, price) VALUES ('i1', 1000), ('i2', 2)")
            b.sync()
            line = BehindLine(newer.service, stage._principal("c"))
            with Replica.open(stage.folder / "c.db", OLD, transport=line) as c:
                assert c.sync().verified
                assert c.query("SELECT price FROM item ORDER BY id") == [(1000,), (2,)]
                write(c, "UPDATE item SET stock = stock + 1 WHERE id = 'i2'")
                write(c, "INSERT INTO item (id, price) VALUES ('mine', 7)")
                c.seal()
                write(b, "UPDATE item SET price = 2000 WHERE id = 'i2'")
                b.sync()
                line.lose = True
                with pytest.raises(Offline):
                    c.sync()
                line.lose = False
                assert c.sync().verified
                assert c.query("SELECT id, price, stock FROM item ORDER BY id") == [
                    ("i1", 1000, 0), ("i2", 2000, 1), ("mine", 7, 0),
                ]  # fmt: skip
                with pytest.raises(ConstraintFailed):
                    write(c, "INSERT INTO item (id, price) VALUES ('over', 101)")
