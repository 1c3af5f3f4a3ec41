"""The client's side of sync as a pure state machine: `step(state, event) -> (state, effects)`.

Knows when to exchange, probe, open the live stream, wait and report. Must not know a clock, a
socket, a thread or the database: a driver (threads, asyncio, simulator) feeds it events with a
moment and a random number, and carries out the effects it returns. `now_ms` comes from a clock that
never goes back, 0 or later, best one that counts suspended time; `random01` is drawn from [0, 1).

A step is: note the event's facts, then act on the facts that are due. Timers need no event of
their own kind (`Tick` is a fact-less event), so a late, early or doubled tick does no harm.

What a driver owes: one timer, set by the `WakeAt` of the newest step (none: no timer); exactly one
result for each `StartExchange` and `StartProbe`, each under a deadline; `OpenStream` replaces a
stream that is still open, and a closed stream sends no more events.

Upholds I29 (no state without a timer or work under way, but for those that wait for a person; one
exchange in flight; a server that is back is used within the back-off's maximum), I30 (retries
within the budget), I32 (no failure ends in dropping work), and of I35 that one session never sends
twice at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from holdfast.core.backoff import RetryBudget
from holdfast.core.connection.connectivity import (
    FailureVerdict,
    Signal,
    State,
    classify,
    signal_of,
    transition,
)
from holdfast.core.limits import LOAD_PLACES_MAX
from holdfast.core.session_events import (
    HEARTBEATS_MISSED,
    Advanced,
    CloseStream,
    Effect,
    ExchangeFailed,
    ExchangeOk,
    Heartbeat,
    LastError,
    LocalWrite,
    OpenStream,
    Pause,
    PlatformHint,
    ProbeFailed,
    ProbeOk,
    Resume,
    ServerMoved,
    SessionConfig,
    SessionEvent,
    SessionStatus,
    SignedIn,
    Started,
    StartExchange,
    StartProbe,
    StatusChanged,
    Stop,
    StreamDown,
    StreamUp,
    Synced,
    Tick,
    WakeAt,
)

__all__ = [
    "HEARTBEATS_MISSED",
    "Advanced",
    "CloseStream",
    "Effect",
    "ExchangeFailed",
    "ExchangeOk",
    "Heartbeat",
    "LastError",
    "LocalWrite",
    "OpenStream",
    "Pause",
    "PlatformHint",
    "ProbeFailed",
    "ProbeOk",
    "Resume",
    "ServerMoved",
    "SessionConfig",
    "SessionEvent",
    "SessionState",
    "SessionStatus",
    "SignedIn",
    "StartExchange",
    "StartProbe",
    "Started",
    "StatusChanged",
    "Stop",
    "Stream",
    "StreamDown",
    "StreamUp",
    "Synced",
    "Tick",
    "WakeAt",
    "new_session",
    "status",
    "step",
]

# --- state -------------------------------------------------------------------------------------


class Stream(Enum):
    """The live stream, as far as the session knows."""

    DOWN = "down"
    OPENING = "opening"
    UP = "up"


class _Contact(Enum):
    PROBE = "probe"
    EXCHANGE = "exchange"


_PARKED: Final = frozenset(
    {State.NEEDS_SIGN_IN, State.NEEDS_ATTENTION, State.PAUSED, State.STOPPED}
)
"""States that touch no network and wait for a person."""
_STREAMLESS: Final = _PARKED | {State.OFFLINE, State.NEEDS_UPGRADE}
_RETRYING: Final = frozenset({State.OFFLINE, State.WAITING, State.NEEDS_UPGRADE})


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """All a session remembers. Made by `new_session`, changed only by `step`."""

    config: SessionConfig
    budget: RetryBudget
    connection: State = State.STARTING
    exchanging: bool = False
    probing: bool = False
    stream: Stream = Stream.DOWN
    heard_at_ms: int = 0
    """When the stream last gave a sign of life, or was opened."""
    up_at_ms: int = 0
    """When the stream was last connected."""
    stream_at_ms: int = 0
    """Before this the stream is not opened again."""
    stream_losses: int = 0
    """Losses in a row, reset once a stream has lasted: a proxy that cuts them is not hammered."""
    written: bool = False
    """A local write since the last exchange began."""
    moved: bool = False
    """The server may hold news since the last exchange began."""
    pending: int = 0
    attempt: int = 0
    barren: int = 0
    """Successful exchanges in a row that left work and brought none forward."""
    earned: bool = False
    """A probe succeeded, so its exchange rides on the same retry token."""
    signed_in: bool = False
    """A new token came while a request with the old one was under way."""
    due_at_ms: int | None = None
    """When the next retry or poll is due."""
    probe_at_ms: int | None = None
    """When a probe that a hint or a lost stream asked for is due."""
    hint_free_at_ms: int = 0
    not_before_ms: int = 0
    """No contact before this: Retry-After, or an empty budget."""
    progress_at_ms: int = 0
    """Since when pending work has made no progress."""
    reached: tuple[tuple[str, int, int], ...] = ()
    """How far loads have come since the last success: stage, total, done; the newest last."""
    stalled: bool = False
    last_error: LastError | None = None


def new_session(config: SessionConfig | None = None) -> SessionState:
    """The state of a session that has not been started yet."""
    config = config or SessionConfig()
    refill_ms = max(1, min(config.budget_refill_ms, config.backoff.cap_ms // 2))
    return SessionState(
        config=config, budget=RetryBudget(capacity=config.budget_capacity, refill_ms=refill_ms)
    )


def step(
    state: SessionState, event: SessionEvent, now_ms: int, random01: float
) -> tuple[SessionState, tuple[Effect, ...]]:
    """Take in one event and say what to do. Total: every event is legal in every state."""
    if state.connection is State.STOPPED:
        return state, ()
    before = status(state)
    state = _note(state, event, now_ms, random01)
    state, effects = _tend_stream(state, now_ms, random01)
    state, contact = _make_contact(state, now_ms)
    effects += contact
    state = _watch(state, now_ms)
    after = status(state)
    if after != before:
        effects += (StatusChanged(after),)
    wake_at_ms = _wake_at_ms(state)
    if wake_at_ms is not None:
        effects += (WakeAt(max(wake_at_ms, now_ms + 1)),)
    return state, effects


def status(state: SessionState) -> SessionStatus:
    """Return what can be said about `state`; derived, never stored."""
    upcoming = _next_contact(state) if state.connection in _RETRYING else None
    return SessionStatus(
        state=state.connection,
        retry_at_ms=None if upcoming is None else upcoming[0],
        last_error=state.last_error,
        attempt=state.attempt,
        stalled=state.stalled,
        stalled_reason=_stalled_reason(state) if state.stalled else None,
    )


# --- facts: what an event says -----------------------------------------------------------------


def _note(state: SessionState, event: SessionEvent, now_ms: int, random01: float) -> SessionState:
    match event:
        case Started(pending=pending):
            state = replace(state, pending=pending, progress_at_ms=now_ms, due_at_ms=now_ms)
            return _signal(state, Signal.STARTED)
        case LocalWrite():
            since_ms = state.progress_at_ms if state.pending else now_ms
            pending = max(state.pending, 1)
            return replace(state, written=True, pending=pending, progress_at_ms=since_ms)
        case ServerMoved() | StreamUp() | StreamDown() | Heartbeat():
            return _note_stream(state, event, now_ms, random01)
        case ExchangeOk() if state.exchanging:
            return _exchanged(state, event, now_ms, random01)
        case Synced() if not state.exchanging:  # or the exchange under way tells soon
            done = ExchangeOk(pending=event.pending)
            return _exchanged(_awoken(state), done, now_ms, random01)
        case Advanced():
            return _advanced(state, event, now_ms)
        case ExchangeFailed() if state.exchanging:
            return _failed(replace(state, exchanging=False), event, now_ms, random01)
        case ProbeOk() if state.probing:
            state = replace(state, probing=False, earned=True, moved=True, due_at_ms=now_ms)
            return _signal(state, Signal.REACHED)
        case ProbeFailed() if state.probing:
            return _failed(replace(state, probing=False), event, now_ms, random01)
        case _:
            return _note_person(state, event, now_ms)


def _note_stream(
    state: SessionState,
    event: ServerMoved | StreamUp | StreamDown | Heartbeat,
    now_ms: int,
    random01: float,
) -> SessionState:
    match event:
        case ServerMoved():
            return _stream_alive(replace(state, moved=True), now_ms)
        case StreamUp() if state.stream is Stream.OPENING:
            # What happened between the last exchange and now was told to nobody: look.
            state = replace(state, stream=Stream.UP, heard_at_ms=now_ms, up_at_ms=now_ms)
            return replace(state, moved=True)
        case StreamDown() if state.stream is not Stream.DOWN:
            return _stream_lost(state, now_ms, random01)
        case Heartbeat():
            return _stream_alive(state, now_ms)
        case _:
            return state  # the echo of a stream that was given up already


def _note_person(state: SessionState, event: SessionEvent, now_ms: int) -> SessionState:
    match event:
        case PlatformHint():
            return _hinted(state, now_ms)
        case Pause():
            state = replace(state, due_at_ms=None, probe_at_ms=None, earned=False)
            return _signal(state, Signal.PAUSED)
        case Resume():
            resumed = _signal(state, Signal.RESUMED)
            return resumed if resumed.connection is state.connection else _at_once(resumed, now_ms)
        case SignedIn():
            state = replace(state, signed_in=state.exchanging or state.probing)
            signed_in = _signal(state, Signal.SIGNED_IN)
            if signed_in.connection is state.connection:
                return state
            return _at_once(signed_in, now_ms)
        case Stop():
            return _signal(state, Signal.STOPPED)
        case _:
            return state  # a tick, or the echo of something already given up


def _exchanged(
    state: SessionState, event: ExchangeOk, now_ms: int, random01: float
) -> SessionState:
    config = state.config
    # A write that came during the exchange is not in its count.
    pending = event.pending or int(state.written)
    unfinished = event.more or event.pending > 0
    barren = state.barren + 1 if unfinished and not event.progressed else 0
    if barren:
        due_at_ms = now_ms + config.backoff.delay_ms(barren, random01)
    elif unfinished:
        due_at_ms = now_ms
    else:
        poll_ms = config.poll_with_stream_ms if state.stream is Stream.UP else config.poll_ms
        due_at_ms = now_ms + int(poll_ms * (0.9 + 0.2 * random01))
    restart_watch = event.progressed or not event.pending or not state.pending
    state = replace(
        state,
        exchanging=False,
        pending=pending,
        barren=barren,
        reached=(),
        attempt=0,
        last_error=None,
        not_before_ms=0,
        due_at_ms=due_at_ms,
        probe_at_ms=None,
        progress_at_ms=now_ms if restart_watch else state.progress_at_ms,
    )
    return _signal(state, Signal.DONE)


def _advanced(state: SessionState, event: Advanced, now_ms: int) -> SessionState:
    """Bytes or rows have come that had not come before: pending work waits for a good reason.

    What a new attempt repeats does not count, or one that always breaks at the same place would
    never be reported.
    """
    place = (event.stage, event.total)
    before = next((done for *known, done in state.reached if tuple(known) == place), 0)
    if event.done <= before:
        return state
    others = tuple(item for item in state.reached if item[:2] != place)
    reached = (*others, (*place, event.done))[-LOAD_PLACES_MAX:]
    return replace(state, reached=reached, progress_at_ms=now_ms)


def _failed(
    state: SessionState, event: ProbeFailed | ExchangeFailed, now_ms: int, random01: float
) -> SessionState:
    attempt = state.attempt + 1
    verdict, signal = classify(event.kind), signal_of(event.kind)
    if verdict is FailureVerdict.RETRY_SLOWLY or verdict is FailureVerdict.UPGRADE:
        wait_ms = state.config.backoff.slow_delay_ms(random01)
    elif verdict is FailureVerdict.SIGN_IN and state.signed_in:
        # It was the old token that was refused; the new one has not been tried.
        wait_ms, signal = 0, Signal.DEFERRED
    else:
        wait_ms = state.config.backoff.delay_ms(
            attempt, random01, retry_after_ms=event.retry_after_ms
        )
    due_at_ms = now_ms + wait_ms
    state = replace(
        state,
        attempt=attempt,
        earned=False,
        signed_in=False,
        due_at_ms=due_at_ms,
        not_before_ms=0 if event.retry_after_ms is None else due_at_ms,
        last_error=LastError(kind=event.kind, code=event.code or event.kind, message=event.message),
    )
    return _signal(state, signal)


def _hinted(state: SessionState, now_ms: int) -> SessionState:
    if state.connection in _PARKED or state.connection in (State.STARTING, State.NEEDS_UPGRADE):
        return state
    at_ms = max(now_ms, state.hint_free_at_ms)
    if state.probe_at_ms is not None and state.probe_at_ms <= at_ms:
        return state
    return replace(state, probe_at_ms=at_ms, hint_free_at_ms=at_ms + state.config.hint_ms)


def _stream_alive(state: SessionState, now_ms: int) -> SessionState:
    if state.stream is Stream.DOWN:
        return state
    lasted = state.stream is Stream.UP and now_ms >= state.up_at_ms + state.config.silence_ms
    return replace(state, heard_at_ms=now_ms, stream_losses=0 if lasted else state.stream_losses)


def _stream_lost(state: SessionState, now_ms: int, random01: float) -> SessionState:
    """The stream is gone: reopen it later, and look whether the server is, with some spread."""
    backoff = state.config.backoff
    losses = state.stream_losses + 1
    probe_at_ms = state.probe_at_ms
    if losses == 1 and state.connection is State.ONLINE and probe_at_ms is None:
        probe_at_ms = now_ms + backoff.spread_delay_ms(random01)
    due_at_ms = state.due_at_ms
    if due_at_ms is not None and state.connection is State.ONLINE:
        due_at_ms = min(due_at_ms, now_ms + state.config.poll_ms)
    return replace(
        state,
        stream=Stream.DOWN,
        stream_losses=losses,
        stream_at_ms=now_ms + backoff.delay_ms(losses, random01),
        probe_at_ms=probe_at_ms,
        due_at_ms=due_at_ms,
    )


def _at_once(state: SessionState, now_ms: int) -> SessionState:
    return replace(state, due_at_ms=now_ms)


def _awoken(state: SessionState) -> SessionState:
    """Return where a person's own sync has just succeeded, what the session was waiting for is
    over.
    """
    if state.connection is State.NEEDS_SIGN_IN:
        return _signal(state, Signal.SIGNED_IN)
    return _signal(state, Signal.RESUMED) if state.connection is State.NEEDS_ATTENTION else state


def _signal(state: SessionState, signal: Signal) -> SessionState:
    return replace(state, connection=transition(state.connection, signal))


# --- action: what is due -----------------------------------------------------------------------


def _tend_stream(
    state: SessionState, now_ms: int, random01: float
) -> tuple[SessionState, tuple[Effect, ...]]:
    if state.stream is not Stream.DOWN:
        if state.connection in _STREAMLESS:
            # Given up by us: nothing speaks against opening it at once when we are back.
            state = replace(state, stream=Stream.DOWN, stream_losses=0, stream_at_ms=now_ms)
            return state, (CloseStream(),)
        if now_ms >= state.heard_at_ms + state.config.silence_ms:
            return _stream_lost(state, now_ms, random01), (CloseStream(),)
        return state, ()
    if state.connection is State.ONLINE and now_ms >= state.stream_at_ms:
        return replace(state, stream=Stream.OPENING, heard_at_ms=now_ms), (OpenStream(),)
    return state, ()


def _make_contact(state: SessionState, now_ms: int) -> tuple[SessionState, tuple[Effect, ...]]:
    upcoming = _next_contact(state)
    if upcoming is None or upcoming[0] > now_ms:
        return state, ()
    budget = state.budget
    if state.attempt and not state.earned:
        taken = budget.take(now_ms)
        if taken is None:
            return replace(state, not_before_ms=budget.ready_at_ms(now_ms)), ()
        budget = taken
    state = replace(state, budget=budget, probe_at_ms=None, signed_in=False)
    if upcoming[1] is _Contact.PROBE:
        return replace(state, probing=True), (StartProbe(),)
    state = replace(
        state, exchanging=True, earned=False, written=False, moved=False, due_at_ms=None
    )
    return _signal(state, Signal.BEGUN), (StartExchange(),)


def _next_contact(state: SessionState) -> tuple[int, _Contact] | None:
    """The next probe or exchange and its moment (the past: now); None while one is under way."""
    if state.connection in _PARKED or state.exchanging or state.probing:
        return None
    wanted: list[tuple[int, _Contact]] = []
    if state.connection is State.ONLINE and (state.written or state.moved):
        wanted.append((0, _Contact.EXCHANGE))
    if state.due_at_ms is not None:
        offline = state.connection is State.OFFLINE
        wanted.append((state.due_at_ms, _Contact.PROBE if offline else _Contact.EXCHANGE))
    if state.probe_at_ms is not None:
        wanted.append((state.probe_at_ms, _Contact.PROBE))
    if not wanted:
        return None
    at_ms, contact = min(wanted, key=lambda option: option[0])
    return max(at_ms, state.not_before_ms), contact


def _watch(state: SessionState, now_ms: int) -> SessionState:
    quiet_ms = now_ms - state.progress_at_ms
    return replace(state, stalled=state.pending > 0 and quiet_ms >= state.config.watchdog_ms)


def _stalled_reason(state: SessionState) -> str:
    if state.last_error is not None:
        return state.last_error.code
    if state.exchanging:
        return "exchange_hangs"
    return "no_progress" if state.connection is State.ONLINE else state.connection.value


def _wake_at_ms(state: SessionState) -> int | None:
    if state.connection is State.STOPPED:
        return None
    moments: list[int] = []
    upcoming = _next_contact(state)
    if upcoming is not None:
        moments.append(upcoming[0])
    if state.stream is not Stream.DOWN:
        moments.append(state.heard_at_ms + state.config.silence_ms)
    elif state.connection is State.ONLINE:
        moments.append(state.stream_at_ms)
    if state.pending and not state.stalled:
        moments.append(state.progress_at_ms + state.config.watchdog_ms)
    return min(moments, default=None)
