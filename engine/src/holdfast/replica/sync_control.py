"""Control of a replica's sync, and what is known of it: by this object once or in the background,
or another process.

Knows: the lock, the background runner, a whole sync, and the state each of them leaves (one truth,
``standing``). Must not know: what is exchanged, or when something is due (``core.session``).

Upholds I35 (nobody syncs without the lock) and the truthful half of I29.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.core.connection.connectivity import FailureKind, State
from holdfast.core.errors import DatabaseError, SyncError, UsageError
from holdfast.core.limits import SYNC_SILENT_MS
from holdfast.replica.changes.local_work import LocalWork
from holdfast.replica.exchange.exchanger import Exchanger
from holdfast.replica.exchange.verify import Progress, Verifier, VerifyReport
from holdfast.replica.guards import endured, outlived
from holdfast.replica.host import Host
from holdfast.replica.http.transport import Transport
from holdfast.replica.identity.connect import RenewToken
from holdfast.replica.runner import Runner, RunnerOptions
from holdfast.replica.storage import connection_record
from holdfast.replica.storage.database import LocalDatabase, read_state, transaction, write_state
from holdfast.replica.storage.lock import SyncLock
from holdfast.replica.storage.status import has_unsent, has_work
from holdfast.replica.sync_call import SyncReport, sync_once
from holdfast.replica.turn import AwaitedTurn


class Syncing:
    """One replica's meetings with its server. ``transport`` is None before it has one."""

    def __init__(
        self,
        database: LocalDatabase,
        local: LocalWork,
        transport: Transport | None,
        host: Host,
        *,
        tend: RenewToken | None,
        on_damage: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_damage``: called when background sync finds the file damaged."""
        self._database = database
        self._on_damage = on_damage
        self.options: RunnerOptions | None = None
        """Of background sync, as long as it is wanted."""
        self._local = local
        self._host = host
        self.transport = transport
        self._lock = SyncLock(database.path)
        self._exchanger = None
        if transport is not None:
            self._exchanger = Exchanger(
                database, transport, host,
                tend=tend, beside=self._lock.noted, note=self._lock.note,
            )  # fmt: skip
        self._runner: Runner | None = None
        self._turn: AwaitedTurn | None = None
        """Of a background sync that cannot begin yet."""
        self._mutex = threading.RLock()
        """Of the lock, and of who begins or ends by having it."""
        self._session: connection_record.ConnectionRecord = {"state": "starting", "at": 0}
        """What this object knows itself; what the file says may be newer."""

    def exchanger(self) -> Exchanger:
        """Return what makes exchanges. Raises ``UsageError`` (``no_server``)."""
        if self._exchanger is None:
            raise UsageError(
                "this replica has no server yet: open it with server= and token=",
                code="no_server",
            )
        return self._exchanger

    # --- once -----------------------------------------------------------------------------------

    def sync(self, progress: Progress | None) -> SyncReport:
        """Exchange until nothing is pending. Raises the ``SyncError`` tree."""
        exchanger = self.exchanger()
        with self._mutex:
            if self._runner is None and not self._lock.acquire():
                raise SyncError(f"{self._holder()} syncs this replica", code="sync_elsewhere")
        try:
            with self._told(exchanger):
                exchanger.begin_anew()
                report = sync_once(self._database, exchanger, _endured(progress))
            if self._runner:
                self._runner.synced()
            return report
        finally:
            with self._mutex:
                if self._runner is None:
                    self._lock.release()

    def accept_server(self) -> Path:
        """Take another server for the one from now on. Raises ``SyncError``
        (``sync_elsewhere``)."""
        exchanger = self.exchanger()
        options = self.options if self.runs else None
        self.stop()
        with self._mutex:
            if not self._lock.acquire():
                raise SyncError(f"{self._holder()} syncs this replica", code="sync_elsewhere")
            try:
                copy = exchanger.accept_server()
                self._keep(exchanger, connection_record.succeeded(self._host.now_us()))
            finally:
                self._lock.release()
        if options is not None:
            self.start(options)
        return copy

    def verify(self, *, deep: bool, progress: Progress | None) -> VerifyReport:
        """Check and compare; it sends nothing, so another process may sync meanwhile."""
        exchanger = self.exchanger()
        verifier = Verifier(self._database, exchanger)
        shown = _endured(progress)
        with self._told(exchanger, sends=False):
            if shown is None:
                return verifier.verify(deep=deep)
            return verifier.verify(deep=deep, progress=shown)

    @contextmanager
    def _told(self, exchanger: Exchanger, *, sends: bool = True) -> Iterator[None]:
        """Return what comes of it is what ``status`` says from then on. What sends nothing
        proves only that the server lets the device in: that the replica is a copy stays true."""
        try:
            yield
        except (SyncError, DatabaseError) as error:
            if error.code != "sync_elsewhere":
                self._keep(exchanger, connection_record.failed(error, self._host.now_us()))
            raise
        kept = connection_record.read(self._database.sync_state("session"))
        over = (
            sends or not connection_record.is_parked(kept) or kept["state"] == State.NEEDS_SIGN_IN
        )
        if over:
            done = connection_record.succeeded(self._host.now_us())
            if connection_record.of_failure(kept):
                self._keep(exchanger, done)
            self._session = done

    def _keep(self, exchanger: Exchanger, now: connection_record.ConnectionRecord) -> None:
        self._session = now
        if self._runner is None:  # which keeps what is so by itself
            with exchanger.exclusive():
                connection_record.keep(self._database.sync, now)

    def _holder(self) -> str:
        holder, _ = self._lock.holder()
        return "another process" if holder in (None, os.getpid()) else f"process {holder}"

    # --- in the background ----------------------------------------------------------------------

    def start(self, options: RunnerOptions) -> None:
        """Sync in the background, now or when the process that syncs has ended."""
        self.options = options
        with self._mutex:
            if self._runner is not None or self._turn is not None or self._take(options):
                return
            self._turn = AwaitedTurn(lambda: self._take(options))
        if options.on_status is not None:
            with self._local.turn:
                known = self.known()
            outlived("a status callback", options.on_status)(known)
        self._turn.start()

    def _take(self, options: RunnerOptions) -> bool:
        """Begin, if it is our turn."""
        exchanger = self.exchanger()
        assert self.transport is not None
        with self._mutex:
            if not self._lock.acquire():
                return False
            try:
                self._runner = Runner(
                    self._database,
                    exchanger,
                    self.transport,
                    self._host,
                    has_work=lambda: self._local.ask(has_work),
                    has_unsent=lambda: self._local.ask(has_unsent),
                    beat=self._lock.beat,
                    on_damage=self._on_damage,
                    options=options,
                )
            except BaseException:
                self._lock.release()
                raise
            self._turn = None
            self._runner.start()
            return True

    def stop(self) -> None:
        """End background sync; an exchange under way is finished or given up."""
        turn = self._turn
        if turn is not None:
            turn.end()
            self._turn = None
        if self._runner is not None:
            self._runner.stop()
            self._session = self._runner.session
            with self._mutex:
                self._runner = None
                self._lock.release()

    @property
    def runs(self) -> bool:
        """Return whether this object syncs in the background."""
        return self._runner is not None

    def local_write(self) -> None:
        """A local transaction was committed."""
        if self._runner is not None:
            self._runner.local_write()

    def hint(self) -> None:
        """Ask background sync to look at once."""
        if self._runner is not None:
            self._runner.hint()

    def close(self) -> None:
        """Stop, and let go of the lock and the line."""
        self.stop()
        self._lock.release()
        if self.transport is not None:
            self.transport.close()

    # --- elsewhere ------------------------------------------------------------------------------

    def elsewhere(self) -> bool:
        """Return whether another process syncs this replica now."""
        return self._runner is None and self._lock.held_elsewhere()

    def ask(self) -> Callable[[], bool]:
        """Ask the process that syncs this replica for a sync now; the answer tells when it is
        done."""
        with self._local.turn, transaction(self._database.app):
            (asked,) = read_state(self._database.app, "sync_request")
            number = int(str(asked)) + 1
            write_state(self._database.app, sync_request=number)

        def done() -> bool:
            (text,) = self._local.state("session")
            return int(connection_record.read(text).get("served", 0)) >= number

        return done

    # --- what is known --------------------------------------------------------------------------

    def known(self) -> dict[str, Any]:
        """Return what can be said of the connection now, whoever keeps it, and as of when; and
        whom our background sync waits for. In the turn of local work."""
        found = self._known()
        return found if self._turn is None else found | {"waiting_for": self._holder()}

    def _known(self) -> connection_record.ConnectionRecord:
        loading = None if self._exchanger is None else self._exchanger.loading
        if loading is not None:
            session = self._session if self._runner is None else self._runner.standing()
            return session | {
                "state": "syncing", "loading": loading.to_dict(), "at": self._host.now_us()
            }  # fmt: skip
        if self._runner is not None:
            return self._runner.standing()
        (text,) = self._database.state("session")
        kept = connection_record.read(text)
        if self._lock.held_elsewhere():
            return self._known_elsewhere(kept)
        mine, theirs = self._session.get("at") or 0, kept.get("at") or 0
        if theirs <= mine and (theirs < mine or not connection_record.of_failure(kept)):
            return self._session | connection_record.at_rest(self._session)
        return connection_record.at_rest(kept) or {"state": State.STARTING.value}

    def _known_elsewhere(self, kept: connection_record.ConnectionRecord) -> dict[str, Any]:
        """Return what the process that syncs has said, as of its last sign of life. One that
        syncs once says nothing before its end; what an ended one has left of its state is not
        the truth."""
        holder, heard = self._lock.holder()
        pid = kept.get("pid")
        if not _is_alive(pid) or (holder is not None and holder != pid):
            return {"state": State.SYNCING.value, "at": heard, **connection_record.of_failure(kept)}
        at = max(kept.get("at") or 0, heard or 0)
        silent_ms = (self._host.now_us() - at) // 1000
        if silent_ms < SYNC_SILENT_MS:
            return kept | {"at": at}
        message = f"process {pid} syncs this replica, and has not been heard of since"
        silent = connection_record.failure(FailureKind.LOCAL, "sync_silent", message)
        why = {"stalled": True, "stalled_reason": "sync_silent"}
        return kept | {"at": at} | why | (connection_record.of_failure(kept) or silent)


def _endured(progress: Progress | None) -> Progress | None:
    return None if progress is None else endured("a progress callback", progress)


def _is_alive(pid: object) -> bool:
    """Return whether a process of this machine has this id."""
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
