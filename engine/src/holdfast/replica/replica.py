"""``Replica``: an app's local database that syncs.

Knows: how the parts fit together. Must not know: what is inside them.
Local reads and writes never wait for the network; every method says whether it uses it.
"""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from holdfast.core.errors import (
    DatabaseBusy,
    DatabaseError,
    DatabaseFull,
    ReplicaError,
    SyncError,
    UsageError,
)
from holdfast.core.limits import BUSY_TIMEOUT_MS, LOG_NOTES_MAX, LOG_NOTES_SHOWN
from holdfast.core.values import Value
from holdfast.replica.credentials import CredentialsFile
from holdfast.replica.database import LocalDatabase, read_state, transaction, write_state
from holdfast.replica.enrolment import Enrolment, Proof, TokenKeeper, enrol_open
from holdfast.replica.host import Host
from holdfast.replica.inbox import Conflict, Inbox, Refused
from holdfast.replica.loading import Loading, Told
from holdfast.replica.lock import SyncLock
from holdfast.replica.runner import Runner, RunnerOptions
from holdfast.replica.seal import mark, seal
from holdfast.replica.status import Status, has_unsent, has_work, read_status
from holdfast.replica.sync import Exchanger
from holdfast.replica.transport import HttpTransport, Transport, checked_url
from holdfast.replica.verify import Progress, Verifier, VerifyReport
from holdfast.schema.model import Schema
from holdfast.sqlite import Row, driver
from holdfast.sqlite.failpoints import failpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """What a sync did. ``verified``: client and server compared equal at the end."""

    sent: int = 0
    applied: int = 0
    refused: int = 0
    held: int = 0
    received_rows: int = 0
    removed_rows: int = 0
    repaired_rows: int = 0
    reconciled_rows: int = 0
    """Rows that were compared because the device had been away for longer than the server remembers
    removals."""
    exchanges: int = 0
    verified: bool = False


class Transaction:
    """A local transaction: one unit of sync. Given by ``Replica.transaction()``."""

    def __init__(self, database: LocalDatabase) -> None:
        self._db = database.app

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run one statement; all of its rows."""
        return self._db.execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each row of parameters."""
        self._db.executemany(sql, rows)

    def columns(self, sql: str, params: Sequence[Value] = ()) -> tuple[tuple[str, ...], list[Row]]:
        """Run one statement; its column names and all of its rows."""
        return self._db.columns(sql, params)

    def changes(self) -> int:
        """How many rows the last statement changed."""
        return self._db.changes()


class Replica:
    """A device's local database with its sync state. Use ``Replica.open``.

    Safe to share between threads: local transactions and queries take turns.
    """

    def __init__(
        self,
        database: LocalDatabase,
        transport: Transport | None,
        host: Host,
        *,
        tend: Callable[[int], None] | None = None,
    ) -> None:
        self._database = database
        self._host = host
        self._mutex = threading.RLock()
        self._lock = SyncLock(database.path)
        self._inbox = Inbox(database)
        self._transport = transport
        self._exchanger = Exchanger(database, transport, host, tend=tend) if transport else None
        self._runner: Runner | None = None
        self._session: dict[str, Any] = {"state": "starting"}
        self._sealed_version: Value = None
        """``PRAGMA data_version`` up to which no open group of other connections is in the file;
        None: not known."""
        self._closed = False

    @classmethod
    def open(
        cls,
        path: str | Path,
        schema: Schema | None = None,
        *,
        server: str | None = None,
        token: str | None = None,
        token_file: str | Path | None = None,
        transport: Transport | None = None,
        driver_name: Literal["apsw", "stdlib"] = "apsw",
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        host: Host | None = None,
    ) -> Replica:
        """Open a replica, or make one (then ``schema`` is needed).

        The server's address and the path of the token file are remembered in the file; a token is
        not. Without either, the credentials beside the file are used (``enrol``).
        ``synchronous="FULL"``: what was committed survives a power cut. Raises
        ``ReplicaError``, ``SchemaError`` or ``DatabaseError``; opening never uses the network.
        """
        database = LocalDatabase(
            str(path),
            driver=driver(driver_name),
            schema=schema,
            synchronous=synchronous,
            busy_timeout_ms=busy_timeout_ms,
        )
        try:
            tend, host = None, host or Host()
            if transport is None:
                transport, tend = _transport(database, server, token, token_file, host)
            return cls(database, transport, host, tend=tend)
        except BaseException:
            database.close()
            raise

    # --- local work -----------------------------------------------------------------------------

    @property
    def schema(self) -> Schema:
        return self._database.schema

    @property
    def path(self) -> str:
        return self._database.path

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A local transaction: committed and tracked at the end, undone on any error.

        What other connections wrote before it becomes a transaction of its own.
        """
        with self._mutex:
            with transaction(self._database.app):
                version = self._end_foreign()
                yield Transaction(self._database)
                if self._end_group() > LOG_NOTES_MAX:
                    self._seal()
                failpoint("local.before_commit")
            self._sealed_version = version
        failpoint("local.after_commit")
        if self._runner is not None:
            self._runner.local_write()

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Read from the local database."""
        with self._mutex:
            self._note_query(sql)
            return self._database.app.execute(sql, params)

    def query_columns(
        self, sql: str, params: Sequence[Value] = ()
    ) -> tuple[tuple[str, ...], list[Row]]:
        """Read from the local database; column names and rows."""
        with self._mutex:
            self._note_query(sql)
            return self._database.app.columns(sql, params)

    def seal(self) -> None:
        """Make what was written ready to be sent, as the next exchange does first. An app may call
        it in an idle moment; it never needs to."""
        with self._mutex, transaction(self._database.app):
            self._seal()

    def now_us(self) -> int:
        """The corrected time: the device's clock and its measured offset, µs since 1970."""
        (offset,) = self._state("offset_us")
        return self._host.now_us() + (offset if isinstance(offset, int) else 0)

    def device_now_us(self) -> int:
        """The device's own clock, µs since 1970: for columns declared ``corrected``, which the
        server shifts when it takes the change. The corrected time would be shifted twice there."""
        return self._host.now_us()

    def _end_foreign(self) -> Value:
        """End the group of what other connections wrote, if there can be any; the file's version.

        Inside a write transaction nobody else moves the version, and our own commits never do.
        """
        ((version,),) = self._database.app.execute("PRAGMA data_version")
        if version != self._sealed_version:
            self._end_group()
        return version

    def _end_group(self) -> int:
        return mark(self._database.app, self._database.program, now_us=self._host.now_us())

    def _seal_long(self) -> None:
        """Seal a long log before it is looked at, if that can be: the views read it from end to
        end."""
        app = self._database.app
        last = app.execute(self._database.program.log_last)
        if last and int(str(last[0][0])) > LOG_NOTES_SHOWN and not app.in_transaction:
            with suppress(DatabaseBusy, DatabaseFull):
                self.seal()

    def _note_query(self, sql: str) -> None:
        """A query that writes is captured like a foreign write, yet does not move the version."""
        if sql.lstrip()[:6].upper() != "SELECT":
            self._sealed_version = None

    def _seal(self, *, replaces: int = 0) -> int | None:
        return seal(
            self._database.app,
            self._database.schema,
            self._database.program,
            now_us=self._host.now_us(),
            random_bytes=self._host.random_bytes,
            replaces=replaces,
        )

    def _state(self, *columns: str) -> tuple[Value, ...]:
        with self._mutex:
            return self._database.state(*columns)

    # --- what a person sees ---------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The truth of this moment, without the network."""
        with self._mutex:
            self._seal_long()
            return read_status(self._database, self._known_session())

    def _known_session(self) -> dict[str, Any]:
        loading = None if self._exchanger is None else self._exchanger.loading
        if loading is not None:
            session = self._session if self._runner is None else self._runner.session
            return session | {"state": "syncing", "loading": loading.to_dict()}
        if self._runner is not None:
            return self._runner.session
        if self._lock.held_elsewhere():
            (text,) = self._database.state("session")
            session = dict(json.loads(str(text)))
            # A process that syncs once stores no session; what an ended one left is not the truth.
            return session if _is_alive(session.get("pid")) else {"state": "syncing"}
        return self._session

    def row_status(self, table: str, key: str) -> str:
        """``synced``, ``pending``, ``sent``, ``held``, ``refused`` or ``conflict``; ``unknown``
        when
        no such row is known. ``key``: its canonical text."""
        with self._mutex:
            self._seal_long()
            rows = self.query(
                "SELECT state FROM holdfast_row_status WHERE tbl = ? AND key = ?", (table, key)
            )
        return str(rows[0][0]) if rows else "unknown"

    def conflicts(self) -> list[Conflict]:
        """Open conflicts, oldest first."""
        with self._mutex:
            return self._inbox.conflicts()

    def refused(self) -> list[Refused]:
        """Refused and held transactions, in order."""
        with self._mutex:
            return self._inbox.refused()

    def resolve(
        self,
        conflict: str,
        *,
        keep: Literal["mine", "theirs"] | None = None,
        value: Any = None,
    ) -> None:
        """Settle a conflict, offline too: keep a side, or set another value (``keep=None``).

        Raises ``UsageError`` (``no_conflict``) or ``BadValue``.
        """
        with self.transaction():
            self._inbox.settle(conflict, keep=keep, value=value, now_us=self.now_us())

    def retry(self, item: str) -> list[int]:
        """Make a refused transaction again on the rows as they are now, then those held with it;
        returns the new numbers. Raises ``UsageError`` or ``ConstraintFailed``: nothing changed."""
        made: list[int] = []
        with self.transaction():
            number = self._inbox.waiting(item)
            for again in (number, *self._inbox.dependants(number)):
                self._inbox.write_again(again)
                sealed = self._seal(replaces=again)
                self._inbox.forget(again)
                if sealed is not None:
                    made.append(sealed)
        return made

    def discard(self, item: str) -> None:
        """Give a refused or held transaction up. Raises ``UsageError`` (``no_refused``)."""
        with self.transaction():
            self._inbox.forget(self._inbox.waiting(item))

    # --- the network ----------------------------------------------------------------------------

    def enrol(
        self,
        *,
        code: str = "",
        user: str = "",
        password: str = "",
        sign_in: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Enrolment:
        """Let this device in, for the first time or again: with a one-time code, a user's password,
        or the headers of the app's own sign-in. Uses the network; the queue goes on as it is.

        Raises as ``holdfast.replica.enrolment.enrol``.
        """
        proof = Proof(code=code, user=user, password=password, sign_in=sign_in)
        file = CredentialsFile(self.path)
        database = LocalDatabase(
            self.path, driver=self._database.driver, schema=None, busy_timeout_ms=BUSY_TIMEOUT_MS
        )  # connections of its own: local work does not wait for the network
        try:
            done = enrol_open(database, file, proof, name=name, host=self._host)
        finally:
            database.close()
        self.sync_now()
        return done

    def _exchange(self) -> Exchanger:
        if self._exchanger is None:
            raise UsageError(
                "this replica has no server yet: open it with server= and token=",
                code="no_server",
            )
        return self._exchanger

    def sync(self, *, progress: Progress | None = None) -> SyncReport:
        """Exchange until nothing is pending and both sides compare equal. Uses the network.

        Raises the ``SyncError`` tree after the first attempt that fails; pending work is kept.
        """
        exchanger = self._exchange()
        if self._runner is None and not self._lock.acquire():
            raise SyncError("another process syncs this replica", code="sync_elsewhere")
        try:
            report = self._sync(exchanger, progress)
            self._session = {"state": "online"}
            if self._runner:
                self._runner.synced()
            return report
        except SyncError as error:
            self._session = {
                "state": state_after(error), "error_code": error.code,
                "error_message": error.message,
            }  # fmt: skip
            raise
        finally:
            if self._runner is None:
                self._lock.release()

    def _sync(self, exchanger: Exchanger, progress: Progress | None) -> SyncReport:
        if progress is not None:
            exchanger.on_loading = _shown(progress)
        try:
            return self._until_done(exchanger, progress)
        finally:
            exchanger.on_loading = None

    def _until_done(self, exchanger: Exchanger, progress: Progress | None) -> SyncReport:
        totals: dict[str, int] = dict.fromkeys(
            ("sent", "applied", "refused", "held", "received_rows", "removed_rows", "exchanges"), 0
        )
        while True:
            done = exchanger.exchange()
            totals["exchanges"] += 1
            totals["sent"] += done.sent
            totals["applied"] += done.applied.applied
            totals["refused"] += done.applied.refused
            totals["held"] += done.applied.held
            totals["received_rows"] += done.applied.rows
            totals["removed_rows"] += done.applied.removed
            if progress is not None:
                progress("exchanging", totals["applied"], totals["applied"] + done.left)
            if not done.left:
                break
            if not done.progressed:
                raise SyncError("the server does not decide what it was sent", code="no_progress")
        verified = not done.applied.differing
        if done.applied.differing:
            fixed = Verifier(self._database, exchanger).verify(deep=False)
            verified = fixed.ok
            totals["reconciled_rows" if done.reconciles else "repaired_rows"] = fixed.repaired
        return SyncReport(**totals, verified=verified)

    def verify(self, *, deep: bool = True, progress: Progress | None = None) -> VerifyReport:
        """Check the stored rows, compare with the server, repair what differs. Uses the network.

        It sends nothing, so another process may sync this replica meanwhile.
        """
        verifier = Verifier(self._database, self._exchange())
        if progress is None:
            return verifier.verify(deep=deep)
        return verifier.verify(deep=deep, progress=progress)

    def start(self, options: RunnerOptions | None = None) -> None:
        """Sync in the background, until ``stop`` or ``close``. Raises ``SyncError``
        (``sync_elsewhere``) when another process does."""
        if self._runner is not None:
            return
        exchanger = self._exchange()
        assert self._transport is not None
        if not self._lock.acquire():
            raise SyncError("another process syncs this replica", code="sync_elsewhere")
        self._runner = Runner(
            self._database,
            exchanger,
            self._transport,
            self._host,
            has_work=lambda: self._ask(has_work),
            has_unsent=lambda: self._ask(has_unsent),
            options=options or RunnerOptions(),
        )
        self._runner.start()

    def _ask(self, question: Callable[[LocalDatabase], bool]) -> bool:
        with self._mutex:
            return question(self._database)

    def stop(self) -> None:
        """End background sync; an exchange under way is finished or given up."""
        if self._runner is not None:
            self._runner.stop()
            self._session = self._runner.session
            self._runner = None
            self._lock.release()

    def sync_now(self) -> None:
        """Ask background sync to look at once."""
        if self._runner is not None:
            self._runner.hint()

    def ask_sync(self) -> Callable[[], bool]:
        """Ask the process that syncs this replica for a sync now; the answer tells when it is
        done."""
        with self._mutex, transaction(self._database.app):
            (asked,) = read_state(self._database.app, "sync_request")
            number = int(str(asked)) + 1
            write_state(self._database.app, sync_request=number)

        def done() -> bool:
            (text,) = self._state("session")
            return int(json.loads(str(text)).get("served", 0)) >= number

        return done

    def syncs_elsewhere(self) -> bool:
        """Whether another process syncs this replica now."""
        return self._runner is None and self._lock.held_elsewhere()

    @property
    def transport(self) -> Transport | None:
        return self._transport

    def close(self) -> None:
        """Stop syncing and close the file. Pending work stays in it."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        self._lock.release()
        if self._transport is not None:
            self._transport.close()
        with self._mutex:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _shown(progress: Progress) -> Told:
    """A first load as progress: what is done, how many of how many."""

    def told(loading: Loading | None) -> None:
        if loading is not None:
            progress(loading.stage, loading.done, loading.total)

    return told


def _is_alive(pid: object) -> bool:
    """Whether a process of this machine has this id."""
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def state_after(error: SyncError) -> str:
    """The state a failed attempt leaves a replica in, when nobody retries."""
    from holdfast.core.connectivity import State
    from holdfast.core.errors import AttentionNeeded, Offline, SignInNeeded, UpgradeNeeded

    match error:
        case Offline():
            return State.OFFLINE.value
        case SignInNeeded():
            return State.NEEDS_SIGN_IN.value
        case UpgradeNeeded():
            return State.NEEDS_UPGRADE.value
        case AttentionNeeded():
            return State.NEEDS_ATTENTION.value
        case _:
            return State.WAITING.value


def _transport(
    database: LocalDatabase,
    server: str | None,
    token: str | None,
    token_file: str | Path | None,
    host: Host,
) -> tuple[Transport | None, Callable[[int], None] | None]:
    """HTTP to the given or remembered server, and what renews its token if somebody must; the token
    is read anew for each request."""
    if server is not None or token_file is not None:
        address = None if server is None else checked_url(server)  # never remember a wrong one
        with transaction(database.app):
            if address is not None:
                write_state(database.app, server=address)
            if token_file is not None:
                write_state(database.app, token_file=str(Path(token_file).resolve()))
    url, path = (str(value) for value in database.state("server", "token_file"))
    if not url:
        return None, None
    # The offset of the very clock that stamps the changes is to be measured.
    if token is not None:
        given = token
        return HttpTransport(url, lambda: given, now_us=host.now_us), None
    if path:
        return HttpTransport(url, lambda: read_token(path), now_us=host.now_us), None
    keeper = TokenKeeper(CredentialsFile(database.path), url, database.identity)
    http = HttpTransport(url, keeper.token, now_us=host.now_us)
    return http, functools.partial(keeper.tend, http)


def read_token(path: str) -> str:
    """The token in a file: its first line. Raises ``ReplicaError`` (``no_token``)."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ReplicaError(f"the token file cannot be read: {error}", code="no_token") from None
    if not text:
        raise ReplicaError(f"the token file {path} is empty", code="no_token")
    return text.splitlines()[0].strip()


__all__ = ["DatabaseError", "Replica", "SyncReport", "Transaction"]
