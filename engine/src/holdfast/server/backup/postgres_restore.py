"""Restore of a server's schema in PostgreSQL from a dump; what stood there is renamed.

Knows: the script that a dump is, and the locks that servers hold. Must not know: what a restore
means to devices. Everything is one transaction: whatever ends it, the schema is what it was, or
what the dump has.

Upholds I33.
"""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from holdfast.core.errors import UsageError
from holdfast.core.limits import BACKUP_PIECE_BYTES
from holdfast.server.backup.contents import BackupRecord
from holdfast.server.backup.dump_script import ScriptStatements, read_script
from holdfast.server.backup.history import begin_epoch, read_epochs
from holdfast.server.backup.place import Progress, still_served
from holdfast.server.backup.postgres_dump import connected, look, server_version
from holdfast.server.backup.postgres_programs import PostgresPrograms, find_programs, reading
from holdfast.server.store.epochs import Run
from holdfast.server.store.postgres.events import SERVED
from holdfast.server.store.postgres.reads import PostgresConnection
from holdfast.sql.names import quote
from holdfast.sqlite.failpoints import failpoint
from holdfast.sqlite.moments import free_stamp

_OCCUPIED: Final = (
    "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid) "
    "OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = n.oid) "
    "OR EXISTS (SELECT FROM pg_type WHERE typnamespace = n.oid) "
    "FROM pg_namespace AS n WHERE nspname = $1"
)
_MISSING_ROLE: Final = "42704"
_NAME_LENGTH: Final = 30
"""Of a schema's name, in one that is set aside: PostgreSQL cuts off names of more than 63 bytes."""


def restore_schema(
    url: str,
    copy: Path,
    *,
    folder: Path | None,
    privileges: bool,
    now_us: int,
    progress: Progress,
) -> tuple[BackupRecord, str | None]:
    """Put what a dump has in the place of the schema that an address names; what the dump holds,
    and the name that the old schema has now.

    Raises ``UsageError`` and ``DatabaseError`` (``served_elsewhere``); then nothing has changed.
    """
    with connected(url) as db:
        programs = find_programs(folder, version=server_version(db))
        namespace = _namespace(db)
        record = look(copy, programs, namespace, progress)
        db.execute("BEGIN")  # what is not committed is undone when the connection closes
        _alone(db, namespace)
        before = _epochs(db, namespace)
        aside = _make_room(db, namespace, now_us)
        db.execute("SET LOCAL lock_timeout = 0")
        _load(db, copy, programs, namespace, privileges=privileges, progress=progress)
        failpoint("restore.copied")
        db.execute(f"SET search_path = {quote(namespace)}; SET row_security = on")
        db.execute("DELETE FROM holdfast_file_build; DELETE FROM holdfast_file")
        _begin_epoch(db, namespace, before, now_us)
        failpoint("restore.before_put")
        db.execute("COMMIT")
        failpoint("restore.put")
    return record, aside


def _namespace(db: PostgresConnection) -> str:
    """The schema that the address names, whether it is there or not."""
    ((current, named),) = db.execute(
        "SELECT current_schema(), current_setting('search_path')"
    ).fetchall()
    if current is not None:
        return str(current)
    first = str(named).partition(",")[0].strip()
    plain = first[1:-1].replace('""', '"') if first.startswith('"') else first
    if not plain or plain == "$user":
        raise UsageError(
            "the search_path names no schema: name one in the address", code="bad_choice"
        )
    return plain


def _alone(db: PostgresConnection, namespace: str) -> None:
    """Keep servers away until the end. Raises ``DatabaseError`` (``served_elsewhere``)."""
    ((free,),) = db.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", (f"{SERVED} {namespace}",)
    ).fetchall()
    if not free:
        raise still_served()
    # What a server takes that looks for its tables when it starts.
    db.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (f"holdfast {namespace}",))


def _make_room(db: PostgresConnection, namespace: str, now_us: int) -> str | None:
    """Rename a schema that has something in it, and make an empty one; the new name of the old."""
    found = db.execute(_OCCUPIED, (namespace,)).fetchall()
    if found and not found[0][0]:
        return None
    aside = None
    if found:
        aside = _free_name(db, namespace, now_us)
        db.execute(f"ALTER SCHEMA {quote(namespace)} RENAME TO {quote(aside)}")
    db.execute(f"CREATE SCHEMA {quote(namespace)}")
    return aside


def _knows_epochs(db: PostgresConnection, namespace: str) -> bool:
    ((found,),) = db.execute(
        "SELECT to_regclass(quote_ident($1) || '.holdfast_epoch') IS NOT NULL", (namespace,)
    ).fetchall()
    return bool(found)


def _epochs(db: PostgresConnection, namespace: str) -> Sequence[str]:
    """The epochs of a schema that goes away, if a server has made it."""
    return read_epochs(_runner(db)) if _knows_epochs(db, namespace) else ()


def _begin_epoch(
    db: PostgresConnection, namespace: str, before: Sequence[str], now_us: int
) -> None:
    """End the epoch of what was loaded. A dump of an earlier layout goes on with its own, until a
    device shows that something was lost."""
    if _knows_epochs(db, namespace):
        begin_epoch(
            _runner(db), before=before, new=secrets.token_hex(16), at=now_us,
            mark=lambda number: f"${number}",
        )  # fmt: skip


def _runner(db: PostgresConnection) -> Run:
    def run(sql: str, params: Sequence[Any]) -> Sequence[Sequence[Any]]:
        cursor = db.execute(sql.encode(), params or None)
        return cursor.fetchall() if cursor.description else []

    return run


def _free_name(db: PostgresConnection, namespace: str, now_us: int) -> str:
    """A name to set the schema aside under, at the next second that has none."""
    taken = {name for (name,) in db.execute("SELECT nspname FROM pg_namespace").fetchall()}

    def named(stamp: str) -> str:
        return f"{namespace[:_NAME_LENGTH]}_aside_{stamp.lower()}"

    return named(free_stamp(now_us, lambda stamp: named(stamp) in taken))


def _load(
    db: PostgresConnection,
    copy: Path,
    programs: PostgresPrograms,
    namespace: str,
    *,
    privileges: bool,
    progress: Progress,
) -> None:
    """Run the script of a dump, but for the schema itself."""
    more = () if privileges else ("--no-privileges",)
    with tempfile.NamedTemporaryFile(prefix="holdfast-restore-") as listed:
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
            programs.command("pg_restore", "--list", f"--schema={namespace}", str(copy)),
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        for line in done.stdout.splitlines(keepends=True):
            if b" SCHEMA - " not in line.partition(b";")[2]:
                listed.write(line)
        listed.flush()
        command = programs.command(
            "pg_restore", "--no-owner", *more, f"--use-list={listed.name}", "--file=-", str(copy)
        )
        loaded = 0
        with reading(command, copy) as script:
            for part in read_script(script):
                if isinstance(part, ScriptStatements):
                    _run(db, part.sql)
                    continue
                pending = bytearray()
                with db.cursor().copy(part.sql.encode()) as rows:
                    for line in part.lines:
                        pending += line
                        if len(pending) >= BACKUP_PIECE_BYTES:
                            rows.write(bytes(pending))
                            loaded += len(pending)
                            pending.clear()
                            progress("loading", loaded, 0)
                    rows.write(bytes(pending))
                    loaded += len(pending)
                progress("loading", loaded, 0)


def _run(db: PostgresConnection, sql: str) -> None:
    import psycopg

    try:
        db.execute(sql.encode())
    except psycopg.Error as error:
        if error.sqlstate == _MISSING_ROLE and "role" in str(error):
            raise UsageError(
                f"{str(error).strip()}: make that role first, or restore with --no-privileges and "
                "grant what is needed afterwards",
                code="no_role",
            ) from error
        raise
