"""The worker threads of a server, shared out fairly between those who ask.

Knows: how many threads there are. Must not know: requests, or what is done in a thread. Belongs to
one event loop. Who gets a thread is the limiter's affair.

Upholds I31.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from holdfast.server.process.fair_limiter import FairLimiter

T = TypeVar("T")


class Threads:
    """``total`` threads, of which one owner has at most ``per_owner``."""

    def __init__(self, total: int, *, per_owner: int) -> None:
        self._limiter = anyio.CapacityLimiter(total)
        self._turns = FairLimiter(total, per_owner=per_owner)

    def waiting(self, owner: str | None = None) -> int:
        """Return how many wait for a thread, or how many of an owner do."""
        return self._turns.waiting(owner)

    async def run(self, owner: str, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a thread, when it is the owner's turn."""
        await self._turns.enter(owner)
        try:
            return await anyio.to_thread.run_sync(function, *arguments, limiter=self._limiter)
        finally:
            self._turns.leave(owner)
