"""Settlements: when a person's choice about a conflict counts, and what then happens.

Knows: what a conflict row says, and what was chosen. Must not know: who may write.
A settlement counts only while its conflict is open, and disposes only of what its maker saw:

- Another device has written the value meanwhile: the conflict stays open with the settler's choice
  as its side.
- The conflict's side has another value meanwhile: the choice is written, and the conflict stays
  open with that side.
- Both: the conflict stays open between the two that nobody chose from, the choice is journalled.

A second settlement is journalled and dropped.

Upholds I18 (no side is lost) and I28 (what does not count is on record).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from holdfast.core import values
from holdfast.core.errors import BadValue, Refuse
from holdfast.core.keys import RowPlace, key_values
from holdfast.core.merging import groups
from holdfast.core.merging.merge import Author, Decision, RowChange, merge
from holdfast.core.merging.policies import policy_of
from holdfast.core.merging.rows import ServerRow, base_in, stamp_of
from holdfast.core.values import Row, Value
from holdfast.schema.model import CONFLICT_TABLE, Column, Table
from holdfast.server.merging.batch import Batch
from holdfast.server.merging.conflicts import is_its_side, wire_text

SETTLING = frozenset({"state", "chosen", "settled_by", "settled_at"})
"""The only columns of a conflict that a device may write."""


@dataclass(slots=True)
class Plan:
    """A transaction after its settlements were looked at.

    ``changes`` are left to merge, ``settled`` names columns whose write just applies, ``writes``
    are columns of conflict rows.
    """

    changes: list[RowChange]
    settled: dict[RowPlace, frozenset[str]] = field(default_factory=dict)
    writes: list[tuple[str, dict[str, Value]]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Settlement:
    """One settlement: the conflict's row, its target and what was chosen."""

    key: str
    conflict: Mapping[str, Value]
    table: Table
    row_key: str
    row: ServerRow
    chosen: str | None
    author: Author
    saw_row: bool
    """Whether the settler saw the conflict as it is, with what it says of the row."""
    unseen: bool
    """Whether another device has written the conflict's side after the settler last saw it."""


def check_settling(change: RowChange) -> None:
    """Devices settle conflicts and do nothing else to them. Raises ``Refuse`` (``forbidden``)."""
    if (
        change.op != "update"
        or not change.new.keys() <= SETTLING
        or change.new.get("state") != "settled"
    ):
        raise Refuse(
            "forbidden",
            "A conflict row can only be settled, not written or deleted.",
            table=CONFLICT_TABLE.name,
        )


def plan_settlements(batch: Batch, changes: Sequence[RowChange], author: Author) -> Plan:
    """Decide which settlements count. Raises ``Refuse``."""
    plan = Plan([change for change in changes if change.table is not CONFLICT_TABLE])
    for change in changes:
        if change.table is CONFLICT_TABLE:
            _plan_one(plan, _settlement(batch, change, author))
    return plan


def _settlement(batch: Batch, change: RowChange, author: Author) -> _Settlement:
    row = batch.get(CONFLICT_TABLE, change.key)
    if row.values is None:
        raise Refuse("row_gone", "This conflict no longer exists.")
    conflict = dict(zip(CONFLICT_TABLE.column_names, row.values, strict=True))
    table = batch.schema.by_name.get(str(conflict["table_name"]))
    if table is None:
        raise Refuse("row_gone", "The table of this conflict no longer exists.")
    row_key = str(conflict["row_key"])
    chosen = change.new.get("chosen")
    base = base_in(row, change.bases.get("state", change.base))
    return _Settlement(
        key=change.key,
        conflict=conflict,
        table=table,
        row_key=row_key,
        row=batch.get(table, row_key),
        chosen=None if chosen is None else str(chosen),
        author=author,
        saw_row=stamp_of(row, "theirs").rev <= base,
        unseen=not is_its_side(row, author) and stamp_of(row, "mine").rev > base,
    )


def _plan_one(plan: Plan, settlement: _Settlement) -> None:
    target = next(
        (
            change
            for change in plan.changes
            if change.table is settlement.table and change.key == settlement.row_key
        ),
        None,
    )
    if settlement.conflict["kind"] == "delete":
        _plan_delete(plan, settlement, target)
    else:
        _plan_edit(plan, settlement, target)


# A conflict about one column, or one group of them


def _plan_edit(plan: Plan, settlement: _Settlement, target: RowChange | None) -> None:
    table = settlement.table
    cell = str(settlement.conflict["column_name"])
    if groups.column_of(table, cell) is None:
        raise Refuse("row_gone", "The column of this conflict no longer exists.")
    chosen = _chosen_cell(table, cell, settlement.chosen)
    settlement = dataclasses.replace(settlement, chosen=_cell_text(settlement, cell, chosen))
    writes = (
        target is not None
        and target.op == "update"
        and not target.new.keys().isdisjoint(groups.columns_of(cell))
    )
    if writes and target is not None and groups.value_in(table, cell, target.new) != chosen:
        raise Refuse(
            "bad_value", f"{table.name}.{cell} was written with another value than "
            "the one that was chosen.", field=groups.columns_of(cell)[0],
        )  # fmt: skip
    row = settlement.row
    if settlement.conflict["state"] != "open":
        _plan_late(plan, settlement, target, cell, chosen)
        return
    if row.values is None:
        _close(plan, settlement)  # a write of a row that was deleted is merged like any other
        return
    current = groups.value_of(table, cell, row.values)
    if current != chosen and (
        not writes or target is None or _moved_on(row, cell, target, settlement.author)
    ):
        if target is not None:
            _drop_cell(plan, target, cell)
        _made_on_another_value(plan, settlement, cell, current, chosen)
        return
    if not settlement.unseen or settlement.conflict["mine"] == wire_text(table, cell, chosen):
        _close(plan, settlement)
    if writes:
        place = table.name, settlement.row_key
        names = plan.settled.get(place, frozenset()) | set(groups.columns_of(cell))
        plan.settled[place] = names


def _made_on_another_value(
    plan: Plan,
    settlement: _Settlement,
    cell: str,
    current: Value,
    chosen: Value,
) -> None:
    """The value has moved on, and the choice was not about this one."""
    if not settlement.unseen:
        _reopen_edit(plan, settlement, cell, current)
    elif settlement.conflict["mine"] != wire_text(settlement.table, cell, chosen):
        plan.decisions.append(_outrun(settlement, cell, chosen))


def _moved_on(row: ServerRow, cell: str, change: RowChange, author: Author) -> bool:
    """Return whether another device has written the cell since the settler saw it."""
    base = base_in(row, groups.seen_base(cell, change.base, change.bases))
    newest = author.newest_by_others(groups.stamp_in(row, cell))
    return min(newest, row.rev) > base


def _reopen_edit(plan: Plan, settlement: _Settlement, cell: str, current: Value) -> None:
    stamp = groups.stamp_in(settlement.row, cell)
    theirs = wire_text(settlement.table, cell, current)
    _reopen(
        plan, settlement, mine=settlement.chosen, theirs=theirs,
        their_device=stamp.device, their_user=stamp.user, their_at=stamp.at,
    )  # fmt: skip


def _plan_late(
    plan: Plan,
    settlement: _Settlement,
    target: RowChange | None,
    cell: str,
    chosen: Value,
) -> None:
    """The conflict was settled before: what was chosen now is journalled and dropped."""
    if settlement.row.values is None:
        return  # it was closed with the row; what is written is merged like any other edit
    if target is not None and target.op == "update":
        _drop_cell(plan, target, cell)
    if settlement.chosen != settlement.conflict["chosen"]:
        plan.decisions.append(_outrun(settlement, cell, chosen))


def _outrun(settlement: _Settlement, cell: str, chosen: Value) -> Decision:
    """A choice that comes to nothing: what stands was written without it."""
    row, author = settlement.row, settlement.author
    assert row.values is not None, "the row is there"
    stamp = groups.stamp_in(row, cell)
    return Decision(
        table=settlement.table.name, key=settlement.row_key, column=cell,
        kind="settlement", kept=groups.value_of(settlement.table, cell, row.values),
        kept_device=stamp.device, kept_user=stamp.user, kept_at=stamp.at, lost=chosen,
        lost_device=author.device, lost_user=author.user, lost_at=author.at,
    )  # fmt: skip


# A conflict of a delete with an edit


def _plan_delete(plan: Plan, settlement: _Settlement, target: RowChange | None) -> None:
    row, table = settlement.row, settlement.table
    edit = _chosen_edit(table, settlement.chosen)
    settlement = dataclasses.replace(settlement, chosen=_edit_text(settlement, edit))
    if settlement.conflict["state"] != "open":
        _late_delete(plan, settlement, target)
    elif settlement.unseen and settlement.chosen != settlement.conflict["mine"]:
        _drop(plan, target)  # there is more to keep or to give up than the settler knew
        plan.decisions.append(_unheard(settlement))
    elif edit is None and row.values is None:
        _drop(plan, target)
        _close(plan, settlement)
    elif edit is None:
        _settle_by_delete(plan, settlement, target)
    elif row.values is None:
        _revive(plan, settlement, target, edit)
    elif _stands(table, row.values, edit) or target is not None:
        _close(plan, settlement)  # what the transaction writes is merged like any other edit
    elif settlement.conflict["mine"] is None:
        _close(plan, settlement)  # the row was to be kept, and it is there
    elif settlement.saw_row and settlement.conflict["theirs"] == _row_text(table, row.values):
        _write_edit(plan, settlement, edit)
    else:
        _reopen_row(plan, settlement, row.values)


def _settle_by_delete(plan: Plan, settlement: _Settlement, target: RowChange | None) -> None:
    """The row is to go; it goes if the settler had seen what others wrote into it."""
    assert settlement.row.values is not None, "the row is there"
    if target is None or target.op != "delete":
        _reopen_row(plan, settlement, settlement.row.values)
        return
    trial = merge(settlement.row, target, settlement.author, incarnation=1)
    if not trial.conflicts:
        _close(plan, settlement)
        return
    _drop(plan, target)
    conflict = trial.conflicts[0]
    theirs = None if conflict.theirs is None else str(conflict.theirs)
    _reopen(
        plan, settlement, mine=None, theirs=theirs, their_device=conflict.their_device,
        their_user=conflict.their_user, their_at=conflict.their_at,
    )  # fmt: skip


def _revive(
    plan: Plan,
    settlement: _Settlement,
    target: RowChange | None,
    edit: dict[str, Value],
) -> None:
    """The row comes back from its last image, with the edit."""
    if target is None or target.op != "insert":
        _drop(plan, target)
        _write_edit(plan, settlement, {**edit, **({} if target is None else target.new)})
    else:
        _close(plan, settlement)


def _write_edit(plan: Plan, settlement: _Settlement, new: dict[str, Value]) -> None:
    """The edit goes in, whatever stands, and the conflict is settled."""
    change = RowChange(
        table=settlement.table,
        key=settlement.row_key,
        key_values=key_values(settlement.table, settlement.row_key),
        op="update",
        base=settlement.row.rev,
        bases={},
        new=new,
        old={},
    )
    plan.changes.append(change)
    plan.settled[settlement.table.name, settlement.row_key] = frozenset({"", *new})
    _close(plan, settlement)


def _row_text(table: Table, row: Row) -> str:
    """Return what stands, as a conflict about the whole row shows it."""
    current = {
        column.name: values.to_wire(column.type, row[table.positions[column.name]])
        for column in table.data_columns
    }
    return msgspec.json.encode(current).decode()


def _reopen_row(plan: Plan, settlement: _Settlement, row: Row) -> None:
    newest = max(
        (stamp_of(settlement.row, column.name) for column in settlement.table.data_columns),
        key=lambda stamp: stamp.rev,
        default=settlement.row.row,
    )
    assert newest is not None, "a row that lives has a stamp"
    _reopen(
        plan, settlement, mine=settlement.chosen, theirs=_row_text(settlement.table, row),
        their_device=newest.device, their_user=newest.user, their_at=newest.at,
    )  # fmt: skip


def _late_delete(plan: Plan, settlement: _Settlement, target: RowChange | None) -> None:
    _drop(plan, target)
    if settlement.chosen != settlement.conflict["chosen"]:
        plan.decisions.append(_unheard(settlement))


def _unheard(settlement: _Settlement) -> Decision:
    """A choice about a whole row that does not count."""
    author, conflict = settlement.author, settlement.conflict
    settled_at = conflict["settled_at"]
    return Decision(
        table=settlement.table.name, key=settlement.row_key, column="", kind="settlement",
        kept=conflict["chosen"], kept_device="", kept_user=str(conflict["settled_by"] or ""),
        kept_at=settled_at if isinstance(settled_at, int) else 0, lost=settlement.chosen,
        lost_device=author.device, lost_user=author.user, lost_at=author.at,
    )  # fmt: skip


def _stands(table: Table, row: Row, edit: Mapping[str, Value]) -> bool:
    return all(row[table.positions[name]] == value for name, value in edit.items())


# What a plan does


def _close(plan: Plan, settlement: _Settlement) -> None:
    author = settlement.author
    plan.writes.append(
        (
            settlement.key,
            {"state": "settled", "chosen": settlement.chosen, "settled_by": author.user,
             "settled_at": author.at},
        )
    )  # fmt: skip


def _reopen(
    plan: Plan,
    settlement: _Settlement,
    *,
    mine: str | None,
    theirs: str | None,
    their_device: str,
    their_user: str,
    their_at: int,
) -> None:
    author = settlement.author
    new: dict[str, Value] = {
        "theirs": theirs, "their_user": their_user, "their_device": their_device,
        "their_at": their_at,
    }  # fmt: skip
    if mine != settlement.conflict["mine"]:
        new |= {"mine": mine, "user": author.user, "device": author.device, "at": author.at}
    plan.writes.append((settlement.key, new))


def _drop(plan: Plan, target: RowChange | None) -> None:
    plan.changes = [change for change in plan.changes if change is not target]


def _drop_cell(plan: Plan, target: RowChange, cell: str) -> None:
    names = groups.columns_of(cell)
    rest = {column: value for column, value in target.new.items() if column not in names}
    plan.changes = [
        replace(change, new=rest) if change is target else change for change in plan.changes
    ]
    if not rest:
        plan.changes = [change for change in plan.changes if change.new or change.op != "update"]


def _cell_text(settlement: _Settlement, cell: str, chosen: Value) -> str | None:
    """Return what was chosen for a cell, as the server writes it: texts of one value are the same
    text.

    Hosts write a number in different ways (``2`` and ``2.0``), and choices are compared as texts.
    """
    if settlement.chosen is None:
        return None
    return wire_text(settlement.table, cell, chosen)


def _edit_text(settlement: _Settlement, edit: dict[str, Value] | None) -> str | None:
    """Return what was chosen of a row, as the conflict says it, if it does; else as the server
    would.
    """
    if edit is None:
        return None
    table = settlement.table
    for known in (settlement.conflict[side] for side in ("mine", "theirs", "chosen")):
        with contextlib.suppress(Refuse):
            if isinstance(known, str) and _chosen_edit(table, known) == edit:
                return known
    wire = {name: values.to_wire(table.by_name[name].type, edit[name]) for name in edit}
    return msgspec.json.encode(wire).decode()


def _decode(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise Refuse("bad_value", "What was chosen is not valid.", field="chosen") from None


def _said(column: Column, wire: Any) -> Value:
    """A side of a conflict about a column: what an update says of it, or a value. Raises
    ``BadValue``."""
    check = policy_of(column).check
    try:
        return check(column, wire, True)
    except BadValue:
        return check(column, wire, False)


def _chosen_value(column: Column, text: str | None) -> Value:
    try:
        wire = None if text is None else _decode(text)
        value = None if wire is None else _said(column, wire)
    except BadValue as error:
        raise Refuse(
            "bad_value", f"What was chosen does not fit: {error.message}.", field="chosen"
        ) from None
    if value is None and not column.nullable:
        raise Refuse("not_null", f"{column.name} must have a value.", field="chosen")
    return value


def _chosen_cell(table: Table, cell: str, text: str | None) -> Value:
    """Return what was chosen for a column, or, as an object by column, for all of a group."""
    if cell not in table.group_columns:
        return _chosen_value(table.by_name[cell], text)
    wire = None if text is None else _decode(text)
    names = groups.columns_of(cell)
    if not isinstance(wire, dict) or wire.keys() != set(names):
        raise Refuse(
            "bad_value", f"What was chosen has to say {', '.join(names)}, and nothing else.",
            field="chosen",
        )  # fmt: skip
    return groups.value_in(table, cell, _chosen_edit(table, text) or {})


def _chosen_edit(table: Table, text: str | None) -> dict[str, Value] | None:
    """The columns of the side that keeps the row; None when the delete was chosen."""
    wire = None if text is None else _decode(text)
    if wire is None:
        return None
    names = {column.name for column in table.data_columns}
    if (
        not isinstance(wire, dict)
        or not wire.keys() <= names
        or any(0 < len(wire.keys() & set(group)) < len(group) for group in table.groups)
    ):
        raise Refuse("bad_value", "What was chosen does not fit the row.", field="chosen")
    return {
        name: _chosen_value(table.by_name[name], msgspec.json.encode(value).decode())
        for name, value in wire.items()
    }
