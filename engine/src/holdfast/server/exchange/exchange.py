"""An exchange on its way through the server, from its checks to the lines of its answer.

Knows: the order of things. Must not know: HTTP, SQL, or what the parts do. A push goes through
``checks`` (what a request must prove), ``commit`` (what is written together), ``push`` (numbers and
outcomes), ``push_decider`` and ``decide`` (permissions, merging, rules, constraints),
``merging.batch`` (rows) and ``feed`` (versions and digests); its answer through
``identity.permissions`` (what may be read), ``files.offers`` (files instead of rows), ``feed.pull``
(the rows) and ``composer`` (head and checkpoint).
Whatever can be wrong with a request is found before the first line of the answer. A push, or as
much of it as one request may be, is committed before the answer is read, in one consistent snapshot
that reaches the heads of all scopes the device may read.

Upholds I3, I10, I11, I16, I23, I24, I26, I31.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from holdfast.core.limits import SEEN_INTERVAL_MS
from holdfast.protocol.compression import ENCODINGS
from holdfast.protocol.messages import Checkpoint, ExchangeRequest, FileBuild, Files, Line
from holdfast.server.direct.direct_writes import BeingTakenIn, DirectWrites, concerned
from holdfast.server.exchange.checks import (
    HERE,
    below_floor,
    check_request,
    origins,
    since,
)
from holdfast.server.exchange.commit import ExchangeCommit, PushTotals, told
from holdfast.server.exchange.composer import Composer
from holdfast.server.exchange.histories import Histories, HistoryLost, check_checkpoint
from holdfast.server.exchange.replicas import heard, identity
from holdfast.server.feed.own_rows import NO_OWN_ROWS
from holdfast.server.feed.pull import PulledLines, news
from holdfast.server.files.offers import Offers
from holdfast.server.generations.speaking import Generation, Generations
from holdfast.server.identity.permissions import Rights, named, readable
from holdfast.server.identity.principal import Principal
from holdfast.server.process import observe
from holdfast.server.process.observe import Observer
from holdfast.server.store.contract import Expected, ReplicaRecord, Snapshot, Store
from holdfast.sqlite.failpoints import failpoint


class Exchanges:
    """Answers the exchanges of one server."""

    def __init__(
        self,
        generations: Generations,
        store: Store,
        *,
        rights: Rights,
        direct: DirectWrites,
        commit: ExchangeCommit,
        offers: Offers,
        composer: Composer,
        histories: Histories,
        now_us: Callable[[], int],
        observer: Observer,
    ) -> None:
        self._generations = generations
        self._store = store
        self._rights = rights
        self._direct = direct
        self._commit = commit
        self._offers = offers
        self._composer = composer
        self._histories = histories
        self._now_us = now_us
        self._observer = observer

    def answer(
        self, principal: Principal, request: ExchangeRequest, *, echo: str
    ) -> Iterator[Line]:
        """Raises ``ProtocolError`` now; the lines hold a snapshot until their end or ``close``."""
        try:
            return self._answer(principal, request, echo=echo)
        except HistoryLost as lost:
            raise self._histories.end(lost) from None

    def _answer(
        self, principal: Principal, request: ExchangeRequest, *, echo: str
    ) -> Iterator[Line]:
        speaks = check_request(
            request, principal=principal, generations=self._generations, store=self._store
        )
        arrival_us = self._now_us()
        expected = _expected(principal, request)
        pushed, done = PushTotals(), False
        try:
            snapshot, replica = self._read_only(principal, request, speaks, arrival_us, expected)
            if snapshot is None:
                pushed, done = self._commit.make(principal, request, speaks, arrival_us), True
                replica = pushed.replica
                failpoint("push.after_commit")
                snapshot = self._direct.snapshot(
                    replace(expected, replica=""), of=concerned(principal)
                )
        except BeingTakenIn as wait:
            return self._meanwhile(principal, request, speaks, pushed, wait, echo=echo, done=done)
        try:
            principal = self._rights.still(snapshot, principal, done=done)
            self._direct.check(snapshot, concerned(principal))  # its scopes may have changed
            seen = speaks.seen(snapshot)
            scopes = readable(seen, principal)
            unknown = pushed.unknown
            positions = since(request.checkpoint, tuple(scopes), unknown)
            come = origins(snapshot, self._generations, speaks, request.checkpoint, scopes)
            missed = below_floor(positions, scopes) | come.lost | unknown.keys() & scopes.keys()
            if missed:
                self._observer(observe.Missed(scopes=len(missed)))
            head = self._composer.head(
                principal, scopes, request, replica=replica,
                speaks=speaks, echo=echo, outcomes=pushed.outcomes, missed=missed,
            )  # fmt: skip
            files = self._offers.instead(
                seen, scopes, positions, speaks=speaks, origins=come.scopes,
                device=principal.device, accepted=request.files,
            )  # fmt: skip
            if files is not None:
                snapshot.close()
                return iter([head, files, Checkpoint({}, 2)])
            # Who comes from an older generation has made its rows of less than there is.
            brief = request.brief and request.origin is None and come == HERE
            own = pushed.own if brief else NO_OWN_ROWS
            body = news(seen, speaks.schema, positions, own, origins=come.scopes)
            lines = self._composer.lines(snapshot, head, scopes, [body])
        except BaseException:
            snapshot.close()
            raise
        return PulledLines(snapshot, lines)

    def _meanwhile(
        self,
        principal: Principal,
        request: ExchangeRequest,
        speaks: Generation,
        pushed: PushTotals,
        wait: BeingTakenIn,
        *,
        echo: str,
        done: bool,
    ) -> Iterator[Line]:
        """Return what a device is told while a large direct write is taken in: outcomes, and how
        far it is. Raises ``BeingTakenIn`` when it would not understand."""
        if not set(request.files) & set(ENCODINGS):
            raise wait
        with contextlib.closing(self._store.read()) as snapshot:
            principal = self._rights.still(snapshot, principal, done=done)
            if not done:
                check_checkpoint(snapshot, self._store, request.checkpoint, principal, speaks)
            scopes = readable(speaks.seen(snapshot), principal)
            missed = below_floor(since(request.checkpoint, tuple(scopes)), scopes)
            head = self._composer.head(
                principal, scopes, request, replica=pushed.replica,
                speaks=speaks, echo=echo, outcomes=pushed.outcomes, missed=missed,
            )  # fmt: skip
        build = FileBuild("catchup", sorted(scopes), wait.done, wait.total)
        files = Files(offers=[], building=[build], retry_after_ms=wait.retry_after_ms)
        return iter([head, files, Checkpoint({}, 2)])

    def _read_only(
        self,
        principal: Principal,
        request: ExchangeRequest,
        speaks: Generation,
        arrival_us: int,
        expected: Expected,
    ) -> tuple[Snapshot | None, ReplicaRecord | None]:
        """Return where to answer from when a request changes nothing, and whom; else None.

        A device that has nothing to send proposes no new nonce, so that many that ask for the same
        news do not each cost a durable commit.
        """
        if request.transactions or request.nonce.to != request.nonce.since:
            return None, None
        snapshot = self._direct.snapshot(expected, of=concerned(principal))
        try:
            replica = heard(snapshot, principal, identity(request, principal))
            if (
                replica is not None
                and replica.nonce == request.nonce.since
                and replica.user == principal.user
                and replica == replace(replica, **told(request, speaks))
                and abs(arrival_us - replica.last_seen) < SEEN_INTERVAL_MS * 1000
                and snapshot.scopes(named(principal)).keys() >= set(named(principal))
            ):
                checkpoint = request.checkpoint
                standing = check_checkpoint(snapshot, self._store, checkpoint, principal, speaks)
                if not standing.unknown:
                    return snapshot, replica
        except BaseException:
            snapshot.close()
            raise
        snapshot.close()
        return None, None


def _expected(principal: Principal, request: ExchangeRequest) -> Expected:
    """Return what an exchange reads, whatever its answer will be."""
    scopes = dict.fromkeys(named(principal), 0)
    scopes |= {
        scope: request.checkpoint[scope].version for scope in principal.readable(request.checkpoint)
    }
    return Expected(identity(request, principal), scopes)
