"""Compressed bodies and files: read within bounds, written as a stream.

Knows: gzip, zstd where it is installed, and limits. Must not know: JSON, messages or HTTP.
Upholds I31: a compressed body costs at most its limit, whatever it claims to unpack to. One member
or frame, whole, with nothing behind it: two readers of such a body see the same bytes.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal, Protocol

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import (
    COMPRESSION_RATIO_FLOOR_BYTES,
    COMPRESSION_RATIO_MAX,
    MIB,
    PACK_OUTPUT_BYTES,
    REQUEST_BODY_BYTES_MAX,
    UNPACK_PIECE_BYTES,
    ZSTD_WINDOW_LOG_MAX,
)


def _zstd() -> Any:
    """Python's own zstd from 3.14 on, before that its backport, if the extra is installed."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


zstd: Final = _zstd()
Encoding = Literal["gzip", "zstd"]
ENCODINGS: Final[tuple[Encoding, ...]] = ("gzip",) if zstd is None else ("zstd", "gzip")
"""What this installation reads and writes, best first."""

_GZIP = 16 + zlib.MAX_WBITS
_LEVELS: Final[dict[Encoding, tuple[int, int]]] = {"gzip": (1, 6), "zstd": (1, 9)}
"""For what is made while somebody waits, and for what is made once: the first costs a third of the
second's time, for four fifths of its gain."""
_FLUSH_BYTES = MIB
"""Input after which compressed output is forced out, so that a reader sees progress."""


class _Decompressor(Protocol):
    """The decompressor of both libraries, as Python's ``compression`` modules have it."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Inflate:
    """zlib's object, keeping what it has not consumed."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = not self._inner.unconsumed_tail and len(piece) < max_length
        return piece


def _decompressor(encoding: Encoding) -> _Decompressor:
    if encoding == "gzip":
        return _Inflate()
    assert zstd is not None, "not offered, so not asked for"
    options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
    made: _Decompressor = zstd.ZstdDecompressor(options=options)
    return made


_DAMAGED: Final = (zlib.error,) if zstd is None else (zlib.error, zstd.ZstdError)


class Unpacker:
    """Unpacks one member or frame piece by piece, never more than ``bytes_max`` in all.

    ``ratio_max``: output to input, once there is more than 64 KiB of output; None: any.
    """

    __slots__ = ("_bytes_max", "_decompress", "_encoding", "_ratio_max", "_read", "_written")

    def __init__(self, encoding: Encoding, *, bytes_max: int, ratio_max: int | None = None) -> None:
        self._encoding = encoding
        self._bytes_max = bytes_max
        self._ratio_max = ratio_max
        self._decompress = _decompressor(encoding)
        self._read = 0
        self._written = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The unpacked pieces of ``data``.

        Raises ``ProtocolError``: 413 ``too_large``, 400 ``bad_encoding``.
        """
        self._read += len(data)
        source = self._decompress
        while True:
            if self._ended():
                if data:
                    raise _bad_encoding(f"there is something behind the {self._encoding} data")
                return
            try:
                piece = source.decompress(data, UNPACK_PIECE_BYTES)
            except _DAMAGED:
                raise _bad_encoding(f"it is not {self._encoding}, or damaged") from None
            self._written += len(piece)
            self._check()
            if piece:
                yield piece
            data = source.unused_data if self._ended() else b""
            if source.needs_input and not self._ended():
                return

    def finish(self) -> None:
        """Say that there is no more. Raises ``ProtocolError`` when it is not complete."""
        if not self._ended():
            raise _bad_encoding("it is cut short")

    def _ended(self) -> bool:
        return self._decompress.eof

    def _check(self) -> None:
        over_ratio = (
            self._ratio_max is not None
            and self._written > COMPRESSION_RATIO_FLOOR_BYTES
            and self._written > self._ratio_max * self._read
        )
        if over_ratio or self._written > self._bytes_max:
            raise ProtocolError(
                "the body unpacks to more than is allowed",
                code="too_large",
                status=413,
                bytes_max=self._bytes_max,
            )


def unpack_bounded(
    chunks: Iterable[bytes],
    encoding: Encoding,
    *,
    bytes_max: int = REQUEST_BODY_BYTES_MAX,
    ratio_max: int | None = COMPRESSION_RATIO_MAX,
) -> bytes:
    """Unpack a whole request body.

    Raises ``ProtocolError``: 413 ``too_large``, 400 ``bad_encoding``.
    """
    unpacker = Unpacker(encoding, bytes_max=bytes_max, ratio_max=ratio_max)
    pieces = [piece for chunk in chunks for piece in unpacker.feed(chunk)]
    unpacker.finish()
    return b"".join(pieces)


class Packer:
    """Compresses a stream. ``lasting``: it is made once and kept, and may take its time."""

    __slots__ = ("_flush_frame", "_flush_piece", "compress")

    compress: Callable[[bytes], bytes]

    def __init__(self, encoding: Encoding, *, lasting: bool = False) -> None:
        level = _LEVELS[encoding][lasting]
        self._flush_piece: Callable[[], bytes]
        self._flush_frame: Callable[[], bytes]
        if encoding == "gzip":
            deflate = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
            self.compress = deflate.compress
            self._flush_piece = lambda: deflate.flush(zlib.Z_SYNC_FLUSH)
            self._flush_frame = deflate.flush
            return
        assert zstd is not None, "not offered, so not asked for"
        packer = zstd.ZstdCompressor(
            options={
                zstd.CompressionParameter.compression_level: level,
                zstd.CompressionParameter.checksum_flag: True,
            }
        )
        self.compress = packer.compress
        self._flush_piece = lambda: packer.flush(packer.FLUSH_BLOCK)
        self._flush_frame = packer.flush

    def flush(self) -> bytes:
        """Return what it held back; more can follow."""
        return self._flush_piece()

    def finish(self) -> bytes:
        return self._flush_frame()


def pack_lines(lines: Iterable[bytes], encoding: Encoding) -> Iterator[bytes]:
    """Compress a stream of lines, quickly. Pieces come out by size; a slow source is flushed every
    MiB of input."""
    packer = Packer(encoding)
    ready = bytearray()
    unflushed = 0
    for line in lines:
        ready += packer.compress(line)
        unflushed += len(line)
        if unflushed >= _FLUSH_BYTES:
            ready += packer.flush()
            unflushed = 0
        if len(ready) >= PACK_OUTPUT_BYTES or (ready and not unflushed):
            yield bytes(ready)
            ready.clear()
    ready += packer.finish()
    yield bytes(ready)


def pack_bytes(body: bytes, encoding: Encoding) -> bytes:
    """Compress a whole body; the same body gives the same bytes."""
    packer = Packer(encoding)
    return packer.compress(body) + packer.finish()


def _bad_encoding(why: str) -> ProtocolError:
    return ProtocolError(f"the compressed body cannot be read: {why}", code="bad_encoding")
