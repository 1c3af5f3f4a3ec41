"""Sending answers: lines in batches, streams that end when their reader does.

Knows: ASGI's sending side, the encoding of lines. Must not know: what the lines mean.
A small answer is one piece with its length; a large one is streamed in bounded memory (I31). A
reader that goes away, or stops reading, closes the source of the lines; an answer that breaks off
is never ended properly, so that nobody takes it for whole.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import Any

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import GZIP_FLOOR_BYTES, KIB, READ_TIMEOUT_MS
from holdfast.protocol.codec import encode_error, encode_line
from holdfast.protocol.compression import ENCODINGS, Encoding, pack_lines
from holdfast.protocol.messages import Line
from holdfast.protocol.version import CONTENT_TYPE

_BATCH_BYTES = 64 * KIB


class Lines:
    """The lines of an answer as bytes, taken in batches. Not for the event loop: it blocks.

    Making one takes the first lines, and so raises whatever refuses the request whole.
    """

    def __init__(self, source: Iterator[Line], *, encoding: Encoding | None) -> None:
        self._source = source
        self.encoding: Encoding | None = None
        self._whole = False
        try:
            encoded = map(encode_line, source)
            start: list[bytes] = []
            size = 0
            for line in encoded:
                start.append(line)
                size += len(line)
                if size >= GZIP_FLOOR_BYTES:
                    self.encoding = encoding
                    break
            lines = itertools.chain(start, encoded)
            self._pieces = pack_lines(lines, self.encoding) if self.encoding else iter(lines)
            self._first = self._batch()
        except BaseException:
            self.close()
            raise

    @property
    def whole(self) -> bool:
        """Whether the first batch is all there is."""
        return self._whole

    def take(self) -> bytes:
        """The next batch; empty at the end."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return b"" if self._whole else self._batch()

    def close(self) -> None:
        """Release what the lines come from; more than once is fine."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _batch(self) -> bytes:
        batch = bytearray()
        for piece in self._pieces:
            batch += piece
            if len(batch) >= _BATCH_BYTES:
                return bytes(batch)
        self._whole = True
        self.close()
        return bytes(batch)


class Streamed(Response):
    """An answer whose body comes from an async generator, which is closed whatever happens.

    ``on_end`` is called after that, also when nothing was sent. ``send_timeout_ms``: how long a
    client may leave a piece unread.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes],
        *,
        headers: dict[str, str],
        status: int = 200,
        on_end: Callable[[], None] = lambda: None,
        send_timeout_ms: float = READ_TIMEOUT_MS,
    ) -> None:
        self.status_code = status
        self.background = None
        self.init_headers(headers)
        self._chunks = chunks
        self._on_end = on_end
        self._send_timeout_s = send_timeout_ms / 1000

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
            try:
                await self._send(send)
            except Exception as error:  # noqa: BLE001 - raised below, outside of the group
                failure = error
            finally:
                with anyio.CancelScope(shield=True):
                    await self._chunks.aclose()
                self._on_end()
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _send(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        async for chunk in self._chunks:
            with anyio.fail_after(self._send_timeout_s):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def line_headers(encoding: Encoding | None) -> dict[str, str]:
    """The headers of an answer made of lines. ``accept-encoding``: of later requests (RFC 7694)."""
    headers = {
        "content-type": CONTENT_TYPE,
        "vary": "accept-encoding",
        "accept-encoding": ", ".join(ENCODINGS),
    }
    return headers | {"content-encoding": encoding} if encoding else headers


def json_response(
    body: bytes, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A small answer in JSON."""
    return Response(body, status, headers=headers, media_type="application/json")


def error_response(
    error: ProtocolError, *, echo: str, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """Any answer that is not 2xx: JSON with a stable code."""
    extra: dict[str, Any] = dict(headers)
    if error.status == 401:
        extra["www-authenticate"] = 'Bearer realm="holdfast"'
    if error.status in (429, 503):
        extra["retry-after"] = str(error.detail.get("retry_after_s", 1))
    return json_response(encode_error(error, echo=echo), status=error.status, headers=extra)
