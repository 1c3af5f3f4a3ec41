"""Copies of an embedded database: made of a live one, and looked at.

Knows: SQLite files, the server's layout in them. Must not know: what a copy is for.
A copy is made by SQLite itself in one read transaction, so it is of one moment whoever writes
meanwhile, and it is one plain file without a log. It is looked at without a trace beside it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from holdfast.core.errors import DatabaseCorrupt, DatabaseError, DatabaseFull, UsageError
from holdfast.core.limits import BACKUP_TELL_S
from holdfast.schema.model import Schema
from holdfast.server.backup.contents import BackupRecord, differing
from holdfast.server.backup.place import Progress, full
from holdfast.server.store.contract import Snapshot
from holdfast.server.store.migration_scripts import missing
from holdfast.server.store.sqlite.reads import SqliteSnapshot, compile_program, json_text
from holdfast.sqlite import Connection, OpenOptions, driver

_OLDER_REPLICAS = "holdfast_device"
_LOOK: Final = OpenOptions(read_only=True, create=False, foreign_keys=False)
_RAISE: Final = (
    "UPDATE holdfast_replica SET backed_up = j.high FROM "
    "(SELECT value ->> 0 AS replica, value ->> 1 AS high FROM json_each(?)) AS j "
    "WHERE holdfast_replica.replica = j.replica AND backed_up < j.high"
)
"""Never lower: an older copy may be marked after a newer one."""
_BEGIN: Final = b"SQLite format 3\x00"


def copy_live(source: Path, growing: Path, to: Path, progress: Progress) -> None:
    """Copy a database, which others may be writing, into an empty file; interrupted by whatever
    ``progress`` raises. ``to``: what the copy is going to be called.

    Raises ``DatabaseError``.
    """
    with closing(driver().connect(str(source), _LOOK)) as db:
        check_ours(db, source, code="not_a_server")
        ((pages, size),) = db.execute("SELECT * FROM pragma_page_count, pragma_page_size")
        whole = int(str(pages)) * int(str(size))
        failed: list[DatabaseError] = []

        def work() -> None:
            try:
                db.execute("VACUUM INTO ?", (str(growing),))
            except DatabaseError as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="holdfast-backup", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(BACKUP_TELL_S)
                progress("copying", min(growing.stat().st_size, whole), whole)
        finally:
            if thread.is_alive():
                db.interrupt()
                thread.join()
    for error in failed:
        if isinstance(error, DatabaseFull):
            raise full(to) from error
        raise error


def look(copy: Path, progress: Progress) -> BackupRecord:
    """Check every page and every hash of a copy that nobody has open; what it holds.

    Raises ``UsageError`` (``not_a_backup``) and ``DatabaseCorrupt``.
    """
    check_begins(copy)
    progress("checking pages", 0, 0)
    with closing(driver().connect(str(copy), _LOOK)) as db:
        check_ours(db, copy)
        ((sound,),) = db.execute("PRAGMA integrity_check(1)")
        if sound != "ok":
            raise DatabaseCorrupt(f"{copy} is damaged: {sound!s}")
        ((epoch, stored, stale),) = db.execute("SELECT epoch, schema, stale FROM holdfast_state")
        highs = read_highs(db)
        ((devices, as_of),) = db.execute(
            "SELECT count(DISTINCT device), coalesce(max(last_seen), 0) "
            f"FROM {_replicas(db)} WHERE high > 0"
        )
        progress("checking rows", 0, 0)
        return BackupRecord(
            epoch=str(epoch),
            highs=highs,
            devices=int(str(devices)),
            as_of=int(str(as_of)),
            differing=_differing(db, Schema.from_json(str(stored)), str(stale)),
        )


def _differing(db: Connection, schema: Schema, stale: str) -> int | None:
    done = [int(str(n)) for (n,) in db.execute("SELECT number FROM holdfast_migration")]
    if missing("sqlite", done):
        return None
    program = compile_program(schema)

    def read() -> Snapshot:
        return SqliteSnapshot(db, program, lambda _db: None)

    def noted(table: str, keys: Collection[str]) -> int:
        sql = (
            "SELECT count(DISTINCT key) FROM holdfast_noted WHERE tbl = ? "
            "AND key IN (SELECT value FROM json_each(?))"
        )
        ((count,),) = db.execute(sql, (table, json_text(list(keys))))
        return int(str(count))

    tables = {str(t) for (t,) in db.execute("SELECT value FROM json_each(?)", (stale,))}
    return differing(schema, read, noted=noted, stale=tables)


def read_now(database: Path) -> tuple[str, Mapping[str, int]]:
    """The epoch of a live database, and the last decided transaction of each replica."""
    with closing(driver().connect(str(database), _LOOK)) as db:
        check_ours(db, database, code="not_a_server")
        db.execute("BEGIN")
        ((epoch,),) = db.execute("SELECT epoch FROM holdfast_state")
        return str(epoch), read_highs(db)


def read_highs(db: Connection) -> Mapping[str, int]:
    """The last decided transaction of each replica."""
    table = _replicas(db)
    name = "device" if table == _OLDER_REPLICAS else "replica"
    found = db.execute(f"SELECT {name}, high FROM {table}")
    return {str(replica): int(str(high)) for replica, high in found}


def _replicas(db: Connection) -> str:
    """The table of replicas: in a copy made before devices had several, that of devices."""
    older = db.execute(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (_OLDER_REPLICAS,)
    )
    return _OLDER_REPLICAS if older else "holdfast_replica"


def check_begins(copy: Path) -> None:
    """Raises ``UsageError`` (``no_backup``, ``not_a_backup``)."""
    try:
        with copy.open("rb") as file:
            begins = file.read(len(_BEGIN))
    except FileNotFoundError:
        raise UsageError(f"there is no file {copy}", code="no_backup") from None
    except OSError as error:
        raise UsageError(f"{copy} cannot be read: {error.strerror}", code="no_backup") from None
    if begins != _BEGIN:
        raise UsageError(f"{copy} is not a copy of a SQLite database", code="not_a_backup")


def check_ours(db: Connection, path: Path, *, code: str = "not_a_backup") -> None:
    """Raises ``UsageError`` for what no server has made."""
    found = {
        str(name)
        for (name,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' "
            "AND name IN ('holdfast_state', 'holdfast_applied', 'holdfast_migration')"
        )
    }
    if len(found) < 3:
        raise UsageError(f"{path} is not the database of a server, nor a copy of one", code=code)


def mark(database: Path, contents: BackupRecord) -> int:
    """Move the watermark of a live database to what a copy of it holds; how many replicas are told.

    Raises ``DatabaseError`` (``another_history``) when it is not a copy of this history.
    """
    options = OpenOptions(create=False, look_only=True, foreign_keys=False)
    with closing(driver().connect(str(database), options)) as db:
        check_ours(db, database, code="not_a_server")
        db.execute("BEGIN IMMEDIATE")  # what is not committed is undone at the close
        ((epoch,),) = db.execute("SELECT epoch FROM holdfast_state")
        if epoch != contents.epoch:
            raise another_history(str(database))
        raised = 0
        if _knows_backups(db):
            db.execute(_RAISE, (json_text(list(contents.highs.items())),))
            raised = db.changes()
        db.execute("COMMIT")
    return raised


def _knows_backups(db: Connection) -> bool:
    """Return whether the database has a watermark: those of earlier layouts have none."""
    return bool(
        db.execute("SELECT 1 FROM pragma_table_info('holdfast_replica') WHERE name = 'backed_up'")
    )


def another_history(database: str) -> DatabaseError:
    """The error about a copy that is not of the history which a database goes on with."""
    return DatabaseError(
        f"the copy is not of what {database} is now: it is of another server, or from before a "
        "restore. Nothing was marked; devices keep what it has, until there is a new backup",
        code="another_history",
    )
