"""A whole sync that somebody asked for: exchanges until nothing is left, then both sides compared.

Knows: how exchanges follow each other, and what they come to. Must not know: threads, who may sync,
or when to try again.

Upholds I27 (what does not go forward ends, and says so) and, with the verifier, I12 and I36.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.errors import SyncError
from holdfast.replica.exchange.exchanger import Exchanger
from holdfast.replica.exchange.verify import Progress, Verifier
from holdfast.replica.load.first_load import Loading, OnProgress
from holdfast.replica.storage.database import LocalDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """Report of a sync. ``verified``: client and server compared equal at the end."""

    sent: int = 0
    applied: int = 0
    refused: int = 0
    held: int = 0
    received_rows: int = 0
    removed_rows: int = 0
    repaired_rows: int = 0
    reconciled_rows: int = 0
    """Rows that were compared because the device had been away for longer than the server remembers
    removals."""
    exchanges: int = 0
    verified: bool = False


def sync_once(
    database: LocalDatabase, exchanger: Exchanger, progress: Progress | None
) -> SyncReport:
    """Raises ``SyncError`` after the first attempt that fails, or brings nothing forward."""
    if progress is not None:
        exchanger.on_loading = _shown(progress)
    try:
        return _until_done(database, exchanger, progress)
    finally:
        exchanger.on_loading = None


def _until_done(
    database: LocalDatabase, exchanger: Exchanger, progress: Progress | None
) -> SyncReport:
    totals: dict[str, int] = dict.fromkeys(
        ("sent", "applied", "refused", "held", "received_rows", "removed_rows", "exchanges"), 0
    )
    while True:
        done = exchanger.exchange()
        totals["exchanges"] += 1
        totals["sent"] += done.sent
        totals["applied"] += done.applied.applied
        totals["refused"] += done.applied.refused
        totals["held"] += done.applied.held
        totals["received_rows"] += done.applied.rows
        totals["removed_rows"] += done.applied.removed
        if progress is not None:
            progress("exchanging", totals["applied"], totals["applied"] + done.left)
        if not done.left:
            break
        if done.barren:
            raise SyncError(
                "the server returned no outcome for the transactions that it was sent",
                code="no_progress",
            )
    verified = not done.applied.differing
    if done.applied.differing:
        fixed = Verifier(database, exchanger).verify(deep=False)
        verified = fixed.ok
        totals["reconciled_rows" if done.reconciles else "repaired_rows"] = fixed.repaired
    for stopped in ("refused", "held"):  # what an earlier sync counted may go on after all
        totals[stopped] = max(0, totals[stopped])
    return SyncReport(**totals, verified=verified)


def _shown(progress: Progress) -> OnProgress:
    """A first load as progress: what is done, how many of how many."""

    def told(loading: Loading | None) -> None:
        if loading is not None:
            progress(loading.stage, loading.done, loading.total)

    return told
