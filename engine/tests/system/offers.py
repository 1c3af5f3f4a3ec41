"""Offers: columns that are one decision, written apart and together, and whoever sees a mixed pair.

Knows: the table ``offer`` of the bazaar, whose price and currency are a group, and so are its
quantity and unit. Must not know: how the engine merges or replays a group. Whoever writes leaves
pairs in the rows that they see; those are noted. At every moment, on every device and the server,
in rows, conflicts and the journal, there are no others.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bazaar import TABLES, Row, Statement, Work
from shell import run_foreign

from holdfast.core.values import from_wire, to_wire

if TYPE_CHECKING:
    from device import Device
    from world import World

OFFERS = ("o1", "o2")
_GROUPS = TABLES["offer"].groups
_NAMES = tuple(",".join(group) for group in _GROUPS)
Pair = tuple[str, str, Row]
"""A group's name, the offer's key and the values."""


def some_work(dice: random.Random, work: Work) -> list[Statement]:
    """One to three statements, about a part of a group, all of it, or the whole row."""
    return [_statement(dice, work) for _ in range(dice.choice((1, 1, 2, 3)))]


def _statement(dice: random.Random, work: Work) -> Statement:
    key, roll = dice.choice(OFFERS), dice.random()
    values = {
        "price": f"{dice.randrange(1000)}.{dice.randrange(100):02d}",
        "currency": work.token(),
        "qty": dice.randrange(1000),
        "unit": work.token(),
    }
    if roll < 0.06:
        return "DELETE FROM offer WHERE id = ?", (key,)
    if roll < 0.8:
        group = dice.choice(_GROUPS)
        names = group if dice.random() < 0.3 else (dice.choice(group),)
        sets = ", ".join(f"{name} = ?" for name in names)
        return f"UPDATE offer SET {sets} WHERE id = ?", (*(values[n] for n in names), key)
    names = tuple(name for name in values if dice.random() < 0.5)
    columns, marks = ", ".join(("id", *names)), ", ".join("?" * (1 + len(names)))
    sql = f"INTO offer ({columns}) VALUES ({marks})"
    row = (key, *(values[name] for name in names))
    if roll < 0.87 or not names:
        return f"INSERT OR REPLACE {sql}", row
    sets = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"INSERT {sql} ON CONFLICT (id) DO UPDATE SET {sets}", row


def pairs(query: Callable[[str], Sequence[Row]]) -> set[Pair]:
    """What stands in the rows now."""
    return {
        (name, str(key), values)
        for name, group in zip(_NAMES, _GROUPS, strict=True)
        for key, *columns in query(f"SELECT id, {', '.join(group)} FROM offer")
        for values in (tuple(columns),)
    }


@contextlib.contextmanager
def written(world: World, query: Callable[[str], Sequence[Row]]) -> Iterator[None]:
    """Whoever writes here meanwhile has made the pairs that were not there before."""
    before = pairs(query)
    yield
    world.ledger.pairs |= pairs(query) - before


def write_offers(device: Device, dice: random.Random) -> None:
    """The app writes, or another program."""
    world = device.world
    statements = some_work(dice, device.work)
    if world.options.foreign and dice.random() < 0.3:
        with written(world, device.rows):
            run_foreign(device.foreign, statements)
    else:
        device.run(statements)
    world.count["offers written"] += 1


def note_choice(world: World, column: str, key: str, value: Mapping[str, Any]) -> None:
    """A person has typed a pair to settle a conflict."""
    world.ledger.pairs.add((column, key, _stored(column, value)))


def _stored(name: str, wire: Mapping[str, Any]) -> Row:
    columns = TABLES["offer"].by_name
    return tuple(
        from_wire(columns[one].type, wire[one], scale=columns[one].scale) for one in name.split(",")
    )


def wire_of(table: str, column: str, row: Row) -> Any:
    """What stands in a column, or in a group, as a conflict shows it."""
    found = TABLES[table]
    if column in found.by_name:
        return row[found.positions[column]]
    return {
        name: to_wire(found.by_name[name].type, row[found.positions[name]])
        for name in column.split(",")
    }


def no_mixed_pair(world: World, device: Device) -> None:
    """I18: what a device shows of a group was written as one."""
    mixed = pairs(device.rows) - world.ledger.pairs
    assert not mixed, f"I18: {device.name} shows {mixed}, which nobody has written"


def no_mixed_pair_on_the_server(world: World) -> None:
    """I18: nor is there one in its rows, its conflicts, or its journal."""
    known = world.ledger.pairs
    mixed = pairs(world.server_rows) - known
    assert not mixed, f"I18: the server has {mixed}, which nobody has written"
    for key, column, *sides in world.server_rows(
        "SELECT row_key, column_name, base, mine, theirs, chosen FROM holdfast_conflict "
        "WHERE table_name = 'offer'"
    ):
        world.count["conflict about a group"] += 1
        told = [json.loads(side) for side in sides if side is not None]
        _are_known(known, key, column, told)
    for key, column, entry in world.server_rows(
        "SELECT key, col, entry FROM holdfast_journal WHERE tbl = 'offer' AND col <> ''"
    ):
        found = json.loads(entry)
        world.count["journal about a group"] += 1
        _are_known(known, key, column, [found["kept"], found["lost"]])


def _are_known(known: set[Pair], key: str, column: str, told: Sequence[Any]) -> None:
    for side in told:
        if side is not None:
            assert column in _NAMES, f"I18: {column} is told of apart"
            pair = column, key, _stored(column, side)
            assert pair in known, f"I18: {pair} is on record, which nobody has written"
