"""Sending answers: lines in batches, streams that end when their reader does.

Knows: ASGI's sending side, the encoding of lines. Must not know: what the lines mean.
A small answer is one piece with its length; a large one is streamed in bounded memory (I31). A
reader that goes away, or stops reading, closes the source of the lines; an answer that breaks off
is never ended properly, so that nobody takes it for whole. One that reads slowly holds nothing of
the database for long: what it has not read by then waits for it in a temporary file.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from typing import IO, Any

import anyio
import anyio.lowlevel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast.core.errors import DatabaseFull, ProtocolError
from holdfast.core.limits import (
    ANSWER_BATCH_BYTES,
    ANSWER_SPOOL_BYTES_MAX,
    GZIP_FLOOR_BYTES,
    READ_TIMEOUT_MS,
)
from holdfast.protocol.codec import encode_error, encode_line
from holdfast.protocol.compression import ENCODINGS, Encoding, pack_lines
from holdfast.protocol.messages import Line, Rows
from holdfast.protocol.version import CONTENT_TYPE


class Lines:
    """The lines of an answer as bytes, taken in batches. Not for the event loop: it blocks.

    Making one takes the first lines, and so raises whatever refuses the request whole.
    """

    def __init__(self, source: Iterator[Line], *, encoding: Encoding | None) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._spool: IO[bytes] | None = None
        self._closed = threading.Event()
        self._broken = False
        self.rows = 0
        """How many were encoded so far."""
        self.encoding: Encoding | None = None
        self._whole = False
        try:
            encoded = map(self._encode, source)
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
        """Return whether the first batch is all there is."""
        return self._whole

    def _encode(self, line: Line) -> bytes:
        if type(line) is Rows:
            self.rows += len(line.rows)
        return encode_line(line)

    def take(self) -> bytes:
        """The next batch; empty at the end."""
        with self._lock:
            if self._first:
                first, self._first = self._first, b""
                return first
            if self._broken:
                raise DatabaseFull("the response was aborted")
            if self._spool is not None:
                return self._spool.read(ANSWER_BATCH_BYTES)
            return b"" if self._whole else self._batch()

    def let_go(self, *, bytes_max: int = ANSWER_SPOOL_BYTES_MAX) -> None:
        """Release what the lines come from at once: what is left of them goes to a temporary file.

        From any thread. Raises ``DatabaseFull`` when it is more than ``bytes_max``, or finds no
        room; the answer then is worthless.
        """
        with self._lock, contextlib.ExitStack() as stack:
            if self._whole or self._closed.is_set():
                return
            stack.callback(self._release)
            self._broken = True  # unless it ends well
            try:
                spool = stack.enter_context(tempfile.TemporaryFile(prefix="holdfast-"))
                for piece in self._pieces:
                    spool.write(piece)
                    if self._closed.is_set() or spool.tell() > bytes_max:
                        raise DatabaseFull(
                            "a response that is read slowly is too large to be buffered"
                        )
                spool.seek(0)
            except OSError as error:
                raise DatabaseFull(
                    f"no space left to buffer a response that is read slowly: {error}"
                ) from None
            self._release()
            stack.pop_all()
            self._spool, self._broken = spool, False

    def close(self) -> None:
        """Release everything; more than once is fine."""
        self._closed.set()  # whoever is filling the spool stops
        with self._lock:
            self._release()
            if self._spool is not None:
                self._spool.close()

    def _release(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def _batch(self) -> bytes:
        batch = bytearray()
        for piece in self._pieces:
            batch += piece
            if len(batch) >= ANSWER_BATCH_BYTES:
                return bytes(batch)
        self._whole = True
        self._release()
        return bytes(batch)


class Streamed(Response):
    """An answer whose body comes from an async generator, which is closed whatever happens.

    ``on_end`` is called after that, also when nothing was sent. ``send_timeout_ms``: how long a
    client may leave a piece unread. ``beside`` is awaited beside the sending; if that raises, the
    answer is broken off.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes],
        *,
        headers: dict[str, str],
        status: int = 200,
        on_end: Callable[[], None] = lambda: None,
        send_timeout_ms: float = READ_TIMEOUT_MS,
        beside: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.status_code = status
        self.background = None
        self.init_headers(headers)
        self._chunks = chunks
        self._on_end = on_end
        self._send_timeout_s = send_timeout_ms / 1000
        self._beside = beside
        self._failure: Exception | None = None

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
            if self._beside is not None:
                tasks.start_soon(self._watch, self._beside, tasks.cancel_scope)
            try:
                await self._send(send)
            except Exception as error:  # noqa: BLE001 - raised below, outside of the group
                self._failure = error
            finally:
                with anyio.CancelScope(shield=True):
                    await self._chunks.aclose()
                self._on_end()
            tasks.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    async def _watch(self, beside: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
        try:
            await beside()
        except Exception as error:  # noqa: BLE001 - raised when all has been closed
            self._failure = error
            scope.cancel()

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
            # Nothing above need ever wait: who has gone is noticed only when others get a turn.
            await anyio.lowlevel.checkpoint()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def line_headers(encoding: Encoding | None, *, packed: Encoding | None = None) -> dict[str, str]:
    """The headers of an answer made of lines. ``accept-encoding``: of later requests (RFC 7694);
    who has ``packed`` the best way knows it.

    No ``vary``: the answer to a POST, with ``no-store``, is nobody's to keep.
    """
    headers = {"content-type": CONTENT_TYPE}
    if packed != ENCODINGS[0]:
        headers["accept-encoding"] = ", ".join(ENCODINGS)
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
