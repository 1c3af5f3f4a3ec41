"""Waiting for another connection's lock: in slices, so that the wait can be given up.

Knows: clocks and pauses. Must not know: a SQLite library, or what is waited for.
A wait inside the library is deaf: a signal's handler runs after it, half a minute later, and who
is told to end cannot. Between two slices handlers run, and whoever waits is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from holdfast.core.limits import BUSY_SLICE_MS_MAX

_SLICES_MS: Final = (1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, BUSY_SLICE_MS_MAX)
"""SQLite's own pauses."""


class Patience:
    """One connection's. ``stopped``: asked whether to give up at once."""

    def __init__(self, timeout_ms: int, stopped: Callable[[], bool] | None) -> None:
        self._timeout_ms = timeout_ms
        self._stopped = stopped
        self._began = 0.0

    def wait(self, tries: int) -> bool:
        """Pause after so many tries in vain (0: the first); False when there is no patience left.

        What a signal's handler raises meanwhile passes through.
        """
        now = time.monotonic()
        if tries == 0:
            self._began = now
        left_ms = self._timeout_ms - (now - self._began) * 1000
        if left_ms <= 0 or (self._stopped is not None and self._stopped()):
            return False
        time.sleep(min(left_ms, _SLICES_MS[min(tries, len(_SLICES_MS) - 1)]) / 1000)
        return True
