"""The PostgreSQL store: opening, growing, many writers, a pool of connections.

Knows: connections, transactions and migrations. Must not know: merging, rights, messages.
Any number of processes may open one database at the same time; what they do to its layout happens
under an advisory lock, in one transaction. A write transaction that met another one, or lost its
connection, is run again from the start. When the connection was lost inside COMMIT nobody knows
what became of it: it is run again too, and finds by nonce, number and id what it has done already.

Upholds I3 (nothing is returned before a durable commit), I7, I11.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from holdfast.core.errors import DatabaseBusy, DatabaseError, DatabaseReadOnly, SchemaError
from holdfast.core.limits import (
    DATABASE_ATTEMPTS_MAX,
    DATABASE_CONNECTIONS_MAX,
    DATABASE_WAIT_MS,
    POSTGRES_BACKOFF_MS,
    POSTGRES_BACKOFF_MS_MAX,
    POSTGRES_VERSION_MIN,
)
from holdfast.schema.model import Schema, Table
from holdfast.schema.projection import Projection
from holdfast.server.process.observe import Observer, Retried, nobody
from holdfast.server.store.contract import Expected, OnCommit, T, TryAgain, Writer
from holdfast.server.store.epochs import Epochs
from holdfast.server.store.growth import changed_checks, generations_before, growth
from holdfast.server.store.migration_scripts import missing
from holdfast.server.store.postgres import reads
from holdfast.server.store.postgres.errors import translated
from holdfast.server.store.postgres.events import Relay
from holdfast.server.store.postgres.files import PostgresFiles
from holdfast.server.store.postgres.grow import (
    fill,
    keep_generation,
    kept_generations,
    lock,
    note_growth,
    put_keys,
    reshape,
    set_checks,
)  # fmt: skip
from holdfast.server.store.postgres.reads import PostgresConnection, PostgresSnapshot
from holdfast.server.store.postgres.rehearsal import RehearsingWriter
from holdfast.server.store.postgres.writer import PostgresWriter
from holdfast.server.store.taken_names import tables_exist
from holdfast.sql.names import quote
from holdfast.sql.postgres.capture import SETTINGS, TRANSITIONS, functions, triggers
from holdfast.sql.postgres.statements import PostgresProgram, compile_program
from holdfast.sql.postgres.tables import added_column_sql, create_keys, create_table
from holdfast.sqlite.failpoints import failpoint

log = logging.getLogger(__name__)

# Results that are read back exactly, commits that are durable, and no plan compiled for one use.
_SETTINGS = (
    "SET client_encoding = 'UTF8'; SET bytea_output = 'hex'; SET extra_float_digits = 1; "
    "SET jit = off; SET standard_conforming_strings = on; "
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'; "
    f"SET lock_timeout = {DATABASE_WAIT_MS}"
)
_LOCK_LAYOUT = "SELECT pg_advisory_xact_lock(hashtextextended('holdfast ' || current_schema(), 0))"
_TRY_ALONE = (
    "SELECT pg_try_advisory_lock(hashtextextended('holdfast ' || $1 || ' ' || current_schema(), 0))"
)
_BEGIN_WRITE = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL holdfast.applying = 'on'; "
    "SELECT pg_current_snapshot()::text, EXISTS (SELECT FROM holdfast_dirty)"
)


@dataclass(frozen=True, slots=True)
class _Identity:
    """Identity that a database was given when it was made."""

    epochs: Epochs
    seal_secret: bytes


class PostgresStore:
    """``store.Store`` on one schema of a PostgreSQL database."""

    _identity: _Identity
    _readers: ConnectionPool[PostgresConnection]
    _writers: ConnectionPool[PostgresConnection]
    _files: PostgresFiles
    _below_floor: tuple[Schema, ...] = ()

    def __init__(self, url: str, schema: Schema) -> None:
        """Use ``open``."""
        self._url = url
        self._program: PostgresProgram = compile_program(schema)
        self._relay: Relay | None = None
        self._jitter = random.Random()
        self._observer: Observer = nobody

    @classmethod
    def open(
        cls,
        url: str,
        schema: Schema,
        *,
        random_bytes: Callable[[int], bytes],
        connections_max: int = DATABASE_CONNECTIONS_MAX,
    ) -> PostgresStore:
        """Open the database, and make its tables when they are not there.

        ``url``: ``postgresql://...``; its ``search_path`` says which schema of the database.
        ``connections_max``: for answers, and as many again for writes. Raises ``SchemaError``
        (``schema_mismatch``) when the tables were made for a schema that ``schema`` does not merely
        add to, and ``DatabaseError``.
        """
        store = cls(url, schema)
        with translated(), contextlib.closing(store._connect()) as db:
            _check_server(db)
            store._identity = store._prepare_among_others(db, schema, random_bytes)
        store._readers = store._pool(connections_max)
        store._writers = store._pool(connections_max)
        store._files = PostgresFiles(
            lambda: store._borrowed(store._writers), store._connect, epoch=store.epochs.first
        )
        return store

    def _connect(self) -> PostgresConnection:
        db = psycopg.connect(self._url, autocommit=True, cursor_factory=psycopg.RawCursor)
        _configure(db)
        return db

    def _pool(self, size: int) -> ConnectionPool[PostgresConnection]:
        return ConnectionPool(
            self._url,
            min_size=1,
            max_size=size,
            timeout=DATABASE_WAIT_MS / 1000,
            max_waiting=size * 16,
            # Given up, an attempt is begun anew for the next who asks, without the long pauses that
            # have grown in an outage.
            reconnect_timeout=DATABASE_WAIT_MS / 1000,
            kwargs={"autocommit": True, "cursor_factory": psycopg.RawCursor},
            configure=_configure,
            open=True,
        )

    @property
    def epoch(self) -> str:
        return self._identity.epochs.current

    @property
    def epochs(self) -> Epochs:
        return self._identity.epochs

    def end_epoch(self, epoch: str, *, new: str, at: int, lost: str = "") -> None:
        with self._borrowed(self._writers) as db, translated(self._program), db.transaction():
            reads.end_epoch_on(db, epoch, new=new, at=at, lost=lost)
            failpoint("store.before_commit")
        self._look_at_epochs()

    def _look_at_epochs(self) -> None:
        with self._borrowed(self._writers) as db, translated(self._program):
            self._identity = replace(self._identity, epochs=reads.read_epochs(db))

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
        with self._borrowed(self._readers) as db, translated(self._program):
            rows = db.execute("SELECT generation FROM holdfast_generation WHERE kept").fetchall()
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
        with self._borrowed(self._readers) as db, translated():
            ((stale,),) = db.execute("SELECT stale FROM holdfast_state").fetchall()
        return tuple(json.loads(stale))

    @property
    def files(self) -> PostgresFiles:
        return self._files

    def clear_stale(self, writer: Writer) -> None:
        assert isinstance(writer, PostgresWriter)
        writer.clear_stale()

    # Opening

    def _prepare_among_others(
        self, db: PostgresConnection, schema: Schema, random_bytes: Callable[[int], bytes]
    ) -> _Identity:
        """Prepare the tables; again from the start when another process, which goes on writing, and
        this one had each what the other wanted."""
        for attempt in range(DATABASE_ATTEMPTS_MAX - 1):
            try:
                with translated():
                    return self._prepare(db, schema, random_bytes)
            except TryAgain as error:
                if db.closed:
                    raise
                log.info("opening the database is retried: %s", error)
                self._pause(attempt)
        return self._prepare(db, schema, random_bytes)

    def _prepare(
        self, db: PostgresConnection, schema: Schema, random_bytes: Callable[[int], bytes]
    ) -> _Identity:
        with db.transaction():
            db.execute(_LOCK_LAYOUT)
            db.execute("SET LOCAL holdfast.applying = 'on'; SET LOCAL lock_timeout = 0")
            exists = _is_ours(db)
            if not exists:
                _check_free(db, schema.all_tables, first=True)
            _migrate(db)
            if not exists:
                self._create(db, schema, random_bytes)
            ((fingerprint, stored, secret),) = db.execute(
                "SELECT fingerprint, schema, seal_secret FROM holdfast_state"
            ).fetchall()
            if fingerprint != schema.fingerprint:
                keep_generation(db, Schema.from_json(stored))
                self._grow(db, Schema.from_json(stored), schema)
            keep_generation(db, schema)
            older, self._below_floor = generations_before(kept_generations(db, schema), schema)
            self._program = replace(self._program, older=older)
            ((generations,),) = db.execute("SELECT count(*) FROM holdfast_generation").fetchall()
            self._has_grown = bool(generations != 1)
            changed = _set_triggers(db, schema)
            self._unwatched = exists and fingerprint == schema.fingerprint and changed
            return _Identity(reads.read_epochs(db), secret)

    def _create(
        self, db: PostgresConnection, schema: Schema, random_bytes: Callable[[int], bytes]
    ) -> None:
        _create_tables(db, schema.all_tables)
        db.execute(
            "INSERT INTO holdfast_state (id, epoch, seal_secret, fingerprint, schema) "
            "VALUES (1, $1, $2, $3, $4)",
            (random_bytes(16).hex(), random_bytes(32), schema.fingerprint,
             schema.to_json().decode()),
        )  # fmt: skip

    def _grow(self, db: PostgresConnection, old: Schema, new: Schema) -> None:
        """Take the steps from one schema to another, declared ones first. Raises ``SchemaError``
        for those that are neither additive nor declared, and where a row does not fit."""
        way = growth("the database", old, new)
        reserved = {table.name for table in way.gone} | {one.old.name for one in way.reshaped}
        made = [t for t in new.tables if t.name not in way.tables]
        moved = [one.new for one in way.reshaped if one.new.name != one.old.name]
        _check_free(db, [t for t in (*made, *moved) if t.name not in reserved], first=False)
        lock(db, way)
        note_growth(db, old, new)
        ((stale,),) = db.execute("SELECT stale FROM holdfast_state").fetchall()
        changed = set(way.names_now(json.loads(stale)))
        changed.update(reshape(db, way))
        for known in way.tables.values():
            if not known.reshaped:
                set_checks(db, known.new, *changed_checks(known.old, known.new))
                for column in known.added:
                    definition = added_column_sql(known.new, column)
                    db.execute(f"ALTER TABLE {quote(known.new.name)} ADD COLUMN {definition}")
            fill(db, known.new, known.added)
            if known.added:
                changed.add(known.new.name)
        _create_tables(db, made)
        put_keys(db, way)
        db.execute(
            "UPDATE holdfast_state SET fingerprint = $1, schema = $2, stale = $3",
            (new.fingerprint, new.to_json().decode(), json.dumps(sorted(changed))),
        )

    # Transactions

    @contextlib.contextmanager
    def _borrowed(self, pool: ConnectionPool[PostgresConnection]) -> Iterator[PostgresConnection]:
        db = _take(pool)
        try:
            yield db
        finally:
            pool.putconn(db)

    def read(self, expected: Expected | None = None) -> PostgresSnapshot:
        for attempt in range(DATABASE_ATTEMPTS_MAX):
            db = _take(self._readers)
            try:
                snapshot = PostgresSnapshot(db, self._program, self._give_back, expected)
                if snapshot.epoch != self.epoch:  # another process has ended it
                    self._look_at_epochs()
                return snapshot
            except TryAgain:
                self._give_back(db)
                self._readers.check()
                self._pause(attempt)
            except BaseException:
                self._give_back(db)
                raise
        raise _unreachable()

    def _give_back(self, db: PostgresConnection) -> None:
        _rollback(db)
        self._readers.putconn(db)

    @contextlib.contextmanager
    def rehearse(self) -> Iterator[Writer]:
        with contextlib.closing(self.read()) as snapshot:
            yield RehearsingWriter(
                snapshot.connection, self._program, self._identity.epochs.counts_from
            )

    def transact(self, work: Callable[[Writer], T], *, turn: str = "") -> T:  # noqa: ARG002 - many write at once
        wanted: frozenset[str] = frozenset()
        careful = False
        until = time.monotonic() + DATABASE_WAIT_MS / 1000
        attempt, locked = -1, False
        while attempt < DATABASE_ATTEMPTS_MAX - 1 or (locked and time.monotonic() < until):
            attempt += 1
            with self._borrowed(self._writers) as db:
                try:
                    return self._attempt(db, work, wanted, careful=careful)
                except TryAgain as error:
                    log.debug("a write transaction is retried: %s", error)
                    if not error.scopes - wanted:
                        careful = attempt > 0
                    wanted |= error.scopes
                    last, locked = error, error.locked
                    self._observer(Retried(reason="lost" if db.closed else "conflict"))
                except DatabaseError as error:
                    if error.code == DatabaseError.code:
                        self._check_generation(db)
                    raise
                finally:
                    _rollback(db)
            if db.closed:
                self._writers.check()  # the others are lost too, most likely
            self._pause(attempt if not last.scopes else 0)
        raise DatabaseBusy("the database was busy or away for too long; nothing was changed")

    def _check_generation(self, db: PostgresConnection) -> None:
        """Raise ``SchemaMoved`` when a statement failed because another process has given tables
        another shape while it waited for them."""
        _rollback(db)
        with translated(self._program):
            ((fingerprint,),) = db.execute("SELECT fingerprint FROM holdfast_state").fetchall()
        self._program.check_generation(fingerprint)

    def _attempt(
        self,
        db: PostgresConnection,
        work: Callable[[Writer], T],
        wanted: frozenset[str],
        *,
        careful: bool,
    ) -> T:
        with translated(self._program):
            ((began, notes),) = _last(db.execute(_BEGIN_WRITE))
        writer = PostgresWriter(
            db, self._program, began=began, notes=notes, wanted=wanted, careful=careful,
            counts_from=self._identity.epochs.counts_from,
        )  # fmt: skip
        result = work(writer)
        writer.finish()
        failpoint("store.before_commit")
        self._commit(db)
        failpoint("store.after_commit")
        return result

    def _commit(self, db: PostgresConnection) -> None:
        with translated(self._program):
            db.execute("COMMIT")

    def _pause(self, attempt: int) -> None:
        """A moment for the other one to finish, or for the database to come back."""
        most = min(POSTGRES_BACKOFF_MS_MAX, POSTGRES_BACKOFF_MS << attempt)
        time.sleep(self._jitter.uniform(0, most) / 1000)

    # News between processes

    def relay(self, publish: OnCommit) -> OnCommit:
        if self._relay is None:
            with contextlib.closing(self.read()) as snapshot:
                generation = snapshot.registry.generation()
            self._relay = Relay(self._connect, self.epochs.first, publish, generation=generation)
        return self._relay.committed

    @contextlib.contextmanager
    def alone(self, job: str) -> Iterator[bool]:
        """By a lock of a connection of its own, which ends with the process."""
        with translated(), contextlib.closing(self._connect()) as db:
            ((alone,),) = db.execute(_TRY_ALONE, (job,)).fetchall()
            yield bool(alone)

    def observe(self, observer: Observer) -> None:
        self._observer = observer

    def serve(self) -> None:
        """Any number of processes may."""

    def check_ready(self) -> None:
        with self._borrowed(self._writers) as db:
            try:
                with translated():
                    db.execute("BEGIN; UPDATE holdfast_state SET stale = stale; ROLLBACK")
            finally:
                _rollback(db)

    def written_elsewhere(self) -> bool:
        with self._borrowed(self._readers) as db, translated():
            return bool(db.execute("SELECT EXISTS (SELECT FROM holdfast_dirty)").fetchall()[0][0])

    def close(self) -> None:
        if self._relay is not None:
            self._relay.close()
        self._files.close()
        self._readers.close()
        self._writers.close()


def _unreachable() -> DatabaseBusy:
    return DatabaseBusy("the database cannot be reached")


def _take(pool: ConnectionPool[PostgresConnection]) -> PostgresConnection:
    try:
        return pool.getconn()
    except PoolClosed:
        raise DatabaseError("the store is closed", code="closed") from None
    except (PoolTimeout, TooManyRequests) as error:
        raise DatabaseBusy(f"no database connection is available: {error}") from None


def _last(cursor: Any) -> list[tuple[Any, ...]]:
    """The rows of the last of several statements."""
    while cursor.nextset():
        pass
    return cursor.fetchall()  # type: ignore[no-any-return]


def _rollback(db: PostgresConnection) -> None:
    """End whatever is open; a connection that cannot even do that is closed."""
    if db.closed or db.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
        return
    try:
        db.execute("ROLLBACK")
    except psycopg.Error:
        db.close()


def _configure(db: PostgresConnection) -> None:
    db.execute(_SETTINGS)


def _check_server(db: PostgresConnection) -> None:
    if db.info.server_version < POSTGRES_VERSION_MIN * 10_000:
        raise DatabaseError(
            f"PostgreSQL {POSTGRES_VERSION_MIN} or newer is needed", code="database"
        )
    if db.info.parameter_status("server_encoding") != "UTF8":
        raise DatabaseError("the database must have the encoding UTF8", code="database")
    if db.execute("SELECT pg_is_in_recovery()").fetchall()[0][0]:
        raise DatabaseReadOnly("this PostgreSQL is a standby; the primary is needed")


_TAKEN = (
    "SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'i' THEN 'index' "
    "WHEN 'S' THEN 'sequence' ELSE 'table' END, c.relname FROM pg_class AS c "
    "WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind <> 'c' "
    "UNION ALL SELECT 'type', t.typname FROM pg_type AS t "
    "WHERE t.typnamespace = current_schema()::regnamespace AND t.typelem = 0 "
    "AND NOT EXISTS (SELECT FROM pg_class WHERE oid = t.typrelid AND relkind <> 'c') "
    "UNION ALL SELECT 'function', p.proname FROM pg_proc AS p "
    "WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'holdfast%' "
    "ORDER BY 2, 1"
)


def _is_ours(db: PostgresConnection) -> bool:
    """Return whether a server has made this schema of the database."""
    ((found,),) = db.execute(
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attname = 'seal_secret' AND attrelid = "
        "to_regclass(quote_ident(current_schema()) || '.holdfast_state'))"
    ).fetchall()
    return bool(found)


def _check_free(db: PostgresConnection, tables: Iterable[Table], *, first: bool) -> None:
    """Raises ``SchemaError`` (``tables_exist``) when something has the name of a table that is to
    be made; with ``first`` of something of the engine's own as well."""
    ((namespace,),) = db.execute("SELECT current_schema()").fetchall()
    if namespace is None:
        raise SchemaError("the search_path names no schema that is there", code="tables_exist")
    wanted = {table.name for table in tables}
    taken = [
        (kind, name)
        for kind, name in db.execute(_TAKEN).fetchall()
        if name in wanted or (first and name.startswith("holdfast_"))
    ]
    if taken:
        raise tables_exist(f"the schema {namespace} of the database", taken)


def _migrate(db: PostgresConnection) -> None:
    """Run the numbered scripts that this database has not seen, in order."""
    db.execute(
        "CREATE TABLE IF NOT EXISTS holdfast_migration (number integer PRIMARY KEY, "
        "name text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
    )
    done = {n for (n,) in db.execute("SELECT number FROM holdfast_migration").fetchall()}
    for script in missing("postgres", done):
        db.execute(script.sql)
        db.execute("INSERT INTO holdfast_migration VALUES ($1, $2)", (script.number, script.name))


def _create_tables(db: PostgresConnection, tables: list[Table] | tuple[Table, ...]) -> None:
    for table in tables:
        db.execute(create_table(table))
    for table in tables:
        for sql in create_keys(table):
            db.execute(sql)


def _set_triggers(db: PostgresConnection, schema: Schema) -> bool:
    """Make the capture triggers what the schema says; whether they were anything else."""
    found = {
        (table, name): enabled and (old, new) == TRANSITIONS.get(name, (None, None))
        for table, name, enabled, old, new in db.execute(
            "SELECT c.relname, t.tgname, t.tgenabled = 'O', t.tgoldtable, t.tgnewtable "
            "FROM pg_trigger AS t "
            "JOIN pg_class AS c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal "
            "AND c.relnamespace = current_schema()::regnamespace AND t.tgname LIKE 'holdfast%'"
        ).fetchall()
    }
    changed = False
    ((namespace,),) = db.execute("SELECT current_schema()").fetchall()
    made = _functions(db)
    for table in schema.all_tables:
        for function in functions(table, schema.fingerprint, namespace):
            wanted = (function.body, function.definer, SETTINGS[function.definer], False)
            if made.get(function.name) != wanted:
                for sql in function.make:
                    db.execute(sql)
                changed = True
        for name, sql in triggers(table).items():
            if not found.get((table.name, name)):
                db.execute(f"DROP TRIGGER IF EXISTS {name} ON {quote(table.name)}")
                db.execute(sql)
                changed = True
    return changed


def _functions(db: PostgresConnection) -> dict[str, tuple[str, bool, tuple[str, ...], bool]]:
    """Body, rights and settings of our functions, and whether everybody may execute them."""
    return {
        name: (body, definer, tuple(sorted(settings or ())), public)
        for name, body, definer, settings, public in db.execute(
            "SELECT proname, prosrc, prosecdef, proconfig, "
            "has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc "
            "WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'holdfast%' "
            "AND pronargs = 0"
        ).fetchall()
    }
