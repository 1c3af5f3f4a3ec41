"""Dumps of a server's schema in PostgreSQL: made of a live database, and looked at.

Knows: ``pg_dump`` and ``pg_restore``, the server's layout. Must not know: what a dump is for.
The dump is of a snapshot that this process holds: the rows are checked in it while they are dumped.
What the dump holds is read out of the dump.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from holdfast.core.errors import UsageError
from holdfast.core.limits import BACKUP_TELL_S
from holdfast.schema.model import Schema
from holdfast.server.backup.contents import BackupRecord, differing
from holdfast.server.backup.dump_script import ScriptRows, read_script, records
from holdfast.server.backup.place import PartFile, Progress, full
from holdfast.server.backup.postgres_programs import (
    PostgresPrograms,
    connection_of,
    failed_dump,
    find_programs,
    reading,
)
from holdfast.server.backup.sqlite_copy import another_history
from holdfast.server.store.contract import Snapshot
from holdfast.server.store.migration_scripts import missing
from holdfast.server.store.postgres.errors import translated
from holdfast.server.store.postgres.reads import PostgresConnection, PostgresReads
from holdfast.sql.names import quote
from holdfast.sql.postgres.statements import compile_program

_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot()"
_FILES = "holdfast_file*"
"""Files for first loads are made again."""
_KNOWS_BACKUPS = (
    "SELECT 1 FROM pg_attribute WHERE attname = 'backed_up' AND attrelid = "
    "to_regclass(quote_ident(current_schema()) || '.holdfast_replica')"
)
"""Databases of earlier layouts have no watermark."""
_RAISE = (
    "UPDATE holdfast_replica AS r SET backed_up = j.high "
    "FROM unnest($1::text[], $2::bigint[]) AS j(replica, high) "
    "WHERE r.replica = j.replica AND r.backed_up < j.high"
)
"""Never lower: an older copy may be marked after a newer one."""
_SETTINGS = (
    "SET client_encoding = 'UTF8'; SET bytea_output = 'hex'; SET extra_float_digits = 1; "
    "SET jit = off; SET standard_conforming_strings = on"
)


class HeldSnapshot(PostgresReads):
    """``store.Snapshot`` inside a transaction that goes on when it is closed."""

    def close(self) -> None:
        """Whoever has begun the transaction ends it."""


@contextlib.contextmanager
def connected(url: str) -> Iterator[PostgresConnection]:
    """A connection of our own. Raises ``DatabaseError``."""
    with translated():
        db = psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor)
        with closing(db):
            db.execute(_SETTINGS)
            yield db


def server_version(db: PostgresConnection) -> int:
    return db.info.server_version // 10_000


def check_ours(db: PostgresConnection) -> str:
    """The name of the schema that a server has made. Raises ``UsageError`` (``not_a_server``)."""
    ((namespace, ours),) = db.execute(
        "SELECT current_schema(), to_regclass(quote_ident(current_schema()) || "
        "'.holdfast_applied') IS NOT NULL"
    ).fetchall()
    if not ours:
        raise UsageError(
            f"no server has made the schema {namespace or 'that the search_path names'} of this "
            "database",
            code="not_a_server",
        )
    return str(namespace)


def dump_live(
    url: str, growing: PartFile, to: Path, folder: Path | None, progress: Progress
) -> BackupRecord:
    """Dump the server's schema into a file, and check it; what it holds."""
    with connected(url) as db:
        namespace = check_ours(db)
        programs = find_programs(folder, version=server_version(db))
        cursor = db.execute(_SNAPSHOT)
        cursor.nextset()
        ((snapshot,),) = cursor.fetchall()
        address, environment = connection_of(url)
        command = programs.command(
            "pg_dump", "--format=custom", "--no-password", f"--snapshot={snapshot}",
            f"--schema={quote(namespace)}", f"--exclude-table-data={quote(namespace)}.{_FILES}",
            f"--file={growing.path}", f"--dbname={address}",
        )  # fmt: skip
        with _running(command, environment, growing, to, progress):
            found = _differing(db)
    contents = look(growing.path, programs, namespace, progress)
    return replace(contents, differing=found)


@contextlib.contextmanager
def _running(
    command: list[str],
    environment: dict[str, str],
    growing: PartFile,
    to: Path,
    progress: Progress,
) -> Iterator[None]:
    """A dump that runs while the block does, and has ended well after it."""
    with tempfile.TemporaryFile() as said, subprocess.Popen(  # noqa: S603 - PostgreSQL's own program
        command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment,
        pass_fds=(growing.descriptor,),
    ) as process:  # fmt: skip
        try:
            yield
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(BACKUP_TELL_S)
                    break
                progress("dumping", growing.path.stat().st_size, 0)
        except BaseException:
            process.terminate()
            raise
        if process.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace")
            if "No space left" in words or "File too large" in words or "quota" in words:
                raise full(to)
            raise failed_dump(words)


def _differing(db: PostgresConnection) -> int | None:
    """The check of the rows, inside the transaction whose snapshot is dumped."""
    done = [n for (n,) in db.execute("SELECT number FROM holdfast_migration").fetchall()]
    if missing("postgres", done):
        return None
    ((stored, stale),) = db.execute("SELECT schema, stale FROM holdfast_state").fetchall()
    schema = Schema.from_json(stored)
    program = compile_program(schema)

    def noted(table: str, keys: Collection[str]) -> int:
        sql = "SELECT count(DISTINCT key) FROM holdfast_dirty WHERE tbl = $1 AND key = ANY ($2)"
        ((count,),) = db.execute(sql, (table, list(keys))).fetchall()
        return int(count)

    def read() -> Snapshot:
        return HeldSnapshot(db, program)

    return differing(schema, read, noted=noted, stale=json.loads(stale))


def look_at(url: str, copy: Path, folder: Path | None, progress: Progress) -> BackupRecord:
    """Read all of a dump of this database; what it holds."""
    with connected(url) as db:
        namespace = check_ours(db)
        programs = find_programs(folder, version=server_version(db))
    return look(copy, programs, namespace, progress)


def read_now(url: str) -> tuple[str, Mapping[str, int]]:
    """The epoch of a live database, and the last decided transaction of each replica."""
    with connected(url) as db, db.transaction():
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        check_ours(db)
        ((epoch,),) = db.execute("SELECT epoch FROM holdfast_state").fetchall()
        return epoch, dict(db.execute("SELECT replica, high FROM holdfast_replica").fetchall())


def look(
    copy: Path, programs: PostgresPrograms, namespace: str, progress: Progress
) -> BackupRecord:
    """Read all of a dump; what it holds of a schema. ``differing`` stays open: rows in a dump
    cannot be asked for. Raises ``UsageError`` (``no_backup``, ``not_a_backup``)."""
    if not copy.exists():
        raise UsageError(f"there is no file {copy}", code="no_backup")
    progress("reading", 0, 0)
    with reading(programs.command("pg_restore", "--file=-", str(copy)), copy):
        """All of it is read, and nothing kept."""
    states = list(_table(copy, programs, namespace, "holdfast_state"))
    replicas = list(_table(copy, programs, namespace, "holdfast_replica"))
    if not replicas:  # made before devices had several, or nobody was here yet
        older = _table(copy, programs, namespace, "holdfast_device")
        replicas = [{**row, "replica": row["device"]} for row in older]
    if len(states) != 1:
        raise UsageError(
            f"{copy} has no server's database in the schema {namespace}", code="not_a_backup"
        )
    highs = {str(row["replica"]): int(str(row["high"])) for row in replicas}
    sent = [row for row in replicas if int(str(row["high"]))]
    return BackupRecord(
        epoch=str(states[0]["epoch"]),
        highs=highs,
        devices=len({row["device"] for row in sent}),
        as_of=max((int(str(row["last_seen"])) for row in sent), default=0),
    )


def _table(
    copy: Path, programs: PostgresPrograms, namespace: str, table: str
) -> Iterator[dict[str, Any]]:
    command = programs.command(
        "pg_restore", "--data-only", "--file=-", f"--schema={namespace}", f"--table={table}",
        str(copy),
    )  # fmt: skip
    with reading(command, copy) as script:
        for part in read_script(script):
            if isinstance(part, ScriptRows):
                for row in records(part):
                    yield dict(row)


def mark(url: str, contents: BackupRecord) -> int:
    """Move the watermark of a live database to what a dump of it holds; how many replicas are told.

    Raises ``DatabaseError`` (``another_history``).
    """
    with connected(url) as db, db.transaction():
        check_ours(db)
        ((epoch,),) = db.execute("SELECT epoch FROM holdfast_state").fetchall()
        if epoch != contents.epoch:
            raise another_history("the database")
        if not db.execute(_KNOWS_BACKUPS).fetchall():
            return 0
        replicas = list(contents.highs)
        return db.execute(_RAISE, (replicas, [contents.highs[r] for r in replicas])).rowcount
