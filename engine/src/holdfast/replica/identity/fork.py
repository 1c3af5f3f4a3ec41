"""A fork: a copied or restored replica becomes one of its own, in one local transaction.

Knows: the state row, and what is to be offered again. Must not know: how an exchange is made.

    before the copy      1 … 5 sent        the file, and its copy, both are replica a
    the original         6, 7              a goes on: the server knows its nonce
    the copy             6', 7'            its nonce is an older one: it becomes b, which has come
                                           out of a; what is unsettled is offered again under
                                           (a, number, id): 1 … 5 that had arrived are told as
                                           known; 6' is not a's 6, and counts

Numbers and ids stay. What was acknowledged is kept for a while, and is offered again when the
server itself has gone back.

Upholds I4, I7 (together with the server, which knows what has arrived) and I32: nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from holdfast.core.connection.history import HistoryKind
from holdfast.core.errors import AttentionNeeded, SyncError
from holdfast.core.limits import FORKS_IN_A_ROW_MAX
from holdfast.protocol.messages import Origin
from holdfast.replica.storage.database import read_state, write_state
from holdfast.replica.storage.place import Note, what_happened
from holdfast.sql.bookkeeping.statements import EVENTS, IDENTITY, KEPT
from holdfast.sqlite import Connection
from holdfast.sqlite.failpoints import failpoint

REPLICA_BYTES = 16
T = TypeVar("T")


def calls_for_fork(error: AttentionNeeded) -> bool:
    """Return whether a refusal says that this replica is not the one that the server goes on
    with, or that the server has gone back itself."""
    if error.code in ("nonce_mismatch", "number_reused") or _lacks_ours(error):
        return True
    return error.code == "epoch_mismatch" and _told(error, "past") is True


def _lacks_ours(error: AttentionNeeded) -> bool:
    """Return whether the server lacks numbers that it has decided: it was restored, and nothing but
    outcomes was lost with it, so that no position proves it."""
    return error.code == "number_gap" and isinstance(_told(error, "high"), int)


def after_fork(ask: Callable[[], T]) -> T:
    """Ask as who it is now. Taken for another one at once again, it backs off."""
    try:
        return ask()
    except AttentionNeeded as error:
        if not calls_for_fork(error):
            raise
        raise SyncError(
            f"the server does not recognise this replica yet: {error.message}",
            code="identity_unsettled",
        ) from error


def _told(error: AttentionNeeded, what: str) -> object:
    """A detail of what the server has said."""
    server = error.detail.get("server")
    return server.get(what) if isinstance(server, dict) else None


def fork(
    connection: Connection,
    error: AttentionNeeded,
    *,
    path: str,
    beside: Callable[[], Note | None],
    now_us: int,
    random_bytes: Callable[[int], bytes],
) -> bool:
    """Become another replica, inside a write transaction in which the log was sealed; False: it
    has done so too often without an answer in between, or nobody can say what it was."""
    replica, device, forks, verified = read_state(
        connection, "replica", "device", "forks", "verified_us"
    )
    if int(str(forks)) >= FORKS_IN_A_ROW_MAX or not (replica or device):
        return False
    since = verified if isinstance(verified, int) else None
    if error.code == "epoch_mismatch" or _lacks_ours(error):
        kind = HistoryKind.SERVER_RESTORED
    else:
        kind = what_happened(connection, path, beside, _told(error, "high"))
    become_another(connection, kind, since=since, now_us=now_us, random_bytes=random_bytes)
    failpoint("fork.before_commit")
    return True


def become_another(
    connection: Connection,
    kind: HistoryKind,
    *,
    since: int | None,
    now_us: int,
    random_bytes: Callable[[int], bytes],
) -> None:
    """Do what every fork does; of another history, what is kept is offered again, too.

    A server that has gone back may never have heard of a name that no answer has come to: then that
    one stays, with what it has come out of.
    """
    another = kind in (HistoryKind.SERVER_RESTORED, HistoryKind.ACCEPTED_SERVER)
    (forks,) = read_state(connection, "forks")
    if another and forks:
        connection.execute(IDENTITY.offer)
    else:
        connection.execute(IDENTITY.fork, (random_bytes(REPLICA_BYTES).hex(),))
    if another:
        write_state(connection, epoch="")
        connection.execute(KEPT.offer)
    connection.execute(EVENTS.add, (now_us, kind.value, since, ""))


def origin_of(connection: Connection) -> Origin | None:
    """The replica that this one has come out of, until all of that has its outcome."""
    origin, last = read_state(connection, "origin", "origin_last")
    return Origin(replica=str(origin), last=int(str(last))) if origin else None


def settle_fork(connection: Connection) -> None:
    """An answer was stored: the fork is over when nothing is offered again any more."""
    origin, last, forks = read_state(connection, "origin", "origin_last", "forks")
    if forks:
        write_state(connection, forks=0)
    if origin and connection.execute(IDENTITY.offered_again, (last,)) == [(0,)]:
        connection.execute(IDENTITY.finish)
