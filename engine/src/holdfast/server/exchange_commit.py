"""Everything that an exchange writes, in one commit: its push, and what is known of its device.

Knows: what has to be true and stored together. Must not know: how transactions are decided
(``push``), or what the answer will say.

Upholds I3, I6, I7, I10 (nothing is told before it is committed) and I26 (rights as of the commit).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from holdfast.core.clock import choose_offset
from holdfast.protocol.messages import ExchangeRequest, Offset
from holdfast.server import observe
from holdfast.server.checks import check_checkpoint, check_nonces
from holdfast.server.decide import Engine, Sender
from holdfast.server.direct_writes import DirectWrites, Moved
from holdfast.server.feed import ensure_scopes
from holdfast.server.observe import Observer
from holdfast.server.principal import Principal
from holdfast.server.push import Pushed, push
from holdfast.server.standing import Rights, named
from holdfast.server.store import Device, Store, Writer
from holdfast.sqlite.failpoints import failpoint


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
        moved: Moved,
        observer: Observer,
    ) -> None:
        self._store = store
        self._engine = engine
        self._rights = rights
        self._direct = direct
        self._random_bytes = random_bytes
        self._moved = moved
        self._observer = observer

    def make(self, asking: Principal, request: ExchangeRequest, arrival_us: int) -> Pushed:
        """Raises ``ProtocolError``; then nothing was written."""
        ingested = 0

        def work(writer: Writer) -> Pushed:
            nonlocal ingested
            principal = self._rights.still(writer, asking)
            check_checkpoint(writer, self._store, request.checkpoint, principal)
            known = writer.device(principal.device)
            device = known or Device(principal.device, principal.user)
            check_nonces(device, request.nonce)
            ensure_scopes(writer, named(principal), self._random_bytes)
            offset_us = _offset(request, known, arrival_us)
            direct = self._direct.ingest(writer, arrival_us)
            ingested = len(direct)
            pushed = push(
                writer,
                self._engine,
                Sender(principal, principal.device, offset_us, arrival_us),
                request.transactions,
                high=device.high,
                touched=direct,
            )
            confirmed = min(request.confirmed, pushed.high)
            if confirmed > device.confirmed:
                writer.forget_answers(principal.device, confirmed)
            writer.put_device(
                replace(
                    device,
                    user=principal.user,
                    nonce=request.nonce.to,
                    high=pushed.high,
                    confirmed=max(device.confirmed, confirmed),
                    last_seen=arrival_us,
                    offset_us=offset_us,
                    **told(request),
                )
            )
            failpoint("push.before_commit")
            return pushed

        pushed = self._store.transact(work)
        self._moved(pushed.versions)
        if pushed.fresh:
            self._observer(_decided(pushed))
        if ingested:
            self._observer(observe.Ingested(rows=ingested))
        return pushed


def told(request: ExchangeRequest) -> dict[str, Any]:
    """What a device tells of itself: nothing, when nothing has changed."""
    report = request.report
    if report is None:
        return {}
    return {"waiting": report.waiting, "oldest_us": report.oldest, "client": report.client}


def _offset(request: ExchangeRequest, known: Device | None, arrival_us: int) -> int:
    """How far the device's clock is off, as far as it can be believed."""
    claimed = request.offset
    if claimed is None and known is not None and not request.transactions:
        claimed = Offset(known.offset_us, 0)  # told before, and there is nothing to correct
    return choose_offset(
        None if claimed is None else claimed.us,
        0 if claimed is None else claimed.error_us,
        device_now_us=request.now,
        arrival_us=arrival_us,
    )


def _decided(pushed: Pushed) -> observe.Pushed:
    """What an observer hears of a push: of what was decided now, not of what is repeated."""
    fresh = pushed.outcomes[len(pushed.outcomes) - pushed.fresh :]
    return observe.Pushed(
        outcomes=Counter(outcome.outcome for outcome in fresh),
        refusals=Counter(outcome.code for outcome in fresh if outcome.outcome == "refused"),
        conflicts=pushed.conflicts,
    )
