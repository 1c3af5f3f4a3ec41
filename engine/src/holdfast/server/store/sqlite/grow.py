"""The steps of a growth that touch what a SQLite server holds already: fills, and looser checks.

Knows: tables of a file, within the write transaction that makes it grow. Must not know: which steps
a schema takes. When one raises, the transaction is undone: nothing was changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.errors import ConstraintFailed, DatabaseError, SchemaError
from holdfast.core.keys import row_key
from holdfast.schema.model import Column, Table
from holdfast.server.store.filling import bad_fill, first_unfit
from holdfast.sql.migration.fills import fill_rows
from holdfast.sql.names import names, quote
from holdfast.sql.tables import table_body
from holdfast.sqlite import Connection
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


def set_checks(db: Connection, path: str, table: Table) -> None:
    """Write down a table's looser checks, before its new columns are added. SQLite keeps them as
    text, and no row is written for that: https://sqlite.org/lang_altertable.html names the way, in
    its last section. Indexes, triggers and foreign keys of others stay as they are."""
    there = [
        str(name) for (name,) in db.execute("SELECT name FROM pragma_table_xinfo(?)", (table.name,))
    ]
    strange = [name for name in there if name not in table.by_name]
    if strange:
        raise SchemaError(
            f"{path}: table {table.name} has a column of somebody else, {strange[0]}, which would "
            "be lost with a looser check: move it to a table of its own; nothing was changed",
            code="schema_mismatch",
        )
    body = table_body(table, there, lambda _key: True)
    ((version,),) = db.execute("PRAGMA schema_version")
    db.execute("PRAGMA writable_schema = ON")
    try:
        db.execute(
            "UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?",
            (f"CREATE TABLE {quote(table.name)} {body}", table.name),
        )
        db.execute(f"PRAGMA schema_version = {int(str(version)) + 1}")
    finally:
        db.execute("PRAGMA writable_schema = RESET")
    failpoint("grow.loosened")
