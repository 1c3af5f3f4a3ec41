"""One transaction in a server's tables, written in plain SQL: SQLite and PostgreSQL alike.

Knows: how to reach either database, and that the engine takes in what others write into its tables.
Must not know: what is written. The engine's own SQLite is used: a second library in the process
that serves the file would break its locks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from holdfast.core.errors import UsageError
from holdfast.core.values import Value
from holdfast.server.open_store import is_postgres
from holdfast.sqlite import OpenOptions, driver

Row = tuple[Any, ...]


class Tables(Protocol):
    """An open transaction. Parameters are `?`; a statement says nothing that only one knows."""

    def execute(self, sql: str, params: Sequence[Value] = (), /) -> Sequence[Row]: ...


@contextmanager
def transaction(database: str) -> Iterator[Tables]:
    """Write as one transaction; what raises leaves nothing behind. Raises `DatabaseError`."""
    with _postgres(database) if is_postgres(database) else _sqlite(database) as tables:
        yield tables


def upsert(tables: Tables, table: str, key: dict[str, Value], values: dict[str, Value]) -> None:
    """Make a row what it is to be, whether it is there or not."""
    where = " AND ".join(f"{name} = ?" for name in key)
    if tables.execute(f"SELECT 1 FROM {table} WHERE {where}", [*key.values()]):
        assigned = ", ".join(f"{name} = ?" for name in values)
        tables.execute(
            f"UPDATE {table} SET {assigned} WHERE {where}", [*values.values(), *key.values()]
        )
    else:
        insert(tables, table, key | values)


def insert(tables: Tables, table: str, row: dict[str, Value]) -> None:
    """Add a row."""
    marks = ", ".join("?" * len(row))
    tables.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", [*row.values()])


def insert_if_new(tables: Tables, table: str, row: dict[str, Value]) -> None:
    """Add a row where none has its key: somebody else may be adding the same."""
    marks = ", ".join("?" * len(row))
    tables.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks}) ON CONFLICT DO NOTHING",
        [*row.values()],
    )


@contextmanager
def _sqlite(database: str) -> Iterator[Tables]:
    db = driver().connect(database, OpenOptions(create=False))
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    finally:
        db.close()


class _Postgres:
    """A connection of PostgreSQL, asked with the marks of SQLite."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, params: Sequence[Value] = (), /) -> Sequence[Row]:
        cursor = self._connection.execute(sql.replace("%", "%%").replace("?", "%s"), params)
        return cursor.fetchall() if cursor.description is not None else ()


@contextmanager
def _postgres(database: str) -> Iterator[Tables]:
    try:
        import psycopg

        from holdfast.server.store.postgres.errors import translated
    except ImportError as error:
        raise UsageError(
            f"PostgreSQL needs the extra holdfast-sync[postgres]: {error}", code="no_driver"
        ) from None
    with translated(), psycopg.connect(database) as connection:
        yield _Postgres(connection)
