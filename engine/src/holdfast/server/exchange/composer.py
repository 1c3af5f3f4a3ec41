"""Composition of answers: a head, bodies of lines, and the checkpoint that they reach.

Knows: what a device is told of itself, its scopes and the server. Must not know: what the bodies
say. The lines are read from one snapshot, which is let go when they end, however they end.

Upholds I10, I23 (a head names readable scopes only) and I31.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from holdfast.protocol.messages import (
    ExchangeRequest,
    Head,
    Line,
    Outcome,
    ScopeGrant,
    VerifyRequest,
)
from holdfast.protocol.version import PROTOCOL
from holdfast.server.exchange.replicas import is_replacement
from holdfast.server.feed.pull import last_line
from holdfast.server.generations.speaking import Generation, Generations
from holdfast.server.identity.principal import Principal
from holdfast.server.store.contract import ReplicaRecord, Scope, Snapshot, Store


class Composer:
    """Puts the answers of one server together."""

    def __init__(
        self, generations: Generations, store: Store, *, now_us: Callable[[], int]
    ) -> None:
        self._schema = generations.current.schema
        self._store = store
        self._now_us = now_us

    def head(
        self,
        principal: Principal,
        scopes: Mapping[str, Scope],
        request: ExchangeRequest | VerifyRequest,
        *,
        replica: ReplicaRecord | None,
        speaks: Generation,
        echo: str,
        outcomes: list[Outcome],
        missed: Collection[str],
    ) -> Head:
        """``replica``: who asks. ``speaks``: the device's generation of the schema. ``missed``:
        scopes of which removals are forgotten that the device has not seen."""
        brief = isinstance(request, ExchangeRequest) and request.brief
        same = brief and speaks.projection is None
        return Head(
            protocol=PROTOCOL,
            epoch=self._store.epoch,
            device=principal.device,
            user=principal.user,
            echo=echo,
            time=self._now_us(),
            scopes={
                name: ScopeGrant(
                    "" if brief and name in request.checkpoint else scopes[name].key.hex(),
                    principal.may_write(name),
                    name in missed,
                )
                for name in sorted(scopes)
            },
            schema="" if same else self._schema.fingerprint,
            generation=0 if same else self._schema.generation,
            outcomes=outcomes,
            backed_up=0 if replica is None else replica.backed_up,
            replaced=is_replacement(replica, request),
        )

    def lines(
        self,
        snapshot: Snapshot,
        head: Head,
        scopes: Mapping[str, Scope],
        bodies: Sequence[Iterator[Line]],
    ) -> Iterator[Line]:
        """The head, the bodies one after the other, and the checkpoint; then the snapshot goes."""
        try:
            yield head
            count = 1
            for body in bodies:
                for line in body:
                    yield line
                    count += 1
            yield last_line(scopes, secret=self._store.seal_secret, epoch=head.epoch, lines=count)
        finally:
            snapshot.close()
