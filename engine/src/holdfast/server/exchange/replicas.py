"""The replica that a request comes from, and if it is the one that was here last.

Knows: identities, nonces and origins of replicas. Must not know: HTTP, or what a request asks for.
A device is what a person named; its replicas are files, one after the other or at once, each with a
random identity. One that nobody knows and that was never answered is a new one: the device was set
up anew. A copied or restored file meets a nonce that it did not propose, takes another identity,
and comes again as that: out of which replica it has come, it says.

Upholds I6, I7 and I31 (a device has so many replicas and no more).
"""

from __future__ import annotations

import re

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import DEVICE_REPLICAS_MAX
from holdfast.protocol.messages import ExchangeRequest, Nonces, VerifyRequest
from holdfast.server.identity.principal import Principal
from holdfast.server.store.contract import ReplicaRecord, Snapshot, Writer

_RANDOM = re.compile(r"[0-9a-f]{32}\Z")


def identity(request: ExchangeRequest | VerifyRequest, principal: Principal) -> str:
    """Return the identity of the replica that asks; without one it is called as its device is."""
    return request.replica or principal.device


def check_identity(request: ExchangeRequest | VerifyRequest, principal: Principal) -> None:
    """Raises ``ProtocolError``: a name is the device's own, for nobody can guess the others."""
    if request.replica not in ("", principal.device) and not _RANDOM.match(request.replica):
        raise ProtocolError(
            "a replica is called by 32 hexadecimal digits, or as its device is", code="bad_message"
        )


def check_nonces(known: ReplicaRecord | None, principal: Principal, nonces: Nonces) -> None:
    """The replica has had our last answer, or repeats itself. Raises ``ProtocolError``."""
    mine = known is None or known.device == principal.device
    if mine and ("" if known is None else known.nonce) in (nonces.since, nonces.to):
        return
    raise ProtocolError(
        "another file has synced as this replica: was this one copied or restored?",
        code="nonce_mismatch", status=409, high=known.high if known is not None and mine else 0,
    )  # fmt: skip


def new_replica(
    reads: Writer, principal: Principal, request: ExchangeRequest, ended: int = 0
) -> ReplicaRecord:
    """A replica that was not here before. ``ended``: the number of the ended epoch that it comes
    from. Raises ``ProtocolError``."""
    place = reads.last_place(principal.device) + 1
    if place > DEVICE_REPLICAS_MAX:
        raise ProtocolError(
            f"{principal.device!r} has had {DEVICE_REPLICAS_MAX} replicas; revoke it, and enrol "
            "another device in its place", code="too_many_replicas", status=403,
        )  # fmt: skip
    replica, origin = identity(request, principal), request.origin
    if origin is None or origin.replica == replica:
        return ReplicaRecord(replica, principal.device, principal.user, place=place)
    return ReplicaRecord(
        replica, principal.device, principal.user, place=place, origin=origin.replica,
        origin_last=origin.last, origin_epoch=ended,
    )  # fmt: skip


def is_replacement(known: ReplicaRecord | None, request: ExchangeRequest | VerifyRequest) -> bool:
    """Return whether this is the first answer to a replica whose device had another one."""
    if known is None or isinstance(request, VerifyRequest):
        return False
    return known.place > 1 and not known.origin and not request.nonce.since


def heard(reads: Snapshot, principal: Principal, replica: str) -> ReplicaRecord | None:
    """A replica of this device, as far as it is known."""
    known = reads.replica(replica)
    return known if known is not None and known.device == principal.device else None
