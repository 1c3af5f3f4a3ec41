"""A replica's file: created from the replica program, checked at every open.

Knows: the file, its connections and the one state row. Must not know: what is exchanged.
Upholds I1 (every commit with full sync) and the promise that a capture that does not fit the schema
is an error at open, never a silent gap.

Two connections are used: one for the app's transactions (foreign keys enforced), one for sync
(foreign keys off: server truth never fails to apply). SQLite itself keeps their writers apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from holdfast.core.errors import DatabaseCorrupt, ReplicaError, SchemaError
from holdfast.core.limits import RESPONSE_LINE_BYTES_MAX
from holdfast.core.values import Value
from holdfast.schema.model import Schema
from holdfast.sql.bookkeeping.statements import STATE
from holdfast.sql.names import quote
from holdfast.sql.replica import PROGRAM_FORMAT, ReplicaProgram, compile_replica
from holdfast.sqlite import Connection, Driver, OpenOptions

_WRITES = re.compile(
    r"\b(?:insert\s+(?:or\s+\w+\s+)?into|replace\s+into|update(?:\s+or\s+\w+)?|delete\s+from)"
    r"\s+[\"'`\[]?(\w+)",
    re.IGNORECASE,
)
_COMMENTS = re.compile(r"'(?:[^']|'')*'|/\*.*?\*/|--[^\n]*", re.DOTALL)


class LocalDatabase:
    """An open replica file. ``app`` and ``sync`` are its two connections."""

    schema: Schema
    program: ReplicaProgram
    sync: Connection

    def __init__(self, path: str, *, driver: Driver, app: Connection) -> None:
        """Use ``open``."""
        self.path = path
        self._driver = driver
        self.app = app
        self.given_up: Callable[[], bool] = _never
        """Whether sync, which waits for a lock, is told to end."""

    @classmethod
    def open(
        cls,
        path: str,
        *,
        driver: Driver,
        schema: Schema | None,
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
        busy_timeout_ms: int,
        migrate: Callable[[OpenOptions], None] | None = None,
    ) -> LocalDatabase:
        """Open a replica's file, or make it (then ``schema`` is needed). ``migrate`` makes a file
        of another schema or format one of this; without it, such a file is refused."""
        file = Path(path)
        exists = file.exists() and file.stat().st_size > 0
        log = file.with_name(f"{file.name}-wal")
        if not exists and file.exists() and log.exists() and log.stat().st_size > 0:
            raise DatabaseCorrupt(f"{path} is empty, and its log is not: the file is damaged")
        if not exists and schema is None:
            raise ReplicaError(f"there is no replica at {path}", code="no_replica")
        options = OpenOptions(
            synchronous=synchronous, busy_timeout_ms=busy_timeout_ms, secure_delete=True
        )
        if exists:  # who else's file it may be is asked before anything is set in it
            look = OpenOptions(look_only=True, busy_timeout_ms=busy_timeout_ms)
            with closing(driver.connect(path, look)) as found:
                _is_ours(found, path, schema)
        # Only now: another journal can be set while nobody else has the file open, not even us.
        database = cls(path, driver=driver, app=driver.connect(path, options))
        try:
            if migrate is not None and database._is_other(schema):
                migrate(options)
            database.schema = database._prepare(schema)
            database.program = compile_replica(database.schema)
            database._check_capture()
            database.sync = driver.connect(
                path,
                OpenOptions(
                    synchronous=synchronous,
                    busy_timeout_ms=busy_timeout_ms,
                    foreign_keys=False,
                    secure_delete=True,
                    value_bytes_max=RESPONSE_LINE_BYTES_MAX,
                    stopped=database._is_given_up,
                ),
            )
        except BaseException:
            database.app.close()
            raise
        return database

    def _is_other(self, schema: Schema | None) -> bool:
        """Return whether it is a replica of another schema or format."""
        columns = {str(n) for (n,) in self.app.execute("SELECT name FROM pragma_table_info('holdfast_state')")}  # fmt: skip # noqa: E501
        if "format" not in columns:
            return False  # nothing is there yet, or it is no replica
        format_, fingerprint = read_state(self.app, "format", "fingerprint")
        return format_ != PROGRAM_FORMAT or (
            schema is not None and schema.fingerprint != fingerprint
        )

    def _prepare(self, schema: Schema | None) -> Schema:
        """Create the tables in an empty file, or read the schema of an existing one."""
        with transaction(self.app):
            if not _is_ours(self.app, self.path, schema):
                assert schema is not None, "else it is no replica"
                self._create(schema)
                return schema
        if self.app.execute(
            "SELECT 1 FROM pragma_table_info('holdfast_state') WHERE name = 'seal_secret'"
        ):
            raise ReplicaError(
                f"{self.path} is a server's database and no replica; nothing was changed. Give "
                "the replica a file of its own",
                code="no_replica",
            )
        format_, fingerprint, text = read_state(self.app, "format", "fingerprint", "schema")
        if format_ != PROGRAM_FORMAT:
            raise ReplicaError(
                f"{self.path} has format {format_!r}, this version reads {PROGRAM_FORMAT}",
                code="replica_format",
            )
        if not isinstance(text, str):
            raise DatabaseCorrupt("the replica's schema is not readable")
        stored = Schema.from_json(text)
        if stored.fingerprint != fingerprint or (
            schema is not None and schema.fingerprint != fingerprint
        ):
            raise SchemaError(
                f"{self.path} was made for another schema; nothing was changed",
                code="schema_mismatch",
            )
        return stored

    def _create(self, schema: Schema) -> None:
        program = compile_replica(schema)
        for sql in (
            *program.create,
            *program.triggers.values(),
            *program.views.values(),
            *program.local,
        ):
            self.app.execute(sql)
        self.app.execute(
            STATE.make,
            (
                PROGRAM_FORMAT,
                program.fingerprint,
                schema.to_json().decode(),
                capture_digest(program.triggers),
            ),
        )

    def _check_capture(self) -> None:
        """Every capture trigger is there, as it was made; no other trigger writes synced tables.

        Triggers that another version of the engine made, and nobody touched since, are made anew.
        """
        ours = read_capture(self.app, self.program)
        found = {
            str(name): str(sql)
            for name, sql in self.app.execute(STATE.triggers)
            if name not in ours
        }
        if ours != self.program.triggers:
            self._renew(ours)
        synced = set(self.program.tables)
        for name, sql in found.items():
            plain = _COMMENTS.sub(lambda found: found[0] if found[0][0] == "'" else " ", sql)
            writes = {match.lower() for match in _WRITES.findall(plain)} & synced
            if writes and "holdfast_state" not in sql:
                raise SchemaError(
                    f"the trigger {name} writes the synced table {', '.join(sorted(writes))}; "
                    "let it test holdfast_state.applying, or write an unsynced table",
                    code="trigger_writes_synced",
                )

    def state(self, *columns: str) -> tuple[Value, ...]:
        """Columns of the state row, read on the app's connection."""
        return read_state(self.app, *columns)

    def sync_state(self, column: str) -> Value:
        """A column of the state row, read on the connection for sync."""
        return read_state(self.sync, column)[0]

    @property
    def driver(self) -> Driver:
        """The SQLite library that has the file open; no other one may, in this process."""
        return self._driver

    def identity(self) -> str:
        """Return which device the replica is, "" before it is known; from any thread."""
        connection = self.watch()
        try:
            (device,) = read_state(connection, "device")
        finally:
            connection.close()
        return str(device)

    def _renew(self, old: dict[str, str]) -> None:
        """Replace the triggers and views of another version by this one's, in one transaction."""
        with transaction(self.app):
            for name in old:
                self.app.execute(f"DROP TRIGGER IF EXISTS {quote(name)}")
            for name in self.program.views:
                self.app.execute(f"DROP VIEW IF EXISTS {quote(name)}")
            for sql in (*self.program.triggers.values(), *self.program.views.values()):
                self.app.execute(sql)
            write_state(self.app, capture=capture_digest(self.program.triggers))

    def _is_given_up(self) -> bool:
        return self.given_up()

    def watch(self, stopped: Callable[[], bool] | None = None) -> Connection:
        """One more connection, for the thread that watches for writes of others. ``stopped``: asked
        whether a wait for a lock is to be given up."""
        return self._driver.connect(self.path, OpenOptions(foreign_keys=False, stopped=stopped))

    def close(self) -> None:
        self.sync.close()
        self.app.close()

    def take_over(self, other: LocalDatabase) -> None:
        """Go on with the connections of another one, on the file that has taken the place of this
        one's. Both of this one's are closed."""
        self.schema, self.program = other.schema, other.program
        self.app, self.sync = other.app, other.sync
        other.given_up = self._is_given_up


def _never() -> bool:
    return False


def _is_ours(connection: Connection, path: str, schema: Schema | None) -> bool:
    """Return whether an engine has made this file; False: it is empty. Raises ``ReplicaError``:
    it holds somebody else's tables (``not_empty``), or is to be a replica already
    (``no_replica``)."""
    found = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema")]
    if "holdfast_state" in found:
        return True
    if schema is None:
        raise ReplicaError(f"{path} is not a replica", code="no_replica")
    if found:
        raise ReplicaError(
            f"{path} is a database of something else (it has {', '.join(sorted(found)[:5])}); "
            "nothing was changed. Give the replica a file of its own",
            code="not_empty",
        )
    return False


def read_capture(connection: Connection, program: ReplicaProgram) -> dict[str, str]:
    """The capture triggers of a file, by name. Raises ``SchemaError`` (``capture_broken``) when
    they are not as they were made. ``program``: of the file's schema."""
    found = {str(name): str(sql) for name, sql in connection.execute(STATE.triggers)}
    ours = {name: sql for name, sql in found.items() if name.startswith("holdfast_")}
    (made,) = read_state(connection, "capture")
    if capture_digest(ours) != made:
        missing = sorted(program.triggers.keys() - ours.keys())
        raise SchemaError(
            f"capture triggers are missing or were changed ({', '.join(missing) or 'changed'});"
            " changes may have gone unnoticed, so the replica does not open",
            code="capture_broken",
        )
    return ours


def capture_digest(triggers: dict[str, str]) -> str:
    """Return what the capture triggers say, as 32 hex digits."""
    text = "\0".join(f"{name}\0{sql}" for name, sql in sorted(triggers.items()))
    return hashlib.blake2s(text.encode(), digest_size=16).hexdigest()


def read_state(connection: Connection, *columns: str) -> tuple[Value, ...]:
    """Columns of the one state row."""
    rows = connection.execute(f"SELECT {', '.join(columns)} FROM holdfast_state")
    if len(rows) != 1:
        raise DatabaseCorrupt("the row that says what the file is, is missing: the file is damaged")
    return rows[0]


def ensure_current(connection: Connection, program: ReplicaProgram) -> None:
    """Raise ``SchemaError`` (``replica_migrated``) when another process has made the file one of
    another schema since it was opened: it must not be sealed or synced by the old statements."""
    (fingerprint,) = read_state(connection, "fingerprint")
    if fingerprint != program.fingerprint:
        raise SchemaError(
            "another process has made this replica's file one of another generation of its schema: "
            "close it, and open it with that one",
            code="replica_migrated",
        )


def write_state(connection: Connection, **columns: Value) -> None:
    """Set columns of the one state row."""
    assignments = ", ".join(f"{name} = ?" for name in columns)
    connection.execute(f"UPDATE holdfast_state SET {assignments}", tuple(columns.values()))


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A write transaction: committed at the end, rolled back on any error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: Connection) -> None:
    """Some errors have done so already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """A consistent read; writers are not kept waiting. Inside a transaction it is that one's."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        _roll_back(connection)


@contextmanager
def savepoint(connection: Connection, name: str) -> Iterator[None]:
    """A savepoint inside a transaction; undone on any error."""
    connection.execute(f"SAVEPOINT {name}")
    try:
        yield
    except BaseException:
        connection.execute(f"ROLLBACK TO {name}")
        connection.execute(f"RELEASE {name}")
        raise
    connection.execute(f"RELEASE {name}")


@contextmanager
def unchecked(connection: Connection) -> Iterator[None]:
    """Leave declared checks alone while the server's own rows are written: a server of a newer
    generation may have looser ones. Types are enforced all the same."""
    connection.execute("PRAGMA ignore_check_constraints = ON")
    try:
        yield
    finally:
        connection.execute("PRAGMA ignore_check_constraints = OFF")


@contextmanager
def applying(connection: Connection) -> Iterator[None]:
    """Keep capture quiet inside the current write transaction; nobody else ever sees the flag.

    The log must have been sealed in this transaction (a trigger sees to it): what came after a
    touch could no longer be told.
    """
    write_state(connection, applying=1)
    yield
    write_state(connection, applying=0)
