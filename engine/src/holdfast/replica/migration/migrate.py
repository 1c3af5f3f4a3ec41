"""A replica's file becomes one of a newer schema, whole or not at all.

Knows: the order of the steps. Must not know: SQL of tables (the program has the pieces), or who
opens the file. All is one write transaction, under the lock of who syncs: other connections see the
file before it or after it.

    seal the log           nothing is in it under the old triggers
    triggers, views        gone
    declared steps         tables made anew, with the work on them (``reshape``)
    tables, columns, log   added; checks that are looser take their place
    values                 fills in rows, shadows and notes; hashes and digests of what changed
    local objects          compared by their text
    triggers, views        of the new program; what the file is of now

Upholds I2 and I8: what was queued stays as it was made, and says under which generation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from holdfast.core.connection.history import HistoryKind
from holdfast.core.errors import DatabaseCorrupt, ReplicaError, SchemaError
from holdfast.core.limits import LOCK_PAUSE_S, RESPONSE_LINE_BYTES_MAX
from holdfast.replica.changes.seal import seal
from holdfast.replica.host import Host
from holdfast.replica.migration.local_objects import LocalSql
from holdfast.replica.migration.reshape import Reshaping
from holdfast.replica.migration.values import NewColumns, Told
from holdfast.replica.storage.database import (
    capture_digest,
    read_capture,
    read_state,
    transaction,
    unchecked,
    write_state,
)
from holdfast.replica.storage.lock import SyncLock
from holdfast.schema.lineage import Lineage, lineage
from holdfast.schema.model import Schema, Table
from holdfast.sql.bookkeeping.statements import EVENTS
from holdfast.sql.migration.program import TableMigration
from holdfast.sql.names import quote
from holdfast.sql.replica import PROGRAM_FORMAT, ReplicaProgram, compile_replica
from holdfast.sqlite import Connection, Driver, OpenOptions
from holdfast.sqlite.definitions import redefine
from holdfast.sqlite.failpoints import failpoint


def migrate(
    path: str,
    schema: Schema | None,
    *,
    driver: Driver,
    host: Host,
    options: OpenOptions,
    told: Told,
) -> None:
    """Make the file one of this schema (None: of its own) and of this version's format.

    ``told`` how many rows of how many are done; what it raises ends it, as any error does: then the
    file is as it was. Raises ``ReplicaError`` (``replica_newer``, ``replica_busy``,
    ``replica_format``), ``SchemaError`` or ``DatabaseError``.
    """
    lock = SyncLock(path)
    _acquire(lock, path, options.busy_timeout_ms)
    try:
        with closing(driver.connect(path, options)) as connection, transaction(connection):
            _Migration(connection, path, schema, host, told).run()
            failpoint("migrate.before_commit")
        failpoint("migrate.after_commit")
    finally:
        lock.release()


def migration_options(options: OpenOptions) -> OpenOptions:
    """Options of the connection that migrates, after those of the app's."""
    return OpenOptions(
        synchronous=options.synchronous,
        busy_timeout_ms=options.busy_timeout_ms,
        foreign_keys=False,
        secure_delete=options.secure_delete,
        value_bytes_max=RESPONSE_LINE_BYTES_MAX,
    )


def _acquire(lock: SyncLock, path: str, patience_ms: int) -> None:
    until = time.monotonic() + patience_ms / 1000
    while not lock.acquire():
        if time.monotonic() > until:
            pid, _ = lock.holder()
            who = "another part of this program" if pid == os.getpid() else f"process {pid}"
            raise ReplicaError(
                f"{path} has to become one of a newer version, and {who} syncs it: let that end "
                "its sync, and open the replica again; nothing was changed",
                code="replica_busy",
            )
        time.sleep(LOCK_PAUSE_S)


class _Migration:
    """One file on its way, within one write transaction."""

    def __init__(
        self,
        connection: Connection,
        path: str,
        schema: Schema | None,
        host: Host,
        told: Callable[[int, int], None],
    ) -> None:
        self._db = connection
        self._path = path
        self._wanted = schema
        self._host = host
        self._told = told

    def run(self) -> None:
        """Take all steps that there are; none, when somebody else has taken them meanwhile."""
        self._read_format()
        fingerprint, text = read_state(self._db, "fingerprint", "schema")
        if not isinstance(text, str):
            raise DatabaseCorrupt("the replica's schema is not readable")
        old = Schema.from_json(text)
        if old.fingerprint != fingerprint:
            raise SchemaError(
                f"the schema in {self._path} is not the one that it was made for; nothing was "
                "changed",
                code="schema_mismatch",
            )
        new = self._wanted
        if new is None or new.fingerprint == fingerprint:
            return
        check_steps(self._path, old, new)
        self._grow(old, new)

    def _read_format(self) -> None:
        """Make the file one of this version's format."""
        formats = compile_replica(self._wanted or _NONE).migration.formats
        while True:
            (format_,) = read_state(self._db, "format")
            if format_ == PROGRAM_FORMAT:
                return
            if str(format_) not in formats:
                raise ReplicaError(
                    f"{self._path} has format {format_!r}, this version reads up to "
                    f"{PROGRAM_FORMAT}: install the version that made it, or a later one; "
                    "nothing was changed",
                    code="replica_format",
                )
            for sql in formats[str(format_)]:
                self._db.execute(sql)
            failpoint("migrate.format")

    def _grow(self, old: Schema, new: Schema) -> None:
        db, before, program = self._db, compile_replica(old), compile_replica(new)
        made = read_capture(db, before)
        now_us, random_bytes = self._host.now_us(), self._host.random_bytes
        seal(db, old, before, now_us=now_us, random_bytes=random_bytes)
        failpoint("migrate.sealed")
        for name in made:
            db.execute(f"DROP TRIGGER {quote(name)}")
        for name in (*before.views, *program.views):
            db.execute(f"DROP VIEW IF EXISTS {quote(name)}")
        write_state(db, applying=1)
        local = LocalSql(db, old.local, new.local)
        local.drop()
        way = lineage(old, new)
        reshaping = Reshaping(db, way, before, program, now_us, random_bytes)
        added = reshaping.run() | self._add(way, program)
        failpoint("migrate.added")
        NewColumns(db, program, self._told).put(added)
        reshaping.replay()
        failpoint("migrate.filled")
        local.make(new)
        write_state(db, applying=0)
        for sql in (*program.triggers.values(), *program.views.values()):
            db.execute(sql)
        db.execute(
            program.migration.set_schema,
            (
                program.fingerprint, new.to_json().decode(), new.generation,
                capture_digest(program.triggers),
            ),
        )  # fmt: skip
        db.execute(EVENTS.add, (now_us, HistoryKind.MIGRATED, None, ""))

    # --- tables ---------------------------------------------------------------------------------

    def _add(self, way: Lineage, program: ReplicaProgram) -> dict[str, list[str]]:
        """Add tables and columns; the columns that are new in tables that were there. What the
        declared steps have made anew has them already."""
        db, migration = self._db, program.migration
        there = {str(name) for (name,) in db.execute("SELECT name FROM pragma_table_info('holdfast_log')")}  # fmt: skip # noqa: E501
        for name, sql in migration.log.items():
            if name not in there:
                db.execute(sql)
        added: dict[str, list[str]] = {}
        for table in way.new.all_tables:
            pieces = migration.tables[table.name]
            found = way.tables.get(table.name)
            if found is None:
                self._make(table, pieces)
                continue
            if found.reshaped:
                continue
            known = found.old
            if _checks(known, known) != _checks(table, known):
                self._loosen(table, pieces)
            fresh = [name for name in pieces.columns if name not in known.by_name]
            with unchecked(db):  # rows of a server that is newer still may pass none of our checks
                for name in fresh:
                    for sql in pieces.columns[name].add:
                        db.execute(sql)
                    db.execute(migration.put_added, (table.name, name, way.new.generation))
            if fresh:
                added[table.name] = fresh
        return added

    def _make(self, table: Table, pieces: TableMigration) -> None:
        if self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table.name,)):
            raise SchemaError(
                f"{self._path} has something of its own that is called {table.name}, as a new "
                "table of the schema is: call one of them otherwise; nothing was changed",
                code="name_taken",
            )
        for sql in pieces.create:
            self._db.execute(sql)

    def _loosen(self, table: Table, pieces: TableMigration) -> None:
        """Write down other checks for a table."""

        def text(columns: Sequence[str]) -> str:
            lines = [pieces.definitions[name] for name in columns]
            lines += pieces.keys
            lines += [check.sql for check in pieces.checks if check.column in columns]
            body = ",\n  ".join(lines)
            return f"CREATE TABLE {quote(table.name)} (\n  {body}\n) STRICT"

        redefine(self._db, self._path, table.name, known=pieces.definitions, text=text)
        failpoint("migrate.loosened")


def _checks(table: Table, known: Table) -> set[object]:
    """Return the checks of a table on the columns that another generation of it has."""
    return {check for check in table.checks if check.column in known.by_name}


def check_steps(path: str, old: Schema, new: Schema) -> None:
    """Raise unless a file of the old schema can become one of the new."""
    is_of = f"{path} is of schema {old.name}, generation {old.generation}"
    if old.name != new.name:
        raise SchemaError(
            f"{is_of}; this is schema {new.name}. Open the file with the app that made it; "
            "nothing was changed",
            code="schema_mismatch",
        )
    if new.generation < old.generation:
        raise ReplicaError(
            f"{is_of}, and this program has generation {new.generation}, an older one: install "
            "the newer version of the app; nothing was changed",
            code="replica_newer",
        )
    found = lineage(old, new)
    if new.generation == old.generation:
        words = found.difference.words() or "only what stands in which order"
        raise SchemaError(
            f"{is_of}, and this is another schema of the same generation: {words}. Give it "
            f"generation {old.generation + 1} or higher; nothing was changed",
            code="generation_reused",
        )
    if found.hindrances:
        words = "; ".join(step.text for step in found.hindrances)
        raise SchemaError(
            f"{is_of}, and these steps to generation {new.generation} cannot be made: {words}. "
            "New tables can be added, new columns that are nullable or have a default, and looser "
            "checks; other steps are declared in the schema's migrations; nothing was changed",
            code="schema_mismatch",
        )


_NONE = Schema.from_json(
    '{"name": "none", "tables": [{"name": "none", "key": ["id"], "columns": [{"name": "id"}], '
    '"scopes": ["none"]}]}'
)
"""The format's steps are the same for every schema."""
