"""Permissions of a principal, as of the very reads that answer them.

Knows: principals, and whom to ask about them. Must not know: requests, rows, or how a principal was
found. Rights belong to the transaction: what was true when a request came is asked again inside the
read or the write that serves it.

Upholds I23, I24 and I26.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.core.errors import ProtocolError
from holdfast.server.identity.principal import Principal
from holdfast.server.store.contract import Scope, Snapshot

CurrentPrincipals = Callable[[Snapshot, Sequence[Principal]], Sequence[Principal | None]]


class Rights:
    """``standing`` tells what principals may do now; None: what they came with is good."""

    def __init__(self, standing: CurrentPrincipals | None) -> None:
        self._standing = standing

    def still(self, reads: Snapshot, principal: Principal, *, done: bool = False) -> Principal:
        """The principal with its rights as of these reads. Raises ``ProtocolError`` (``sign_in``).

        ``done``: its push is committed; the device must not think that nothing was taken, and is
        asked to come again, to be told then.
        """
        if self._standing is None:
            return principal
        (now,) = self._standing(reads, [principal])
        if now is not None:
            return now
        if done:
            raise ProtocolError("permissions have changed; try again", code="busy", status=503)
        raise ProtocolError("unknown, expired or revoked token", code="sign_in", status=401)


def readable(reads: Snapshot, principal: Principal) -> dict[str, Scope]:
    """The scopes that a principal may read, as they are now."""
    names = named(principal)
    if len(names) < len(principal.read) + len(principal.write):  # only then look at them all
        names = [*principal.readable(reads.scope_names())]
    return reads.scopes(sorted({*names}))


def named(principal: Principal) -> list[str]:
    """The scopes that a principal's grants name exactly; they exist from the first contact on."""
    return [name for name in (*principal.read, *principal.write) if not name.endswith("*")]
