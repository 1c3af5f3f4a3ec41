"""Users of a database file of SQLite: whether anybody has it open, and what stands beside it.

Knows: where SQLite locks a file (https://sqlite.org/fileformat2.html: the lock-byte page). Must not
know: SQL. In WAL mode whoever has a file open holds a shared lock on it, idle or not; with the
rollback journal only while it reads or writes. No connection of this process may have the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from holdfast.core.errors import DatabaseError

SIDE_FILES = ("-wal", "-shm", "-journal")
_LOCK_PAGE = 0x40000000
_LOCK_BYTES = 512


@contextlib.contextmanager
def unused(path: Path) -> Iterator[None]:
    """Hold a file that nobody has open, so that nobody can use it inside; nothing for one that is
    not there. Raises ``DatabaseError`` (``database_in_use``)."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # it is not there, or nobody can write it
        yield
        return
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_PAGE)
        except OSError:
            raise DatabaseError(
                f"another program has {path} open: end it first", code="database_in_use"
            ) from None
        yield
    finally:
        os.close(descriptor)


def beside(path: Path) -> list[Path]:
    """The names of what SQLite may have left beside a file."""
    return [path.with_name(path.name + end) for end in SIDE_FILES]
