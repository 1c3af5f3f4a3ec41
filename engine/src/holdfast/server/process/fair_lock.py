"""Turns: who goes next, when several owners want the same thing.

Knows: owners by name, and who waits. Must not know: what is waited for.
Owners take turns, one after the other; what one owner asks for several times is served in the order
it was asked for. So one that asks all the time makes another wait for at most one of its turns. A
turn that is free goes to whoever is first: nobody who comes later gets in before.

Upholds I31: how long one waits is bounded by how many owners there are, not by how much they want.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A queue of what waits, by owner; not for several threads at once."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        """Owners that wait, in the order in which they are served."""

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def waiting(self, owner: str) -> int:
        """Return how often an owner waits."""
        return len(self._waiting.get(owner, ()))

    def put(self, owner: str, item: T) -> None:
        self._waiting.setdefault(owner, deque()).append(item)

    def take(self, busy: frozenset[str] | set[str] = frozenset()) -> tuple[str, T] | None:
        """The next one, of an owner that is not ``busy``; None when there is none."""
        for owner in self._waiting:
            if owner not in busy:
                waiting = self._waiting.pop(owner)
                item = waiting.popleft()
                if waiting:  # its next one comes after the others
                    self._waiting[owner] = waiting
                return owner, item
        return None

    def drop(self, owner: str, item: T) -> None:
        """Somebody waits no longer. Raises ``ValueError`` when it does not wait."""
        waiting = self._waiting.get(owner)
        if waiting is None:
            raise ValueError("it is not queued")
        waiting.remove(item)
        if not waiting:
            del self._waiting[owner]


class FairLock:
    """A lock for threads whose owners take turns. It is handed over: who has waited holds it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._queue: FairQueue[threading.Lock] = FairQueue()

    def acquire(self, owner: str = "", *, timeout_s: float = -1) -> bool:
        """Wait for a turn, for ever by default; whether it came."""
        with self._guard:
            if not self._held:
                self._held = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._queue.put(owner, turn)
        try:
            if turn.acquire(timeout=timeout_s):
                return True
        except BaseException:  # a signal's handler has raised
            if not self._leave(owner, turn):
                self.release()
            raise
        return not self._leave(owner, turn)

    def _leave(self, owner: str, turn: threading.Lock) -> bool:
        """Wait no longer; False when the turn has come just now."""
        with self._guard:
            try:
                self._queue.drop(owner, turn)
            except ValueError:
                return False
            return True

    def release(self) -> None:
        with self._guard:
            found = self._queue.take()
            if found is None:
                self._held = False
                return
            _, turn = found
        turn.release()

    def waiting(self) -> int:
        """Return how many wait."""
        with self._guard:
            return len(self._queue)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()
