"""Ways out of failures, each in a sentence that a person understands.

Knows: kinds of failures and stable codes. Must not know: how a failure came about, or is shown.
Whose failure it is comes first: a full server and a full device have the same code. Every kind has
a sentence, so that no state in which sync stands is without a way out of it.
"""

from __future__ import annotations

from typing import Final

from holdfast.core.connection.connectivity import FailureKind, known_kind

_BY_ITSELF: Final = "It is retried automatically; pending work is kept."

_BY_KIND: Final[dict[FailureKind, str]] = {
    FailureKind.NETWORK: "Check the connection and the server's address. " + _BY_ITSELF,
    FailureKind.TIMEOUT: "Check the connection. " + _BY_ITSELF,
    FailureKind.NOT_OUR_SERVER: "Something else answers in the server's place: sign in to this "
    "network, or check the server's address. " + _BY_ITSELF,
    FailureKind.SERVER_ERROR: "The server has failed; tell its administrator. " + _BY_ITSELF,
    FailureKind.TOO_MANY_REQUESTS: "The server is overloaded, or a rate limit was reached. "
    + _BY_ITSELF,
    FailureKind.LOCAL: "This device could not do it; see the message. " + _BY_ITSELF,
    FailureKind.UNAUTHENTICATED: "Sign in again: enrol this device with a code or a password, or "
    "put a valid token in its place. You can go on working here; pending work is kept.",
    FailureKind.PROTOCOL_UPGRADE: "Update the older side, this program or the server. You can go "
    "on working here; pending work is kept.",
    FailureKind.SCHEMA_MISMATCH: "This replica was made for another schema than the server has: "
    "check that it is the right server, and tell its administrator. Pending work is kept.",
    FailureKind.SERVER_OLDER: "The server has to be updated first: this device has a newer version "
    "of the app's data. " + _BY_ITSELF,
    FailureKind.UPGRADE_NEEDED: "Update this app: the server has a newer version of its data, and "
    "no longer serves this device's. You can go on working here; pending work is kept, and "
    "sent after the update.",
    FailureKind.NONCE_MISMATCH: "The server has not recognised this replica several times in a "
    "row: another file may be syncing as the same one. Sync by hand, and it becomes a replica "
    "of its own. Nothing is deleted here; pending work is kept.",
    FailureKind.EPOCH_MISMATCH: "The server was put back to a backup several times in a row. "
    "Sync by hand, and what it has lost is offered again. Pending work is kept.",
    FailureKind.ANOTHER_SERVER: "This is another server than the one that this replica has "
    "synced with. Point the device back to that one; or, if this one takes its place, accept "
    "it: run holdfast accept-server on the replica's file. Nothing is deleted here; you can go "
    "on working, and pending work is kept.",
    FailureKind.UNKNOWN: "It is retried automatically, slowly; if it does not go away, report this "
    "message. Pending work is kept.",
}
_BY_CODE: Final = {
    "wrong_device": "The token belongs to another device: put this device's own in its place, or "
    "enrol this device again. Pending work is kept.",
    "number_gap": "The server lacks transactions that this replica takes for sent. Close the app, "
    "and run holdfast salvage with --force: pending work is offered again as a replica of its own, "
    "and this file is kept.",
    "sync_elsewhere": "Another process syncs this replica; sync continues when that one is done.",
    "sync_silent": "The process that syncs this replica does not respond: let it continue, or end "
    "it and start it again. Pending work is kept.",
    "database_full": "Free some space on this device; sync resumes automatically.",
    "disk_full": "Free some space on this device; sync resumes automatically.",
    "database_busy": "Another program keeps the replica's file locked: let it commit, or end it. "
    "Sync resumes automatically.",
    "database_read_only": "Let this program write the replica's file and its folder. "
    "Sync resumes automatically.",
    "database_corrupt": "The replica's file is damaged: close the app and open it again, or run "
    "holdfast salvage. What was not sent is saved from it, the rest is loaded again, and the "
    "damaged file is kept. Check the disk.",
    "replica_busy": "Close every other program that uses the replica's file, and try again. "
    "Nothing was changed.",
    "schema_needed": "Open the damaged file with the app that made it, or run holdfast salvage "
    "with --schema. Nothing was changed.",
}
_AT_SERVER: Final = {
    "database_full": "Free some space on the server's disk, and start it again.",
    "database_busy": "See that the database is running and can be reached, and that no other "
    "program keeps it locked; then try again.",
    "database_read_only": "Let this account write the database's file and its folder; a folder "
    "that is not there has to be made first.",
    "database_corrupt": "Check that it is the right file. If it is, keep a copy of it, check the "
    "disk, and put a backup back: holdfast server restore. Nothing is deleted here.",
}
_OUR_OWN: Final = frozenset({FailureKind.LOCAL, FailureKind.UNKNOWN, FailureKind.NONCE_MISMATCH})
"""Kinds under which a code means what it means on this device."""


def way_out(kind: str, code: str) -> str:
    """Return what to do about a failure of this kind, under this code; never empty."""
    known = known_kind(kind)
    if known in _OUR_OWN and code in _BY_CODE:
        return _BY_CODE[code]
    return _BY_KIND[known]


def way_out_at_server(code: str) -> str:
    """Return what an administrator can do about a failed server's database; empty: see the
    message.
    """
    return _AT_SERVER.get(code, "")
