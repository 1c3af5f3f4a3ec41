"""Checks that a request must pass before anything is done with it.

Knows: devices, epochs and positions. Must not know: HTTP, or what the request asks for.
Each check has a stable code; a request that fails one changes nothing.

Upholds I5, I6, I8 as far as evidence goes: a copied replica, a restored server and a forged
checkpoint are told apart, and sync stops before harm is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.digest import Digest
from holdfast.core.errors import ProtocolError
from holdfast.protocol.messages import ExchangeRequest, Position, VerifyRequest
from holdfast.protocol.version import PROTOCOL
from holdfast.server.exchange.histories import check_epoch
from holdfast.server.exchange.replicas import check_identity
from holdfast.server.generations.speaking import Generation, Generations, not_served
from holdfast.server.identity.principal import Principal
from holdfast.server.store.contract import Scope, Snapshot, Store

NOTHING_UNKNOWN: Mapping[str, int] = {}


def check_request(
    request: ExchangeRequest | VerifyRequest,
    *,
    principal: Principal,
    generations: Generations,
    store: Store,
) -> Generation:
    """Protocol, device, schema and epoch; the generation of the schema that the device speaks.
    Raises ``ProtocolError``."""
    if request.protocol != PROTOCOL:
        raise ProtocolError(
            f"this server speaks protocol {PROTOCOL}", code="protocol_version", protocol=PROTOCOL
        )
    if request.device not in ("", principal.device):
        raise ProtocolError("this token belongs to another device", code="wrong_device", status=403)
    check_identity(request, principal)
    speaks = generations.speaking(request.schema)
    if speaks is None:
        raise not_served(
            generations.current.schema, below_floor=generations.is_below_floor(request.schema)
        )
    check_epoch(request, store)
    return speaks


def below_floor(since: Mapping[str, int], scopes: Mapping[str, Scope]) -> frozenset[str]:
    """Scopes of which the device has missed removals that are forgotten by now."""
    return frozenset(name for name, version in since.items() if 0 < version < scopes[name].floor)


def since(
    checkpoint: Mapping[str, Position],
    readable: tuple[str, ...],
    unknown: Mapping[str, int] = NOTHING_UNKNOWN,
) -> dict[str, int]:
    """The version that the device holds of each scope it may read; 0 for a new one. ``unknown``:
    the versions up to which those may be that are not in our history."""
    held = {scope: checkpoint[scope].version if scope in checkpoint else 0 for scope in readable}
    return held | {scope: version for scope, version in unknown.items() if scope in held}


@dataclass(frozen=True, slots=True)
class PositionGenerations:
    """Older generations that the positions of a device are of, by scope: its schema has grown since
    its checkpoint. ``lost``: scopes of which nobody knows any more what a device of that generation
    lacks.
    """

    scopes: Mapping[str, int] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()


HERE = PositionGenerations()


def _is_current(position: Position, scope: Scope) -> bool:
    return (position.version, position.count, position.digest) == (
        scope.head, scope.digest.count, scope.digest.hex,
    )  # fmt: skip


def origins(
    reads: Snapshot,
    generations: Generations,
    speaks: Generation,
    checkpoint: Mapping[str, Position],
    scopes: Mapping[str, Scope],
) -> PositionGenerations:
    """Return the generations that positions are of, where it is not the device's own.

    ``checkpoint``: was checked; ``scopes``: that the device may read, as its generation sees them.
    """
    if not generations.has_grown:
        return HERE
    held = {
        name: position
        for name, position in checkpoint.items()
        if name in scopes and not _is_current(position, scopes[name])
    }
    if not held:
        return HERE
    known = reads.digests({scope: position.version for scope, position in held.items()})
    served = generations.origins
    found: dict[str, int] = {}
    for scope, digests in known.items():
        claimed = Digest.of(held[scope].count, held[scope].digest)
        if digests.get(speaks.number) != claimed:
            same = [number for number, one in digests.items() if one == claimed]
            if same:  # those that see the same lack the same: the newest is told the least
                found[scope] = max([number for number in same if number in served] or same)
    lost = {scope for scope, number in found.items() if number not in served}
    return PositionGenerations(
        {scope: number for scope, number in found.items() if scope not in lost}, frozenset(lost)
    )
