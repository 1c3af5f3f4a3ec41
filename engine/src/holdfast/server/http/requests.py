"""Reading requests: the echo, and bodies within their limits.

Knows: ASGI's receiving side, headers. Must not know: messages, the service, or answers.
Upholds I31 (a body costs at most its limit in memory and time), and that a body which did not
arrive whole is never acted on.
"""

from __future__ import annotations

import re
import time

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import (
    READ_TIMEOUT_MS,
    REQUEST_BODY_BYTES_MAX,
    REQUEST_COMPRESSED_BYTES_MAX,
    REQUEST_DEADLINE_MS,
    REQUEST_DRAIN_MS,
)
from holdfast.protocol.compression import ENCODINGS, Encoding
from holdfast.protocol.version import ECHO_HEADER
from holdfast.server.process.hosting import Hosting

REQUEST_CONTENT_TYPE = "application/json"
_ECHO = re.compile(r"[A-Za-z0-9_-]{0,64}")


def checked_echo(value: str, *, name: str = "echo") -> str:
    """An echo or nonce as the client sent it. Raises ``ProtocolError`` 400: ``bad_echo``..."""
    if not _ECHO.fullmatch(value):
        raise ProtocolError(
            f"{name} must be at most 64 letters, digits, - and _", code=f"bad_{name}"
        )
    return value


def echo_of(headers: Headers) -> str:
    """The echo that the answer must carry; empty when none was asked for."""
    values = headers.getlist(ECHO_HEADER)
    if len(values) > 1:
        raise ProtocolError("exactly one Holdfast-Echo header is expected", code="bad_echo")
    return checked_echo(values[0]) if values else ""


def body_encoding(headers: Headers) -> Encoding | None:
    """Return how the body is compressed, if it is.

    Raises ``ProtocolError`` 415 for a wrong type (``bad_content_type``) or encoding
    (``bad_encoding``).
    """
    kinds = headers.getlist("content-type")
    kind, _, parameters = (kinds[0] if len(kinds) == 1 else "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() != REQUEST_CONTENT_TYPE or charset not in ("", "charset=utf-8"):
        raise ProtocolError(
            f"content-type must be {REQUEST_CONTENT_TYPE}", code="bad_content_type", status=415
        )
    encodings = headers.getlist("content-encoding")
    encoding = ",".join(encodings).strip().lower()
    if encoding in ("", "identity"):
        return None
    for known in ENCODINGS:
        if encoding == known:
            return known
    raise ProtocolError(
        f"content-encoding is {' or '.join(ENCODINGS)}, once, or left out",
        code="bad_encoding",
        status=415,
    )


def answer_encoding(headers: Headers, *, packed: Encoding | None = None) -> Encoding | None:
    """Return how the answer may be compressed: the best that both ends have. Who says nothing takes
    anything (RFC 9110, 12.5.3), and can surely unpack what its own request is ``packed`` with."""
    if "accept-encoding" not in headers:
        return packed
    accepted = set()
    for part in ",".join(headers.getlist("accept-encoding")).lower().split(","):
        name, _, quality = part.partition(";")
        if quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            accepted.add(name.strip())
    return next((encoding for encoding in ENCODINGS if encoding in accepted), None)


class Body:
    """The body of one request, read once or thrown away."""

    def __init__(self, receive: Receive, headers: Headers, hosting: Hosting | None = None) -> None:
        """``hosting``: knows of the server's end, which no body is waited for."""
        self._receive = receive
        self._hosting = hosting
        self._declared = headers.get("content-length", "")
        self.finished = False
        """Whether nothing of it is left to read."""

    async def read(
        self,
        *,
        compressed: bool,
        bytes_max: int | None = None,
        idle_ms: float = READ_TIMEOUT_MS,
        deadline_ms: float = REQUEST_DEADLINE_MS,
    ) -> list[bytes]:
        """All pieces, as they came. ``bytes_max``: less than what is allowed otherwise.

        Raises ``ProtocolError``: 413 ``too_large``, 408 ``slow_body``; ``ClientDisconnect`` when
        the client went away before the end.
        """
        if bytes_max is None:
            bytes_max = REQUEST_COMPRESSED_BYTES_MAX if compressed else REQUEST_BODY_BYTES_MAX
        if self._declared.isdecimal() and int(self._declared[:20]) > bytes_max:
            raise _too_large(bytes_max)
        pieces: list[bytes] = []
        size = 0
        ends = time.monotonic() + deadline_ms / 1000
        while not self.finished:
            seconds = min(idle_ms / 1000, ends - time.monotonic())
            piece = None
            if self._hosting is None:
                with anyio.move_on_after(seconds):
                    piece = await self._next()
            else:
                with self._hosting.waiting(seconds):
                    piece = await self._next()
            if piece is None and self._hosting is not None and self._hosting.ended:
                raise ProtocolError("the server is stopping", code="stopping", status=503)
            if piece is None:
                raise ProtocolError("the body came too slowly", code="slow_body", status=408)
            size += len(piece)
            if size > bytes_max:
                raise _too_large(bytes_max)
            pieces.append(piece)
        return pieces

    async def drain(self) -> None:
        """Throw the rest away, for a short while, so that the client gets to read the answer."""
        left = REQUEST_COMPRESSED_BYTES_MAX
        try:
            with anyio.fail_after(REQUEST_DRAIN_MS / 1000):
                while not self.finished and left > 0:
                    left -= len(await self._next())
        except TimeoutError:
            return

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self.finished = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece


def _too_large(bytes_max: int) -> ProtocolError:
    return ProtocolError(
        f"the body is larger than {bytes_max} bytes",
        code="too_large",
        status=413,
        bytes_max=bytes_max,
    )
