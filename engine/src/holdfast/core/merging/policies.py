"""Merge policies: what becomes of one column when a change of it arrives.

Knows: the column, its value and stamp, the change and its author; a group comes as one column
(``groups``). Must not know: whether the row lives (``merge`` does), SQL, messages, clocks;
time stamps arrive corrected.

Upholds I18 (the policy decides, and the loser is on record) and I21 (counters add up). A change is
concurrent when another device has written the column in a revision above the one the change is
based on. What is not concurrent applies, whatever the policy.

Who wrote a value that already stood there is recorded as well, or a third writer's fate would hang
on the order of arrival. Under ``latest`` a later writer takes the stamp over, in the revision that
the row will have next, so that it counts as unseen by everyone; all other policies note only that
the value has a second writer in the same revision, for whoever has seen that has seen the value.

A default is a value that nobody chose: where an insert's column holds it, nobody has written, in
whatever transaction the choice then comes. So nothing is concurrent with it, it is nobody's loss,
and an insert of a row that lives leaves alone what it only has a default for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.errors import Refuse
from holdfast.core.limits import INTEGER_MAX, INTEGER_MIN
from holdfast.core.merging.rows import Stamp, newest_by_others
from holdfast.core.values import Value, order_key
from holdfast.schema.model import Column, MergePolicy, Table


class RowChange(Struct, frozen=True, gc=False):
    """An incoming change of one row, already validated; values are in their storage form.

    ``new`` has the touched columns (an insert: all but the key); a counter has its difference, in
    an insert its value. ``bases`` names columns with another base than ``base``.
    """

    table: Table
    key: str
    """The key's canonical text."""
    key_values: tuple[Value, ...]
    op: Literal["insert", "update", "delete"]
    base: int
    bases: Mapping[str, int]
    new: Mapping[str, Value]
    old: Mapping[str, Value]


class Author(Struct, frozen=True, gc=False):
    """Whose change it is: ``at`` is corrected, in microseconds; ``number`` is the transaction's."""

    device: str
    user: str
    at: int
    number: int


class Decision(Struct, frozen=True, gc=False):
    """A journal entry: an automatic decision that dropped or overrode what somebody wrote.

    ``kind`` is the policy that decided, or else what was lost: a ``delete`` to an edit, an ``edit``
    to a delete (a counter's then is its difference, or its value when the delete came later), a
    ``settlement`` to a newer state. ``column`` is empty when it is about the whole row.
    """

    table: str
    key: str
    column: str
    kind: Literal[
        "latest", "server", "client", "largest", "smallest", "delete", "edit", "settlement"
    ]
    kept: Value
    kept_device: str
    kept_user: str
    kept_at: int
    lost: Value
    lost_device: str
    lost_user: str
    lost_at: int


class OpenConflict(Struct, frozen=True, gc=False):
    """A conflict to open, or, when this device has one open here, one whose ``mine`` to update.

    ``mine`` is the arriving side, ``theirs`` what stands on the server. In an ``edit`` they are
    storage values of ``column``. A ``delete`` is about the whole row (``column`` is empty): the
    side that edited is the JSON text of an object of wire values by column, the other ``None``.
    """

    table: str
    key: str
    column: str
    kind: Literal["edit", "delete"]
    base: Value
    mine: Value
    theirs: Value
    mine_author: Author
    their_device: str
    their_user: str
    their_at: int


class Cell(Struct, frozen=True, gc=False):
    """One column of a row that lives, as the server has it, and what the change was based on.

    ``rev`` is the revision the row gets if anything changes; ``base`` is one of this incarnation.
    ``untouched``: nobody has written it since the insert.
    """

    column: Column
    value: Value
    stamp: Stamp
    untouched: bool
    base: int
    rev: int

    @property
    def unchosen(self) -> bool:
        """Whether all that stands is the default of an insert; one that was meant looks alike."""
        return self.untouched and self.value == self.column.default_value()


class Verdict(Struct, frozen=True, gc=False):
    """The column's value and stamp from now on, and what goes on record."""

    value: Value
    stamp: Stamp
    decision: Decision | None = None
    conflict: OpenConflict | None = None


def merge_column(cell: Cell, change: RowChange, author: Author, *, settled: bool) -> Verdict:
    """Decide one touched column. Raises ``Refuse`` (``overflow``) for a counter."""
    column, stamp = cell.column, cell.stamp
    incoming = change.new[column.name]
    if column.merge == "counter":
        return _add(cell, incoming, author, inserts=change.op == "insert")
    if settled:
        return Verdict(incoming, _settle(cell, incoming, author))
    if change.op == "insert" and incoming == column.default_value():
        return Verdict(cell.value, stamp)
    if cell.unchosen:
        return Verdict(incoming, _choose(cell, incoming, author))
    concurrent = newest_by_others(stamp, author.device) > cell.base
    if incoming == cell.value:
        return Verdict(incoming, _write_again(cell, author))
    if not concurrent:
        decision = None
        if _unseen_by_itself(cell, change):
            kind: _Automatic = "latest" if column.merge == "manual" else column.merge
            decision = _overridden(cell, change, author, kind)
        return Verdict(incoming, _write(cell, author, follows=True), decision)
    if column.merge == "manual":
        return Verdict(cell.value, stamp, conflict=_conflict(cell, change, author))
    if not _ARRIVING_WINS[column.merge](cell, incoming, author):
        return Verdict(cell.value, stamp, _dropped(cell, change, author, column.merge))
    same_device = stamp.device == author.device
    decision = (
        None
        if same_device and not stamp.shared and not _unseen_by_itself(cell, change)
        else _overridden(cell, change, author, column.merge)
    )
    return Verdict(incoming, _write(cell, author, follows=same_device), decision)


def _unseen_by_itself(cell: Cell, change: RowChange) -> bool:
    """Whether a device makes its own row anew, that had left it with a scope: it has not seen what
    it wrote then."""
    unseen = change.op == "insert" and cell.stamp.rev > cell.base
    return unseen and cell.value != cell.column.default_value()


def _add(cell: Cell, difference: Value, author: Author, *, inserts: bool) -> Verdict:
    assert isinstance(difference, int), "a counter's difference is an integer"
    assert isinstance(cell.value, int), "a counter is an integer"
    if difference == 0:
        return Verdict(cell.value, cell.stamp)
    if inserts:
        if difference == cell.column.default_value():
            return Verdict(cell.value, cell.stamp)
        if cell.unchosen:
            return Verdict(difference, _choose(cell, difference, author))
    total = cell.value + difference
    if not INTEGER_MIN <= total <= INTEGER_MAX:
        raise Refuse(
            "overflow",
            f"{cell.column.name} would become {total}, which does not fit 64 bits.",
            field=cell.column.name,
        )
    return Verdict(total, _write(cell, author, follows=True))


def _write(cell: Cell, author: Author, *, follows: bool) -> Stamp:
    """The stamp of a new value. One that follows on the present value is never older than it."""
    stamp = cell.stamp
    at = max(author.at, stamp.at) if follows else author.at
    # Below `rev`, so that it cannot be taken for a value with two writers.
    other = min(newest_by_others(stamp, author.device), cell.rev - 1)
    return Stamp(cell.rev, author.device, author.user, at, other)


def _choose(cell: Cell, chosen: Value, author: Author) -> Stamp:
    """The stamp of the first value that somebody chose: there is no other writer before it."""
    seen = chosen == cell.value and cell.column.merge != "latest"
    rev = cell.stamp.rev if seen else cell.rev
    return Stamp(rev, author.device, author.user, author.at)


def _write_again(cell: Cell, author: Author) -> Stamp:
    """The stamp after the value that stands has been written once more (see the module)."""
    stamp = cell.stamp
    shared = stamp.shared or stamp.device != author.device
    if cell.column.merge == "latest" and author.at > stamp.at:
        other = cell.rev if shared else stamp.other
        return Stamp(cell.rev, author.device, author.user, author.at, other)
    return replace(stamp, other=stamp.rev) if shared else stamp


def _settle(cell: Cell, chosen: Value, author: Author) -> Stamp:
    """The stamp of a settlement: its author has seen the other side, so nothing is unseen by it."""
    rev = cell.stamp.rev if chosen == cell.value else cell.rev
    return Stamp(rev, author.device, author.user, max(author.at, cell.stamp.at))


def _is_later(cell: Cell, _incoming: Value, author: Author) -> bool:
    # A device's transactions arrive in the order of their numbers (I9): its own arrival is later.
    return author.device == cell.stamp.device or author.at >= cell.stamp.at


def _is_larger(cell: Cell, incoming: Value, _author: Author) -> bool:
    return _exceeds(cell.column, incoming, cell.value)


def _is_smaller(cell: Cell, incoming: Value, _author: Author) -> bool:
    if incoming is None or cell.value is None:
        return incoming is not None
    return _exceeds(cell.column, cell.value, incoming)


def _exceeds(column: Column, one: Value, other: Value) -> bool:
    """Whether ``one`` is larger; no value loses against any value."""
    if one is None or other is None:
        return one is not None
    return bool(order_key(column.type, one) > order_key(column.type, other))


_ARRIVING_WINS: dict[MergePolicy, Callable[[Cell, Value, Author], bool]] = {
    "latest": _is_later,
    "server": lambda _cell, _incoming, _author: False,
    "client": lambda _cell, _incoming, _author: True,
    "largest": _is_larger,
    "smallest": _is_smaller,
}

_Automatic = Literal["latest", "server", "client", "largest", "smallest"]


def _dropped(cell: Cell, change: RowChange, author: Author, kind: _Automatic) -> Decision:
    """The arriving value lost."""
    name, stamp = cell.column.name, cell.stamp
    return Decision(
        table=change.table.name,
        key=change.key,
        column=name,
        kind=kind,
        kept=cell.value,
        kept_device=stamp.device,
        kept_user=stamp.user,
        kept_at=stamp.at,
        lost=change.new[name],
        lost_device=author.device,
        lost_user=author.user,
        lost_at=author.at,
    )


def _overridden(cell: Cell, change: RowChange, author: Author, kind: _Automatic) -> Decision:
    """The value that stood lost."""
    name, stamp = cell.column.name, cell.stamp
    return Decision(
        table=change.table.name,
        key=change.key,
        column=name,
        kind=kind,
        kept=change.new[name],
        kept_device=author.device,
        kept_user=author.user,
        kept_at=author.at,
        lost=cell.value,
        lost_device=stamp.device,
        lost_user=stamp.user,
        lost_at=stamp.at,
    )


def _conflict(cell: Cell, change: RowChange, author: Author) -> OpenConflict:
    name, stamp = cell.column.name, cell.stamp
    return OpenConflict(
        table=change.table.name,
        key=change.key,
        column=name,
        kind="edit",
        base=change.old.get(name),
        mine=change.new[name],
        theirs=cell.value,
        mine_author=author,
        their_device=stamp.device,
        their_user=stamp.user,
        their_at=stamp.at,
    )
