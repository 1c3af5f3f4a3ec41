"""Background sync: the thread driver of the sans-I/O session (``core.session``).

Knows: threads, timers and how to carry out effects. Must not know: when something is due.
One thread keeps the session and its timer; requests run in another, the live stream in a third,
and report back as events. Writes of other connections are noticed by ``PRAGMA data_version``. A
device is not sent to the server by the news of its own push: what the stream tells counts when the
replica does not have it yet.

Nothing ends a thread but ``stop``: what was not foreseen is logged and told, and the session begins
anew after a back-off. Events of the session before it are nobody's then.

Upholds I29 (nothing pending goes unnoticed) and the truthful status in ``holdfast_state.session``.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import errors
from holdfast.core import session as core
from holdfast.core.connection.connectivity import FailureKind, State, known_kind
from holdfast.core.connection.failures import failure_kind
from holdfast.core.limits import (
    FOREIGN_WRITE_POLL_MS,
    STATUS_TELL_MS,
    STOP_POLL_S,
    SYNC_BEAT_MS,
    SYNC_REVIVED_MS,
)
from holdfast.replica.exchange.exchanger import Exchanger, checkpoint
from holdfast.replica.exchange.verify import Verifier
from holdfast.replica.guards import outlived
from holdfast.replica.host import Host
from holdfast.replica.http.transport import EventStream, Transport
from holdfast.replica.load.first_load import Loading
from holdfast.replica.storage import connection_record
from holdfast.replica.storage.database import LocalDatabase, read_state
from holdfast.sqlite import Connection

log = logging.getLogger("holdfast.runner")


@dataclass(frozen=True, slots=True)
class _Told:
    """News of the stream: the newest versions of scopes; none: permissions have changed."""

    scopes: dict[str, int]


_Events = queue.Queue["core.SessionEvent | _Told"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerOptions:
    """``session``: times of the session. ``on_status``: called with each new status, by a thread of
    background sync; what it raises is logged."""

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
        beat: Callable[[], None],
        on_damage: Callable[[], None],
        options: RunnerOptions,
    ) -> None:
        """``beat``: called every so often, as a sign of life; ``on_damage``: when the file is found
        damaged."""
        self._on_damage = on_damage
        self._database = database
        self._exchanger = exchanger
        self._transport = transport
        self._host = host
        self._has_work = has_work
        self._has_unsent = has_unsent
        self._pid = os.getpid()
        self._beat = beat
        self._beat_at_ms = 0
        self._options = options
        self._on_status = outlived("a status callback", options.on_status or _nobody)
        self._events: _Events = queue.Queue()
        self._stopping = False
        self._deaths = 0
        """Unforeseen failures of the session that have followed each other."""
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = self._new_thread(self._run, "session")
        self._requester = self._new_thread(self._request, "request")
        self._listeners: list[threading.Thread] = []
        self._told: dict[str, int] = {}
        """Versions told by the stream that are still to be compared with the replica's."""
        self._written_meanwhile = False
        """Whether somebody has written while an exchange was under way."""
        self._stream: EventStream | None = None
        self._stream_lock = threading.Lock()
        self._watch: Connection = database.watch(lambda: self._stopping)
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
        (text,) = read_state(self._watch, "session")
        self.session: connection_record.ConnectionRecord = {
            "state": State.STARTING.value,
            "at": host.now_us(),
            **connection_record.of_failure(connection_record.read(text)),
        }

    @staticmethod
    def _new_thread(work: Callable[..., None], name: str, *arguments: object) -> threading.Thread:
        return threading.Thread(target=work, args=arguments, name=f"holdfast-{name}", daemon=True)

    # --- from other threads ---------------------------------------------------------------------

    def start(self) -> None:
        self._requester.start()
        self._thread.start()

    def standing(self) -> connection_record.ConnectionRecord:
        """Return how the replica stands now; the truth also when the session's thread is no
        more.
        """
        alive = self._thread.is_alive() or self._stopping or self._thread.ident is None
        if not alive:
            return {**self.session, **_died("its thread has ended"), "state": State.STOPPED.value}
        return {**self.session, "at": self._host.now_us()}

    def _revive(self) -> None:
        """Threads that have ended although nobody told them to; not in a forked child, whose
        parent has the replica."""
        if self._stopping or self._thread.ident is None or os.getpid() != self._pid:
            return
        if not self._requester.is_alive():
            self._requester = self._new_thread(self._request, "request")
            self._requester.start()
        if not self._thread.is_alive():
            log.error("the background sync thread has died; a new one was started")
            self._thread = self._new_thread(self._run, "session")
            self._thread.start()

    def local_write(self) -> None:
        """A local transaction was committed."""
        self._revive()
        self._events.put(core.LocalWrite())

    def synced(self) -> None:
        """Somebody has synced the replica beside the session; nothing is left to send."""
        self._events.put(core.Synced())

    def hint(self) -> None:
        """Look for the server at once."""
        self._revive()
        self._events.put(core.PlatformHint())
        self._events.put(core.ServerMoved())

    def stop(self) -> None:
        """End it. A wait for a lock, or for the network, is given up."""
        self._stopping = True
        self._events.put(core.Stop())
        self._thread.join()
        self._requests.put(None)
        for worker in (self._requester, *self._listeners):
            # A request that begins just after an interruption goes ahead: interrupt until it ends.
            while worker.is_alive():
                self._transport.interrupt()
                self._exchanger.interrupt()
                self._close_stream()
                worker.join(STOP_POLL_S)
        self._exchanger.go_on()
        self._watch.close()

    # --- the session's thread -------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            began_ms = self._host.monotonic_ms()
            try:
                self._session()
                return
            except BaseException as error:
                if self._stopping:
                    log.warning("background sync stopped with an unexpected error: %r", error)
                    return
                self._look_at(error)
                lived_ms = self._host.monotonic_ms() - began_ms
                self._deaths = 1 if lived_ms >= SYNC_REVIVED_MS else self._deaths + 1
                log.exception(
                    "background sync failed with an unexpected error and is started again"
                )
                self._rest(repr(error))

    def _look_at(self, error: BaseException) -> None:
        if isinstance(error, errors.DatabaseCorrupt):
            outlived("telling of damage", self._on_damage)()

    def _rest(self, why: str) -> None:
        """Say that it failed, wait as after any failure, and be ready to begin anew."""
        wait_ms = self._options.session.backoff.delay_ms(self._deaths, self._host.random01())
        self.session = {
            **self.session, **_died(why),
            "state": State.WAITING.value, "stalled": self._deaths > 1, "stalled_reason": "internal",
            "at": self._host.now_us(), "retry_at": self._host.now_us() + wait_ms * 1000,
        }  # fmt: skip
        self._on_status(self.session)
        self._untold = True
        ends_ms = self._host.monotonic_ms() + wait_ms
        outlived("telling of it", self._tell)()
        outlived("closing the live stream", self._close_stream)()
        while not self._stopping and (left_ms := ends_ms - self._host.monotonic_ms()) > 0:
            with contextlib.suppress(queue.Empty):
                self._events.get(timeout=left_ms / 1000)
        self._events = queue.Queue()  # what is still under way answers nobody
        self._state = core.new_session(self._options.session)
        self._wake_at_ms, self._told, self._advanced = None, {}, None
        self._written_meanwhile = False

    def _session(self) -> None:
        seen = self._data_version()
        self._step(core.Started(pending=int(self._has_work())))
        while not self._stopping and self._state.connection is not State.STOPPED:
            try:
                event = self._events.get(timeout=self._patience_s())
            except queue.Empty:
                event = None
            self._give_sign()
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
        self._step(core.Stop())
        self._tell()
        self._close_stream()

    def _give_sign(self) -> None:
        now_ms = self._host.monotonic_ms()
        if now_ms >= self._beat_at_ms:
            self._beat_at_ms = now_ms + SYNC_BEAT_MS
            self._beat()

    def _take(self, event: core.SessionEvent | _Told) -> None:
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
            if self._written_meanwhile:
                self._look_for_work()
        self._step(event)

    def _compare(self) -> None:
        """Compare the replica with what the stream has told of: does it lack anything?"""
        if not self._told:
            return
        told, self._told = self._told, {}
        known = checkpoint(self._watch)
        if any(scope not in known or known[scope].version < told[scope] for scope in told):
            self._step(core.ServerMoved())

    def _patience_s(self) -> float:
        wait_ms = STATUS_TELL_MS if self._untold else FOREIGN_WRITE_POLL_MS
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
        if self._state.exchanging:
            self._written_meanwhile = True  # and it may be what the exchange is about to take
        else:
            self._look_for_work()

    def _look_for_work(self) -> None:
        self._written_meanwhile = False
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
        self._on_status(self.session)

    def _watch_token(self) -> None:
        if self._state.connection is State.NEEDS_SIGN_IN:
            token = self._transport.fingerprint()
            if token != self._token:
                self._token = token
                self._step(core.SignedIn())

    def _step(self, event: core.SessionEvent) -> None:
        now_ms = self._host.monotonic_ms()
        self._state, effects = core.step(self._state, event, now_ms, self._host.random01())
        self._wake_at_ms = None
        for effect in effects:
            match effect:
                case core.StartExchange():
                    work = functools.partial(self._exchange, self._events, self._asked)
                    self._requests.put(work)
                case core.StartProbe():
                    self._requests.put(functools.partial(self._probe, self._events))
                case core.OpenStream():
                    self._close_stream()
                    self._open_stream()
                case core.CloseStream():
                    self._close_stream()
                case core.WakeAt(at_ms=at_ms):
                    self._wake_at_ms = at_ms
                case core.StatusChanged(status=status):
                    self._report(status)
        if self._served != self.session.get("served", 0):
            self._report(core.status(self._state))

    def _open_stream(self) -> None:
        self._listeners = [listener for listener in self._listeners if listener.is_alive()]
        listener = self._new_thread(self._listen, "stream", self._events)
        listener.start()
        self._listeners.append(listener)

    def _report(self, status: core.SessionStatus) -> None:
        retry_at = None
        if status.retry_at_ms is not None:
            left_ms = max(0, status.retry_at_ms - self._host.monotonic_ms())
            retry_at = self._host.now_us() + left_ms * 1000
        # What another session has failed with is so until a success follows.
        kept = {} if status.state is State.ONLINE else self.session
        failure: dict[str, Any] = connection_record.NO_FAILURE | connection_record.of_failure(kept)
        if (error := status.last_error) is not None:
            failure = connection_record.failure(known_kind(error.kind), error.code, error.message)
        self.session = {
            "state": status.state.value,
            "at": self._host.now_us(),
            "retry_at": retry_at,
            "attempt": status.attempt,
            "stalled": status.stalled,
            "stalled_reason": status.stalled_reason,
            **failure,
            "pid": os.getpid(),
            "served": self._served,
            "loading": None if self._loading is None else self._loading.to_dict(),
        }
        self._untold = True
        self._on_status(self.session)

    def _tell(self) -> None:
        """Let other processes see the status, once it has lasted a moment: most exchanges are over
        sooner, and their own writes must not wait for this one's. Failing to write it must not stop
        sync."""
        loading = self._exchanger.loading
        if not self._untold or (loading is not None and loading.stage == "importing"):
            return
        self._untold = False
        connection_record.keep(self._watch, self.session)

    # --- the other threads ----------------------------------------------------------------------

    def _request(self) -> None:
        """Exchanges and probes: the session begins one at a time. Their thread is kept, as to start
        one costs more than some exchanges take."""
        while (work := self._requests.get()) is not None:
            work()

    def _exchange(self, events: _Events, asked: int) -> None:
        try:
            done = self._exchanger.exchange()
            if done.applied.differing and not done.left:
                report = Verifier(self._database, self._exchanger).verify(deep=False)
                log.log(
                    logging.INFO if done.reconciles else logging.WARNING,
                    "scopes %s differed from the server's; %d rows were repaired",
                    ", ".join(report.mismatched), report.repaired,
                )  # fmt: skip
        except BaseException as error:  # noqa: BLE001 - each exchange has a result
            self._look_at(error)
            events.put(core.ExchangeFailed(**_why("an exchange", error)))
        else:
            self._served = max(self._served, asked)
            events.put(core.ExchangeOk(pending=done.left, progressed=not done.barren))

    def _probe(self, events: _Events) -> None:
        try:
            self._transport.health(self._host.random_bytes(8).hex())
        except BaseException as error:  # noqa: BLE001 - each probe has a result
            events.put(core.ProbeFailed(**_why("a probe", error)))
        else:
            events.put(core.ProbeOk())

    def _listen(self, events: _Events) -> None:
        """Read the live stream to its end, whatever that is; its end is told, unless another one
        has taken its place."""
        stream: EventStream | None = None
        mine = True
        try:
            stream = self._transport.events()
            with self._stream_lock:
                self._stream = stream
            for event in stream:
                if event.kind == "hello":
                    events.put(core.StreamUp())
                elif event.kind == "moved":
                    events.put(_Told(event.scopes))
                else:
                    events.put(core.Heartbeat())
        except errors.HoldfastError as error:
            log.debug("the event stream ended: %s", error)
        except BaseException:
            log.exception("the event stream failed with an unexpected error")
        finally:
            if stream is not None:
                with self._stream_lock:
                    mine = self._stream is stream
                    if mine:
                        self._stream = None
                outlived("closing a live stream", stream.close)()
            if mine:
                events.put(core.StreamDown())

    def _close_stream(self) -> None:
        with self._stream_lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _nobody(_session: dict[str, Any]) -> None:
    return


def _died(why: str) -> dict[str, str]:
    message = f"background sync failed with an unexpected error: {why}"
    return connection_record.failure(FailureKind.UNKNOWN, "internal", message)


def _why(what: str, error: BaseException) -> dict[str, Any]:
    """Return what failed an exchange or a probe, as its event says it."""
    if not isinstance(error, errors.HoldfastError):
        log.error("%s failed with an unexpected error", what, exc_info=error)
        return {"kind": "unknown", "message": repr(error)}
    return {
        "kind": failure_kind(error), "retry_after_ms": getattr(error, "retry_after_ms", None),
        "code": error.code, "message": error.message,
    }  # fmt: skip
