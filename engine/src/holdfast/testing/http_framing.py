"""HTTP/1.1 framing for the fault proxy: heads, Content-Length, chunks; bytes pass unchanged.

Knows: where a message begins and ends. Must not know: faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

HEAD_BYTES_MAX: Final = 128 * 1024
BODY_BYTES_MAX: Final = 512 * 1024 * 1024
PIECE_BYTES: Final = 128 * 1024
IO_TIMEOUT_S: Final = 60.0
IDLE_TIMEOUT_S: Final = 600.0  # a quiet keep-alive connection, or a quiet event stream
LINGER_ZERO: Final = struct.pack("ii", 1, 0)
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2


class MalformedError(Exception):
    """The peer sent something that is not HTTP/1.1 within our limits."""


@dataclass(frozen=True, slots=True)
class MessageHead:
    """One request or response head: its exact bytes, the start line's words, lower-case fields."""

    raw: bytes
    start: list[bytes]
    fields: dict[bytes, bytes]

    @property
    def wants_close(self) -> bool:
        connection = self.fields.get(b"connection", b"").lower()
        old = b"HTTP/1.0" in (self.start[0], self.start[-1])
        return b"close" in connection or (old and b"keep-alive" not in connection)

    @property
    def is_event_stream(self) -> bool:
        """True for a response that is an event stream and for a request that asks for one."""
        kinds = self.fields.get(b"content-type", b"") + self.fields.get(b"accept", b"")
        return b"text/event-stream" in kinds.lower()

    def body_length(self, *, default: int) -> int:
        """Bytes of body, or `CHUNKED`; `default` where the head does not say."""
        length, coding = self.fields.get(b"content-length"), self.fields.get(b"transfer-encoding")
        if coding is not None:
            if length is not None or coding.lower() != b"chunked":
                raise MalformedError("unsupported transfer-encoding")
            return CHUNKED
        if length is None:
            return default
        if not length.isdigit() or len(length) > 15 or int(length) > BODY_BYTES_MAX:
            raise MalformedError("bad content-length")
        return int(length)


def reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    writer.transport.abort()


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    if writer.is_closing():
        raise ConnectionResetError("peer is gone")
    writer.write(data)
    async with asyncio.timeout(IO_TIMEOUT_S):
        await writer.drain()


async def read_head(reader: asyncio.StreamReader, timeout_s: float) -> MessageHead | None:
    """The next head, or None where the peer closed between messages."""
    try:
        async with asyncio.timeout(timeout_s):
            raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise
    except asyncio.LimitOverrunError as error:
        raise MalformedError("head too large") from error
    first, *lines = raw[:-4].split(b"\r\n")
    start = first.split(b" ", 2)
    if len(start) < 2 or start[0] == b"CONNECT":
        raise MalformedError("bad start line")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        fields[name] = fields[name] + b", " + value if name in fields else value
    return MessageHead(raw, start, fields)


def response_length(request: MessageHead, response: MessageHead) -> int:
    if request.start[0] == b"HEAD" or response.start[1] in (b"204", b"304"):
        return 0
    return response.body_length(default=UNTIL_CLOSE)


async def pieces(
    reader: asyncio.StreamReader, length: int, *, stream: bool = False
) -> AsyncIterator[bytes]:
    """A body's bytes as they came, chunk framing included; EOFError where it ends too soon."""
    timeout_s = IDLE_TIMEOUT_S if stream else IO_TIMEOUT_S
    left = 0 if length == CHUNKED else length  # of the chunk or the body; below 0: until close
    total = 0
    while True:
        line = b""
        if left == 0:
            if length != CHUNKED:
                return
            line, left = await _chunk_start(reader, timeout_s)
            if left == 0:
                yield line
                return
        async with asyncio.timeout(timeout_s):
            piece = await reader.read(min(left, PIECE_BYTES) if left > 0 else PIECE_BYTES)
        if not piece:
            if length == UNTIL_CLOSE:
                return
            raise EOFError("body cut short")
        if left > 0:
            left -= len(piece)
        total += len(piece)
        if total > BODY_BYTES_MAX and not stream:
            raise MalformedError("body too large")
        yield line + piece if line else piece


async def _chunk_start(reader: asyncio.StreamReader, timeout_s: float) -> tuple[bytes, int]:
    """A chunk's size line and the bytes to follow, its CRLF included.

    0 bytes follow the last chunk; its line carries the trailers too.
    """
    try:
        async with asyncio.timeout(timeout_s):
            line = await reader.readuntil(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            if size < 0:
                raise MalformedError("bad chunk")
            if size:
                return line, size + 2
            while not line.endswith(b"\r\n\r\n"):
                if len(line) > HEAD_BYTES_MAX:
                    raise MalformedError("trailers too large")
                line += await reader.readuntil(b"\r\n")
            return line, 0
    except (ValueError, asyncio.LimitOverrunError) as error:
        raise MalformedError("bad chunk") from error
