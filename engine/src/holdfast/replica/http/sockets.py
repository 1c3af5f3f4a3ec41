"""Sockets with a deadline for the whole request, that another thread can shut.

Knows: httpcore's network backend. Must not know: HTTP, or what travels.
A read time-out alone does not bound a request: a peer that sends one byte a minute meets it for
ever (I31). Shutting a socket wakes the thread that waits on it; closing would not.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore2
import httpx2

from holdfast.core.limits import (
    IDLE_CONNECTION_S,
    IDLE_CONNECTIONS_MAX,
)


class RequestTime:
    """One request's time: it ends at its deadline, or when the guard is interrupted."""

    __slots__ = ("_ends", "_generation", "_guard")

    def __init__(self, guard: SocketGuard, deadline_ms: float | None) -> None:
        self._guard = guard
        self._generation = guard.generation
        self._ends = None if deadline_ms is None else time.monotonic() + deadline_ms / 1000

    @property
    def interrupted(self) -> bool:
        return self._generation != self._guard.generation

    def seconds(self, timeout: float | None, expired: type[Exception]) -> float | None:
        """The time-out that is left; raises ``expired`` when none is."""
        left = None if self._ends is None else self._ends - time.monotonic()
        if self.interrupted or (left is not None and left <= 0):
            raise expired("the request's time is over")
        if left is None or timeout is None:
            return timeout if left is None else left
        return min(left, timeout)


class SocketGuard(httpcore2.NetworkBackend):
    """Makes connections, remembers those that are open, and holds them to the deadline."""

    def __init__(self) -> None:
        self.generation = 0
        self._inner = httpcore2.SyncBackend()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._streams: set[GuardedStream] = set()

    @contextlib.contextmanager
    def turn(self, deadline_ms: float | None) -> Iterator[RequestTime]:
        """Return what this thread does inside is held to a deadline (None: none), and to
        interruption.
        """
        turn = self._local.turn = RequestTime(self, deadline_ms)
        try:
            yield turn
        finally:
            self._local.turn = None

    def seconds(self, timeout: float | None, expired: type[Exception]) -> float | None:
        """The time-out that is left to this thread."""
        turn: RequestTime | None = getattr(self._local, "turn", None)
        return timeout if turn is None else turn.seconds(timeout, expired)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        seconds = self.seconds(timeout, httpcore2.ConnectTimeout)
        stream = self._inner.connect_tcp(host, port, seconds, local_address, socket_options)
        return self.guard(stream)

    def guard(self, stream: httpcore2.NetworkStream) -> GuardedStream:
        """Watch a new connection."""
        guarded = GuardedStream(stream, self)
        with self._lock:
            self._streams.add(guarded)
        return guarded

    def forget(self, stream: GuardedStream) -> None:
        """Called by a stream that closes."""
        with self._lock:
            self._streams.discard(stream)

    def interrupt(self) -> None:
        """End what is under way, from any thread; what begins later is not touched."""
        with self._lock:
            self.generation += 1
            streams = tuple(self._streams)
        for stream in streams:
            stream.shut()


class GuardedStream(httpcore2.NetworkStream):
    """One connection."""

    def __init__(self, inner: httpcore2.NetworkStream, guard: SocketGuard) -> None:
        self._inner = inner
        self._guard = guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._guard.seconds(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._guard.seconds(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._guard.forget(self)
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        seconds = self._guard.seconds(timeout, httpcore2.ConnectTimeout)
        secured = self._inner.start_tls(ssl_context, server_hostname, seconds)
        self._guard.forget(self)
        return self._guard.guard(secured)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def shut(self) -> None:
        """Wake whoever waits on it, with an error or an end."""
        raw = self._inner.get_extra_info("socket")
        if isinstance(raw, socket.socket):
            with contextlib.suppress(OSError, ValueError):
                # Past a TLS layer, which only the thread that uses it may touch.
                socket.socket.shutdown(raw, socket.SHUT_RDWR)


class GuardedTransport(httpx2.HTTPTransport):
    """httpx2's transport over guarded connections. Proxies of the environment are not used."""

    def __init__(self, guard: SocketGuard, ssl_context: ssl.SSLContext | None) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=None,
            max_keepalive_connections=IDLE_CONNECTIONS_MAX,
            keepalive_expiry=IDLE_CONNECTION_S,
            network_backend=guard,
        )
