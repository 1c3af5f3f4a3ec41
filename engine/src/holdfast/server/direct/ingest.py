"""Ingest: what was written directly into the server's tables becomes revisions and versions.

Knows: notes of the capture triggers, and rows as they are stored. Must not know: who wrote them.
A direct write is never refused: it has happened. A row that it made unreadable for scopes is in no
scope, and logged.

Upholds I12, I14, I36.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from holdfast.core.errors import Refuse
from holdfast.core.keys import key_values
from holdfast.core.merging.merge import Author, RowChange, merge
from holdfast.core.merging.policies import policy_of
from holdfast.core.merging.rows import (
    INCARNATION_MAX,
    ServerRow,
    Stamp,
    load_stamps,
    next_rev,
)
from holdfast.core.values import Row, Value
from holdfast.schema.model import Schema, Table
from holdfast.server.feed.feed import Touched, scopes_of
from holdfast.server.merging.batch import SERVER, Batch, difference, server_row
from holdfast.server.merging.conflicts import follow
from holdfast.server.merging.journal import journal_entries
from holdfast.server.store.contract import DirectWriteNote, StoredRow, Writer

logger = logging.getLogger(__name__)


def ingest(
    writer: Writer,
    schema: Schema,
    notes: Mapping[str, Sequence[DirectWriteNote]],
    *,
    now_us: int,
    random_bytes: Callable[[int], bytes],
) -> list[Touched]:
    """Take in what notes of direct writes tell, by table; what changed is to be published.

    ``now_us``: the server's clock, microseconds: the time of all direct writes found.
    """
    if not notes:
        return []
    batch = Batch(writer, schema, random_bytes)
    batch.begin()
    for table in schema.all_tables:
        if notes.get(table.name):
            _take(batch, table, notes[table.name], now_us)
    lost = follow(batch, now_us=now_us)
    writer.hold(_places(batch))  # before a record is written: scopes come first, as in a push
    writer.add_journal(journal_entries(batch, lost, now_us))
    return batch.flush()


def _places(batch: Batch) -> set[str]:
    """The scopes of what was changed, before and after."""
    return {
        scope
        for table, _key, before, now in batch.touched()
        for row in (before, now)
        for scope in scopes_of(table, row.image if row.values is None else row.values)
    }


def _take(batch: Batch, table: Table, notes: Sequence[DirectWriteNote], now_us: int) -> None:
    stored = batch.writer.stored(table, [note.key for note in notes])
    for note in notes:
        now = stored.get(note.key)
        before = _before(note, now, batch.writer.counts_from)
        values = None if now is None else now.values
        if before.values == values:
            continue
        current = _merged(
            table, note.key, before, values, now_us=now_us,
            incarnation=new_incarnation(batch.random_bytes),
        )  # fmt: skip
        batch.take(table, note.key, before, current)
    batch.load_conflicts(table, [note.key for note in notes])


def _before(note: DirectWriteNote, now: StoredRow | None, counts_from: int) -> ServerRow:
    """The row as it was before the direct write: the record with the values of the note."""
    if now is None or not now.stamps:
        return server_row(None, counts_from)
    row, columns, deleted = load_stamps(now.stamps)
    if note.old is None:
        return ServerRow(now.rev, None, now.image, row, columns, deleted, counts_from)
    return ServerRow(now.rev, note.old, None, row, columns, None, counts_from)


def _merged(
    table: Table, key: str, before: ServerRow, now: Row | None, *, now_us: int, incarnation: int
) -> ServerRow:
    """The row after the direct write, with what it wrote stamped as the server's."""
    author = Author(SERVER, SERVER, now_us, 0)
    new: dict[str, Value] = {}
    if now is not None:
        new = {c.name: now[table.positions[c.name]] for c in table.data_columns}
        if before.values is not None:
            new = difference(table, before.values, new)
    change = RowChange(
        table=table,
        key=key,
        key_values=key_values(table, key),
        op="delete" if now is None else "insert" if before.values is None else "update",
        base=before.rev,
        bases={},
        new=new,
        old={},
    )
    settled = frozenset({"", *new})
    try:
        row = merge(before, change, author, incarnation=incarnation, settled=settled).row
    except Refuse as refusal:
        logger.warning(
            "a direct write of %s was kept although a push could not have made it: %s",
            table.name,
            refusal,
        )
        row = before
    if row.values == now:
        return row
    if now is not None and row.values is not None and _same(table, row.values, now):
        rev = next_rev(before, 0) if row.rev == before.rev else row.rev
        return replace(row, rev=rev, values=now)  # as it was written
    return overwritten(table, before, now, now_us, incarnation)


def _same(table: Table, one: Row, other: Row) -> bool:
    """Return whether two rows say the same by the policies of their columns: a set in another
    order.
    """
    for column, a, b in zip(table.columns, one, other, strict=True):
        says = policy_of(column).difference
        if a != b and says(a, b) != says(a, a):
            return False
    return True


def new_incarnation(random_bytes: Callable[[int], bytes]) -> int:
    return 1 + int.from_bytes(random_bytes(3), "big") % INCARNATION_MAX


def overwritten(
    table: Table, before: ServerRow, now: Row | None, now_us: int, incarnation: int
) -> ServerRow:
    """A row of which every column counts as written by the server."""
    rev = next_rev(before, incarnation)
    stamp = Stamp(rev, SERVER, SERVER, now_us)
    if now is None:
        image = before.image if before.values is None else before.values
        return ServerRow(rev, None, image, before.row or stamp, before.columns, stamp)
    columns = {column.name: stamp for column in table.data_columns} if before.rev else {}
    return ServerRow(rev, now, None, stamp, columns, None)
