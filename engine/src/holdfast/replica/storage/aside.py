"""Transactions that are set aside: which, why, and what builds on them.

Knows: the outbox's list of transactions. Must not know: rows, or how it comes to be that one cannot
be shown. A transaction is set aside whole, with what builds on it (I16); it is sent all the same,
and the server decides about it (I4).

What was made while another was set aside has not seen it, so it does not build on it, though it may
name it: ``aside`` holds the number that the next transaction had at that moment.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from holdfast.replica.storage.database import read_state
from holdfast.sql.bookkeeping.statements import TRANSACTIONS
from holdfast.sqlite import Connection


@dataclass(frozen=True, slots=True)
class AsideReason:
    """Reason that a transaction is not shown, as a refusal of the server says it. ``held_by``:
    the number of the one that it builds on."""

    code: str
    message: str
    field: str = ""
    held_by: int = 0


class SetAside:
    """The transactions that are set aside, within one application of news."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self.before: dict[int, int] = {}
        """Those that were set aside until now, and the first number made after that."""
        self._gone: set[int] = set()
        for number, aside, code in connection.execute(TRANSACTIONS.aside):
            self.before[int(str(number))] = int(str(aside))
            if code == "row_gone":
                self._gone.add(int(str(number)))
        self.hidden: set[int] = set()
        """Those that are not shown, as far as has been found out."""
        self.reasons: dict[int, AsideReason] = {}

    @functools.cached_property
    def _after(self) -> dict[int, list[int]]:
        return {
            int(str(number)): json.loads(str(after))
            for number, after in self._db.execute(TRANSACTIONS.resting)
        }

    @functools.cached_property
    def _later(self) -> dict[int, list[int]]:
        later: dict[int, list[int]] = defaultdict(list)
        for number, earlier in self._after.items():
            for one in earlier:
                later[one].append(number)
        return later

    @functools.cached_property
    def _stopped(self) -> set[int]:
        found = self._db.execute(TRANSACTIONS.stopped)
        return {int(str(number)) for (number,) in found}

    def _saw(self, number: int, earlier: int) -> bool:
        return number < self.before.get(earlier, number + 1)

    def stopped_by(self, number: int) -> int:
        """The hidden transaction that this one builds on, 0: none."""
        found = (e for e in self._after.get(number, ()) if e in self.hidden)
        return next((earlier for earlier in found if self._saw(number, earlier)), 0)

    def lost_ground(self, number: int) -> int | None:
        """Return whether a change of a row that the server never had builds on one that it
        refused: the number of that one, 0 when it is not known any more, None: it does not."""
        refused = next((one for one in self._after.get(number, ()) if one in self._stopped), None)
        return 0 if refused is None and number in self._gone else refused

    def hide(self, number: int, reason: AsideReason) -> list[int]:
        """Set one aside, with all that builds on it; which they are."""
        self.reasons[number] = reason
        self.hidden.add(number)
        found = [number]
        for earlier in found:
            for later in self._later.get(earlier, ()):
                if later not in self.hidden and self._saw(later, earlier):
                    self.reasons[later] = builds_on(earlier)
                    self.hidden.add(later)
                    found.append(later)
        return found

    def span(self) -> tuple[int, int]:
        """The lowest and the highest number that is unsettled."""
        ((low, high),) = self._db.execute(TRANSACTIONS.unsettled_span)
        return int(str(low)), int(str(high))

    def store(self) -> None:
        """Keep what was found out."""
        back: Collection[int] = self.before.keys() - self.hidden
        self._db.executemany(TRANSACTIONS.show_again, [(number,) for number in back])
        if not self.hidden:
            return
        (open_tx,) = read_state(self._db, "open_tx")
        self._db.executemany(
            TRANSACTIONS.set_aside,
            [
                (self.before.get(number, open_tx), why.code, why.message, why.field, why.held_by,
                 number)
                for number, why in ((n, self.reasons[n]) for n in sorted(self.hidden))
            ],
        )  # fmt: skip


def builds_on(number: int) -> AsideReason:
    """Return why a transaction is set aside with another one."""
    return AsideReason(
        "held", f"it depends on transaction {number}, which is set aside", held_by=number
    )
