"""Schemas that grow: the bazaar's next generations, who updates when, and work on what is new.

Knows: what each generation adds, and what must come of it. Must not know: how a file is migrated,
or how a server serves an older generation.
All that the first generation knows is checked as in any other world, for devices of all of them.
What is new holds no tokens; it has a ledger of its own here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from bazaar import SCHEMA, STORES, TABLES, Dump, Row, Statement, dump, scopes
from shell import run_foreign

from holdfast.core.errors import ConstraintFailed, UpgradeNeeded
from holdfast.protocol.first_sent import first_hash
from holdfast.protocol.messages import Change, Transaction
from holdfast.schema.migrations import Migration, MigrationStep
from holdfast.schema.model import CONFLICT_TABLE, Check, Column, Schema, Table

if TYPE_CHECKING:
    from device import Device
    from world import World

STOCK_LEAST = {1: -15, 2: -30, 3: -1_000_000}
"""What a check lets the stock of an item fall to, by generation."""


def _grown(
    schema: Schema,
    columns: Mapping[str, Sequence[Column]],
    *made: Table,
    checks: Mapping[str, Sequence[Check]],
) -> Schema:
    """The next generation: columns behind the second one of some tables, and new tables first."""
    tables = [
        msgspec.structs.replace(
            table,
            columns=(*table.columns[:2], *columns.get(table.name, ()), *table.columns[2:]),
            checks=tuple(checks.get(table.name, table.checks)),
        )
        for table in schema.tables
    ]
    return msgspec.structs.replace(
        schema, tables=(*made, *tables), generation=schema.generation + 1
    )


_ITEM = TABLES["item"].checks[:2]
SECOND = _grown(
    SCHEMA,
    {
        "item": (Column("vat", "integer", default=20), Column("hint", nullable=True)),
        "tally": (Column("bonus", "integer", merge="counter"),),
        "link": (Column("mark", default="", fill="'m' || a"),),
    },
    Table(
        name="label",
        key=("id",),
        columns=(Column("id"), Column("store"), Column("text", default="")),
        scopes=("store/{store}",),
    ),
    checks={"item": (*_ITEM, Check("stock", "range", min=STOCK_LEAST[2]))},
)
_THIRD = _grown(
    SECOND,
    {
        "label": (Column("length", "integer", nullable=True, fill="length(id)"),),
        "memo": (Column("stars", "integer", merge="largest", default=0),),
        "link": (Column("size", "integer", default=7, fill="length(a)"),),
    },
    Table(name="sign", key=("id",), columns=(Column("id"),), scopes=("catalog",)),
    checks={"item": _ITEM},
)
THIRD = msgspec.structs.replace(
    _THIRD,
    tables=tuple(
        msgspec.structs.replace(
            table,
            columns=tuple(
                msgspec.structs.replace(c, name="words") if c.name == "text" else c
                for c in reversed(table.columns)
            ),
        )
        if table.name == "label"
        else table
        for table in _THIRD.tables
    ),
    migrations=(
        Migration(
            3,
            (
                MigrationStep("rename_column", "label", "text", to="words"),
                MigrationStep("change_column_order", "label"),
            ),
        ),
    ),
)
"""And labels have their columns in another order, one of them under another name."""
GENERATIONS = {schema.generation: schema for schema in (SCHEMA, SECOND, THIRD)}
NEWEST = THIRD.generation
EVERY = {table.name: table for table in THIRD.all_tables}
"""All tables with all their columns, under all of their names."""
EVERY["label"] = msgspec.structs.replace(
    EVERY["label"], columns=(*EVERY["label"].columns, Column("text", default=""))
)


def whole(query: Callable[[str], Sequence[Row]], generation: int, *, stands: int = 0) -> Dump:
    """All rows, as a generation sees them. ``stands``: the generation of the database that is
    asked, where it is another."""

    def ask(sql: str) -> Sequence[Row]:
        return query(sql.replace('"text" FROM label', '"words" FROM label') if stands > 2 else sql)

    return dump(ask, {table.name: table for table in GENERATIONS[generation].all_tables})


def is_again(known: Transaction, one: Transaction) -> bool:
    """A transaction is sent again as it was first sent; after the device has grown, in new words,
    with the hash of the first ones beside them, unless these have certainly not arrived."""
    if one == known:
        return True
    return one.first in ("", first_hash(known).hex()) and [
        names_now(change) for change in known.changes
    ] == [names_now(change) for change in one.changes]


def names_now(change: Change) -> set[str]:
    """The newest names of the columns that a change writes."""
    return {_RENAMED.get((change.table, name), name) for name in change.new}


_RENAMED = {("label", "text"): "words"}


def scopes_in(generation: int, table: str, row: Row) -> set[str]:
    """The scopes of a row as a generation sees it."""
    return scopes(table, row, GENERATIONS[generation].by_name.get(table, CONFLICT_TABLE))


# --- who updates when ---------------------------------------------------------------------------


def grow_server(world: World) -> None:
    if world.generation < NEWEST:
        world.generation += 1
        world.count["server grew"] += 1
        world.reopen_server()


def upgrade(device: Device, generation: int) -> None:
    """The app gets its next version, whatever waits on the device."""
    states = Counter(state for _, state, _, _ in device.transactions().values())
    for state in states:
        device.world.count[f"upgraded with {state}"] += 1
    device.world.count["upgraded in conflict"] += bool(device.replica.conflicts())
    device.close()
    device.generation = generation
    device.open()


def is_served(device: Device) -> bool:
    return device.generation in device.world.service._generations.numbers


def stopped(device: Device, error: UpgradeNeeded) -> None:
    """Who is stopped has a reason."""
    newer = device.generation > device.world.generation
    assert error.code == ("server_older" if newer else "upgrade_needed"), error
    assert not is_served(device), f"{device.name} is of a generation that is served"
    device.world.count[f"stopped: {error.code}"] += 1


def sometimes(world: World) -> None:
    """Between two steps: somebody updates, or works on what is new."""
    dice = world.growth_dice
    if dice.random() < 0.04:
        world.trace.append("grow server")
        grow_server(world)
    for device in world.devices:
        if device.generation < NEWEST and dice.random() < 0.03:
            world.trace.append(f"upgrade {device.name}")
            upgrade(device, dice.randint(device.generation + 1, NEWEST))
        if dice.random() < 0.25:
            _work(device)


def let_all_in(world: World, *, newest: bool) -> None:
    """The server is updated as far as any device, and devices that it does not serve; with
    ``newest`` all."""
    most = NEWEST if newest else max(device.generation for device in world.devices)
    while world.generation < most:
        grow_server(world)
    for device in world.devices:
        if not is_served(device) or (newest and device.generation < NEWEST):
            upgrade(device, world.generation)


# --- work on what is new ------------------------------------------------------------------------


def _work(device: Device) -> None:
    world, dice = device.world, device.world.growth_dice
    statements = _statements(device)
    if not statements:
        return
    if world.options.foreign and dice.random() < 0.3:
        run_foreign(device.foreign, statements)
        return
    try:
        device.run(statements)
    except ConstraintFailed:
        world.count["local constraint"] += 1


def _statements(device: Device) -> list[Statement]:
    world, dice = device.world, device.world.growth_dice
    mine = [s for s in STORES if device.principal.may_write(f"store/{s}")]
    number = next(world.growth_numbers)
    if device.generation == 1:
        if not device.principal.may_write("catalog"):
            return []
        return [("INSERT INTO link (a, b) VALUES (?, ?)", (f"old{number}", b"x"))]
    some: list[Statement] = []
    words = "text" if device.generation == 2 else "words"
    if mine:
        store = dice.choice(mine)
        name = f"{device.name}/{number}"
        some = [
            (f"INSERT INTO label (id, store, {words}) VALUES (?, ?, 'new')", (name, store)),
            (f"UPDATE label SET {words} = ? WHERE store = ?", (f"w{number}", store)),
            ("UPDATE tally SET bonus = bonus + ? WHERE store = ?", (dice.randrange(1, 9), store)),
            ("UPDATE item SET vat = ? WHERE store = ?", (dice.randrange(9), store)),
            ("UPDATE item SET hint = ?, name = name WHERE store = ?", (f"h{number}", store)),
            ("UPDATE item SET stock = stock - 9 WHERE store = ?", (store,)),
        ]
    if device.generation > 2:
        some.append(("UPDATE memo SET stars = ?", (number,)))
        some.append(("INSERT INTO sign (id) VALUES (?)", (f"s{number}",)))
    return dice.sample(some, min(len(some), 2))


# --- what must hold -----------------------------------------------------------------------------


def what_is_new_is_right(
    world: World, outcomes: Mapping[tuple[str, int], tuple[str, str, int]]
) -> None:
    """I4, I21 and I32 for what generations have added: rows that were taken are there, counters add
    up, and rows that came before a column, or from who did not know it, have its fill."""
    if world.generation == 1:
        return
    rows = whole(world.server_rows, world.generation)
    taken = [
        (place, change)
        for place, (_, outcome, _) in outcomes.items()
        if outcome == "applied"
        for change in world.ledger.sent[place].changes
    ]
    bonus: Counter[int] = Counter()
    for place, change in taken:
        if change.table == "tally":
            bonus[int(change.key[0])] += int(change.new.get("bonus", "0"))
        if change.table in ("label", "sign") and change.op == "insert":
            assert str(change.key[0]) in rows[change.table], f"I4: {place} {change} is not there"
    tables = GENERATIONS[world.generation].by_name
    position = tables["tally"].positions["bonus"]
    for row in rows["tally"].values():
        assert row[position] == bonus[row[0]], f"I21: bonus of {row}, not {bonus[row[0]]}"
    at = tables["link"].positions
    for row in rows["link"].values():
        if str(row[0]).startswith("old"):
            world.count["filled"] += 1
            assert row[at["mark"]] == f"m{row[0]}", f"{row} was not filled"
            if world.generation > 2:
                assert row[at["size"]] == len(row[0]), f"{row} was not filled"


def kept_digests(world: World, scope: str) -> dict[int, tuple[int, str]]:
    """What the server keeps of a scope, by generation."""
    ((count, digest, older),) = world.server_rows(
        "SELECT count, digest, older FROM holdfast_scope WHERE scope = ?", scope
    )
    kept = {int(number): (one[0], one[1]) for number, one in json.loads(older).items()}
    served = world.service._generations.numbers
    return {number: one for number, one in kept.items() if number in served} | {
        world.generation: (count, digest)
    }
