"""The server's database of a world, and other programs' plain SQL on it: SQLite or PostgreSQL.

Knows: how each is opened and asked. Must not know: what is written, or what must hold afterwards.
Both must end alike: a world on PostgreSQL is done again on SQLite (``again``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg
from bazaar import SCHEMA, Row, Statement
from shell import FastDriver

from holdfast.core.errors import DatabaseError
from holdfast.schema.model import Schema
from holdfast.server.store.contract import Store
from holdfast.server.store.postgres.notes import rule_sql
from holdfast.server.store.postgres.store import PostgresStore
from holdfast.server.store.sqlite.store import SqliteStore
from holdfast.sqlite import OpenOptions, driver

RandomBytes = Callable[[int], bytes]


class ServerDatabase(Protocol):
    """What a world needs of it. ``NOTED``: the rows whose direct writes are not taken in yet."""

    NOTED: str

    def open(self, random_bytes: RandomBytes, schema: Schema = SCHEMA) -> Store:
        """A server's store on it."""

    def connect(self) -> None:
        """Let other programs in, once a store has made its tables."""

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Read, past the server."""

    def write(self, statements: Sequence[Statement]) -> bool:
        """One transaction past the server; whether it was committed."""

    def orphans(self) -> list[Row]:
        """Rows whose parent is not there."""

    def close(self) -> None:
        """Let go of it."""


class SqliteFile:
    """``ServerDatabase``: a file."""

    NOTED = "SELECT DISTINCT tbl, key FROM holdfast_noted"

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def open(self, random_bytes: RandomBytes, schema: Schema = SCHEMA) -> Store:
        return SqliteStore.open(
            self._path, schema, random_bytes=random_bytes, sqlite=FastDriver()
        )  # fmt: skip

    def connect(self) -> None:
        self._outside = driver().connect(self._path, OpenOptions(synchronous="OFF"))

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._outside.execute(sql, params)

    def write(self, statements: Sequence[Statement]) -> bool:
        try:
            self._outside.execute("BEGIN IMMEDIATE")
            for sql, params in statements:
                self._outside.execute(sql, params)
            self._outside.execute("COMMIT")
        except DatabaseError:
            if self._outside.in_transaction:
                self._outside.execute("ROLLBACK")
            return False
        return True

    def orphans(self) -> list[Row]:
        return self.rows("PRAGMA foreign_key_check")

    def close(self) -> None:
        self._outside.close()


_PRINTF = """CREATE FUNCTION printf(form text, number bigint) RETURNS text LANGUAGE sql AS
$$SELECT replace(replace(form, '%012x', lpad(to_hex(number), 12, '0')), '%x', to_hex(number))$$"""
"""As far as the back office uses SQLite's."""


class PostgresSchema:
    """``ServerDatabase``: a schema on PostgreSQL. What is no SQL there is not written."""

    NOTED = "SELECT DISTINCT tbl, key FROM holdfast_dirty"

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, random_bytes: RandomBytes, schema: Schema = SCHEMA) -> Store:
        return PostgresStore.open(self._url, schema, random_bytes=random_bytes)

    def connect(self) -> None:
        self._outside = psycopg.connect(
            self._url, autocommit=True, cursor_factory=psycopg.RawCursor, prepare_threshold=None
        )  # a plan that is kept would not survive a table that grows
        self._outside.execute(_PRINTF)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._outside.execute(rule_sql(sql), params).fetchall()

    def write(self, statements: Sequence[Statement]) -> bool:
        try:
            with self._outside.transaction():
                for sql, params in statements:
                    self._outside.execute(rule_sql(sql), params)
        except psycopg.Error:
            return False
        return True

    def orphans(self) -> list[Row]:
        return [
            row
            for table in SCHEMA.tables
            for key in table.foreign_keys
            for row in self.rows(
                f"SELECT '{table.name}', c.* FROM {table.name} AS c "
                f"LEFT JOIN {key.table} AS p ON p.id = c.{key.columns[0]} "
                f"WHERE c.{key.columns[0]} IS NOT NULL AND p.id IS NULL"
            )
        ]

    def close(self) -> None:
        self._outside.close()
