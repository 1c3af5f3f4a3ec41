"""Watch for the end of the process that serves the app, whoever runs it.

Knows: how uvicorn says that it stops. Must not know: HTTP, or what is served.

A server that is told to stop waits for what is under way, and an event stream is under way for as
long as its device listens; a mounted app hears of the end only after that wait. So whoever serves
is looked at while anything waits here: a uvicorn in this process says by ``should_exit`` that it
stops. Then streams end, and requests whose bodies have not come are answered.

Upholds I31 (an end takes a bounded time, whoever listens).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import anyio

from holdfast.core.limits import (
    BODY_GRACE_MS,
    HOST_DEPTH_MAX,
    HOST_LOOK_MS,
    HOST_LOOKS_MAX,
)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Hosting:
    """Looks whether the end has come. One for an app; ``on_end`` is called once, then."""

    def __init__(self, ended: Callable[[], bool], on_end: Callable[[], None]) -> None:
        """``ended``: whether somebody has said so already."""
        self._ended = ended
        self._on_end = on_end
        self._waiting: set[anyio.CancelScope] = set()
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """From now on, on this event loop. More than once is fine."""
        if self._task is None or self._task.done() or self._task.get_loop().is_closed():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    @property
    def ended(self) -> bool:
        """Return whether the end has come."""
        return self._ended()

    @contextmanager
    def waiting(self, seconds: float) -> Iterator[None]:
        """A wait for what a client sends, given up after so long; sooner when the end comes."""
        self.look()
        if self._ended():
            seconds = min(seconds, BODY_GRACE_MS / 1000)
        with anyio.move_on_after(seconds) as scope:
            self._waiting.add(scope)
            try:
                yield
            finally:
                self._waiting.discard(scope)

    async def _watch(self) -> None:
        host: Any = None
        looks = 0
        while not self._ended():
            if host is None:
                host = _by_signals()
            if host is None and looks < HOST_LOOKS_MAX:
                looks += 1
                host = _by_tasks()
            if host is not None and host.should_exit:
                self._on_end()
                break
            await asyncio.sleep(HOST_LOOK_MS / 1000)
        ends = anyio.current_time() + BODY_GRACE_MS / 1000
        for scope in tuple(self._waiting):
            scope.deadline = min(scope.deadline, ends)


def _is_host(found: object) -> bool:
    return isinstance(getattr(found, "should_exit", None), bool) and hasattr(found, "lifespan")


def _by_signals() -> object | None:
    """The server whose signal handlers are in place."""
    for number in _SIGNALS:
        found = getattr(signal.getsignal(number), "__self__", None)
        if _is_host(found):
            return found
    return None


def _by_tasks() -> object | None:
    """The server that runs on this event loop, in whatever thread, whoever takes its signals."""
    for task in asyncio.all_tasks():
        waits: Any = task.get_coro()
        for _ in range(HOST_DEPTH_MAX):
            frame = getattr(waits, "cr_frame", None)
            if frame is None:
                break
            found = frame.f_locals.get("self")
            if _is_host(found):
                return found  # type: ignore[no-any-return]
            waits = getattr(waits, "cr_await", None)
    return None
