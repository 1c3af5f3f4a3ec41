"""Statements of the PostgreSQL server for each user table.

Knows: how a look-up and a write of many rows become one statement. Must not know: connections,
merging, messages or rights.
Many rows travel as one array a column (``unnest``), written as PostgreSQL's array text, which costs
least to make. Parameters are ``$1``, ``$2``, ...

A look-up of keys must cost what the keys cost, whatever the planner believes: in a table that has
just grown, or whose every row has the same ``tbl``, its statistics are wrong, and it would join by
reading the whole table for every page. So each key is looked up by a ``LATERAL`` subquery with a
``LIMIT``, which leaves it no other order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.errors import SchemaMoved
from holdfast.core.keys import key_values
from holdfast.core.values import Value
from holdfast.schema.model import Column, ForeignKey, Schema, Table
from holdfast.schema.projection import Projection
from holdfast.sql.names import names, quote
from holdfast.sql.postgres.tables import STORAGE, key_sql, literal, unique_name


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _quoted(value: str) -> str:
    return f'"{_escaped(value)}"'


def text_array(values: Sequence[str | None]) -> str:
    """Text as an array's text."""
    try:
        joined = '","'.join(values)  # type: ignore[arg-type]
    except TypeError:  # some are NULL
        return "{" + ",".join(["NULL" if v is None else _quoted(v) for v in values]) + "}"
    if "\\" in joined or joined.count('"') != 2 * max(0, len(values) - 1):
        joined = '","'.join([_escaped(v) for v in values if v is not None])
    return f'{{"{joined}"}}' if values else "{}"


def bytes_array(values: Sequence[bytes | None]) -> str:
    """Bytes as an array's text."""
    if not values:
        return "{}"
    if None in values:
        items = ["NULL" if v is None else f'"\\\\x{v.hex()}"' for v in values]
        return "{" + ",".join(items) + "}"
    return '{"\\\\x' + '","\\\\x'.join([v.hex() for v in values if v is not None]) + '"}'


def number_array(values: Sequence[Value]) -> str:
    """Numbers as an array's text; Python's ``repr`` of a float is exact."""
    text = ",".join(map(repr, values))
    return "{" + (text.replace("None", "NULL") if "N" in text else text) + "}"


_ARRAY: dict[str, Callable[[Sequence[Value]], str]] = {
    "text": text_array,  # type: ignore[dict-item]
    "bytea": bytes_array,  # type: ignore[dict-item]
}


def column_array(column: Column, values: Sequence[Value]) -> str:
    """The storage values of a column as an array's text."""
    return _ARRAY.get(STORAGE[column.type], number_array)(values)


@dataclass(frozen=True, slots=True)
class PostgresTableSql:
    """The statements of one table. Those that look up by keys take ``key_arrays``."""

    table: Table
    select_rev: str
    """Key text, revision and values of the rows with given keys."""
    stored: str
    """Key text, record, whether the row is there, and values. ``$1`` is the array of key texts."""
    exists: str
    """Key texts of the given keys that exist."""
    lock: str
    """Locks the rows with given keys against direct writes, or fails when one holds one now."""
    lock_whole: str
    """The same, also against rows that refer to them, for rows that are to go."""
    scan: str
    """Key text and values of all rows."""
    upsert: str
    """Takes ``row_arrays``."""
    delete: str

    def key_arrays(self, keys: Sequence[str]) -> list[str]:
        """The parameters that stand for rows with these key texts."""
        columns = self.table.key_columns
        parts = zip(*(key_values(self.table, key) for key in keys), strict=True)
        return [column_array(c, part) for c, part in zip(columns, parts, strict=True)]

    def keys_of(self, rows: Sequence[Sequence[Value]]) -> list[str]:
        """The same for whole rows."""
        places = zip(self.table.key_columns, self.table.key_positions, strict=True)
        return [column_array(column, [row[at] for row in rows]) for column, at in places]

    def row_arrays(self, rows: Sequence[Sequence[Value]]) -> list[str]:
        """The parameters that stand for whole rows."""
        columns = self.table.columns
        return [
            column_array(c, part) for c, part in zip(columns, zip(*rows, strict=True), strict=True)
        ]


def _arrays(columns: Sequence[Column], first: int = 1) -> str:
    """``unnest($1::text[], ...)`` for columns."""
    parts = [f"${n}::{STORAGE[c.type]}[]" for n, c in enumerate(columns, start=first)]
    return f"unnest({', '.join(parts)})"


def _record(table: Table, key: str, columns: str) -> str:
    """The engine's record of the row with a key."""
    return (
        f"LATERAL (SELECT {columns} FROM holdfast_row "
        f"WHERE tbl = {literal(table.name)} AND key = {key} LIMIT 1) AS r"
    )


def table_sql(table: Table) -> PostgresTableSql:
    """Compile the statements of a table."""
    name = quote(table.name)
    key = key_sql(table, "t.")
    values = names(table.column_names, "t.")
    label = names(f"k{n}" for n in range(len(table.key)))
    on = " AND ".join(f't.{quote(c)} = j."k{n}"' for n, c in enumerate(table.key))
    wanted = f"{_arrays(table.key_columns)} AS j({label})"
    first = f"t.{quote(table.key[0])}"
    whole = f"unnest($1::text[], {_arrays(table.key_columns, 2)[7:]}"
    row = f"LATERAL (SELECT * FROM {name} AS t WHERE {on} LIMIT 1) AS t"
    # A row whose unique values change is deleted first, so they need not be set; to name them here
    # would lock the row against every foreign key that refers to it.
    fixed = {*table.key, *(column for unique in table.unique for column in unique)}
    targets = ", ".join(
        f"{quote(c)} = excluded.{quote(c)}" for c in table.column_names if c not in fixed
    )
    action = f"DO UPDATE SET {targets}" if targets else "DO NOTHING"
    lock = f"SELECT FROM {wanted} JOIN {name} AS t ON {on} ORDER BY {names(table.key, 't.')}"
    return PostgresTableSql(
        table=table,
        select_rev=f"SELECT {key}, r.rev, {values} FROM {wanted}, {row}, "
        f"{_record(table, key, 'rev')}",
        stored=f"SELECT j.key, r.rev, r.stamps, r.image, {first} IS NOT NULL, {values} "
        f"FROM {whole} AS j(key, {label}) "
        f"LEFT JOIN {_record(table, 'j.key', 'rev, stamps, image')} ON true "
        f"LEFT JOIN {row} ON true "
        f"WHERE r.rev IS NOT NULL OR {first} IS NOT NULL",
        exists=f"SELECT {key} FROM {wanted}, {row}",
        lock=f"{lock} FOR NO KEY UPDATE OF t NOWAIT",
        lock_whole=f"{lock} FOR UPDATE OF t NOWAIT",
        scan=f"SELECT {key}, {values} FROM {name} AS t",
        upsert=f"INSERT INTO {name} ({names(table.column_names)}) "
        f"SELECT * FROM {_arrays(table.columns)} ON CONFLICT ({names(table.key)}) {action}",
        delete=f"DELETE FROM {name} AS t USING {wanted} WHERE {on}",
    )


def select_children(child: Table, foreign: ForeignKey) -> str:
    """Keys of rows that refer to a parent: parameters are the parent's key and a limit."""
    match = " AND ".join(f"t.{quote(c)} = ${n}" for n, c in enumerate(foreign.columns, start=1))
    limit = len(foreign.columns) + 1
    return (
        f"SELECT {key_sql(child, 't.')} FROM {quote(child.name)} AS t WHERE {match} LIMIT ${limit}"
    )


def select_holder(table: Table, columns: Sequence[str]) -> str:
    """The key of the row with given values of a unique key."""
    match = " AND ".join(f"t.{quote(c)} = ${n}" for n, c in enumerate(columns, start=1))
    return f"SELECT {key_sql(table, 't.')} FROM {quote(table.name)} AS t WHERE {match}"


@dataclass(frozen=True, slots=True)
class PostgresProgram:
    """The compiled statements of a schema."""

    schema: Schema
    tables: Mapping[str, PostgresTableSql]
    children: Mapping[tuple[str, tuple[str, ...], str], str]
    unique: Mapping[str, tuple[Table, tuple[str, ...]]]
    """What the constraints of unique keys are called."""
    older: tuple[Projection, ...] = ()
    """What the older generations see that are served, oldest first."""

    def check_generation(self, stored: str) -> None:
        """Raises ``SchemaMoved`` when the database was made to grow since it was opened."""
        if stored != self.schema.fingerprint:
            raise SchemaMoved("another process has opened this database with another schema")


def compile_program(schema: Schema) -> PostgresProgram:
    """Compile a schema's statements, once for a store."""
    return PostgresProgram(
        schema=schema,
        tables={table.name: table_sql(table) for table in schema.all_tables},
        children={
            (table.name, foreign.columns, foreign.table): select_children(table, foreign)
            for table in schema.tables
            for foreign in table.foreign_keys
        },
        unique={
            unique_name(table, number): (table, columns)
            for table in schema.all_tables
            for number, columns in enumerate(table.unique)
        },
    )
