"""Deciding transactions in order, on rows in memory.

Knows: rights, merging, settlements, constraints and rules, and in which order they have their say.
Must not know: numbers, versions, or how what was decided is stored.
A refused transaction leaves no trace in the batch; what builds on one that was refused or held is
held, and names it.

Upholds I9, I16, I20, I21, I22, I26, I27, I28.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.core import values
from holdfast.core.clock import correct
from holdfast.core.errors import BadValue, Refuse
from holdfast.core.keys import row_scopes
from holdfast.core.merge import Author, Decision, RowChange
from holdfast.core.rows import ServerRow
from holdfast.core.values import Value
from holdfast.protocol.messages import Transaction
from holdfast.schema.model import CONFLICT_TABLE, Schema, Table
from holdfast.server.access import Access
from holdfast.server.conflicts import about_row, follow, open_conflict
from holdfast.server.feed import scopes_of
from holdfast.server.incoming import read_changes
from holdfast.server.merge_batch import Batch
from holdfast.server.principal import Principal
from holdfast.server.rules import Rule, run_rules
from holdfast.server.settle import check_settling, plan_settlements
from holdfast.server.store import JournalEntry, Row


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
class Decided:
    """What became of one transaction, before versions are known."""

    transaction: Transaction
    outcome: Literal["applied", "refused", "held"]
    refusal: Refuse | None = None
    held_by: int = 0
    scopes: frozenset[str] = frozenset()


class Run:
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

    def decide(self, transactions: Sequence[Transaction]) -> list[Decided]:
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
        self._batch.writer.hold(self._places(read))
        unknown = sorted(numbers - self._stopped.keys())
        if unknown:
            writer = self._batch.writer
            for number, found in writer.recorded(self._sender.device, unknown).items():
                self._stopped[number] = found.outcome != "applied" and not found.settled

    def _places(
        self, read: Sequence[tuple[Transaction, list[RowChange] | Refuse]]
    ) -> Iterator[str]:
        """The scopes of the rows before, and after as far as the changes alone tell."""
        for _transaction, changes in read:
            if isinstance(changes, Refuse):
                continue
            for change in changes:
                table = change.table
                row = self._batch.get(table, change.key)
                values = row.image if row.values is None else row.values
                yield from scopes_of(table, values)
                if change.op != "delete":
                    with contextlib.suppress(BadValue):  # refused when it is merged
                        yield from row_scopes(table, _after(change, values))

    def _decide(self, transaction: Transaction, changes: list[RowChange] | Refuse) -> Decided:
        if isinstance(changes, Refuse):
            return Decided(transaction, "refused", changes)
        for number in sorted(transaction.after):
            if self._stopped.get(number) and number != transaction.replaces:
                return Decided(transaction, "held", held_by=number)
        self._batch.begin()
        mark = len(self.journal)
        try:
            scopes = self._apply(transaction, changes)
        except Refuse as refusal:
            self._batch.undo()
            del self.journal[mark:]
            return Decided(transaction, "refused", refusal)
        except BaseException:
            self._batch.undo()
            raise
        self._batch.keep()
        if transaction.replaces:
            self._stopped[transaction.replaces] = False
        return Decided(transaction, "applied", scopes=scopes)

    def _apply(self, transaction: Transaction, changes: list[RowChange]) -> frozenset[str]:
        """Merge a transaction into the batch; the scopes it touched. Raises ``Refuse``."""
        now_us = self._sender.arrival_us
        plan_author = self._author(transaction, None)
        for change in changes:
            if change.table is CONFLICT_TABLE:
                self._check_settling(change)
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
                replaced = open_conflict(
                    self._batch, conflict, now_us=now_us, random_bytes=self._engine.random_bytes
                )
                self._note([] if replaced is None else [replaced], now_us)
        for key, new in plan.writes:
            self._batch.put(CONFLICT_TABLE, key, new, plan_author)
        self._batch.check(seen=True)
        if self._engine.rules:
            run_rules(
                self._engine.rules, self._batch, self._sender.principal,
                number=transaction.number, now_us=now_us,
            )  # fmt: skip
            self._batch.check()
        follow(self._batch, now_us=now_us)
        return frozenset(self._scopes())

    def _check_settling(self, change: RowChange) -> None:
        """Who settles a conflict may read it, and the row it is about while that is there."""
        check_settling(change)
        row = self._batch.get(change.table, change.key)
        self._access.check_before(change.table, change.op, row)
        about = None if row.values is None else about_row(self._batch.schema, row.values)
        if about is not None:
            self._access.check_about(about[0], self._batch.get(*about))

    def _scopes(self) -> Iterator[str]:
        for table, _key, before, now in self._batch.touched():
            if before.rev != now.rev:
                yield from scopes_of(table, before.values)
                yield from scopes_of(table, now.values)

    def _author(self, transaction: Transaction, of: tuple[RowChange, ServerRow] | None) -> Author:
        """The author of a change; its time is never before that of what it was based on."""
        base_us = None if of is None else _base_time(*of)
        at_us = correct(
            transaction.at,
            offset_us=self._sender.offset_us,
            arrival_us=self._sender.arrival_us,
            base_us=base_us,
        )
        return Author(self._sender.device, self._sender.principal.user, at_us, transaction.number)

    def _note(self, decisions: Sequence[Decision], now_us: int) -> None:
        schema = self._engine.schema
        self.journal += [journal_entry(schema, decision, now_us) for decision in decisions]


def _after(change: RowChange, before: Row | None) -> list[Value]:
    """A row after a change, as far as the two alone tell."""
    table = change.table
    whole: dict[str, Value] = {}
    if before is not None:
        whole.update(zip(table.column_names, before, strict=True))
    whole.update(zip(table.key, change.key_values, strict=True))
    whole.update(change.new)
    return [whole.get(name) for name in table.column_names]


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
