"""Reverse proxies of ours: whose word on where a request comes from is believed.

Knows: addresses, and the headers that proxies set. Must not know: requests' meaning.
Only what one of ours has written is believed; whoever else sends such a header says nothing.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection, Sequence
from typing import TypeAlias

from holdfast.core.errors import UsageError
from holdfast.core.limits import HEADERS_MAX

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class Proxies:
    """A set of addresses and networks (``10.0.0.0/8``).

    Raises ``UsageError`` (``bad_choice``) for what is neither.
    """

    def __init__(self, named: Collection[str] = ()) -> None:
        try:
            self._networks: tuple[_Network, ...] = tuple(
                ipaddress.ip_network(name, strict=False) for name in named
            )
        except ValueError as error:
            raise UsageError(
                f"a proxy is named by its address, or a network of addresses: {error}",
                code="bad_choice",
            ) from None

    def __contains__(self, address: object) -> bool:
        if not self._networks or not isinstance(address, str):
            return False
        parsed = _parsed(address)
        return parsed is not None and any(
            parsed.version == network.version and parsed in network for network in self._networks
        )

    def origin(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return who is asking: the nearest address that is no proxy of ours.

        ``forwarded``: the values of ``X-Forwarded-For``, as they came.
        """
        if peer not in self:
            return peer
        nearest = peer
        for text in reversed(",".join(forwarded).split(",")[-HEADERS_MAX:]):
            address = _without_port(text.strip())
            if _parsed(address) is None:
                break  # whatever stands there, nobody of ours has written it
            nearest = address
            if address not in self:
                break
        return nearest


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> _Address | None:
    if len(text) > 64:
        return None
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return parsed if mapped is None else mapped
