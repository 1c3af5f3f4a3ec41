"""Ownership of a server's file: by one process, held by a lock that ends with the process.

Knows: files and locks of the system. Must not know: SQLite, or what is served. The lock is on a
file of its own beside the database: to close a descriptor of the database itself would drop
SQLite's locks. Commands that look after a database beside its server do not ask for it.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path

from holdfast.core.errors import DatabaseError

_here: set[str] = set()
"""What this process serves: its own locks never stand in its way, so it has to know."""
_lock = threading.Lock()


class ServingLock:
    """Held from the beginning until ``release``, or until the process ends, however it ends."""

    def __init__(self, path: str) -> None:
        """Raises ``DatabaseError`` (``served_elsewhere``) when another server has the file."""
        self._path = f"{os.path.realpath(path)}-serving"
        with _lock:
            if self._path in _here:
                raise _served(path)
            try:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise DatabaseError(
                    f"{self._path} cannot be made: {error.strerror}", code="database_read_only"
                ) from None
            try:
                # One of the process, and not of the descriptor: a forked child does not keep it.
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._descriptor)
                raise _served(path) from None
            _here.add(self._path)

    @property
    def path(self) -> Path:
        """The file that the lock is on."""
        return Path(self._path)

    def release(self) -> None:
        with _lock:
            if self._path in _here:
                _here.discard(self._path)
                with suppress(OSError):
                    os.close(self._descriptor)


def _served(path: str) -> DatabaseError:
    return DatabaseError(
        f"another server serves {path}: news would not reach the devices of both. Let one process "
        "serve it (of uvicorn: --workers 1), or use PostgreSQL, which serves any number",
        code="served_elsewhere",
    )
