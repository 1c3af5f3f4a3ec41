"""A comparison on its way through the server: the catch-up of an exchange, then what was asked.

Knows: the order of things. Must not know: HTTP, SQL, or how digests of ranges are made
(``verify``). All of an answer is read from one snapshot, so that a busy scope does not deceive it,
and so that outcomes which the device has not heard are told with the rows that have them in them.

Upholds I16, I23, I26, I31 and the server's half of I36.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from holdfast.protocol.messages import Line, RangeAnswer, VerifyRequest
from holdfast.server.direct.direct_writes import DirectWrites, concerned
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.exchange.checks import (
    below_floor,
    check_request,
    origins,
    since,
)
from holdfast.server.exchange.composer import Composer
from holdfast.server.exchange.histories import Histories, HistoryLost, check_checkpoint
from holdfast.server.exchange.replicas import heard, identity
from holdfast.server.feed.pull import PulledLines, news
from holdfast.server.feed.ranges import (
    answer_range,
    answer_rows,
    check_row_queries,
    cut_range,
    work_max,
)
from holdfast.server.generations.speaking import Generation, Generations
from holdfast.server.identity.permissions import Rights, readable
from holdfast.server.identity.principal import Principal
from holdfast.server.process import observe
from holdfast.server.process.observe import Observer
from holdfast.server.push.push import recorded_outcomes
from holdfast.server.store.contract import Scope, Snapshot, Store


class Comparisons:
    """Answers the questions of devices that compare what they hold with one server."""

    def __init__(
        self,
        generations: Generations,
        store: Store,
        *,
        rights: Rights,
        direct: DirectWrites,
        composer: Composer,
        histories: Histories,
        observer: Observer,
        budgets: Budgets,
    ) -> None:
        self._budgets = budgets
        self._generations = generations
        self._store = store
        self._rights = rights
        self._direct = direct
        self._composer = composer
        self._histories = histories
        self._observer = observer

    def answer(self, principal: Principal, request: VerifyRequest, *, echo: str) -> Iterator[Line]:
        """Raises ``ProtocolError`` now; the lines hold a snapshot until their end or ``close``."""
        try:
            return self._answer(principal, request, echo=echo)
        except HistoryLost as lost:
            raise self._histories.end(lost) from None

    def _answer(self, principal: Principal, request: VerifyRequest, *, echo: str) -> Iterator[Line]:
        speaks = check_request(
            request, principal=principal, generations=self._generations, store=self._store
        )
        schema = speaks.schema
        check_row_queries(schema, request.rows)
        snapshot = self._direct.snapshot(of=concerned(principal))
        try:
            principal = self._rights.still(snapshot, principal)
            self._direct.check(snapshot, concerned(principal))
            standing = check_checkpoint(
                snapshot, self._store, request.checkpoint, principal, speaks
            )
            unknown = standing.unknown
            seen = speaks.seen(snapshot)
            scopes = readable(seen, principal)
            positions = since(request.checkpoint, tuple(scopes), unknown)
            come = origins(snapshot, self._generations, speaks, request.checkpoint, scopes)
            missed = below_floor(positions, scopes) | come.lost | unknown.keys() & scopes.keys()
            whole = sum(
                not (query.start or query.revisions) and query.end is None
                for query in request.ranges
            )
            if whole:
                self._observer(observe.Compared(scopes=whole))
            replica = heard(snapshot, principal, identity(request, principal))
            outcomes = (
                recorded_outcomes(snapshot, principal, replica.replica, request.unanswered)
                if request.unanswered is not None and replica is not None
                else []
            )
            head = self._composer.head(
                principal, scopes, request, replica=replica,
                speaks=speaks, echo=echo, outcomes=outcomes, missed=missed,
            )  # fmt: skip
            bodies: list[Iterator[Line]] = [
                news(seen, schema, positions, origins=come.scopes),
                self._ranges(seen, speaks, request, scopes),
                answer_rows(seen, schema, request.rows, scopes),
            ]
            lines = self._composer.lines(snapshot, head, scopes, bodies)
        except BaseException:
            snapshot.close()
            raise
        return PulledLines(snapshot, lines)

    def _ranges(
        self,
        snapshot: Snapshot,
        speaks: Generation,
        request: VerifyRequest,
        scopes: Mapping[str, Scope],
    ) -> Iterator[RangeAnswer]:
        """As many of the ranges as one request may cost; of the last one as much as that."""
        left = work_max(snapshot, request.ranges, scopes, self._budgets.verify_rows_max)
        for query in request.ranges:
            if left <= 0:
                return
            cut = cut_range(snapshot, query, scopes, left)
            answer = answer_range(snapshot, speaks.schema, cut, scopes)
            left -= max(1, answer.count)
            yield answer
