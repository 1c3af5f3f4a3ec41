"""The limits: what the same machine does for the same rows without any sync.

Knows: plain SQLite by APSW, with the columns, checks and pragmas of the measured side. Must not
know: the engine, but for the DDL of an ordinary table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import apsw
from rows import INSERT, SCHEMA, TAKE, Item

from holdfast.core.limits import PAGE_CACHE_KIB, WAL_CHECKPOINT_PAGES
from holdfast.sql.tables import create_indexes, create_table

Synchronous = Literal["FULL", "NORMAL"]

_BOOK = "CREATE TABLE book (id TEXT PRIMARY KEY, rev INTEGER, noted TEXT) STRICT, WITHOUT ROWID"
_NOTE = (
    "INSERT INTO book (id, rev, noted) VALUES (?, 1, 'benchmark') "
    "ON CONFLICT (id) DO UPDATE SET rev = rev + 1"
)


class PlainSqlite:
    """A file with the same STRICT table, and nothing that tracks it."""

    def __init__(self, path: Path, synchronous: Synchronous = "FULL") -> None:
        self._db = apsw.Connection(str(path))
        self._db.pragma("journal_mode", "wal")
        self._db.pragma("synchronous", synchronous)
        self._db.pragma("foreign_keys", "on")
        self._db.pragma("cache_size", -PAGE_CACHE_KIB)
        self._db.pragma("wal_autocheckpoint", WAL_CHECKPOINT_PAGES)
        for table in SCHEMA.tables:
            for sql in (create_table(table), *create_indexes(table)):
                self._db.execute(sql)
        self._db.execute(_BOOK)

    def single(self, rows: list[Item]) -> None:
        """One transaction a row."""
        for row in rows:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(INSERT, row)
            self._db.execute("COMMIT")

    def batch(self, rows: list[Item], sold: list[tuple[int, str]]) -> None:
        """Inserts and updates in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(INSERT, rows)
        self._db.executemany(TAKE, sold)
        self._db.execute("COMMIT")

    def booked(self, rows: list[Item], sold: list[tuple[int, str]]) -> None:
        """The same with one bookkeeping row for each change."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(INSERT, rows)
        self._db.executemany(TAKE, sold)
        self._db.executemany(_NOTE, [(row[0],) for row in rows])
        self._db.executemany(_NOTE, [(key,) for _, key in sold])
        self._db.execute("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._db.close()
