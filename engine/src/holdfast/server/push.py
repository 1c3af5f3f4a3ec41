"""Push: a device's transactions, decided in order and applied exactly once.

Knows: numbers, outcomes, rights, merging and rules. Must not know: HTTP or SQL.
A bite of a batch is merged in memory and written with a few statements. When the database objects,
its transactions are decided a few at a time, down to the one that costs only itself (``Pace``).
Everything happens inside the caller's write transaction: outcomes are stored with their effects.

Upholds I3, I7, I8, I9, I13, I16, I20, I21, I22, I26, I27, I28.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from holdfast.core.errors import ConstraintFailed, ProtocolError, Refuse
from holdfast.core.limits import PUSH_BITE_CHANGES, PUSH_TRANSACTIONS_MAX
from holdfast.protocol.messages import Outcome, Transaction
from holdfast.schema.model import CONFLICT_TABLE
from holdfast.server.access import Access
from holdfast.server.constraints import Place, unique_refusal
from holdfast.server.decide import Decided, Engine, Run, Sender
from holdfast.server.feed import Touched, publish
from holdfast.server.incoming import body_hash
from holdfast.server.merge_batch import Batch
from holdfast.server.quotas import Account
from holdfast.server.store import JournalEntry, Recorded, Writer
from holdfast.sqlite.failpoints import failpoint

_read_outcome = msgspec.json.Decoder(Outcome).decode
_write_outcome = msgspec.json.Encoder().encode

_SLOWER = 8
"""What the number of transactions decided at once is divided by when the database objects."""
_WELL = 4
"""So many successes in a row double it: what a failure wastes is at most half of what went well."""
_BITE_WORK = 3
"""A commit in which transactions failed ends with so many times the work of one where none did."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many transactions are decided at once, and how often in a row that went well.

    A batch that fails everywhere costs what its transactions cost one by one, and the first
    attempts: about twice the work, however the failures lie.
    """

    size: int = PUSH_TRANSACTIONS_MAX
    well: int = 0

    def slower(self, tried: int) -> Pace:
        """After a failure of so many."""
        return Pace(max(1, tried // _SLOWER))

    def faster(self) -> Pace:
        """After a success."""
        if self.well + 1 < _WELL:
            return Pace(self.size, self.well + 1)
        return Pace(min(self.size * 2, PUSH_TRANSACTIONS_MAX))


@dataclass(slots=True)
class Pushed:
    """What a push did: an outcome for each transaction asked about, and the new versions.

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
    own: dict[Place, int] = field(default_factory=dict)
    pace: Pace = Pace()
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
    pace: Pace | None = None,
    bite_changes: int = PUSH_BITE_CHANGES,
) -> Pushed:
    """Decide the first of these transactions and publish what changed.

    As many are decided as fill a bite of ``bite_changes``; their outcomes tell how many that are,
    the rest is for the next commit. ``high``: the last number the server has decided for this
    device. ``touched``: what was ingested in the same commit. Raises ``ProtocolError``
    (``number_reused``, ``number_gap``), and then nothing may be committed.
    """
    known = _check_numbers(writer, sender.device, transactions, high)
    fresh = bite([t for t in transactions if t.number > high], bite_changes)
    work_max = bite_changes * _BITE_WORK
    desk = _Desk(writer, engine, sender, pace or Pace(), work_max=work_max)
    desk.take_touched(touched)
    decided = desk.decide(fresh)
    writer.add_journal(desk.journal)
    versions = publish(writer, desk.touched.values(), engine.random_bytes)
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
    told = [_told(outcome, desk.access) for outcome in outcomes]
    conflicts = sum(
        item.table is CONFLICT_TABLE and not item.before for item in desk.touched.values()
    )
    high = decided[-1].transaction.number if decided else high
    own = {place: item.own for place, item in desk.touched.items()}
    return Pushed(told, versions, high, len(decided), conflicts, own, desk.pace, desk.work)


def bite(transactions: Sequence[Transaction], changes: int) -> Sequence[Transaction]:
    """The first transactions, until they have so many changes: at least one, if there is one."""
    for index, transaction in enumerate(transactions):
        changes -= weight(transaction)
        if changes <= 0:
            return transactions[: index + 1]
    return transactions


def weight(transaction: Transaction) -> int:
    """What deciding it costs, in changes; one without any is not for nothing."""
    return max(1, len(transaction.changes))


def _check_numbers(
    writer: Writer, device: str, transactions: Sequence[Transaction], high: int
) -> dict[int, Outcome]:
    """The outcomes of repeated transactions. Raises ``ProtocolError`` for a gap or a reuse."""
    expected = transactions[0].number if transactions else 0
    if expected > high + 1:
        raise ProtocolError(
            f"transaction {expected} follows {high}", code="number_gap", status=409, high=high
        )
    for transaction in transactions:
        if transaction.number != expected:
            raise ProtocolError(
                f"transaction {transaction.number} comes where {expected} is due",
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
        outcomes[transaction.number] = (
            Outcome(transaction.number, transaction.id, found.outcome)
            if found.answer is None
            else _read_outcome(found.answer)
        )
    return outcomes


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


def _told(outcome: Outcome, access: Access) -> Outcome:
    """An outcome without the scopes that the device may not read: a rule can have written there,
    and an outcome that is told again can be older than the device's rights."""
    readable = {name: at for name, at in outcome.versions.items() if access.may_read(name)}
    return msgspec.structs.replace(outcome, versions=readable)


def _record(item: Decided, outcome: Outcome) -> Recorded:
    return Recorded(
        number=outcome.number,
        id=bytes.fromhex(outcome.id),
        body=body_hash(item.transaction),
        outcome=outcome.outcome,
        answer=_write_outcome(outcome),
    )


class _Desk:
    """Where one push is decided."""

    def __init__(
        self, writer: Writer, engine: Engine, sender: Sender, pace: Pace, *, work_max: int
    ) -> None:
        self.pace = pace
        self.work = 0
        self._work_max = work_max
        self._writer = writer
        self._engine = engine
        self._sender = sender
        self.access = Access(sender.principal)
        self._account = Account(writer, engine.quotas)
        self._stopped: dict[int, bool] = {}
        self.touched: dict[Place, Touched] = {}
        self.journal: list[JournalEntry] = []

    def take_touched(self, items: Sequence[Touched]) -> None:
        """Remember changed rows; the scopes a row was in are those before the first change."""
        for item in items:
            place = item.table.name, item.key
            first = self.touched.get(place)
            # Of a row that was written before, whatever it is now, its sender cannot be sure.
            self.touched[place] = (
                item
                if first is None
                else Touched(item.table, item.key, first.before, item.after, item.row)
            )

    def decide(self, transactions: Sequence[Transaction]) -> list[Decided]:
        """Decide transactions in order, as many at once as the database lets; not all of them,
        when what failed was as much work as all."""
        decided: list[Decided] = []
        while len(decided) < len(transactions):
            if decided and self.work >= self._work_max:
                break
            group = transactions[len(decided) : len(decided) + self.pace.size]
            self.work += sum(weight(transaction) for transaction in group)
            mark = self._account.mark()
            try:
                decided += self._together(group)
            except ConstraintFailed as failure:
                self._account.restore(mark)
                self.pace = self.pace.slower(len(group))
                if len(group) == 1:
                    (transaction,) = group
                    self._stopped[transaction.number] = True
                    decided.append(Decided(transaction, "refused", _refusal(failure)))
            else:
                self.pace = self.pace.faster()
        return decided

    def _together(self, transactions: Sequence[Transaction]) -> list[Decided]:
        """Raises ``ConstraintFailed``; then nothing of them was done."""
        stopped = dict(self._stopped)
        with self._writer.savepoint():
            batch = Batch(
                self._writer, self._engine.schema, self._engine.random_bytes, access=self.access
            )
            run = Run(
                batch, self._engine, self._sender, self.access, stopped, account=self._account
            )
            decided = run.decide(transactions)
            touched = batch.flush()
        self._stopped = stopped
        self.take_touched(touched)
        self.journal += run.journal
        return decided


def _refusal(failure: ConstraintFailed) -> Refuse:
    """A constraint's failure as a reason for a person."""
    label, _, places = failure.message.partition(" constraint failed: ")
    if label == "UNIQUE" and places:  # the database's words: table.column, table.column
        table = places.partition(".")[0]
        columns = [place.strip().partition(".")[2] for place in places.split(",")]
        return unique_refusal(table, columns)
    detail = dict(failure.detail)
    name = detail.pop("field", None)
    detail.pop("kind", None)
    return Refuse(failure.kind, failure.message, field=name, **detail)
