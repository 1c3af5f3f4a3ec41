"""Detection of a database file that was replaced, moved or removed under an open connection.

Knows: the paths of a database, its write-ahead log and the log's index. Must not know: tables of
the engine, or why a file is gone.
SQLite goes on writing into files that were deleted, moved or replaced under it: nobody else sees
such commits, and with the process they are gone. So a commit is preceded and followed by a look at
the paths, and nothing is promised that is not in its place (I1). What had been committed is saved
where that is possible: into the file when nobody has touched it since, or as a copy beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from holdfast.core.errors import DatabaseError, DatabaseMoved
from holdfast.core.limits import RESCUE_COPIES_MAX
from holdfast.core.values import Value

Identity = tuple[int, int]
"""Device and inode: what POSIX locks go by, whatever a file is called."""

Execute = Callable[[str, Sequence[Value]], Sequence[tuple[Value, ...]]]

_ADVICE: Final = (
    "Stop this process, see to it that nothing deletes, moves or replaces the file or its -wal and "
    "-shm while it is open (an ORM in the same process needs driver_name='stdlib'), and open it "
    "again"
)


def commits(sql: str, *, in_transaction: bool) -> bool:
    """Return whether a statement may end in a commit."""
    word = sql[:6].upper()
    if in_transaction:
        return word == "COMMIT" or word[:3] == "END"
    return word != "SELECT" and word[:5] != "BEGIN"


def identity_of(path: str) -> Identity | None:
    """Return which file stands at a path; None when there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - asked for at every commit, and twice as fast
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


class OpenFiles:
    """The files of one open database, as they were when it was opened.

    Shared by all connections of a process to it. ``lost``: the error that ends all of them.
    """

    def __init__(self, path: str, *, logged: bool) -> None:
        """``path``: the real one, absolute. ``logged``: it has a write-ahead log, now open."""
        self._path = path
        self._database = identity_of(path)
        self._log = identity_of(f"{path}-wal") if logged else None
        self._index = identity_of(f"{path}-shm") if logged else None
        self._seen = self._state()
        self.lost: DatabaseMoved | None = None

    def before_commit(self) -> str | None:
        """Return what is wrong with the files; None when everything stands in its place."""
        database = self._look()
        if database is not None:
            return database
        if self._index is not None and identity_of(f"{self._path}-shm") != self._index:
            return "the index of its log (-shm) was deleted or replaced"
        return None

    def after_commit(self) -> str | None:
        """The same, as far as it can have changed what was just committed."""
        return self._look()

    def _look(self) -> str | None:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - as above
        except OSError:
            return "it was deleted or moved"
        if (status.st_dev, status.st_ino) != self._database:
            return "another file was put in its place"
        if self._log is not None and identity_of(f"{self._path}-wal") != self._log:
            return "its write-ahead log (-wal) was deleted or replaced"
        self._seen = (status.st_mtime_ns, status.st_size)
        return None

    def _state(self) -> tuple[int, int] | None:
        with suppress(OSError):
            status = Path(self._path).stat()
            return status.st_mtime_ns, status.st_size
        return None

    def lose(self, what: str, execute: Execute, *, links: int | None) -> DatabaseMoved:
        """Save what can be saved, once; the error from now on.

        ``execute``: on a connection without a transaction. ``links``: how many names the open file
        still has, if that is known.
        """
        if self.lost is None:
            self.lost = DatabaseMoved(
                f"{self._path} was open when {what}; nothing more is committed. "
                f"{self._save(execute, links)}. {_ADVICE}"
            )
        return self.lost

    def _save(self, execute: Execute, links: int | None) -> str:
        if self._log is None:
            return "What had been committed is in the file that was open"
        in_place = identity_of(self._path) == self._database
        if in_place and identity_of(f"{self._path}-wal") == self._log:
            return "What had been committed is in its log"
        if in_place and self._untouched() and _emptied(execute):
            return "What had been committed is in it"
        if not in_place and identity_of(self._path) is None:
            # Moved: the log belongs to the file. Deleted: that was somebody's intention.
            _emptied(execute)
            return (
                "What had been committed is gone with it"
                if links == 0
                else "What had been committed is in the file that was moved"
            )
        copy = self._copy(execute)
        if not in_place:
            _emptied(execute)  # or the log would be taken for the new file's
        if copy is None:
            return "What had been committed could not be saved"
        return f"A copy of what this process had is {copy}"

    def _untouched(self) -> bool:
        """Return whether nobody has written the file since it was last seen with its log, or has
        it open with a log of its own."""
        return self._state() == self._seen and identity_of(f"{self._path}-wal") is None

    def _copy(self, execute: Execute) -> str | None:
        for number in range(1, RESCUE_COPIES_MAX + 1):
            name = f"{self._path}-saved-{number}"
            try:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                continue
            except OSError:
                return None
            try:
                execute("VACUUM INTO ?", (name,))
            except DatabaseError:
                Path(name).unlink(missing_ok=True)
                return None
            return name
        return None


def _emptied(execute: Execute) -> bool:
    """Return whether all of the log is in its file now."""
    try:
        ((busy, _, _),) = execute("PRAGMA wal_checkpoint(TRUNCATE)", ())
    except DatabaseError:
        return False
    return busy == 0
