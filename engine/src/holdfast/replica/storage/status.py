"""Status of a replica at this moment: counted from its tables, never cached.

Knows: the replica's tables. Must not know: how to sync.
Upholds I29: all that is told at once is of one snapshot. A transaction that is sealed while
somebody counts is in the log or in the outbox, and never in neither.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.core.values import Value
from holdfast.replica.storage.database import LocalDatabase, read_state, reading
from holdfast.replica.storage.noted import noted_tables
from holdfast.replica.storage.waiting import (
    Waiting,
    any_offered_again,
    any_unsent,
    any_unsettled,
    read_waiting,
)
from holdfast.sql.bookkeeping.statements import CONFLICTS, TRANSACTIONS
from holdfast.sqlite import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaStatus:
    """The schema of a replica's file, and the generation that the server was found to have."""

    generation: int
    fingerprint: str
    server_generation: int | None
    """None: the server has not been met yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """``pending``: local transactions not yet sent (what one foreign connection wrote counts as
    one); ``sent``: sent, not yet answered; ``held`` and ``refused``: wait for a person, as do
    ``conflicts``. ``set_aside``: those of pending and sent that this device cannot show now, and
    shows as held: they count in ``held``, too, and the server decides about them. Times are
    microseconds since 1970, UTC."""

    state: str
    pending: int
    sent: int
    held: int
    set_aside: int
    refused: int
    conflicts: int
    verified_at: int | None
    retry_at: int | None
    clock_offset_ms: int | None
    clock_error_ms: int | None
    device: str
    user: str
    server: str
    pending_changes: int
    oldest_pending_at: int | None
    mismatches: int
    error_kind: str | None
    """What kind of failure the last attempt ended with (``FailureKind``), whichever process made
    it, until one succeeds: the same code may be the server's or the device's own."""
    error_code: str | None
    error_message: str | None
    stalled: bool
    schema: SchemaStatus
    kept_lost: int = 0
    """How many acknowledged transactions were given up here after days of waiting for a backup of
    the server that has them: a server that is lost now would not get these back from this
    device."""
    way_out: str | None = None
    """What a person can do about that failure, in a sentence."""
    as_of: int | None = None
    """When ``state`` and the failure were so: now, while this process syncs; the last sign of life
    of another one that does; else when it was found out. None: nothing is known yet."""
    waiting_for: str | None = None
    """Who syncs this replica, while the background sync that was started here waits its turn:
    ``another process`` or ``process 123``. None: it does not wait."""
    loading: dict[str, Any] | None = None
    """A first load or a large catch-up under way: ``stage`` (``building`` on the server,
    ``downloading``, ``checking``, ``importing``), ``done`` of ``total`` (bytes while downloading,
    else rows), ``scopes``."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready form."""
        return dataclasses.asdict(self)


def open_groups(database: LocalDatabase) -> int:
    """Return how many transactions are not sealed yet: each is what one commit of ours changed,
    or what foreign connections did in between."""
    if not _anything_logged(database):
        return 0
    return _number(database.app, database.program.open_groups)


def _anything_logged(database: LocalDatabase) -> bool:
    """Return whether anything was written that is not sealed yet, net change or not."""
    return bool(database.app.execute(database.program.log_last))


def has_work(database: LocalDatabase) -> bool:
    """Return whether anything waits to be sent or answered."""
    with reading(database.app):
        return bool(
            any_unsettled(database.app)
            or any_offered_again(database.app)
            or _anything_logged(database)
        )


def has_unsent(database: LocalDatabase) -> bool:
    """Return whether anything was written that has not been sent yet."""
    with reading(database.app):
        return bool(any_unsent(database.app) or _anything_logged(database))


def read_status(database: LocalDatabase, known: Callable[[], dict[str, Any]]) -> Status:
    """The status now; ``known`` tells what is known of the connection, from the same snapshot."""
    with reading(database.app):
        return _read_status(database, known())


def _read_status(database: LocalDatabase, session: dict[str, Any]) -> Status:
    db = database.app
    waiting = read_waiting(db)
    unsealed = open_groups(database)
    ((logged,),) = db.execute(database.program.first_logged)
    oldest = waiting.oldest if waiting.oldest is not None else logged
    set_aside = _number(db, TRANSACTIONS.count_aside)
    device, user, server, verified, offset, error, mismatches, theirs, lost = read_state(
        db, "device", "user", "server", "verified_us", "offset_us", "offset_error_us",
        "mismatches", "server_generation", "kept_lost",
    )  # fmt: skip
    schema = database.program.schema
    return Status(
        state=str(session.get("state", "starting")),
        pending=waiting.pending + unsealed,
        sent=waiting.sent,
        held=waiting.held + set_aside,
        set_aside=set_aside,
        refused=waiting.refused,
        conflicts=_number(db, CONFLICTS.count_open),
        verified_at=verified if isinstance(verified, int) else None,
        retry_at=session.get("retry_at"),
        clock_offset_ms=round(offset / 1000) if isinstance(offset, int) else None,
        clock_error_ms=-(-error // 1000) if isinstance(error, int) else None,
        device=str(device),
        user=str(user),
        server=str(server),
        pending_changes=_changes(database, waiting),
        oldest_pending_at=oldest if isinstance(oldest, int) else None,
        mismatches=int(str(mismatches)),
        error_kind=session.get("error_kind"),
        error_code=session.get("error_code"),
        error_message=session.get("error_message"),
        stalled=bool(session.get("stalled", False)),
        schema=SchemaStatus(
            generation=schema.generation,
            fingerprint=schema.fingerprint,
            server_generation=theirs if isinstance(theirs, int) else None,
        ),
        kept_lost=int(str(lost)),
        way_out=session.get("way_out"),
        as_of=session.get("at") or None,
        waiting_for=session.get("waiting_for"),
        loading=session.get("loading"),
    )


def _number(connection: Connection, sql: str, *params: Value) -> int:
    """Return what a statement counts."""
    ((number,),) = connection.execute(sql, params)
    return int(str(number))


def _changes(database: LocalDatabase, waiting: Waiting) -> int:
    """Return how many changes wait, sealed or not: only an index of them is read."""
    db, program = database.app, database.program
    found = 0
    if waiting.first is not None:
        for name in noted_tables(db, program):
            found += _number(db, program.tables[name].count_changes, waiting.first)
    if _anything_logged(database):
        found += _number(db, program.count_logged)
    return found
