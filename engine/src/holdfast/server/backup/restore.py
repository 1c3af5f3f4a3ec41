"""Restore: a server's database put back from a backup, and what follows from it.

Knows: the order in which things happen. Must not know: how a copy is put back.
The copy is checked before anything is touched, and what stood there is set aside, never deleted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from holdfast.server.backup import sqlite_restore
from holdfast.server.backup.backup import postgres_module
from holdfast.server.backup.contents import BackupRecord
from holdfast.server.backup.place import Progress
from holdfast.server.open_store import is_postgres


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """A restore that was done. ``aside``: what the old database is called now; None: there was
    none."""

    record: BackupRecord
    aside: str | None


def restore(
    database: str,
    copy: Path,
    *,
    programs: Path | None = None,
    privileges: bool = True,
    progress: Progress,
) -> Restore:
    """Put a backup in the place of a database that nobody serves.

    ``privileges``: grant what was granted in the dump of PostgreSQL. Killed at any point, the old
    database or the new one is there, and a second run ends it. Raises ``UsageError`` and
    ``DatabaseError``; then the database is what it was.
    """
    now_us = time.time_ns() // 1000
    if is_postgres(database):
        record, renamed = postgres_module("postgres_restore").restore_schema(
            database, copy, folder=programs, privileges=privileges, now_us=now_us, progress=progress
        )
        return Restore(record=record, aside=renamed)
    record, aside = sqlite_restore.restore_file(
        Path(database), copy, now_us=now_us, progress=progress
    )
    return Restore(record=record, aside=None if aside is None else str(aside))
