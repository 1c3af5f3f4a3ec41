"""Pull: what a device lacks, from one consistent snapshot.

Knows: feeds, checkpoints and the device's readable scopes. Must not know: pushes or HTTP.
Each changed row is sent once, at its latest; the answer reaches the heads of all the device's
scopes or is not believed. Rows are read and sent piece by piece.

Upholds I10, I11, I16, I23 (only rows of readable scopes, removals included), I24, I25, I31.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from holdfast.core import values
from holdfast.core.digest import seal
from holdfast.core.limits import (
    LINE_BYTES_SOFT,
    ROWS_PER_LINE,
)
from holdfast.core.values import Row, Value
from holdfast.protocol.messages import Checkpoint, Gone, Line, Own, Position, Rows
from holdfast.schema.model import Schema, Table
from holdfast.server.feed.feed import scopes_of
from holdfast.server.feed.own_rows import NO_OWN_ROWS, OwnRows
from holdfast.server.store.contract import Scope, Snapshot
from holdfast.sqlite.failpoints import failpoint

NO_ORIGINS: Mapping[str, int] = {}
_SAME = frozenset({"text", "uuid", "date", "decimal", "json", "real"})
"""Types whose wire form is their storage form."""


def wire_row(table: Table, rev: int, row: Sequence[Value]) -> list[Any]:
    """A row as it travels: its revision, then its values."""
    line: list[Any] = [rev, *row]
    for index, column in enumerate(table.columns, start=1):
        if column.type not in _SAME:
            line[index] = values.to_wire(column.type, line[index])
    return line


def _size(row: Row) -> int:
    texts = [len(value) for value in row if isinstance(value, (str, bytes))]
    return sum(texts) + 8 * (len(row) - len(texts))


class _Puller:
    """One pull: ``since`` has the version the device holds of each readable scope."""

    def __init__(
        self,
        snapshot: Snapshot,
        schema: Schema,
        since: Mapping[str, int],
        own: OwnRows,
        origins: Mapping[str, int],
    ) -> None:
        self._own = own
        self._origins = origins
        self._snapshot = snapshot
        self._schema = schema
        self._since = since

    def lines(self) -> Generator[Rows | Own | Gone]:
        own: dict[str, list[str]] = defaultdict(list)
        changed: dict[str, dict[str, str]] = defaultdict(dict)  # keys, and in which scope first
        removed: dict[str, list[str]] = defaultdict(list)
        heads = self._snapshot.scopes(self._since)
        behind = {
            scope: self._since[scope]
            for scope in sorted(heads)
            if heads[scope].head > self._since[scope]
        }
        for scope, moved in self._snapshot.moved(behind):
            if moved.table not in self._schema.by_name:
                continue
            if self._own.has(scope, moved):
                keys = own[moved.table]
                keys.append(moved.key)
                if len(keys) >= ROWS_PER_LINE:
                    yield self._own_line(moved.table, own.pop(moved.table))
            elif not moved.removed:
                places = changed[moved.table]
                places.setdefault(moved.key, scope)
                if len(places) >= ROWS_PER_LINE:
                    yield from self._rows(moved.table, changed.pop(moved.table))
            elif behind[scope]:  # a device that held nothing of the scope has nothing to remove
                keys = removed[moved.table]
                keys.append(moved.key)
                if len(keys) >= ROWS_PER_LINE:
                    yield from self._gone(moved.table, removed.pop(moved.table))
        for name, keys in own.items():
            yield self._own_line(name, keys)
        for name, places in changed.items():
            yield from self._rows(name, places)
        for name, keys in removed.items():
            yield from self._gone(name, keys)
        yield from self._lacking()

    def _lacking(self) -> Iterator[Rows]:
        """Rows that have not changed, and that a device did not see in an older generation."""
        changed: dict[str, dict[str, str]] = defaultdict(dict)
        for scope, name, key in lacking(self._snapshot, self._since, self._origins):
            places = changed[name]
            places.setdefault(key, scope)
            if len(places) >= ROWS_PER_LINE:
                yield from self._rows(name, changed.pop(name))
        for name, places in changed.items():
            yield from self._rows(name, places)

    def _own_line(self, name: str, keys: list[str]) -> Own:
        failpoint("pull.mid")
        return self._own.line(name, keys)

    def _rows(self, name: str, places: Mapping[str, str]) -> Iterator[Rows]:
        table = self._schema.by_name[name]
        piece: list[tuple[str, int, Row]] = []
        size = 0
        for item in self._snapshot.rows(table, list(places)):
            piece.append(item)
            size += _size(item[2])
            if size >= LINE_BYTES_SOFT:
                yield from self._line(table, piece, places)
                piece, size = [], 0
        yield from self._line(table, piece, places)

    def _line(
        self, table: Table, piece: Sequence[tuple[str, int, Row]], places: Mapping[str, str]
    ) -> Iterator[Rows]:
        sent = self._sent_before(table, piece, places)
        rows = [wire_row(table, rev, row) for key, rev, row in piece if key not in sent]
        if rows:
            failpoint("pull.mid")
            yield Rows(table.name, rows)

    def _sent_before(
        self, table: Table, piece: Sequence[tuple[str, int, Row]], first: Mapping[str, str]
    ) -> set[str]:
        """Keys of rows that an earlier scope of this answer has already brought; ``first``: the
        scopes in which they have been found now."""
        places = [
            (other, key)
            for key, _, row in piece
            if len(others := scopes_of(table, row)) > 1
            for other in others
            if other < first[key] and other in self._since
        ]
        if not places:
            return set()
        versions = self._snapshot.versions(table, places)
        return {key for (other, key), version in versions.items() if version > self._since[other]}

    def _gone(self, name: str, keys: Sequence[str]) -> Iterator[Gone]:
        table = self._schema.by_name[name]
        held = {
            key
            for key, _, row in self._snapshot.rows(table, keys)
            if any(scope in self._since for scope in scopes_of(table, row))
        }
        left = [key for key in keys if key not in held]
        if left:
            yield Gone(table.name, left)


def news(
    snapshot: Snapshot,
    schema: Schema,
    since: Mapping[str, int],
    own: OwnRows = NO_OWN_ROWS,
    *,
    origins: Mapping[str, int] = NO_ORIGINS,
) -> Generator[Rows | Own | Gone]:
    """Rows and removals above the versions in ``since``, which names all readable scopes.

    ``origins``: scopes whose position is of an older generation of the schema, and of which: all
    that the device lacks of these comes as well.
    """
    return _Puller(snapshot, schema, since, own, origins).lines()


def lacking(
    snapshot: Snapshot, since: Mapping[str, int], origins: Mapping[str, int]
) -> Iterator[tuple[str, str, str]]:
    """Scope, table and key of rows that have not changed, and that a device lacks nevertheless: it
    comes from an older generation, which does not see all of them."""
    for scope in sorted(origins):
        for table, key in snapshot.lacking(scope, since[scope], origins[scope]):
            yield scope, table, key


def last_line(scopes: Mapping[str, Scope], *, secret: bytes, epoch: str, lines: int) -> Checkpoint:
    """The checkpoint that an answer reaches, sealed."""
    return Checkpoint(
        {
            name: Position(
                scope.head, scope.digest.count, scope.digest.hex,
                seal(secret, epoch=epoch, scope=name, version=scope.head, digest=scope.digest),
            )
            for name, scope in sorted(scopes.items())
        },
        lines,
    )  # fmt: skip


class PulledLines:
    """The lines of an answer; the snapshot is held until the last line, or ``close``."""

    def __init__(self, snapshot: Snapshot, lines: Iterator[Line]) -> None:
        self._snapshot = snapshot
        self._lines = lines

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        try:
            return next(self._lines)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the snapshot; an answer that was not read to its end is worthless."""
        close = getattr(self._lines, "close", None)
        if close is not None:
            close()
        self._snapshot.close()
