"""Who syncs a replica, and what is known of it: this object once or in the background, or another
process.

Knows: the lock, the background runner, a whole sync, and the state each of them leaves. Must not
know: what is exchanged, or when something is due (``core.session``).

Upholds I35 (nobody syncs without the lock) and the truthful half of I29.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from holdfast.core.errors import SyncError, UsageError
from holdfast.core.failure_kinds import failure_kind, state_after
from holdfast.replica.connect import Tend
from holdfast.replica.database import LocalDatabase, read_state, transaction, write_state
from holdfast.replica.host import Host
from holdfast.replica.local import LocalWork
from holdfast.replica.lock import SyncLock
from holdfast.replica.runner import Runner, RunnerOptions
from holdfast.replica.status import has_unsent, has_work
from holdfast.replica.sync import Exchanger
from holdfast.replica.sync_once import SyncReport, sync_once
from holdfast.replica.transport import Transport
from holdfast.replica.verify import Progress, Verifier, VerifyReport


class Syncing:
    """One replica's meetings with its server. ``transport`` is None before it has one."""

    def __init__(
        self,
        database: LocalDatabase,
        local: LocalWork,
        transport: Transport | None,
        host: Host,
        *,
        tend: Tend | None,
    ) -> None:
        self._database = database
        self._local = local
        self._host = host
        self.transport = transport
        self._lock = SyncLock(database.path)
        self._exchanger = Exchanger(database, transport, host, tend=tend) if transport else None
        self._runner: Runner | None = None
        self._session: dict[str, Any] = {"state": "starting"}

    def exchanger(self) -> Exchanger:
        """What makes exchanges. Raises ``UsageError`` (``no_server``)."""
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
        if self._runner is None and not self._lock.acquire():
            raise SyncError("another process syncs this replica", code="sync_elsewhere")
        try:
            report = sync_once(self._database, exchanger, progress)
            self._session = {"state": "online"}
            if self._runner:
                self._runner.synced()
            return report
        except SyncError as error:
            self._session = {
                "state": state_after(error).value, "error_kind": failure_kind(error).value,
                "error_code": error.code, "error_message": error.message,
            }  # fmt: skip
            raise
        finally:
            if self._runner is None:
                self._lock.release()

    def verify(self, *, deep: bool, progress: Progress | None) -> VerifyReport:
        """Check and compare; it sends nothing, so another process may sync meanwhile."""
        verifier = Verifier(self._database, self.exchanger())
        if progress is None:
            return verifier.verify(deep=deep)
        return verifier.verify(deep=deep, progress=progress)

    # --- in the background ----------------------------------------------------------------------

    def start(self, options: RunnerOptions) -> None:
        """Sync in the background. Raises ``SyncError`` (``sync_elsewhere``)."""
        if self._runner is not None:
            return
        exchanger = self.exchanger()
        assert self.transport is not None
        if not self._lock.acquire():
            raise SyncError("another process syncs this replica", code="sync_elsewhere")
        self._runner = Runner(
            self._database,
            exchanger,
            self.transport,
            self._host,
            has_work=lambda: self._local.ask(has_work),
            has_unsent=lambda: self._local.ask(has_unsent),
            options=options,
        )
        self._runner.start()

    def stop(self) -> None:
        """End background sync; an exchange under way is finished or given up."""
        if self._runner is not None:
            self._runner.stop()
            self._session = self._runner.session
            self._runner = None
            self._lock.release()

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
        """Whether another process syncs this replica now."""
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
            return int(json.loads(str(text)).get("served", 0)) >= number

        return done

    # --- what is known --------------------------------------------------------------------------

    def known(self) -> dict[str, Any]:
        """What can be said of the connection now, whoever keeps it. In the turn of local work."""
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
