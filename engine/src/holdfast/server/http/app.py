"""The server on HTTP: an ASGI app that can be mounted anywhere.

Knows: routes, headers, statuses. Must not know: a database, merging, or how tokens are checked.
Every answer carries the request's echo and is not to be stored; every answer that is not 2xx is
JSON with a stable code. The service runs in worker threads: so many, with so long a queue, in which
devices take turns.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
)
from dataclasses import asdict
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.core.errors import DatabaseError, ProtocolError
from holdfast.core.limits import (
    ANSWER_HOLD_MS,
    CLOCK_LEEWAY_MS,
    EVENT_HEARTBEAT_MS,
    JOURNAL_PAGE_MAX,
    REQUESTS_WAITING_MAX,
    SERVER_THREADS,
    SIGN_IN_THREADS,
    WIRE_INTEGER_MAX,
)
from holdfast.protocol.codec import RequestT, decode_request
from holdfast.protocol.compression import unpack_bounded
from holdfast.protocol.messages import ExchangeRequest, Line, VerifyRequest
from holdfast.protocol.version import CONTENT_TYPE, ECHO_HEADER, PROTOCOL
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.http.access_log import AccessLog, RequestNotes, notes_of
from holdfast.server.http.contract import ExchangeService
from holdfast.server.http.downloads import Downloads
from holdfast.server.http.enrolment import EnrolmentEndpoints
from holdfast.server.http.front import ApiHeaders
from holdfast.server.http.open_answers import OpenAnswer, OpenAnswers
from holdfast.server.http.requests import (
    Body,
    answer_encoding,
    body_encoding,
    checked_echo,
    echo_of,
)
from holdfast.server.http.responses import (
    Lines,
    Streamed,
    error_response,
    json_response,
    line_headers,
)
from holdfast.server.identity.authenticator import Authenticator
from holdfast.server.identity.principal import Principal, turn_of
from holdfast.server.identity.rate_limit import Rates
from holdfast.server.identity.token_file import plain, who
from holdfast.server.live.events import Hub, Subscription
from holdfast.server.process.hosting import Hosting
from holdfast.server.process.observe import Observer, guarded, nobody
from holdfast.server.process.threads import Threads
from holdfast.server.push.quotas import DailyVolumes
from holdfast.sql.replica import compile_replica

log = logging.getLogger(__name__)

T = TypeVar("T")

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


def asgi(
    service: ExchangeService,
    authenticate: Authenticator,
    *,
    hub: Hub,
    threads: int = SERVER_THREADS,
    queue_max: int = REQUESTS_WAITING_MAX,
    heartbeat_ms: float = EVENT_HEARTBEAT_MS,
    answer_hold_ms: float = ANSWER_HOLD_MS,
    budgets: Budgets | None = None,
    endpoints: EnrolmentEndpoints | None = None,
    observer: Observer = nobody,
) -> Starlette:
    """The app. ``hub``: where the service publishes (``on_commit=hub.publish``) what has moved.

    ``threads``: how many requests are worked on at the same time; ``queue_max``: how many more may
    wait before the rest are told to come back later. ``budgets``: how many threads, open answers
    and places in the queue one device may have; devices that wait take turns. ``answer_hold_ms``:
    how long one who reads slowly may hold the database while nobody else waits for it.
    ``endpoints``: where devices enrol. The app does not close the service. It closes the hub when
    its lifespan ends, and mounted in another app when the uvicorn it runs on is told to stop; under
    another server close the hub yourself, or open event streams will hold it up. ``observer`` hears
    of each request. ``app.state.waiting()``: how many requests wait for their turn;
    ``app.state.stop()``: from now on it says that it is not ready.
    """
    shell = _Shell(
        service,
        authenticate,
        hub=hub,
        threads=threads,
        queue_max=queue_max,
        heartbeat_ms=heartbeat_ms,
        answer_hold_ms=answer_hold_ms,
        budgets=budgets or Budgets(),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        hub.close()

    app = Starlette(
        routes=[
            Route("/v1/exchange", shell.answered(shell.exchange), methods=["POST"]),
            Route("/v1/verify", shell.answered(shell.verify), methods=["POST"]),
            Route("/v1/events", shell.answered(shell.events), methods=["GET"]),
            Route("/v1/session", shell.answered(shell.session), methods=["GET"]),
            Route("/v1/schema", shell.answered(shell.schema), methods=["GET"]),
            Route("/v1/program", shell.answered(shell.program), methods=["GET"]),
            Route("/v1/journal", shell.answered(shell.journal), methods=["GET"]),
            Route("/v1/files/{id}", shell.answered(shell.file), methods=["GET"]),
            Route("/v1/ready", shell.answered(shell.ready), methods=["GET"]),
            Route("/v1/health", shell.answered(shell.health), methods=["GET"]),
            *([] if endpoints is None else endpoints.routes(shell.answered)),
        ],
        middleware=[Middleware(ApiHeaders), Middleware(AccessLog, observer=guarded(observer))],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.hub = hub
    app.state.waiting = shell.waiting
    app.state.stop = shell.stop
    return app


def _finish(response: Response, echo: str) -> Response:
    if response.headers.get("content-type") != CONTENT_TYPE:
        response.headers.setdefault("cache-control", "no-store")
    # Lines answer a POST: without a word of ours no cache may keep them (RFC 9111, 3 and 9.3.3 of
    # RFC 9110), and a small answer is half headers.
    if echo:
        response.headers[ECHO_HEADER] = echo
    return response


async def _http_error(request: Request, error: Exception) -> Response:
    """Return what the router refuses: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)
    try:
        echo = echo_of(request.headers)
    except ProtocolError:
        echo = ""
    code = _HTTP_CODES.get(error.status_code, "http")
    notes_of(request.scope).code = code
    answer = ProtocolError(error.detail, code=code, status=error.status_code)
    return _finish(error_response(answer, echo=echo, headers=(error.headers or {}).items()), echo)


class _Shell:
    """The endpoints, and what they share."""

    def __init__(
        self,
        service: ExchangeService,
        authenticate: Authenticator,
        *,
        hub: Hub,
        threads: int,
        queue_max: int,
        heartbeat_ms: float,
        answer_hold_ms: float,
        budgets: Budgets,
    ) -> None:
        self._service = service
        plain(authenticate)
        self._authenticate = authenticate
        self._rates = Rates(
            burst=budgets.device_requests_burst, every_ms=budgets.device_request_every_ms,
            what="requests of this device", code="too_many_requests",
        )  # fmt: skip
        self._volumes = DailyVolumes(budgets.quotas)
        self._hub = hub
        self._hosting = Hosting(lambda: hub.closed, hub.close)
        self._threads = Threads(threads, per_owner=budgets.threads_per_device_max)
        self._sign_in_threads = Threads(SIGN_IN_THREADS, per_owner=1)
        """For those of whom it is not known yet who they are."""
        self._waiting_per_device_max = budgets.waiting_per_device_max
        self._queue_max = queue_max
        self._heartbeat_ms = heartbeat_ms
        self._answers = OpenAnswers(
            per_device=budgets.answers_per_device_max, hold_ms=answer_hold_ms
        )
        self._downloads = Downloads(service)
        self._probe = anyio.CapacityLimiter(1)
        self._stopping = False

    def waiting(self) -> int:
        """Requests that wait for their turn."""
        in_turn = self._threads.waiting() + self._answers.waiting()
        return in_turn + self._sign_in_threads.waiting()

    def stop(self) -> None:
        """Not ready any more; what comes is still answered."""
        self._stopping = True

    def answered(
        self, endpoint: Callable[[Request, Body, str], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that always answers, and always in our form."""

        async def answer(request: Request) -> Response:
            echo = ""
            body = Body(request.receive, request.headers, self._hosting)
            try:
                try:
                    echo = echo_of(request.headers)
                    return _finish(await endpoint(request, body, echo), echo)
                except Exception as error:  # noqa: BLE001 - every failure gets a code
                    failure = _as_protocol_error(error)
                    notes_of(request.scope).code = failure.code
                    response = error_response(failure, echo=echo)
                    await body.drain()
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it
            if not body.finished:
                response.headers["connection"] = "close"
            return _finish(response, echo)

        return answer

    async def _ask_who(self, headers: Mapping[str, str]) -> Principal:
        """Whoever shows the same takes turns with others, also before it is known who that is."""
        shown = headers.get("authorization") or headers.get("cookie", "")
        return await self._sign_in_threads.run(shown, who, self._authenticate, headers)

    async def _principal(self, request: Request) -> Principal:
        """Sheds load before any work; then asks who it is."""
        if self.waiting() >= self._queue_max:
            raise ProtocolError("the server is busy", code="busy", status=503)
        principal = await self._ask_who(request.headers)
        turn = turn_of(principal)
        waiting = self._threads.waiting(turn) + self._answers.waiting(turn)
        if waiting >= self._waiting_per_device_max:
            raise ProtocolError(
                f"{self._waiting_per_device_max} requests of this device wait already; come again"
                " when some of them are answered",
                code="too_many_requests", status=429,
            )  # fmt: skip
        notes = notes_of(request.scope)
        notes.device, notes.user = principal.device, principal.user
        if not principal.device:
            raise ProtocolError("no device is enrolled here yet", code="enrol_first", status=403)
        self._rates.take(principal.device)
        return principal

    async def exchange(self, request: Request, body: Body, echo: str) -> Response:
        return await self._lines(request, body, echo, ExchangeRequest, self._service.exchange)

    async def verify(self, request: Request, body: Body, echo: str) -> Response:
        return await self._lines(request, body, echo, VerifyRequest, self._service.verify)

    async def _lines(
        self,
        request: Request,
        body: Body,
        echo: str,
        kind: type[RequestT],
        serve: Callable[..., Iterator[Line]],
    ) -> Response:
        principal = await self._principal(request)
        notes = notes_of(request.scope)
        packed = body_encoding(request.headers)
        pieces = await body.read(compressed=packed is not None)
        encoding = answer_encoding(request.headers, packed=packed)

        def begin() -> Lines:
            raw = b"".join(pieces)
            if packed is not None:
                raw = unpack_bounded([raw], packed)
            message = decode_request(raw, kind)
            notes.transactions = len(getattr(message, "transactions", ()))
            if notes.transactions:
                self._volumes.take(principal, len(raw))
            return Lines(serve(principal, message, echo=echo), encoding=encoding)

        answer = await self._answers.open(turn_of(principal))
        try:
            lines = await self._threads.run(answer.owner, begin)
        except BaseException:
            answer.close()
            raise
        headers = line_headers(lines.encoding, packed=packed)
        notes.rows = lines.rows
        if lines.whole:
            answer.close()
            return Response(lines.take(), headers=headers)
        return Streamed(
            self._batches(lines, notes, answer),
            headers=headers,
            beside=functools.partial(self._hold, lines, answer),
            on_end=answer.close,
        )

    async def _hold(self, lines: Lines, answer: OpenAnswer) -> None:
        """A slow reader must not hold the database."""
        await answer.until_due()
        if lines.whole:
            return
        answer.spool()
        await self._threads.run(answer.owner, lines.let_go)
        answer.release()

    async def _batches(
        self, lines: Lines, notes: RequestNotes, answer: OpenAnswer
    ) -> AsyncGenerator[bytes]:
        try:
            while batch := await self._threads.run(answer.owner, lines.take):
                if lines.whole:
                    answer.release()
                yield batch
        finally:
            notes.rows = lines.rows
            with anyio.CancelScope(shield=True):
                await self._threads.run(answer.owner, lines.close)

    async def _read(
        self, principal: Principal, function: Callable[..., T], *arguments: Any, **named: Any
    ) -> T:
        """Call what opens a snapshot, and closes it before it returns."""
        answer = await self._answers.open(turn_of(principal))
        try:
            return await self._threads.run(
                answer.owner, functools.partial(function, *arguments, **named)
            )
        finally:
            answer.close()

    async def ready(self, _request: Request, _body: Body, _echo: str) -> Response:
        """Return whether a proxy may send requests here: the database can be written, and nobody
        has asked the server to stop. Opening the server has run its migrations."""
        if self._stopping or self._hub.closed:
            raise ProtocolError("the server is stopping", code="stopping", status=503)
        await anyio.to_thread.run_sync(self._service.check_ready, limiter=self._probe)
        return _json({"holdfast": PROTOCOL, "ready": True})

    async def health(self, request: Request, _body: Body, _echo: str) -> Response:
        """Answered at once, also under load: it measures the way, not the work."""
        nonce = checked_echo(request.query_params.get("nonce", ""), name="nonce")
        return _json(
            {
                "holdfast": PROTOCOL,
                "nonce": nonce,
                "time": self._service.now_us(),
                "epoch": self._service.epoch,
            }
        )

    async def file(self, request: Request, _body: Body, _echo: str) -> Response:
        """A file that an exchange has offered: its path is the right to have it."""
        return await self._downloads.answer(request)

    async def session(self, request: Request, _body: Body, _echo: str) -> Response:
        principal = await self._principal(request)
        schema = self._service.schema
        return _json(
            {
                "device": principal.device,
                "user": principal.user,
                "scopes": {"read": principal.read, "write": principal.write},
                "schema": schema.fingerprint,
                "generation": schema.generation,
                "epoch": self._service.epoch,
                "protocol": PROTOCOL,
            }
        )

    async def schema(self, request: Request, _body: Body, _echo: str) -> Response:
        await self._principal(request)
        return json_response(self._service.schema.to_json())

    async def program(self, request: Request, _body: Body, _echo: str) -> Response:
        """The replica program: what a browser runs on its own SQLite."""
        await self._principal(request)
        return json_response(msgspec.json.encode(compile_replica(self._service.schema)))

    async def journal(self, request: Request, _body: Body, _echo: str) -> Response:
        """Automatic decisions, newest first; ``before`` with the answer's ``next`` reads on."""
        principal = await self._principal(request)
        asked = request.query_params
        page = await self._read(
            principal,
            self._service.journal_page,
            principal,
            table=asked.get("table", ""),
            key=asked.get("key", ""),
            before=_whole(asked.get("before", "0"), WIRE_INTEGER_MAX),
            limit=_whole(asked.get("limit", "100"), JOURNAL_PAGE_MAX),
        )
        entries = [
            {name: value for name, value in asdict(entry).items() if name != "scopes"}
            for entry in page.entries
        ]
        return json_response(msgspec.json.encode({"entries": entries, "next": page.next}))

    async def events(self, request: Request, _body: Body, _echo: str) -> Response:
        principal = await self._principal(request)
        self._hosting.look()
        subscription = self._hub.subscribe(principal)  # before the heads, so that none is missed
        try:
            # What was revoked before the hub knew of the stream is seen here, the rest is told.
            principal = await self._ask_who(request.headers)
            subscription.follow(principal)
            heads = await self._read(principal, self._service.heads, principal)
        except BaseException:
            subscription.close()
            raise
        headers = {"content-type": "text/event-stream", "x-accel-buffering": "no"}
        same = functools.partial(self._still, request, subscription)
        return Streamed(self._moves(subscription, heads, same), headers=headers)

    async def _moves(
        self,
        subscription: Subscription,
        heads: dict[str, int],
        still: Callable[[], Awaitable[bool]],
    ) -> AsyncGenerator[bytes]:
        with subscription:
            heartbeat_ms = int(self._heartbeat_ms)
            yield _event("hello", {"scopes": heads, "heartbeat_ms": heartbeat_ms})
            while True:
                news = await subscription.next(self._heartbeat_ms)
                if subscription.closed or not await still():
                    return
                alive = news is None
                yield b": alive\n\n" if alive else _event("moved", {"scopes": news})

    async def _still(self, request: Request, subscription: Subscription) -> bool:
        """Return whether an open stream's token still stands for the same principal."""
        principal = subscription.principal
        if principal.registered:  # whoever revokes it closes the subscription
            leeway_us = CLOCK_LEEWAY_MS * 1000
            return self._service.now_us() <= principal.until_us + leeway_us
        try:
            return await self._ask_who(request.headers) == principal
        except ProtocolError:
            return False


def _as_protocol_error(error: Exception) -> ProtocolError:
    if isinstance(error, ProtocolError):
        return error
    if isinstance(error, ClientDisconnect):
        raise error
    if isinstance(error, DatabaseError):
        log.error("the server's database failed: %s", error)
        return ProtocolError("the server's database has failed", code=error.code, status=503)
    log.error("unexpected failure", exc_info=error)
    return ProtocolError(
        "internal server error; the details are in the server's log", code="internal", status=500
    )


def _json(content: dict[str, Any]) -> Response:
    return json_response(msgspec.json.encode(content))


def _whole(text: str, most: int) -> int:
    """A number in a query. Raises ``ProtocolError`` (``bad_message``)."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= most):
        raise ProtocolError(f"a whole number from 0 to {most} is expected", code="bad_message")
    return int(text)


def _event(name: str, content: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(content))
