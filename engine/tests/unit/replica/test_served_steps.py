"""Declared steps after which older devices go on: both generations write, and everybody verifies.

Checks I12, I22, I32.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from holdfast.replica.memory import MemoryTransport
from holdfast.replica.replica import Replica
from holdfast.schema import Check, Column, ForeignKey, Schema, Table
from holdfast.schema.migrations import Migration, MigrationStep
from holdfast.server import Principal, Server, open_server
from holdfast.sqlite import OpenOptions, driver

PRICE = Column("price", "integer", merge="manual", default=1)
STOCK = Column("stock", "integer", merge="counter")
TAGS = Column("tags", "json", merge="set", default="[]")
ITEM = Table(
    name="item",
    key=("id",),
    columns=(Column("id"), Column("name", default=""), PRICE, STOCK, TAGS,
             Column("place", "text", default="")),
    scopes=("main",),
)  # fmt: skip
PART = Table(
    name="part",
    key=("id",),
    columns=(Column("id"), Column("item", nullable=True), Column("code", nullable=True)),
    scopes=("main",),
    existence_public=True,
)
OLD = Schema(name="shop", tables=(ITEM, PART))
NEW = Schema(
    name="shop",
    generation=2,
    tables=(
        replace(
            ITEM,
            columns=(
                Column("id"), Column("name", default="-", fill="upper(title)"), TAGS,
                Column("title", default=""), replace(PRICE, name="cost"), STOCK,
                Column("place", "text", default="", merge="server"),
            ),
            checks=(Check("title", "length", max=8),),
            on_delete="delete",
        ),
        replace(PART, unique=(("code",),), foreign_keys=(ForeignKey(("item",), "item"),)),
    ),
    migrations=(
        Migration(2, (
            MigrationStep("rename_column", "item", "name", to="title"),
            MigrationStep("rename_column", "item", "price", to="cost"),
            MigrationStep("change_column_order", "item"),
            MigrationStep("add_check", "item", "title"),
            MigrationStep("change_policy", "item", "place"),
            MigrationStep("change_delete_policy", "item"),
            MigrationStep("add_unique", "part", "code"),
            MigrationStep("add_foreign_key", "part", "item"),
        )),
    ),
)  # fmt: skip
NAMES = {"name": "title", "price": "cost"}


class Stage:
    """A server of one generation, and devices of any."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database = folder, database
        self.schema = OLD
        self.server: Server | None = None
        self.devices: dict[str, Replica] = {}
        self.serve(OLD)

    def serve(self, schema: Schema) -> None:
        self.close()
        self.schema = schema
        self.server = open_server(schema, self.database, lambda _headers: _principal("a"))

    def close(self) -> None:
        for replica in self.devices.values():
            replica.close()
        self.devices = {}
        if self.server is not None:
            self.server.close()

    def device(self, name: str, schema: Schema) -> Replica:
        assert self.server is not None
        if name in self.devices:
            self.devices.pop(name).close()
        line = MemoryTransport(self.server.service, _principal(name))
        made = Replica.open(self.folder / f"{name}.db", schema, transport=line, synchronous="OFF")
        self.devices[name] = made
        return made

    def direct(self, sql: str) -> None:
        """Another program writes into the server's tables."""
        if self.database.startswith("postgres"):
            with psycopg.connect(self.database, autocommit=True) as db:
                db.execute(sql.encode())
            return
        with closing(driver().connect(self.database, OpenOptions())) as db:
            db.execute(sql)


def _principal(name: str) -> Principal:
    return Principal(f"u{name}", name, write=("main",))


@pytest.fixture(params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    database = str(tmp_path / "server.db")
    if request.param == "postgres":
        database = request.getfixturevalue("postgres_url")
    with ExitStack() as stack:
        yield stack.enter_context(closing(Stage(tmp_path, database)))


def write(replica: Replica, *statements: str) -> None:
    with replica.transaction() as db:
        for sql in statements:
            db.execute(sql)


def named(replica: Replica, name: str) -> str:
    """The name that a column of the first generation has on a device."""
    return NAMES.get(name, name) if replica.schema.generation == 2 else name


def shown(replica: Replica) -> dict[str, Any]:
    """What both generations know, under the first one's names."""
    columns = ", ".join(named(replica, one) for one in ITEM.column_names)
    conflicts = [
        (one.id, one.table, {new: old for old, new in NAMES.items()}.get(one.column, one.column))
        for one in replica.conflicts()
    ]
    return {
        "item": replica.query(f"SELECT {columns} FROM item ORDER BY id"),
        "part": replica.query("SELECT id, item, code FROM part ORDER BY id"),
        "conflicts": sorted(conflicts),
    }


def all_agree(*devices: Replica) -> None:
    for _ in range(2):
        for one in devices:
            report = one.sync()
            assert report.verified and not report.repaired_rows, one.path
    for one in devices:
        assert one.verify(deep=True).ok, one.path
        assert not one.status.pending
        assert shown(one) == shown(devices[0]), one.path


def test_what_a_new_constraint_forbids_is_refused_alone(stage: Stage) -> None:
    old = stage.device("old", OLD)
    write(old, "INSERT INTO item (id, name) VALUES ('i', 'one')",
          "INSERT INTO part VALUES ('p', 'i', 'c')")  # fmt: skip
    old.sync()
    stage.serve(NEW)
    old, new = stage.device("old", OLD), stage.device("new", NEW)
    write(old, "UPDATE item SET name = 'much too long' WHERE id = 'i'")
    write(old, "INSERT INTO part VALUES ('q', 'i', 'c')")
    write(old, "INSERT INTO part VALUES ('r', 'nobody', 'd')")
    write(old, "UPDATE item SET name = 'two', stock = stock + 3 WHERE id = 'i'")
    old.sync()
    waiting = {one.code: one.id for one in old.refused()}
    assert set(waiting) == {"check", "unique", "foreign_key", "held"}
    for code in ("check", "unique", "foreign_key"):
        old.discard(waiting[code])  # what rested on the first one goes on
    all_agree(old, new)
    assert new.query("SELECT title, stock, name FROM item") == [("two", 3, "ONE")]


@pytest.mark.parametrize("settles", ["old", "new"])
@pytest.mark.parametrize("keep", ["device", "server"])
def test_a_conflict_about_a_renamed_column_is_settled_by_either(
    stage: Stage, settles: str, keep: Any
) -> None:
    old = stage.device("old", OLD)
    write(old, "INSERT INTO item (id, name, price) VALUES ('i', 'one', 5)")
    old.sync()
    stage.serve(NEW)
    devices = {"old": stage.device("old", OLD), "new": stage.device("new", NEW)}
    old, new = devices["old"], devices["new"]
    new.sync()
    write(old, "UPDATE item SET price = 6")
    write(new, "UPDATE item SET cost = 7")
    for one in (old, new, old):
        one.sync()
    assert [one.column for one in old.conflicts()] == ["price"]
    assert [one.column for one in new.conflicts()] == ["cost"]
    (conflict,) = devices[settles].conflicts()
    devices[settles].resolve(conflict.id, keep=keep)
    all_agree(*[devices[settles], old, new])
    assert not new.conflicts()
    assert new.query("SELECT cost FROM item") == [(7 if keep == "device" else 6,)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_both_generations_write_and_everybody_verifies(stage: Stage, seed: int) -> None:
    dice = random.Random(seed)
    devices = [stage.device(name, OLD) for name in ("a", "b", "c")]
    for _ in range(8):
        act(dice.choice(devices), dice)
    all_agree(*devices)
    for one in devices:
        act(one, dice)
    stage.serve(NEW)
    devices = [stage.device("a", OLD), stage.device("b", OLD), stage.device("c", NEW)]
    devices.append(stage.device("d", NEW))
    for step in range(40):
        one = dice.choice(devices)
        for _ in range(dice.randrange(3)):
            act(one, dice)
        if dice.random() < 0.15:
            stage.direct(f"UPDATE item SET title = 'by {step}', stock = stock + 1 WHERE id = 'i1'")
        if dice.random() < 0.3 and one.conflicts():
            one.resolve(one.conflicts()[0].id, keep=dice.choice(["device", "server"]))
        if dice.random() < 0.6:
            one.sync()
        if step == 25:
            devices[0] = stage.device("a", NEW)
    for one in devices:
        one.sync()
        while one.refused():
            one.discard(one.refused()[0].id)
    all_agree(*devices)
    devices[1] = stage.device("b", NEW)
    report = devices[1].sync()
    assert report.verified and not report.repaired_rows
    assert devices[1].query("SELECT * FROM item ORDER BY id") == devices[3].query(
        "SELECT * FROM item ORDER BY id"
    )
    all_agree(*devices)


def act(replica: Replica, dice: random.Random) -> None:
    key = f"i{dice.randrange(4)}"
    name, price = named(replica, "name"), named(replica, "price")
    there = replica.query("SELECT 1 FROM item WHERE id = ?", [key])
    if not there:
        write(replica, f"INSERT INTO item (id, {name}) VALUES ('{key}', 'n{dice.randrange(9)}')")
        return
    write(replica, dice.choice([
        f"UPDATE item SET {name} = 'w{dice.randrange(9)}' WHERE id = '{key}'",
        f"UPDATE item SET {price} = {dice.randrange(2, 9)} WHERE id = '{key}'",
        f"UPDATE item SET {price} = {dice.randrange(2, 9)}, place = 'p' WHERE id = '{key}'",
        f"UPDATE item SET stock = stock + {dice.randrange(1, 5)} WHERE id = '{key}'",
        f"UPDATE item SET tags = '[\"t{dice.randrange(3)}\"]' WHERE id = '{key}'",
        f"INSERT OR IGNORE INTO part VALUES ('p{dice.randrange(5)}', '{key}', NULL)",
        f"DELETE FROM item WHERE id = '{key}' AND id NOT IN (SELECT item FROM part)",
    ]))  # fmt: skip
