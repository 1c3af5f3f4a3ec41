"""The databases a server can stand on, as the benchmarks use them.

Knows: SQLite files, a throw-away PostgreSQL with fsync, direct SQL on either. Must not know: the
engine, but for the DDL of an ordinary table; or the workloads.
``Plain`` is the limit: what the same database does for the same rows without any sync, with the
columns and checks of the measured side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import apsw
import psycopg
from rows import INSERT, SCHEMA, TAKE, Item

from holdfast.core.limits import PAGE_CACHE_KIB, WAL_CHECKPOINT_PAGES
from holdfast.sql.postgres import tables
from holdfast.sql.tables import create_indexes, create_table
from holdfast.testing.postgres import PostgresCluster

Synchronous = Literal["FULL", "NORMAL"]
Sold = Sequence[tuple[int, str]]

_BOOK = "CREATE TABLE book (id TEXT PRIMARY KEY, rev INTEGER, noted TEXT)"
_NOTE = (
    "INSERT INTO book (id, rev, noted) VALUES (?, 1, 'benchmark') "
    "ON CONFLICT (id) DO UPDATE SET rev = rev + 1"
)


class Plain(Protocol):
    """The same table, and nothing that tracks it."""

    def single(self, rows: list[Item]) -> None:
        """One transaction a row."""

    def batch(self, rows: list[Item], sold: Sold) -> None:
        """Inserts and updates in one transaction."""

    def booked(self, rows: list[Item], sold: Sold) -> None:
        """The same with one bookkeeping row for each change."""


class Database(Protocol):
    """A database of its own for one server."""

    address: str
    """What the server is given."""

    def load(self, rows: list[Item]) -> None:
        """Rows by SQL, past the server."""

    def take(self, key: str) -> None:
        """A sale of one piece by SQL, past the server."""


class Kind(Protocol):
    """SQLite or PostgreSQL."""

    name: str

    def database(self, folder: Path) -> Database: ...

    def plain(self, folder: Path) -> Plain: ...


# --- SQLite -------------------------------------------------------------------------------------


class PlainSqlite:
    """``Plain`` on a file; with the pragmas of the engine's connections."""

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
        self._db.execute(f"{_BOOK} STRICT, WITHOUT ROWID")

    def single(self, rows: list[Item]) -> None:
        for row in rows:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(INSERT, row)
            self._db.execute("COMMIT")

    def batch(self, rows: list[Item], sold: Sold) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(INSERT, rows)
        self._db.executemany(TAKE, sold)
        self._db.execute("COMMIT")

    def booked(self, rows: list[Item], sold: Sold) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(INSERT, rows)
        self._db.executemany(TAKE, sold)
        self._db.executemany(_NOTE, [(row[0],) for row in rows])
        self._db.executemany(_NOTE, [(key,) for _, key in sold])
        self._db.execute("COMMIT")

    def attach_copy(self, target: Path) -> None:
        """All rows into a fresh file, SQLite to SQLite."""
        with PlainSqlite(target):
            pass
        self._db.execute("ATTACH ? AS copy", (str(target),))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT INTO copy.item SELECT * FROM main.item")
        self._db.execute("COMMIT")
        self._db.execute("DETACH copy")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._db.close()


class _SqliteDatabase:
    def __init__(self, path: Path) -> None:
        self.address = str(path)

    def _open(self) -> apsw.Connection:
        db = apsw.Connection(self.address)
        db.set_busy_timeout(10_000)
        return db

    def load(self, rows: list[Item]) -> None:
        db = self._open()
        with db:
            db.executemany(INSERT, rows)
        db.close()

    def take(self, key: str) -> None:
        db = self._open()
        db.execute(TAKE, (1, key))
        db.close()


class Sqlite:
    """``Kind``: one file."""

    name = "SQLite"

    def database(self, folder: Path) -> Database:
        return _SqliteDatabase(folder / "server.db")

    def plain(self, folder: Path) -> Plain:
        return PlainSqlite(folder / "plain.db")


# --- PostgreSQL ---------------------------------------------------------------------------------

_TYPES = [tables.STORAGE[column.type] for column in SCHEMA.by_name["item"].columns]
_MARKS = ", ".join(f"%s::{kind}[]" for kind in _TYPES)


class PlainPostgres:
    """``Plain`` on one connection: each statement takes all rows, as arrays."""

    def __init__(self, url: str) -> None:
        self._db: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(url)
        for table in SCHEMA.tables:
            self._db.execute(tables.create_table(table))
        self._db.execute(_BOOK)
        self._db.commit()

    def single(self, rows: list[Item]) -> None:
        for row in rows:
            self._insert([row])
            self._db.commit()

    def _insert(self, rows: list[Item]) -> None:
        if rows:
            arrays = [list(column) for column in zip(*rows, strict=True)]
            self._db.execute(f"INSERT INTO item SELECT * FROM unnest({_MARKS})", arrays)

    def _sell(self, sold: Sold) -> None:
        if sold:
            self._db.execute(
                "UPDATE item SET quantity = quantity - n.taken "
                "FROM unnest(%s::bigint[], %s::text[]) AS n(taken, id) WHERE item.id = n.id",
                [list(column) for column in zip(*sold, strict=True)],
            )

    def batch(self, rows: list[Item], sold: Sold) -> None:
        self._insert(rows)
        self._sell(sold)
        self._db.commit()

    def booked(self, rows: list[Item], sold: Sold) -> None:
        self._insert(rows)
        self._sell(sold)
        self._db.execute(
            "INSERT INTO book SELECT k, 1, 'benchmark' FROM unnest(%s::text[]) AS k "
            "ON CONFLICT (id) DO UPDATE SET rev = book.rev + 1",
            ([row[0] for row in rows] + [key for _, key in sold],),
        )
        self._db.commit()


class _PostgresDatabase:
    def __init__(self, url: str) -> None:
        self.address = url

    def load(self, rows: list[Item]) -> None:
        names = ", ".join(column.name for column in SCHEMA.by_name["item"].columns)
        with (
            psycopg.connect(self.address) as db,
            db.cursor().copy(f"COPY item ({names}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)

    def take(self, key: str) -> None:
        with psycopg.connect(self.address) as db:
            db.execute(TAKE.replace("?", "%s"), (1, key))


class Postgres:
    """``Kind``: a cluster of its own, with fsync. Use as a context manager."""

    name = "PostgreSQL"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._cluster = self._stack.enter_context(PostgresCluster(durable=True))

    def database(self, _folder: Path) -> Database:
        return _PostgresDatabase(self._cluster.make_database())

    def plain(self, _folder: Path) -> Plain:
        return PlainPostgres(self._cluster.make_database())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._stack.close()


@contextmanager
def kinds(names: Sequence[str]) -> Iterator[list[Kind]]:
    """The kinds of these names (``sqlite``, ``postgres``)."""
    with ExitStack() as stack:
        found: list[Kind] = []
        if "sqlite" in names:
            found.append(Sqlite())
        if "postgres" in names:
            found.append(stack.enter_context(Postgres()))
        yield found
