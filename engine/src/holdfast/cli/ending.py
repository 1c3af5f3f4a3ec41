"""Orderly ending of commands on signals: soon, always, and however often they are told.

Knows: signals of the process. Must not know: what the command does.

A signal may be delivered to any thread, so that the main one sleeps on; and a handler that takes a
lock may meet the one it has interrupted. So handlers here set a flag or raise, and no more; the
operating system's own handler writes a byte to a pipe, whichever thread it runs in; and a thread of
ours reads it. It wakes the main thread until that has noticed, and ends the process when it is not
done in time: what a replica or a server was doing is undone then, as after a kill (I1).

Our handlers are there before our thread and after it, and raise nothing but inside the block: so
what the thread sends meets them, and it is always ended. A signal that comes before the block is
for the block; one that comes after it, for the handler that was there before.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from holdfast.core.limits import (
    END_GRACE_MS,
    END_SLICE_S,
    END_WAKE_S,
)

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_OVER: Final = b"\0"

Handler = Callable[[int, FrameType | None], object]


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by the first signal that asks a command to end.

    A type of its own: once a plain ``KeyboardInterrupt`` has passed through ``exec`` of a text, as
    each dataclass and named tuple that is being defined has one, Python ends a ``python -m`` by
    SIGINT, whoever has caught it and whatever the exit code was to be.
    """


class Ending:
    """State of a process that may be told to end."""

    def __init__(self) -> None:
        self.told = False
        """Whether a signal has come, and the main thread knows."""
        self._open = False
        """Whether the block runs: a signal before or after it is kept."""
        self._kept: int | None = None
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._writes, False)
        self._main = threading.main_thread().ident
        self._handlers: dict[signal.Signals, Handler] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="holdfast-ending", daemon=True)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait, in the main thread, until a signal has come; False when none has in that time."""
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.told:
            left = END_SLICE_S if ends is None else ends - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, END_SLICE_S))
        return True

    def notices(self, number: int) -> bool:
        """Return whether a signal is the first, and the block is to hear of it. For handlers."""
        if self.told:
            return False
        if not self._open:
            self._kept = number
            return False
        self.told = True
        return True

    @contextlib.contextmanager
    def watching(self, handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
        """Take over these signals. In the main thread only."""
        self._handlers = handlers
        try:
            with contextlib.ExitStack() as undone:
                undone.callback(self._close)
                for number, ours in handlers.items():
                    if (before := signal.getsignal(number)) is not None:
                        undone.callback(signal.signal, number, before)
                    signal.signal(number, ours)
                self._thread.start()
                undone.callback(self._end_thread)
                before_fd = signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
                undone.callback(signal.set_wakeup_fd, before_fd)
                try:
                    self._open = True
                    self._pass_on()
                    yield
                finally:
                    self._open = False
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """Raise a signal that was kept for the handler that is there now."""
        number, self._kept = self._kept, None
        if number is not None:
            signal.raise_signal(number)

    def _watch(self) -> None:
        while True:
            number = os.read(self._reads, 1)[0]
            if self._over.is_set():
                return
            # A server that runs inside has handlers of its own meanwhile, and ends by them.
            ours = self._handlers.get(signal.Signals(number))
            if ours is not None and signal.getsignal(number) is ours:
                break
        ends = time.monotonic() + END_GRACE_MS / 1000
        while not self._over.wait(END_WAKE_S):
            if self._open and not self.told and self._main is not None:
                signal.pthread_kill(self._main, number)
            if time.monotonic() >= ends:
                end_now(128 + number)

    def _end_thread(self) -> None:
        self._over.set()
        with contextlib.suppress(BlockingIOError):  # then there is something to read anyway
            os.write(self._writes, _OVER)
        self._thread.join()

    def _close(self) -> None:
        os.close(self._reads)
        os.close(self._writes)


def end_now(code: int) -> None:
    """End the process as it stands: what is not committed is undone, as after a kill."""
    with contextlib.suppress(Exception):
        os.write(2, b"ended without waiting for what was under way; nothing committed is lost\n")
    for pid in _children():  # whoever was to end them does not come to it any more
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    os._exit(code)


def _children() -> list[int]:
    """Processes that this one has started and that still run (Linux only)."""
    found: list[int] = []
    for listed in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError, ValueError):
            found += map(int, listed.read_text().split())
    return found


@contextlib.contextmanager
def told_to_end() -> Iterator[Ending]:
    """For a command that runs until it is told to end: it asks, or waits, for it."""
    ending = Ending()

    def note(number: int, _frame: FrameType | None) -> None:
        ending.notices(number)

    with ending.watching(dict.fromkeys(SIGNALS, note)):
        yield ending


@contextlib.contextmanager
def interruptible(signals: Sequence[signal.Signals] = SIGNALS) -> Iterator[None]:
    """For a command that ends by itself: the first of these signals raises ``Interrupted`` in
    the main thread, whatever that waits for; later ones are heard and change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ending = Ending()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if ending.notices(number):
            raise Interrupted

    with ending.watching(dict.fromkeys(signals, interrupt)):
        yield


def quiet_streams() -> None:
    """Discard what is still to be written to a stdout or stderr that has gone, so that the end
    of the process does not fail for it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
