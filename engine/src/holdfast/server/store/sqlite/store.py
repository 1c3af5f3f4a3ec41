"""The embedded SQLite store: opening, growing, one writer, a pool of readers.

Knows: files, connections and the server's SQLite layout. Must not know: merging, rights, messages.
The writer commits with ``synchronous = FULL``; readers each hold a snapshot of the WAL. The flag
``holdfast_state.applying`` keeps the capture triggers quiet; it is set and cleared inside the write
transaction, so nobody else ever sees it.

Foreign keys are not enforced for the writer: the batch has decided them, exactly and for one
transaction at a time. SQLite would count a row whose parent was taken away by a direct write as a
new violation whenever it is written, and so fail the commit of everybody's work.

Upholds I3; I22 (unique keys and checks are the database's own); of I35 that only one process of a
file writes at a time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from holdfast.core.errors import DatabaseError, SchemaMoved
from holdfast.core.limits import (
    READERS_IDLE_MAX,
    READY_WAIT_MS,
)
from holdfast.core.values import Value
from holdfast.schema.lineage import TableLineage
from holdfast.schema.model import Schema, Table
from holdfast.schema.projection import Projection
from holdfast.server.process.fair_lock import FairLock
from holdfast.server.process.observe import Observer
from holdfast.server.store.contract import Expected, OnCommit, T, Writer
from holdfast.server.store.epochs import READ_EPOCHS, Epochs, end_epoch
from holdfast.server.store.growth import changed_checks, generations_before, growth
from holdfast.server.store.migration_scripts import missing
from holdfast.server.store.sqlite.files import DirectoryFiles
from holdfast.server.store.sqlite.grow import fill, fill_notes, set_checks
from holdfast.server.store.sqlite.owner import ServingLock
from holdfast.server.store.sqlite.reads import SqliteSnapshot, compile_program
from holdfast.server.store.sqlite.reshape import reshape
from holdfast.server.store.sqlite.writer import SqliteWriter
from holdfast.server.store.taken_names import not_a_server, tables_exist
from holdfast.sql.capture import FoldedNotes, triggers
from holdfast.sql.names import change_table, quote
from holdfast.sql.server import create_user_table, note_untold
from holdfast.sql.tables import added_column_sql
from holdfast.sqlite import Connection, Driver, OpenOptions, driver
from holdfast.sqlite.failpoints import failpoint


@dataclass(frozen=True, slots=True)
class _Identity:
    """Identity that a database was given when it was made."""

    epochs: Epochs
    seal_secret: bytes


class SqliteStore:
    """``store.Store`` on one SQLite file."""

    _identity: _Identity
    _below_floor: tuple[Schema, ...] = ()

    def __init__(self, path: str, schema: Schema, *, sqlite: Driver) -> None:
        """Use ``open``."""
        self._path = path
        self._driver = sqlite
        self._lock = FairLock()
        self._idle: list[Connection] = []
        self._idle_lock = threading.Lock()
        self._closed = False
        self._serving: ServingLock | None = None
        self._files = DirectoryFiles(Path(f"{path}-files"))
        self._program = compile_program(schema)
        self._fingerprint = schema.fingerprint
        self._data_version = -1  # what was written before we were here is to be looked at, too
        self._db = sqlite.connect(path, OpenOptions(synchronous="FULL", foreign_keys=False))

    @classmethod
    def open(
        cls,
        path: str,
        schema: Schema,
        *,
        random_bytes: Callable[[int], bytes],
        sqlite: Driver | None = None,
    ) -> SqliteStore:
        """Open or make the database.

        Raises ``SchemaError`` (``schema_mismatch``) when it was made for a schema that ``schema``
        does not merely add to, ``tables_exist`` when somebody else has made tables of these names,
        ``not_a_server`` for a replica's file, and ``DatabaseError``.
        """
        store = cls(path, schema, sqlite=sqlite or driver())
        try:
            store._identity = store._prepare(schema, random_bytes)
        except BaseException:
            store._db.close()
            raise
        return store

    @property
    def epoch(self) -> str:
        return self._identity.epochs.current

    @property
    def epochs(self) -> Epochs:
        return self._identity.epochs

    def end_epoch(self, epoch: str, *, new: str, at: int, lost: str = "") -> None:
        with self._write("") as writer:
            end_epoch(writer.run, epoch, new=new, at=at, lost=lost, mark=lambda _: "?")
        with self._lock:
            self._identity = replace(self._identity, epochs=_read_epochs(self._db))

    @property
    def seal_secret(self) -> bytes:
        return self._identity.seal_secret

    @property
    def older(self) -> tuple[Projection, ...]:
        return self._program.older

    @property
    def has_grown(self) -> bool:
        return self._has_grown

    def renew_older(self) -> tuple[Projection, ...]:
        with self._lock:
            rows = self._db.execute("SELECT generation FROM holdfast_generation WHERE kept")
            kept = {number for (number,) in rows}
            older = tuple(one for one in self.older if one.generation in kept)
            self._program = replace(self._program, older=older)
        return older

    @property
    def below_floor(self) -> tuple[Schema, ...]:
        return self._below_floor

    @property
    def unwatched(self) -> bool:
        return self._unwatched

    @property
    def stale_tables(self) -> tuple[str, ...]:
        with self._lock:
            ((stale,),) = self._db.execute("SELECT stale FROM holdfast_state")
        return tuple(json.loads(cast("str", stale)))

    @property
    def files(self) -> DirectoryFiles:
        return self._files

    def clear_stale(self, writer: Writer) -> None:
        assert isinstance(writer, SqliteWriter)
        self._db.execute("UPDATE holdfast_state SET stale = '[]'")

    # Opening

    def _prepare(self, schema: Schema, random_bytes: Callable[[int], bytes]) -> _Identity:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            exists = _exists(db, "holdfast_state")
            self._check_ours(exists=exists)
            if not exists:
                self._check_free(schema.all_tables, first=True)
            _migrate(db)
            if not exists:
                self._create(schema, random_bytes)
            fingerprint, stored, secret = db.execute(
                "SELECT fingerprint, schema, seal_secret FROM holdfast_state"
            )[0]
            assert isinstance(secret, bytes)
            if fingerprint != schema.fingerprint:
                self._keep(Schema.from_json(cast("str", stored)))
                self._grow(Schema.from_json(cast("str", stored)), schema)
            self._keep(schema)
            older, self._below_floor = generations_before(self._kept(schema), schema)
            self._program = replace(self._program, older=older)
            ((generations,),) = db.execute("SELECT count(*) FROM holdfast_generation")
            self._has_grown = generations != 1
            changed = self._set_triggers(schema)
            for table in schema.all_tables:
                db.execute(note_untold(table))
            self._unwatched = exists and fingerprint == schema.fingerprint and changed
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return _Identity(_read_epochs(db), secret)

    def _check_ours(self, *, exists: bool) -> None:
        """Raises ``SchemaError`` (``not_a_server``) for the file of a replica."""
        if exists and not self._db.execute(
            "SELECT 1 FROM pragma_table_info('holdfast_state') WHERE name = 'seal_secret'"
        ):
            raise not_a_server(self._path)

    def _check_free(self, tables: Iterable[Table], *, first: bool) -> None:
        """Raises ``SchemaError`` (``tables_exist``) when something has the name of a table that is
        to be made; with ``first`` of a table of the engine's own as well."""
        wanted = {table.name for table in tables}
        taken = [
            (str(kind), str(name))
            for kind, name in self._db.execute("SELECT type, name FROM sqlite_schema ORDER BY name")
            if str(name).lower() in wanted or str(name).lower().startswith("holdfast_")
        ]
        if not first:
            taken = [(kind, name) for kind, name in taken if name.lower() in wanted]
        if taken:
            raise tables_exist(self._path, taken)

    def serve(self) -> None:
        if self._serving is None:
            self._serving = ServingLock(self._path)

    def _create(self, schema: Schema, random_bytes: Callable[[int], bytes]) -> None:
        for table in schema.all_tables:
            for sql in create_user_table(table):
                self._db.execute(sql)
        self._db.execute(
            "INSERT INTO holdfast_state (id, epoch, seal_secret, fingerprint, schema) "
            "VALUES (1, ?, ?, ?, ?)",
            (random_bytes(16).hex(), random_bytes(32), schema.fingerprint,
             schema.to_json().decode()),
        )  # fmt: skip

    def _grow(self, old: Schema, new: Schema) -> None:
        """Take the steps from one schema to another, declared ones first. Raises ``SchemaError``
        for those that are neither additive nor declared, and where a row does not fit."""
        way = growth(self._path, old, new)
        self._db.execute("UPDATE holdfast_state SET applying = 1")
        reserved = {table.name for table in way.gone} | {one.old.name for one in way.reshaped}
        made = [t for t in new.tables if t.name not in way.tables]
        moved = [one.new for one in way.reshaped if one.new.name != one.old.name]
        self._check_free([t for t in (*made, *moved) if t.name not in reserved], first=False)
        self._note_growth(old, new)
        ((stale,),) = self._db.execute("SELECT stale FROM holdfast_state")
        changed = set(way.names_now(json.loads(cast("str", stale))))
        changed.update(reshape(self._db, self._path, way))
        for table in new.tables:
            known = way.tables.get(table.name)
            if known is None:
                for sql in create_user_table(table):
                    self._db.execute(sql)
                continue
            if not known.reshaped:
                self._add_columns(known)
            fill(self._db, table, known.added)
            fill_notes(self._db, table, known.added)
            if known.added:
                changed.add(table.name)
        self._db.execute(
            "UPDATE holdfast_state SET applying = 0, fingerprint = ?, schema = ?, stale = ?",
            (new.fingerprint, new.to_json().decode(), json.dumps(sorted(changed))),
        )

    def _add_columns(self, table: TableLineage) -> None:
        """Give a table its looser checks and new columns."""
        new = table.new
        if any(changed_checks(table.old, new)):
            set_checks(self._db, self._path, new)
        for column in table.added:
            definition = added_column_sql(new, column)
            self._db.execute(f"ALTER TABLE {quote(new.name)} ADD COLUMN {definition}")
            for prefix in ("o_", "n_"):
                name = quote(prefix + column.name)
                self._db.execute(f"ALTER TABLE {change_table(new)} ADD COLUMN {name} ANY")

    def _note_growth(self, old: Schema, new: Schema) -> None:
        """Keep what the older generation sees at the heads of scopes."""
        self._db.execute(
            "UPDATE holdfast_scope SET older = json_set(older, ?, json_array(count, digest))",
            (place := f'$."{old.generation}"',),
        )
        self._db.execute(
            "UPDATE holdfast_commit SET older = json_set(older, ?, json_array(count, digest)), "
            "generation = ? WHERE (scope, version) IN (SELECT scope, head FROM holdfast_scope)",
            (place, new.generation),
        )

    def _keep(self, schema: Schema) -> None:
        """Remember a generation of the schema that this database has."""
        self._db.execute(
            "INSERT INTO holdfast_generation (generation, fingerprint, schema) VALUES (?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (schema.generation, schema.fingerprint, schema.to_json().decode()),
        )

    def _kept(self, schema: Schema) -> list[Schema]:
        """Return the generations that came before, oldest first."""
        rows = self._db.execute(
            "SELECT schema FROM holdfast_generation WHERE kept AND generation < ? "
            "ORDER BY generation",
            (schema.generation,),
        )
        return [Schema.from_json(str(old)) for (old,) in rows]

    def _set_triggers(self, schema: Schema) -> bool:
        """Make the capture triggers what the schema says; whether they were anything else."""
        wanted: dict[str, str] = {}
        for table in schema.all_tables:
            wanted.update(triggers(table, schema.fingerprint, FoldedNotes(), mostly_quiet=True))
        found = {
            str(name): sql
            for name, sql in self._db.execute(
                "SELECT name, sql FROM sqlite_schema "
                "WHERE type = 'trigger' AND name GLOB 'holdfast_*'"
            )
        }
        for name in found.keys() - wanted.keys():
            self._db.execute(f"DROP TRIGGER {quote(name)}")
        for name, sql in wanted.items():
            if found.get(name) != sql:
                self._db.execute(f"DROP TRIGGER IF EXISTS {quote(name)}")
                self._db.execute(sql)
        return found != wanted

    # Transactions

    def read(self, expected: Expected | None = None) -> SqliteSnapshot:  # noqa: ARG002 - it is near
        with self._idle_lock:
            if self._closed:
                raise DatabaseError("the store is closed", code="closed")
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._driver.connect(
                self._path, OpenOptions(synchronous="NORMAL", read_only=True, create=False)
            )
        try:
            connection.execute("BEGIN")
            # Takes the snapshot.
            ((fingerprint,),) = connection.execute("SELECT fingerprint FROM holdfast_state")
            self._check_generation(fingerprint)
        except BaseException:
            connection.close()
            raise
        return SqliteSnapshot(connection, self._program, self._give_back)

    def _give_back(self, connection: Connection) -> None:
        try:
            connection.execute("ROLLBACK")
        except DatabaseError:
            connection.close()
            return
        with self._idle_lock:
            if not self._closed and len(self._idle) < READERS_IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def rehearse(self) -> Iterator[SqliteWriter]:
        with closing(self.read()) as snapshot:
            yield SqliteWriter(
                snapshot.connection, self._program, self._identity.epochs.counts_from
            )

    def transact(self, work: Callable[[Writer], T], *, turn: str = "") -> T:
        with self._write(turn) as writer:
            return work(writer)

    def relay(self, publish: OnCommit) -> OnCommit:
        """Only one process writes."""
        return publish

    @contextmanager
    def _write(self, turn: str) -> Iterator[SqliteWriter]:
        self._lock.acquire(turn)
        try:
            db = self._db
            db.execute("BEGIN IMMEDIATE")
            try:
                ((fingerprint,),) = db.execute(
                    "UPDATE holdfast_state SET applying = 1 RETURNING fingerprint"
                )
                self._check_generation(fingerprint)
                yield SqliteWriter(db, self._program, self._identity.epochs.counts_from)
                db.execute("UPDATE holdfast_state SET applying = 0")
                failpoint("store.before_commit")
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            failpoint("store.after_commit")
        finally:
            self._lock.release()

    def _check_generation(self, stored: Value) -> None:
        """Raises ``SchemaMoved`` when the database was made to grow since it was opened."""
        if stored != self._fingerprint:
            raise SchemaMoved("another process has opened this database with another schema")

    @contextmanager
    def alone(self, job: str) -> Iterator[bool]:  # noqa: ARG002 - one process, whatever the job
        """Only one process serves a file."""
        yield True

    def observe(self, observer: Observer) -> None:
        """One writer never meets another."""

    def check_ready(self) -> None:
        if not self._lock.acquire(timeout_s=READY_WAIT_MS / 1000):
            return  # whoever holds it is writing
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("UPDATE holdfast_state SET applying = 0")
        finally:
            try:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            finally:
                self._lock.release()

    def written_elsewhere(self) -> bool:
        with self._lock:
            version = self._read_data_version()
            moved, self._data_version = version != self._data_version, version
            return moved

    def _read_data_version(self) -> int:
        ((version,),) = self._db.execute("PRAGMA data_version")
        assert isinstance(version, int)
        return version

    def close(self) -> None:
        with self._idle_lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        with self._lock:
            self._db.close()
        if self._serving is not None:
            self._serving.release()


def _exists(db: Connection, table: str) -> bool:
    return bool(
        db.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,))
    )


def _read_epochs(db: Connection) -> Epochs:
    ((current,),) = db.execute("SELECT epoch FROM holdfast_state")
    return Epochs(str(current), tuple(str(epoch) for (epoch,) in db.execute(READ_EPOCHS)))


def _migrate(db: Connection) -> None:
    """Run the numbered scripts that this database has not seen, in order."""
    if not _exists(db, "holdfast_migration"):
        db.execute(
            "CREATE TABLE holdfast_migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL, "
            "at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))) STRICT"
        )
    done = [cast("int", n) for (n,) in db.execute("SELECT number FROM holdfast_migration")]
    for script in missing("sqlite", done):
        db.script(script.sql)
        db.execute(
            "INSERT INTO holdfast_migration (number, name) VALUES (?, ?)",
            (script.number, script.name),
        )
