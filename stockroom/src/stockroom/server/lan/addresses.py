"""By which names and addresses a shop's own network reaches this machine, and who is on it.

Knows: the machine's name and network interfaces. Must not know: certificates, or HTTP.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final, TypeAlias

import ifaddr

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

LOCALHOST: Final = "localhost"
LOOPBACK: Final = ("127.0.0.1", "::1")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_PREFIX_BITS: Final = 64
"""Of IPv6: whoever shares them is on the same network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine on a network. ``names`` without loopback, best first; ``addresses`` that stay
    within the network; ``public``: addresses that the internet may reach."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    public: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Names and addresses that a certificate is for."""
        return tuple(dict.fromkeys((*self.names, *self.addresses, LOCALHOST, *LOOPBACK)))


def this_machine(more: tuple[str, ...] = ()) -> Machine:
    """This machine, as it is now. ``more``: names that its network gives it besides."""
    names = [*more, *_own_names()]
    found = [ipaddress.ip_address(text) for text in _interfaces()]
    near = [one for one in found if not one.is_global and not one.is_loopback]
    # An address of IPv6 that is good on one link only cannot stand in a URL.
    usable = [one for one in near if one.version == 4 or not one.is_link_local]
    usable.sort(key=lambda one: (one.is_link_local, one.version, one.packed))
    return Machine(
        names=tuple(dict.fromkeys(name.lower() for name in names)),
        addresses=tuple(str(one) for one in usable),
        public=tuple(str(one) for one in found if one.is_global),
    )


def is_near(peer: str, ours: str) -> bool:
    """Return whether a peer is on this network, or on this machine, as far as addresses tell."""
    other, own = _parsed(peer), _parsed(ours)
    if other is None or own is None:
        return False
    if not other.is_global or other == own:
        return not other.is_multicast
    if other.version != 6 or own.version != 6:
        return False
    return other in ipaddress.ip_network((own, _PREFIX_BITS), strict=False)


def is_loopback(host: str) -> bool:
    """Return whether a name or address means this very machine."""
    name = host.strip("[]").lower()
    address = _parsed(name)
    return address.is_loopback if address is not None else name == LOCALHOST


def url_of(name: str, port: int, *, scheme: str = "https") -> str:
    """The address of the server by a name of its own."""
    shown = f"[{name}]" if ":" in name else name
    usual = {"https": 443, "http": 80}[scheme]
    return f"{scheme}://{shown}" if port == usual else f"{scheme}://{shown}:{port}"


def _own_names() -> list[str]:
    """The machine's name; with ``.local`` by which networks find it without a server of names."""
    given = socket.gethostname().lower().rstrip(".")
    if not _NAME.fullmatch(given) or given == LOCALHOST:
        return []
    first = given.partition(".")[0]
    return [f"{first}.local", first, *([given] if "." in given else [])]


def _interfaces() -> list[str]:
    """The addresses of all network interfaces, without what a link adds to them."""
    found = [one.ip for adapter in ifaddr.get_adapters() for one in adapter.ips]
    return [ip if isinstance(ip, str) else ip[0] for ip in found]


def _parsed(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
