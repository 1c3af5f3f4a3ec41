"""The default driver: APSW, which brings its own SQLite (3.54), free of the WAL-reset bug.

Knows: APSW. Must not know: tables of the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import apsw

from holdfast.core import errors
from holdfast.core.limits import PAGE_CACHE_KIB, WAL_CHECKPOINT_PAGES
from holdfast.core.values import Row, Value
from holdfast.sqlite.driver import OpenOptions, constraint_kind
from holdfast.sqlite.files import OpenFile, claim
from holdfast.sqlite.open_files import commits
from holdfast.sqlite.patience import Patience


def translate(error: Exception) -> errors.DatabaseError:
    """The error of ours that an APSW error stands for."""
    text = str(error)
    match error:
        case apsw.ConstraintError():
            return errors.ConstraintFailed(
                text, kind=constraint_kind(getattr(error, "extendedresult", 0))
            )
        case apsw.MismatchError():  # an INTEGER PRIMARY KEY that is given something else
            return errors.ConstraintFailed(text, kind="check")
        case apsw.BusyError() | apsw.LockedError():
            return errors.DatabaseBusy(f"the database is locked: {text}")
        case apsw.FullError():
            return errors.DatabaseFull("no space left for the database")
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.CantOpenError():
            return errors.DatabaseReadOnly(f"the database cannot be opened or written: {text}")
        case apsw.CorruptError() | apsw.NotADBError():
            return errors.DatabaseCorrupt(f"the database file is damaged: {text}")
        case UnicodeError():
            return errors.DatabaseError("text that is not valid Unicode", code="bad_value")
        case OverflowError():
            return errors.DatabaseError("integer does not fit 64 bits", code="bad_value")
        case TypeError():
            return errors.DatabaseError(f"not a value SQLite can store: {text}", code="bad_value")
        case _:
            return errors.DatabaseError(f"{text}")


_TRANSLATED = (apsw.Error, UnicodeError, OverflowError, TypeError)


class ApswConnection:
    """``sqlite.driver.Connection`` on APSW."""

    def __init__(self, path: str, options: OpenOptions) -> None:
        flags = apsw.SQLITE_OPEN_READONLY if options.read_only else apsw.SQLITE_OPEN_READWRITE
        if options.create and not (options.read_only or options.look_only):
            flags |= apsw.SQLITE_OPEN_CREATE
        creates = bool(flags & apsw.SQLITE_OPEN_CREATE)
        self._open = True
        self._file: OpenFile | None = None
        claimed = claim(path, ApswDriver.name, create=creates)
        if claimed is None:
            self._open_file(path, flags, options)
            return
        with claimed.turn:
            try:
                logged = self._open_file(path, flags, options)
            except BaseException:
                claimed.leave(ApswDriver.name, lambda: None)
                raise
            self._file = claimed
            if logged and not options.read_only:
                claimed.watch(self._db.filename, logged=True, guarded=True)

    def _open_file(self, path: str, flags: int, options: OpenOptions) -> bool:
        """Return whether the file has a write-ahead log, which is open then."""
        try:
            self._db = apsw.Connection(path, flags=flags)
        except _TRANSLATED as error:
            raise translate(error) from error
        try:
            self._db.set_busy_handler(Patience(options.busy_timeout_ms, options.stopped).wait)
            if options.value_bytes_max is not None:
                self._db.limit(apsw.SQLITE_LIMIT_LENGTH, options.value_bytes_max)
            keeps = options.read_only or options.look_only
            mode = None if keeps else "off" if options.scratch else "wal"
            logged = mode is not None and self._db.pragma("journal_mode", mode) == "wal"
            self._db.pragma("synchronous", options.synchronous)
            self._db.pragma("cache_size", -PAGE_CACHE_KIB)
            self._db.pragma("wal_autocheckpoint", WAL_CHECKPOINT_PAGES)
            self._db.pragma("foreign_keys", "on" if options.foreign_keys else "off")
            self._db.pragma("secure_delete", "on" if options.secure_delete else "off")
            if logged:
                self._db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # opens the log
        except _TRANSLATED as error:
            self._db.close()
            raise translate(error) from error
        return logged

    def _raw(self, sql: str, params: Sequence[Value]) -> list[Row]:
        try:
            return self._db.execute(sql, params).fetchall()
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
            yield from self._db.execute(sql, params)
        except _TRANSLATED as error:
            raise translate(error) from error

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        file = None if self._db.in_transaction else self._file
        if file is not None:
            file.check(self._raw, committed=False)
        try:
            for _ in self._db.executemany(sql, rows):
                pass
        except _TRANSLATED as error:
            raise translate(error) from error
        if file is not None:
            file.check(self._raw, committed=True)

    def script(self, sql: str) -> None:
        self.execute(sql)

    def columns(self, sql: str, params: Sequence[Value] = ()) -> tuple[tuple[str, ...], list[Row]]:
        names: list[str] = []

        def note_names(cursor: apsw.Cursor, _sql: str, _params: object) -> bool:
            """Called before the first row, when the names can be asked for even if none follows."""
            names[:] = [name for name, _ in cursor.get_description()]
            return True

        try:
            cursor = self._db.cursor()
            cursor.exec_trace = note_names
            rows = cursor.execute(sql, params).fetchall()
        except _TRANSLATED as error:
            raise translate(error) from error
        return tuple(names), rows

    def changes(self) -> int:
        return self._db.changes()

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
        if file.lost:  # what lies beside the file now is somebody else's log
            self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        file.leave(ApswDriver.name, self._db.close)


class ApswDriver:
    """``sqlite.driver.Driver``: APSW with the SQLite it was built with."""

    name = "apsw"

    @property
    def sqlite_version(self) -> tuple[int, int, int]:
        major, minor, patch = (int(part) for part in apsw.sqlite_lib_version().split("."))
        return major, minor, patch

    def connect(self, path: str, options: OpenOptions) -> ApswConnection:
        return ApswConnection(path, options)
