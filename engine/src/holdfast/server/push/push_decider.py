"""Decides a push: how many transactions are decided at once, and what came of them.

Knows: bites, paces, and how a transaction is decided ahead of its commit. Must not know: numbers
and outcomes as they are stored, HTTP or SQL.
When the database objects to what was decided together, it is decided a few at a time, down to the
one that costs only itself. A large transaction is decided on a snapshot (``prepare``), so that its
commit only looks whether that still holds, and writes.

Upholds I9, I16, I22, I26, I27, I28 and I31 (a large transaction is one short commit).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from holdfast.core.digest import row_hash
from holdfast.core.errors import ConstraintFailed, Refuse
from holdfast.core.keys import RowPlace
from holdfast.core.limits import (
    PUSH_SLOWER_FACTOR,
    PUSH_TRANSACTIONS_MAX,
    PUSH_WELL_GROUPS,
)
from holdfast.protocol.first_sent import first_hash
from holdfast.protocol.messages import Transaction
from holdfast.server.feed.feed import Touched
from holdfast.server.merging.access import Access
from holdfast.server.merging.batch import Batch
from holdfast.server.merging.constraints import (
    unique_refusal,
)
from holdfast.server.push.decide import Decided, DecisionRun, Engine, Sender
from holdfast.server.push.quotas import Account, ScopeGrowth
from holdfast.server.push.rehearsal import Rehearsal, RehearsedScript, StaleRehearsal
from holdfast.server.store.contract import JournalEntry, Writer
from holdfast.server.store.upkeep import FeedPlace


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Number of transactions that are decided at once, and how often in a row that went well.

    A batch that fails everywhere costs what its transactions cost one by one, and the first
    attempts: about twice the work, however the failures lie.
    """

    size: int = PUSH_TRANSACTIONS_MAX
    well: int = 0

    def slower(self, tried: int) -> BatchSize:
        """After a failure of so many."""
        return BatchSize(max(1, tried // PUSH_SLOWER_FACTOR))

    def faster(self) -> BatchSize:
        """After a success."""
        if self.well + 1 < PUSH_WELL_GROUPS:
            return BatchSize(self.size, self.well + 1)
        return BatchSize(min(self.size * 2, PUSH_TRANSACTIONS_MAX))


def weight(transaction: Transaction) -> int:
    """Return what deciding it costs, in changes; one without any is not for nothing."""
    return max(1, len(transaction.changes))


def is_large(transaction: Transaction, bite_changes: int) -> bool:
    """Return whether it is decided before its commit begins."""
    return weight(transaction) > bite_changes


@dataclass(frozen=True, slots=True)
class Prepared:
    """One transaction, decided ahead: what came of it, as far as ``script`` still reads the same.

    ``hashes``: of the rows it leaves, by scope, table and key.
    """

    sender: Sender
    decided: Decided
    script: RehearsedScript
    touched: Sequence[Touched]
    journal: Sequence[JournalEntry]
    added: ScopeGrowth
    hashes: Mapping[FeedPlace, bytes]


class PushDecider:
    """Decides one push, bite by bite."""

    def __init__(
        self, writer: Writer, engine: Engine, sender: Sender, pace: BatchSize, *, work_max: int
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
        self.touched: dict[RowPlace, Touched] = {}
        self.journal: list[JournalEntry] = []

    @property
    def added(self) -> ScopeGrowth:
        """Return what scopes have more."""
        return self._account.mark()

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

    def decide(
        self, transactions: Sequence[Transaction], prepared: Prepared | None = None
    ) -> list[Decided]:
        """Decide transactions in order, as many at once as the database lets; not all of them,
        when what failed was as much work as all. ``prepared``: the only one of them. Raises
        ``StaleRehearsal``."""
        decided: list[Decided] = []
        while len(decided) < len(transactions):
            if decided and self.work >= self._work_max:
                break
            group = transactions[len(decided) : len(decided) + self.pace.size]
            self.work += sum(weight(transaction) for transaction in group)
            mark = self._account.mark()
            try:
                if prepared is None:
                    decided += self._together(group)
                else:
                    decided += self._as_prepared(prepared)
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
            run = DecisionRun(
                batch, self._engine, self._sender, self.access, stopped, account=self._account
            )
            decided = run.decide(transactions)
            touched = batch.flush()
        self._stopped = stopped
        self.take_touched(touched)
        self.journal += run.journal
        return decided

    def _as_prepared(self, prepared: Prepared) -> list[Decided]:
        """Raises ``ConstraintFailed``, as if it had been decided now, and ``StaleRehearsal``."""
        with self._writer.savepoint():
            prepared.script.check(self._writer)
            try:
                self._account.add(prepared.added)
            except Refuse:
                raise StaleRehearsal from None
            prepared.script.write(self._writer)
        self.take_touched(prepared.touched)
        self.journal += prepared.journal
        return [prepared.decided]


def prepare(reads: Writer, engine: Engine, sender: Sender, transaction: Transaction) -> Prepared:
    """Decide a transaction on a snapshot. ``reads``: nothing but its reads is used."""
    rehearsal = Rehearsal(reads)
    decider = PushDecider(cast("Writer", rehearsal), engine, sender, BatchSize(), work_max=0)
    (decided,) = decider.decide([transaction])
    decided.body = first_hash(transaction)
    touched = list(decider.touched.values())
    return Prepared(
        sender, decided, rehearsal.script, touched, decider.journal, decider.added,
        _hashes(reads, touched),
    )  # fmt: skip


def _hashes(reads: Writer, touched: Iterable[Touched]) -> dict[FeedPlace, bytes]:
    """Hashes of rows in their scopes, as far as those are there: their keys never change."""
    names = {name for item in touched for name in item.after}
    keys = {scope.name: scope.key for scope in reads.scopes(sorted(names)).values()}
    return {
        (name, item.table.name, item.key): row_hash(keys[name], item.table.name, item.key, item.row)
        for item in touched
        if item.row is not None
        for name in item.after
        if name in keys
    }


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
