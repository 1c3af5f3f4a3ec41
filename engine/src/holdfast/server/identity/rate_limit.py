"""Rate limits: so many attempts in a row, then one every so often.

Knows: keys and moments. Must not know: what is tried.
A key costs one number; when there are too many keys, those not seen for longest are forgotten, and
an attempt that is turned away changes nothing.

Upholds I31.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import RATE_KEYS_MAX


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Rates:
    """A rate for each key: ``burst`` in a row, then one each ``every_ms``."""

    def __init__(
        self,
        *,
        burst: int,
        every_ms: float,
        keys_max: int = RATE_KEYS_MAX,
        what: str = "tries",
        code: str = "too_many_tries",
        monotonic_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._slack_ms = (burst - 1) * every_ms
        self._every_ms = every_ms
        self._keys_max = keys_max
        self._what, self._code = what, code
        self._monotonic_ms = monotonic_ms
        self._lock = threading.Lock()
        self._free_at_ms: OrderedDict[str | bytes, float] = OrderedDict()
        """When all that was taken would be paid back."""

    def take(self, key: str | bytes, amount: float = 1) -> None:
        """One more, or so many: while anything is left, all of it is let through.

        Raises ``ProtocolError`` 429 (``code``), with when to come again.
        """
        with self._lock:
            now_ms = self._monotonic_ms()
            free_at_ms = max(now_ms, self._free_at_ms.get(key, now_ms))
            wait_ms = free_at_ms - now_ms - self._slack_ms
            if wait_ms > 0:
                raise ProtocolError(
                    f"too many {self._what} (rate limit); try again later",
                    code=self._code,
                    status=429,
                    retry_after_s=math.ceil(wait_ms / 1000),
                )
            self._free_at_ms[key] = free_at_ms + amount * self._every_ms
            self._free_at_ms.move_to_end(key)
            if len(self._free_at_ms) > self._keys_max:
                self._free_at_ms.popitem(last=False)

    def give_back(self, key: str | bytes, amount: float = 1) -> None:
        """Give back: what was taken counts no more."""
        with self._lock:
            free_at_ms = self._free_at_ms.get(key)
            if free_at_ms is not None:
                self._free_at_ms[key] = free_at_ms - amount * self._every_ms

    def used(self, key: str | bytes) -> int:
        """Return how many of those that one may take in a row are taken, and not paid back."""
        with self._lock:
            now_ms = self._monotonic_ms()
            left_ms = self._free_at_ms.get(key, now_ms) - now_ms
            return max(0, round(left_ms / self._every_ms))

    def __len__(self) -> int:
        return len(self._free_at_ms)


def address_key(address: str) -> str:
    """Return what counts as one address: of IPv6 its first half, for one host has as many as it
    likes.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
