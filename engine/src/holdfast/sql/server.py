"""DDL and statements of the embedded server: SQL for each user table.

Knows: how the server's SQLite database is laid out. Must not know: merging, messages or rights.
Upholds I17 as far as it keeps all SQL of the SQLite server in one place: what is decided is decided
above it, the same for every store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core.limits import VALUES_AT_ONCE
from holdfast.core.values import STORAGE
from holdfast.schema.model import CONFLICT_TABLE, ForeignKey, Table
from holdfast.sql.changes import create_change_table
from holdfast.sql.names import change_table, key_match, key_sql, marks, names, quote
from holdfast.sql.note_scopes import EVERYBODY
from holdfast.sql.tables import create_indexes, create_table

CONFLICT_INDEX = (
    "CREATE INDEX IF NOT EXISTS holdfast_conflict_open ON holdfast_conflict "
    "(table_name, row_key) WHERE state = 'open'"
)


def create_user_table(table: Table) -> list[str]:
    """A synced table with its indexes and its table of notes, without triggers."""
    statements = [create_table(table), *create_indexes(table), *create_change_table(table)]
    return [*statements, CONFLICT_INDEX] if table is CONFLICT_TABLE else statements


@dataclass(frozen=True, slots=True)
class SqliteTableSql:
    """The statements of one table. ``by_json``: keys travel as one JSON array, else one by one."""

    table: Table
    by_json: bool
    select: str
    """Key text and values of the rows with given keys."""
    select_rev: str
    """Key text, revision and values of the rows with given keys."""
    exists: str
    """Key texts of the given keys that exist."""
    scan: str
    """Key text and values of all rows."""
    upsert: str
    upsert_some: str
    """The same for ``rows_at_once`` rows."""
    rows_at_once: int
    delete: str
    notes: str
    """Key, whether the row was there, and its old data, of the notes about given keys."""
    forget_notes: str


def _source(table: Table, by_json: bool) -> tuple[str, str]:
    """FROM and WHERE of a look-up by keys."""
    name = quote(table.name)
    if not by_json:
        return f"FROM {name} AS t", f"WHERE {key_match(table, 't.')}"
    if len(table.key) == 1:
        on = f"t.{quote(table.key[0])} = j.value"
    else:
        on = " AND ".join(
            f"t.{quote(column)} = json_extract(j.value, '$[{index}]')"
            for index, column in enumerate(table.key)
        )
    return f"FROM json_each(?) AS j CROSS JOIN {name} AS t ON {on}", ""


def table_sql(table: Table) -> SqliteTableSql:
    """Compile the statements of a table."""
    by_json = all(STORAGE[column.type] != "BLOB" for column in table.key_columns)
    source, where = _source(table, by_json)
    key = key_sql(table, "t.")
    values = names(table.column_names, "t.")
    row = f"CROSS JOIN holdfast_row AS r ON r.tbl = '{table.name}' AND r.key = {key}"
    targets = ", ".join(f"{quote(c.name)} = excluded.{quote(c.name)}" for c in table.data_columns)
    action = f"DO UPDATE SET {targets}" if targets else "DO NOTHING"
    old = "".join(f", {quote(f'o_{column.name}')}" for column in table.data_columns)
    rows_at_once = max(1, VALUES_AT_ONCE // len(table.columns))
    into = f"INSERT INTO {quote(table.name)} ({names(table.column_names)}) VALUES"
    one = f"({marks(len(table.columns))})"
    conflict = f"ON CONFLICT ({names(table.key)}) {action}"
    return SqliteTableSql(
        table=table,
        by_json=by_json,
        select=f"SELECT {key}, {values} {source} {where}",
        select_rev=f"SELECT {key}, r.rev, {values} {source} {row} {where}",
        exists=f"SELECT {key} {source} {where}",
        scan=f"SELECT {key}, {values} FROM {quote(table.name)} AS t",
        upsert=f"{into} {one} {conflict}",
        upsert_some=f"{into} {', '.join([one] * rows_at_once)} {conflict}",
        rows_at_once=rows_at_once,
        delete=f"DELETE FROM {quote(table.name)} WHERE {key_match(table)}",
        notes=f"SELECT c.key, was{old} FROM json_each(?) AS j CROSS JOIN {change_table(table)} "
        "AS c ON c.key = j.value AND c.tx = 0",
        forget_notes=f"DELETE FROM {change_table(table)} WHERE tx = 0 "
        "AND key IN (SELECT value FROM json_each(?))",
    )


def select_children(child: Table, foreign: ForeignKey) -> str:
    """Keys of rows that refer to a parent: parameters are the parent's key and a limit."""
    match = " AND ".join(f"t.{quote(column)} = ?" for column in foreign.columns)
    return f"SELECT {key_sql(child, 't.')} FROM {quote(child.name)} AS t WHERE {match} LIMIT ?"


def select_holder(table: Table, columns: Sequence[str]) -> str:
    """The key of the row with given values of a unique key."""
    match = " AND ".join(f"t.{quote(column)} = ?" for column in columns)
    return f"SELECT {key_sql(table, 't.')} FROM {quote(table.name)} AS t WHERE {match}"


def note_untold(table: Table) -> str:
    """Notes of which it is not noted whom they concern, made by an older version."""
    return (
        f"INSERT INTO holdfast_noted (tbl, key, scope) SELECT '{table.name}', c.key, '{EVERYBODY}' "
        f"FROM {change_table(table)} AS c WHERE c.tx = 0 AND NOT EXISTS (SELECT 1 FROM "
        f"holdfast_noted WHERE tbl = '{table.name}' AND key = c.key) ON CONFLICT DO NOTHING"
    )
