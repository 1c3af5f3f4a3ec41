"""A replica's file is made whole or not at all, also when its maker is killed.

Knows: files and their names. Must not know: what is in a replica, or where its server is.
It is made under another name and then given its own, in one step and over nobody's: before that
moment the name is free, after it the replica is whole, its server and token included.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from holdfast.core.errors import DatabaseError, UsageError
from holdfast.sqlite import OpenOptions, driver
from holdfast.sqlite.failpoints import failpoint


def make_whole(path: Path, make: Callable[[Path], None]) -> None:
    """``make`` a file, and call it ``path``. Raises ``UsageError`` (``exists``), or what ``make``
    raises; then there is nothing under that name that was not there before."""
    if not is_free(path):
        raise UsageError(f"{path} exists already", code="exists")
    _sweep(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        make(draft)
        failpoint("making.draft")
        _call(draft, path)
        failpoint("making.named")
    finally:
        for file in path.parent.glob(f"{draft.name}*"):
            file.unlink(missing_ok=True)


def is_free(path: Path) -> bool:
    """Return whether nothing is there: no file, an empty one, or a database without a single
    table, as one is for a moment that is just being made."""
    if not path.exists():
        return True
    if not path.is_file():
        return False
    if not path.stat().st_size:
        return True
    try:
        looks = driver().connect(str(path), OpenOptions(look_only=True))
        with contextlib.closing(looks) as found:
            return not found.execute("SELECT 1 FROM sqlite_schema LIMIT 1")
    except DatabaseError:
        return False


def _call(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)  # never over a file that somebody has made meanwhile
    except FileExistsError:
        if not is_free(path):
            raise UsageError(f"{path} exists already", code="exists") from None
        draft.replace(path)
    except OSError:  # no such links on this file system
        draft.replace(path)
    with contextlib.suppress(OSError):  # not every file system can
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sweep(path: Path) -> None:
    """Remove what makers of this file have left that were killed."""
    for file in path.parent.glob(f".{path.name}.*.new*"):
        pid = file.name[len(path.name) + 2 :].partition(".")[0]
        if pid.isascii() and pid.isdigit() and not _is_alive(int(pid)):
            file.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
