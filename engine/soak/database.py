"""The server's database, as back-office programs see it: plain SQL past the server.

Knows: SQLite by Python's own library, PostgreSQL by psycopg. Must not know: the engine. In the
process of the soak nobody else opens SQLite: two libraries in one process on one file would break
each other's locks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg
from shop import Statement

WAIT_S = 3


class Busy(Exception):
    """Somebody holds the database, perhaps a process that stands still; nothing was written."""


class Database(Protocol):
    """What a server is given, and what plain SQL can do with it."""

    address: str
    name: str

    def write(self, statements: Sequence[Statement]) -> None:
        """One transaction. Raises ``Busy``."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Read."""

    def size_bytes(self) -> int:
        """How much room it takes."""


class SqliteFile:
    """``Database``: one file, a server's or a replica's."""

    name = "SQLite"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.address = str(path)

    def write(self, statements: Sequence[Statement]) -> None:
        try:
            with closing(self._open()) as db:
                db.execute("BEGIN IMMEDIATE")
                for sql, params in statements:
                    db.execute(sql, params)
                db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise Busy from error
            raise

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self._open()) as db:
            return db.execute(sql).fetchall()

    def size_bytes(self) -> int:
        return sum(p.stat().st_size for p in self._path.parent.glob(f"{self._path.name}*"))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=WAIT_S, isolation_level=None)


class PostgresDatabase:
    """``Database``: one of a cluster."""

    name = "PostgreSQL"

    def __init__(self, address: str) -> None:
        self.address = address

    def write(self, statements: Sequence[Statement]) -> None:
        try:
            with psycopg.connect(self.address) as db:
                db.execute(f"SET lock_timeout = '{WAIT_S}s'")
                for sql, params in statements:
                    db.execute(sql.replace("?", "%s"), params)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            raise Busy from error

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.address) as db:
            return db.execute(sql).fetchall()

    def size_bytes(self) -> int:
        ((size,),) = self.rows("SELECT pg_database_size(current_database())")
        return int(size)
