"""Time of devices: stamps that never go back, and what the server makes of them.

Knows how far a device's clock is from the server's (from round trips), and how the server shifts a
stamp by it. Must not know a clock: every moment comes in as an argument, in microseconds since
1970, UTC. Offsets are always *server minus device*: a device that runs an hour fast has an offset
of minus one hour.

Upholds I20: a constant skew of any size changes no order between edits that are further apart than
the measured errors; and a clock that jumps never wins more than it would at arrival. The server
keeps the last word: what a device claims about its clock is believed only as far as the arrival of
its request bears it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DRIFT_PPM_MAX: Final = 200
"""How much a device's clock may run away: parts per million. Cheap quartz stays below 100."""

SAMPLE_AGE_US_MAX: Final = 3_600_000_000
"""Samples older than this (one hour) say nothing about the clock of now."""

LATENCY_US_MAX: Final = 30_000_000
"""The longest way of a request (30 s) that still bears out the offset the device claims."""

SLACK_US: Final = 1_000_000
"""What a claimed offset may exceed the arrival's by, beyond its error (1 s: an hour of drift)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetSample:
    """One round trip: the device's clock before and after, the server's clock in between (µs)."""

    sent_us: int
    received_us: int
    server_us: int

    @property
    def usable(self) -> bool:
        """False if the device's clock was set back during the trip."""
        return self.received_us >= self.sent_us

    @property
    def offset_us(self) -> int:
        """Server minus device, at the middle of the trip."""
        return self.server_us - (self.sent_us + self.received_us) // 2

    @property
    def error_us(self) -> int:
        """Half the round trip, rounded up: the true offset is never further away than this."""
        return self.received_us - (self.sent_us + self.received_us) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOffset:
    """A measured offset (server minus device) and the most it can be wrong by, in µs."""

    offset_us: int
    error_us: int


def next_stamp(last_us: int, now_us: int) -> int:
    """The stamp for the next change: now, but always later than the last one given (µs).

    Stamps of one device therefore never repeat or go back, even if its clock does; after a clock
    was set back they creep on by one until it has caught up (the server bounds what that can win).
    """
    return max(now_us, last_us + 1)


def best_offset(
    samples: Sequence[OffsetSample],
    *,
    now_us: int,
    age_us_max: int = SAMPLE_AGE_US_MAX,
    drift_ppm: int = DRIFT_PPM_MAX,
) -> ClockOffset | None:
    """The most certain offset among recent round trips, or None if there is none.

    `samples` are in the order in which they were taken, oldest first; `now_us` is the device's
    clock. A sample's error grows with its age by `drift_ppm`; samples older than `age_us_max`, or
    from a future that the clock has since been set back from, are left out. Samples from before
    the clock was set anew contradict the newest one by more than their errors allow: from the first
    such sample backwards none counts.
    """
    newest: ClockOffset | None = None
    best: ClockOffset | None = None
    for sample in reversed(samples):
        age_us = now_us - sample.received_us
        if not sample.usable or not 0 <= age_us <= age_us_max:
            continue
        drift_us = -(-age_us * drift_ppm // 1_000_000)
        aged = ClockOffset(offset_us=sample.offset_us, error_us=sample.error_us + drift_us)
        if newest is None:
            newest = aged
        elif abs(aged.offset_us - newest.offset_us) > aged.error_us + newest.error_us:
            break
        if best is None or aged.error_us < best.error_us:
            best = aged
    return best


def choose_offset(
    claimed_us: int | None,
    error_us: int,
    *,
    device_now_us: int,
    arrival_us: int,
    latency_us_max: int = LATENCY_US_MAX,
    slack_us: int = SLACK_US,
) -> int:
    """The offset (server minus device, µs) by which the server shifts the stamps of a request.

    `claimed_us` and `error_us` are what the device measured (None: it has not yet),
    `device_now_us` is its clock when it made the request, `arrival_us` the server's when the
    request came in. The difference of those two is the true offset plus the way of the request, so
    a truthful claim lies below it by at most `latency_us_max`, and above it only by its own error
    and `slack_us` of drift. Such a claim is used: it is free of the request's latency. One that is
    smaller than its own error says only that the clocks agree as far as could be seen: then the
    device's clock stands, or the errors of two devices would turn round the order of edits that
    their clocks, kept by the same time servers, tell apart. Any other claim means that the clock
    has jumped since it was measured, or a device that flatters itself; then the arrival decides. A
    large claimed error buys no room beyond `latency_us_max`.
    """
    arrival_offset_us = arrival_us - device_now_us
    if claimed_us is None:
        return arrival_offset_us
    allowed_us = min(max(error_us, 0), latency_us_max)
    agree = abs(claimed_us) <= allowed_us
    for offset_us in (0, claimed_us) if agree else (claimed_us,):
        way_us = arrival_offset_us - offset_us
        if -(allowed_us + slack_us) <= way_us <= latency_us_max + allowed_us:
            return offset_us
    return arrival_offset_us


def correct(stamp_us: int, *, offset_us: int, arrival_us: int, base_us: int | None) -> int:
    """The stamp of a change in server time (µs): shifted by the offset, then clamped.

    Never later than `arrival_us`, so that a fast or jumping clock wins no more than it would by
    being typed at arrival; never earlier than `base_us`, the corrected stamp of the revision the
    change was made on (None: it was made on nothing), since an edit comes after what it saw.

    If the base is later than the arrival (the server's own clock was set back, or two server
    processes differ) **the base wins**: a stamp before its base would let an edit that had already
    lost against the base win against its successor. That gives a device nothing, for `base_us` is
    the server's own record and was itself never later than an arrival. The result is monotone in
    each argument, so changes of one request keep their order.
    """
    shifted_us = min(stamp_us + offset_us, arrival_us)
    return shifted_us if base_us is None else max(shifted_us, base_us)
