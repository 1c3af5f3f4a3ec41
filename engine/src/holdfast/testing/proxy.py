"""A TCP proxy on the loopback that loses, cuts and resets HTTP/1.1 requests on purpose.

It knows the framing of HTTP/1.1 (heads, Content-Length, chunks) and nothing of what is inside:
bytes pass unchanged. It must not know Holdfast's protocol. What it promises a test: one seed and
one order of requests give one sequence of faults; a fault is counted before the client can see it;
a request it did not fault is answered whole, or the client sees a reset connection, never a hang.

Not carried: CONNECT and protocol upgrades (WebSocket); such a connection is reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self, get_args

from holdfast.testing.http_framing import (
    HEAD_BYTES_MAX,
    IDLE_TIMEOUT_S,
    IO_TIMEOUT_S,
    PIECE_BYTES,
    UNTIL_CLOSE,
    MalformedError,
    MessageHead,
    pieces,
    read_head,
    reset,
    response_length,
    send,
)

FaultKind = Literal["drop_before", "drop_after", "truncate", "reset"]
FAULT_KINDS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)

DELAY_MS_MAX: Final = 60_000
_CONNECT_TIMEOUT_S: Final = 5.0
_DRAIN_TIMEOUT_S: Final = 5.0  # for the rest of a request that was answered early
# Servers close idle connections after some seconds; reusing only fresh ones avoids losing a request
# to that race, which a test would take for a fault nobody asked for.
_UPSTREAM_REUSE_S: Final = 1.0
_CONTROL_TIMEOUT_S: Final = 10.0
_PORTAL_BODY: Final = b"<!doctype html><title>Welcome</title><h1>Sign in to use this network</h1>\n"
_PORTAL: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_PORTAL_BODY)
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Fault of one request; `place` and `point` (both 0 <= x < 1) say where exactly."""

    kind: FaultKind | None
    place: float = 0.0
    point: float = 0.0

    @property
    def before_forwarding(self) -> bool:
        return self.kind == "drop_before" or (self.kind == "reset" and self.place < 1 / 3)

    @property
    def sends_part(self) -> bool:
        return self.kind == "truncate" or (self.kind == "reset" and self.place >= 2 / 3)


class _Rules:
    """Decides and counts; written by the caller's thread and by the loop, hence the lock."""

    def __init__(
        self, *, upstream: tuple[str, int], probability: float, seed: int, paths: Sequence[str]
    ) -> None:
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.upstream = upstream
        self.probability = probability
        self.paths = tuple(path.encode("ascii") for path in paths)
        self.script: deque[FaultKind | None] = deque()
        self.delay_ms = 0.0
        self.captive = False
        self.cut = False
        self.requests = 0
        self.upstream_failures = 0
        self.faults: dict[str, int] = dict.fromkeys(FAULT_KINDS, 0)

    def plan(self, request: MessageHead) -> _Plan:
        """Count a request and decide its fate; an eligible one always takes four draws."""
        with self.lock:
            self.requests += 1
            eligible = request.start[1].startswith(self.paths) and not request.is_event_stream
            if self.captive or not eligible:
                return _Plan(None)
            chance, which, place, point = (self.random.random() for _ in range(4))
            if self.script:
                return _Plan(self.script.popleft(), place, point)
            kind = FAULT_KINDS[int(which * len(FAULT_KINDS))] if chance < self.probability else None
            return _Plan(kind, place, point)

    def count(self, kind: FaultKind | None) -> None:
        if kind is not None:
            with self.lock:
                self.faults[kind] += 1


@dataclass(slots=True)
class _Upstream:
    """A connection to the upstream, kept for the next request of the same client connection."""

    address: tuple[str, int]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_since: float = 0.0
    broken: bool = False

    def reusable(self, address: tuple[str, int]) -> bool:
        fresh = time.monotonic() - self.idle_since < _UPSTREAM_REUSE_S
        dead = self.broken or self.reader.at_eof() or self.writer.is_closing()
        return fresh and not dead and self.address == address


class _Connection:
    """Carries the requests of one client connection, one after the other."""

    def __init__(
        self, rules: _Rules, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._rules = rules
        self._reader = reader
        self._writer = writer
        self._upstream: _Upstream | None = None

    async def run(self) -> None:
        """Serve until the client leaves, a fault strikes or something fails; close everything."""
        try:
            while await self._one_request():
                pass
            self._writer.close()
            with contextlib.suppress(OSError):
                async with asyncio.timeout(IO_TIMEOUT_S):
                    await self._writer.wait_closed()
        except (OSError, EOFError, MalformedError) as error:
            log.debug("connection reset: %r", error)
            self.reset()
        finally:
            self.drop_upstream()
            self._writer.transport.abort()

    def reset(self) -> None:
        """Close the client's connection with RST, dropping what is still unsent."""
        reset(self._writer)

    def drop_upstream(self) -> None:
        """Close the connection to the upstream, if any."""
        if self._upstream is not None:
            self._upstream.writer.transport.abort()
            self._upstream = None

    async def _one_request(self) -> bool:
        """Serve one request; False when the connection is over."""
        head = await read_head(self._reader, IDLE_TIMEOUT_S)
        if head is None:
            return False
        length = head.body_length(default=0)
        plan = self._rules.plan(head)
        if self._rules.delay_ms:
            await asyncio.sleep(self._rules.delay_ms / 1000)
        if head.fields.get(b"expect", b"").lower() == b"100-continue":
            await send(self._writer, b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._rules.captive or plan.before_forwarding:
            async for _ in pieces(self._reader, length):
                pass
            if not plan.before_forwarding:
                body = b"" if head.start[0] == b"HEAD" else _PORTAL_BODY
                await send(self._writer, _PORTAL + body)
                return not head.wants_close
            self._rules.count(plan.kind)
            if plan.kind == "reset":
                self.reset()
            return False
        return await self._forward(head, length, plan)

    async def _forward(self, request: MessageHead, length: int, plan: _Plan) -> bool:
        sending: asyncio.Task[None] | None = None
        try:
            try:
                upstream = await self._connect()
                sending = await self._send_request(upstream, request, length)
                response = await self._response_head(upstream)
            except (OSError, EOFError):
                self._rules.upstream_failures += 1
                raise
            body_length = response_length(request, response)
            if response.is_event_stream and body_length != 0:
                await self._relay_stream(upstream, response, body_length)
                return False
            if plan.kind is not None:
                await self._spoil(upstream, response, body_length, plan)
                return False
            await self._relay(upstream, response, body_length)
            if sending is not None:
                await asyncio.wait({sending}, timeout=_DRAIN_TIMEOUT_S)
                if not sending.done():
                    return False
            if response.wants_close or body_length == UNTIL_CLOSE:
                self.drop_upstream()
                return False
            upstream.idle_since = time.monotonic()
            return not request.wants_close
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _connect(self) -> _Upstream:
        address = self._rules.upstream
        if self._upstream is not None and self._upstream.reusable(address):
            return self._upstream
        self.drop_upstream()
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            streams = await asyncio.open_connection(*address, limit=HEAD_BYTES_MAX)
        self._upstream = _Upstream(address, *streams)
        return self._upstream

    async def _send_request(
        self, upstream: _Upstream, request: MessageHead, length: int
    ) -> asyncio.Task[None] | None:
        """Send a small request at once; a task for a large one, as the answer may come early."""
        if 0 <= length <= PIECE_BYTES:
            body = b"".join([piece async for piece in pieces(self._reader, length)])
            await send(upstream.writer, request.raw + body)
            return None
        return asyncio.create_task(self._send_body(upstream, request, length))

    async def _send_body(self, upstream: _Upstream, request: MessageHead, length: int) -> None:
        # A server may refuse early and close. The transport drops an unread answer when a write
        # fails, so large bodies take a second handle of the socket, whose failure leaves it be.
        with upstream.writer.get_extra_info("socket").dup() as direct:
            try:
                await self._send_raw(upstream, direct, request.raw)
                async for piece in pieces(self._reader, length):
                    # After a refusal read on, so that the client gets to see the early answer.
                    await self._send_raw(upstream, direct, piece)
            except (OSError, EOFError, MalformedError):
                upstream.writer.transport.abort()  # half a request must not look like a slow one

    async def _send_raw(self, upstream: _Upstream, direct: socket.socket, data: bytes) -> None:
        if upstream.broken:
            return
        try:
            async with asyncio.timeout(IO_TIMEOUT_S):
                await asyncio.get_running_loop().sock_sendall(direct, data)
        except OSError:
            upstream.broken = True

    async def _response_head(self, upstream: _Upstream) -> MessageHead:
        while True:
            head = await read_head(upstream.reader, IO_TIMEOUT_S)
            if head is None:
                raise EOFError("upstream closed without an answer")
            if head.start[1] == b"101":
                raise MalformedError("upgrade not supported")
            if not head.start[1].startswith(b"1"):
                return head

    async def _relay(self, upstream: _Upstream, response: MessageHead, length: int) -> None:
        if 0 <= length <= PIECE_BYTES:
            body = b"".join([piece async for piece in pieces(upstream.reader, length)])
            await send(self._writer, response.raw + body)
            return
        await send(self._writer, response.raw)
        async for piece in pieces(upstream.reader, length):
            await send(self._writer, piece)

    async def _relay_stream(self, upstream: _Upstream, response: MessageHead, length: int) -> None:
        """Pass events on as they come, until either side leaves."""

        async def pump() -> None:
            await send(self._writer, response.raw)
            async for piece in pieces(upstream.reader, length, stream=True):
                await send(self._writer, piece)

        pumping = asyncio.create_task(pump())
        leaving = asyncio.create_task(self._reader.read(1))
        try:
            await asyncio.wait({pumping, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if pumping.done():
                pumping.result()
        finally:
            pumping.cancel()
            leaving.cancel()
            await asyncio.gather(pumping, leaving, return_exceptions=True)

    async def _spoil(
        self, upstream: _Upstream, response: MessageHead, length: int, plan: _Plan
    ) -> None:
        """Read the whole answer, then deliver nothing or a part of it."""
        body = bytearray()
        async for piece in pieces(upstream.reader, length):
            body += piece
        self._rules.count(plan.kind)
        if plan.sends_part:
            if body:
                part = response.raw + body[: int(plan.point * len(body))]
            else:  # nothing to cut in the body: cut the head, or the answer would be whole
                part = response.raw[: max(1, int(plan.point * len(response.raw)))]
            await send(self._writer, part)
        # Where the end of the connection ends the body, only RST tells a cut from an end.
        if plan.kind == "reset" or (plan.kind == "truncate" and length == UNTIL_CLOSE):
            self.reset()


class FaultProxy:
    """An HTTP/1.1 proxy on 127.0.0.1 that loses requests with a given probability.

    Per request whose path starts with one of `paths` it picks, from `random.Random(seed)`, one of:

    - `drop_before`: the request is read, the upstream never sees it, the connection is closed;
    - `drop_after`: the upstream answers, the client gets none of it, the connection is closed;
    - `truncate`: the client gets the head and a strict prefix of the body (of the head, where the
      body is empty), then the connection is closed;
    - `reset`: RST, before forwarding, after the answer, or in the middle of it.

    Event streams pass unfaulted, piece by piece. While the upstream is down, clients see a reset.
    It runs in a thread of its own; every method may be called from any other thread.

        with FaultProxy(upstream=("127.0.0.1", 8000), probability=0.3, seed=1) as proxy:
            client = httpx2.Client(base_url=proxy.url)
    """

    def __init__(
        self,
        *,
        upstream: tuple[str, int],
        probability: float = 0.0,
        seed: int = 0,
        paths: Sequence[str] = ("",),
        delay_ms: float = 0.0,
        port: int = 0,
    ) -> None:
        """Prepare; `port` 0 takes a free one. ValueError for values out of range."""
        self._rules = _Rules(upstream=upstream, probability=0.0, seed=seed, paths=paths)
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self.set_probability(probability)
        self.delay_ms = delay_ms

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The TCP port; the same before and after `cut` and `heal`."""
        return self._port

    @property
    def url(self) -> str:
        """Return where clients connect, without a trailing slash."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def requests(self) -> int:
        """Requests whose head was read so far, faulted or not."""
        return self._rules.requests

    @property
    def faults(self) -> dict[str, int]:
        """Faults done so far, per kind; a copy."""
        with self._rules.lock:
            return dict(self._rules.faults)

    @property
    def upstream_failures(self) -> int:
        """Requests lost because the upstream was down or did not answer."""
        return self._rules.upstream_failures

    @property
    def open_connections(self) -> int:
        """Client connections open now."""
        return len(self._connections)

    @property
    def delay_ms(self) -> float:
        """Milliseconds that each request waits before anything else happens to it."""
        return self._rules.delay_ms

    @delay_ms.setter
    def delay_ms(self, value: float) -> None:
        if not 0 <= value <= DELAY_MS_MAX:
            raise ValueError(f"delay_ms must lie in 0..{DELAY_MS_MAX}, not {value}")
        self._rules.delay_ms = value

    def set_probability(self, probability: float) -> None:
        """Set the chance, 0..1, that an eligible request suffers a fault."""
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must lie in 0..1, not {probability}")
        self._rules.probability = probability

    def set_upstream(self, host: str, port: int) -> None:
        """Forward from the next request on to another server."""
        self._rules.upstream = (host, port)

    def scripted(self, kinds: Iterable[FaultKind | None]) -> None:
        """Let the next eligible requests suffer exactly these (None: none); replaces a script.

        The probability rules again when the script is used up. ValueError for an unknown kind.
        """
        script = list(kinds)
        for kind in script:
            if kind is not None and kind not in FAULT_KINDS:
                raise ValueError(f"unknown fault {kind!r}; known: {', '.join(FAULT_KINDS)}")
        with self._rules.lock:
            self._rules.script = deque(script)

    def captive_portal(self, on: bool = True) -> None:
        """Answer every new request with 200 text/html without forwarding it, or stop that."""
        self._rules.captive = on

    def cut(self) -> None:
        """Pull the cable: reset every open connection now, and each new one until `heal`."""
        self._rules.cut = True
        self._call(self._drop_all())

    def heal(self) -> None:
        """Plug the cable in again."""
        self._rules.cut = False

    def start(self) -> Self:
        """Listen; OSError where the port is taken, RuntimeError when already started."""
        if self._thread is not None:
            raise RuntimeError("the proxy was started already")
        ready: Future[int] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="holdfast-fault-proxy", daemon=True
        )
        self._thread.start()
        self._port = ready.result(timeout=_CONTROL_TIMEOUT_S)
        return self

    def close(self) -> None:
        """Drop every connection, stop listening, end the thread; harmless when repeated."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None or not thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):  # the loop closed in between
            loop.call_soon_threadsafe(self._stopping.set)
        thread.join(timeout=_CONTROL_TIMEOUT_S)
        if thread.is_alive():
            raise RuntimeError(f"the proxy did not stop within {_CONTROL_TIMEOUT_S} s")

    def _run(self, ready: Future[int]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _serve(self, ready: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(
            self._accept, "127.0.0.1", self._port, limit=HEAD_BYTES_MAX, backlog=512
        )
        ready.set_result(server.sockets[0].getsockname()[1])
        await self._stopping.wait()
        server.close()
        await self._drop_all()
        await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._rules.cut or self._stopping.is_set():
            reset(writer)
            return
        connection = _Connection(self._rules, reader, writer)
        task = asyncio.get_running_loop().create_task(connection.run())
        self._connections[task] = connection
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._connections[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the proxy failed on a connection", exc_info=error)

    async def _drop_all(self) -> None:
        doomed = dict(self._connections)
        for task, connection in doomed.items():
            connection.reset()
            connection.drop_upstream()
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets in the loop's next turn

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            work.close()
            raise RuntimeError("the proxy is not running")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=_CONTROL_TIMEOUT_S)
