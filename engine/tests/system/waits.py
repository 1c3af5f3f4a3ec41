"""Nothing waits that rests on nothing refused: what each transaction names, judged by its changes.

Knows: transactions as they were sent. Must not know: how a replica finds out what rests on what.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from growth import EVERY, names_now

from holdfast.core.keys import key_text
from holdfast.core.values import from_wire
from holdfast.protocol.messages import Change, Transaction
from holdfast.schema.model import Table

if TYPE_CHECKING:
    from world import World


def each_wait_has_its_reason(world: World) -> None:
    """I27: by a value of the same column, a row's existence, a reference or a unique value."""
    for (name, number), transaction in world.ledger.sent.items():
        for earlier in transaction.after:
            cause = world.ledger.sent.get((name, earlier))
            if cause is None:
                continue
            world.count["rests on earlier work"] += 1
            assert _rests(transaction, cause), (
                f"I27: {name} {number} waits for {earlier} and has nothing of it"
            )


def freed_in_time(world: World) -> None:
    """I27: at rest nothing is held whose causes have all left the inbox, and that could go on."""
    for device in world.devices:
        waiting = {
            number
            for number, (_, state, _, _) in device.transactions().items()
            if state in ("refused", "held")
        }
        for number, after, code in device.rows(
            "SELECT number, after, code FROM holdfast_tx WHERE state = 'held'"
        ):
            if code == "held":
                assert waiting & set(json.loads(after)), f"I27: {device.name} {number} waits"


def a_refusal_keeps_no_stranger(world: World) -> None:
    """I27: of other programs' writes, a refused transaction has only rows that belong together.

    Judged where all is in the message: among inserted rows."""
    for device in world.devices:
        for (number,) in device.rows(
            "SELECT number FROM holdfast_tx WHERE loose AND state = 'refused'"
        ):
            changes = world.ledger.sent[device.name, number].changes
            if len(changes) > 1 and all(change.op == "insert" for change in changes):
                for one in changes:
                    others = [other for other in changes if other is not one]
                    assert any(_passed(one, other) or _passed(other, one) for other in others), (
                        f"I27: {device.name} {number} keeps {one} for nothing"
                    )


def _rests(later: Transaction, earlier: Transaction) -> bool:
    return any(
        rests_on_row(one, other) if place_of(one) == place_of(other) else _passed(one, other)
        for one in later.changes
        for other in earlier.changes
    )


def place_of(change: Change) -> tuple[str, str]:
    return change.table, _key(EVERY[change.table], change)


def _key(table: Table, change: Change) -> str:
    columns = table.key_columns
    return key_text(
        table,
        tuple(
            from_wire(c.type, value, scale=c.scale)
            for c, value in zip(columns, change.key, strict=True)
        ),
    )


def rests_on_row(one: Change, other: Change) -> bool:
    """Whether a change rests on an earlier one of the same row, when none between them made the row
    or took it away."""
    if other.op != "update":
        return True
    table = EVERY[one.table]
    return one.op == "update" and any(
        table.by_name[name].merge not in ("counter", "set")
        for name in names_now(one) & names_now(other)
    )


def _passed(one: Change, other: Change) -> bool:
    """Whether something went from a row to another: a reference, or a unique value."""
    child, parent = EVERY[one.table], EVERY[other.table]
    new, old = _values(child, one, one.new), _values(parent, other, other.old)
    for key in child.foreign_keys:
        made = key.table == parent.name and other.op == "insert" and one.op != "delete"
        if made and [new.get(name) for name in key.columns] == list(other.key):
            return True
    for key in parent.foreign_keys:
        released = key.table == child.name and one.op == "delete" and other.op != "insert"
        if released and [old.get(name) for name in key.columns] == list(one.key):
            return True
    return (
        child is parent
        and one.op != "delete"
        and other.op != "insert"
        and any(_may_be_freed(unique, new, old) for unique in child.unique)
    )


def _may_be_freed(unique: Sequence[str], new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Whether one row may take the unique value that another had.

    An update tells only those columns of a key that it changes; what both tell is the same."""
    told = [name for name in unique if name in new and name in old]
    return (
        any(name in new for name in unique)
        and any(name in old for name in unique)
        and all(new[name] is not None and new[name] == old[name] for name in told)
    )


def _values(table: Table, change: Change, part: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(table.key, change.key, strict=True)) | part
