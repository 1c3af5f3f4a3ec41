"""A PostgreSQL server's synced tables as one SQLite file, for the check to read.

Knows: psycopg, and the columns of the synced tables. Must not know: the engine's stores, or what
is checked. Values are taken over as PostgreSQL has them, nothing is converted.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from holdfast.core.errors import UsageError
from holdfast.schema import Schema

_ROWS_AT_ONCE: Final = 5_000


def is_postgres(database: str | None) -> bool:
    """Return whether a database is named by a URL of PostgreSQL."""
    return database is not None and database.startswith(("postgresql://", "postgres://"))


def check_empty(url: str) -> None:
    """Raise `UsageError` unless the database can be reached and holds no server yet."""
    try:
        with closing(_connect(url)) as db:
            held = db.execute("SELECT to_regclass('holdfast_state') IS NOT NULL").fetchone()
    except _driver().Error as error:
        raise UsageError(f"the database cannot be used: {error}", code="bad_option") from None
    if held is not None and held[0]:
        raise UsageError(
            "the database holds a server's data already; name an empty one", code="bad_option"
        )


def export(url: str, schema: Schema, path: Path) -> None:
    """Copy all synced tables, in one consistent read, into a new SQLite file."""
    with closing(_connect(url)) as source, closing(sqlite3.connect(path)) as target, target:
        source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for table in schema.all_tables:
            names = ", ".join(f'"{name}"' for name in table.column_names)
            marks = ", ".join("?" for _ in table.column_names)
            target.execute(f'CREATE TABLE "{table.name}" ({names})')
            with source.cursor("export") as rows:
                rows.itersize = _ROWS_AT_ONCE
                rows.execute(f'SELECT {names} FROM "{table.name}"')
                target.executemany(
                    f'INSERT INTO "{table.name}" VALUES ({marks})',
                    rows,
                )


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise UsageError(
            f"PostgreSQL needs the extra holdfast-sync[postgres]: {error}", code="no_driver"
        ) from None
    return psycopg


def _connect(url: str) -> Any:
    return _driver().connect(url, autocommit=True)
