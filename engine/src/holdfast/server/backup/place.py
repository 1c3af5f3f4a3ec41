"""The place of a backup: nothing has its name before it is whole, and nothing is overwritten.

Knows: files, names and locks. Must not know: databases. A copy grows under a name of its own beside
the place, for its owner alone, locked for as long as whoever writes it lives; it gets the name when
it is on the disk. What a killed backup has left is overwritten by the next one to the same place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import DatabaseError, UsageError
from holdfast.sqlite.locks import LOCK_EX, LOCK_NB, flock, sync_folder
from holdfast.sqlite.moments import STAMPED, free_stamp

Progress = Callable[[str, int, int], None]
"""Told what is done, how many bytes, and of how many; 0: not known."""


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file that is not whole yet. ``descriptor`` has the lock, on a file of its own: hand it to
    another process that writes."""

    path: Path
    descriptor: int


def named(to: Path, database: str, now_us: int) -> Path:
    """The file that is meant: a folder gets a file with the database's name and the moment."""
    if not to.is_dir():
        return to

    def inside(stamp: str) -> Path:
        return to / f"{_stem(database)}-{stamp}.backup"

    return inside(free_stamp(now_us, lambda stamp: inside(stamp).exists()))


def outdated(folder: Path, database: str, keep: int) -> list[Path]:
    """The backups of a database in a folder that are beyond the newest ``keep``, oldest first."""
    begin, end = f"{_stem(database)}-", ".backup"
    found = sorted(
        path
        for path in folder.glob("*.backup")
        if path.is_file()
        and path.name.startswith(begin)
        and STAMPED.fullmatch(path.name[len(begin) : -len(end)])
    )
    return found[: max(0, len(found) - keep)]


def _stem(database: str) -> str:
    if "://" not in database:
        return Path(database).stem
    name = database.partition("://")[2].partition("/")[2].partition("?")[0]
    return re.sub(r"[^\w.-]", "_", name) or "postgres"


@contextlib.contextmanager
def reserved(to: Path) -> Iterator[PartFile]:
    """A file that grows, and gets the name ``to`` when the block ends well; else it is gone.

    Raises ``UsageError`` (``target_exists``, ``target_not_writable``) and ``DatabaseError``
    (``backup_running``, ``target_full``).
    """
    _check_free(to)
    growing = to.with_name(f".{to.name}.partial")
    locked = to.with_name(f".{to.name}.partial-lock")
    with told(to):
        descriptor = os.open(locked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, locked, to)
        try:
            with told(to):
                growing.unlink(missing_ok=True)
                os.close(os.open(growing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            yield PartFile(growing, descriptor)
            with told(to):
                sync_file(growing)
                _publish(growing, to)
        finally:
            growing.unlink(missing_ok=True)
            locked.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make what is in a file durable. No connection of this process may have it open."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def told(to: Path) -> Iterator[None]:
    """Raise the system's errors about a place in our words."""
    try:
        yield
    except OSError as error:
        raise failed(to, error) from error


def failed(to: Path, error: OSError) -> DatabaseError | UsageError:
    """The error that says what is wrong with a place."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return full(to)
    if isinstance(error, FileNotFoundError):
        return UsageError(
            f"there is no folder {to.parent}: make it first", code="target_not_writable"
        )
    return UsageError(
        f"{to} cannot be written: {error.strerror or error}", code="target_not_writable"
    )


def full(to: Path) -> DatabaseError:
    """The error of a place that has no room."""
    return DatabaseError(
        f"there is no room for {to}; nothing was left there. Free some space on its disk, or "
        "choose another place",
        code="target_full",
    )


def still_served() -> DatabaseError:
    """The error of a database that is to be replaced under a server."""
    return DatabaseError(
        "a server serves this database: stop every one of them, restore, then start them again",
        code="served_elsewhere",
    )


def _check_free(to: Path) -> None:
    if os.path.lexists(to):
        raise UsageError(
            f"{to} is there already, and a backup overwrites nothing: choose another name, or a "
            "folder, in which each backup has a name of its own",
            code="target_exists",
        )


def _lock(descriptor: int, locked: Path, to: Path) -> None:
    running = DatabaseError(
        f"another backup to {to} is being made: let it end", code="backup_running"
    )
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        raise running from None
    except OSError:
        return  # a file system without locks: two backups to one place are the operator's business
    try:
        still_there = os.path.samestat(os.fstat(descriptor), locked.stat())
    except FileNotFoundError:
        still_there = False
    if not still_there:  # whoever had the lock ends in this moment
        raise running


def _publish(growing: Path, to: Path) -> None:
    """Give the file its name, if nothing has taken it meanwhile."""
    try:
        os.link(growing, to)
    except FileExistsError:
        _check_free(to)
    except OSError:  # a file system without hard links
        _check_free(to)
        growing.rename(to)
    sync_folder(to.parent)
