"""Counters: integers whose differences add up.

Knows: two values and a difference of them. Must not know: whether the row lives, SQL, messages.
A change says by how much, so that changes of several devices add up in any order; nothing is ever
concurrent, and nothing is lost.

Upholds I21 (a counter is the sum of the accepted differences).
"""

from __future__ import annotations

from holdfast.core.errors import Refuse
from holdfast.core.limits import INTEGER_MAX, INTEGER_MIN
from holdfast.core.merging.cells import Author, Cell, RowChange, Verdict, first_choice, written
from holdfast.core.values import Value


def difference(before: Value, after: Value) -> Value:
    """Return by how much ``after`` is more than ``before``."""
    return after - before if isinstance(before, int) and isinstance(after, int) else after


def between(by: Value) -> tuple[Value, Value]:
    """Return two values of which the second is so much more than the first."""
    return 0, by


def replay(current: Value, before: Value, after: Value) -> Value:
    """Return ``current`` after a change from ``before`` (None: an insert) to ``after``, held within
    what an integer can be: the server refuses what leaves it."""
    start = 0 if before is None else before
    if not (isinstance(current, int) and isinstance(after, int) and isinstance(start, int)):
        return after
    return min(max(current + after - start, INTEGER_MIN), INTEGER_MAX)


def join(first: Value, second: Value) -> Value:
    """Return two differences as one, held within what an integer can be."""
    return replay(first, 0, second)


def follow(value: Value, incoming: Value) -> Value:
    """Return the sum; None when it needs a closer look."""
    assert isinstance(value, int), "a counter is an integer"
    assert isinstance(incoming, int), "a counter's difference is an integer"
    total = value + incoming
    return total if incoming and INTEGER_MIN <= total <= INTEGER_MAX else None


def decide(
    cell: Cell,
    change: RowChange,
    author: Author,
    *,
    settled: bool,  # noqa: ARG001
) -> Verdict:
    """Add a difference, of an insert its value. Raises ``Refuse`` (``overflow``).

    That it settles something makes no difference: what is added is added.
    """
    incoming = change.new[cell.column.name]
    assert isinstance(incoming, int), "a counter's difference is an integer"
    assert isinstance(cell.value, int), "a counter is an integer"
    if incoming == 0:
        return Verdict(cell.value, cell.stamp)
    if change.op == "insert":
        if incoming == cell.column.default_value():
            return Verdict(cell.value, cell.stamp)
        if cell.unchosen:
            return Verdict(incoming, first_choice(cell, incoming, author))
    total = cell.value + incoming
    if not INTEGER_MIN <= total <= INTEGER_MAX:
        raise Refuse(
            "overflow",
            f"{cell.column.name} would become {total}, which does not fit 64 bits.",
            field=cell.column.name,
        )
    return Verdict(total, written(cell, author, follows=True))
