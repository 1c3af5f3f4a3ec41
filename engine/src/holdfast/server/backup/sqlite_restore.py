"""Restore of an embedded database from a copy; what stood there is set aside.

Knows: files, names, and who may have them open. Must not know: what a restore means to devices.
All work is done on a file of its own beside the database, which takes its name in one step. What
stood there keeps a second name before that, so that at every moment the old database or the new one
is in its place; where that cannot be (no hard links, a damaged log), nothing is for a moment, and a
server does not start on nothing while a restore is unfinished.

Upholds I33.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from holdfast.core.errors import DatabaseError, UsageError
from holdfast.core.limits import BACKUP_PIECE_BYTES
from holdfast.server.backup.contents import BackupRecord
from holdfast.server.backup.history import begin_epoch, read_epochs
from holdfast.server.backup.place import Progress, still_served, sync_file, told
from holdfast.server.backup.sqlite_copy import check_begins, look
from holdfast.server.backup.sqlite_use import beside, unused
from holdfast.server.open_store import unfinished_restore
from holdfast.server.store.sqlite.owner import ServingLock
from holdfast.sqlite import Connection, OpenOptions, driver
from holdfast.sqlite.failpoints import failpoint
from holdfast.sqlite.locks import sync_folder
from holdfast.sqlite.moments import free_stamp

_LOOK: Final = OpenOptions(read_only=True, create=False)
_ALONE: Final = OpenOptions(create=False, look_only=True, foreign_keys=False)


def restore_file(
    database: Path, copy: Path, *, now_us: int, progress: Progress
) -> tuple[BackupRecord, Path | None]:
    """Put a copy in the place of a database that nobody has open; what the copy holds, and under
    which name the old database stands now.

    Raises ``UsageError`` and ``DatabaseError`` (``served_elsewhere``, ``database_in_use``); then
    the database is what it was.
    """
    database = Path(os.path.realpath(database))
    check_begins(copy)
    if database.exists() and copy.samefile(database):
        raise UsageError("a database is no backup of itself", code="bad_choice")
    if not database.parent.is_dir():
        raise UsageError(
            f"there is no folder {database.parent}: make it first", code="target_not_writable"
        )
    try:
        serving = ServingLock(str(database))
    except DatabaseError as error:
        raise still_served() if error.code == "served_elsewhere" else error from None
    try:
        _own_like(serving.path, database)
        with unused(database), unused(copy):
            """Nobody writes what is copied, and nobody reads what goes away."""
        new = unfinished_restore(database)
        moved = new.exists() and not database.exists()  # by one that was killed
        try:
            _fetch(copy, new, database, progress)
            record = look(new, progress)
            failpoint("restore.copied")
            _begin_epoch(new, _epochs_of(database), now_us)
            with told(new):
                sync_file(new)
        except BaseException:
            for path in () if moved else (new, *beside(new)):
                path.unlink(missing_ok=True)
            raise
        aside = _put(database, new, now_us)
        # Files for first loads are of the history that ended; they are made again.
        shutil.rmtree(f"{database}-files", ignore_errors=True)
        return record, aside
    finally:
        serving.release()


def _fetch(copy: Path, new: Path, database: Path, progress: Progress) -> None:
    """Copy the copy, with the log that it may have, and make one plain file of both."""
    with told(new):
        for path in (new, *beside(new)):
            path.unlink(missing_ok=True)
        size = copy.stat().st_size
        for source, target in ((copy, new), *zip(beside(copy), beside(new), strict=True)):
            if source.name.endswith("-shm") or not source.exists():
                continue
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with source.open("rb") as reads, os.fdopen(descriptor, "wb") as writes:
                while piece := reads.read(BACKUP_PIECE_BYTES):
                    writes.write(piece)
                    progress("copying", writes.tell(), size)
        _own_like(new, database)
    _fold(new)


def _own_like(path: Path, database: Path) -> None:
    """For root: a file belongs to whoever the database, or its folder, belongs to."""
    owner = (database if database.exists() else database.parent).stat()
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _epochs_of(database: Path) -> Sequence[str]:
    """The epochs of a database that goes away, as far as it can be read."""
    try:
        with closing(driver().connect(str(database), _LOOK)) as db:
            return read_epochs(db.execute) if _knows_epochs(db) else ()
    except DatabaseError:
        return ()


def _begin_epoch(new: Path, before: Sequence[str], now_us: int) -> None:
    """End the epoch of a file that nobody has open. A copy of an earlier layout goes on with its
    own, until a device shows that something was lost."""
    with closing(driver().connect(str(new), _ALONE)) as db:
        if _knows_epochs(db):
            db.execute("BEGIN IMMEDIATE")
            begin_epoch(
                db.execute, before=before, new=secrets.token_hex(16), at=now_us,
                mark=lambda _number: "?",
            )  # fmt: skip
            db.execute("COMMIT")


def _knows_epochs(db: Connection) -> bool:
    return bool(
        db.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'holdfast_epoch'")
    )


def _fold(path: Path) -> None:
    """Take what lies in a log into the file, so that there is nothing beside it."""
    with closing(driver().connect(str(path), _ALONE)) as db:
        db.execute("PRAGMA journal_mode = DELETE")


def _read(path: Path) -> None:
    """Raises ``DatabaseError`` when a file is no database, and touches nothing: the log of such a
    file is deleted by who opens it to write."""
    with closing(driver().connect(str(path), _LOOK)) as db:
        db.execute("SELECT count(*) FROM sqlite_schema")


def _free_name(database: Path, now_us: int) -> Path:
    """A name to set the database aside under, at the next second that has none."""

    def named(stamp: str) -> Path:
        return database.with_name(f"{database.name}-aside-{stamp}")

    def taken(stamp: str) -> bool:
        return any(path.exists() for path in (named(stamp), *beside(named(stamp))))

    return named(free_stamp(now_us, taken))


def _put(database: Path, new: Path, now_us: int) -> Path | None:
    """Give the new file the database's name; the name of the old one."""
    _forget_second_names(database)
    aside = _free_name(database, now_us)
    if not database.exists():  # a log may be left, of what was moved before the restore was killed
        logs = [path.exists() for path in beside(database)]
        earlier = [p for p in database.parent.glob(f"{database.name}-aside-*Z") if p.is_file()]
        if any(logs) and earlier and not any(path.exists() for path in beside(max(earlier))):
            aside = max(earlier)
    else:
        with contextlib.suppress(DatabaseError):  # a damaged one goes aside as it is
            _read(database)
            _fold(database)
    with told(database), unused(database):
        linked = False
        if database.exists() and not any(path.exists() for path in beside(database)):
            with contextlib.suppress(OSError):
                os.link(database, aside)
                linked = True
                sync_folder(database.parent)
        failpoint("restore.before_put")
        if not linked:
            _move_aside(database, aside)
            failpoint("restore.moved")
        new.rename(database)
        sync_folder(database.parent)
    failpoint("restore.put")
    return aside if aside.exists() else None


def _move_aside(database: Path, aside: Path) -> None:
    """Rename what is there, the file first: nobody takes a log without one for something."""
    for path, name in ((database, aside), *zip(beside(database), beside(aside), strict=True)):
        if path.exists():
            path.rename(name)
    sync_folder(database.parent)


def _forget_second_names(database: Path) -> None:
    """Remove second names of the database, which a restore that was killed has left."""
    if database.exists():
        for path in database.parent.glob(f"{database.name}-aside-*"):
            if path.samefile(database):
                path.unlink()
