"""One line in the log for each request, and one event for the observer.

Knows: ASGI, request ids. Must not know: what a request asks for, or any value in it.
The id comes from the caller's ``X-Request-Id`` when it is one (a proxy's, say), else it is the
request's echo, else it is made here. It goes back in the same header, unless it is the echo, which
goes back anyway. Paths are logged as they are declared, so that their number
is bounded. What an endpoint knows of the request, it puts into the ``RequestNotes``.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.limits import SLOW_REQUEST_MS
from holdfast.protocol.version import ECHO_HEADER
from holdfast.server.process.observe import Observer, Requested

log = logging.getLogger("holdfast.server.access")

REQUEST_ID_HEADER = "x-request-id"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOTES = "holdfast.notes"
_QUIET = frozenset({"/v1/health", "/v1/ready"})
_LONG = frozenset({"/v1/events"})
"""Open for as long as the device likes."""


@dataclass(slots=True)
class RequestNotes:
    """Notes about a request that is being answered."""

    code: str = ""
    device: str = ""
    user: str = ""
    transactions: int = 0
    rows: int = 0


def notes_of(scope: Scope) -> RequestNotes:
    """The notes of a request; nobody reads those of one that is not watched."""
    found = scope.get(_NOTES)
    return found if isinstance(found, RequestNotes) else RequestNotes()


class AccessLog:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, *, observer: Observer, slow_ms: int = SLOW_REQUEST_MS) -> None:
        self._app = app
        self._observer = observer
        self._slow_ms = slow_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Watched(scope, receive, send).run(self._app, self._observer, self._slow_ms)


class _Watched:
    """One request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        headers = Headers(scope=scope)
        echo = _one_id(headers.getlist(ECHO_HEADER))
        self._id = _one_id(headers.getlist(REQUEST_ID_HEADER)) or echo or secrets.token_hex(8)
        self._told = self._id == echo
        self._notes = RequestNotes()
        self._status = 0
        self._received = self._sent = 0
        scope[_NOTES] = self._notes

    async def run(self, app: ASGIApp, observer: Observer, slow_ms: int) -> None:
        began = time.monotonic()
        try:
            await app(self._scope, self._take, self._give)
        finally:
            event = self._event((time.monotonic() - began) * 1000)
            _write(event, slow_ms)
            observer(event)

    async def _take(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        return message

    async def _give(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if not self._told:
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = self._id
        self._sent += len(message.get("body", b""))
        await self._send(message)

    def _event(self, ms: float) -> Requested:
        route = getattr(self._scope.get("route"), "path", "other")
        return Requested(
            id=self._id,
            method=self._scope["method"] if route != "other" else "other",
            route=route,
            status=self._status,
            ms=round(ms, 1),
            code=self._notes.code,
            device=self._notes.device,
            user=self._notes.user,
            transactions=self._notes.transactions,
            rows=self._notes.rows,
            received_bytes=self._received,
            sent_bytes=self._sent,
            address=_address(self._scope),
        )


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _one_id(given: Sequence[str]) -> str:
    """Return what a header says, if it says one thing that can be an id."""
    return given[0] if len(given) == 1 and _ID.fullmatch(given[0]) else ""


def _write(event: Requested, slow_ms: int) -> None:
    """Level by what happened; the name of the event never changes."""
    level, name = logging.INFO, "request"
    if event.status >= 500 or event.status == 0:
        level = logging.WARNING
    elif event.ms > slow_ms and event.route not in _LONG:
        level, name = logging.WARNING, "request_slow"
    elif event.route in _QUIET:
        level = logging.DEBUG
    if log.isEnabledFor(level):
        log.log(level, name, extra={"request": asdict(event)})
