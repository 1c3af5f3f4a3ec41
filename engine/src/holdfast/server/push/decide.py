"""Deciding transactions in order, on rows in memory.

Knows: rights, merging, settlements, constraints and rules, and in which order they have their say.
Must not know: numbers, versions, or how what was decided is stored.
A refused transaction leaves no trace in the batch; what builds on one that was refused or held is
held, and names it.

Upholds I9, I16, I20, I21, I22, I26, I27, I28.
"""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from holdfast.core.clock import correct
from holdfast.core.errors import BadValue, Refuse
from holdfast.core.keys import row_scopes
from holdfast.core.limits import EPOCH_REVISIONS
from holdfast.core.merging.merge import Author, Decision, RowChange
from holdfast.core.merging.rows import (
    ServerRow,
    base_in,
    begun_again,
    is_impossible,
    seen_in_lost,
)
from holdfast.core.values import Row, Value
from holdfast.protocol.messages import Transaction
from holdfast.schema.model import CONFLICT_TABLE, Schema
from holdfast.schema.projection import Projection
from holdfast.server.feed.feed import scopes_of
from holdfast.server.generations.lifting import fill_change, lift_change
from holdfast.server.identity.principal import Principal
from holdfast.server.merging.access import Access
from holdfast.server.merging.batch import Batch
from holdfast.server.merging.conflicts import about_row, follow, open_conflict
from holdfast.server.merging.journal import journal_entries
from holdfast.server.merging.settle import Plan, check_settling, plan_settlements
from holdfast.server.push.decode import read_changes
from holdfast.server.push.quotas import Account, Quotas
from holdfast.server.push.rules import Rule, run_rules
from holdfast.server.store.contract import JournalEntry, ReplicaRecord

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sender:
    """The principal that pushes, and what the server makes of their clock; times in
    microseconds.
    """

    principal: Principal
    replica: ReplicaRecord
    offset_us: int
    arrival_us: int
    older: Projection | None = None
    """What its generation of the schema sees, where it is an older one."""
    origins: Sequence[tuple[str, int]] = ()
    """Replicas that it has come out of, with the last number up to which theirs are its own."""
    past: Mapping[str, int] = field(default_factory=dict)
    """The same by the names under which they write."""
    foreign: int = 0
    """Up to this number its bases are revisions of another server."""
    elsewhere: frozenset[tuple[str, int]] = frozenset()
    """Names and numbers under which other copies have sent what it sends."""
    stopped: Mapping[int, bool] = field(default_factory=dict)
    """Of what others have sent of this batch: whether it is refused or held still."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Dependencies of deciding a push."""

    schema: Schema
    rules: Sequence[Rule]
    random_bytes: Callable[[int], bytes]
    quotas: Quotas = field(default_factory=Quotas)


@dataclass(slots=True)
class Decided:
    """Result of one transaction, before versions are known."""

    transaction: Transaction
    outcome: Literal["applied", "refused", "held"]
    refusal: Refuse | None = None
    held_by: int = 0
    scopes: frozenset[str] = frozenset()
    impossible: int = 0
    """Changes whose base is above the row's revision."""
    body: bytes = b""
    """The hash of the transaction's body, where it is known already."""


class DecisionRun:
    """One attempt at a batch of transactions."""

    def __init__(
        self,
        batch: Batch,
        engine: Engine,
        sender: Sender,
        access: Access,
        stopped: dict[int, bool],
        *,
        account: Account,
    ) -> None:
        self._account = account
        self._batch = batch
        self._engine = engine
        self._sender = sender
        self._access = access
        self._stopped = stopped
        """Numbers known to be refused or held (True), or not (False)."""
        self._impossible = 0
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
            older = self._sender.older
            if older is None:
                return read_changes(self._engine.schema, transaction, self._shift)
            changes = read_changes(older.schema, transaction, self._shift)
            return [lift_change(older, change) for change in changes]
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
            # In the order of the keys, in which they are written, too: neighbours are together.
            self._batch.load(self._engine.schema.by_name[name], sorted(wanted))
        self._batch.writer.hold(self._places(read))
        unknown = sorted(numbers - self._stopped.keys())
        if unknown:
            self._look_up(unknown)

    def _look_up(self, numbers: Sequence[int]) -> None:
        """Look up what became of the replica's own earlier transactions, whoever has sent them."""
        writer, known = self._batch.writer, self._sender.stopped
        self._stopped.update((number, known[number]) for number in numbers if number in known)
        left = [number for number in numbers if number not in known]
        if not left:
            return
        for replica, last in ((self._sender.replica.replica, max(left)), *self._sender.origins):
            wanted = [number for number in left if number <= last]
            for number, found in writer.recorded(replica, wanted).items() if wanted else ():
                self._stopped[number] = found.outcome != "applied" and not found.settled
            left = [number for number in left if number not in self._stopped]

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
                if change.op == "update" and values is not None and not _moves(change):
                    continue
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
        self._impossible = 0
        try:
            scopes = self._apply(transaction, changes)
        except Refuse as refusal:
            self._batch.undo()
            del self.journal[mark:]
            return Decided(transaction, "refused", refusal, impossible=self._impossible)
        except BaseException:
            self._batch.undo()
            raise
        self._batch.keep()
        if transaction.replaces:
            self._stopped[transaction.replaces] = False
        return Decided(transaction, "applied", scopes=scopes, impossible=self._impossible)

    def _apply(self, transaction: Transaction, changes: list[RowChange]) -> frozenset[str]:
        """Merge a transaction into the batch; the scopes it touched. Raises ``Refuse``."""
        now_us = self._sender.arrival_us
        author = self._author(transaction)
        plan = self._settlements(changes, author)
        decisions = list(plan.decisions)
        self._note(plan.decisions, now_us)
        for change in plan.changes:
            decisions += self._merge(change, author, plan)
        for key, new in plan.writes:
            self._batch.put(CONFLICT_TABLE, key, new, author)
        self._batch.check(seen=True)
        if self._engine.rules:
            run_rules(
                self._engine.rules, self._batch, self._sender.principal,
                number=transaction.number, now_us=now_us, at_us=min(author.at, now_us),
                decisions=decisions,
            )  # fmt: skip
            self._batch.check()
        self._note(follow(self._batch, now_us=now_us), now_us)
        self._account.take(self._batch.touched())
        return frozenset(self._scopes())

    def _settlements(self, changes: list[RowChange], author: Author) -> Plan:
        """Return what is left to merge when settlements were looked at. Raises ``Refuse``."""
        settling = [change for change in changes if change.table is CONFLICT_TABLE]
        if not settling:
            return Plan(changes)
        for change in settling:
            self._check_settling(change)
        return plan_settlements(self._batch, changes, author)

    def _merge(self, change: RowChange, author: Author, plan: Plan) -> Sequence[Decision]:
        """Merge one change into the batch; what was dropped or overridden. Raises ``Refuse``."""
        now_us = self._sender.arrival_us
        table = change.table
        row = self._batch.get(table, change.key)
        self._access.check_before(table, change.op, row)
        if change.op == "insert":
            change = fill_change(change, lives=row.values is not None)
        change = self._seen(change, row, author)
        base_us = _base_time(change, row)
        if base_us is not None and base_us > author.at:  # never before what it was based on
            author = replace(author, at=base_us)
        settled = plan.settled.get((table.name, change.key)) if plan.settled else None
        merged = self._batch.merge(change, author, settled=settled or frozenset())
        if any(is_impossible(row, base) for base in (change.base, *change.bases.values())):
            self._impossible += 1
            logger.warning(
                "device %s sent a change of %s with a base above the row's revision: its file is "
                "damaged, or its client is faulty", self._sender.replica.device, table.name,
            )  # fmt: skip
            self._batch.renew(table, change.key, row)
        self._access.check_after(table, merged.row.values)
        if merged.decisions:
            self._note(merged.decisions, now_us)
        for conflict in merged.conflicts:
            replaced = open_conflict(
                self._batch, conflict, now_us=now_us, random_bytes=self._engine.random_bytes
            )
            self._note([] if replaced is None else [replaced], now_us)
        return merged.decisions

    def _seen(self, change: RowChange, row: ServerRow, author: Author) -> RowChange:
        """Return a change with bases of this history, where they are of an epoch that has ended
        and the change was made then.

        Of a row that begins again since, others may have offered later work first: a value that
        was written after this change was made was not seen. Bases of another server say nothing of
        ours: none of these rows was seen.
        """
        replica = self._sender.replica
        if author.number <= self._sender.foreign and not replica.origin_epoch:
            return replace(change, base=0, bases={})
        if not replica.origin_epoch or author.number > replica.origin_last:
            return change
        counts_to = replica.origin_epoch * EPOCH_REVISIONS
        seen = seen_in_lost(row, change.base, counts_to)
        bases = {name: seen_in_lost(row, base, counts_to) for name, base in change.bases.items()}
        if begun_again(row, counts_to):
            for name in change.new if change.op == "update" else ():
                stamp = row.columns.get(name, row.row)
                if stamp is not None and stamp.at > author.at and bases.get(name, seen) == row.rev:
                    bases[name] = stamp.rev - 1
        return replace(change, base=seen, bases=bases)

    def _check_settling(self, change: RowChange) -> None:
        """Check that who settles a conflict may read it, and the row it is about while that is
        there.
        """
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

    def _author(self, transaction: Transaction) -> Author:
        """The author of a transaction, before it is known what its changes were based on."""
        at_us = self._shift(transaction.at)
        sender = self._sender
        return Author(
            sender.replica.writes_as, sender.principal.user, at_us, transaction.number, sender.past,
            sender.elsewhere,
        )  # fmt: skip

    def _note(self, decisions: Sequence[Decision], now_us: int) -> None:
        if decisions:
            self.journal += journal_entries(self._batch, decisions, now_us)


def _after(change: RowChange, before: Row | None) -> list[Value]:
    """Return what names the scopes of a row after a change, as far as the two alone tell."""
    table = change.table
    after: list[Value] = [None] * len(table.columns) if before is None else list(before)
    for position in table.scope_positions:
        name = table.column_names[position]
        if name in change.new:
            after[position] = change.new[name]
        elif name in table.key:
            after[position] = change.key_values[table.key.index(name)]
    return after


def _moves(change: RowChange) -> bool:
    """Return whether a change touches what names the scopes of its row."""
    names = change.table.column_names
    return any(names[position] in change.new for position in change.table.scope_positions)


def _base_time(change: RowChange, row: ServerRow) -> int | None:
    """The corrected time of the newest revision that the change was based on (µs)."""
    if not row.columns and not change.bases:  # one stamp for all, as in most rows
        one = row.row
        unseen = one is None or one.rev > base_in(row, change.base)
        return None if one is None or unseen or not change.new else one.at
    times = [
        stamp.at
        for name in change.new
        if (stamp := row.columns.get(name, row.row)) is not None
        and stamp.rev <= base_in(row, change.bases.get(name, change.base))
    ]
    return max(times, default=None)
