"""Observation of a server: its events, and the observers that hear them.

Knows: what can happen, as data. Must not know: who listens, or how it is shown.
An observer is a function. It is called in the thread in which something happened, afterwards, and
must be quick; what it raises is logged and goes no further. No event holds a token, a key or a
value of a row. By default nobody listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """A request was answered. ``route``: the path as it is declared; ``code``: of a refusal of the
    whole request. ``transactions``: that came up; ``rows``: that went down. An event stream is told
    when it ends."""

    id: str
    method: str
    route: str
    status: int
    ms: float
    code: str = ""
    device: str = ""
    user: str = ""
    transactions: int = 0
    rows: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    address: str = ""
    """Who asked: the nearest address that is no proxy of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushObserved:
    """A push was committed: transactions by outcome, refusals by code, conflicts opened, and
    changes based on a revision that their row has not had (a damaged file, or a lie)."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)
    conflicts: int = 0
    impossible: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A device was away for longer than removals are remembered; it will compare these scopes."""

    scopes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A device begins to compare scopes: it differs from the server. Those of ``Missed`` count
    too."""

    scopes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """Direct writes were taken in."""

    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """A transaction of the database was begun again. ``reason``: ``conflict`` or ``lost``."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRan:
    """A job of maintenance has ended."""

    job: str
    ms: float
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBuilt:
    """A file for a first load or a catch-up was built."""

    kind: str
    ms: float
    size_bytes: int
    ok: bool


ObservedEvent = (
    Requested | PushObserved | Missed | Compared | Ingested | Retried | JobRan | FileBuilt
)
Observer = Callable[[ObservedEvent], None]


def nobody(_event: ObservedEvent) -> None:
    """The default: nobody listens."""


def guarded(observer: Observer) -> Observer:
    """An observer that never disturbs what it observes."""
    if observer is nobody:
        return nobody

    def tell(event: ObservedEvent) -> None:
        try:
            observer(event)
        except Exception:
            log.exception("an observer failed")

    return tell
