"""``Replica``: an app's local database that syncs.

Knows: how the parts fit together: local work (``local``), what a person decides (``decisions``),
the truth of the moment (``status``), who syncs (``syncing``). Must not know: what is inside them.
Local reads and writes never wait for the network; every method says whether it uses it.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from holdfast.core.errors import DatabaseCorrupt, DatabaseError, HoldfastError
from holdfast.core.limits import BUSY_TIMEOUT_MS
from holdfast.core.sides import SideChoice
from holdfast.core.values import Value
from holdfast.replica.changes.local_work import LocalWork, Transaction
from holdfast.replica.events.callbacks import call_with_news, unseen
from holdfast.replica.events.change import ChangeEvent
from holdfast.replica.events.subscriptions import ChangeSubscription, LiveQuery, Subscriptions
from holdfast.replica.exchange.verify import Progress, VerifyReport
from holdfast.replica.host import Host
from holdfast.replica.http.transport import Transport
from holdfast.replica.identity.connect import RenewToken, connect
from holdfast.replica.identity.credentials import CredentialsFile
from holdfast.replica.identity.enrolment import Enrolment, Proof, enrol_open
from holdfast.replica.identity.history import HistoryEvent, read_history
from holdfast.replica.inbox.decisions import InboxDecisions
from holdfast.replica.inbox.freeing import Freed
from holdfast.replica.inbox.inbox import Conflict, Inbox, Refused
from holdfast.replica.migration.migrate import migrate, migration_options
from holdfast.replica.migration.values import Told
from holdfast.replica.runner import RunnerOptions
from holdfast.replica.salvage.salvage import SalvageReport
from holdfast.replica.salvage.sound_file import SoundFile
from holdfast.replica.storage.database import LocalDatabase, reading
from holdfast.replica.storage.status import Status, read_status
from holdfast.replica.sync_call import SyncReport
from holdfast.replica.sync_control import Syncing
from holdfast.schema.model import Schema
from holdfast.sqlite import Row, driver

log = logging.getLogger("holdfast.salvage")


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
        tend: RenewToken | None = None,
        file: SoundFile | None = None,
    ) -> None:
        self._database = database
        self._file = file
        self._host = host
        self._events = Subscriptions(database)
        self._local = LocalWork(database, host, on_commit=self._committed)
        self._decisions = InboxDecisions(self._local, Inbox(database))
        self._syncing = Syncing(
            database, self._local, transport, host, tend=tend, on_damage=self._damage_met
        )
        self._closed = False
        self._mended = False
        self._mending = threading.Lock()

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
        on_migrate: Told = lambda _done, _total: None,
    ) -> Replica:
        """Open a replica, or make one (then ``schema`` is needed).

        A file of an older generation of the schema becomes one of this, with all its work, if the
        difference is additive; ``on_migrate`` hears how many rows of how many are done, and what it
        raises leaves the file as it was.

        The server's address and the path of the token file are remembered in the file; a token is
        not. Without either, the credentials beside the file are used (``enrol``).
        A damaged file is put aside, and a new one made with all work that can be read in it
        (``salvaged``). ``synchronous="FULL"``: what was committed survives a power cut. Raises
        ``ReplicaError``, ``SchemaError`` or ``DatabaseError``; opening never uses the network.
        """
        host = host or Host()
        library = driver(driver_name)

        def opened() -> LocalDatabase:
            return LocalDatabase.open(
                str(path),
                driver=library,
                schema=schema,
                synchronous=synchronous,
                busy_timeout_ms=busy_timeout_ms,
                migrate=lambda options: migrate(
                    str(path), schema, driver=library, host=host,
                    options=migration_options(options), told=on_migrate,
                ),
            )  # fmt: skip

        file = SoundFile(str(path), schema, driver=library, host=host, opened=opened)
        database = file.open()
        try:
            tend = None
            if transport is None:
                transport, tend = connect(
                    database, host, server=server, token=token, token_file=token_file
                )
            return cls(database, transport, host, tend=tend, file=file)
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

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A local transaction: committed and tracked at the end, undone on any error.

        What other connections wrote before it becomes a transaction of its own.
        """
        return self._local.transaction()

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Read from the local database."""
        return self._local.query(sql, params)

    def query_columns(
        self, sql: str, params: Sequence[Value] = ()
    ) -> tuple[tuple[str, ...], list[Row]]:
        """Read from the local database; column names and rows."""
        return self._local.query_columns(sql, params)

    def seal(self) -> None:
        """Make what was written ready to be sent, as the next exchange does first. An app may call
        it in an idle moment; it never needs to."""
        self._local.seal()

    def now_us(self) -> int:
        """The corrected time: the device's clock and its measured offset, µs since 1970."""
        return self._local.now_us()

    def device_now_us(self) -> int:
        """The device's own clock, µs since 1970: for columns declared ``corrected``, which the
        server shifts when it takes the change. The corrected time would be shifted twice there."""
        return self._host.now_us()

    def _committed(self) -> None:
        self._syncing.local_write()

    # --- a damaged file -------------------------------------------------------------------------

    @property
    def salvaged(self) -> SalvageReport | None:
        """Report on the file that was found damaged, at open or since: what was saved, what lost.
        None: it was not."""
        return None if self._file is None else self._file.salvaged

    def _may_mend(self) -> bool:
        """Note that the file is damaged; whether it can be mended at once."""
        if self._file is None:
            return False
        self._file.suspect()
        return not (self._mended or self._syncing.runs or self._local.inside)

    def _damage_met(self) -> None:
        """Background sync has met a damaged page. It cannot end itself: a thread does."""
        if self._file is not None:
            self._file.suspect()
            if not self._mended:
                thread = threading.Thread(target=self._mend_and_go_on, daemon=True,
                                          name="holdfast-salvage")  # fmt: skip
                thread.start()

    def _mend_and_go_on(self) -> None:
        with self._mending:
            options = self._syncing.options
            if self._closed or self._mended or options is None:
                return
            self._syncing.stop()
            try:
                self._mend()
            except HoldfastError as error:
                log.error("the damaged replica could not be salvaged: %s", error.message)  # noqa: TRY400
            if not self._closed:
                self._syncing.start(options)

    def _mend(self) -> None:
        """Close the damaged file, have what is in it saved, and go on with the new one. Once:
        what is damaged again after that needs a look at the disk."""
        assert self._file is not None
        self._mended = True
        with (
            self._local.turn,
            self._syncing.exchanger().exclusive(),
            self._events.replacing(),
        ):
            self._database.close()
            self._database.take_over(self._file.open())

    # --- what has changed -----------------------------------------------------------------------

    def changes(self, *tables: str) -> ChangeSubscription:
        """Changes of these synced tables, of all without any, as they are committed from now on: an
        iterator that waits for the next ``ChangeEvent``, until it or the replica is closed.

        Each ``ChangeEvent`` tells the table, the keys, what was done and by whom. What was not read
        yet becomes one: the rows are as they are now, not as they were. What another process or
        connection writes is noticed within ``FOREIGN_WRITE_POLL_MS`` and has no keys. Raises
        ``UsageError`` (``no_table``).
        """
        return self._events.subscribe(tables)

    def watch(self, sql: str, params: Sequence[Value] = ()) -> LiveQuery:
        """Rows of a query, at once and whenever they have become others: an iterator that waits,
        until it or the replica is closed. The query runs again when a table that it reads has
        changed. Raises ``UsageError`` (``not_a_query``) or ``DatabaseError``."""
        return LiveQuery(self._events, self.query, sql, params)

    def on_conflict(self, callback: Callable[[Conflict], object]) -> Callable[[], None]:
        """Call back with each conflict that opens from now on, in a thread of the replica's; what
        the callback raises is logged. The answer ends it."""
        news = unseen(self.conflicts, lambda one: one.id)
        news()
        return call_with_news("a conflict callback", news, callback, self._waking())

    def on_refused(self, callback: Callable[[Refused], object]) -> Callable[[], None]:
        """Call back with each transaction that is refused or held from now on; as
        ``on_conflict``."""
        news = unseen(self.refused, lambda one: one.id)
        news()
        return call_with_news("a refusal callback", news, callback, self._waking())

    def on_status(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Call back with the status, at once and whenever it has become another one (``as_of``
        apart); as ``on_conflict``."""
        news = unseen(lambda: [self.status], lambda one: dataclasses.replace(one, as_of=None))
        return call_with_news("a status callback", news, callback, self._waking())

    def _waking(self) -> ChangeSubscription:
        """Return a subscription that wakes at once, and with every commit to the file."""
        found = self._events.subscribe(every=True)
        found.touch()
        return found

    # --- what a person sees ---------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The truth of this moment, without the network."""
        with self._local.turn:
            self._local.seal_long()
            return read_status(self._database, self._syncing.known)

    def history(self) -> list[HistoryEvent]:
        """The history of this replica, oldest first: it was copied or restored, or its server was,
        and so much was sent again because of that."""
        with self._local.turn, reading(self._database.app):
            return read_history(self._database.app)

    def row_status(self, table: str, key: str) -> str:
        """``synced``, ``pending``, ``sent``, ``held``, ``refused`` or ``conflict``; ``unknown``
        when no such row is known. ``key``: its canonical text."""
        return self._decisions.row_status(table, key)

    def conflicts(self) -> list[Conflict]:
        """Open conflicts, oldest first."""
        return self._decisions.conflicts()

    def refused(self) -> list[Refused]:
        """Refused and held transactions, in order."""
        return self._decisions.refused()

    def resolve(
        self,
        conflict: str,
        *,
        keep: SideChoice | None = None,
        value: Any = None,
    ) -> None:
        """Settle a conflict, offline too: keep a side, or set another value (``keep=None``); about
        a group that is a dict of the values of all its columns.

        ``keep``: ``device`` or ``server``, the same on every device, or ``yours`` or ``other`` as
        seen from this one. Raises ``UsageError`` (``no_conflict``, ``bad_choice``,
        ``unclear_side`` where neither side is this device's or its user's alone) or ``BadValue``.
        """
        self._decisions.resolve(conflict, keep=keep, value=value)

    def retry(self, item: str) -> list[int]:
        """Make a refused transaction again on the rows as they are now, then those held with it;
        returns the new numbers. Raises ``UsageError`` or ``ConstraintFailed``: nothing changed."""
        return self._decisions.retry(item)

    def discard(self, item: str) -> Freed:
        """Give a refused or held transaction up; what was held because of it goes on by itself,
        where it can. Raises ``UsageError`` (``no_refused``)."""
        return self._decisions.discard(item)

    def if_discarded(self, item: str) -> Freed:
        """Return what ``discard`` would let go on, and what would stay in the inbox and why;
        nothing is changed. Raises ``UsageError`` (``no_refused``)."""
        return self._decisions.if_discarded(item)

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

        Raises as ``holdfast.replica.identity.enrolment.enrol``.
        """
        proof = Proof(code=code, user=user, password=password, sign_in=sign_in)
        file = CredentialsFile(self.path)
        database = LocalDatabase.open(
            self.path, driver=self._database.driver, schema=None, busy_timeout_ms=BUSY_TIMEOUT_MS
        )  # connections of its own: local work does not wait for the network
        try:
            done = enrol_open(database, file, proof, name=name, host=self._host)
        finally:
            database.close()
        self.sync_now()
        return done

    def sync(self, *, progress: Progress | None = None) -> SyncReport:
        """Exchange until nothing is pending and both sides compare equal. Uses the network.

        Raises the ``SyncError`` tree after the first attempt that fails; pending work is kept.
        """
        try:
            return self._syncing.sync(progress)
        except DatabaseCorrupt:
            if not self._may_mend():
                raise
        self._mend()
        return self._syncing.sync(progress)

    def accept_server(self) -> Path:
        """Take the server that answers now for the one of this replica from now on, where it is
        another one (``another_server``): a person's decision. Uses no network.

        The file is copied first, to the path that is returned. At the next sync what is not sent,
        and what is kept of acknowledged work, is offered to that server, and its rows are loaded:
        rows that it lacks leave the replica. Raises ``UsageError`` (``no_server``), ``SyncError``
        (``sync_elsewhere``) or ``DatabaseError``: nothing was changed then.
        """
        return self._syncing.accept_server()

    def verify(self, *, deep: bool = True, progress: Progress | None = None) -> VerifyReport:
        """Check the stored rows, compare with the server, repair what differs. Uses the network.

        It sends nothing, so another process may sync this replica meanwhile.
        """
        return self._syncing.verify(deep=deep, progress=progress)

    def start(self, options: RunnerOptions | None = None) -> None:
        """Sync in the background, until ``stop`` or ``close``. While another process syncs this
        replica it waits its turn (``Status.waiting_for``), and begins when that one has ended."""
        try:
            self._syncing.start(options or RunnerOptions())
        except DatabaseCorrupt:
            if not self._may_mend():
                raise
            self._mend()
            self._syncing.start(options or RunnerOptions())
        self._events.touch()

    def stop(self) -> None:
        """End background sync; an exchange under way is finished or given up."""
        with self._mending:
            self._syncing.stop()
        self._events.touch()

    def sync_now(self) -> None:
        """Ask background sync to look at once."""
        self._syncing.hint()

    def ask_sync(self) -> Callable[[], bool]:
        """Ask the process that syncs this replica for a sync now; the answer tells when it is
        done."""
        return self._syncing.ask()

    def syncs_elsewhere(self) -> bool:
        """Return whether another process syncs this replica now."""
        return self._syncing.elsewhere()

    @property
    def transport(self) -> Transport | None:
        return self._syncing.transport

    def close(self) -> None:
        """Stop syncing and close the file. Pending work stays in it."""
        if self._closed:
            return
        self._closed = True
        self._events.close()
        with self._mending:
            self._syncing.close()
        with self._local.turn:
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


__all__ = ["ChangeEvent", "DatabaseError", "Replica", "SyncReport", "Transaction"]
