"""A limiter whose owners take turns: so many at the same time, and of one owner so many.

Knows: how much is in use, by whom, and who waits. Must not know: what is limited. Belongs to one
event loop. What becomes free goes to the next owner in turn; one owner has at most its own part,
however much is free, so that there is always something for the next who comes.

Upholds I31.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

from holdfast.server.process.fair_lock import FairQueue


class FairLimiter:
    """``total`` at the same time, of which one owner has at most ``per_owner``.

    ``on_wait`` is called when one more waits.
    """

    def __init__(
        self, total: int, *, per_owner: int, on_wait: Callable[[], None] = lambda: None
    ) -> None:
        self._on_wait = on_wait
        self._free = total
        self._per_owner = min(per_owner, total)
        self._used: Counter[str] = Counter()
        self._full: set[str] = set()
        """Owners that have as many as they may."""
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()

    def waiting(self, owner: str | None = None) -> int:
        """Return how many wait, or how many of an owner do."""
        return len(self._queue) if owner is None else self._queue.waiting(owner)

    def is_wanted(self, owner: str) -> bool:
        """Return whether somebody waits for what this owner has."""
        return bool(self._queue.waiting(owner) or (not self._free and len(self._queue)))

    async def enter(self, owner: str) -> None:
        """Wait for one more, which ``leave`` gives back."""
        if self._free and owner not in self._full:  # whoever waits now is full
            self._begin(owner)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(owner, turn)
        self._on_wait()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came just now
                self.leave(owner)
            else:
                with contextlib.suppress(ValueError):  # it was passed over already
                    self._queue.drop(owner, turn)
            raise

    def _begin(self, owner: str) -> None:
        self._free -= 1
        self._used[owner] += 1
        if self._used[owner] >= self._per_owner:
            self._full.add(owner)

    def leave(self, owner: str) -> None:
        self._free += 1
        self._used[owner] -= 1
        self._full.discard(owner)
        if not self._used[owner]:
            del self._used[owner]
        while self._free and (found := self._queue.take(self._full)) is not None:
            owner, turn = found
            if not turn.cancelled():
                self._begin(owner)
                turn.set_result(None)
