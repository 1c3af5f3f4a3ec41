"""Waits are bounded and jittered, Retry-After is honoured within reason, retries have a budget.

Checks I30.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.backoff import (
    RETRY_AFTER_MS_MAX,
    Backoff,
    RetryBudget,
    parse_retry_after,
)
from holdfast.replica.failures import retry_after_ms

randoms = st.floats(min_value=0, max_value=1, exclude_max=True)
backoffs = st.builds(
    Backoff,
    base_ms=st.integers(1, 10_000),
    cap_ms=st.integers(1, 600_000),
    spread_ms=st.integers(0, 10_000),
)


@given(backoff=backoffs, attempt=st.integers(1, 10**6), random01=randoms)
def test_every_wait_lies_between_one_millisecond_and_the_cap(
    backoff: Backoff, attempt: int, random01: float
) -> None:
    assert 1 <= backoff.delay_ms(attempt, random01) <= backoff.cap_ms
    assert 1 <= backoff.slow_delay_ms(random01) <= backoff.cap_ms
    assert 0 <= backoff.spread_delay_ms(random01) <= backoff.cap_ms


def test_the_widest_wait_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_ms=1_000, cap_ms=60_000, spread_ms=0)
    widest = [backoff.delay_ms(attempt, 0.999_999) for attempt in range(1, 9)]
    assert widest == [999, 1_999, 3_999, 7_999, 15_999, 31_999, 59_999, 59_999]


def test_jitter_is_full_but_never_spins() -> None:
    backoff = Backoff(base_ms=1_000, cap_ms=60_000)
    assert backoff.delay_ms(6, 0.0) == 100
    assert backoff.delay_ms(6, 0.5) == 16_050


def test_the_first_attempt_after_an_outage_is_spread() -> None:
    backoff = Backoff(base_ms=1_000, cap_ms=60_000, spread_ms=20_000)
    assert backoff.delay_ms(1, 0.9) > 17_000
    assert backoff.delay_ms(2, 0.9) < 2_000
    assert backoff.spread_delay_ms(0.5) == 10_000


@given(backoff=backoffs, attempt=st.integers(1, 60), random01=randoms, asked=st.integers(-5, 10**9))
def test_retry_after_is_honoured_and_capped(
    backoff: Backoff, attempt: int, random01: float, asked: int
) -> None:
    wait = backoff.delay_ms(attempt, random01, retry_after_ms=asked)
    assert wait >= min(asked, backoff.cap_ms)
    assert wait <= 2 * backoff.cap_ms


def test_a_fleet_told_the_same_moment_does_not_arrive_in_it() -> None:
    backoff = Backoff(base_ms=1_000, cap_ms=60_000)
    waits = {backoff.delay_ms(1, draw / 10, retry_after_ms=30_000) for draw in range(10)}
    assert waits == set(range(30_000, 31_000, 100))


def test_retry_after_has_a_cap_of_its_own() -> None:
    backoff = Backoff(cap_ms=5_000, retry_after_ms_max=60_000)
    assert backoff.delay_ms(1, 0.0, retry_after_ms=3_600_000) == 60_000


def test_nonsense_is_refused() -> None:
    for bad in ({"base_ms": 0}, {"cap_ms": -1}, {"spread_ms": -1}, {"retry_after_ms_max": -1}):
        with pytest.raises(ValueError, match="must"):
            Backoff(**bad)
    with pytest.raises(ValueError, match="attempts"):
        Backoff().delay_ms(0, 0.5)
    with pytest.raises(ValueError, match="budget"):
        RetryBudget(capacity=0)


@given(
    capacity=st.integers(1, 20),
    refill=st.integers(1, 10_000),
    gaps=st.lists(st.integers(0, 5_000), max_size=200),
)
def test_a_budget_holds_in_every_window(capacity: int, refill: int, gaps: list[int]) -> None:
    budget, now, taken = RetryBudget(capacity=capacity, refill_ms=refill), 0, list[int]()
    for gap in gaps:
        now += gap
        after = budget.take(now)
        assert (after is not None) == (budget.ready_at_ms(now) == now)
        if after is not None:
            budget = after
            taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= capacity + (taken[last] - start) // refill + 1


@given(capacity=st.integers(1, 20), refill=st.integers(1, 10_000), now=st.integers(0, 10**12))
def test_an_empty_budget_says_when_to_come_back(capacity: int, refill: int, now: int) -> None:
    budget = RetryBudget(capacity=capacity, refill_ms=refill)
    for _ in range(capacity):
        taken = budget.take(now)
        assert taken is not None
        budget = taken
    assert budget.take(now) is None
    assert budget.ready_at_ms(now) == now + refill
    assert budget.take(now + refill - 1) is None
    assert budget.take(now + refill) is not None


NOW_MS = 1_445_412_420_000  # Wed, 21 Oct 2015 07:27:00 GMT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120_000),
        (" 0 ", 0),
        ("9" * 5_000, RETRY_AFTER_MS_MAX),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60_000),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 60_000),
        ("Wed, 21 Oct 2015 07:28:00 +0000", 60_000),
        ("Wed, 21 Oct 2015 07:28:00", 60_000),
        ("21 Oct 2015 07:28:00 UTC", 60_000),
        ("Wed, 21 Oct 2015 03:28:00 -0400", 60_000),
        ("Wed, 21 Oct 2015 09:28:00 +0200", 60_000),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 60_000),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0),
        ("Wed Oct 21 07:28:00 2015", 60_000),
        ("Wed Nov  4 07:27:00 2015", 14 * 86_400_000),
        ("Wed, 21 Oct 2015 07:28:60 GMT", 119_000),
        ("Wed, 21 Oct 2015 07:28:00 EST", None),
        ("Wed, 31 Nov 2015 07:28:00 GMT", None),
        ("Wed, 21 Foo 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 2015 25:28:00 GMT", None),
        ("2015-10-21T07:28:00Z", None),
        ("October 21, 2015 07:28:00", None),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0),
        ("Wed, 21 Oct 9999 07:00:00 GMT", RETRY_AFTER_MS_MAX),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str, expected: int | None) -> None:
    assert parse_retry_after(value, now_ms=NOW_MS) == expected


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "UTC"])
def test_the_machines_zone_says_nothing(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for written in ("GMT", "-0000", "+0000", "UTC", ""):
            value = f"Wed, 21 Oct 2015 07:28:00 {written}".strip()
            assert parse_retry_after(value, now_ms=NOW_MS) == 60_000
            assert retry_after_ms(value, now_us=NOW_MS * 1000) == 60_000
    finally:
        monkeypatch.undo()
        time.tzset()


@given(value=st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ .*"))
def test_no_header_breaks_the_parser(value: str) -> None:
    wait = parse_retry_after(value, now_ms=NOW_MS)
    assert wait is None or 0 <= wait <= RETRY_AFTER_MS_MAX
