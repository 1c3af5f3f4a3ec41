"""Compressed bodies cost their limit and no more, whatever they claim to be."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterable

import pytest
from backports import zstd

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import REQUEST_BODY_BYTES_MAX
from holdfast.protocol import codec
from holdfast.protocol.compression import (
    ENCODINGS,
    Encoding,
    Packer,
    Unpacker,
    pack_bytes,
    pack_lines,
    unpack_bounded,
)
from holdfast.protocol.messages import ExchangeRequest


def pieces(raw: bytes, size: int) -> Iterable[bytes]:
    return (raw[start : start + size] for start in range(0, len(raw), size))


Pack = Callable[..., bytes]
UNPACK: dict[str, Pack] = {"gzip": gzip.decompress, "zstd": zstd.decompress}
PACK: dict[str, Pack] = {"gzip": gzip.compress, "zstd": zstd.compress}

both = pytest.mark.parametrize("encoding", ["gzip", "zstd"])


def test_both_are_here() -> None:
    assert ENCODINGS == ("zstd", "gzip")


@both
@pytest.mark.parametrize("size", [1, 7, 1000, 10**9])
@pytest.mark.parametrize("length", [0, 1, 100, 300_000])
def test_it_comes_back(encoding: Encoding, size: int, length: int) -> None:
    raw = random.Random(length).randbytes(length)
    packed = pack_bytes(raw, encoding)
    assert unpack_bounded(pieces(packed, size), encoding) == raw
    assert UNPACK[encoding](packed) == raw
    assert unpack_bounded([PACK[encoding](raw)], encoding) == raw


@both
def test_what_shrinks_a_thousandfold_comes_back_whole(encoding: Encoding) -> None:
    raw = bytes(5_000_000)
    packed = pack_bytes(raw, encoding)
    assert unpack_bounded(pieces(packed, 100), encoding, ratio_max=None) == raw


@both
def test_what_is_kept_comes_back_too(encoding: Encoding) -> None:
    raw = b"".join(b"%05d,mug no. %d,%d\n" % (n * 7919 % 99991, n, n % 90) for n in range(30_000))
    packer = Packer(encoding, lasting=True)
    lasting = b"".join([packer.compress(raw[:100]), packer.flush(), packer.compress(raw[100:])])
    lasting += packer.finish()
    assert UNPACK[encoding](lasting) == raw
    assert len(lasting) < len(raw) / 2


def bad(encoding: Encoding) -> dict[str, tuple[bytes, str, int]]:
    pack = PACK[encoding]
    good = pack_bytes(b"{}", encoding)
    bomb = pack(bytes(50_000_000))
    return {
        "bomb": (bomb, "too_large", 413),
        "bomb in a bomb": (pack(bomb), "bad_json", 400),
        "two of them": (good + good, "bad_encoding", 400),
        "trailing byte": (good + b"\0", "bad_encoding", 400),
        "cut short": (good[:-1], "bad_encoding", 400),
        "only its header": (good[:8], "bad_encoding", 400),
        "empty": (b"", "bad_encoding", 400),
        "not packed": (b"{}", "bad_encoding", 400),
        "wrong checksum": (good[:-4] + b"\xff\0\xff\0", "bad_encoding", 400),
    }


def wide_window() -> bytes:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    return packer.compress(b"{}", packer.FLUSH_BLOCK) + packer.flush()


BAD = [
    pytest.param(encoding, *case, id=f"{encoding}: {name}")
    for encoding in ENCODINGS
    for name, case in bad(encoding).items()
]
BAD += [
    pytest.param("gzip", zlib.compress(b"{}"), "bad_encoding", 400, id="gzip: zlib"),
    pytest.param("gzip", zstd.compress(b"{}"), "bad_encoding", 400, id="gzip: zstd"),
    pytest.param(
        "zstd",
        wide_window(),
        "bad_encoding",
        400,
        id="zstd: asks for 128 MiB of window",
    ),
]


@pytest.mark.parametrize(("encoding", "raw", "code", "status"), BAD)
def test_a_bad_body_costs_its_limit_and_no_more(
    encoding: Encoding, raw: bytes, code: str, status: int
) -> None:
    def read() -> None:  # one layer is unpacked, and has to be JSON then
        body = unpack_bounded(pieces(raw, 65_536), encoding, ratio_max=100_000)
        codec.decode_request(body, ExchangeRequest)

    with pytest.raises(ProtocolError) as caught:
        read()
    assert (caught.value.code, caught.value.status) == (code, status)


@both
def test_the_ratio_counts_above_a_floor(encoding: Encoding) -> None:
    assert unpack_bounded([PACK[encoding](bytes(65_536))], encoding) == bytes(65_536)
    with pytest.raises(ProtocolError, match="too_large"):
        unpack_bounded([PACK[encoding](bytes(100_000))], encoding)


@both
def test_the_output_is_bounded_to_the_byte(encoding: Encoding) -> None:
    raw = random.Random(1).randbytes(1000)
    assert unpack_bounded([pack_bytes(raw, encoding)], encoding, bytes_max=1000) == raw
    with pytest.raises(ProtocolError):
        unpack_bounded([pack_bytes(raw, encoding)], encoding, bytes_max=999)


@both
def test_a_bomb_is_left_before_it_is_unpacked(encoding: Encoding) -> None:
    unpacker = Unpacker(encoding, bytes_max=REQUEST_BODY_BYTES_MAX)
    seen: list[int] = []
    with pytest.raises(ProtocolError):
        seen.extend(map(len, unpacker.feed(PACK[encoding](bytes(200_000_000), 1))))
    assert sum(seen) <= REQUEST_BODY_BYTES_MAX


@both
def test_lines_are_compressed_as_a_stream(encoding: Encoding) -> None:
    lines = [random.Random(number).randbytes(20_000).hex().encode() for number in range(200)]
    chunks = list(pack_lines(lines, encoding))
    assert len(chunks) > 20
    assert max(map(len, chunks)) < 200_000
    assert unpack_bounded(chunks, encoding) == b"".join(lines)


@both
def test_a_slow_source_shows_progress(encoding: Encoding) -> None:
    """Highly compressible lines are flushed by what went in, not only by what came out."""

    def source() -> Iterable[bytes]:
        for _ in range(40):
            taken.append(1)
            yield b"x" * 100_000

    taken: list[int] = []
    stream = pack_lines(source(), encoding)
    next(stream)
    assert len(taken) < 20
