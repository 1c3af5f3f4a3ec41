"""Which files this process has open, by which SQLite library.

Knows: files and names of libraries. Must not know: SQL.
Two SQLite libraries in one process that open one file break each other's POSIX locks (closing any
descriptor drops all locks, https://sqlite.org/howtocorrupt.html); that is refused at open.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

from holdfast.core.errors import DatabaseError

Identity = tuple[int, int]
"""Device and inode: what POSIX locks go by, whatever a file is called."""

_open: dict[Identity, Counter[str]] = {}
_lock = threading.Lock()


def _identity(path: str) -> Identity | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open_elsewhere(identity: Identity) -> bool:
    """Whether this process has the file open although no driver of ours has (Linux only)."""
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return False
    return any(_identity(str(descriptor)) == identity for descriptor in descriptors)


def claim(path: str, library: str, *, create: bool = True) -> Identity | None:
    """Note that ``library`` opens ``path``; the answer is for ``release``.

    A missing file is made when ``create`` says so, so that there is something to go by; None when
    there is no file. Raises ``DatabaseError`` (``mixed_sqlite_libraries``).
    """
    if path == ":memory:":
        return None
    with _lock:
        identity = _identity(path)
        if identity is None and create:
            with suppress(OSError):  # the library will report it in its own words
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o644))
            identity = _identity(path)
        if identity is None:
            return None
        users = _open.get(identity, Counter())
        others = [name for name, count in users.items() if count and name != library]
        foreign = library == "apsw" and not users.total() and _open_elsewhere(identity)
        if others or foreign:
            raise DatabaseError(
                f"{path} is open in this process through another SQLite library; open it with "
                "driver_name='stdlib' when an ORM of this process uses the same file",
                code="mixed_sqlite_libraries",
            )
        _open.setdefault(identity, Counter())[library] += 1
        return identity


def release(identity: Identity | None, library: str) -> None:
    """Note that one connection of ``library`` to the file it had claimed was closed."""
    with _lock:
        if identity is not None and identity in _open:
            _open[identity][library] -= 1
            if not _open[identity].total():
                del _open[identity]
