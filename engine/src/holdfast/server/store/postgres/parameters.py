"""Parameters of a writer in PostgreSQL: batches as arrays, and statements that go together.

Knows: how rows of the engine's tables become parameters. Must not know: when they are sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from holdfast.schema.model import Table
from holdfast.server.store.contract import FeedEntry, RowRecord, Scope
from holdfast.server.store.older_notes import digests_text, pack_hashes
from holdfast.sql.postgres.statements import bytes_array, number_array, text_array

_pack = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class WaitingStatement:
    """A statement that goes with the next one."""

    sql: str
    params: Sequence[object]
    rows: int | None
    why: str


def text_columns(rows: Sequence[tuple[str, str, str]]) -> tuple[object, object, object]:
    """Rows of three texts as arrays, one a column."""
    tables, keys, scopes = ([row[place] for row in rows] for place in range(3))
    return text_array(tables), text_array(keys), text_array(scopes)


def record_arrays(table: Table, records: Sequence[RowRecord]) -> tuple[str, str, str, str]:
    names = table.column_names
    return (
        text_array([r.key for r in records]),
        number_array([r.rev for r in records]),
        bytes_array([r.stamps for r in records]),
        bytes_array(
            [
                None if r.image is None else _pack(dict(zip(names, r.image, strict=True)))
                for r in records
            ]
        ),
    )


def feed_arrays(entries: Sequence[FeedEntry]) -> tuple[str, ...]:
    """Feed entries as arrays, one a column."""
    return (
        text_array([e.scope for e in entries]),
        text_array([e.table for e in entries]),
        text_array([e.key for e in entries]),
        number_array([e.version for e in entries]),
        bytes_array([e.hash for e in entries]),
        number_array([e.removed for e in entries]),
        number_array([e.size for e in entries]),
        bytes_array([pack_hashes(e.older) for e in entries]),
        number_array([e.deviates for e in entries]),
    )


def scope_arrays(scopes: Sequence[Scope]) -> tuple[str, ...]:
    """Name, head, count, digest, and digests of older generations."""
    return (
        text_array([s.name for s in scopes]),
        number_array([s.head for s in scopes]),
        number_array([s.digest.count for s in scopes]),
        text_array([s.digest.hex for s in scopes]),
        text_array([digests_text(s.older) for s in scopes]),
    )
