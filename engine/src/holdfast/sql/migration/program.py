"""The statements that make a replica's file of an older generation into one of the program's.

Knows: how a file is laid out, and which formats came before. Must not know: in which order, or
when, a statement is run; what the older generation was: a host compares the schema that its file
has with the program's, and runs the pieces for what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from holdfast.schema.model import Column, ForeignKey, Schema, Table
from holdfast.sql.bookkeeping.gone import CREATE_GONE
from holdfast.sql.bookkeeping.identity import (
    CREATE_EVENT,
    CREATE_KEPT,
    CREATE_KEPT_INDEX,
    STATE_COLUMNS,
)
from holdfast.sql.capture import LOG
from holdfast.sql.changes import new_names, old_names
from holdfast.sql.log import log_columns
from holdfast.sql.migration.fills import fill_rows, fill_value
from holdfast.sql.migration.reshape import coerced, misfits
from holdfast.sql.names import change_table, literal, quote, shadow_table
from holdfast.sql.tables import added_column_sql, check_sql, column_sql, keys_sql

CREATE_ADDED = (
    "CREATE TABLE holdfast_added (tbl TEXT NOT NULL, name TEXT NOT NULL, "
    "generation INTEGER NOT NULL, PRIMARY KEY (tbl, name)) STRICT, WITHOUT ROWID"
)
"""With which generation each column came that the file was not made with."""

FORMATS: dict[str, tuple[str, ...]] = {
    "4": (
        "ALTER TABLE holdfast_state ADD COLUMN generation INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE holdfast_state ADD COLUMN server_generation INTEGER",
        "ALTER TABLE holdfast_tx ADD COLUMN generation INTEGER NOT NULL DEFAULT 1",
        CREATE_ADDED,
        (
            "UPDATE holdfast_state SET format = 5, "
            "generation = coalesce(json_extract(schema, '$.generation'), 1)"
        ),
        "UPDATE holdfast_tx SET generation = (SELECT generation FROM holdfast_state)",
    ),
    "5": (
        *(f"ALTER TABLE holdfast_state ADD COLUMN {column}" for column in STATE_COLUMNS),
        CREATE_KEPT,
        CREATE_KEPT_INDEX,
        CREATE_EVENT,
        f"ALTER TABLE {LOG} ADD COLUMN salt INTEGER",
        f"ALTER TABLE {LOG} ADD COLUMN mine INTEGER",
        f"ALTER TABLE {LOG} ADD COLUMN now REAL",
        # Servers know it by its device's name, if they may have heard of it; '' means just that.
        (
            "UPDATE holdfast_state SET format = 6, replica = CASE WHEN nonce = '' "
            "AND next_nonce = '' THEN lower(hex(randomblob(16))) ELSE device END"
        ),
    ),
    "6": (
        "ALTER TABLE holdfast_tx ADD COLUMN first TEXT NOT NULL DEFAULT ''",
        CREATE_GONE,
        "UPDATE holdfast_state SET format = 7",
    ),
}
"""By format: the statements that make a file of it one of the format behind it."""


_BOOKS = ("holdfast_row", "holdfast_member", "holdfast_noted", "holdfast_added")


class CheckPart(msgspec.Struct, frozen=True):
    """A declared check, as it stands in a table's definition."""

    column: str
    sql: str


class ColumnMigration(msgspec.Struct, frozen=True):
    """Statements that bring a column into a file which has its table without it."""

    add: tuple[str, ...]
    """Add it to the table, to the notes of the outbox, and to the shadows. The table has the checks
    of its other columns already as the program wants them."""
    fill_rows: str
    """Fill it in all rows of the table; empty: rows have the default."""
    fill_value: str
    """The fill of one row (parameters: all columns, in declared order); empty: the default."""


class ColumnReshaping(msgspec.Struct, frozen=True):
    """A column of a table that is made anew, as expressions over what its rows are made from."""

    start: str
    """Its default, which rows have when it was not there."""
    coerced: str
    """A converted value in the column's storage class, where it loses nothing by that."""
    misfits: str
    """The condition that a converted value is none of the column."""


class TableMigration(msgspec.Struct, frozen=True):
    """The pieces of one table."""

    create: tuple[str, ...]
    """Make the table and all that belongs to it, in a file that does not have it."""
    definitions: dict[str, str]
    """By name: the columns, as they stand in the table's definition."""
    keys: tuple[str, ...]
    """What stands behind the columns there: keys, and how long they may be."""
    checks: tuple[CheckPart, ...]
    """And behind that the declared checks."""
    columns: dict[str, ColumnMigration]
    """The data columns, by name in declared order."""
    images: str
    """All noted changes, by key and in order; columns as in ``changes``."""
    set_images: str
    """Set the values of a noted change: old ones, new ones, its key, its group."""
    shadows: str
    """The shadows of rows that exist: key, data columns."""
    shapes: dict[str, ColumnReshaping]
    """All columns, by name in declared order, for a table that declared steps make anew; none when
    the schema declares no steps."""


class MigrationProgram(msgspec.Struct, frozen=True):
    """The pieces of a whole file."""

    formats: dict[str, tuple[str, ...]]
    """By format: the statements that make a file of it one of the format behind it."""
    log: dict[str, str]
    """By column: the statement that adds it to the log."""
    tables: dict[str, TableMigration]
    put_added: str = (
        "INSERT OR REPLACE INTO holdfast_added (tbl, name, generation) VALUES (?, ?, ?)"
    )
    """Note with which generation a column came (table, column, generation)."""
    added: str = "SELECT tbl, name, generation FROM holdfast_added"
    """Table, column and generation of all that came later than the file."""
    set_schema: str = (
        "UPDATE holdfast_state SET fingerprint = ?, schema = ?, generation = ?, capture = ?"
    )
    """Note what the file is of now (fingerprint, schema as JSON, generation, digest of the capture
    triggers)."""
    books: tuple[str, ...] = _BOOKS
    """The engine's tables that know the app's by name, in their column ``tbl``."""
    added_of: str = "SELECT name, generation FROM holdfast_added WHERE tbl = ?"
    """Column and generation of what came later in one table (table)."""
    drop_added: str = "DELETE FROM holdfast_added WHERE tbl = ? AND name = ?"
    """Forget with which generation a column came (table, column)."""
    attached: str = (
        "SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND type IN ('index', 'trigger') "
        "AND sql IS NOT NULL AND name NOT GLOB 'holdfast_*'"
    )
    """Texts of the indexes and triggers that others have made on a table (table)."""
    set_hash: str = (
        "UPDATE holdfast_member SET hash = ? WHERE scope = ? AND tbl = ? AND key = ? "
        "AND hash <> zeroblob(16)"
    )
    """Set the hash of a member that is not known to be damaged (hash, scope, table, key)."""


def migration_program(
    schema: Schema,
    create: Mapping[str, tuple[str, ...]],
    enforced: Callable[[Table, ForeignKey], bool],
) -> MigrationProgram:
    """The pieces for files of older generations of this schema. ``create``: the statements that
    make each table; ``enforced``: whether a foreign key is enforced on this side."""
    return MigrationProgram(
        formats=FORMATS,
        log={name: f"ALTER TABLE {LOG} ADD COLUMN {name} ANY" for name in log_columns(schema)},
        tables={
            table.name: TableMigration(
                create=create[table.name],
                definitions={column.name: column_sql(table, column) for column in table.columns},
                keys=tuple(keys_sql(table, lambda key, table=table: enforced(table, key))),  # type: ignore[misc]
                checks=tuple(CheckPart(one.column, check_sql(table, one)) for one in table.checks),
                columns={column.name: _column(table, column) for column in table.data_columns},
                images=_images(table),
                set_images=_set_images(table),
                shadows=_shadows(table),
                shapes={
                    column.name: _shape(column) for column in table.columns if schema.migrations
                },
            )
            for table in schema.all_tables
        },
    )


def _shape(column: Column) -> ColumnReshaping:
    return ColumnReshaping(
        start=literal(column.default_value()), coerced=coerced(column), misfits=misfits(column)
    )


def _column(table: Table, column: Column) -> ColumnMigration:
    notes, name = change_table(table), column.name
    return ColumnMigration(
        add=(
            f"ALTER TABLE {quote(table.name)} ADD COLUMN {added_column_sql(table, column)}",
            f"ALTER TABLE {notes} ADD COLUMN {quote(f'o_{name}')} ANY",
            f"ALTER TABLE {notes} ADD COLUMN {quote(f'n_{name}')} ANY",
            f"ALTER TABLE {shadow_table(table)} ADD COLUMN {quote(f'v_{name}')} ANY",
        ),
        fill_rows="" if column.fill is None else fill_rows(table, column),
        fill_value="" if column.fill is None else fill_value(table, column),
    )


def _images(table: Table) -> str:
    values = "".join(f", {quote(name)}" for name in (*old_names(table), *new_names(table)))
    return (
        f"SELECT tx, key, was, now, base, bases{values} FROM {change_table(table)} ORDER BY key, tx"
    )


def _set_images(table: Table) -> str:
    names = [*old_names(table), *new_names(table)]
    sets = ", ".join(f"{quote(name)} = ?" for name in names) or "tx = tx"
    return f"UPDATE {change_table(table)} SET {sets} WHERE key = ? AND tx = ?"


def _shadows(table: Table) -> str:
    values = "".join(f", {quote(f'v_{column.name}')}" for column in table.data_columns)
    return f"SELECT key{values} FROM {shadow_table(table)} WHERE present"
