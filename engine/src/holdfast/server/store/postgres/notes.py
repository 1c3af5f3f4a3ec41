"""Small conversions of the PostgreSQL store: notes of direct writes, and the queries of rules.

Knows: how a trigger writes a row as JSON, and how SQLite's parameters look. Must not know:
connections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from holdfast.core.values import Row, Value
from holdfast.schema.model import Column, Table
from holdfast.server.store.contract import DirectWriteNote
from holdfast.server.store.filling import whole_row

_read = msgspec.json.Decoder(dict[str, Any]).decode
_PIECES = re.compile(
    r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\2\$)|\?""", re.DOTALL
)

TAKE_ALONE = (
    "SELECT pg_advisory_xact_lock(hashtextextended('holdfast notes ' || current_schema(), 0))"
)
NOTED_ROWS = (
    "SELECT $1::text, j.key FROM unnest($2::text[]) AS j(key), LATERAL (SELECT FROM holdfast_dirty "
    "WHERE tbl = $1 AND key = j.key LIMIT 1) AS d"
)
# Row by row, and by number: the planner would read all notes.
TAKE = (
    "DELETE FROM holdfast_dirty WHERE number = ANY (ARRAY(SELECT d.number FROM "
    "unnest($1::text[], $2::text[]) AS j(tbl, key), LATERAL (SELECT number FROM holdfast_dirty "
    "WHERE tbl = j.tbl AND key = j.key LIMIT 1000000) AS d)) RETURNING tbl, number, key, was, old"
)


def fold(table: Table, taken: Iterable[tuple[int, str, bool, str | None]]) -> list[DirectWriteNote]:
    """One note a row: as it was before the first of its direct writes."""
    first: dict[str, DirectWriteNote] = {}
    for _number, key, was, old in sorted(taken, key=lambda note: note[0]):
        if key not in first:
            first[key] = DirectWriteNote(key, _row(table, old) if was and old is not None else None)
    return list(first.values())


def _row(table: Table, old: str) -> Row:
    """A row as it was, with what it would have had in columns that came since."""
    values = _read(old)
    known = {c.name: _value(c, values[c.name]) for c in table.columns if c.name in values}
    return whole_row(table, known)


def _value(column: Column, value: Any) -> Value:
    if value is None:
        return None
    if column.type == "bytes":
        return bytes.fromhex(value[2:])
    return float(value) if column.type == "real" else value


def rule_sql(sql: str) -> str:
    """A rule's query with its ``?`` as ``$1``, ``$2``, ...; quoted text and comments stay."""
    count = 0

    def numbered(piece: re.Match[str]) -> str:
        nonlocal count
        if piece[1]:
            return piece[1]
        count += 1
        return f"${count}"

    return _PIECES.sub(numbered, sql)


def rule_value(value: Any) -> Value:
    """A value that a query has computed, in its storage form."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value()
        return int(value) if whole else float(value)
    if value is None or isinstance(value, (int, float, str, bytes)):
        return value
    return str(value)
