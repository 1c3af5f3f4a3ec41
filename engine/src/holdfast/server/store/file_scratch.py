"""Locks and folders for work in progress, which end with the process that has them.

Knows: the operating system's locks. Must not know: what is being made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from holdfast.core.errors import DatabaseReadOnly
from holdfast.core.limits import FILE_ABANDONED_S
from holdfast.sqlite.locks import LOCK_EX, LOCK_NB, flock

_NEW, _PREFIX = "new-", "build-"


def own_folder(path: Path) -> Path:
    """Make a folder for this user alone; one that somebody else has made is not used."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise DatabaseReadOnly(f"no folder for files: {error}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise DatabaseReadOnly(f"{path} belongs to somebody else")
    return path


def lock(path: Path, *, create: bool = True) -> int | None:
    """Take the lock of a file; None when another has it. The descriptor holds it until closed."""
    flags = os.O_RDWR | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
        # Whoever held it before may have removed the name meanwhile: then this locks nothing.
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


class Scratch:
    """A folder for one piece of work, inside ``parent``."""

    def __init__(self, parent: Path) -> None:
        # It gets the name that a sweeper looks for when it has its lock, which goes with it.
        made = Path(tempfile.mkdtemp(prefix=_NEW, dir=own_folder(parent)))
        self._lock = lock(made / "lock")
        self.path = made.rename(made.with_name(made.name.replace(_NEW, _PREFIX, 1)))

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of processes that have ended."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            held = lock(folder / "lock", create=False)
            if held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)
    before = time.time() - FILE_ABANDONED_S
    for folder in parent.glob(f"{_NEW}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)
