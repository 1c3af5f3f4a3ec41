"""Record of a replica's connection, kept in its file: one truth for every process, with a date.

Knows: the ``session`` text of the state row, and what may be said of it later. Must not know: how
to sync, or who has the lock.

A failure is kept until a success follows it, whoever has either: background sync, a single sync, or
a verification. What an ended process has left is said for what it is, of the moment it was written.

Upholds I29: nobody is told of a connection that there is not.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Any, Final

from holdfast.core.connection.connectivity import (
    FailureKind,
    FailureVerdict,
    State,
    classify,
    signal_of,
    transition,
)
from holdfast.core.connection.failures import failure_kind, state_after
from holdfast.core.connection.ways_out import way_out
from holdfast.core.errors import DatabaseError, HoldfastError
from holdfast.replica.storage.database import transaction, write_state
from holdfast.sqlite import Connection

log = logging.getLogger("holdfast.connection")

ConnectionRecord = dict[str, Any]
"""``state``; ``error_kind``, ``error_code``, ``error_message`` and ``way_out`` of a failure that no
success has followed; ``at``: when that was so, µs since 1970; and what background sync adds."""

_PARKED: Final = frozenset(
    {FailureVerdict.SIGN_IN, FailureVerdict.UPGRADE, FailureVerdict.ATTENTION}
)
_ERROR: Final = ("error_kind", "error_code", "error_message", "way_out")
NO_FAILURE: Final[ConnectionRecord] = dict.fromkeys(_ERROR)


def succeeded(now_us: int) -> ConnectionRecord:
    """After a success."""
    return {"state": State.ONLINE.value, "at": now_us}


def failed(error: HoldfastError, now_us: int) -> ConnectionRecord:
    """After a failure."""
    return {
        "state": state_after(error).value, "at": now_us,
        **failure(failure_kind(error), error.code, error.message),
    }  # fmt: skip


def failure(kind: FailureKind, code: str, message: str) -> dict[str, str]:
    """A failure as it is kept and told."""
    return {
        "error_kind": kind.value, "error_code": code, "error_message": message,
        "way_out": way_out(kind.value, code),
    }  # fmt: skip


def of_failure(standing: ConnectionRecord) -> ConnectionRecord:
    """Return what of it tells of a failure; empty when there is none."""
    if standing.get("error_code") is None:
        return {}
    return {name: standing.get(name) for name in _ERROR}


def is_parked(standing: ConnectionRecord) -> bool:
    """Return whether it waits for a person: then a server that is there changes nothing."""
    kind = standing.get("error_kind")
    return isinstance(kind, str) and classify(kind) in _PARKED


def is_answered(standing: ConnectionRecord) -> bool:
    """Return whether any answer of the server proves the failure to be over."""
    kind = standing.get("error_kind")
    return isinstance(kind, str) and signal_of(kind) is signal_of(FailureKind.NETWORK)


def at_rest(standing: ConnectionRecord) -> ConnectionRecord:
    """Return what is still so when nobody syncs any more: the failure, and nothing that is under
    way.
    """
    kind = standing.get("error_kind")
    if not isinstance(kind, str):
        return {}
    state = transition(State.SYNCING, signal_of(kind))
    return {"state": state.value, "at": standing.get("at"), **of_failure(standing)}


def read(text: object) -> ConnectionRecord:
    """Return what a text of the state row says; nothing, when it is none of ours."""
    with suppress(ValueError):
        found = json.loads(str(text))
        if isinstance(found, dict):
            return found
    return {}


def keep(connection: Connection, standing: ConnectionRecord) -> None:
    """Write it down, in a transaction of its own. Where it cannot be (a full disk, a lock), it is
    logged, and whoever has it in memory knows better."""
    try:
        with transaction(connection):
            write_state(connection, session=json.dumps(standing))
    except DatabaseError as error:
        log.warning("the connection status could not be stored: %s", error)
