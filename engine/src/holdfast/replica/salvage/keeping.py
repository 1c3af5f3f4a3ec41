"""A damaged file is kept under a telling name, and a new one takes its place.

Knows: files, their names and locks. Must not know: what is in them.
At each moment the name has either the damaged file or the whole new one, and the damaged one is
whole under its other name before anything is done; so whoever is killed on the way leaves nothing
that cannot be gone on from (``aside_of``). Nothing is ever deleted or written over but the log
of the damaged file under its old name, once it is kept under the other one.

Upholds I34.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from holdfast.core.errors import ReplicaError
from holdfast.core.limits import DAMAGED_COPIES_MAX
from holdfast.replica.storage.lock import SyncLock
from holdfast.sqlite.failpoints import failpoint
from holdfast.sqlite.files import is_open_here
from holdfast.sqlite.locks import is_locked_elsewhere, sync_folder
from holdfast.sqlite.moments import FORMAT, stamp

_WORD: Final = ".damaged-"
_MOMENT: Final = re.compile(r"\.damaged-(\d{8}T\d{6}Z)(?:-\d+)?\Z")
_LOCKS: Final = (0x40000000, 512)
"""Where SQLite locks a file: https://sqlite.org/fileformat2.html, the lock-byte page."""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Have the file to oneself. Raises ``ReplicaError`` (``replica_busy``)."""
    lock = SyncLock(str(path))
    if is_open_here(str(path)) or not lock.acquire():
        raise _busy(path, lock)
    try:
        if is_locked_elsewhere(str(path), *_LOCKS):
            raise _busy(path, lock)
        yield
    finally:
        lock.release()


def _busy(path: Path, lock: SyncLock) -> ReplicaError:
    pid, _ = lock.holder()
    who = "this program" if pid in (None, os.getpid()) else f"a program such as process {pid}"
    return ReplicaError(
        f"{path} is damaged, and {who} has it open: close whatever uses it, then open it again or "
        f"run: holdfast salvage {path}; nothing was changed",
        code="replica_busy",
    )


def put_aside(path: Path, *, now_us: int) -> Path:
    """Give the damaged file, and its log, one more name; an unfinished salvage has done so
    already."""
    found = aside_of(path)
    if found is not None:
        log, kept = path.with_name(f"{path.name}-wal"), found.with_name(f"{found.name}-wal")
        if log.exists() and not _is_same(log, kept):  # somebody has gone on with it since
            kept.unlink(missing_ok=True)
            _name_too(log, kept)
        return found
    names = [f"{path.name}{_WORD}{stamp(now_us)}"]
    names += [f"{names[0]}-{number}" for number in range(2, DAMAGED_COPIES_MAX)]
    aside = next(
        found for name in names if not _family(found := path.with_name(name), existing=True)
    )
    for old, new in zip(reversed(_family(path)), reversed(_family(aside)), strict=True):
        if old.exists():  # the file itself last: with it, all of it is there
            _name_too(old, new)
    _sync_folder(path)
    failpoint("salvage.aside")
    return aside


def drop_name(aside: Path) -> None:
    """Take the other name from what turned out to be no replica; it keeps its own."""
    for name in _family(aside):
        name.unlink(missing_ok=True)


def aside_of(path: Path) -> Path | None:
    """Return where an unfinished salvage has put what stands at this path."""
    for found in sorted(path.parent.glob(f"{path.name}{_WORD}*"), reverse=True):
        if not found.name.endswith(("-wal", "-shm")) and _is_same(found, path):
            return found
    return None


def count_aside(path: Path, *, since_us: int) -> int:
    """Return how many damaged files have been kept since a moment."""
    found = 0
    for kept in path.parent.glob(f"{path.name}{_WORD}*"):
        match = _MOMENT.search(kept.name)
        with suppress(ValueError):  # no moment that there is
            if match is not None:
                moment = datetime.strptime(match[1], FORMAT).replace(tzinfo=UTC)
                found += moment.timestamp() * 1_000_000 >= since_us
    return found


def take_place(draft: Path, path: Path) -> None:
    """The new file takes the damaged one's name, in one step. The log goes before: the new file
    must never meet it."""
    for old in _family(path)[1:]:
        old.unlink(missing_ok=True)
    _sync_folder(path)
    failpoint("salvage.log_gone")
    draft.replace(path)
    _sync_folder(path)
    failpoint("salvage.placed")


def suspicion(path: Path) -> Path:
    """The mark beside a file that something was found wrong in, so that it is checked at the next
    open."""
    return path.with_name(f"{path.name}-suspect")


def suspect(path: Path) -> None:
    """Have the file checked at its next open."""
    with suppress(OSError):
        suspicion(path).touch()


def _family(path: Path, *, existing: bool = False) -> list[Path]:
    """A file, its log and the log's index."""
    found = [path.with_name(path.name + ending) for ending in ("", "-wal", "-shm")]
    return [one for one in found if one.exists()] if existing else found


def _name_too(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # no such links on this file system
        draft = new.with_name(f"{new.name}.part")
        shutil.copyfile(old, draft)
        with draft.open("rb+") as copy:
            os.fsync(copy.fileno())
        draft.replace(new)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other) or (
            one.stat().st_size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)
        )
    except OSError:
        return False


def _sync_folder(path: Path) -> None:
    with suppress(OSError):  # not every file system can
        sync_folder(path.parent)
