"""Counts of what waits in the outbox, without counting it one by one.

Knows: how the outbox is numbered. Must not know: who asks, or what is sent next.
Numbers have no gaps (I9), they are settled in order, and what was sent comes before what was not:
so the transactions that were never sent are the last ones, from the lowest that is ``pending`` to
the highest there is. Before them stand the few that were sent and not answered, and those that wait
for a person. With 100,000 waiting, to say so reads two rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.sql.bookkeeping.statements import KEPT, TRANSACTIONS
from holdfast.sqlite import Connection


def any_unsettled(connection: Connection) -> bool:
    """Return whether anything was sealed that has no outcome yet."""
    return bool(connection.execute(TRANSACTIONS.first_unsettled))


def any_offered_again(connection: Connection) -> bool:
    """Return whether anything that was acknowledged once is offered again."""
    ((_, _, number),) = connection.execute(KEPT.span)
    return bool(number)


def any_unsent(connection: Connection) -> bool:
    """Return whether anything was sealed that has never been sent."""
    return bool(connection.execute(TRANSACTIONS.first_pending))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Transactions of the outbox by state; what is offered again was sent. ``first``: the lowest
    number that is not settled, and ``oldest`` its time, microseconds since 1970; None: there is
    none."""

    pending: int
    sent: int
    held: int
    refused: int
    first: int | None
    oldest: int | None
    oldest_pending: int | None
    """The time of the lowest number that was never sent."""

    @property
    def unsettled(self) -> int:
        return self.pending + self.sent


def read_waiting(connection: Connection) -> Waiting:
    """Return what waits now; within a read transaction of the caller's."""
    ((last,),) = connection.execute(TRANSACTIONS.newest)
    found = connection.execute(TRANSACTIONS.first_pending)
    begin, oldest_pending = found[0] if found else (None, None)
    pending = 0
    if isinstance(begin, int) and isinstance(last, int):
        pending = last - begin + 1
    states = {
        str(state): int(str(number))
        for state, number in connection.execute(
            TRANSACTIONS.count_by_state, ((last if isinstance(last, int) else 0) + 1 - pending,)
        )
    }
    unsettled = connection.execute(TRANSACTIONS.first_unsettled)
    first, oldest = unsettled[0] if unsettled else (None, None)
    ((_, _, again),) = connection.execute(KEPT.span)
    return Waiting(
        pending=pending,
        sent=states.get("sent", 0) + int(str(again)),
        held=states.get("held", 0),
        refused=states.get("refused", 0),
        first=first if isinstance(first, int) else None,
        oldest=oldest if isinstance(oldest, int) else None,
        oldest_pending=oldest_pending if isinstance(oldest_pending, int) else None,
    )
