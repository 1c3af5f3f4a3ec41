"""The worker threads of a server, shared out fairly between those who ask.

Knows: how many threads there are, who uses them and who waits. Must not know: requests, or what is
done in a thread. Belongs to one event loop. A free thread goes to the next owner in turn; one owner
has at most so many at the same time, however many are free, so that there is always one for the
next who comes.

Upholds I31.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from holdfast.server.process.fair_lock import FairQueue

T = TypeVar("T")


class Threads:
    """``total`` threads, of which one owner has at most ``per_owner``."""

    def __init__(self, total: int, *, per_owner: int) -> None:
        self._limiter = anyio.CapacityLimiter(total)
        self._free = total
        self._per_owner = min(per_owner, total)
        self._running: Counter[str] = Counter()
        self._full: set[str] = set()
        """Owners that have as many threads as they may."""
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()

    def waiting(self, owner: str | None = None) -> int:
        """Return how many wait for a thread, or how many of an owner do."""
        return len(self._queue) if owner is None else self._queue.waiting(owner)

    async def run(self, owner: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a thread, when it is the owner's turn."""
        await self._enter(owner)
        try:
            return await anyio.to_thread.run_sync(function, *arguments, limiter=self._limiter)
        finally:
            self._leave(owner)

    async def _enter(self, owner: str) -> None:
        if self._free and owner not in self._full:  # whoever waits now is full
            self._begin(owner)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(owner, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came just now
                self._leave(owner)
            else:
                with contextlib.suppress(ValueError):  # it was passed over already
                    self._queue.drop(owner, turn)
            raise

    def _begin(self, owner: str) -> None:
        self._free -= 1
        self._running[owner] += 1
        if self._running[owner] >= self._per_owner:
            self._full.add(owner)

    def _leave(self, owner: str) -> None:
        self._free += 1
        self._running[owner] -= 1
        self._full.discard(owner)
        if not self._running[owner]:
            del self._running[owner]
        while self._free and (found := self._queue.take(self._full)) is not None:
            owner, turn = found
            if not turn.cancelled():
                self._begin(owner)
                turn.set_result(None)
