"""The second driver: Python's own ``sqlite3``, for apps that open the same file with an ORM.

Knows: ``sqlite3``. Must not know: tables of the engine.
The SQLite of the host may lie in the range of the WAL-reset bug (3.7.0 to 3.51.2), which needs WAL
and two connections; on such a version this driver uses the rollback journal, which is not affected.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Sequence

from holdfast.core import errors
from holdfast.core.limits import BUSY_SLICE_MS_MAX, PAGE_CACHE_KIB, WAL_CHECKPOINT_PAGES
from holdfast.core.values import Row, Value
from holdfast.sqlite.driver import OpenOptions, constraint_kind
from holdfast.sqlite.files import OpenFile, claim
from holdfast.sqlite.open_files import commits
from holdfast.sqlite.patience import Patience

WAL_SAFE_SINCE = (3, 51, 3)
"""First release with the fix of the WAL-reset bug; see https://sqlite.org/wal.html."""


def translate(error: Exception) -> errors.DatabaseError:
    """The error of ours that a ``sqlite3`` error stands for."""
    text = str(error)
    extended = getattr(error, "sqlite_errorcode", 0)
    if isinstance(error, UnicodeError) or "Could not decode" in text:
        return errors.DatabaseError("text that is not valid Unicode", code="bad_value")
    if isinstance(error, OverflowError):
        return errors.DatabaseError("integer does not fit 64 bits", code="bad_value")
    if "Error binding parameter" in text:
        return errors.DatabaseError(f"not a value SQLite can store: {text}", code="bad_value")
    match extended & 0xFF:
        case sqlite3.SQLITE_CONSTRAINT:
            return errors.ConstraintFailed(text, kind=constraint_kind(extended))
        case sqlite3.SQLITE_MISMATCH:  # an INTEGER PRIMARY KEY that is given something else
            return errors.ConstraintFailed(text, kind="check")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return errors.DatabaseBusy(f"the database is locked: {text}")
        case sqlite3.SQLITE_FULL:
            return errors.DatabaseFull("no space left for the database")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return errors.DatabaseReadOnly(f"the database cannot be opened or written: {text}")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return errors.DatabaseCorrupt(f"the database file is damaged: {text}")
        case _:
            return errors.DatabaseError(text)


_TRANSLATED = (sqlite3.Error, sqlite3.Warning, UnicodeError, OverflowError)


class StdlibConnection:
    """``sqlite.driver.Connection`` on ``sqlite3``, in autocommit mode."""

    def __init__(self, path: str, options: OpenOptions) -> None:
        creates = options.create and not options.look_only
        mode = "ro" if options.read_only else "rwc" if creates else "rw"
        root = "//" if path.startswith("/") else ""
        uri = f"file:{root}" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        self._open = True
        self._file: OpenFile | None = None
        self._logged = False
        claimed = claim(path, StdlibDriver.name, create=mode == "rwc")
        if claimed is None:
            self._open_file(f"{uri}?mode={mode}", options)
            return
        with claimed.turn:
            try:
                self._logged = self._open_file(f"{uri}?mode={mode}", options)
            except BaseException:
                claimed.leave(StdlibDriver.name, lambda: None)
                raise
            self._file = claimed
            if not options.read_only:
                ((_, _, real),) = self._db.execute("PRAGMA database_list").fetchall()
                # No guard: closing its descriptor would take an ORM's locks along.
                claimed.watch(real, logged=self._logged, guarded=False)

    def _open_file(self, uri: str, options: OpenOptions) -> bool:
        """Return whether the file has a write-ahead log, which is open then."""
        try:
            self._db = sqlite3.connect(
                uri,
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=BUSY_SLICE_MS_MAX / 1000,
            )
            self._patience = Patience(options.busy_timeout_ms, options.stopped)
        except _TRANSLATED as error:
            raise translate(error) from error
        keeps = options.read_only or options.look_only
        logged = not (keeps or options.scratch) and sqlite3.sqlite_version_info >= WAL_SAFE_SINCE
        try:
            if options.value_bytes_max is not None:
                self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, options.value_bytes_max)
            if not keeps:
                mode = "wal" if logged else "off" if options.scratch else "delete"
                self._run(f"PRAGMA journal_mode = {mode}").fetchall()
            self._run(f"PRAGMA synchronous = {options.synchronous}")
            self._run(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
            self._run(f"PRAGMA wal_autocheckpoint = {WAL_CHECKPOINT_PAGES}").fetchall()
            self._run(f"PRAGMA foreign_keys = {'on' if options.foreign_keys else 'off'}")
            secure = "on" if options.secure_delete else "off"
            self._run(f"PRAGMA secure_delete = {secure}").fetchall()
            if logged:
                self._run("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # opens the log
        except _TRANSLATED as error:
            self._db.close()
            raise translate(error) from error
        return logged

    def _run(self, sql: str, params: Sequence[Value] = ()) -> sqlite3.Cursor:
        """Run a statement; while another connection has the lock, again, slice by slice.

        A statement that met a lock has changed nothing, in a transaction too.
        """
        for tries in itertools.count():
            try:
                return self._db.execute(sql, tuple(params))
            except sqlite3.OperationalError as error:
                code = getattr(error, "sqlite_errorcode", 0)
                busy = code & 0xFF == sqlite3.SQLITE_BUSY
                old = code == sqlite3.SQLITE_BUSY_SNAPSHOT  # no patience makes it new
                if not busy or old or not self._patience.wait(tries):
                    raise
        raise AssertionError

    def _raw(self, sql: str, params: Sequence[Value]) -> list[Row]:
        try:
            return self._run(sql, params).fetchall()
        except _TRANSLATED as error:
            raise translate(error) from error

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        file = self._file
        if file is None or not commits(sql, in_transaction=self._db.in_transaction):
            return self._raw(sql, params)
        file.check(self._raw, committed=False)
        rows = self._raw(sql, params)
        file.check(self._raw, committed=True)
        return rows

    def iterate(self, sql: str, params: Sequence[Value] = ()) -> Iterator[Row]:
        try:
            yield from self._run(sql, params)
        except _TRANSLATED as error:
            raise translate(error) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        file = None if self._db.in_transaction else self._file
        if file is not None:
            file.check(self._raw, committed=False)
        try:
            self._db.executemany(sql, rows)
        except _TRANSLATED as error:
            raise translate(error) from error
        if file is not None:
            file.check(self._raw, committed=True)

    def script(self, sql: str) -> None:
        # Not ``executescript``: it commits an open transaction first.
        statement = ""
        for piece in re.split("(;)", sql):
            statement += piece
            if piece == ";" and sqlite3.complete_statement(statement):
                self.execute(statement)
                statement = ""
        if statement.strip():
            self.execute(statement)

    def columns(self, sql: str, params: Sequence[Value] = ()) -> tuple[tuple[str, ...], list[Row]]:
        try:
            cursor = self._run(sql, params)
            return tuple(item[0] for item in cursor.description or ()), cursor.fetchall()
        except _TRANSLATED as error:
            raise translate(error) from error

    def changes(self) -> int:
        return int(self._db.execute("SELECT changes()").fetchone()[0])

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def interrupt(self) -> None:
        self._db.interrupt()

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        file, self._file = self._file, None
        if file is None:
            self._db.close()
            return
        if file.lost and self._logged:  # what lies beside the file now is somebody else's log
            if sys.version_info >= (3, 12):
                self._db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
            else:  # nothing keeps it from tidying up but never being closed
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._db))
                file.leave(StdlibDriver.name, lambda: None)
                return
        file.leave(StdlibDriver.name, self._db.close)


class StdlibDriver:
    """``sqlite.driver.Driver``: Python's ``sqlite3``."""

    name = "stdlib"

    @property
    def sqlite_version(self) -> tuple[int, int, int]:
        return sqlite3.sqlite_version_info

    def connect(self, path: str, options: OpenOptions) -> StdlibConnection:
        return StdlibConnection(path, options)
