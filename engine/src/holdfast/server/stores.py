"""Which store a database's name stands for.

Knows: the names of databases. Must not know: what is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from holdfast.core.errors import UsageError
from holdfast.schema.model import Schema
from holdfast.server.sqlite_store import SqliteStore
from holdfast.server.store import Store
from holdfast.sqlite import driver

_POSTGRES = ("postgresql://", "postgres://")


def open_store(
    schema: Schema,
    database: str | Path,
    *,
    random_bytes: Callable[[int], bytes],
    driver_name: Literal["apsw", "stdlib"] = "apsw",
) -> Store:
    """Open or make a server's database: a file of SQLite, or ``postgresql://...``.

    ``driver_name``: the SQLite library; without meaning for PostgreSQL. Raises ``SchemaError``
    (``schema_mismatch``), ``DatabaseError``, or ``UsageError`` (``no_driver``) when what PostgreSQL
    needs is not installed.
    """
    name = str(database)
    if not name.startswith(_POSTGRES):
        return SqliteStore(name, schema, random_bytes=random_bytes, sqlite=driver(driver_name))
    try:
        from holdfast.server.postgres_store import PostgresStore
    except ImportError as error:
        raise UsageError(
            f"PostgreSQL needs the extra holdfast[postgres]: {error}", code="no_driver"
        ) from None
    return PostgresStore(name, schema, random_bytes=random_bytes)
