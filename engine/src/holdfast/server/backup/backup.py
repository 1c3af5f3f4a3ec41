"""Backup: a verified copy of a server's database, and the watermark that follows from it.

Knows: the order in which things happen. Must not know: how a database is copied.
The copy has its name before the watermark moves, and the watermark is what is read out of the copy:
whatever ends it in between, devices keep too much rather than too little (I5).
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec

from holdfast.core.errors import UsageError
from holdfast.server.backup import sqlite_copy
from holdfast.server.backup.contents import BackupRecord
from holdfast.server.backup.place import Progress, named, outdated, reserved, told
from holdfast.server.backup.sqlite_use import unused
from holdfast.server.open_store import is_postgres
from holdfast.sqlite.failpoints import failpoint

_NOTE = "holdfast backup note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that was made, or marked. ``marked``: how many replicas are told what they need not
    keep any more; None: nothing was marked, because rows differ. ``removed``: older backups."""

    file: Path
    size: int
    contents: BackupRecord
    marked: int | None
    removed: tuple[Path, ...] = ()


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """Transactions that a database held at a moment, for a backup that is begun after it."""

    what: str
    epoch: str
    highs: dict[str, int]


def back_up(
    database: str,
    to: Path,
    *,
    keep: int | None = None,
    programs: Path | None = None,
    progress: Progress,
) -> Backup:
    """Copy a server's database, also while servers run on it; check the copy; move the watermark.

    ``to``: a name that is free, or a folder, in which the backup gets a name of its own and the
    newest ``keep`` ones stay. ``programs``: where PostgreSQL's are.
    Raises ``UsageError`` and ``DatabaseError``; then there is nothing at ``to``.
    """
    if keep is not None and not to.is_dir():
        raise UsageError(f"{to} is no folder, and --keep is for folders", code="bad_choice")
    _check_there(database)
    file = named(to, database, time.time_ns() // 1000)
    with reserved(file) as growing:
        failpoint("backup.begun")
        if is_postgres(database):
            contents = _postgres().dump_live(database, growing, file, programs, progress)
        else:
            sqlite_copy.copy_live(Path(database), growing.path, file, progress)
            contents = sqlite_copy.look(growing.path, progress)
        failpoint("backup.copied")
    failpoint("backup.before_mark")
    marked = None if contents.differing else _mark(database, contents)
    removed = tuple(outdated(to, database, keep)) if keep is not None and marked is not None else ()
    for old in removed:
        with told(old):
            old.unlink()
    return Backup(
        file=file, size=file.stat().st_size, contents=contents, marked=marked, removed=removed
    )


def mark(database: str, copy: Path, *, programs: Path | None = None, progress: Progress) -> Backup:
    """Move the watermark to what a copy holds that the operator has made: a file of SQLite, a dump
    of PostgreSQL, or a note from before a base backup or a volume's snapshot."""
    _check_there(database)
    if not is_postgres(database) and copy.exists() and copy.samefile(database):
        raise UsageError("a database is no backup of itself", code="bad_choice")
    note = _read_note(copy)
    if note is not None:
        contents = BackupRecord(
            epoch=note.epoch, highs=note.highs, devices=len(note.highs), as_of=0
        )
    elif is_postgres(database):
        contents = _postgres().look_at(database, copy, programs, progress)
    else:
        with unused(copy):
            """A file that somebody writes is no backup."""
        contents = sqlite_copy.look(copy, progress)
    marked = None if contents.differing else _mark(database, contents)
    return Backup(file=copy, size=copy.stat().st_size, contents=contents, marked=marked)


def write_note(database: str, to: Path) -> Mapping[str, int]:
    """Write down what a database holds now, to mark a backup with that is begun after it."""
    _check_there(database)
    epoch: str
    highs: Mapping[str, int]
    if is_postgres(database):
        epoch, highs = _postgres().read_now(database)
    else:
        epoch, highs = sqlite_copy.read_now(Path(database))
    with reserved(to) as growing, told(to):
        growing.path.write_bytes(
            msgspec.json.encode(_Note(what=_NOTE, epoch=epoch, highs=dict(highs)))
        )
    return highs


def _read_note(path: Path) -> _Note | None:
    try:
        with path.open("rb") as file:
            if file.read(1) != b"{":
                return None
            note = msgspec.json.decode(b"{" + file.read(), type=_Note)
    except (OSError, msgspec.DecodeError):
        return None
    return note if note.what == _NOTE else None


def _mark(database: str, contents: BackupRecord) -> int:
    if is_postgres(database):
        return int(_postgres().mark(database, contents))
    return sqlite_copy.mark(Path(database), contents)


def _check_there(database: str) -> None:
    if not is_postgres(database) and not Path(database).is_file():
        raise UsageError(f"there is no database at {database}", code="no_database")


def _postgres() -> ModuleType:
    return postgres_module("postgres_dump")


def postgres_module(name: str) -> ModuleType:
    """A module of this package that needs PostgreSQL. Raises ``UsageError`` (``no_driver``)."""
    if importlib.util.find_spec("psycopg") is None:
        raise UsageError("PostgreSQL needs the extra holdfast-sync[postgres]", code="no_driver")
    return importlib.import_module(f"holdfast.server.backup.{name}")
