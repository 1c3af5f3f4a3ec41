"""Moments as names of files and schemas have them: in the order of time, and each name once.

Knows: how a moment is written. Must not know: what is named, or where.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

FORMAT: Final = "%Y%m%dT%H%M%SZ"
STAMPED: Final = re.compile(r"\d{8}T\d{6}Z")


def stamp(now_us: int) -> str:
    """A moment (microseconds since 1970, UTC) as names have it, to the second."""
    return datetime.fromtimestamp(now_us / 1_000_000, UTC).strftime(FORMAT)


def free_stamp(now_us: int, taken: Callable[[str], bool]) -> str:
    """The stamp of a moment, or of the next second whose name is not ``taken``: two things that are
    named within a second have two names, in their order."""
    while taken(found := stamp(now_us)):
        now_us += 1_000_000
    return found
