"""Who reads on a device at every step: what they must never see.

Knows: the files, by plain SQL, and what happened before. Must not know: the engine's own overlay.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from offers import no_mixed_pair
from purses import has_purses, moves_are_whole, nothing_seen_goes_away, waiting_is_told

if TYPE_CHECKING:
    from device import Device
    from world import World

Orphan = tuple[str, tuple[Any, ...], str, int]
Truth = Callable[[], dict[tuple[str, str], Any]]


def read(world: World, device: Device, outcomes: dict[Any, Any], truth: Truth) -> None:
    """All of them, once."""
    never_goes_back(device)
    nothing_is_orphaned(device, truth)
    what_is_shown_stands_on_what_is_shown(device)
    no_mixed_pair(world, device)
    if not has_purses(device):
        device.seen_slips = set()
        return
    slips = moves_are_whole(device)
    nothing_seen_goes_away(device, slips, set())
    waiting_is_told(world, device, slips, outcomes)


def never_goes_back(device: Device) -> None:
    """I15: versions of scopes only grow, as long as the device has them."""
    now: dict[str, int] = dict(device.rows("SELECT scope, version FROM holdfast_scope"))
    for scope, version in device.seen_versions.items():
        assert now.get(scope, version) >= version, f"I15: {device.name} went back in {scope}"
    device.seen_versions = now


def orphans_of(device: Device) -> set[Orphan]:
    """Table, key, parent and which foreign key, of all rows whose parent is not there. A row that
    comes back in an answer has another place in its table, and the same key."""
    found = set()
    for name, rowid, parent, number in device.rows("PRAGMA foreign_key_check"):
        key = ", ".join(_key_of(device, name))
        ((*values,),) = device.rows(f"SELECT {key} FROM {name} WHERE rowid = ?", rowid)
        found.add((str(name), tuple(values), str(parent), int(number)))
    return found


def _key_of(device: Device, table: str) -> list[str]:
    sql = "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk"
    return [str(name) for (name,) in device.rows(sql, table)]


def nothing_is_orphaned(device: Device, truth: Truth) -> None:
    """No work of this device leaves a row without its parent. Others may: a parent can be out of
    its scopes; a removal can be forgotten; and a program may write without foreign keys."""
    if device.is_comparing():
        return
    found = orphans_of(device) - device.foreign_orphans
    known = truth() if found else {}
    for table, key, parent, _ in found:
        named = " AND ".join(f"{name} = ?" for name in _key_of(device, table))
        (row,) = device.rows(f"SELECT store, {parent} FROM {table} WHERE {named}", *key)
        shown = [r for (t, _), r in known.items() if t == table and row[1] in r and row[0] in r]
        assert shown and (parent, row[1]) not in known, (
            f"{device.name}: {table} {row} stands without its {parent}"
        )


def what_is_shown_stands_on_what_is_shown(device: Device) -> None:
    """What builds on a transaction that is set aside is set aside too, if it has seen it."""
    rows = device.rows(
        "SELECT number, after, aside FROM holdfast_tx WHERE state IN ('pending', 'sent')"
    )
    aside = {number: since for number, _, since in rows if since}
    for number, after, since in rows:
        stands_on = [one for one in json.loads(after) if number < aside.get(one, 0)]
        assert since or not stands_on, f"I16: {device.name} shows {number} without {stands_on}"
