"""Compressed bodies: read within bounds, written as a stream.

Knows: gzip, and limits. Must not know: JSON, messages or HTTP.
Upholds I31: a compressed body costs at most its limit, whatever it claims to unpack to. One member,
whole, with nothing behind it: two readers of such a body see the same bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import COMPRESSION_RATIO_MAX, KIB, MIB, REQUEST_BODY_BYTES_MAX

_GZIP = 16 + zlib.MAX_WBITS
_PIECE_BYTES = 256 * KIB
_RATIO_FLOOR_BYTES = 64 * KIB
_OUTPUT_BYTES = 32 * KIB
_FLUSH_BYTES = MIB
"""Input after which compressed output is forced out, so that a reader sees progress."""


class Gunzip:
    """Unpacks one gzip member piece by piece, never more than ``bytes_max`` in all.

    ``ratio_max``: output to input, once there is more than 64 KiB of output; None: any.
    """

    __slots__ = ("_bytes_max", "_decompress", "_ratio_max", "_read", "_written")

    def __init__(self, *, bytes_max: int, ratio_max: int | None = None) -> None:
        self._bytes_max = bytes_max
        self._ratio_max = ratio_max
        self._decompress = zlib.decompressobj(_GZIP)
        self._read = 0
        self._written = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The unpacked pieces of ``data``.

        Raises ``ProtocolError``: 413 ``too_large``, 400 ``bad_encoding``.
        """
        self._read += len(data)
        while data:
            if self._decompress.eof:
                raise _bad_encoding("there is something behind the gzip member")
            try:
                piece = self._decompress.decompress(data, _PIECE_BYTES)
            except zlib.error:
                raise _bad_encoding("it is not gzip, or damaged") from None
            self._written += len(piece)
            self._check()
            if piece:
                yield piece
            data = self._decompress.unconsumed_tail or self._decompress.unused_data

    def finish(self) -> None:
        """Say that there is no more. Raises ``ProtocolError`` when the member is not complete."""
        if not self._decompress.eof:
            raise _bad_encoding("it is cut short")

    def _check(self) -> None:
        over_ratio = (
            self._ratio_max is not None
            and self._written > _RATIO_FLOOR_BYTES
            and self._written > self._ratio_max * self._read
        )
        if over_ratio or self._written > self._bytes_max:
            raise ProtocolError(
                "the body unpacks to more than is allowed",
                code="too_large",
                status=413,
                bytes_max=self._bytes_max,
            )


def gunzip_bounded(
    chunks: Iterable[bytes],
    *,
    bytes_max: int = REQUEST_BODY_BYTES_MAX,
    ratio_max: int | None = COMPRESSION_RATIO_MAX,
) -> bytes:
    """Unpack a whole request body.

    Raises ``ProtocolError``: 413 ``too_large``, 400 ``bad_encoding``.
    """
    gunzip = Gunzip(bytes_max=bytes_max, ratio_max=ratio_max)
    pieces = [piece for chunk in chunks for piece in gunzip.feed(chunk)]
    gunzip.finish()
    return b"".join(pieces)


def gzip_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Compress a stream of lines, quickly: level 1 is about four fifths of the gain for a third
    of the time. Pieces come out by size; a slow source is flushed every MiB of input."""
    compress = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    ready = bytearray()
    unflushed = 0
    for line in lines:
        ready += compress.compress(line)
        unflushed += len(line)
        if unflushed >= _FLUSH_BYTES:
            ready += compress.flush(zlib.Z_SYNC_FLUSH)
            unflushed = 0
        if len(ready) >= _OUTPUT_BYTES or (ready and not unflushed):
            yield bytes(ready)
            ready.clear()
    ready += compress.flush()
    yield bytes(ready)


def gzip_bytes(body: bytes) -> bytes:
    """Compress a whole body; the same body gives the same bytes."""
    compress = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return compress.compress(body) + compress.flush()


def _bad_encoding(why: str) -> ProtocolError:
    return ProtocolError(f"the compressed body cannot be read: {why}", code="bad_encoding")
