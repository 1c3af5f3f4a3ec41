"""Declared migrations: a server and its devices take steps that are not additive, with all work.

Each row of the matrix is a device with a conflict, something refused, something held by it, what
was sent and not answered, what is queued, and what is in the log, on either store.

Checks I4, I8, I32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.core.digest import Digest, row_hash
from holdfast.core.errors import Offline, SchemaError, UpgradeNeeded
from holdfast.protocol.messages import ExchangeRequest, Transaction
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.replica import Replica
from holdfast.schema import Check, Column, ForeignKey, Schema, Table
from holdfast.schema.migrations import Migration, MigrationStep
from holdfast.server import Principal, Server, open_server
from holdfast.server.open_store import open_store
from holdfast.testing.postgres import PostgresCluster, scratch_schema

PRICE = Column("price", "integer", merge="manual", default="1")
EXACT = Column("price", "decimal", scale=2, merge="manual", default="1.00")
TITLE = Column("title", default="")
ITEM = Table(
    name="item",
    key=("id",),
    columns=(
        Column("id"),
        Column("name", default=""),
        Column("sku", nullable=True),
        PRICE,
        Column("stock", "integer", merge="counter"),
        Column("colour", default="none"),
    ),
    scopes=("main",),
    unique=(("sku",),),
    existence_public=True,
)
PART = Table(
    name="part",
    key=("item", "n"),
    columns=(Column("item"), Column("n", "integer"), Column("note", default="")),
    scopes=("main",),
    foreign_keys=(ForeignKey(("item",), "item"),),
)
LABEL = Table(name="label", key=("id",), columns=(Column("id"), Column("text")), scopes=("main",))
OLD = Schema(name="shop", tables=(ITEM, PART, LABEL))


def later(*tables: Table, steps: tuple[MigrationStep, ...], generation: int = 2) -> Schema:
    found = {table.name: table for table in tables}
    return Schema(
        name="shop", generation=generation, tables=tuple(found.values()),
        migrations=(Migration(generation, steps),),
    )  # fmt: skip


def item(**changes: Any) -> Table:
    return msgspec.structs.replace(ITEM, **changes)


def columns(**changes: Column | None) -> tuple[Column, ...]:
    """The item's columns with some others in their place, or without them."""
    found = [changes.get(column.name, column) for column in ITEM.columns]
    return tuple(column for column in found if column is not None)


STEPS: dict[str, Schema] = {
    "rename_column": later(
        item(columns=columns(name=TITLE, price=msgspec.structs.replace(PRICE, name="cost"))),
        PART, LABEL,
        steps=(
            MigrationStep("rename_column", "item", "name", to="title"),
            MigrationStep("rename_column", "item", "price", to="cost"),
        ),
    ),
    "drop_column": later(
        item(columns=columns(colour=None)), PART, LABEL,
        steps=(MigrationStep("drop_column", "item", "colour"),),
    ),
    "add_check": later(
        item(checks=(Check("price", "range", max=1000),)), PART, LABEL,
        steps=(MigrationStep("add_check", "item", "price"),),
    ),
    "add_unique": later(
        item(unique=(("sku",), ("id", "name"))), PART, LABEL,
        steps=(MigrationStep("add_unique", "item", "id,name"),),
    ),
    "drop_unique": later(
        item(unique=()), PART, LABEL, steps=(MigrationStep("drop_unique", "item", "sku"),)
    ),
    "rename_table": later(
        item(name="article"),
        msgspec.structs.replace(PART, foreign_keys=(ForeignKey(("item",), "article"),)), LABEL,
        steps=(MigrationStep("rename_table", "item", to="article"),),
    ),
    "drop_table": later(
        ITEM, PART, steps=(MigrationStep("drop_table", "label"),)
    ),
    "change_type": later(
        item(columns=columns(price=EXACT)),
        PART, LABEL,
        steps=(
            MigrationStep("change_type", "item", "price", convert="printf('%d.00', price)"),
        ),
    ),
    "change_policy": later(
        item(columns=columns(name=Column("name", default="", merge="server"))), PART, LABEL,
        steps=(MigrationStep("change_policy", "item", "name"),),
    ),
    "change_column_order": later(
        item(columns=(ITEM.columns[0], *reversed(ITEM.columns[1:]))), PART, LABEL,
        steps=(MigrationStep("change_column_order", "item"),),
    ),
    "foreign_keys": later(
        ITEM, msgspec.structs.replace(PART, foreign_keys=()), LABEL,
        steps=(MigrationStep("drop_foreign_key", "part", "item"),),
    ),
    "change_nullable": later(
        item(columns=columns(name=Column("name", nullable=True))), PART, LABEL,
        steps=(
            MigrationStep("change_nullable", "item", "name"),
            MigrationStep("change_default", "item", "name"),
        ),
    ),
    "add_foreign_key": later(
        ITEM, PART,
        msgspec.structs.replace(
            LABEL, columns=(*LABEL.columns, Column("item", nullable=True)),
            foreign_keys=(ForeignKey(("item",), "item"),),
        ),
        steps=(MigrationStep("add_foreign_key", "label", "item"),),
    ),
    "add_group": later(
        item(
            columns=columns(colour=Column("colour", merge="manual", default="none")),
            groups=(("price", "colour"),),
        ),
        PART, LABEL,
        steps=(
            MigrationStep("change_policy", "item", "colour"),
            MigrationStep("add_group", "item", "price,colour"),
        ),
    ),
    "several": later(
        item(
            name="article",
            columns=(
                Column("vat", "integer", default="20", fill="price * 2"),
                *columns(name=TITLE, colour=None),
            ),
            checks=(Check("title", "length", max=30),),
        ),
        msgspec.structs.replace(
            PART, name="piece", foreign_keys=(ForeignKey(("item",), "article"),)
        ),
        Table(name="tag", key=("id",), columns=(Column("id"),), scopes=("main",)),
        steps=(
            MigrationStep("rename_table", "item", to="article"),
            MigrationStep("rename_table", "part", to="piece"),
            MigrationStep("rename_column", "article", "name", to="title"),
            MigrationStep("drop_column", "article", "colour"),
            MigrationStep("add_check", "article", "title"),
            MigrationStep("drop_table", "label"),
        ),
    ),
}  # fmt: skip


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


class Stage:
    """A server and its devices, which follow one after the other."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database
        self.lines: dict[str, Line] = {}
        self.server: Server | None = None
        self.serve(OLD)

    def serve(self, schema: Schema) -> None:
        self.close()
        self.server = open_server(schema, self.database, lambda _headers: self._principal("a"))

    def close(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    def _principal(self, name: str) -> Principal:
        return Principal(f"u{name}", name, write=("main",))

    def open(self, name: str, schema: Schema | None) -> Replica:
        assert self.server is not None
        line = Line(self.server.service, self._principal(name))
        self.lines[name] = line
        return Replica.open(self.folder / f"{name}.db", schema, transport=line, synchronous="OFF")


@pytest.fixture(params=["sqlite", "postgres"])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with ExitStack() as stack:
        database = str(tmp_path / "server.db")
        if request.param == "postgres":
            cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
            database = stack.enter_context(scratch_schema(cluster))
        yield stack.enter_context(closing(Stage(tmp_path, database)))


def write(replica: Replica, *statements: str) -> None:
    with replica.transaction() as db:
        for sql in statements:
            db.execute(sql)


def busy_device(stage: Stage) -> None:
    """A device ``a`` with work in every state."""
    a, b = stage.open("a", OLD), stage.open("b", OLD)
    write(a, "INSERT INTO item (id, name, price, stock) "
        "VALUES ('i1', 'one', 5, 10), ('i2', 'two', 6, 0), ('i3', 'three', 7, 0)",
          "INSERT INTO part VALUES ('i1', 1, 'p')",
          "INSERT INTO label VALUES ('l', 'old')")  # fmt: skip
    a.sync()
    b.sync()
    write(b, "UPDATE item SET price = 50 WHERE id = 'i1'", "UPDATE item SET sku = 'S' WHERE id = 'i2'")  # fmt: skip # noqa: E501
    b.sync()
    write(a, "UPDATE item SET price = 60 WHERE id = 'i1'")
    write(a, "INSERT INTO item (id, sku) VALUES ('r', 'S')")  # will be refused
    write(a, "INSERT INTO part VALUES ('r', 1, 'held by it')")
    a.sync()
    assert [one.state for one in a.refused()] == ["refused", "held"]
    assert len(a.conflicts()) == 1
    stage.lines["a"].lose = True
    write(a, "INSERT INTO item (id, name, price, stock) VALUES ('sent', 'sent', 8, 3)")
    with pytest.raises(Offline):
        a.sync()
    write(a, "UPDATE item SET stock = stock + 1, price = 9, colour = 'red' WHERE id = 'i2'")
    write(a, "UPDATE item SET price = 9 WHERE id = 'sent'", "DELETE FROM item WHERE id = 'i3'")
    write(a, "UPDATE label SET text = 'new' WHERE id = 'l'")
    a.seal()
    write(a, "INSERT INTO item (id, price, stock) VALUES ('log', 11, 4)")
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
        listed = ", ".join(f'"{name}"' for name in table.column_names)
        for row in replica.query(f"SELECT {listed} FROM {table.name}"):
            key = "/".join(str(row[place]) for place in table.key_positions)
            total = total.add(row_hash(scope_key, table.name, key, row))
    found = replica.query("SELECT count, digest FROM holdfast_scope WHERE scope = 'main'")
    assert found == [(total.count, total.hex)]


GO_ON = (
    "rename_column", "add_check", "add_unique", "add_foreign_key", "change_policy",
    "change_column_order",
)  # fmt: skip
"""Steps after which older devices are served."""


@pytest.mark.parametrize(
    ("kind", "goes_on"), [*((kind, False) for kind in STEPS), *((kind, True) for kind in GO_ON)]
)
def test_all_work_of_a_device_survives_and_arrives_once(
    stage: Stage, kind: str, goes_on: bool
) -> None:
    """Its queue follows it to the newer schema, or goes up from the older one where that is served
    (``goes_on``)."""
    new = STEPS[kind]
    busy_device(stage)
    stage.serve(new)
    with stage.open("a", None) as old:
        if goes_on:
            report = old.sync()
            assert report.verified and not report.repaired_rows and not report.reconciled_rows
            assert not old.status.pending
            assert old.verify(deep=True).ok
            digests_are_true(old)
            assert [(one.table, one.column) for one in old.conflicts()] == [("item", "price")]
        elif kind not in GO_ON:
            with pytest.raises(UpgradeNeeded) as caught:
                old.sync()
            assert caught.value.code == "upgrade_needed"
    with stage.open("a", new) as a:
        gone = [one for one in a.refused() if one.code in ("column_gone", "table_gone")]
        assert [one.state for one in a.refused() if one not in gone] == ["refused", "held"]
        assert {(one.code, one.table, one.column, one.mine) for one in gone} == {
            "drop_column": {("column_gone", "item", "colour", "red")},
            "drop_table": {("table_gone", "label", "text", "new")},
            "several": {("column_gone", "item", "colour", "red"),
                        ("table_gone", "label", "text", "new")},
        }.get(kind, set())  # fmt: skip
        report = a.sync()
        assert report.verified and not report.repaired_rows and not report.reconciled_rows
        assert not a.status.pending
        assert a.verify(deep=True).ok
        digests_are_true(a)
        table = new.tables[0].name
        assert a.query(f"SELECT id, stock FROM {table} ORDER BY id") == [
            ("i1", 10), ("i2", 1), ("log", 4), ("sent", 3),
        ]  # fmt: skip
        cost = "cost" if kind == "rename_column" else "price"
        assert [str(n).removesuffix(".00") for (n,) in a.query(f"SELECT {cost} FROM {table} ORDER BY id")] == ["50", "9", "11", "9"]  # fmt: skip # noqa: E501
        for one in gone:
            a.discard(one.id)
        conflicts = a.conflicts()
        assert [(one.table, one.column) for one in conflicts] == (
            [] if kind == "change_type" else [(table, cost)]
        )
        for conflict in conflicts:
            a.resolve(conflict.id, keep="device")
        if kind != "drop_unique":
            write(a, f"UPDATE {table} SET sku = NULL WHERE id = 'i2'")
        a.sync()
        (refused, _held) = a.refused()
        a.retry(refused.id)
        assert a.sync().verified
        assert not a.refused()
        shown = a.query(f"SELECT * FROM {table} ORDER BY id")
        digests_are_true(a)
    with stage.open("b", new) as b:
        report = b.sync()
        assert report.verified and not report.repaired_rows and not report.reconciled_rows
        assert b.query(f"SELECT * FROM {table} ORDER BY id") == shown
        digests_are_true(b)
    with stage.open("c", new) as c:
        assert c.sync().verified
        assert c.query(f"SELECT * FROM {table} ORDER BY id") == shown


IN_THE_WAY = {
    "check": later(
        item(checks=(Check("price", "range", max=5),)), PART, LABEL,
        steps=(MigrationStep("add_check", "item", "price"),),
    ),
    "unique": later(
        item(unique=(("sku",), ("colour",))), PART, LABEL,
        steps=(MigrationStep("add_unique", "item", "colour"),),
    ),
    "not null": later(
        item(columns=columns(sku=Column("sku", default=""))), PART, LABEL,
        steps=(
            MigrationStep("change_nullable", "item", "sku"),
            MigrationStep("change_default", "item", "sku"),
        ),
    ),
    "conversion": later(
        item(columns=columns(name=Column("name", "integer", default="0"))), PART, LABEL,
        steps=(MigrationStep("change_type", "item", "name", convert="name"),),
    ),
    "foreign key": later(
        ITEM, PART,
        msgspec.structs.replace(LABEL, foreign_keys=(ForeignKey(("text",), "item"),)),
        steps=(MigrationStep("add_foreign_key", "label", "text"),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", IN_THE_WAY)
def test_rows_in_the_way_stop_the_start_and_nothing_is_changed(stage: Stage, kind: str) -> None:
    with stage.open("a", OLD) as a:
        write(
            a,
            "INSERT INTO item (id, name, price) VALUES ('i1', 'one', 5), ('i2', 'two', 60)",
            "INSERT INTO label VALUES ('l', 'no item')",
        )
        a.sync()
        with pytest.raises(SchemaError) as caught:
            stage.serve(IN_THE_WAY[kind])
        assert caught.value.code == "rows_in_the_way"
        key = "l" if kind == "foreign key" else "i2"
        assert key in caught.value.message
        stage.serve(OLD)
        write(a, "UPDATE item SET name = 'still' WHERE id = 'i1'")
        a.close()
    with stage.open("a", OLD) as a:
        assert a.sync().verified
        assert a.verify(deep=True).ok


@pytest.mark.parametrize("kind", ["several", "change_type"])
def test_what_is_kept_for_a_restored_server_is_offered_in_the_new_words(
    tmp_path: Path, kind: str
) -> None:
    """And counts once where the server has it: it is known by its first words."""
    with closing(Stage(tmp_path, str(tmp_path / "server.db"))) as stage:
        with stage.open("a", OLD) as a:
            write(a, "INSERT INTO item (id, name, price, stock) VALUES ('i', 'one', 5, 1)",
                  "INSERT INTO label VALUES ('l', 'text')")  # fmt: skip
            write(a, "UPDATE item SET stock = stock + 2, price = 6, colour = 'red'")
            write(a, "UPDATE label SET text = 'gone'")
            write(a, "INSERT INTO part VALUES ('i', 1, 'as it was')")
            a.sync()
        new = STEPS[kind]
        stage.serve(new)
        with stage.open("a", new) as a:
            bodies = a.query("SELECT body FROM holdfast_kept ORDER BY number")
            kept = [msgspec.json.decode(str(body), type=Transaction) for (body,) in bodies]
            named = [(one.table, one.op, one.new, one.old) for t in kept for one in t.changes]
            if kind == "several":
                assert named[0][:2] == ("article", "insert") and named[0][2]["title"] == "one"
                assert named[1] == (
                    "article",
                    "update",
                    {"stock": "2", "price": "6"},
                    {"price": "5"},
                )
                assert [one[0] for one in named] == ["article", "article", "piece"]
            else:
                assert named[0][2]["price"] == "5.00"
                assert named[2][2:] == (
                    {"stock": "2", "price": "6.00", "colour": "red"},
                    {"price": "5.00", "colour": "none"},
                )
            stage.lines["a"].sent = []
            with a.transaction() as db:
                db.execute("UPDATE holdfast_kept SET again = 1")
            assert a.sync().verified and a.verify(deep=True).ok
            sent = [one for request in stage.lines["a"].sent for one in request.transactions]
            assert [one.number for one in sent] == [1, 2, 3, 4]
            assert a.query(f"SELECT stock FROM {new.tables[0].name}") == [(3,)]
            assert not a.refused()


class Deaf(Line):
    """A line on which a request can get lost."""

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        if self.lose:
            raise Offline("the request was lost", code="timeout")
        return super().exchange(request, echo)


def test_what_was_sent_and_did_not_arrive_is_applied_once(stage: Stage) -> None:
    new = STEPS["several"]
    with stage.open("a", OLD) as a:
        write(a, "INSERT INTO item (id, name, stock) VALUES ('i1', 'one', 10)")
        a.sync()
        stage.lines["a"].__class__ = Deaf
        stage.lines["a"].lose = True
        write(a, "UPDATE item SET stock = stock + 5, name = 'lost', colour = 'red'")
        with pytest.raises(Offline):
            a.sync()
    stage.serve(new)
    with stage.open("a", new) as a:
        stage.lines["a"].lose = True
        with pytest.raises(Offline):
            a.sync()  # in its new words, and the answer is lost
    third = msgspec.structs.replace(
        new, generation=3,
        tables=(renamed_column(new.tables[0], "title", "words"), *new.tables[1:]),
        migrations=(*new.migrations, Migration(3, (
            MigrationStep("rename_column", "article", "title", to="words"),
        ))),
    )  # fmt: skip
    stage.serve(third)
    with stage.open("a", third) as a:
        assert a.sync().verified
        assert a.query("SELECT id, stock, words FROM article") == [("i1", 15, "lost")]
        assert [one.code for one in a.refused()] == ["column_gone"]


def renamed_column(table: Table, old: str, new: str) -> Table:
    def now(name: str) -> str:
        return new if name == old else name

    return msgspec.structs.replace(
        table,
        columns=tuple(msgspec.structs.replace(c, name=now(c.name)) for c in table.columns),
        checks=tuple(msgspec.structs.replace(c, column=now(c.column)) for c in table.checks),
    )


def test_a_device_that_is_newer_waits_and_keeps_what_it_has(stage: Stage) -> None:
    new = STEPS["several"]
    busy_device(stage)
    with stage.open("a", new) as a:
        with pytest.raises(UpgradeNeeded) as caught:
            a.sync()
        assert caught.value.code == "server_older"
        write(a, "UPDATE article SET title = 'meanwhile' WHERE id = 'log'")
    stage.serve(new)
    with stage.open("a", new) as a:
        assert a.sync().verified
        assert a.query("SELECT title, stock FROM article WHERE id = 'log'") == [("meanwhile", 4)]


def test_local_work_that_a_new_constraint_forbids_waits_in_the_inbox(stage: Stage) -> None:
    new = STEPS["add_check"]
    with stage.open("a", OLD) as a:
        write(a, "INSERT INTO item (id, price) VALUES ('i1', 5), ('i2', 6)")
        a.sync()
        write(a, "UPDATE item SET price = 5000, stock = 1 WHERE id = 'i1'")
        write(a, "UPDATE item SET price = 50 WHERE id = 'i2'")
    stage.serve(new)
    with stage.open("a", new) as a:
        assert [(one.state, one.mine) for one in a.refused()] == [("held", 5000)]
        assert a.query("SELECT id, price, stock FROM item ORDER BY id") == [
            ("i1", 5, 0), ("i2", 50, 0),
        ]  # fmt: skip
        assert a.sync().verified
        (refused,) = a.refused()
        assert (refused.state, refused.code, refused.field) == ("refused", "check", "price")
        assert a.query("SELECT id, price FROM item ORDER BY id") == [("i1", 5), ("i2", 50)]


def test_a_growth_that_was_interrupted_is_followed_by_a_renaming(stage: Stage) -> None:
    busy_device(stage)
    stage.close()
    grown = item(columns=(*ITEM.columns, Column("vat", "integer", default="20")))
    second = later(grown, PART, LABEL, steps=())
    open_store(second, stage.database, random_bytes=os.urandom).close()  # rows are not hashed yet
    steps = STEPS["rename_table"].migrations[0].steps
    third = later(
        msgspec.structs.replace(grown, name="article"), *STEPS["rename_table"].tables[1:],
        steps=steps, generation=3,
    )  # fmt: skip
    stage.serve(third)
    with stage.open("a", third) as a:
        assert a.sync().verified
        assert a.verify(deep=True).ok
        digests_are_true(a)


def test_a_device_that_follows_is_sent_what_has_changed_alone(stage: Stage) -> None:
    with stage.open("a", OLD) as a, stage.open("b", OLD) as b:
        write(
            a,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
            "INSERT INTO item (id, name, price) SELECT 'i' || i, 'name ' || i, i FROM n",
        )
        a.sync()
        b.sync()
        write(a, "UPDATE item SET price = 500 WHERE id IN ('i1', 'i2')")
        a.sync()
    stage.serve(STEPS["several"])
    for name, rows in (("a", 0), ("b", 2)):
        with stage.open(name, STEPS["several"]) as device:
            report = device.sync()
            assert report.verified
            assert (report.received_rows, report.exchanges) == (rows, 1)
            digests_are_true(device)
