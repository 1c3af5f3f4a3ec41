"""The way to the server: requests, and answers that are believed only when whole and ours.

Knows: HTTP, the device's token, and which answers are ours. Must not know: the replica's database,
what a message does, or when to try again.
Upholds I31 (every wait and every body is bounded); the token goes to the configured server and
nowhere else, as redirects are not followed and cookies not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.cookiejar
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol

import httpx2
import msgspec

from holdfast.core.errors import (
    HoldfastError,
    Offline,
    ReplicaError,
    SignInNeeded,
)
from holdfast.core.limits import (
    COMPRESSION_RATIO_MAX,
    CONNECT_TIMEOUT_MS,
    EVENT_HEARTBEAT_MS,
    GZIP_FLOOR_BYTES,
    READ_TIMEOUT_MS,
    REQUEST_DEADLINE_MS,
    RESPONSE_BYTES_MAX,
    SMALL_BODY_BYTES_MAX,
    WIRE_INTEGER_MAX,
)
from holdfast.core.session_events import HEARTBEATS_MISSED
from holdfast.protocol.codec import Request, encode_request
from holdfast.protocol.compression import ENCODINGS, Encoding, pack_bytes
from holdfast.protocol.enrolment import EnrolRequest, PasswordRequest, RefreshRequest
from holdfast.protocol.messages import ExchangeRequest, VerifyRequest
from holdfast.protocol.version import CONTENT_TYPE, ECHO_HEADER
from holdfast.replica.failures import failure, media_type, not_ours
from holdfast.replica.http.bodies import explained, pieces, small, unpacked
from holdfast.replica.http.downloads import FileAnswer, checked_path, opened, range_headers
from holdfast.replica.http.live import EventStream, HttpEventStream, LiveEvent
from holdfast.replica.http.sockets import GuardedStream, GuardedTransport, SocketGuard
from holdfast.replica.http.spool import SpooledAnswer, receive

__all__ = ["EventStream", "HttpTransport", "LiveEvent", "SpooledAnswer", "Transport"]

_PROBE_DEADLINE_MS = 2 * CONNECT_TIMEOUT_MS


class Transport(Protocol):
    """Transport: the way from a replica to its server.

    All methods raise the ``SyncError`` tree, and may be called from any thread.
    """

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        """One exchange. ``echo``: random, at most 64 letters, digits, - and _; new for each."""
        ...

    def verify(self, request: VerifyRequest, echo: str) -> SpooledAnswer: ...

    def file(
        self, path: str, *, start: int, sha256: str
    ) -> contextlib.AbstractContextManager[FileAnswer]:
        """A file that was offered, from byte ``start`` on if it can be. Raises ``FileGone`` when
        it is offered no more."""
        ...

    def health(self, nonce: str) -> tuple[int, int, int]:
        """Return whether the server is there: its clock, and ours before and after,
        microseconds.
        """
        ...

    def events(self) -> EventStream:
        """The live stream. It has to be closed."""
        ...

    def fingerprint(self) -> str:
        """Something that changes when the token does, and does not tell it."""
        ...

    def interrupt(self) -> None:
        """End what is under way with ``Offline`` (``interrupted``); later requests go ahead."""
        ...

    def close(self) -> None:
        """End what is under way, and refuse the rest (``closed``)."""
        ...


class _Health(msgspec.Struct):
    holdfast: int
    nonce: str
    time: int


def _wall_us() -> int:
    return time.time_ns() // 1000


class HttpTransport:
    """Transport over HTTP/1.1, keeping its connections.

    ``server_url``: origin, and path if the server is mounted below one. ``token``: asked before
    each request. ``read_timeout_ms``: between two pieces of an answer; ``deadline_ms``: for all of
    it. ``heartbeat_ms``: how often the server's live stream gives a sign of life.
    ``spool_directory``: for answers too large for memory. Raises ``ReplicaError`` (``bad_url``).
    """

    def __init__(
        self,
        server_url: str,
        token: Callable[[], str],
        *,
        connect_timeout_ms: float = CONNECT_TIMEOUT_MS,
        read_timeout_ms: float = READ_TIMEOUT_MS,
        deadline_ms: float = REQUEST_DEADLINE_MS,
        heartbeat_ms: float = EVENT_HEARTBEAT_MS,
        now_us: Callable[[], int] = _wall_us,
        ssl_context: ssl.SSLContext | None = None,
        spool_directory: Path | None = None,
    ) -> None:
        self._base = checked_url(server_url)
        self._token = token
        self._deadline_ms = deadline_ms
        self._now_us = now_us
        self._spool_directory = spool_directory
        connect_s, read_s = connect_timeout_ms / 1000, read_timeout_ms / 1000
        self._timeout = httpx2.Timeout(read_s, connect=connect_s)
        self._silence = httpx2.Timeout(
            heartbeat_ms * HEARTBEATS_MISSED / 1000, connect=connect_s, write=read_s
        )
        self._probe_ms = min(deadline_ms, _PROBE_DEADLINE_MS)
        self._guard = SocketGuard()
        if ssl_context is None and self._base.startswith("https:"):
            ssl_context = httpx2.create_ssl_context(trust_env=True)
        no_cookies = http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
        self._client = httpx2.Client(
            transport=GuardedTransport(self._guard, ssl_context),
            headers={"accept-encoding": "identity"},
            cookies=http.cookiejar.CookieJar(policy=no_cookies),
            follow_redirects=False,
            trust_env=False,
        )
        for name in ("accept", "connection", "user-agent"):  # they tell a server nothing
            del self._client.headers[name]
        self._fingerprint_key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._in_use = 0
        self._closed = False
        self._packs_as: Encoding = "gzip"

    # --- requests -------------------------------------------------------------------------------

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        return self._post("/v1/exchange", request, echo)

    def verify(self, request: VerifyRequest, echo: str) -> SpooledAnswer:
        return self._post("/v1/verify", request, echo)

    @contextlib.contextmanager
    def file(self, path: str, *, start: int, sha256: str) -> Iterator[FileAnswer]:
        request = self._client.build_request(
            "GET",
            self._base + checked_path(path),
            headers=range_headers(start, sha256),
            timeout=self._timeout,
        )
        with self._answered(request, deadline_ms=self._deadline_ms) as response:
            yield opened(response, start=start, now_us=self._now_us())

    def health(self, nonce: str) -> tuple[int, int, int]:
        request = self._client.build_request(
            "GET",
            f"{self._base}/v1/health",
            params={"nonce": nonce},
            headers={ECHO_HEADER: nonce, "cache-control": "no-cache"},
            timeout=self._timeout,
        )
        sent_us = self._now_us()
        with self._answered(request, deadline_ms=self._probe_ms) as response:
            received_us = self._now_us()
            self._must_be(response, "application/json", nonce)
            body = b"".join(small(response))
        try:
            health = msgspec.json.decode(body, type=_Health)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise not_ours("its health check cannot be decoded") from None
        if health.nonce != nonce or abs(health.time) > WIRE_INTEGER_MAX:
            raise not_ours("its health check returned another request's nonce")
        return health.time, sent_us, received_us

    def events(self) -> EventStream:
        echo = secrets.token_hex(8)
        request = self._client.build_request(
            "GET",
            f"{self._base}/v1/events",
            headers={**self._sign(), ECHO_HEADER: echo, "accept": "text/event-stream"},
            timeout=self._silence,
        )
        with contextlib.ExitStack() as stack:
            self._enter()
            stack.callback(self._leave)
            with self._guard.turn(self._probe_ms) as turn, explained(turn):
                response = self._client.send(request, stream=True)
                stack.callback(response.close)
                self._must_be(response, "text/event-stream", echo)
            connection = response.extensions.get("network_stream")
            assert isinstance(connection, GuardedStream)
            release = stack.pop_all().close
        return HttpEventStream(pieces(response), wake=connection.shut, release=release)

    def ask(
        self,
        method: Literal["GET", "POST"],
        path: str,
        message: EnrolRequest | PasswordRequest | RefreshRequest | None = None,
        *,
        headers: Mapping[str, str],
        bytes_max: int = SMALL_BODY_BYTES_MAX,
    ) -> bytes:
        """A small call of its own: the JSON of its answer. ``headers``: what shows who asks.

        Raises the ``SyncError`` tree.
        """
        echo = secrets.token_hex(8)
        request = self._client.build_request(
            method,
            self._base + path,
            content=None if message is None else msgspec.json.encode(message),
            headers={**headers, ECHO_HEADER: echo, "content-type": "application/json"},
            timeout=self._timeout,
        )
        with self._answered(request, deadline_ms=self._probe_ms) as response:
            self._must_be(response, "application/json", echo)
            return b"".join(small(response, bytes_max=bytes_max))

    def _post(self, path: str, message: Request, echo: str) -> SpooledAnswer:
        body = encode_request(message)
        headers = {
            **self._sign(),
            ECHO_HEADER: echo,
            "content-type": "application/json",
            "accept-encoding": ", ".join(ENCODINGS),
        }
        encoding = self._packs_as
        if len(body) > GZIP_FLOOR_BYTES:
            packed = pack_bytes(body, encoding)
            # What shrinks too well would look like a bomb; it goes up as it is.
            if len(packed) * COMPRESSION_RATIO_MAX // 2 > len(body):
                body = packed
                headers["content-encoding"] = encoding
        request = self._client.build_request(
            "POST", self._base + path, content=body, headers=headers, timeout=self._timeout
        )
        if headers.get("content-encoding") == ENCODINGS[0]:
            del request.headers["accept-encoding"]  # the answer comes the same way, unasked
        sent_us = self._now_us()
        with self._answered(request, deadline_ms=self._deadline_ms) as response:
            received_us = self._now_us()
            self._packs_as = "gzip"  # which every server takes, unless this one says more
            self._must_be(response, CONTENT_TYPE, echo)
            said = response.headers.get("accept-encoding", "")
            if not said and "content-encoding" in headers:
                self._packs_as = encoding  # it was taken, and there is no better one
            else:
                self._packs_as = _best(said)
            return receive(
                unpacked(response, bytes_max=RESPONSE_BYTES_MAX),
                echo=echo,
                sent_us=sent_us,
                received_us=received_us,
                directory=self._spool_directory,
            )

    @contextlib.contextmanager
    def _answered(
        self, request: httpx2.Request, *, deadline_ms: float
    ) -> Iterator[httpx2.Response]:
        """Send it; the answer's body is read inside, and failures of the way explained."""
        self._enter()
        try:
            with self._guard.turn(deadline_ms) as turn, explained(turn):
                response = self._client.send(request, stream=True)
                try:
                    yield response
                finally:
                    response.close()
        finally:
            self._leave()

    def _must_be(self, response: httpx2.Response, kind: str, echo: str) -> None:
        """Raises what it stands for, unless it is a success, of this type, with our echo."""
        content_type = response.headers.get("content-type", "")
        echoed = response.headers.get(ECHO_HEADER) == echo
        if response.status_code != 200:
            body = b""
            with contextlib.suppress(Offline):
                body = b"".join(small(response))
            raise failure(
                response.status_code,
                body=body,
                content_type=content_type,
                echoed=echoed,
                echo=echo,
                retry_after=response.headers.get("retry-after", ""),
                now_us=self._now_us(),
            )
        if media_type(content_type) != kind:
            raise not_ours(f"it is of type {content_type[:60]!r}")
        if not echoed:
            raise not_ours("it does not repeat the request's echo")

    # --- token and life -------------------------------------------------------------------------

    def _sign(self) -> dict[str, str]:
        token = self._token()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise SignInNeeded("there is no valid device token", code="sign_in")
        return {"authorization": f"Bearer {token}"}

    def fingerprint(self) -> str:
        try:
            token = self._token()
        except (HoldfastError, OSError):
            return ""
        return hashlib.blake2s(token.encode(), key=self._fingerprint_key).hexdigest()

    def interrupt(self) -> None:
        self._guard.interrupt()

    def close(self) -> None:
        with self._lock:
            was_closed, self._closed = self._closed, True
            idle = not self._in_use
        self._guard.interrupt()
        if idle and not was_closed:
            self._client.close()

    def _enter(self) -> None:
        with self._lock:
            if self._closed:
                raise Offline("the transport is closed", code="closed")
            self._in_use += 1

    def _leave(self) -> None:
        """The last one out of a closed transport closes its connections: nobody else reads them."""
        with self._lock:
            self._in_use -= 1
            last = self._closed and not self._in_use
        if last:
            self._client.close()


def _best(accepted: str) -> Encoding:
    """Return how to pack what goes up to a server that says what it takes (RFC 7694)."""
    names = {part.partition(";")[0].strip() for part in accepted.lower().split(",")}
    return next((encoding for encoding in ENCODINGS if encoding in names), "gzip")


def checked_url(url: str) -> str:
    """The server's URL without a slash at its end. Raises ``ReplicaError`` (``bad_url``)."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ReplicaError(f"{url!r} is not a URL: {error}", code="bad_url") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ReplicaError(
            f"{url!r} is not the URL of a server, such as http://127.0.0.1:8750", code="bad_url"
        )
    if parsed.port is not None and not 0 < parsed.port < 65_536:
        raise ReplicaError(f"{url!r} has no possible port", code="bad_url")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ReplicaError("the server's URL has a password, query or fragment", code="bad_url")
    return str(parsed).rstrip("/")
