"""Connections: how many, how large what they say first may be, and how long they may take for it.

Knows: uvicorn's HTTP protocol, sockets' addresses, limits of the process. Must not know: routes,
tokens, or what is served. Everything here happens before anybody is known: each byte and second
counts against a limit, and a connection that has no request under way makes room for one that
comes. So half requests, however many, keep nobody out.

Upholds I31.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import (
    CONNECTION_LOG_EVERY_S,
    CONNECTION_PIECE_BYTES,
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS_SHARE,
    DESCRIPTORS_FEW,
    DESCRIPTORS_KEPT_MIN,
    DESCRIPTORS_KEPT_SHARE,
    DESCRIPTORS_SPARE,
    HEAD_BYTES_MAX,
    HEAD_TIMEOUT_MS,
    HEADERS_MAX,
    PIPELINED_REQUESTS_MAX,
    REFUSAL_LINGER_MS,
    REFUSALS_LINGERING_MAX,
    STALLED_READER_MS,
)
from holdfast.protocol.codec import encode_error
from holdfast.server.http.proxies import Proxies
from holdfast.server.identity.rate_limit import address_key

log = logging.getLogger("holdfast.server.connections")

_PROXY: Final = "proxy"


def descriptors_max() -> int | None:
    """Return how many files this process may open, raised as far as it may be; None: it is not
    bounded.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS_MAX
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None if soft == resource.RLIM_INFINITY else soft
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):
        return soft
    return raised


def connections_max(descriptors: int | None) -> int:
    """As many as there may be open files, less what the database and files need."""
    if descriptors is None:
        return CONNECTIONS_MAX
    kept = max(DESCRIPTORS_KEPT_MIN, descriptors // DESCRIPTORS_KEPT_SHARE)
    return max(1, min(CONNECTIONS_MAX, descriptors - kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one process. ``None``: derived from how many files it may open."""

    connections: int | None = None
    per_address: int | None = None
    head_bytes: int = HEAD_BYTES_MAX
    headers: int = HEADERS_MAX
    head_ms: int = HEAD_TIMEOUT_MS
    stalled_ms: int = STALLED_READER_MS


class _Refused(Exception):
    """Raised inside the parser's callbacks."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class OpenConnections:
    """All connections of a process. Not for threads: it lives in the event loop.

    ``proxies``: their connections are many people's, and count only against the whole.
    """

    def __init__(self, limits: Limits | None = None, *, proxies: Collection[str] = ()) -> None:
        self.limits = limits or Limits()
        descriptors = descriptors_max()
        self.connections = self.limits.connections or connections_max(descriptors)
        self._descriptors = descriptors
        self._last_descriptor = None if descriptors is None else descriptors - DESCRIPTORS_SPARE
        if descriptors is not None and descriptors < DESCRIPTORS_FEW:
            told = {"descriptors": descriptors, "connections": self.connections}
            log.warning("few_descriptors", extra=told)
        share = max(1, self.connections // CONNECTIONS_PER_ADDRESS_SHARE)
        self.per_address = min(self.connections, self.limits.per_address or share)
        self.lingering = 0
        self._proxies = Proxies(proxies)
        self._counts: Counter[str] = Counter()
        self._idle: dict[LimitedConnection, str] = {}
        """Nothing is asked on them; those that have been so for longest come first."""
        self._idle_of: dict[str, dict[LimitedConnection, None]] = {}
        self._said_at = float("-inf")
        self._turned_away = 0

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> LimitedConnection:
        """A connection's protocol, as uvicorn asks for it."""
        return LimitedConnection(self, config, server_state, app_state, _loop)

    def admit(self, connection: LimitedConnection, address: str, descriptor: int) -> str | None:
        """The name it is counted by, if it may stay; another one that is idle may have to go.

        ``descriptor``: as the lowest free one is taken, it tells how many are left."""
        key = _PROXY if address in self._proxies else address_key(address)
        full = key != _PROXY and self._counts[key] >= self.per_address
        room = not full or self._make_room(self._idle_of.get(key, {}))
        if room and self._counts.total() >= self.connections:
            room = self._make_room(self._idle)
        if room and self._last_descriptor is not None and descriptor >= self._last_descriptor:
            self._make_room(self._idle)  # for the next one, and for the database
            self._say("descriptors_full", key, descriptors=self._descriptors)
            return None
        if not room:
            self._say("connections_full", key)
            return None
        self._counts[key] += 1
        self.rests(connection, key)
        return key

    def rests(self, connection: LimitedConnection, key: str) -> None:
        """Nothing is asked on it at the moment."""
        self._idle[connection] = key
        self._idle_of.setdefault(key, {})[connection] = None

    def works(self, connection: LimitedConnection) -> None:
        """A whole request has come: it keeps its place until that is answered."""
        key = self._idle.pop(connection, None)
        if key is not None:
            mine = self._idle_of[key]
            del mine[connection]
            if not mine:
                del self._idle_of[key]

    def forget(self, connection: LimitedConnection, key: str) -> None:
        """It is closed, or about to be. Once."""
        self.works(connection)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]

    @staticmethod
    def _make_room(among: Mapping[LimitedConnection, object]) -> bool:
        oldest = next(iter(among), None)
        if oldest is not None:
            oldest.give_way()
        return oldest is not None

    def _say(self, what: str, key: str, **more: object) -> None:
        """Once in a while: whoever floods us does not fill the disk as well."""
        self._turned_away += 1
        now = time.monotonic()
        if now - self._said_at >= CONNECTION_LOG_EVERY_S:
            told = {"address": key, "open": self._counts.total(), "refused": self._turned_away}
            log.warning(what, extra=told | more)
            self._said_at, self._turned_away = now, 0


class LimitedConnection(HttpToolsProtocol):
    """One connection: uvicorn's, within limits."""

    def __init__(
        self,
        gate: OpenConnections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gate = gate
        self._key: str | None = None
        """What it is counted by, as long as it is."""
        self._refused = False
        self._in_head, self._in_body = True, False
        self._began = False
        self._head_bytes = self._header_count = 0
        self._timer: asyncio.TimerHandle | None = None
        """For the rest of a head; after an answer, for the rest of a body that nobody wants."""
        self._stalled: asyncio.TimerHandle | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        plug = transport.get_extra_info("socket")
        self._key = self._gate.admit(
            self, self.client[0] if self.client else "", -1 if plug is None else plug.fileno()
        )
        if self._key is None:
            self._refuse(_Refused(503, "busy", "too many connections"))
        else:
            self._expect_within(self._gate.limits.head_ms)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        self._set_timer(None)
        if self._stalled is not None:
            self._stalled.cancel()
        if self._refused:
            self._gate.lingering -= 1
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return  # read and thrown away, so that the refusal arrives
        self._unset_keepalive_if_required()
        if self._in_head and self._timer is None:
            self._expect_within(self._gate.limits.head_ms)
        start = 0
        try:
            while start < len(data):
                end = start + CONNECTION_PIECE_BYTES if self._in_head else len(data)
                self._feed(data[start:end])
                start = end
        except httptools.HttpParserUpgrade:
            return  # answered as what it is without the upgrade
        except httptools.HttpParserError as error:
            why = error.__context__
            if not isinstance(why, _Refused):
                why = _Refused(400, "bad_request", "this is not HTTP")
            self._refuse(why)
        except _Refused as why:
            self._refuse(why)

    def _feed(self, piece: bytes) -> None:
        was_in_head, self._began = self._in_head, False
        self.parser.feed_data(piece)
        if was_in_head and self._in_head and not self._began:  # else it had the end of a body
            self._head_bytes += len(piece)
            if self._head_bytes > self._gate.limits.head_bytes:
                raise self._too_large()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            after_s = self._gate.limits.stalled_ms / 1000
            self._stalled = self.loop.call_later(after_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # The parser's side

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._in_body, self._began = True, False, True
        self._head_bytes = self._header_count = 0

    def on_url(self, url: bytes) -> None:
        if len(self.url) + len(url) > self._gate.limits.head_bytes:
            raise self._too_large()
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > self._gate.limits.headers:
            raise self._too_large()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._gate.limits.head_bytes:
            raise self._too_large()
        if len(self.pipeline) >= PIPELINED_REQUESTS_MAX:
            raise _Refused(429, "too_many_requests", "too many requests in a row unanswered")
        self._in_head, self._in_body = False, True
        self._set_timer(None)
        self._gate.works(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._in_body = True, False
        if self._answered:
            self._set_timer(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() or not self._answered:
            return
        if self._key is not None:
            self._gate.rests(self, self._key)
        if self._in_body:  # nobody wants the rest of it
            self._unset_keepalive_if_required()
            self._expect_within(REFUSAL_LINGER_MS)
        elif self._timer is not None:  # a part of the next head came meanwhile
            self._unset_keepalive_if_required()

    @property
    def _answered(self) -> bool:
        """Return whether no request is under way. The newest is answered last."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    # Ends

    def give_way(self) -> None:
        """Closed for another one; at once, so that its descriptor is free."""
        self._forget()
        self.transport.abort()

    def _forget(self) -> None:
        if self._key is not None:
            self._gate.forget(self, self._key)
            self._key = None

    def _refuse(self, why: _Refused) -> None:
        """Say why, and close when it has been read, or after a moment."""
        self._forget()
        self._refused = True
        self._gate.lingering += 1
        if not self._answered or self._gate.lingering > REFUSALS_LINGERING_MAX:
            self._set_timer(None)
            self.transport.abort()  # in the middle of an answer no other can be told
            return
        self.transport.write(_answer(why))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._set_timer(self.loop.call_later(REFUSAL_LINGER_MS / 1000, self.transport.abort))

    def _expect_within(self, ms: int) -> None:
        self._set_timer(self.loop.call_later(ms / 1000, self._late))

    def _late(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if not self._answered:  # it cannot go on sending before the answer has come
            self._expect_within(self._gate.limits.head_ms)
        elif self._in_body:
            self.transport.close()
        else:
            self._refuse(_Refused(408, "slow_head", "the request came too slowly"))

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer

    def _too_large(self) -> _Refused:
        limits = self._gate.limits
        return _Refused(
            431,
            "headers_too_large",
            f"a request has at most {limits.headers} headers and {limits.head_bytes} bytes of them",
        )


def _answer(why: _Refused) -> bytes:
    body = encode_error(ProtocolError(why.message, code=why.code, status=why.status))
    headers = [
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"cache-control: no-store",
        b"x-content-type-options: nosniff",
        b"connection: close",
        *([b"retry-after: 5"] if why.status == 503 else []),
    ]
    return STATUS_LINE[why.status] + b"\r\n".join(headers) + b"\r\n\r\n" + body
