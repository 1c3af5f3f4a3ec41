"""Classification of errors by kind, and where each leaves a replica: decided here only.

Knows: the tree of errors and its stable codes. Must not know: how an error came about, or is shown.
Whose failure it is comes before what it is called: the same code (``database_full``) may be the
server's or the device's own. What nobody knows is ``unknown``, which is retried slowly (I32).
"""

from __future__ import annotations

from typing import Final

from holdfast.core.connection.connectivity import FailureKind, State, signal_of, transition
from holdfast.core.errors import (
    AttentionNeeded,
    DatabaseError,
    HoldfastError,
    Offline,
    ServerTrouble,
    SignInNeeded,
    UpgradeNeeded,
)

_KIND_BY_CODE: Final = {
    "unreachable": FailureKind.NETWORK,
    "broken_answer": FailureKind.NETWORK,
    "timeout": FailureKind.TIMEOUT,
    "not_our_server": FailureKind.NOT_OUR_SERVER,
    "protocol_version": FailureKind.PROTOCOL_UPGRADE,
    "schema_mismatch": FailureKind.SCHEMA_MISMATCH,
    "server_older": FailureKind.SERVER_OLDER,
    "upgrade_needed": FailureKind.UPGRADE_NEEDED,
    "nonce_mismatch": FailureKind.NONCE_MISMATCH,
    "epoch_mismatch": FailureKind.EPOCH_MISMATCH,
    "seal_invalid": FailureKind.ANOTHER_SERVER,
    "identity_unsettled": FailureKind.LOCAL,
    "sync_elsewhere": FailureKind.LOCAL,
    "disk_full": FailureKind.LOCAL,
    "file_not_kept": FailureKind.LOCAL,
}
_BUSY_CODES: Final = frozenset({"busy", "too_many_requests", "too_many_streams", "too_many_tries"})
"""A server with these does well, and has too much to do."""
_TOO_MANY_REQUESTS: Final = 429


def failure_kind(error: BaseException) -> FailureKind:
    """Return what kind of failure an error is."""
    if not isinstance(error, HoldfastError):
        return FailureKind.UNKNOWN
    if isinstance(error, ServerTrouble):
        # What a server in trouble calls it is its own affair: its database is not this device's.
        busy = error.code in _BUSY_CODES or error.detail.get("status") == _TOO_MANY_REQUESTS
        return FailureKind.TOO_MANY_REQUESTS if busy else FailureKind.SERVER_ERROR
    if error.code == "epoch_mismatch" and not _is_past(error):
        return FailureKind.ANOTHER_SERVER
    if error.code in _KIND_BY_CODE:
        return _KIND_BY_CODE[error.code]
    match error:
        case Offline():
            return FailureKind.NETWORK
        case SignInNeeded():
            return FailureKind.UNAUTHENTICATED
        case UpgradeNeeded():
            return FailureKind.PROTOCOL_UPGRADE
        case AttentionNeeded():
            return FailureKind.NONCE_MISMATCH
        case DatabaseError():
            return FailureKind.LOCAL
        case _:
            return FailureKind.UNKNOWN


def _is_past(error: HoldfastError) -> bool:
    """Return whether the server says that this replica's epoch was one of its own."""
    server = error.detail.get("server")
    return isinstance(server, dict) and server.get("past") is True


def state_after(error: BaseException) -> State:
    """Return where an exchange that failed so leaves a replica."""
    return transition(State.SYNCING, signal_of(failure_kind(error)))
