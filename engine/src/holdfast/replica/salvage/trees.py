"""Trees of a damaged file: the rows of its tables, with the holes in them.

Knows: trees of pages, and the file's own list of tables. Must not know: what the tables mean.
A tree is walked from its root as far as pages can be read; each child that cannot is a *hole*.
Trees that nothing leads to any more (``lost_trees``) have lost the page above them, or their entry
in that list: what is deleted is overwritten in a replica's file, so they are no old ones. Whose
they are, their rows say.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from holdfast.core.limits import DAMAGED_DEPTH_MAX
from holdfast.replica.salvage.pages import Pages
from holdfast.replica.salvage.records import (
    INDEX_INNER,
    INDEX_LEAF,
    TABLE_INNER,
    TABLE_LEAF,
    PageHead,
    StoredRecord,
    Unreadable,
    children,
    read_cell,
)

_KINDS: Final = frozenset({"table", "index", "view", "trigger"})


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An entry of the file's list of tables and indexes."""

    kind: str
    name: str
    table: str
    root: int
    sql: str


@dataclass(slots=True)
class TreeRows:
    """The rows of one tree, in order. ``holes``: where among them (before which place) some may be
    missing; ``reached``: the pages that the tree leads to."""

    cells: list[StoredRecord] = field(default_factory=list)
    holes: list[int] = field(default_factory=list)
    reached: set[int] = field(default_factory=set)

    @property
    def whole(self) -> bool:
        return not self.holes


class Trees:
    """The trees of one damaged file."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self.empty_lost = 0
        """How many lost trees have no rows: only a table without any has such a one."""

    @functools.cached_property
    def objects(self) -> dict[str, StoredObject]:
        """Tables, indexes and what else the file lists, by name: from its first page, and from any
        leaf that can only be a part of that list."""
        found: dict[str, StoredObject] = {}
        first = self.rows(1)
        for cell in first.cells:
            _note(found, cell)
        if first.holes:
            for number in range(1, self._pages.count + 1):
                if number not in first.reached:
                    for cell in self._leaf(number):
                        _note(found, cell)
        return found

    def rows(self, root: int) -> TreeRows:
        """All that can be read of a tree. A root that cannot be is one hole."""
        found = TreeRows()
        self._walk(root, None, found, 0, read=True)
        return found

    def _leaf(self, number: int) -> list[StoredRecord]:
        """The rows of a page, if it is a leaf of a table."""
        found = self._head(number)
        if found is None or found[1].kind != TABLE_LEAF:
            return []
        rows = TreeRows()
        for at in found[1].cells:
            self._take(*found, at, rows)
        return rows.cells

    def lost_trees(self) -> Iterator[TreeRows]:
        """Trees of tables that nothing leads to: whole ones that the list lacks, and parts."""
        reached: set[int] = set(self.rows(1).reached)
        for one in self.objects.values():
            if one.root:
                found = TreeRows()
                self._walk(one.root, None, found, 0, read=False)
                reached |= found.reached
        left = [number for number in range(2, self._pages.count + 1) if number not in reached]
        below = {child for number in left for child in self._children(number)}
        for number in left:
            if number not in below and self._is_of_table(number):
                found = self.rows(number)
                if found.cells:
                    yield found
                elif found.whole:
                    self.empty_lost += 1

    def _head(self, number: int) -> tuple[bytes, PageHead] | None:
        page = self._pages.get(number)
        try:
            return None if page is None else (page, PageHead.of(page, number))
        except Unreadable:
            return None

    def _children(self, number: int) -> list[int]:
        found = self._head(number)
        if found is None or found[1].kind != TABLE_INNER:
            return []
        return list(children(*found))

    def _is_of_table(self, number: int) -> bool:
        found = self._head(number)
        return found is not None and found[1].kind in (TABLE_INNER, TABLE_LEAF)

    def _walk(
        self, number: int, wanted: int | None, found: TreeRows, depth: int, *, read: bool
    ) -> None:
        """``wanted``: the kind of leaf, once it is known."""
        at = None if number in found.reached or depth > DAMAGED_DEPTH_MAX else self._head(number)
        if at is None:
            found.holes.append(len(found.cells))
            return
        page, head = at
        leaf = TABLE_LEAF if head.kind in (TABLE_INNER, TABLE_LEAF) else INDEX_LEAF
        if wanted not in (None, leaf):
            found.holes.append(len(found.cells))
            return
        found.reached.add(number)
        if number in self._pages.doubtful:
            found.holes.append(len(found.cells))
        if head.kind in (TABLE_LEAF, INDEX_LEAF):
            for place in head.cells if read else ():
                self._take(page, head, place, found)
            return
        below = list(children(page, head))
        for place, child in enumerate(below):
            self._walk(child, leaf, found, depth + 1, read=read)
            if read and head.kind == INDEX_INNER and place < len(head.cells):
                self._take(page, head, head.cells[place], found)

    def _take(self, page: bytes, head: PageHead, at: int, found: TreeRows) -> None:
        try:
            cell = read_cell(self._pages, page, head, at)
        except Unreadable:
            found.holes.append(len(found.cells))
            return
        if not cell.whole:
            found.holes.append(len(found.cells))
        found.cells.append(cell)


def _note(found: dict[str, StoredObject], cell: StoredRecord) -> None:
    if len(cell.values) != 5 or not cell.whole:
        return
    kind, name, table, root, sql = cell.values
    if (
        kind in _KINDS
        and isinstance(name, str)
        and isinstance(table, str)
        and isinstance(root, int)
    ):
        text = sql if isinstance(sql, str) else ""
        found.setdefault(name, StoredObject(str(kind), name, table, root, text))
