"""The server's history as its devices have seen it, and the end of one that has lost some.

Knows: epochs, seals and positions. Must not know: HTTP, or what a request asks for.
A position that bears our seal and is not in our history says that a backup was restored, or what
is like it. Then the epoch ends: all devices hear of it when they come, become replicas of their own
and offer again what was acknowledged and is missing. Who comes from an ended epoch ends none: its
position is found in the history, or it is caught up from where histories may have parted, and
compares by digests.

Upholds I5 (the server's half) and I6; no device can end an epoch without a seal of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from holdfast.core.digest import Digest, seal_is_valid
from holdfast.core.errors import ProtocolError
from holdfast.core.ids import RandomBytes
from holdfast.protocol.messages import ExchangeRequest, Position, VerifyRequest
from holdfast.server.generations.speaking import Generation
from holdfast.server.identity.principal import Principal
from holdfast.server.store.contract import Snapshot, Store
from holdfast.sqlite.failpoints import failpoint

log = logging.getLogger(__name__)


class HistoryLost(ProtocolError):
    """A device proves that this database has lost what the epoch had in it, or all of a later one
    (``lost``)."""

    def __init__(self, epoch: str, scope: str, lost: str = "") -> None:
        super().__init__(
            "the device has seen more than this server has: was it restored from a backup?",
            code="server_behind", status=409, scope=scope,
        )  # fmt: skip
        self.epoch = epoch
        self.lost = lost


@dataclass(frozen=True, slots=True)
class KnownPositions:
    """A device's place in the history. ``unknown``: scopes of which its position is not in it,
    with the version up to which it may be. ``ended``: the newest ended epoch that a position of
    it is from, by number; 0: none.
    """

    unknown: Mapping[str, int] = field(default_factory=dict)
    ended: int = 0


def check_checkpoint(
    reads: Snapshot,
    store: Store,
    checkpoint: Mapping[str, Position],
    principal: Principal,
    speaks: Generation,
) -> KnownPositions:
    """Look at the seals of scopes that may be read, and at our own history: as the device's
    generation sees it, or one that it has come from. Raises ``ProtocolError``, ``HistoryLost``."""
    held = {scope: checkpoint[scope].version for scope in principal.readable(checkpoint)}
    known = reads.digests(held)
    floors = reads.floors([scope for scope in held if scope not in known])
    epochs = store.epochs
    unknown: dict[str, int] = {}
    newest = 0
    for scope in held:
        position = checkpoint[scope]
        digest = Digest.of(position.count, position.digest)
        number = _sealed_in(store, scope, position, digest)
        ended = number <= len(epochs.ended)
        newest = max(newest, number if ended else 0)
        stands = [
            known[scope][number] for number in known.get(scope, ()) if number <= speaks.number
        ]
        if not stands and position.version < floors.get(scope, 0):
            continue  # its seal says that it was ours; since then it was forgotten
        parted = reads.heads_at_end(number).get(scope, 0) if ended else position.version
        if digest in stands and position.version <= parted:
            continue  # above, it may hold the same again, but under other revisions
        if not ended:
            if not _is_complete(known.get(scope, {})):
                unknown[scope] = position.version
                continue
            raise HistoryLost(epochs.current, scope)
        unknown[scope] = min(position.version, parted)
    return KnownPositions(unknown, newest)


def _is_complete(digests: Mapping[int, Digest]) -> bool:
    """Return whether nothing was forgotten of what older generations saw at a version."""
    return not digests or digests.keys() >= set(range(min(digests), max(digests) + 1))


def check_epoch(request: ExchangeRequest | VerifyRequest, store: Store) -> None:
    """Raises ``ProtocolError`` for a request from another epoch, and ``HistoryLost`` for one from
    an epoch of ours that nobody here knows: a seal of it proves that it was."""
    epochs = store.epochs
    if request.epoch in ("", epochs.current):
        return
    if request.epoch not in epochs.ended:
        for scope, at in request.checkpoint.items():
            if seal_is_valid(
                store.seal_secret, at.seal, epoch=request.epoch, scope=scope, version=at.version,
                digest=Digest.of(at.count, at.digest),
            ):  # fmt: skip
                raise HistoryLost(epochs.current, scope, request.epoch)
    raise ended_epoch(epochs.current, past=request.epoch in epochs.ended)


def _sealed_in(store: Store, scope: str, position: Position, digest: Digest) -> int:
    """The number of the epoch in which a position was sealed. Raises ``ProtocolError``."""
    for number, epoch in store.epochs.newest_first():
        if seal_is_valid(
            store.seal_secret, position.seal, epoch=epoch, scope=scope, version=position.version,
            digest=digest,
        ):  # fmt: skip
            return number
    raise ProtocolError(
        "the checkpoint was not made by this server", code="seal_invalid", status=409, scope=scope
    )


def ended_epoch(epoch: str, *, past: bool) -> ProtocolError:
    """The refusal of a request from another epoch. ``past``: from one of our own that has ended."""
    lost = "the server has lost some of its history, as after a restore from a backup"
    other = "the server's history (epoch) is not the one that this device has synced with"
    return ProtocolError(
        lost if past else other, code="epoch_mismatch", status=409, epoch=epoch, past=past
    )


class Histories:
    """Ends epochs of one server's database."""

    def __init__(
        self, store: Store, *, random_bytes: RandomBytes, now_us: Callable[[], int]
    ) -> None:
        self._store = store
        self._random_bytes = random_bytes
        self._now_us = now_us

    def end(self, lost: HistoryLost) -> ProtocolError:
        """End the epoch whose history was lost; what the device is told that has proven it."""
        log.warning(
            "a device has seen what this database has lost: a backup was restored, or what is like "
            "it. A new epoch begins, and devices offer again what is missing"
        )
        self._store.end_epoch(
            lost.epoch, new=self._random_bytes(16).hex(), at=self._now_us(), lost=lost.lost
        )
        failpoint("epoch.after_commit")
        return ended_epoch(self._store.epoch, past=True)
