"""Decisions of a person about what waits for one, and what they are shown of it; offline too.

Knows: the inbox, and that a decision is local work like any other. Must not know: the network.

Upholds I28 and, with the inbox, the local half of I4.
"""

from __future__ import annotations

from typing import Any, NoReturn

from holdfast.core.sides import SideChoice
from holdfast.replica.changes.local_work import LocalWork
from holdfast.replica.inbox.freeing import Freed, Freeing
from holdfast.replica.inbox.inbox import Conflict, Inbox, Refused


class InboxDecisions:
    """Looks at the inbox, and decides what is in it, in transactions of its own."""

    def __init__(self, local: LocalWork, inbox: Inbox) -> None:
        self._local = local
        self._inbox = inbox
        self._freeing = Freeing(inbox, self._seal)

    def row_status(self, table: str, key: str) -> str:
        """Return how one row stands, "unknown" when no such row is known."""
        with self._local.turn:
            self._local.seal_long()
            rows = self._local.row_state(table, key)
        return str(rows[0][0]) if rows else "unknown"

    def conflicts(self) -> list[Conflict]:
        """Open conflicts, oldest first."""
        with self._local.turn:
            return self._inbox.conflicts()

    def refused(self) -> list[Refused]:
        """Refused and held transactions, in order."""
        with self._local.turn:
            return self._inbox.refused()

    def resolve(self, conflict: str, *, keep: SideChoice | None, value: Any) -> None:
        """Settle a conflict: keep a side, or set another value."""
        with self._local.transaction():
            self._inbox.settle(conflict, keep=keep, value=value, now_us=self._local.now_us())

    def retry(self, item: str) -> list[int]:
        """Make a refused transaction again, then those held with it; the new numbers."""
        with self._local.transaction():
            number = self._inbox.waiting(item)
            self._inbox.write_again(number)
            sealed = self._seal(number)
            self._inbox.forget(number)
            freed = self._freeing.after(number)
            return [*([] if sealed is None else [sealed]), *freed.made]

    def discard(self, item: str) -> Freed:
        """Give a refused or held transaction up; what waited for it goes on."""
        with self._local.transaction():
            return self._given_up(item)

    def if_discarded(self, item: str) -> Freed:
        """Return what ``discard`` would do, of which nothing is done."""
        try:
            with self._local.transaction():
                _OnlyAsked.tell(self._given_up(item))
        except _OnlyAsked as answer:
            return answer.freed

    def _given_up(self, item: str) -> Freed:
        number = self._inbox.waiting(item)
        self._inbox.forget(number)
        return self._freeing.after(number)

    def _seal(self, number: int) -> int | None:
        return self._local.seal_within(replaces=number)


class _OnlyAsked(Exception):
    """Undoes a transaction that was made to see what it does."""

    def __init__(self, freed: Freed) -> None:
        super().__init__()
        self.freed = freed

    @classmethod
    def tell(cls, freed: Freed) -> NoReturn:
        raise cls(freed)
