"""Files arrive whole, over cuts at any byte and restarts, or nothing of them is believed.

Checks I31.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import FileGone, FileRefused, Offline, SyncError
from holdfast.core.limits import COMPRESSION_RATIO_MAX, FILE_GAIN_BYTES_MIN
from holdfast.protocol.compression import ENCODINGS, Encoding, pack_bytes
from holdfast.protocol.messages import FileOffer, Position
from holdfast.replica.http.downloads import FileAnswer, checked_path
from holdfast.replica.load.fetch import DownloadFolder, Fetcher

BODY = b"".join(os.urandom(40).hex().encode() + b"\n" for _ in range(60))


def offer_of(body: bytes, packing: Encoding = "gzip", **changed: Any) -> FileOffer:
    packed = pack_bytes(body, packing)
    told: dict[str, Any] = {
        "kind": "catchup", "id": "f1", "path": "/v1/files/f1", "until": 0, "encoding": packing,
        "bytes": len(packed), "sha256": hashlib.sha256(packed).hexdigest(),
        "unpacked_bytes": len(body), "rows": 1, "positions": {"s": Position(1, 1, "0" * 32, "")},
    }  # fmt: skip
    return FileOffer(**told | changed)


@dataclass
class Way:
    """A way to a file: where each answer is cut (None: whole), and what was asked."""

    body: bytes
    cuts: list[int | None] = field(default_factory=list)
    ranges: bool = True
    asked: list[int] = field(default_factory=list)

    @contextlib.contextmanager
    def file(self, path: str, *, start: int, sha256: str) -> Iterator[FileAnswer]:
        self.asked.append(start)
        begin = start if self.ranges else 0
        cut = self.cuts.pop(0) if self.cuts else None

        def pieces() -> Iterator[bytes]:
            end = len(self.body) if cut is None else min(cut, len(self.body))
            for at in range(begin, end, 97):
                yield self.body[at : min(at + 97, end)]
            if end < len(self.body):
                raise Offline("cut", code="broken_answer")

        yield FileAnswer(begin, pieces())


def fetch(shelf: DownloadFolder, way: Way, offer: FileOffer) -> bytes:
    shelf.prepare([offer])
    return Fetcher(shelf, way, lambda _size: None).fetch(offer).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_download_cut_at_any_byte_goes_on_behind_it(tmp_path: Path, encoding: Encoding) -> None:
    offer, packed = offer_of(BODY, encoding), pack_bytes(BODY, encoding)
    assert len(packed) > 2000
    for cut in range(0, len(packed), 7):
        shelf = DownloadFolder(str(tmp_path / f"r{cut}"))
        way = Way(packed, [cut])
        with pytest.raises(Offline):
            fetch(shelf, way, offer)
        # Somebody else, after a crash: only the folder is left.
        assert fetch(DownloadFolder(str(tmp_path / f"r{cut}")), way, offer) == BODY
        assert way.asked == [0, cut]
        shelf.clear()
        assert not (tmp_path / f"r{cut}-files").exists()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_that_shrink_to_almost_nothing_arrive(tmp_path: Path, encoding: Encoding) -> None:
    body = b"\0" * 8_000_000
    packed = pack_bytes(body, encoding)
    assert len(packed) * COMPRESSION_RATIO_MAX < len(body)
    way = Way(packed)
    assert fetch(DownloadFolder(str(tmp_path / "r")), way, offer_of(body, encoding)) == body
    assert way.asked == [0]


def test_a_server_that_knows_no_ranges_sends_it_again(tmp_path: Path) -> None:
    way = Way(pack_bytes(BODY, "gzip"), [500], ranges=False)
    shelf = DownloadFolder(str(tmp_path / "r"))
    with pytest.raises(Offline):
        fetch(shelf, way, offer_of(BODY))
    assert fetch(shelf, way, offer_of(BODY)) == BODY
    assert way.asked == [0, 500]


def test_a_cut_download_that_has_brought_much_goes_on_at_once(tmp_path: Path) -> None:
    body = os.urandom(3 * FILE_GAIN_BYTES_MIN)
    packed = pack_bytes(body, "gzip")
    way = Way(packed, [FILE_GAIN_BYTES_MIN, 2 * FILE_GAIN_BYTES_MIN])
    offer = offer_of(body)
    assert fetch(DownloadFolder(str(tmp_path / "r")), way, offer) == body
    assert way.asked == [0, FILE_GAIN_BYTES_MIN, 2 * FILE_GAIN_BYTES_MIN]


def test_a_file_that_is_here_is_not_fetched_again(tmp_path: Path) -> None:
    way = Way(pack_bytes(BODY, "gzip"))
    shelf = DownloadFolder(str(tmp_path / "r"))
    assert fetch(shelf, way, offer_of(BODY)) == BODY
    assert fetch(shelf, way, offer_of(BODY)) == BODY
    assert way.asked == [0]


@pytest.mark.parametrize("at", [0, 3, 12, 700, -9, -1])
def test_what_is_damaged_on_the_disk_is_fetched_again(tmp_path: Path, at: int) -> None:
    packed = pack_bytes(BODY, "gzip")
    way = Way(packed, [1500])
    shelf, offer = DownloadFolder(str(tmp_path / "r")), offer_of(BODY)
    with pytest.raises(Offline):
        fetch(shelf, way, offer)
    part = bytearray(shelf.part(offer).read_bytes())
    part[at] ^= 0x40
    shelf.part(offer).write_bytes(part)
    assert fetch(shelf, way, offer) == BODY
    assert way.asked[-1] == 0 or packed[: len(part)] == bytes(part)


@pytest.mark.parametrize(
    "body",
    [
        pack_bytes(BODY[:-1] + b"x", "gzip"),
        pack_bytes(BODY, "gzip")[:-1] + b"x",
        pack_bytes(BODY, "gzip") + b"x",
        b"<html>sign in here</html>" * 200,
    ],
)  # fmt: skip
def test_another_file_is_refused_and_leaves_nothing(tmp_path: Path, body: bytes) -> None:
    offer = offer_of(BODY)
    way = Way(body + b"\0" * offer.bytes)
    with pytest.raises(FileRefused):
        fetch(DownloadFolder(str(tmp_path / "r")), way, offer)
    assert way.asked == [0, 0], "once more, and no more"
    assert list((tmp_path / "r-files").iterdir()) == []


def test_a_file_that_ends_early_is_a_broken_answer(tmp_path: Path) -> None:
    offer, way = offer_of(BODY), Way(pack_bytes(BODY, "gzip")[:-5])
    with pytest.raises(Offline):
        fetch(DownloadFolder(str(tmp_path / "r")), way, offer)
    assert way.asked == [0, offer.bytes - 5]


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = b"\0" * 50_000_000
    shelf = DownloadFolder(str(tmp_path / "r"))
    for told in (len(bomb) - 1, 1000):
        offer = offer_of(bomb, unpacked_bytes=told)
        with pytest.raises(FileRefused):
            fetch(shelf, Way(pack_bytes(bomb, "gzip")), offer)
        assert not shelf.unpacked(offer).exists()
        assert not shelf.part(offer).exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": "../../etc/passwd"}, {"bytes": 0}, {"unpacked_bytes": 0},
        {"unpacked_bytes": 2**50}, {"encoding": "br"}, {"rows": -1},
    ],
)  # fmt: skip
def test_offers_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(FileRefused):
        DownloadFolder(str(tmp_path / "r")).prepare([offer_of(BODY, **wrong)])
    assert not (tmp_path / "r-files").exists()


@pytest.mark.parametrize(
    "path",
    [
        "https://elsewhere/v1/files/a", "//elsewhere/v1/files/a", "/v1/files/../session",
        "/v1/exchange", "/v1/files/a b", "/v1/files/a\r\nx: y", "/v1/files/", "/v1/files/a/b",
    ],
)  # fmt: skip
def test_a_path_leads_to_files_and_nowhere_else(path: str) -> None:
    with pytest.raises(FileGone):
        checked_path(path)


def test_only_the_newest_offers_are_kept(tmp_path: Path) -> None:
    shelf = DownloadFolder(str(tmp_path / "r"))
    old, new = offer_of(BODY), offer_of(BODY + b"more")
    fetch(shelf, Way(pack_bytes(BODY, "gzip")), old)
    shelf.prepare([new])
    assert list((tmp_path / "r-files").iterdir()) == []


def test_a_file_for_which_there_is_no_room_is_not_begun(tmp_path: Path) -> None:
    packed = pack_bytes(BODY, "gzip")
    way = Way(packed)
    with pytest.raises(SyncError) as caught:
        fetch(
            DownloadFolder(str(tmp_path / "r")),
            way,
            offer_of(BODY, unpacked_bytes=10 * 2**30, bytes=2**45),
        )
    assert caught.value.code == "disk_full"
    assert way.asked == []
