"""Nothing is committed that could not be sent: looked at in the commit itself.

Knows: the log, the outbox, and what a message can carry. Must not know: when it is sent.
A bound of the size, and what the tables' checks cannot see, are looked at first, which costs a read
of what the transaction has just written. Only what may not be fit is sealed at once, and looked at
as it would travel; then it is refused, or stays sealed.

Upholds I28: what would be refused for itself is refused to the one who writes it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.core.errors import BadValue, ReplicaError
from holdfast.core.keys import key_values, row_scopes
from holdfast.core.limits import (
    MIB,
    ROW_BYTES_MAX,
    TRANSACTION_AROUND_BYTES,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_CHANGES_MAX,
)
from holdfast.core.values import Value, row_bytes
from holdfast.replica.changes.dependence import OutboxNotes
from holdfast.replica.changes.outbox import change_message
from holdfast.schema.model import Table
from holdfast.sql.bookkeeping.statements import TRANSACTIONS
from holdfast.sqlite import Row

_encode = msgspec.json.Encoder().encode


def check_fit(notes: OutboxNotes, *, start: int, end: int, seal: Callable[[], object]) -> None:
    """Refuse the transaction that was noted between two places of the log, if it cannot be sent.

    Raises ``ReplicaError`` (``too_many_changes``, ``too_large``, ``quota_row_bytes``) or
    ``BadValue`` (``bad_value``; ``table``, ``key`` and ``column`` in its detail), for the caller to
    undo all.
    """
    bound, odd = _bound(notes, start)
    small = end - start <= TRANSACTION_CHANGES_MAX and bound <= TRANSACTION_BYTES_MAX
    suspects = [table for table in odd if _is_suspect(notes, table, start)]
    if small and not suspects:
        return
    seal()
    ((number,),) = notes.connection.execute(TRANSACTIONS.newest_own)
    changes, size = 0, TRANSACTION_AROUND_BYTES
    for table in notes.schema.all_tables:
        statements = notes.program.tables[table.name]
        for row in notes.connection.iterate(statements.changes, (number, number)):
            changes += 1
            size += 1 + _check_change(table, row)
    if changes > TRANSACTION_CHANGES_MAX:
        raise ReplicaError(
            f"a transaction has at most {TRANSACTION_CHANGES_MAX:,} changes, this one has "
            f"{changes:,}; commit it in several. Nothing was changed",
            code="too_many_changes", changes=changes, changes_max=TRANSACTION_CHANGES_MAX,
        )  # fmt: skip
    if size > TRANSACTION_BYTES_MAX:
        raise ReplicaError(
            f"a transaction has at most {TRANSACTION_BYTES_MAX // MIB} MiB, this one has "
            f"{size / MIB:.1f}; commit it in several. Nothing was changed",
            code="too_large", bytes=size, bytes_max=TRANSACTION_BYTES_MAX,
        )  # fmt: skip


def _bound(notes: OutboxNotes, start: int) -> tuple[int, list[Table]]:
    """Return how large the transaction is at most, and the tables of which rows have to be
    looked at.
    """
    total, odd = 0, []
    for (name,) in notes.connection.execute(notes.program.log_tables_after, (start,)):
        weight = notes.program.tables[str(name)].log_weight
        ((most, is_odd),) = notes.connection.execute(weight, (start,))
        total += int(str(most))
        if is_odd:
            odd.append(notes.schema.by_name[str(name)])
    return total, odd


def _is_suspect(notes: OutboxNotes, table: Table, start: int) -> bool:
    """Return whether a row may not be fit to be sent. Raises ``BadValue`` for a key that is no
    text.
    """
    keys = [column.name for column in table.key_columns if column.type == "text"]
    suspect = False
    for found, *texts in notes.connection.execute(
        notes.program.tables[table.name].odd_rows, (start,)
    ):
        for column, raw in zip(keys, texts[: len(keys)], strict=True):
            if not _is_utf8(raw):
                raise _bad(table, _spelled(raw), column, "text that is not valid UTF-8")
        suspect = suspect or bool(found) or not all(_is_utf8(raw) for raw in texts[len(keys) :])
    return suspect


def _check_change(table: Table, row: Row) -> int:
    """Return how many bytes a change has as it travels. Raises ``BadValue`` or ``ReplicaError``."""
    key, now = str(row[1]), row[3]
    try:
        size = len(_encode(change_message(table, row)))
        if now:
            whole = _whole(table, row)
            row_scopes(table, whole)
            _check_row(table, key, whole)
    except BadValue as error:
        column = str(error.detail.get("column", ""))
        text = error.message.removeprefix(f"{table.name}.{column}: ")
        raise _bad(table, key, column, text) from None
    return size


def _whole(table: Table, row: Row) -> list[Value]:
    """The row as it is after a noted change, in column order."""
    data = row[len(row) - len(table.data_columns) :]
    values = dict(zip(table.key, key_values(table, str(row[1])), strict=True))
    values |= zip([column.name for column in table.data_columns], data, strict=True)
    return [values[name] for name in table.column_names]


def _check_row(table: Table, key: str, row: list[Value]) -> None:
    size = row_bytes(row)
    if size > ROW_BYTES_MAX:
        raise ReplicaError(
            f"a row has at most {ROW_BYTES_MAX // MIB} MiB, {table.name} {key!r} would have "
            f"{size / MIB:.1f}; keep less in it. Nothing was changed",
            code="quota_row_bytes", table=table.name, key=key, bytes=size, bytes_max=ROW_BYTES_MAX,
        )  # fmt: skip


def _bad(table: Table, key: str, column: str, why: str) -> BadValue:
    place = f"{table.name}.{column}" if column else table.name
    return BadValue(
        f"{place} of {key!r} cannot be sent: {why}. Write another value; nothing was changed",
        table=table.name, key=key, column=column,
    )  # fmt: skip


def _is_utf8(raw: Value) -> bool:
    try:
        if isinstance(raw, bytes):
            raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _spelled(raw: Value) -> str:
    return raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else str(raw)
