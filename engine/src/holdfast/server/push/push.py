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

from holdfast.core.errors import ProtocolError
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
from holdfast.server.push.decide import Decided, Engine, Sender
from holdfast.server.push.decode import body_hash
from holdfast.server.push.push_decider import BatchSize, Prepared, PushDecider, is_large, weight
from holdfast.server.push.rehearsal import StaleRehearsal
from holdfast.server.store.contract import Recorded, Snapshot, Writer
from holdfast.sqlite.failpoints import failpoint

_read_outcome = msgspec.json.Decoder(Outcome).decode
_write_outcome = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Pushed:
    """Result of a push: an outcome for each transaction asked about, and the new versions.

    ``own``: revisions, by table and key, of rows that are what the device has made of them; 0 for
    rows that were touched, but are not.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    high: int = 0
    fresh: int = 0
    """How many of the last outcomes were decided now."""
    conflicts: int = 0
    """How many were opened."""
    own: dict[RowPlace, int] = field(default_factory=dict)
    pace: BatchSize = field(default_factory=BatchSize)
    """How the next bite begins."""
    work: int = 0
    """Changes that were decided; those that were decided twice count twice."""


def push(
    writer: Writer,
    engine: Engine,
    sender: Sender,
    transactions: Sequence[Transaction],
    *,
    high: int,
    touched: Sequence[Touched] = (),
    pace: BatchSize | None = None,
    bite_changes: int = PUSH_BITE_CHANGES,
    prepared: Prepared | None = None,
) -> Pushed:
    """Decide the first of these transactions and publish what changed.

    As many are decided as fill a bite of ``bite_changes``; their outcomes tell how many that are,
    the rest is for the next commit. ``high``: the last number the server has decided for this
    device. ``touched``: what was ingested in the same commit. ``prepared``: of the first one that
    is not decided yet. Raises ``ProtocolError`` (``number_reused``, ``number_gap``) and
    ``StaleRehearsal``, and then nothing may be committed.
    """
    known = _check_numbers(writer, sender.device, transactions, high)
    fresh = bite([t for t in transactions if t.number > high], bite_changes)
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
    outcomes: list[Outcome] = [known[t.number] for t in transactions if t.number <= high]
    records: list[Recorded] = []
    for item in decided:
        outcome = _outcome(item, versions)
        outcomes.append(outcome)
        records.append(_record(item, outcome))
        if item.outcome == "applied" and item.transaction.replaces:
            writer.settle(sender.device, item.transaction.replaces)
    writer.record(sender.device, records)
    told = [_told(outcome, decider.access.may_read) for outcome in outcomes]
    conflicts = sum(
        item.table is CONFLICT_TABLE and not item.before for item in decider.touched.values()
    )
    high = decided[-1].transaction.number if decided else high
    own = {place: item.own for place, item in decider.touched.items()}
    return Pushed(told, versions, high, len(decided), conflicts, own, decider.pace, decider.work)


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


def next_large(
    transactions: Sequence[Transaction], *, high: int, bite_changes: int
) -> Transaction | None:
    """The transaction of which the next bite consists, when that is a large one."""
    first = next((t for t in transactions if t.number > high), None)
    return first if first is not None and is_large(first, bite_changes) else None


def _check_numbers(
    writer: Writer, device: str, transactions: Sequence[Transaction], high: int
) -> dict[int, Outcome]:
    """The outcomes of repeated transactions. Raises ``ProtocolError`` for a gap or a reuse."""
    expected = transactions[0].number if transactions else 0
    if expected > high + 1:
        raise ProtocolError(
            f"transaction {expected} leaves a gap after {high}",
            code="number_gap",
            status=409,
            high=high,
        )
    for transaction in transactions:
        if transaction.number != expected:
            raise ProtocolError(
                f"transaction {transaction.number} was sent where {expected} is expected",
                code="number_gap", status=409, high=high,
            )  # fmt: skip
        expected += 1
    repeated = [t for t in transactions if t.number <= high]
    recorded = writer.recorded(device, [t.number for t in repeated]) if repeated else {}
    outcomes: dict[int, Outcome] = {}
    for transaction in repeated:
        found = recorded.get(transaction.number)
        if (
            found is None
            or found.id.hex() != transaction.id
            or found.body != body_hash(transaction)
        ):
            raise ProtocolError(
                f"transaction {transaction.number} was sent before with another body",
                code="number_reused", status=409, number=transaction.number,
            )  # fmt: skip
        outcomes[transaction.number] = _stored(found)
    return outcomes


def recorded_outcomes(reads: Snapshot, principal: Principal, numbers: Numbers) -> list[Outcome]:
    """The outcomes, in order, of what a device has sent and has no answer to, as far as it was
    decided. It cannot have sent more than one batch."""
    last = min(numbers.last, numbers.first + PUSH_TRANSACTIONS_MAX - 1)
    recorded = reads.recorded(principal.device, range(numbers.first, last + 1))
    return [_told(_stored(recorded[number]), principal.may_read) for number in sorted(recorded)]


def _stored(found: Recorded) -> Outcome:
    """An outcome as it was told first, or what is left of it."""
    if found.answer is None:
        return Outcome(found.number, found.id.hex(), found.outcome)
    return _read_outcome(found.answer)


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


def _record(item: Decided, outcome: Outcome) -> Recorded:
    return Recorded(
        number=outcome.number,
        id=bytes.fromhex(outcome.id),
        body=item.body or body_hash(item.transaction),
        outcome=outcome.outcome,
        answer=_write_outcome(outcome),
    )
