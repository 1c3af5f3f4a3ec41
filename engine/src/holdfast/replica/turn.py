"""Background sync waits its turn while another process syncs the replica.

Knows: a thread, and how often it asks. Must not know: the lock, or what begins when it is had.
Nothing ends the waiting but the turn itself or ``end``: what asking fails with is logged.

Upholds I35: one syncs, and when that one ends, by whatever, the next one does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from holdfast.core.limits import SYNC_TURN_MS
from holdfast.replica.guards import outlived


class AwaitedTurn:
    """``take`` is asked until it says that it has begun."""

    def __init__(self, take: Callable[[], bool]) -> None:
        self._take = take
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="holdfast-turn", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Wait no longer. What has begun meanwhile is the caller's to end."""
        self._over.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _wait(self) -> None:
        ask = outlived("beginning background sync", self._ask)
        while not self._over.wait(SYNC_TURN_MS / 1000):
            ask()

    def _ask(self) -> None:
        if self._take():
            self._over.set()
