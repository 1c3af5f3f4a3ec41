"""Back-off: full-jitter exponential waits, Retry-After, and a retry budget.

Knows how long to wait after the n-th failure and how many retries a stretch of time may hold. Must
not know a clock or a source of randomness: moments (milliseconds) and a random number in [0, 1) are
handed in. Upholds I29 (no wait is longer than the configured maximum) and I30 (retries stay within
a budget, whatever triggers them).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

RETRY_AFTER_MS_MAX: Final = 365 * 86_400_000
"""What `parse_retry_after` returns at most: a year. `Backoff` caps it much lower."""

_MONTHS: Final = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATE: Final = re.compile(
    "(?:[A-Za-z]{3,9}, ?)?(?P<day>[0-9]{1,2})[ -](?P<month>[A-Za-z]{3})[ -]"
    f"(?P<year>[0-9]{{4}}|[0-9]{{2}}) {_TIME}(?: (?P<zone>GMT|UTC|UT|Z|[+-][0-9]{{4}}))?"
)
_ASCTIME: Final = re.compile(
    "[A-Za-z]{3} (?P<month>[A-Za-z]{3}) {1,2}(?P<day>[0-9]{1,2}) "
    f"{_TIME} (?P<year>[0-9]{{4}})"
)

_DOUBLINGS_MAX: Final = 40  # far above any cap; keeps the shift small after years of outage
_FLOOR_PART: Final = 10  # a wait is never shorter than a tenth of the base, or jitter may spin


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Full-jitter exponential back-off; all times in milliseconds.

    The n-th wait is drawn evenly from up to `base_ms * 2**(n-1)`, never above `cap_ms`. The first
    one after contact was lost is drawn from `spread_ms` if that is wider: when a server restarts
    all its devices notice in the same moment and must not come back in the same moment.
    `retry_after_ms_max` caps what a server may ask for (None: `cap_ms`). Raises `ValueError` on
    values that are not positive.
    """

    base_ms: int = 1_000
    cap_ms: int = 300_000
    spread_ms: int = 2_000
    retry_after_ms_max: int | None = None

    def __post_init__(self) -> None:
        if self.base_ms <= 0 or self.cap_ms <= 0 or self.spread_ms < 0:
            raise ValueError(f"back-off times must be positive: {self}")
        if self.retry_after_ms_max is not None and self.retry_after_ms_max < 0:
            raise ValueError(f"retry_after_ms_max must not be negative: {self}")

    def delay_ms(self, attempt: int, random01: float, *, retry_after_ms: int | None = None) -> int:
        """The wait before retry number `attempt` (1 is the first after a success).

        `random01` is drawn from [0, 1). With `retry_after_ms` (what the server asked for, capped)
        the wait is at least that, plus up to `base_ms` so that a fleet told the same moment does
        not arrive in it. Raises `ValueError` if `attempt` is below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempts count from 1, not {attempt}")
        widest_ms = self.base_ms << min(attempt - 1, _DOUBLINGS_MAX)
        if attempt == 1:
            widest_ms = max(widest_ms, self.spread_ms)
        delay_ms = self._draw(min(widest_ms, self.cap_ms), random01)
        if retry_after_ms is None:
            return delay_ms
        limit_ms = self.cap_ms if self.retry_after_ms_max is None else self.retry_after_ms_max
        asked_ms = min(max(retry_after_ms, 0), limit_ms)
        return max(delay_ms, asked_ms + int(random01 * min(self.base_ms, self.cap_ms)))

    def slow_delay_ms(self, random01: float) -> int:
        """The wait after an error nobody knows: between half of `cap_ms` and all of it."""
        half_ms = self.cap_ms // 2
        return max(1, half_ms + int(random01 * (self.cap_ms - half_ms)))

    def spread_delay_ms(self, random01: float) -> int:
        """The wait before looking after a lost stream: up to `spread_ms`, never above `cap_ms`."""
        return int(random01 * min(self.spread_ms, self.cap_ms))

    def _draw(self, widest_ms: int, random01: float) -> int:
        floor_ms = max(1, min(self.base_ms, widest_ms) // _FLOOR_PART)
        return floor_ms + int(random01 * (widest_ms - floor_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """A token bucket of retries: `capacity` at once, then one per `refill_ms`.

    The whole state is the moment at which the bucket will be full again, so it needs no timer and
    no rounding. `now_ms` is any clock that does not go back, 0 or later. Raises `ValueError` on
    values that are not positive.
    """

    capacity: int = 20
    refill_ms: int = 10_000
    full_at_ms: int = 0

    def __post_init__(self) -> None:
        if self.capacity <= 0 or self.refill_ms <= 0:
            raise ValueError(f"a retry budget must be positive: {self}")

    def ready_at_ms(self, now_ms: int) -> int:
        """The earliest moment, now or later, at which there is a token."""
        return max(now_ms, self.full_at_ms - (self.capacity - 1) * self.refill_ms)

    def take(self, now_ms: int) -> RetryBudget | None:
        """The budget with one token less, or None if there is none to take."""
        if self.ready_at_ms(now_ms) > now_ms:
            return None
        return replace(self, full_at_ms=max(self.full_at_ms, now_ms) + self.refill_ms)


def parse_retry_after(value: str, *, now_ms: int) -> int | None:
    """Return how long a Retry-After header asks to wait, in ms; None if it makes no sense.

    `value` is a number of seconds or an HTTP date (RFC 9110: any of its three forms; a zone that is
    left out is GMT, whatever the machine's). `now_ms` (since 1970, UTC) is what a date is measured
    against: take the `Date` header of the same response where there is one, for the device's own
    clock may be wrong. A date in the past is 0; nothing exceeds a year.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A digit string of any length is legal; only its first digits are worth converting.
        return RETRY_AFTER_MS_MAX if len(text) > 12 else min(int(text) * 1000, RETRY_AFTER_MS_MAX)
    moment_ms = _http_date_ms(text, now_ms=now_ms)
    return None if moment_ms is None else min(max(moment_ms - now_ms, 0), RETRY_AFTER_MS_MAX)


def _http_date_ms(text: str, *, now_ms: int) -> int | None:
    found = _DATE.fullmatch(text) or _ASCTIME.fullmatch(text)
    if found is None or found["month"].lower() not in _MONTHS:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:  # never more than fifty years ahead
        this_year = (_EPOCH + timedelta(milliseconds=now_ms)).year
        year += this_year - this_year % 100
        year -= 100 if year > this_year + 50 else 0
    zone = found.groupdict().get("zone") or "GMT"
    ahead_s = 0
    if zone[0] in "+-":
        ahead_s = (int(zone[1:3]) * 60 + int(zone[3:])) * 60 * (-1 if zone[0] == "-" else 1)
    try:
        moment = datetime(
            year, _MONTHS.index(found["month"].lower()) + 1, int(found["day"]),
            int(found["hour"]), int(found["minute"]), min(int(found["second"]), 59), tzinfo=UTC,
        )  # fmt: skip
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(milliseconds=1) - ahead_s * 1000
