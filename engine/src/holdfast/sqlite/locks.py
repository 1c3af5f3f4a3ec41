"""Locks on whole files that end with their process, however it ends: ``flock`` everywhere.

Knows: ``flock`` of POSIX systems, and the locks of Windows that come nearest. Must not know: what a
lock is for.
Windows locks ranges of bytes, and nobody else can read them meanwhile: one far behind the end
stands for the file, so that others can read what is in it. There is no shared lock; who wants one
gets the other kind. A lock is released when its descriptor is closed.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import Final

LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8
"""As in ``fcntl``, the same numbers on every system that has it."""

if sys.platform == "win32":
    import msvcrt

    _PLACE: Final = 0x7FFF0000
    _PAUSE_S: Final = 0.05

    def flock(descriptor: int, operation: int) -> None:
        """As ``fcntl.flock``: raises ``BlockingIOError`` when another has the lock."""
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        try:
            while True:
                os.lseek(descriptor, _PLACE, os.SEEK_SET)
                try:
                    if operation & LOCK_UN:
                        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
                    else:
                        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                except OSError as error:
                    if operation & LOCK_UN:
                        return  # it was not locked
                    if operation & LOCK_NB:
                        raise BlockingIOError(errno.EWOULDBLOCK, "the file is locked") from error
                    time.sleep(_PAUSE_S)
                else:
                    return
        finally:
            os.lseek(descriptor, before, os.SEEK_SET)

else:
    try:
        import fcntl
    except ImportError:  # a system with neither: a replica can be written there, and not synced
        fcntl = None  # type: ignore[assignment]

    def flock(descriptor: int, operation: int) -> None:
        """As ``fcntl.flock``; raises ``OSError`` where there are no locks to be had."""
        if fcntl is None:
            raise OSError(errno.ENOTSUP, "this system has no locks on files")
        fcntl.flock(descriptor, operation)


def is_locked_elsewhere(path: str, start: int, length: int) -> bool:
    """Return whether another process has any of these bytes of a file locked, by POSIX locks. This
    one must not have the file open otherwise: its own locks on it would be gone."""
    if sys.platform == "win32" or fcntl is None:
        return False
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:  # a file system without such locks
        return False
    finally:
        os.close(descriptor)
    return False


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Make the names in a folder durable, where a folder can be opened."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


__all__ = [
    "LOCK_EX",
    "LOCK_NB",
    "LOCK_SH",
    "LOCK_UN",
    "flock",
    "is_locked_elsewhere",
    "sync_folder",
]
