"""Transactions of a replica as they arrive: repeated, offered again, or new.

Knows: numbers, ids and bodies, and what was decided of them. Must not know: how anything is
decided, HTTP or SQL.
A replica that has come out of another one (a copy, or a file that was restored) offers again what
it cannot know to have arrived, under the numbers and ids it had. What the other one, or one that
*it* came out of, or any other copy has sent is found by number and id, and is not done again. Up to
the last number that was found both are one: what is stamped with such a number is the replica's own
write. From there on they are two, and what the other one wrote is concurrent.

Upholds I7 (over copies and restores, too), I8 and I9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import REPLICA_ORIGINS_MAX, REPLICA_RELATIVES_MAX
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
    """

    replica: ReplicaRecord
    outcomes: Mapping[int, Outcome]
    found: Mapping[int, Recorded]
    new: Sequence[Transaction]
    shared: int = 0
    origins: Sequence[tuple[ReplicaRecord, int]] = field(default_factory=tuple)
    foreign: int = 0

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
    if not replica.origin or not transactions:
        return ArrivingBatch(replica, outcomes, {}, rest, replica.shared)
    line = reads.origins(replica, REPLICA_ORIGINS_MAX)
    shared = replica.shared
    if not replica.high and rest:  # what it does not offer has its outcome, and is the origin's
        shared = min(rest[0].number - 1, replica.origin_last)
    offered = [t for t in rest if t.number <= replica.origin_last]
    relatives = _relatives(reads, replica, line, offered) if offered else {}
    told = _looked_for(reads, line, offered, relatives) if offered else {}
    for number, outcome in told.items():
        outcomes[number] = outcome
        if outcome.known and number not in relatives:
            shared = max(shared, number)
    found = {t.number: record(t, told[t.number]) for t in offered if t.number in told}
    new = [t for t in rest if t.number not in told]
    origins = (*_bounded(line, shared), *_own_in(relatives))
    foreign = _foreign(replica, line)
    return ArrivingBatch(replica, outcomes, found, new, shared, origins, foreign)


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


def _relatives(
    reads: Snapshot,
    replica: ReplicaRecord,
    line: Sequence[ReplicaRecord],
    offered: Sequence[Transaction],
) -> dict[int, tuple[ReplicaRecord, Recorded]]:
    """Look up what another copy has sent of them, by number: one that has come out of the same
    file, or any of the device, where a restored server no longer knows what came of what."""
    ids = {t.number: bytes.fromhex(t.id) for t in offered}
    devices = {replica.device, *(origin.device for origin in line)}
    known = {replica.replica, *(origin.replica for origin in line)}
    found: dict[int, tuple[ReplicaRecord, Recorded]] = {}
    for other, recorded in reads.sent_by(devices, ids, REPLICA_RELATIVES_MAX):
        if other.replica not in known:
            found[recorded.number] = (other, recorded)
    return found


def _own_in(
    relatives: Mapping[int, tuple[ReplicaRecord, Recorded]],
) -> tuple[tuple[ReplicaRecord, int], ...]:
    """Other copies with the last number that was found of each."""
    last: dict[str, tuple[ReplicaRecord, int]] = {}
    for number in sorted(relatives):
        other, _ = relatives[number]
        last[other.replica] = (other, number)
    return tuple(last.values())


def _looked_for(
    reads: Snapshot,
    line: Sequence[ReplicaRecord],
    offered: Sequence[Transaction],
    relatives: Mapping[int, tuple[ReplicaRecord, Recorded]],
) -> dict[int, Outcome]:
    """The outcomes of those that one of these replicas has sent before, by number, and refusals of
    those of which nobody can know."""
    outcomes: dict[int, Outcome] = {}
    forgotten: set[int] = set()
    for origin in line:
        left = [t for t in offered if t.number not in outcomes]
        recorded = reads.recorded(origin.replica, [t.number for t in left])
        for transaction in left:
            found = recorded.get(transaction.number)
            if found is None:
                if transaction.number <= origin.forgotten:
                    forgotten.add(transaction.number)
            elif found.id.hex() != transaction.id:
                continue
            else:
                outcomes[transaction.number] = _known(transaction, found)
    for transaction in offered:
        if transaction.number in relatives and transaction.number not in outcomes:
            _, found = relatives[transaction.number]
            outcomes[transaction.number] = _known(transaction, found)
    if len(line) >= REPLICA_ORIGINS_MAX and line[-1].origin:
        forgotten.update(t.number for t in offered if t.number <= line[-1].origin_last)
    for transaction in offered:
        if transaction.number in forgotten and transaction.number not in outcomes:
            outcomes[transaction.number] = _refused(transaction, "too_old_to_match")
    return outcomes


def _known(transaction: Transaction, found: Recorded) -> Outcome:
    """The outcome of one that was sent before; refused: what was sent was another one."""
    if found.body != first_hash(transaction):
        return _refused(transaction, "offered_otherwise")
    return msgspec.structs.replace(stored_outcome(found), known=True)


_WORDS = {
    "offered_otherwise": "This was sent before as something else, and that was decided.",
    "too_old_to_match": "It is too long ago to know whether this had arrived. Look whether it is "
    "there, and enter it again if it is not.",
}


def _refused(transaction: Transaction, code: str) -> Outcome:
    return Outcome(transaction.number, transaction.id, "refused", code, _WORDS[code])


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
