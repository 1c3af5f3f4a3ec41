"""Transactions of a replica as they arrive: repeated, offered again, or new.

Knows: numbers, ids and bodies, and what was decided of them. Must not know: how anything is
decided, HTTP or SQL.
A replica that has come out of another one (a copy, or a file that was restored) offers again what
it cannot know to have arrived, under the numbers and ids it had. What the other one, or one that
*it* came out of, or any other copy has sent is found, and is not done again. Up to the last number
that was found both are one: what is stamped with such a number is the replica's own write. From
there on they are two, and what the other one wrote is concurrent.

An id says what was done, and a number only where: when a group is taken apart, its parts have ids
that follow from its own, and they and what comes after them take the numbers that are free in that
file. So whoever has relatives, the one that goes on as before too, looks for each id that it sends.

Upholds I7 (over copies and restores, too), I8 and I9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import REPLICA_ORIGINS_MAX
from holdfast.protocol.first_sent import first_hash
from holdfast.protocol.messages import Outcome, Transaction
from holdfast.server.store.contract import Recorded, ReplicaRecord, Snapshot

_read_outcome = msgspec.json.Decoder(Outcome).decode
write_outcome = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ArrivingBatch:
    """A batch of transactions of a replica, as far as it is known already.

    ``outcomes``: of those that are, by number. ``found``: what is to be recorded of those that were
    offered again. ``new``: the others, in order. ``shared``: up to this number the origin's
    transactions are the replica's own. ``origins``: replicas that it has come out of, the nearest
    first, with the last number up to which theirs are its own. ``foreign``: up to this number its
    transactions were made on the rows of a server that is not this one, or of nobody knows which.
    ``elsewhere``: what another copy has sent of them: its name on stamps, and the number there.
    ``stopped``: of those that were found, whether they are refused or held still.
    """

    replica: ReplicaRecord
    outcomes: Mapping[int, Outcome]
    found: Mapping[int, Recorded]
    new: Sequence[Transaction]
    shared: int = 0
    origins: Sequence[tuple[ReplicaRecord, int]] = field(default_factory=tuple)
    foreign: int = 0
    elsewhere: frozenset[tuple[str, int]] = frozenset()
    stopped: Mapping[int, bool] = field(default_factory=dict)

    @property
    def past(self) -> Mapping[str, int]:
        """Return the same by the names under which they write."""
        return {origin.writes_as: last for origin, last in self.origins}


def arrivals(
    reads: Snapshot, replica: ReplicaRecord, transactions: Sequence[Transaction]
) -> ArrivingBatch:
    """Tell apart what has arrived. Raises ``ProtocolError`` for a gap (``number_gap``) and for a
    number that was sent as another transaction (``number_reused``)."""
    _check_order(replica, transactions)
    repeated = [t for t in transactions if t.number <= replica.high]
    outcomes = _repeated(reads, replica, repeated)
    rest = transactions[len(repeated) :]
    if not replica.has_relatives or not transactions:
        return ArrivingBatch(replica, outcomes, {}, rest, replica.shared)
    line = reads.origins(replica, REPLICA_ORIGINS_MAX) if replica.origin else []
    shared = replica.shared
    if replica.origin and not replica.high and rest:
        # What it does not offer has its outcome, and is the origin's.
        shared = min(rest[0].number - 1, replica.origin_last)
    offered = [t for t in rest if t.number <= replica.origin_last]
    before, forgotten = _of_the_line(reads, line, offered)
    relatives = _relatives(reads, replica, line, [t for t in rest if t.number not in before])
    sent = {t.number: before.get(t.number) or relatives[t.number][0][1]
            for t in rest if t.number in before or t.number in relatives}  # fmt: skip
    told = {t.number: _too_old(t) for t in offered
            if t.number in forgotten and t.number not in sent}  # fmt: skip
    for transaction in rest:
        if transaction.number in sent:
            outcome = _known(transaction, sent[transaction.number], outcomes | told)
            told[transaction.number] = outcome
    outcomes |= told
    found = {t.number: record(t, told[t.number]) for t in rest if t.number in told}
    shared = max([shared, *before])
    return ArrivingBatch(
        replica, outcomes, found, [t for t in rest if t.number not in told], shared,
        _bounded(line, shared), _foreign(replica, line), _elsewhere(relatives),
        stopped={n: one.outcome != "applied" and not one.settled for n, one in sent.items()},
    )  # fmt: skip


def _foreign(replica: ReplicaRecord, line: Sequence[ReplicaRecord]) -> int:
    """The last number of what was made before this server was met, by the oldest of the line: out
    of whom it has come nobody here knows."""
    oldest = line[-1] if line else replica
    return oldest.origin_last if oldest.origin and len(line) < REPLICA_ORIGINS_MAX else 0


def _check_order(replica: ReplicaRecord, transactions: Sequence[Transaction]) -> None:
    """Raises ``ProtocolError``: numbers are consecutive, but among those that are offered again,
    which only rise."""
    last, high = 0, replica.high
    for transaction in transactions:
        number = transaction.number
        offered = number <= replica.origin_last
        if not last:
            fits = number <= high or offered or number == max(high, replica.origin_last) + 1
        elif offered:
            fits = number > last
        else:
            fits = number == max(last, replica.origin_last) + 1
        if not fits:
            if not last:
                message = f"transaction {number} leaves a gap after {high}"
            else:
                message = f"transaction {number} was sent where {last + 1} is expected"
            raise ProtocolError(message, code="number_gap", status=409, high=high)
        last = number


def _repeated(
    reads: Snapshot, replica: ReplicaRecord, transactions: Sequence[Transaction]
) -> dict[int, Outcome]:
    """The outcomes of repeated transactions. Raises ``ProtocolError`` (``number_reused``)."""
    if not transactions:
        return {}
    recorded = reads.recorded(replica.replica, [t.number for t in transactions])
    outcomes: dict[int, Outcome] = {}
    for transaction in transactions:
        found = recorded.get(transaction.number)
        if (
            found is None
            or found.id.hex() != transaction.id
            or found.body != first_hash(transaction)
        ):
            raise ProtocolError(
                f"transaction {transaction.number} was sent before with another body",
                code="number_reused", status=409, number=transaction.number, high=replica.high,
            )  # fmt: skip
        outcomes[transaction.number] = stored_outcome(found)
    return outcomes


Relatives = Mapping[int, list[tuple[ReplicaRecord, Recorded]]]
"""By number: who has sent the same before, and what was decided of it there."""


def _relatives(
    reads: Snapshot,
    replica: ReplicaRecord,
    line: Sequence[ReplicaRecord],
    offered: Sequence[Transaction],
) -> Relatives:
    """Look up what another copy has sent of them, by id: one that has come out of the same file, or
    any of the device, where a restored server no longer knows what came of what."""
    if not offered:
        return {}
    numbers = {t.id: t.number for t in offered}
    devices = {replica.device, *(origin.device for origin in line)}
    found: dict[int, list[tuple[ReplicaRecord, Recorded]]] = {}
    for other, recorded in reads.sent_by(devices, [bytes.fromhex(id_) for id_ in numbers]):
        if other.replica != replica.replica:
            found.setdefault(numbers[recorded.id.hex()], []).append((other, recorded))
    return found


def _elsewhere(relatives: Relatives) -> frozenset[tuple[str, int]]:
    """Names on stamps, and numbers, under which other copies have sent the same. What they sent
    before or after it may be theirs alone."""
    found = (one for some in relatives.values() for one in some)
    return frozenset((other.writes_as, recorded.number) for other, recorded in found)


def _of_the_line(
    reads: Snapshot, line: Sequence[ReplicaRecord], offered: Sequence[Transaction]
) -> tuple[dict[int, Recorded], set[int]]:
    """Look up what one of the replicas that this one has come out of has sent of them, by number
    and id; and the numbers of which it may be forgotten."""
    found: dict[int, Recorded] = {}
    forgotten: set[int] = set()
    for origin in line:
        left = {t.number: t.id for t in offered if t.number not in found}
        recorded = reads.recorded(origin.replica, list(left)) if left else {}
        forgotten.update(n for n in left if n not in recorded and n <= origin.forgotten)
        found |= {n: one for n, one in recorded.items() if one.id.hex() == left[n]}
    if len(line) >= REPLICA_ORIGINS_MAX and line[-1].origin:
        forgotten.update(t.number for t in offered if t.number <= line[-1].origin_last)
    return found, forgotten


def _known(transaction: Transaction, found: Recorded, others: Mapping[int, Outcome]) -> Outcome:
    """The outcome of one that was sent before, under the number that it has here."""
    outcome = msgspec.structs.replace(stored_outcome(found), known=True)
    if found.number == transaction.number:
        return outcome
    outcome = msgspec.structs.replace(outcome, number=transaction.number)
    if outcome.outcome != "held":
        return outcome
    causes = sorted(transaction.after)
    stopped = [n for n in causes if n in others and others[n].outcome != "applied"]
    by = next(iter([*stopped, *causes]), 0)
    return msgspec.structs.replace(outcome, held_by=by, message=f"Waits for {by}." if by else "")


def _too_old(transaction: Transaction) -> Outcome:
    return Outcome(
        transaction.number, transaction.id, "refused", "too_old_to_match",
        "It is too long ago to know whether this had arrived. Look whether it is there, and enter "
        "it again if it is not.",
    )  # fmt: skip


def _bounded(line: Sequence[ReplicaRecord], shared: int) -> tuple[tuple[ReplicaRecord, int], ...]:
    """Origins with the last number up to which their transactions are the replica's own."""
    bounded = []
    for origin in line:
        bounded.append((origin, shared))
        shared = min(shared, origin.shared)
    return tuple(bounded)


def stored_outcome(found: Recorded) -> Outcome:
    """An outcome as it was told first, or what is left of it."""
    if found.answer is None:
        return Outcome(found.number, found.id.hex(), found.outcome)
    return _read_outcome(found.answer)


def record(transaction: Transaction, outcome: Outcome, body: bytes = b"") -> Recorded:
    """Return what is stored of a transaction; ``body``: the hash of it, where it is known."""
    return Recorded(
        number=outcome.number,
        id=bytes.fromhex(outcome.id),
        body=body or first_hash(transaction),
        outcome=outcome.outcome,
        answer=write_outcome(outcome),
    )
