"""Configuration, events and effects of a client session.

Knows the vocabulary of `core.session` and its driver. Must not know what follows from what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from holdfast.core.backoff import Backoff
from holdfast.core.connection.connectivity import State

HEARTBEATS_MISSED: Final = 2.5
"""A stream is lost after this many heartbeat intervals of silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """Configuration of a session; all times in milliseconds."""

    backoff: Backoff = field(default_factory=Backoff)
    poll_ms: int = 15_000
    """Between exchanges of an idle replica while there is no live stream."""
    poll_with_stream_ms: int = 300_000
    """The same while the stream is up: only a safety net."""
    heartbeat_ms: int = 15_000
    """How often the server's stream gives a sign of life."""
    watchdog_ms: int = 120_000
    """Pending work without progress for this long is reported as stalled."""
    hint_ms: int = 1_000
    """Between two probes that were asked for by hints."""
    budget_capacity: int = 20
    budget_refill_ms: int = 10_000
    """A retry regained; never slower than half the back-off's cap, or it would outwait it."""

    @property
    def silence_ms(self) -> int:
        """Return how long a stream may be silent before it counts as lost."""
        return int(self.heartbeat_ms * HEARTBEATS_MISSED)


# --- events ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The replica is open and `pending` transactions wait to be sent or answered."""

    pending: int = 0


@dataclass(frozen=True, slots=True)
class LocalWrite:
    """A transaction was committed locally and waits to be sent."""


@dataclass(frozen=True, slots=True)
class ServerMoved:
    """The live stream says that one of our scopes has moved."""


@dataclass(frozen=True, slots=True)
class StreamUp:
    """The live stream is connected."""


@dataclass(frozen=True, slots=True)
class StreamDown:
    """The live stream ended or could not be opened."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The live stream gave a sign of life."""


@dataclass(frozen=True, slots=True)
class ProbeOk:
    """Our server echoed the probe's nonce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFailed:
    """A probe failed. `kind` as in `FailureKind`; any other string counts as unknown."""

    kind: str
    retry_after_ms: int | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOk:
    """An exchange succeeded and is stored.

    `more`: there is more to fetch or send. `pending`: transactions that could still be sent or
    answered (not those that wait for a person, nor acknowledged ones). `progressed`: a pending
    transaction got its outcome, news were applied, or nothing was sent; claim it only if so, for
    more work without progress is slowed down, and pending work without progress is reported.
    """

    more: bool = False
    pending: int = 0
    progressed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFailed:
    """An exchange failed; nothing of it was stored. `kind` as in `FailureKind`."""

    kind: str
    retry_after_ms: int | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """A person asked for a sync beside the session, and it is done: the server is there.

    It may have been asked before its time (Retry-After): a person decides that. `pending` as in
    `ExchangeOk`.
    """

    pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """Progress of a first load or a large catch-up: bytes or rows `done` of `total` in a stage.

    May be sent as often as the driver likes. Only what had not come before counts as progress.
    """

    stage: str
    done: int
    total: int = 0


@dataclass(frozen=True, slots=True)
class PlatformHint:
    """The network may have changed, or a person asks to sync now: look at once."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A person pauses sync."""


@dataclass(frozen=True, slots=True)
class Resume:
    """A person says go on; also out of `needs_attention` and `needs_upgrade`: try again."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """There is a new token."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The replica closes. Final: later events are ignored."""


SessionEvent = (
    Started
    | LocalWrite
    | ServerMoved
    | StreamUp
    | StreamDown
    | Heartbeat
    | ProbeOk
    | ProbeFailed
    | ExchangeOk
    | ExchangeFailed
    | Synced
    | Advanced
    | PlatformHint
    | Tick
    | Pause
    | Resume
    | SignedIn
    | Stop
)


# --- effects -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """The failure that has not been followed by a success yet."""

    kind: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus:
    """Status that can truthfully be told to a person.

    `retry_at_ms`: when the next attempt is due, on the session's clock; None if one is under way or
    none is planned. `attempt`: failures in a row. `stalled_reason`: the last error's code, or
    "exchange_hangs", "no_progress" or the state's name; None unless `stalled`.
    """

    state: State
    retry_at_ms: int | None
    last_error: LastError | None
    attempt: int
    stalled: bool
    stalled_reason: str | None


@dataclass(frozen=True, slots=True)
class StartExchange:
    """Begin one exchange; answer with `ExchangeOk` or `ExchangeFailed`."""


@dataclass(frozen=True, slots=True)
class StartProbe:
    """Begin one probe of the server's health; answer with `ProbeOk` or `ProbeFailed`."""


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Open the live stream, in place of any that is still open."""


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close the live stream and drop its events."""


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Set the one timer: send `Tick` at this moment. Replaces what an earlier step asked for."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """The status has changed."""

    status: SessionStatus


Effect = StartExchange | StartProbe | OpenStream | CloseStream | WakeAt | StatusChanged
