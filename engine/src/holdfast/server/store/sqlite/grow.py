"""The steps of a growth that touch what a SQLite server holds already: fills, and looser checks.

Knows: tables of a file, within the write transaction that makes it grow. Must not know: which steps
a schema takes. When one raises, the transaction is undone: nothing was changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.errors import ConstraintFailed, DatabaseError
from holdfast.core.keys import key_values, row_key
from holdfast.schema.model import Column, Table
from holdfast.server.store.filling import bad_fill, first_unfit, whole_row
from holdfast.sql.migration.fills import fill_rows
from holdfast.sql.names import change_table, names, quote
from holdfast.sql.tables import table_body
from holdfast.sqlite import Connection
from holdfast.sqlite.definitions import redefine
from holdfast.sqlite.failpoints import failpoint


def fill(db: Connection, table: Table, added: Sequence[Column]) -> None:
    """Give all rows of a table their fills; the columns have their defaults. Raises
    ``SchemaError`` (``bad_fill``) that names the row."""
    filled = [column for column in added if column.fill is not None]
    for column in filled:
        try:
            db.execute(fill_rows(table, column))
        except DatabaseError as error:
            rows = db.iterate(f"SELECT {names(table.column_names)} FROM {quote(table.name)}")
            found = first_unfit(table, [column], ((row_key(table, row), row) for row in rows))
            if found is None and isinstance(error, ConstraintFailed):
                found = bad_fill(table, column.name, error.message)
            raise found or error from None
    failpoint("grow.filled")


def fill_notes(db: Connection, table: Table, added: Sequence[Column]) -> None:
    """Give the notes of direct writes, which wait to be taken in, what the row that was there would
    have in new columns: nobody has written these."""
    if not added:
        return
    fresh = [column.name for column in added]
    known = [column.name for column in table.data_columns if column.name not in fresh]
    old = "".join(f", {quote(f'o_{name}')}" for name in known)
    sets = ", ".join(f"{quote(f'o_{name}')} = ?" for name in fresh)
    notes = change_table(table)
    for key, *values in db.execute(f"SELECT key{old} FROM {notes} WHERE tx = 0 AND was"):
        there = dict(zip(table.key, key_values(table, str(key)), strict=True))
        row = whole_row(table, {**there, **dict(zip(known, values, strict=True))})
        lifted = [row[table.positions[name]] for name in fresh]
        db.execute(f"UPDATE {notes} SET {sets} WHERE key = ? AND tx = 0", (*lifted, key))


def set_checks(db: Connection, path: str, table: Table) -> None:
    """Write down a table's looser checks, before its new columns are added."""

    def text(columns: Sequence[str]) -> str:
        return f"CREATE TABLE {quote(table.name)} {table_body(table, columns, lambda _key: True)}"

    redefine(db, path, table.name, known=table.by_name, text=text)
    failpoint("grow.loosened")
