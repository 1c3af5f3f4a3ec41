"""The host of a replica: clocks and randomness of its machine, handed in.

Knows: nothing but these functions. A simulator hands in its own.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field


def _wall_us() -> int:
    return time.time_ns() // 1000


def _monotonic_ms() -> int:
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return (time.clock_gettime_ns(clock) if clock else time.monotonic_ns()) // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """``now_us``: the device's wall clock, microseconds since 1970. ``monotonic_ms`` never goes
    back and counts suspended time where the platform can."""

    now_us: Callable[[], int] = field(default=_wall_us)
    monotonic_ms: Callable[[], int] = field(default=_monotonic_ms)
    random_bytes: Callable[[int], bytes] = field(default=secrets.token_bytes)
    random01: Callable[[], float] = field(default=random.random)
