"""Pages of a database file, read without SQLite: of the file, or newer ones of its log.

Knows: where pages lie in a file and in a write-ahead log (https://sqlite.org/fileformat2.html).
Must not know: what is on them. A page that the disk does not give, or of which the log's copy is
damaged, is not there or is ``doubtful``; nothing else fails for it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

MAGIC: Final = b"SQLite format 3\0"
_SIZES: Final = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
_LOG_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_LOG_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
TREE_PAGES: Final = frozenset({2, 5, 10, 13})
"""First bytes of pages of trees: inner and leaf, of indexes and tables."""
_SAMPLE_PAGES: Final = 256
_LIKELY: Final = 0.7


class DiskFile:
    """Bytes of one file; what cannot be read is empty."""

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self.size = 0
        with suppress(OSError):
            self._descriptor = os.open(path, os.O_RDONLY)
            self.size = os.fstat(self._descriptor).st_size

    def read(self, start: int, length: int) -> bytes:
        if self._descriptor < 0:
            return b""
        try:
            return os.pread(self._descriptor, length, start)
        except OSError:  # a bad block of the disk
            return b""

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class Pages:
    """The pages of a database as the last commit left them, as far as they can be read.

    The files must not be open in this process through SQLite: to close one drops its locks.
    """

    def __init__(self, path: Path) -> None:
        self._file = DiskFile(path)
        self._log = DiskFile(path.with_name(f"{path.name}-wal"))
        head = self._file.read(0, 100)
        self.has_header = head[:16] == MAGIC
        log = _LogHeader.read(self._log)
        self.size = _size_of(head) or (log.page_bytes if log else 0) or _guess(self._file)
        reserved = head[20] if self.has_header and len(head) > 20 else 0
        self.usable = self.size - (reserved if reserved <= self.size - 480 else 0)
        self._newer: dict[int, int] = {}
        self.doubtful: set[int] = set()
        """Pages of which a newer copy is damaged."""
        self.count = -(-self._file.size // self.size)
        if log is not None:
            self._read_log(log)

    def get(self, number: int) -> bytes | None:
        """A page, counted from 1; None: it cannot be read whole."""
        if not 1 <= number <= self.count:
            return None
        at = self._newer.get(number)
        if at is not None:
            page = self._log.read(at, self.size)
        else:
            page = self._file.read((number - 1) * self.size, self.size)
        return page if len(page) == self.size else None

    def close(self) -> None:
        self._file.close()
        self._log.close()

    def _read_log(self, header: _LogHeader) -> None:
        """Take the frames up to the last commit. Each is proven by its own checksum and the one
        before it, so that a damaged one does not take the rest with it."""
        waiting: dict[int, int] = {}
        doubtful: set[int] = set()
        before: tuple[int, int] | None = header.sums
        for at, number, pages, sums, page in self._frames(header):
            whole = before is not None and sums == header.sum_up(before, at[0], page)
            before = sums
            if not whole:
                if 0 < number <= self.count + len(waiting) + 1:
                    doubtful.add(number)
                continue
            waiting[number] = at[1]
            doubtful.discard(number)
            if pages:
                self._newer.update(waiting)
                self.count = max(pages, *waiting)
                waiting = {}
        self.doubtful |= doubtful

    def _frames(
        self, header: _LogHeader
    ) -> Iterator[tuple[tuple[bytes, int], int, int, tuple[int, int], bytes]]:
        """Yield the frames of the log's present run: where each page lies, and what is said of
        it."""
        at, salts = _LOG_HEADER.size, header.salts
        while True:
            head = self._log.read(at, _FRAME.size)
            page = self._log.read(at + _FRAME.size, self.size)
            if len(head) < _FRAME.size or len(page) < self.size:
                return
            number, pages, *rest = _FRAME.unpack(head)
            salts = salts or (rest[0], rest[1])
            if (rest[0], rest[1]) == salts:
                yield (head[:8], at + _FRAME.size), number, pages, (rest[2], rest[3]), page
            elif not self._more(at + _FRAME.size + self.size, salts):
                return
            at += _FRAME.size + self.size

    def _more(self, at: int, salts: tuple[int, int]) -> bool:
        """Return whether the next frame is of this run: then only one head is damaged."""
        head = self._log.read(at, _FRAME.size)
        return len(head) == _FRAME.size and _FRAME.unpack(head)[2:4] == salts


class _LogHeader:
    """Header of a log. Without a sound one the first frame is not proven."""

    def __init__(
        self,
        order: str,
        page_bytes: int,
        salts: tuple[int, int] | None,
        sums: tuple[int, int] | None,
    ) -> None:
        self._order = order
        self.page_bytes = page_bytes
        self.salts = salts
        self.sums = sums

    @classmethod
    def read(cls, log: DiskFile) -> _LogHeader | None:
        raw = log.read(0, _LOG_HEADER.size)
        if len(raw) < _LOG_HEADER.size or log.size <= _LOG_HEADER.size:
            return None
        magic, _, page_bytes, _, salt, salt2, first, second = _LOG_HEADER.unpack(raw)
        order = _LOG_MAGIC.get(magic, "<")
        found = cls(order, page_bytes, (salt, salt2), (first, second))
        if magic in _LOG_MAGIC and found.sum_up((0, 0), raw[:24], b"") == (first, second):
            return found
        return cls(order, 0, None, None)

    def sum_up(self, before: tuple[int, int], head: bytes, page: bytes) -> tuple[int, int]:
        """The log's checksum of a frame, after another one's."""
        first, second = before
        data = head + page
        words = struct.unpack(f"{self._order}{len(data) // 4}I", data)
        for one, other in zip(words[::2], words[1::2], strict=True):
            first = (first + one + second) & 0xFFFFFFFF
            second = (second + other + first) & 0xFFFFFFFF
        return first, second


def _size_of(head: bytes) -> int:
    """The size of a page, as the file's header says; 0: it says nothing."""
    if head[:16] != MAGIC or len(head) < 18:
        return 0
    size = int.from_bytes(head[16:18], "big")
    size = 65536 if size == 1 else size
    return size if size in _SIZES else 0


def _guess(file: DiskFile) -> int:
    """The size with which most places where pages would begin look like pages of trees."""

    def score(size: int) -> float:
        count = min(file.size // size, _SAMPLE_PAGES)
        heads = (file.read(number * size, 8) for number in range(1, count))
        return sum(_is_tree(head, size) for head in heads) / max(count - 1, 1)

    scores = {size: score(size) for size in _SIZES}
    best = max(scores.values())  # where a larger page would begin, a smaller one begins, too
    return next(size for size in scores if scores[size] >= best * _LIKELY)


def _is_tree(head: bytes, size: int) -> bool:
    if len(head) < 8 or head[0] not in TREE_PAGES:
        return False
    cells, content = int.from_bytes(head[3:5], "big"), int.from_bytes(head[5:7], "big")
    return cells * 2 + 8 <= (content or 65536) <= size
