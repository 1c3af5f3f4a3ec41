"""Everything that an exchange writes: its push, bite by bite, and what is known of its replica.

Knows: what has to be true and stored together. Must not know: how transactions are decided
(``push``), or what the answer will say.
A push is committed in bites, and between two of them others have their turn at the writer. Each
bite is whole: outcomes with their effects, and the number the device has reached. A request that
is more work than it may be gets the outcomes so far; its device sends the rest with its next
exchange, as it does with what comes after a batch.

Upholds I3, I6, I7, I9 (bites are decided in order), I10 (nothing is told before it is committed),
I26 (rights as of each commit) and I31.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core.clock import choose_offset
from holdfast.core.errors import ProtocolError
from holdfast.core.limits import NOT_TAKEN_IN_MAX, REHEARSALS_MAX, REPLICA_ORIGINS_MAX
from holdfast.protocol.messages import ExchangeRequest, Offset, Outcome, Transaction
from holdfast.server.direct.direct_writes import DirectWrites, OnMoved, concerned
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.exchange.histories import KnownPositions, check_checkpoint
from holdfast.server.exchange.replicas import check_nonces, identity, new_replica
from holdfast.server.feed.feed import make_scopes, missing_scopes
from holdfast.server.feed.own_rows import OwnRows
from holdfast.server.generations.speaking import Generation
from holdfast.server.identity.permissions import Rights, named
from holdfast.server.identity.principal import Principal, turn_of
from holdfast.server.merging.batch import NotTakenIn
from holdfast.server.process import observe
from holdfast.server.process.observe import Observer
from holdfast.server.push.arrivals import ArrivingBatch, arrivals
from holdfast.server.push.decide import Engine, Sender
from holdfast.server.push.push import Pushed, next_large, push
from holdfast.server.push.push_decider import BatchSize, Prepared, is_large, prepare
from holdfast.server.push.rehearsal import StaleRehearsal
from holdfast.server.store.contract import ReplicaRecord, Store, Writer
from holdfast.sqlite.failpoints import failpoint

log = logging.getLogger(__name__)


class _NewScopes(Exception):
    """A device is here whose scopes are not all there yet."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(names)
        self.names = names


class ExchangeCommit:
    """Makes the commits of one server's exchanges."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        rights: Rights,
        direct: DirectWrites,
        *,
        random_bytes: Callable[[int], bytes],
        moved: OnMoved,
        observer: Observer,
        budgets: Budgets,
    ) -> None:
        self._budgets = budgets
        self._store = store
        self._engine = engine
        self._rights = rights
        self._direct = direct
        self._random_bytes = random_bytes
        self._moved = moved
        self._observer = observer

    def make(
        self, asking: Principal, request: ExchangeRequest, speaks: Generation, arrival_us: int
    ) -> PushTotals:
        """Raises ``ProtocolError``; then nothing was written."""
        done = PushTotals()
        rest: Sequence[Transaction] = request.transactions
        pace = BatchSize()
        while True:
            try:
                pushed = self._bite(
                    asking,
                    request,
                    speaks,
                    rest,
                    pace,
                    arrival_us=arrival_us,
                    first=not done.bites,
                )
            except ProtocolError as error:
                if not done.bites:
                    raise
                # What was decided is decided and is told; who asks again hears what is wrong.
                log.info("a push stopped between two commits: %s", error.message)
                break
            done.take(pushed)
            pace, rest = pushed.pace, rest[len(pushed.outcomes) :]
            if not rest or done.work >= self._budgets.push_changes_max:
                break
        return done

    def _bite(
        self,
        asking: Principal,
        request: ExchangeRequest,
        speaks: Generation,
        transactions: Sequence[Transaction],
        pace: BatchSize,
        *,
        arrival_us: int,
        first: bool,
    ) -> Pushed:
        """One commit. Raises ``ProtocolError``; then it has written nothing."""
        stale = unknown = 0
        if first and request.origin is not None and transactions:
            self._mark_copies(asking, request, transactions[0].number)
        while True:
            prepared = None  # then it is decided while all others wait
            try:
                if stale < REHEARSALS_MAX:
                    prepared = self._prepare(
                        asking, request, speaks, transactions, arrival_us, first=first
                    )
                return self._commit(
                    asking, request, speaks, transactions, pace=pace, arrival_us=arrival_us,
                    prepared=prepared, first=first,
                )  # fmt: skip
            except _NewScopes as new:
                # In a commit of their own, which locks nothing else: others may be at it, too.
                self._make_scopes(new.names)
            except NotTakenIn as found:  # seen before the commit, or by a rule or a settlement
                unknown += 1
                if unknown > NOT_TAKEN_IN_MAX:
                    raise
                if not self._direct.take_in_rows(found.rows):
                    self._direct.take_as_they_stand(found.rows)
            except StaleRehearsal:
                stale += 1
                log.debug("the rehearsal of a large transaction is stale; it is rehearsed again")
                self._direct.take_in_rows(self._direct.rows_of(transactions))

    def _prepare(
        self,
        asking: Principal,
        request: ExchangeRequest,
        speaks: Generation,
        transactions: Sequence[Transaction],
        arrival_us: int,
        *,
        first: bool,
    ) -> Prepared | None:
        """The next transaction, decided while others write, if it is a large one."""
        bite_changes = self._budgets.bite_changes
        if not any(is_large(transaction, bite_changes) for transaction in transactions):
            return None
        with self._store.rehearse() as reads:
            principal = self._rights.still(reads, asking)
            standing = KnownPositions()
            if first:
                standing = check_checkpoint(
                    reads, self._store, request.checkpoint, principal, speaks
                )
            known = reads.replica(identity(request, principal))
            if first:
                check_nonces(known, principal, request.nonce)
            replica = known or new_replica(reads, principal, request, standing.ended)
            arrived = arrivals(reads, replica, transactions)
            large = next_large(arrived, bite_changes=bite_changes)
            if large is None:
                return None
            offset_us = _offset(request, replica, arrival_us) if first else replica.offset_us
            sender = _sender(principal, arrived, speaks, offset_us, arrival_us)
            return prepare(reads, self._engine, sender, large)

    def _commit(
        self,
        asking: Principal,
        request: ExchangeRequest,
        speaks: Generation,
        transactions: Sequence[Transaction],
        *,
        pace: BatchSize,
        arrival_us: int,
        prepared: Prepared | None,
        first: bool,
    ) -> Pushed:
        """Raises ``ProtocolError``, ``_NewScopes``, ``StaleRehearsal``: it has written nothing."""
        ingested = 0

        def work(writer: Writer) -> Pushed:
            nonlocal ingested
            principal = self._rights.still(writer, asking)
            standing = KnownPositions()
            if first:
                standing = check_checkpoint(
                    writer, self._store, request.checkpoint, principal, speaks
                )
            known = writer.replica(identity(request, principal))
            if first:
                check_nonces(known, principal, request.nonce)
                missing = missing_scopes(writer, named(principal))
                if missing:
                    raise _NewScopes(missing)
            elif known is None or known.nonce != request.nonce.to:
                raise ProtocolError("the replica has made another exchange meanwhile", code="busy")
            replica = known or new_replica(writer, principal, request, standing.ended)
            arrived = arrivals(writer, replica, transactions)
            offset_us = _offset(request, replica, arrival_us) if first else replica.offset_us
            sender = _sender(principal, arrived, speaks, offset_us, arrival_us)
            direct = self._direct.ingest(
                writer,
                arrival_us,
                of=concerned(principal) if first else (),
                transactions=transactions,
            )
            ingested = len(direct)
            pushed = push(
                writer,
                self._engine,
                sender,
                transactions,
                arrived=arrived,
                touched=direct,
                pace=pace,
                bite_changes=self._budgets.bite_changes,
                prepared=prepared,
            )
            replica = replace(replica, shared=arrived.shared)
            if first:
                # What is offered again keeps its answers until all of it has one.
                confirmed = 0 if request.origin else min(request.confirmed, pushed.high)
                if confirmed > replica.confirmed:
                    writer.forget_answers(replica.replica, confirmed)
                replica = replace(
                    replica,
                    user=principal.user,
                    nonce=request.nonce.to,
                    confirmed=max(replica.confirmed, confirmed),
                    last_seen=arrival_us,
                    offset_us=sender.offset_us,
                    **told(request, speaks),
                )
            pushed.replica = replace(replica, high=pushed.high)
            pushed.unknown = dict(standing.unknown)
            writer.put_replica(pushed.replica)
            failpoint("push.before_commit")
            return pushed

        pushed = self._store.transact(work, turn=turn_of(asking))
        self._moved(pushed.versions)
        if pushed.fresh:
            self._observer(_decided(pushed))
        if ingested:
            self._observer(observe.Ingested(rows=ingested))
        return pushed

    def _mark_copies(self, asking: Principal, request: ExchangeRequest, lowest: int) -> None:
        """Before another file of a device offers anything for the first time: what the others have
        sent since is found by its id. In a commit of its own, which waits for theirs."""

        def work(writer: Writer) -> None:
            name = identity(request, asking)
            replica = writer.replica(name)
            if replica is None:
                origin = "" if request.origin is None else request.origin.replica
                replica = ReplicaRecord(name, asking.device, asking.user, origin=origin)
            if replica.origin and not replica.high:
                line = writer.origins(replica, REPLICA_ORIGINS_MAX)
                writer.mark_copies({asking.device, *(one.device for one in line)}, lowest)

        self._store.transact(work, turn=turn_of(asking))

    def _make_scopes(self, names: set[str]) -> None:
        self._store.transact(lambda writer: make_scopes(writer, names, self._random_bytes))


@dataclass(slots=True)
class PushTotals:
    """Totals of a push over all of its bites. ``own``: the rows of which the device need only be
    told the revisions."""

    outcomes: list[Outcome] = field(default_factory=list)
    own: OwnRows = field(default_factory=OwnRows)
    work: int = 0
    bites: int = 0
    replica: ReplicaRecord | None = None
    """Who has pushed, as it is known from now on."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Scopes of which its position is not in our history, with the version up to which it may be.
    """

    def take(self, pushed: Pushed) -> None:
        """Take in what the next bite did."""
        self.outcomes += pushed.outcomes
        self.own.add(pushed.own, pushed.versions)
        self.work += pushed.work
        self.bites += 1
        self.unknown |= pushed.unknown
        self.replica = pushed.replica


def told(request: ExchangeRequest, speaks: Generation) -> dict[str, Any]:
    """Return what a device tells of itself: its generation, and what has changed."""
    report = request.report
    known: dict[str, Any] = {"generation": speaks.number}
    if report is None:
        return known
    return known | {"waiting": report.waiting, "oldest_us": report.oldest, "client": report.client}


def _sender(
    principal: Principal,
    arrived: ArrivingBatch,
    speaks: Generation,
    offset_us: int,
    arrival_us: int,
) -> Sender:
    origins = tuple((origin.replica, last) for origin, last in arrived.origins)
    return Sender(
        principal, arrived.replica, offset_us, arrival_us, speaks.projection, origins, arrived.past,
        arrived.foreign, arrived.elsewhere, arrived.stopped,
    )  # fmt: skip


def _offset(request: ExchangeRequest, known: ReplicaRecord, arrival_us: int) -> int:
    """Return how far the device's clock is off, as far as it can be believed."""
    claimed = request.offset
    if claimed is None and known.nonce and not request.transactions:
        claimed = Offset(known.offset_us, 0)  # told before, and there is nothing to correct
    return choose_offset(
        None if claimed is None else claimed.us,
        0 if claimed is None else claimed.error_us,
        device_now_us=request.now,
        arrival_us=arrival_us,
    )


def _decided(pushed: Pushed) -> observe.PushObserved:
    """Return what an observer hears of a push: of what was decided now, not of what is repeated."""
    fresh = [outcome for outcome in pushed.outcomes if outcome.number in pushed.fresh]
    return observe.PushObserved(
        outcomes=Counter(outcome.outcome for outcome in fresh),
        refusals=Counter(outcome.code for outcome in fresh if outcome.outcome == "refused"),
        conflicts=pushed.conflicts,
        impossible=sum(outcome.impossible for outcome in fresh),
    )
