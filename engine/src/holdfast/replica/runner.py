"""Background sync: the thread driver of the sans-I/O session (``core.session``).

Knows: threads, timers and how to carry out effects. Must not know: when something is due.
One thread keeps the session and its timer; requests run in another, the live stream in a third,
and report back as events. Writes of other connections are noticed by ``PRAGMA data_version``. A
device is not sent to the server by the news of its own push: what the stream tells counts when the
replica does not have it yet.

Upholds I29 (nothing pending goes unnoticed) and the truthful status in ``holdfast_state.session``.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import errors
from holdfast.core import session as core
from holdfast.core.connectivity import State, known_kind
from holdfast.core.failure_kinds import failure_kind
from holdfast.core.limits import FOREIGN_WRITE_POLL_MS
from holdfast.replica.database import LocalDatabase, read_state, transaction, write_state
from holdfast.replica.host import Host
from holdfast.replica.loading import Loading
from holdfast.replica.sync import Exchanger, checkpoint
from holdfast.replica.transport import EventStream, Transport
from holdfast.replica.verify import Verifier
from holdfast.sqlite import Connection

log = logging.getLogger("holdfast.runner")

_STOP_POLL_S = 0.05
_TELL_MS = 50


@dataclass(frozen=True, slots=True)
class _Told:
    """What the stream has told: the newest versions of scopes; none: rights have changed."""

    scopes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """``session``: times of the session. ``on_status``: called with each new status."""

    session: core.SessionConfig = field(default_factory=core.SessionConfig)
    on_status: Callable[[dict[str, Any]], None] | None = None


class Runner:
    """Keeps one replica in sync until it is stopped."""

    def __init__(
        self,
        database: LocalDatabase,
        exchanger: Exchanger,
        transport: Transport,
        host: Host,
        *,
        has_work: Callable[[], bool],
        has_unsent: Callable[[], bool],
        options: RunnerOptions,
    ) -> None:
        self._database = database
        self._exchanger = exchanger
        self._transport = transport
        self._host = host
        self._has_work = has_work
        self._has_unsent = has_unsent
        self._options = options
        self._events: queue.Queue[core.Event | _Told] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="holdfast-session", daemon=True)
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._requester = threading.Thread(
            target=self._request, name="holdfast-request", daemon=True
        )
        self._listeners: list[threading.Thread] = []
        self._told: dict[str, int] = {}
        """Versions told by the stream that are still to be compared with the replica's."""
        self._stream: EventStream | None = None
        self._stream_lock = threading.Lock()
        self._watch: Connection = database.watch()
        self._state = core.new_session(options.session)
        self._wake_at_ms: int | None = None
        self._asked = 0
        self._served = 0
        self._loading: Loading | None = None
        self._advanced: Loading | None = None
        """How far the session knows that it is; ``_loading``: how far others were told."""
        self._token = transport.fingerprint()
        self._untold = False
        """Whether the file has an older status than ``session``."""
        self.session: dict[str, Any] = {"state": State.STARTING.value}

    # --- from other threads ---------------------------------------------------------------------

    def start(self) -> None:
        self._requester.start()
        self._thread.start()

    def local_write(self) -> None:
        """A local transaction was committed."""
        self._events.put(core.LocalWrite())

    def synced(self) -> None:
        """Somebody has synced the replica beside the session; nothing is left to send."""
        self._events.put(core.Synced())

    def hint(self) -> None:
        """Look for the server at once."""
        self._events.put(core.PlatformHint())
        self._events.put(core.ServerMoved())

    def stop(self) -> None:
        self._events.put(core.Stop())
        self._thread.join()
        self._requests.put(None)
        for worker in (self._requester, *self._listeners):
            # A request that begins just after an interruption goes ahead: interrupt until it ends.
            while worker.is_alive():
                self._transport.interrupt()
                self._exchanger.interrupt()
                self._close_stream()
                worker.join(_STOP_POLL_S)
        self._watch.close()

    # --- the session's thread -------------------------------------------------------------------

    def _run(self) -> None:
        seen = self._data_version()
        self._step(core.Started(pending=int(self._has_work())))
        while self._state.connection is not State.STOPPED:
            try:
                event = self._events.get(timeout=self._patience_s())
            except queue.Empty:
                event = None
            if event is not None:
                self._take(event)
                continue
            self._tell()
            version = self._data_version()
            if version != seen:
                seen = version
                self._look()
            self._watch_token()
            self._watch_loading()
            if self._wake_at_ms is not None and self._host.monotonic_ms() >= self._wake_at_ms:
                self._wake_at_ms = None
                self._step(core.Tick())
        self._tell()
        self._close_stream()

    def _take(self, event: core.Event | _Told) -> None:
        """An event of another thread. What was told while an exchange is under way waits for its
        answer, which may bring it: a push is told to everybody, its own device included."""
        if isinstance(event, _Told):
            if not event.scopes:
                self._step(core.ServerMoved())
                return
            for scope, version in event.scopes.items():
                self._told[scope] = max(version, self._told.get(scope, 0))
            if not self._state.exchanging:
                self._compare()
            self._step(core.Heartbeat())
            return
        if isinstance(event, core.ExchangeOk | core.ExchangeFailed):
            self._compare()
        self._step(event)

    def _compare(self) -> None:
        """Whether the replica lacks anything that the stream has told of."""
        if not self._told:
            return
        told, self._told = self._told, {}
        known = checkpoint(self._watch)
        if any(scope not in known or known[scope].version < told[scope] for scope in told):
            self._step(core.ServerMoved())

    def _patience_s(self) -> float:
        wait_ms = _TELL_MS if self._untold else FOREIGN_WRITE_POLL_MS
        if self._wake_at_ms is not None:
            wait_ms = min(wait_ms, max(0, self._wake_at_ms - self._host.monotonic_ms()))
        return wait_ms / 1000

    def _data_version(self) -> object:
        return self._watch.execute("PRAGMA data_version")[0][0]

    def _look(self) -> None:
        """Another connection has written: is there work, or a wish to sync?"""
        (asked,) = read_state(self._watch, "sync_request")
        if isinstance(asked, int) and asked > self._asked:
            self._asked = asked
            self.hint()
        if self._has_unsent():
            self._step(core.LocalWrite())

    def _watch_loading(self) -> None:
        """Tell how far a first load is; the file not while the import holds its write lock."""
        loading = self._exchanger.loading
        if loading is not None and loading != self._advanced:
            self._step(core.Advanced(stage=loading.stage, done=loading.done, total=loading.total))
        self._advanced = loading
        if loading == self._loading or (loading is not None and loading.stage == "importing"):
            return
        self._loading = loading
        self.session = {
            **self.session, "loading": None if loading is None else loading.to_dict()
        }  # fmt: skip
        self._untold = True
        self._tell()
        if self._options.on_status is not None:
            self._options.on_status(self.session)

    def _watch_token(self) -> None:
        if self._state.connection is State.NEEDS_SIGN_IN:
            token = self._transport.fingerprint()
            if token != self._token:
                self._token = token
                self._step(core.SignedIn())

    def _step(self, event: core.Event) -> None:
        now_ms = self._host.monotonic_ms()
        self._state, effects = core.step(self._state, event, now_ms, self._host.random01())
        self._wake_at_ms = None
        for effect in effects:
            match effect:
                case core.StartExchange():
                    self._requests.put(functools.partial(self._exchange, self._asked))
                case core.StartProbe():
                    self._requests.put(self._probe)
                case core.OpenStream():
                    self._close_stream()
                    self._open_stream()
                case core.CloseStream():
                    self._close_stream()
                case core.WakeAt(at_ms=at_ms):
                    self._wake_at_ms = at_ms
                case core.Report(status=status):
                    self._report(status)
        if self._served != self.session.get("served", 0):
            self._report(core.status(self._state))

    def _open_stream(self) -> None:
        self._listeners = [listener for listener in self._listeners if listener.is_alive()]
        listener = threading.Thread(target=self._listen, name="holdfast-stream", daemon=True)
        self._listeners.append(listener)
        listener.start()

    def _report(self, status: core.Status) -> None:
        retry_at = None
        if status.retry_at_ms is not None:
            left_ms = max(0, status.retry_at_ms - self._host.monotonic_ms())
            retry_at = self._host.now_us() + left_ms * 1000
        error = status.last_error
        self.session = {
            "state": status.state.value,
            "retry_at": retry_at,
            "attempt": status.attempt,
            "stalled": status.stalled,
            "stalled_reason": status.stalled_reason,
            "error_kind": known_kind(error.kind).value if error else None,
            "error_code": error.code if error else None,
            "error_message": error.message if error else None,
            "pid": os.getpid(),
            "served": self._served,
            "loading": None if self._loading is None else self._loading.to_dict(),
        }
        self._untold = True
        if self._options.on_status is not None:
            self._options.on_status(self.session)

    def _tell(self) -> None:
        """Let other processes see the status, once it has lasted a moment: most exchanges are over
        sooner, and their own writes must not wait for this one's. Failing to write it must not stop
        sync."""
        loading = self._exchanger.loading
        if not self._untold or (loading is not None and loading.stage == "importing"):
            return
        self._untold = False
        try:
            with transaction(self._watch):
                write_state(self._watch, session=json.dumps(self.session))
        except errors.DatabaseError as error:
            log.warning("the status could not be stored: %s", error)

    # --- the other threads ----------------------------------------------------------------------

    def _request(self) -> None:
        """Exchanges and probes: the session begins one at a time. Their thread is kept, as to start
        one costs more than some exchanges take."""
        while (work := self._requests.get()) is not None:
            work()

    def _exchange(self, asked: int) -> None:
        try:
            done = self._exchanger.exchange()
            if done.applied.differing and not done.left:
                report = Verifier(self._database, self._exchanger).verify(deep=False)
                log.log(
                    logging.INFO if done.reconciles else logging.WARNING,
                    "scopes %s differed from the server's; %d rows were repaired",
                    ", ".join(report.mismatched), report.repaired,
                )  # fmt: skip
        except errors.HoldfastError as error:
            self._events.put(
                core.ExchangeFailed(
                    kind=failure_kind(error),
                    retry_after_ms=getattr(error, "retry_after_ms", None),
                    code=error.code,
                    message=error.message,
                )
            )
        except Exception as error:
            log.exception("an exchange failed in an unexpected way")
            self._events.put(core.ExchangeFailed(kind="unknown", message=repr(error)))
        else:
            self._served = max(self._served, asked)
            self._events.put(
                core.ExchangeOk(pending=done.left, progressed=done.progressed or not done.left)
            )

    def _probe(self) -> None:
        try:
            self._transport.health(self._host.random_bytes(8).hex())
        except errors.HoldfastError as error:
            self._events.put(
                core.ProbeFailed(
                    kind=failure_kind(error),
                    retry_after_ms=getattr(error, "retry_after_ms", None),
                    code=error.code,
                    message=error.message,
                )
            )
        except Exception as error:
            log.exception("a probe failed in an unexpected way")
            self._events.put(core.ProbeFailed(kind="unknown", message=repr(error)))
        else:
            self._events.put(core.ProbeOk())

    def _listen(self) -> None:
        try:
            stream = self._transport.events()
        except errors.HoldfastError as error:
            log.debug("no live stream: %s", error)
            self._events.put(core.StreamDown())
            return
        with self._stream_lock:
            self._stream = stream
        try:
            for event in stream:
                if event.kind == "hello":
                    self._events.put(core.StreamUp())
                elif event.kind == "moved":
                    self._events.put(_Told(event.scopes))
                else:
                    self._events.put(core.Heartbeat())
        except errors.HoldfastError as error:
            log.debug("the live stream ended: %s", error)
        finally:
            with self._stream_lock:
                mine = self._stream is stream
                if mine:
                    self._stream = None
            stream.close()
            if mine:
                self._events.put(core.StreamDown())

    def _close_stream(self) -> None:
        with self._stream_lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
