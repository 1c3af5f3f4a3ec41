"""Connection states of a replica: one complete table of states and signals.

Knows the states, which signal leads from which to which, and what kind of failure calls for what.
Must not know time, retries or requests: the session turns this into action. Upholds the truthful
half of I29 (each state says what is so, and no signal is without an answer) and I32 (no failure,
known or unknown, ever leads to dropping work: every verdict keeps the queue).
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """Connection state of a replica. Local reads and writes work in every one of them."""

    STARTING = "starting"
    """Nothing is known yet: just opened, resumed or signed in."""
    ONLINE = "online"
    """The last exchange succeeded and nothing is under way."""
    SYNCING = "syncing"
    """An exchange is under way."""
    OFFLINE = "offline"
    """The server cannot be reached; probes look for it."""
    WAITING = "waiting"
    """The server can be reached but could not serve; the next exchange has its time."""
    NEEDS_SIGN_IN = "needs_sign_in"
    """The token is not accepted; waits for a new one."""
    NEEDS_UPGRADE = "needs_upgrade"
    """Device and server are too far apart in version; looks again, slowly."""
    NEEDS_ATTENTION = "needs_attention"
    """Stopped with a stable code (copied replica, restored server, wrong schema); queue kept."""
    PAUSED = "paused"
    """A person paused it."""
    STOPPED = "stopped"
    """Closed for good."""


class Signal(StrEnum):
    """Signal that may change a replica's state."""

    STARTED = "started"
    BEGUN = "begun"
    """An exchange begins."""
    DONE = "done"
    """An exchange succeeded."""
    REACHED = "reached"
    """A probe succeeded: our server is there."""
    LOST = "lost"
    """The server could not be reached."""
    DEFERRED = "deferred"
    """The server was reached but could not serve, or nobody knows what went wrong."""
    SIGN_IN_REQUIRED = "sign_in_required"
    UPGRADE_REQUIRED = "upgrade_required"
    ATTENTION_REQUIRED = "attention_required"
    SIGNED_IN = "signed_in"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"


class StateRow(NamedTuple):
    """One state's answers: a field per signal, none optional, so no cell can be missing."""

    started: State
    begun: State
    done: State
    reached: State
    lost: State
    deferred: State
    sign_in_required: State
    upgrade_required: State
    attention_required: State
    signed_in: State
    paused: State
    resumed: State
    stopped: State


class TransitionTable(NamedTuple):
    """All states' rows: a field per state, none optional."""

    starting: StateRow
    online: StateRow
    syncing: StateRow
    offline: StateRow
    waiting: StateRow
    needs_sign_in: StateRow
    needs_upgrade: StateRow
    needs_attention: StateRow
    paused: StateRow
    stopped: StateRow


# Short names keep the table a table.
_ST, _ON, _SY, _OF, _WA = (
    State.STARTING,
    State.ONLINE,
    State.SYNCING,
    State.OFFLINE,
    State.WAITING,
)
_SI, _UP, _AT, _PA, _XX = (
    State.NEEDS_SIGN_IN,
    State.NEEDS_UPGRADE,
    State.NEEDS_ATTENTION,
    State.PAUSED,
    State.STOPPED,
)

# `needs_upgrade` keeps its name while it looks again, or its status would flicker. An exchange that
# was under way when a person paused still reports; that changes nothing. `needs_sign_in` ends only
# by signing in (or a pause, after which the server says so again).
# fmt: off
TABLE: Final = TransitionTable(
    #                   start beg  done reach lost defer sign upgr attn s.in paus resu stop
    starting=StateRow(        _ST, _SY, _ON, _ST, _OF, _WA, _SI, _UP, _AT, _ST, _PA, _ST, _XX),
    online=StateRow(          _ON, _SY, _ON, _ON, _OF, _WA, _SI, _UP, _AT, _ON, _PA, _ON, _XX),
    syncing=StateRow(         _SY, _SY, _ON, _SY, _OF, _WA, _SI, _UP, _AT, _SY, _PA, _SY, _XX),
    offline=StateRow(         _OF, _SY, _ON, _WA, _OF, _WA, _SI, _UP, _AT, _OF, _PA, _OF, _XX),
    waiting=StateRow(         _WA, _SY, _ON, _WA, _OF, _WA, _SI, _UP, _AT, _WA, _PA, _WA, _XX),
    needs_sign_in=StateRow(   _SI, _SI, _SI, _SI, _SI, _SI, _SI, _SI, _SI, _ST, _PA, _SI, _XX),
    needs_upgrade=StateRow(   _UP, _UP, _ON, _UP, _UP, _UP, _SI, _UP, _AT, _UP, _PA, _ST, _XX),
    needs_attention=StateRow( _AT, _AT, _AT, _AT, _AT, _AT, _AT, _AT, _AT, _AT, _PA, _ST, _XX),
    paused=StateRow(          _PA, _PA, _PA, _PA, _PA, _PA, _PA, _PA, _PA, _PA, _PA, _ST, _XX),
    stopped=StateRow(         _XX, _XX, _XX, _XX, _XX, _XX, _XX, _XX, _XX, _XX, _XX, _XX, _XX),
)
# fmt: on

_ROWS: Final = dict(zip(State, TABLE, strict=True))
_COLUMNS: Final = {signal: column for column, signal in enumerate(Signal)}


def transition(state: State, signal: Signal) -> State:
    """The state that follows `state` on `signal`. Total: there is an answer for every pair."""
    return _ROWS[state][_COLUMNS[signal]]


class FailureKind(StrEnum):
    """Kind of failure of a probe or an exchange, as the transport names it."""

    NETWORK = "network"
    """No connection, name not found, connection reset, TLS."""
    TIMEOUT = "timeout"
    NOT_OUR_SERVER = "not_our_server"
    """An answer without our echo or content type: a captive portal, a proxy's page."""
    SERVER_ERROR = "server_error"
    """5xx."""
    TOO_MANY_REQUESTS = "too_many_requests"
    """429."""
    LOCAL = "local"
    """The replica itself could not store the answer: disk full, database locked."""
    UNAUTHENTICATED = "unauthenticated"
    """401: token expired, unknown or revoked."""
    PROTOCOL_UPGRADE = "protocol_upgrade"
    SCHEMA_MISMATCH = "schema_mismatch"
    """The same generation with another fingerprint."""
    SERVER_OLDER = "server_older"
    """The server has an older generation of the schema than this device."""
    UPGRADE_NEEDED = "upgrade_needed"
    """The server has a newer one, and no longer serves this device's."""
    NONCE_MISMATCH = "nonce_mismatch"
    EPOCH_MISMATCH = "epoch_mismatch"
    ANOTHER_SERVER = "another_server"
    """Its history is not the one that this replica knows, and never was."""
    UNKNOWN = "unknown"


class FailureVerdict(Enum):
    """Verdict on a failure: what it calls for. None of them ever drops work."""

    RETRY = "retry"
    RETRY_SLOWLY = "retry_slowly"
    SIGN_IN = "sign_in"
    UPGRADE = "upgrade"
    ATTENTION = "attention"


_FAILURES: Final[dict[FailureKind, tuple[FailureVerdict, Signal]]] = {
    FailureKind.NETWORK: (FailureVerdict.RETRY, Signal.LOST),
    FailureKind.TIMEOUT: (FailureVerdict.RETRY, Signal.LOST),
    FailureKind.NOT_OUR_SERVER: (FailureVerdict.RETRY, Signal.LOST),
    FailureKind.SERVER_ERROR: (FailureVerdict.RETRY, Signal.DEFERRED),
    FailureKind.TOO_MANY_REQUESTS: (FailureVerdict.RETRY, Signal.DEFERRED),
    FailureKind.LOCAL: (FailureVerdict.RETRY, Signal.DEFERRED),
    FailureKind.UNAUTHENTICATED: (FailureVerdict.SIGN_IN, Signal.SIGN_IN_REQUIRED),
    FailureKind.PROTOCOL_UPGRADE: (FailureVerdict.UPGRADE, Signal.UPGRADE_REQUIRED),
    FailureKind.SCHEMA_MISMATCH: (FailureVerdict.ATTENTION, Signal.ATTENTION_REQUIRED),
    FailureKind.SERVER_OLDER: (FailureVerdict.RETRY, Signal.DEFERRED),
    FailureKind.UPGRADE_NEEDED: (FailureVerdict.UPGRADE, Signal.UPGRADE_REQUIRED),
    FailureKind.NONCE_MISMATCH: (FailureVerdict.ATTENTION, Signal.ATTENTION_REQUIRED),
    FailureKind.EPOCH_MISMATCH: (FailureVerdict.ATTENTION, Signal.ATTENTION_REQUIRED),
    FailureKind.ANOTHER_SERVER: (FailureVerdict.ATTENTION, Signal.ATTENTION_REQUIRED),
    FailureKind.UNKNOWN: (FailureVerdict.RETRY_SLOWLY, Signal.DEFERRED),
}


def classify(kind: str) -> FailureVerdict:
    """Return what a failure of this kind calls for; a kind nobody knows is retried slowly."""
    return _FAILURES[known_kind(kind)][0]


def signal_of(kind: str) -> Signal:
    """The signal that a failure of this kind is."""
    return _FAILURES[known_kind(kind)][1]


def known_kind(kind: str) -> FailureKind:
    """A kind by its name; one that nobody knows is ``unknown``."""
    try:
        return FailureKind(kind)
    except ValueError:
        return FailureKind.UNKNOWN
