"""Answers that hold a snapshot of the database, shared out fairly between devices.

Knows: how many there may be, whose they are, how long each has been open, and who waits. Must not
know: what is in an answer, or how it is sent. Belongs to one event loop.
A place is taken before the snapshot is opened, so that no device holds all of a database's
connections however much it asks for at once, and is given back with the snapshot. A reader that is
behind keeps its place for ``hold_ms``, and only for ``wanted_ms`` when somebody waits for it: then
the rest of its answer goes to a temporary file, of which one device has only so many.

Upholds I31.
"""

from __future__ import annotations

from collections import Counter

import anyio

from holdfast.core.errors import DatabaseFull
from holdfast.core.limits import (
    ANSWER_HOLD_WANTED_MS,
    ANSWER_SPOOLS_MAX,
    ANSWER_SPOOLS_PER_DEVICE_MAX,
    ANSWERS_OPEN_MAX,
)
from holdfast.server.process.fair_limiter import FairLimiter


class OpenAnswers:
    """The open answers of one process."""

    def __init__(
        self,
        *,
        per_device: int,
        hold_ms: float,
        total: int = ANSWERS_OPEN_MAX,
        wanted_ms: float = ANSWER_HOLD_WANTED_MS,
    ) -> None:
        self._places = FairLimiter(total, per_owner=per_device, on_wait=self._look)
        self._hold_s = hold_ms / 1000
        self._wanted_s = min(hold_ms, wanted_ms) / 1000
        self._open: set[OpenAnswer] = set()
        self._spools: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many hold a snapshot, or are about to open one."""
        return len(self._open)

    def waiting(self, owner: str | None = None) -> int:
        """Return how many wait for a place, or how many of an owner do."""
        return self._places.waiting(owner)

    async def open(self, owner: str) -> OpenAnswer:
        """Wait for a place. Whoever gets it closes the answer."""
        await self._places.enter(owner)
        answer = OpenAnswer(self, owner)
        self._open.add(answer)
        self._look()
        return answer

    def _look(self) -> None:
        for answer in self._open:
            if self._places.is_wanted(answer.owner):
                answer.wanted.set()

    def leave(self, answer: OpenAnswer) -> None:
        """The place of an answer is free."""
        self._open.discard(answer)
        self._places.leave(answer.owner)

    def may_spool(self, owner: str) -> bool:
        """Return whether one more answer of an owner may go to a temporary file."""
        most = self._spools.total() >= ANSWER_SPOOLS_MAX
        return not most and self._spools[owner] < ANSWER_SPOOLS_PER_DEVICE_MAX

    def count_spool(self, owner: str, step: int) -> None:
        """One more temporary file of an owner, or one less."""
        self._spools[owner] += step
        if not self._spools[owner]:
            del self._spools[owner]

    async def until_due(self, answer: OpenAnswer) -> None:
        """Wait until an answer should release its snapshot, though it is not read."""
        with anyio.move_on_after(self._hold_s):
            await answer.wanted.wait()
            await anyio.sleep(self._wanted_s)
            if not self.may_spool(answer.owner):
                await anyio.sleep_forever()  # as long as it may, rather than to be broken off


class OpenAnswer:
    """One answer's place, from ``OpenAnswers.open`` to ``close``."""

    def __init__(self, answers: OpenAnswers, owner: str) -> None:
        self._answers = answers
        self._holds = True
        self._spooled = False
        self.owner = owner
        self.wanted = anyio.Event()
        """Set when somebody waits for its place."""

    async def until_due(self) -> None:
        """Wait until its snapshot should be released, though it is not read."""
        await self._answers.until_due(self)

    def spool(self) -> None:
        """Count the temporary file that the rest of it goes to. Raises ``DatabaseFull``."""
        if not self._answers.may_spool(self.owner):
            raise DatabaseFull("too many responses are being read slowly")
        self._spooled = True
        self._answers.count_spool(self.owner, 1)

    def release(self) -> None:
        """Its snapshot is released; more than once is fine."""
        if self._holds:
            self._holds = False
            self._answers.leave(self)

    def close(self) -> None:
        """It is over; more than once is fine."""
        self.release()
        if self._spooled:
            self._spooled = False
            self._answers.count_spool(self.owner, -1)
