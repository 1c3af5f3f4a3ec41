"""Policies that choose between the value that stands and the one that arrives, or ask a person.

Knows: one cell and one change of it. Must not know: whether the row lives, SQL, messages, clocks.

Upholds I18 (the policy decides, and the loser is on record). A change is concurrent when another
replica has written the column in a revision above the one the change is based on. What is not
concurrent applies, whatever the policy.

Who wrote a value that already stood there is recorded as well, or a third writer's fate would hang
on the order of arrival. Under ``latest`` a later writer takes the stamp over, in the revision that
the row will have next, so that it counts as unseen by everyone; all other policies note only that
the value has a second writer in the same revision, for whoever has seen that has seen the value.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from holdfast.core.merging.cells import (
    Author,
    Automatic,
    Cell,
    Decide,
    Decision,
    OpenConflict,
    RowChange,
    Verdict,
    decision,
    first_choice,
    made_on_another,
    written,
)
from holdfast.core.merging.rows import Stamp
from holdfast.core.values import Value, order_key
from holdfast.schema.model import Column

ArrivingWins = Callable[[Cell, Value, Author], bool]
"""Whether the value that arrives wins against the one that stands."""


def chooses(kind: Automatic, arriving_wins: ArrivingWins) -> Decide:
    """Make the ``decide`` of a policy that chooses by itself and records what lost."""

    def decide(cell: Cell, change: RowChange, author: Author, *, settled: bool) -> Verdict:
        """Decide one touched column."""
        verdict = _unopposed(cell, change, author, kind=kind, settled=settled)
        if verdict is not None:
            return verdict
        incoming, stamp = change.new[cell.column.name], cell.stamp
        if not arriving_wins(cell, incoming, author):
            return Verdict(cell.value, stamp, _dropped(cell, change, author, kind))
        own = author.wrote(stamp)
        record = (
            None
            if own and not stamp.shared and not _unseen_by_itself(cell, change, author)
            else _overridden(cell, change, author, kind)
        )
        return Verdict(incoming, written(cell, author, follows=own), record)

    return decide


def ask(cell: Cell, change: RowChange, author: Author, *, settled: bool) -> Verdict:
    """Decide one touched column; leave a concurrent change to a person."""
    verdict = _unopposed(cell, change, author, kind="latest", settled=settled)
    if verdict is not None:
        return verdict
    return Verdict(cell.value, cell.stamp, conflict=_conflict(cell, change, author))


def _unopposed(
    cell: Cell, change: RowChange, author: Author, *, kind: Automatic, settled: bool
) -> Verdict | None:
    """Decide what needs no choice: all but a concurrent change to another value."""
    column, stamp = cell.column, cell.stamp
    incoming = change.new[column.name]
    if settled:
        return Verdict(incoming, _settle(cell, incoming, author))
    if change.op == "insert" and incoming == column.default_value():
        return Verdict(cell.value, stamp)
    if cell.unchosen:
        return Verdict(incoming, first_choice(cell, incoming, author))
    if incoming == cell.value:
        return Verdict(incoming, _write_again(cell, author))
    if author.newest_by_others(stamp) > cell.base:
        return None
    unseen = _unseen_by_itself(cell, change, author)
    record = _overridden(cell, change, author, kind) if unseen else None
    return Verdict(incoming, written(cell, author, follows=True), record)


def _unseen_by_itself(cell: Cell, change: RowChange, author: Author) -> bool:
    """Return whether the value that stands is the device's own, and not what it made the change on.

    A row that it makes anew had left it with a scope; an update says what it replaces.
    """
    stamp = cell.stamp
    if not author.wrote(stamp) or stamp.rev <= cell.base:
        return False
    if change.op == "insert":
        return cell.value != cell.column.default_value()
    return made_on_another(change, cell.column.name, cell.value)


def _write_again(cell: Cell, author: Author) -> Stamp:
    """The stamp after the value that stands has been written once more (see the module)."""
    stamp = cell.stamp
    shared = stamp.shared or not author.wrote(stamp)
    if cell.column.merge == "latest" and author.at > stamp.at:
        other = cell.rev if shared else stamp.other
        return author.stamp(cell.rev, other=other)
    return replace(stamp, other=stamp.rev) if shared else stamp


def _settle(cell: Cell, chosen: Value, author: Author) -> Stamp:
    """The stamp of a settlement: its author has seen the other side, so nothing is unseen by it."""
    rev = cell.stamp.rev if chosen == cell.value else cell.rev
    return author.stamp(rev, at=max(author.at, cell.stamp.at))


def is_later(cell: Cell, _incoming: Value, author: Author) -> bool:
    """``latest``: the later time wins."""
    # A replica's transactions arrive in the order of their numbers (I9): its own arrival is later.
    return author.wrote(cell.stamp) or author.at >= cell.stamp.at


def is_larger(cell: Cell, incoming: Value, _author: Author) -> bool:
    """``largest``: no value is the least."""
    return _exceeds(cell.column, incoming, cell.value)


def is_smaller(cell: Cell, incoming: Value, _author: Author) -> bool:
    """``smallest``: no value is the most."""
    if incoming is None or cell.value is None:
        return incoming is not None
    return _exceeds(cell.column, cell.value, incoming)


def _exceeds(column: Column, one: Value, other: Value) -> bool:
    """Return whether ``one`` is larger; no value loses against any value."""
    if one is None or other is None:
        return one is not None
    return bool(order_key(column.type, one) > order_key(column.type, other))


def _dropped(cell: Cell, change: RowChange, author: Author, kind: Automatic) -> Decision:
    """The arriving value lost."""
    column = cell.column.name
    kept, lost = (cell.value, cell.stamp), (change.new[column], author)
    return decision(change, kind, column=column, kept=kept, lost=lost)


def _overridden(cell: Cell, change: RowChange, author: Author, kind: Automatic) -> Decision:
    """The value that stood lost."""
    column = cell.column.name
    kept, lost = (change.new[column], author), (cell.value, cell.stamp)
    return decision(change, kind, column=column, kept=kept, lost=lost)


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
