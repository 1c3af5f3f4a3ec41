"""The two sides of a conflict, and whose they are as seen from who asks.

Knows: the devices and users that a conflict names. Must not know: values, rows, or how it is
settled.
A side is called `device` (what the device named in the conflict wants, and waits) or `server` (what
stands there); these mean the same to everybody. `yours` and `other` depend on who asks: the side of
one's own device, or else that of one's own user on another device. Where neither side is, or both
are, nobody guesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from holdfast.core.errors import UsageError

Side = Literal["device", "server"]
SideChoice = Literal["device", "server", "yours", "other", "mine", "theirs"]
"""What may be said to stay. `mine` and `theirs` are older names of `device` and `server`."""

_NAMED: Final[dict[str, Side]] = {
    "device": "device", "server": "server", "mine": "device", "theirs": "server",
}  # fmt: skip
_OTHER: Final[dict[Side, Side]] = {"device": "server", "server": "device"}


@dataclass(frozen=True, slots=True)
class Party:
    """Owner of a value; "" for what nobody knows."""

    user: str
    device: str

    def __str__(self) -> str:
        if self.user in ("", self.device):
            return self.device or "somebody's"
        return f"{self.user}'s, on {self.device or 'an unknown device'}"


def yours(device: Party, server: Party, asking: Party) -> Side | None:
    """The side that belongs to who asks; None when neither does, or both do."""
    own_device = _one(device.device, server.device, asking.device)
    return own_device or _one(device.user, server.user, asking.user)


def _one(device: str, server: str, asking: str) -> Side | None:
    """The side whose name is the one that asks, where only one is."""
    if not asking or (device == asking) == (server == asking):
        return None
    return "device" if device == asking else "server"


def chosen_side(keep: str, device: Party, server: Party, asking: Party) -> Side:
    """The side that ``keep`` means for who asks. Raises ``UsageError``: ``bad_choice``, or
    ``unclear_side`` where `yours` and `other` mean nothing."""
    named = _NAMED.get(keep)
    if named is not None:
        return named
    if keep not in ("yours", "other"):
        raise UsageError(
            f"{keep!r} is no side of a conflict: keep device, server, yours or other",
            code="bad_choice",
        )
    own = yours(device, server, asking)
    if own is None:
        raise UsageError(
            f"neither side is yours alone: device is {device}; server is {server}. "
            "Keep device or server",
            code="unclear_side",
        )
    return own if keep == "yours" else _OTHER[own]
