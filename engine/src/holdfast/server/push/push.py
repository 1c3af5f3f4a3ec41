"""Push: a device's transactions, decided in order and applied exactly once.

Knows: numbers, outcomes, rights, merging and rules. Must not know: HTTP or SQL.
A bite of a batch is merged in memory and written with a few statements (``decider``). A transaction
that is larger than a bite is one of its own, and is decided before its commit begins.
Everything happens inside the caller's write transaction: outcomes are stored with their effects.

Upholds I3, I7, I8, I9, I13, I16, I20, I21, I22, I26, I27, I28.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from holdfast.core.keys import RowPlace
from holdfast.core.limits import (
    PUSH_BITE_CHANGES,
    PUSH_BITE_WORK_SHARE,
    PUSH_TRANSACTIONS_MAX,
)
from holdfast.protocol.messages import Numbers, Outcome, Transaction
from holdfast.schema.model import CONFLICT_TABLE
from holdfast.server.feed.feed import NO_HASHES, Touched, publish
from holdfast.server.identity.principal import Principal
from holdfast.server.push.arrivals import ArrivingBatch, record, stored_outcome
from holdfast.server.push.decide import Decided, Engine, Sender
from holdfast.server.push.push_decider import BatchSize, Prepared, PushDecider, is_large, weight
from holdfast.server.push.rehearsal import StaleRehearsal
from holdfast.server.store.contract import ReplicaRecord, Snapshot, Writer
from holdfast.sqlite.failpoints import failpoint


@dataclass(slots=True)
class Pushed:
    """Result of a push: an outcome for each transaction asked about, and the new versions.

    ``own``: revisions, by table and key, of rows that are what the device has made of them; 0 for
    rows that were touched, but are not.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    high: int = 0
    fresh: frozenset[int] = frozenset()
    """The numbers of those that were decided now."""
    conflicts: int = 0
    """How many were opened."""
    own: dict[RowPlace, int] = field(default_factory=dict)
    pace: BatchSize = field(default_factory=BatchSize)
    """How the next bite begins."""
    work: int = 0
    """Changes that were decided; those that were decided twice count twice."""
    replica: ReplicaRecord | None = None
    """Who has pushed, as it is stored with this."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Scopes of which its position is not in our history, with the version up to which it may be.
    """


def push(
    writer: Writer,
    engine: Engine,
    sender: Sender,
    transactions: Sequence[Transaction],
    *,
    arrived: ArrivingBatch,
    touched: Sequence[Touched] = (),
    pace: BatchSize | None = None,
    bite_changes: int = PUSH_BITE_CHANGES,
    prepared: Prepared | None = None,
) -> Pushed:
    """Decide the first of these transactions and publish what changed.

    As many are decided as fill a bite of ``bite_changes``; their outcomes tell how many that are,
    the rest is for the next commit. ``arrived``: what is known of them. ``touched``: what was
    ingested in the same commit. ``prepared``: of the first one that is not decided yet. Raises
    ``StaleRehearsal``, and then nothing may be committed.
    """
    fresh = bite(arrived.new, bite_changes)
    if prepared is not None and (
        prepared.sender != sender or [prepared.decided.transaction] != [*fresh]
    ):
        raise StaleRehearsal
    work_max = bite_changes * PUSH_BITE_WORK_SHARE
    decider = PushDecider(writer, engine, sender, pace or BatchSize(), work_max=work_max)
    decider.take_touched(touched)
    decided = decider.decide(fresh, prepared)
    writer.add_journal(decider.journal)
    hashes = NO_HASHES if prepared is None else prepared.hashes
    versions = publish(writer, decider.touched.values(), engine.random_bytes, hashes=hashes)
    failpoint("push.after_write")
    ours = sender.replica.replica
    known = _until(transactions, [*arrived.new[len(decided) :]])
    outcomes = {t.number: arrived.outcomes[t.number] for t in known if t.number in arrived.outcomes}
    records = [arrived.found[t.number] for t in known if t.number in arrived.found]
    for item in decided:
        outcome = _outcome(item, versions)
        outcomes[outcome.number] = outcome
        records.append(record(item.transaction, outcome, item.body))
        replaces = item.transaction.replaces
        if item.outcome == "applied" and replaces:
            for replica in (ours, *(name for name, last in sender.origins if replaces <= last)):
                writer.settle(replica, replaces)
    writer.record(ours, records, copied=sender.replica.has_relatives)
    for transaction in known:  # found applied: what it replaces is settled here, too
        here = arrived.found.get(transaction.number)
        if here is not None and here.outcome == "applied" and transaction.replaces:
            writer.settle(ours, transaction.replaces)
    told = [_told(outcomes[number], decider.access.may_read) for number in sorted(outcomes)]
    conflicts = sum(
        item.table is CONFLICT_TABLE and not item.before for item in decider.touched.values()
    )
    high = max([sender.replica.high, *outcomes])
    own = {place: item.own for place, item in decider.touched.items()}
    fresh_numbers = frozenset(item.transaction.number for item in decided)
    return Pushed(
        told, versions, high, fresh_numbers, conflicts, own, decider.pace, decider.work
    )  # fmt: skip


def _until(
    transactions: Sequence[Transaction], left: Sequence[Transaction]
) -> Sequence[Transaction]:
    """The transactions before the first that is left for later: outcomes are told in order."""
    return [t for t in transactions if not left or t.number < left[0].number]


def bite(transactions: Sequence[Transaction], changes: int) -> Sequence[Transaction]:
    """The first transactions, until they have so many changes: at least one, if there is one, and
    alone if it is large."""
    left = changes
    for index, transaction in enumerate(transactions):
        if index and is_large(transaction, changes):
            return transactions[:index]
        left -= weight(transaction)
        if left <= 0:
            return transactions[: index + 1]
    return transactions


def next_large(arrived: ArrivingBatch, *, bite_changes: int) -> Transaction | None:
    """The transaction of which the next bite consists, when that is a large one."""
    first = next(iter(arrived.new), None)
    return first if first is not None and is_large(first, bite_changes) else None


def recorded_outcomes(
    reads: Snapshot, principal: Principal, replica: str, numbers: Numbers
) -> list[Outcome]:
    """The outcomes, in order, of what a replica has sent and has no answer to, as far as it was
    decided. It cannot have sent more than one batch."""
    last = min(numbers.last, numbers.first + PUSH_TRANSACTIONS_MAX - 1)
    recorded = reads.recorded(replica, range(numbers.first, last + 1))
    outcomes = (stored_outcome(recorded[number]) for number in sorted(recorded))
    return [_told(outcome, principal.may_read) for outcome in outcomes]


def _outcome(item: Decided, versions: dict[str, int]) -> Outcome:
    number, identity = item.transaction.number, item.transaction.id
    if item.refusal is not None:
        return Outcome(
            number, identity, "refused", item.refusal.code, item.refusal.message,
            item.refusal.field or "", impossible=item.impossible,
        )  # fmt: skip
    if item.outcome == "held":
        return Outcome(
            number, identity, "held", "held", f"Waits for {item.held_by}.", held_by=item.held_by
        )
    moved = {scope: versions[scope] for scope in sorted(item.scopes) if scope in versions}
    return Outcome(number, identity, "applied", versions=moved, impossible=item.impossible)


def _told(outcome: Outcome, may_read: Callable[[str], bool]) -> Outcome:
    """An outcome without the scopes that the device may not read: a rule can have written there,
    and an outcome that is told again can be older than the device's rights."""
    readable = {name: at for name, at in outcome.versions.items() if may_read(name)}
    return msgspec.structs.replace(outcome, versions=readable)
