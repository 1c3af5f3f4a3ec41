"""A lock that keeps others from taking themselves for the last that has a file open.

Knows: where SQLite locks a file (https://sqlite.org/fileformat2.html: the lock-byte page), and
locks that belong to an open file description. Must not know: SQL, or who uses the file.
Whoever closes a database in WAL mode tries for the exclusive lock, and deletes the log if nobody is
in its way. Locks of POSIX are the process's: another library in it finds nothing in its way, and
when anything in the process closes a descriptor of the file they are gone, for other processes too.
A lock of an open file description stands in the way of everybody and goes with its descriptor only.
Linux has them; elsewhere there is no guard, and a loss is noticed when it has happened
(``standing``).
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from typing import Final

_HAS_LOCKS = sys.platform == "linux" and sys.maxsize > 2**32
"""The layout of the request is that of 64 bits."""
if sys.platform == "linux":
    try:
        import fcntl
    except ImportError:
        _HAS_LOCKS = False

_SHARED_FIRST: Final = 0x40000002
_SHARED_BYTES: Final = 510


class FileGuard:
    """A shared lock on one file, on a descriptor of its own.

    The descriptor must not be closed before all connections of this process to the file are: with
    it go their locks.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def on(cls, path: str) -> FileGuard | None:
        """A guard that holds; None where there are no such locks."""
        if not _HAS_LOCKS:
            return None
        try:
            guard = cls(os.open(path, os.O_RDONLY))
        except OSError:
            return None
        guard.hold()
        return guard

    def hold(self) -> None:
        """Take the lock. A file system without such locks is left as it is."""
        if sys.platform == "linux":
            with suppress(OSError):
                self._lock(fcntl.F_RDLCK)

    def let_go(self) -> None:
        """Let whoever is the last tidy up."""
        if sys.platform == "linux":
            with suppress(OSError):
                self._lock(fcntl.F_UNLCK)

    def links(self) -> int:
        """Return how many names the file still has."""
        return os.fstat(self._descriptor).st_nlink

    def close(self) -> None:
        os.close(self._descriptor)

    def _lock(self, kind: int) -> None:
        if sys.platform == "linux":
            request = struct.pack("hhqqi", kind, os.SEEK_SET, _SHARED_FIRST, _SHARED_BYTES, 0)
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, request)
