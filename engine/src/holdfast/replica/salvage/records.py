"""Cells of pages and the records in them, read without SQLite.

Knows: how a page of a tree, a cell and a record are laid out
(https://sqlite.org/fileformat2.html). Must not know: tables.
What does not fit its place exactly is not read: a record has the length that its header says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.core.limits import DAMAGED_VALUE_BYTES_MAX
from holdfast.core.values import Value
from holdfast.replica.salvage.pages import Pages

INDEX_INNER: Final = 2
TABLE_INNER: Final = 5
INDEX_LEAF: Final = 10
TABLE_LEAF: Final = 13


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record: its rowid (0 in an index), its values, and how many of them could be read before
    a page of theirs was missing (``whole``: all)."""

    rowid: int
    values: tuple[Value, ...]
    whole: bool = True


class Unreadable(Exception):
    """A page or a cell is not what it has to be."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where the next thing is."""
    value = 0
    for place in range(at, at + 8):
        if place >= len(data):
            raise Unreadable
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:
            return value, place + 1
    if at + 8 >= len(data):
        raise Unreadable
    return value << 8 | data[at + 8], at + 9


@dataclass(frozen=True, slots=True)
class PageHead:
    """Head of a page of a tree: its kind, where its cells are, and its last child."""

    kind: int
    cells: tuple[int, ...]
    last: int

    @classmethod
    def of(cls, page: bytes, number: int) -> PageHead:
        at = 100 if number == 1 else 0
        kind = page[at]
        if kind not in (INDEX_INNER, TABLE_INNER, INDEX_LEAF, TABLE_LEAF):
            raise Unreadable
        count = int.from_bytes(page[at + 3 : at + 5], "big")
        inner = kind in (INDEX_INNER, TABLE_INNER)
        first = at + (12 if inner else 8)
        if first + 2 * count > len(page):
            raise Unreadable
        cells = struct.unpack(f">{count}H", page[first : first + 2 * count])
        if any(not first + 2 * count <= cell < len(page) for cell in cells):
            raise Unreadable
        last = int.from_bytes(page[at + 8 : at + 12], "big") if inner else 0
        return cls(kind, cells, last)


def children(page: bytes, head: PageHead) -> Iterator[int]:
    """The pages below an inner one, in order."""
    for cell in head.cells:
        yield int.from_bytes(page[cell : cell + 4], "big")
    yield head.last


def read_cell(pages: Pages, page: bytes, head: PageHead, at: int) -> StoredRecord:
    """The record of a cell; raises ``Unreadable``."""
    if head.kind == INDEX_INNER:
        at += 4
    length, at = _varint(page, at)
    rowid = 0
    if head.kind == TABLE_LEAF:
        rowid, at = _varint(page, at)
        rowid = rowid - (1 << 64) if rowid >= 1 << 63 else rowid
    if length > DAMAGED_VALUE_BYTES_MAX:
        raise Unreadable
    local = _local(pages.usable, length, table=head.kind == TABLE_LEAF)
    payload = page[at : at + local]
    if len(payload) < local:
        raise Unreadable
    if local < length:
        payload += _overflow(pages, page[at + local : at + local + 4], length - local)
    return StoredRecord(rowid, *_record(payload, length))


def _local(usable: int, length: int, *, table: bool) -> int:
    """Return how much of a record lies on its own page."""
    most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
    if length <= most:
        return length
    least = (usable - 12) * 32 // 255 - 23
    part = least + (length - least) % (usable - 4)
    return part if part <= most else least


def _overflow(pages: Pages, pointer: bytes, left: int) -> bytes:
    """The rest of a record, as far as its chain of pages can be followed."""
    parts: list[bytes] = []
    seen: set[int] = set()
    number = int.from_bytes(pointer, "big")
    while left > 0:
        page = None if number in seen else pages.get(number)
        if page is None:
            break
        seen.add(number)
        part = page[4 : 4 + min(left, pages.usable - 4)]
        parts.append(part)
        left -= len(part)
        number = int.from_bytes(page[:4], "big")
    if left <= 0 and number != 0:
        raise Unreadable  # a chain that goes on is another record's
    return b"".join(parts)


def _record(payload: bytes, length: int) -> tuple[tuple[Value, ...], bool]:
    """The values of a record, and whether all of them could be read."""
    size, at = _varint(payload, 0)
    if not at <= size <= len(payload):
        raise Unreadable
    kinds: list[int] = []
    while at < size:
        kind, at = _varint(payload, at)
        if kind in (10, 11):
            raise Unreadable
        kinds.append(kind)
    if at != size or size + sum(map(_width, kinds)) != length:
        raise Unreadable
    values: list[Value] = []
    for kind in kinds:
        width = _width(kind)
        if at + width > len(payload):
            return tuple(values), False
        values.append(_value(kind, payload[at : at + width]))
        at += width
    return tuple(values), True


def _width(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind]


def _value(kind: int, raw: bytes) -> Value:
    if kind == 0:
        return None
    if kind <= 6:
        return int.from_bytes(raw, "big", signed=True)
    if kind == 7:
        return float(struct.unpack(">d", raw)[0])
    if kind <= 9:
        return kind - 8
    if kind % 2 == 0:
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Unreadable from None
