"""A person says that another server is the one from now on: the replica begins anew with it.

Knows: the state row, scopes, and what is to be offered again. Must not know: how an exchange is
made, or whether the server is another one indeed: at the one that the replica knows already, all
of this comes to nothing but a whole load.

The file is copied first. Then, in one local transaction, the replica takes another identity, and
forgets what only the server before could understand: epoch, checkpoint, device. Rows stay until
they are compared with the new server's. What was kept of acknowledged work, and what is unsettled,
is offered.

Upholds I4 and I32: nothing is dropped, and the copy has all that there was.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from holdfast.core.connection.history import HistoryKind
from holdfast.core.errors import DatabaseError, UsageError
from holdfast.replica.host import Host
from holdfast.replica.identity.fork import become_another
from holdfast.replica.storage.database import read_state, transaction, write_state
from holdfast.sql.bookkeeping.statements import IDENTITY
from holdfast.sqlite import Connection
from holdfast.sqlite.failpoints import failpoint
from holdfast.sqlite.locks import sync_folder
from holdfast.sqlite.moments import free_stamp


def copy_beside(connection: Connection, path: Path, *, now_us: int) -> Path:
    """A whole copy of the file beside it, under the moment's name, for its owner alone."""

    def named(stamp: str) -> Path:
        return path.with_name(f"{path.name}.before-accept-{stamp}")

    copy = named(free_stamp(now_us, lambda stamp: named(stamp).exists()))
    draft = copy.with_name(f"{copy.name}.part")
    draft.unlink(missing_ok=True)
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection.execute("VACUUM INTO ?", (str(draft),))
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        draft.replace(copy)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise DatabaseError(
            f"the copy {copy} could not be written: {error.strerror}; nothing was changed",
            code="copy_failed",
        ) from error
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # not every file system can
        sync_folder(copy.parent)
    failpoint("accept.copied")
    return copy


def accept_server(
    connection: Connection, path: Path, host: Host, seal: Callable[[], object]
) -> Path:
    """Copy the file, then begin anew with another server; where the copy is."""
    now_us = host.now_us()
    copy = copy_beside(connection, path, now_us=now_us)
    with transaction(connection):
        seal()
        accept(connection, now_us=now_us, random_bytes=host.random_bytes)
    return copy


def accept(connection: Connection, *, now_us: int, random_bytes: Callable[[int], bytes]) -> None:
    """Begin anew with another server, inside a write transaction in which the log was sealed.
    Raises ``UsageError`` (``no_server``)."""
    replica, device, verified = read_state(connection, "replica", "device", "verified_us")
    if not (replica or device):
        raise UsageError(
            "this replica has not synced with any server yet: it takes the next one as it is",
            code="no_server",
        )
    write_state(connection, forks=0)
    become_another(
        connection,
        HistoryKind.ACCEPTED_SERVER,
        since=verified if isinstance(verified, int) else None,
        now_us=now_us,
        random_bytes=random_bytes,
    )
    connection.execute(IDENTITY.forget_server)
    connection.execute(IDENTITY.forget_checkpoint)
    connection.execute(IDENTITY.forget_revisions)
    failpoint("accept.before_commit")
