"""The live stream: server-sent events, read until they end or somebody closes it.

Knows: the format of events. Must not know: when a stream is wanted (``core.session``).
A stream only says that something moved; what moved comes with the next exchange.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol, Self

import msgspec

from holdfast.core.errors import Offline
from holdfast.core.limits import (
    EVENT_LINE_BYTES_MAX,
    SCOPE_NAME_LENGTH_MAX,
)
from holdfast.replica.failures import not_ours


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """``hello`` comes first, with the newest version of each scope; ``moved`` has those with news;
    ``heartbeat`` only says that the stream is alive."""

    kind: Literal["hello", "moved", "heartbeat"]
    scopes: dict[str, int] = field(default_factory=dict)


class EventStream(Protocol):
    """Events as they come. Ends when the server ends it or ``close`` is called from any thread;
    raises ``Offline`` when it breaks or falls silent."""

    def __iter__(self) -> Iterator[LiveEvent]: ...

    def close(self) -> None: ...


class _Scopes(msgspec.Struct):
    scopes: dict[Annotated[str, msgspec.Meta(max_length=SCOPE_NAME_LENGTH_MAX)], int]


def parse_events(pieces: Iterable[bytes]) -> Iterator[LiveEvent]:
    """The events in a stream of bytes. Names nobody knows are left out.

    Raises ``Offline`` (``not_our_server``) for what is none of ours.
    """
    name, data = "", b""
    for line in _lines(pieces):
        if not line:
            if name in ("hello", "moved"):
                yield LiveEvent("hello" if name == "hello" else "moved", _scopes(data))
            name, data = "", b""
        elif line.startswith(b":"):
            yield LiveEvent("heartbeat")
        elif line.startswith(b"event: "):
            name = line[7:].decode("ascii", "replace")
        elif line.startswith(b"data: "):
            data += line[6:]
            if len(data) > EVENT_LINE_BYTES_MAX:
                raise not_ours("an event is too long")


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > EVENT_LINE_BYTES_MAX:
            raise not_ours("an event is too long")
        yield from lines


def _scopes(data: bytes) -> dict[str, int]:
    try:
        return msgspec.json.decode(data, type=_Scopes).scopes
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise not_ours("an event cannot be decoded") from None


class HttpEventStream:
    """The stream of one open response.

    ``wake`` ends the wait of the reading thread; ``release`` gives the response back, exactly once,
    and never while another thread reads it.
    """

    def __init__(
        self, pieces: Iterator[bytes], *, wake: Callable[[], None], release: Callable[[], None]
    ) -> None:
        self._events = parse_events(pieces)
        self._wake = wake
        self._release = release
        self._reading = threading.Lock()
        self._closed = False
        self._released = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> LiveEvent:
        with self._reading:
            try:
                if not self._closed:
                    return next(self._events)
            except StopIteration:
                pass
            except Offline:
                if not self._closed:
                    self._let_go()
                    raise
            self._let_go()
            raise StopIteration

    def close(self) -> None:
        """End the stream; more than once is fine."""
        if not self._closed:
            self._closed = True
            self._wake()
        if self._reading.acquire(blocking=False):  # else the reader, just woken, lets go itself
            try:
                self._let_go()
            finally:
                self._reading.release()

    def _let_go(self) -> None:
        if not self._released:
            self._released = True
            with contextlib.suppress(Offline):
                self._release()
