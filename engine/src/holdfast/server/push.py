"""Push: a device's transactions, decided in order and applied exactly once.

Knows: numbers, outcomes, rights, merging and rules. Must not know: HTTP or SQL.
A batch is merged in memory and written with a few statements. When the database objects to it, it is
decided in halves, down to the one transaction that costs only itself. Everything happens inside the
caller's write transaction: outcomes are stored with their effects.

Upholds I3, I7, I8, I9, I13, I16, I20, I21, I22, I26, I27, I28.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from holdfast.core import values
from holdfast.core.clock import correct
from holdfast.core.errors import ConstraintFailed, ProtocolError, Refuse
from holdfast.core.merge import Author, Decision, RowChange
from holdfast.core.rows import ServerRow
from holdfast.core.values import Value
from holdfast.protocol.messages import Outcome, Transaction
from holdfast.schema.model import CONFLICT_TABLE, Schema, Table
from holdfast.server.access import Access
from holdfast.server.conflicts import check_settling, follow, open_conflict, plan_settlements
from holdfast.server.feed import Touched, publish, scopes_of
from holdfast.server.incoming import body_hash, read_changes
from holdfast.server.merge_batch import Batch
from holdfast.server.principal import Principal
from holdfast.server.rules import Rule, run_rules
from holdfast.server.store import JournalEntry, Recorded, Writer
from holdfast.sqlite.failpoints import failpoint

_read_outcome = msgspec.json.Decoder(Outcome).decode
_write_outcome = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Sender:
    """Who pushes, and what the server makes of their clock; times in microseconds."""

    principal: Principal
    device: str
    offset_us: int
    arrival_us: int


@dataclass(frozen=True, slots=True)
class Engine:
    """What deciding needs from outside."""

    schema: Schema
    rules: Sequence[Rule]
    random_bytes: Callable[[int], bytes]


@dataclass(slots=True)
class _Decided:
    """What became of one transaction, before versions are known."""

    transaction: Transaction
    outcome: Literal["applied", "refused", "held"]
    refusal: Refuse | None = None
    held_by: int = 0
    scopes: frozenset[str] = frozenset()


@dataclass(slots=True)
class Pushed:
    """What a push did: an outcome for each transaction asked about, and the new versions."""

    outcomes: list[Outcome] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    high: int = 0


def push(
    writer: Writer,
    engine: Engine,
    sender: Sender,
    transactions: Sequence[Transaction],
    *,
    high: int,
    touched: Sequence[Touched] = (),
) -> Pushed:
    """Decide transactions and publish what changed.

    ``high``: the last number the server has decided for this device. ``touched``: what was ingested
    in the same commit. Raises ``ProtocolError`` (``number_reused``, ``number_gap``), and then nothing
    may be committed.
    """
    known = _check_numbers(writer, sender.device, transactions, high)
    fresh = [t for t in transactions if t.number > high]
    desk = _Desk(writer, engine, sender)
    desk.take_touched(touched)
    decided = desk.decide(fresh)
    versions = publish(writer, desk.touched.values(), engine.random_bytes)
    failpoint("push.after_write")
    writer.add_journal(desk.journal)
    outcomes: list[Outcome] = [known[t.number] for t in transactions if t.number <= high]
    records: list[Recorded] = []
    for item in decided:
        outcome = _outcome(item, versions)
        outcomes.append(outcome)
        records.append(_record(item, outcome))
        if item.outcome == "applied" and item.transaction.replaces:
            writer.settle(sender.device, item.transaction.replaces)
    writer.record(sender.device, records)
    return Pushed(outcomes, versions, fresh[-1].number if fresh else high)


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


def _outcome(item: _Decided, versions: dict[str, int]) -> Outcome:
    number, identity = item.transaction.number, item.transaction.id
    if item.refusal is not None:
        return Outcome(
            number, identity, "refused", item.refusal.code, item.refusal.message,
            item.refusal.field or "",
        )  # fmt: skip
    if item.outcome == "held":
        return Outcome(
            number, identity, "held", "held", f"Waits for {item.held_by}.", held_by=item.held_by
        )
    moved = {scope: versions[scope] for scope in sorted(item.scopes) if scope in versions}
    return Outcome(number, identity, "applied", versions=moved)


def _record(item: _Decided, outcome: Outcome) -> Recorded:
    return Recorded(
        number=outcome.number,
        id=bytes.fromhex(outcome.id),
        body=body_hash(item.transaction),
        outcome=outcome.outcome,
        answer=_write_outcome(outcome),
    )


class _Desk:
    """Where one push is decided."""

    def __init__(self, writer: Writer, engine: Engine, sender: Sender) -> None:
        self._writer = writer
        self._engine = engine
        self._sender = sender
        self._access = Access(sender.principal)
        self._stopped: dict[int, bool] = {}
        self.touched: dict[tuple[str, str], Touched] = {}
        self.journal: list[JournalEntry] = []

    def take_touched(self, items: Sequence[Touched]) -> None:
        """Remember changed rows; the scopes a row was in are those before the first change."""
        for item in items:
            place = item.table.name, item.key
            first = self.touched.get(place)
            before = item.before if first is None else first.before
            self.touched[place] = Touched(item.table, item.key, before, item.after, item.row)

    def decide(self, transactions: Sequence[Transaction]) -> list[_Decided]:
        """Decide transactions in order; a batch that fails is decided in halves."""
        if not transactions:
            return []
        stopped = dict(self._stopped)
        try:
            with self._writer.savepoint():
                batch = Batch(self._writer, self._engine.schema, self._engine.random_bytes)
                run = _Run(batch, self._engine, self._sender, self._access, stopped)
                decided = run.decide(transactions)
                touched = batch.flush()
        except ConstraintFailed as failure:
            if len(transactions) == 1:
                (transaction,) = transactions
                self._stopped[transaction.number] = True
                return [_Decided(transaction, "refused", _refusal(failure))]
            half = len(transactions) // 2
            return [*self.decide(transactions[:half]), *self.decide(transactions[half:])]
        self._stopped = stopped
        self.take_touched(touched)
        self.journal += run.journal
        return decided


def _refusal(failure: ConstraintFailed) -> Refuse:
    detail = dict(failure.detail)
    name = detail.pop("field", None)
    detail.pop("kind", None)
    return Refuse(failure.kind, failure.message, field=name, **detail)


class _Run:
    """One attempt at a batch of transactions."""

    def __init__(
        self,
        batch: Batch,
        engine: Engine,
        sender: Sender,
        access: Access,
        stopped: dict[int, bool],
    ) -> None:
        self._batch = batch
        self._engine = engine
        self._sender = sender
        self._access = access
        self._stopped = stopped
        """Numbers known to be refused or held (True), or not (False)."""
        self.journal: list[JournalEntry] = []

    def decide(self, transactions: Sequence[Transaction]) -> list[_Decided]:
        read = [(t, self._read(t)) for t in transactions]
        self._load(read)
        decided = []
        for transaction, changes in read:
            item = self._decide(transaction, changes)
            self._stopped[transaction.number] = item.outcome != "applied"
            decided.append(item)
        return decided

    def _read(self, transaction: Transaction) -> list[RowChange] | Refuse:
        try:
            return read_changes(self._engine.schema, transaction, self._shift)
        except Refuse as refusal:
            return refusal

    def _shift(self, stamp_us: int) -> int:
        return correct(
            stamp_us,
            offset_us=self._sender.offset_us,
            arrival_us=self._sender.arrival_us,
            base_us=None,
        )

    def _load(self, read: Sequence[tuple[Transaction, list[RowChange] | Refuse]]) -> None:
        """One read of all touched rows of each table, and of earlier outcomes."""
        keys: dict[str, list[str]] = defaultdict(list)
        numbers: set[int] = set()
        for transaction, changes in read:
            numbers.update(transaction.after)
            if not isinstance(changes, Refuse):
                for change in changes:
                    keys[change.table.name].append(change.key)
        for name, wanted in keys.items():
            self._batch.load(self._engine.schema.by_name[name], wanted)
        unknown = sorted(numbers - self._stopped.keys())
        if unknown:
            writer = self._batch.writer
            for number, found in writer.recorded(self._sender.device, unknown).items():
                self._stopped[number] = found.outcome != "applied" and not found.settled

    def _decide(
        self, transaction: Transaction, changes: list[RowChange] | Refuse
    ) -> _Decided:
        if isinstance(changes, Refuse):
            return _Decided(transaction, "refused", changes)
        for number in sorted(transaction.after):
            if self._stopped.get(number) and number != transaction.replaces:
                return _Decided(transaction, "held", held_by=number)
        self._batch.begin()
        mark = len(self.journal)
        try:
            scopes = self._apply(transaction, changes)
        except Refuse as refusal:
            self._batch.undo()
            del self.journal[mark:]
            return _Decided(transaction, "refused", refusal)
        except BaseException:
            self._batch.undo()
            raise
        self._batch.keep()
        if transaction.replaces:
            self._stopped[transaction.replaces] = False
        return _Decided(transaction, "applied", scopes=scopes)

    def _apply(self, transaction: Transaction, changes: list[RowChange]) -> frozenset[str]:
        """Merge a transaction into the batch; the scopes it touched. Raises ``Refuse``."""
        now_us = self._sender.arrival_us
        plan_author = self._author(transaction, None)
        for change in changes:
            if change.table is CONFLICT_TABLE:
                check_settling(change)
                self._access.check_before(
                    change.table, change.op, self._batch.get(change.table, change.key)
                )
        plan = plan_settlements(self._batch, changes, plan_author)
        self._note(plan.decisions, now_us)
        for change in plan.changes:
            row = self._batch.get(change.table, change.key)
            self._access.check_before(change.table, change.op, row)
            merged = self._batch.merge(
                change,
                self._author(transaction, (change, row)),
                settled=plan.settled.get((change.table.name, change.key), frozenset()),
            )
            self._access.check_after(change.table, merged.row.values)
            if merged.decisions:
                self._note(merged.decisions, now_us)
            for conflict in merged.conflicts:
                open_conflict(
                    self._batch, conflict, now_us=now_us, random_bytes=self._engine.random_bytes
                )
        for key, new in plan.writes:
            self._batch.put(CONFLICT_TABLE, key, new, plan_author)
        self._batch.check()
        if self._engine.rules:
            run_rules(
                self._engine.rules, self._batch, self._sender.principal,
                number=transaction.number, now_us=now_us,
            )  # fmt: skip
            self._batch.check()
        follow(self._batch, now_us=now_us)
        return frozenset(self._scopes())

    def _scopes(self) -> Iterator[str]:
        for table, _key, before, now in self._batch.touched():
            if before.rev != now.rev:
                yield from scopes_of(table, before.values)
                yield from scopes_of(table, now.values)

    def _author(
        self, transaction: Transaction, of: tuple[RowChange, ServerRow] | None
    ) -> Author:
        """The author of a change; its time is never before that of what it was based on."""
        base_us = None if of is None else _base_time(*of)
        at_us = correct(
            transaction.at,
            offset_us=self._sender.offset_us,
            arrival_us=self._sender.arrival_us,
            base_us=base_us,
        )
        return Author(
            self._sender.device, self._sender.principal.user, at_us, transaction.number
        )

    def _note(self, decisions: Sequence[Decision], now_us: int) -> None:
        schema = self._engine.schema
        self.journal += [journal_entry(schema, decision, now_us) for decision in decisions]


def _base_time(change: RowChange, row: ServerRow) -> int | None:
    """The corrected time of the newest revision that the change was based on (µs)."""
    times = [
        stamp.at
        for name in change.new
        if (stamp := row.columns.get(name, row.row)) is not None
        and stamp.rev <= change.bases.get(name, change.base)
    ]
    return max(times, default=None)


def journal_entry(schema: Schema, decision: Decision, now_us: int) -> JournalEntry:
    """A decision as it is kept: both values in their wire form."""
    table = schema.by_name[decision.table]
    return JournalEntry(
        at=now_us,
        table=decision.table,
        key=decision.key,
        column=decision.column,
        kind=decision.kind,
        entry={
            "kept": _wire(table, decision.column, decision.kept),
            "kept_device": decision.kept_device,
            "kept_user": decision.kept_user,
            "kept_at": decision.kept_at,
            "lost": _wire(table, decision.column, decision.lost),
            "lost_device": decision.lost_device,
            "lost_user": decision.lost_user,
            "lost_at": decision.lost_at,
        },
    )


def _wire(table: Table, name: str, value: Value) -> Any:
    column = table.by_name.get(name)
    return value if column is None else values.to_wire(column.type, value)
