"""Verification: digests of ranges, and the server's version of named rows.

Knows: live feed entries of readable scopes. Must not know: what the device holds.
A range's rows are ordered by table and key, as bytes; a position is written ``table/key``. What is
absent and what may not be read get the same answer. A request has a budget of rows that are looked
at: ranges that find it spent are not answered, and one that spends it is answered as far as it got;
the device asks for the rest with its next request.

Upholds I23, I36.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from msgspec.structs import replace

from holdfast.core.digest import Digest, revisions_hex
from holdfast.core.errors import ProtocolError
from holdfast.core.keys import is_key
from holdfast.core.limits import ROWS_PER_LINE, VERIFY_CHILDREN, VERIFY_LEAF_ROWS_MAX
from holdfast.protocol.messages import (
    Gone,
    RangeAnswer,
    RangeDigest,
    RangeQuery,
    RowQuery,
    Rows,
)
from holdfast.schema.model import Schema
from holdfast.server.feed.feed import scopes_of
from holdfast.server.feed.pull import wire_row
from holdfast.server.store.contract import Snapshot

_MODULUS = 1 << 128


def _position(text: str) -> tuple[str, str]:
    table, _, key = text.partition("/")
    return table, key


def work_max(
    snapshot: Snapshot, queries: Sequence[RangeQuery], readable: Collection[str], most: int
) -> int:
    """Return how many rows are looked at for these ranges: none of them more than twice, on
    average.
    """
    asked = {query.scope for query in queries}.intersection(readable)
    there = sum(scope.digest.count for scope in snapshot.scopes(asked).values())
    return min(most, 2 * there + len(queries))


def cut_range(
    snapshot: Snapshot, query: RangeQuery, readable: Collection[str], rows_max: int
) -> RangeQuery:
    """The range, or as much from its start on as has ``rows_max`` rows."""
    start, end = _position(query.start), _end(query)
    if query.scope not in readable:
        return query
    if snapshot.count(query.scope, start, end, rows_max + 1) <= rows_max:
        return query
    ((table, key, _),) = snapshot.live(query.scope, start, end, limit=1, skip=rows_max)
    return replace(query, end=f"{table}/{key}")


def _end(query: RangeQuery) -> tuple[str, str] | None:
    return None if query.end is None else _position(query.end)


def answer_range(
    snapshot: Snapshot, schema: Schema, query: RangeQuery, readable: Collection[str]
) -> RangeAnswer:
    """The digest of a range with its rows, or with its parts when there are many."""
    start, end = _position(query.start), _end(query)
    count = snapshot.count(query.scope, start, end) if query.scope in readable else 0
    if count == 0:
        none = revisions_hex(()) if query.revisions else ""
        return RangeAnswer(query.scope, query.start, query.end, 0, Digest().hex, revisions=none)
    if count <= VERIFY_LEAF_ROWS_MAX:
        return _leaf(snapshot, schema, query, start, end)
    return _split(snapshot, schema, query, start, end, count)


def _live(
    snapshot: Snapshot,
    schema: Schema,
    query: RangeQuery,
    start: tuple[str, str],
    end: tuple[str, str] | None,
) -> Iterator[tuple[str, str, bytes, int]]:
    """Table, key, hash and revision of the rows of a range, in order."""
    rows = snapshot.live(query.scope, start, end)
    while bite := list(itertools.islice(rows, ROWS_PER_LINE)):
        keys: dict[str, list[str]] = defaultdict(list)
        for name, key, _ in bite:
            keys[name].append(key)
        revs = {
            (name, key): rev
            for name, some in keys.items()
            if name in schema.by_name
            for key, rev in snapshot.revs(schema.by_name[name], some).items()
        }
        for name, key, row in bite:
            yield name, key, row, revs.get((name, key), 0)


def _leaf(
    snapshot: Snapshot,
    schema: Schema,
    query: RangeQuery,
    start: tuple[str, str],
    end: tuple[str, str] | None,
) -> RangeAnswer:
    found = list(_live(snapshot, schema, query, start, end))
    digest = Digest()
    for _, _, row, _ in found:
        digest = digest.add(row)
    revisions = revisions_hex((row, rev) for _, _, row, rev in found) if query.revisions else ""
    return RangeAnswer(
        query.scope, query.start, query.end, digest.count, digest.hex,
        leaf=[(table, key, rev, row.hex()) for table, key, row, rev in found],
        revisions=revisions,
    )  # fmt: skip


def _split(  # noqa: PLR0917
    snapshot: Snapshot,
    schema: Schema,
    query: RangeQuery,
    start: tuple[str, str],
    end: tuple[str, str] | None,
    count: int,
) -> RangeAnswer:
    share = -(-count // VERIFY_CHILDREN)
    starts: list[str] = []
    sums: list[int] = []
    counts: list[int] = []
    revisions: list[int] = []
    rows: Iterator[tuple[str, str, bytes, int]] = (
        _live(snapshot, schema, query, start, end)
        if query.revisions
        else ((*row, 0) for row in snapshot.live(query.scope, start, end))
    )
    for index, (table, key, row, rev) in enumerate(rows):
        if index % share == 0:
            starts.append(f"{table}/{key}" if index else query.start)
            sums.append(0)
            counts.append(0)
            revisions.append(0)
        number = int.from_bytes(row, "big")
        sums[-1] += number
        counts[-1] += 1
        revisions[-1] += number * rev

    def told(total: int) -> str:
        return f"{total % _MODULUS:032x}" if query.revisions else ""

    parts = [
        RangeDigest(first, last, number, f"{total % _MODULUS:032x}", told(revs))
        for first, last, number, total, revs in zip(
            starts, [*starts[1:], query.end], counts, sums, revisions, strict=True
        )
    ]
    return RangeAnswer(
        query.scope, query.start, query.end, sum(counts), f"{sum(sums) % _MODULUS:032x}", parts,
        revisions=told(sum(revisions)),
    )  # fmt: skip


def check_row_queries(schema: Schema, queries: Sequence[RowQuery]) -> None:
    """Raises ``ProtocolError`` when a query names no table."""
    for query in queries:
        if query.table not in schema.by_name:
            raise ProtocolError(f"no table {query.table[:60]!r}", code="unknown_table")


def answer_rows(
    snapshot: Snapshot, schema: Schema, queries: Sequence[RowQuery], readable: Collection[str]
) -> Iterator[Rows | Gone]:
    """The current version of each named row; ``Gone`` when it is absent or not readable."""
    wanted: dict[str, dict[str, None]] = defaultdict(dict)
    for query in queries:
        wanted[query.table][query.key] = None
    for name, keys in wanted.items():
        table = schema.by_name[name]
        rows = []
        left = dict(keys)
        known = [key for key in keys if is_key(table, key)]
        for key, rev, row in snapshot.rows(table, known):
            if key in left and any(scope in readable for scope in scopes_of(table, row)):
                del left[key]
                rows.append(wire_row(table, rev, row))
        for start in range(0, len(rows), ROWS_PER_LINE):
            yield Rows(name, rows[start : start + ROWS_PER_LINE])
        if left:
            yield Gone(name, list(left))
