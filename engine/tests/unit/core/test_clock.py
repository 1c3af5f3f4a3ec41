"""Wrong clocks change no outcome: stamps, measured offsets, and the server's correction.

Checks I20.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.clock import (
    LATENCY_US_MAX,
    SLACK_US,
    OffsetSample,
    best_offset,
    choose_offset,
    correct,
    next_stamp,
)

SECOND = 1_000_000
YEAR = 365 * 86_400 * SECOND

true_moments = st.integers(min_value=50 * YEAR, max_value=60 * YEAR)
skews = st.integers(min_value=-30 * YEAR, max_value=30 * YEAR)
ways = st.integers(min_value=0, max_value=10 * SECOND)
any_us = st.integers(min_value=-(10**18), max_value=10**18)


def round_trip(true_us: int, skew_us: int, there_us: int, back_us: int) -> OffsetSample:
    """What a device with a clock wrong by `skew_us` sees of a trip that begins at `true_us`."""
    return OffsetSample(
        sent_us=true_us + skew_us,
        server_us=true_us + there_us,
        received_us=true_us + there_us + back_us + skew_us,
    )


@given(readings=st.lists(st.integers(min_value=0, max_value=10**16), min_size=1))
def test_stamps_grow_whatever_the_clock_does(readings: list[int]) -> None:
    last = 0
    for now in readings:
        stamp = next_stamp(last, now)
        assert stamp > last
        assert stamp >= now
        last = stamp


@given(true_us=true_moments, skew_us=skews, there_us=ways, back_us=ways)
def test_the_true_offset_is_within_half_the_round_trip(
    true_us: int, skew_us: int, there_us: int, back_us: int
) -> None:
    sample = round_trip(true_us, skew_us, there_us, back_us)
    assert abs(sample.offset_us - -skew_us) <= sample.error_us
    assert sample.error_us <= (there_us + back_us + 1) // 2


def test_the_shortest_recent_trip_is_believed_most() -> None:
    long = round_trip(100 * SECOND, 7 * SECOND, 2 * SECOND, 0)
    short = round_trip(110 * SECOND, 7 * SECOND, 20_000, 20_000)
    medium = round_trip(120 * SECOND, 7 * SECOND, 400_000, 0)
    chosen = best_offset([long, short, medium], now_us=130 * SECOND)
    assert chosen is not None
    assert chosen.offset_us == -7 * SECOND
    assert chosen.error_us < 25_000


def test_an_old_sample_loses_to_a_fresh_one_that_was_worse_when_taken() -> None:
    old = round_trip(0, 0, 10_000, 10_000)
    fresh = round_trip(1_000 * SECOND, 0, 60_000, 60_000)
    chosen = best_offset([old, fresh], now_us=1_001 * SECOND)
    assert chosen is not None
    assert chosen.error_us < 61_000


def test_samples_from_before_the_clock_was_set_do_not_count() -> None:
    before = round_trip(100 * SECOND, 0, 10, 10)
    ahead = round_trip(110 * SECOND, 3_000 * SECOND, 5_000, 5_000)
    chosen = best_offset([before, ahead], now_us=3_120 * SECOND)
    assert chosen is not None
    assert chosen.offset_us == -3_000 * SECOND
    back = round_trip(130 * SECOND, 0, 5_000, 5_000)
    chosen = best_offset([before, ahead, back], now_us=140 * SECOND)
    assert chosen is not None
    assert abs(chosen.offset_us) <= chosen.error_us


def test_nothing_usable_means_no_offset() -> None:
    torn = OffsetSample(sent_us=10, received_us=5, server_us=7)
    ancient = round_trip(0, 0, 10, 10)
    assert best_offset([], now_us=0) is None
    assert best_offset([torn], now_us=10) is None
    assert best_offset([ancient], now_us=YEAR) is None


@given(skew_us=skews, true_us=true_moments, there_us=ways, back_us=ways, way_us=ways)
def test_a_truthful_claim_is_used(
    skew_us: int, true_us: int, there_us: int, back_us: int, way_us: int
) -> None:
    sample = round_trip(true_us, skew_us, there_us, back_us)
    later = true_us + 60 * SECOND
    chosen = choose_offset(
        sample.offset_us,
        sample.error_us,
        device_now_us=later + skew_us,
        arrival_us=later + way_us,
    )
    seen = abs(sample.offset_us) > sample.error_us
    assert chosen == (sample.offset_us if seen else 0)


@given(first=ways, second=ways, back_us=ways, apart_us=st.integers(1, 10 * SECOND))
def test_two_clocks_that_are_right_keep_their_order_whatever_the_network_does(
    first: int, second: int, back_us: int, apart_us: int
) -> None:
    stamps = []
    for there_us, made_us in ((first, 50 * YEAR), (second, 50 * YEAR + apart_us)):
        device = Device(0, round_trip(40 * YEAR, 0, there_us, back_us))
        stamps.append(device.stamp_at_server(made_us, 20 * SECOND, there_us, None))
    assert stamps[0] < stamps[1]


@given(claimed_us=any_us, error_us=any_us, device_now_us=any_us, arrival_us=any_us)
def test_a_claim_wins_no_more_than_its_bounds(
    claimed_us: int, error_us: int, device_now_us: int, arrival_us: int
) -> None:
    chosen = choose_offset(claimed_us, error_us, device_now_us=device_now_us, arrival_us=arrival_us)
    honest = arrival_us - device_now_us
    assert chosen in {claimed_us, honest, 0}
    assert -2 * LATENCY_US_MAX <= chosen - honest <= LATENCY_US_MAX + SLACK_US


def test_a_clock_that_jumped_after_the_measurement_falls_back_to_the_arrival() -> None:
    for jump in (-3_600 * SECOND, 3_600 * SECOND):
        chosen = choose_offset(0, 1_000, device_now_us=10**15 + jump, arrival_us=10**15)
        assert chosen == -jump
    assert choose_offset(None, 0, device_now_us=40, arrival_us=100) == 60


def test_the_correction_clamps_and_the_base_has_the_last_word() -> None:
    assert correct(100, offset_us=-30, arrival_us=500, base_us=None) == 70
    assert correct(100, offset_us=900, arrival_us=500, base_us=None) == 500
    assert correct(100, offset_us=-90, arrival_us=500, base_us=60) == 60
    assert correct(100, offset_us=0, arrival_us=500, base_us=600) == 600


@given(a=st.tuples(any_us, any_us, any_us, any_us), b=st.tuples(any_us, any_us, any_us, any_us))
def test_the_correction_is_monotone_in_everything(
    a: tuple[int, int, int, int], b: tuple[int, int, int, int]
) -> None:
    low = [min(x, y) for x, y in zip(a, b, strict=True)]
    high = [max(x, y) for x, y in zip(a, b, strict=True)]
    assert correct(low[0], offset_us=low[1], arrival_us=low[2], base_us=low[3]) <= correct(
        high[0], offset_us=high[1], arrival_us=high[2], base_us=high[3]
    )


@dataclass(frozen=True, slots=True)
class Device:
    """A device whose clock is constantly wrong, and what it measured of that."""

    skew_us: int
    sample: OffsetSample

    def stamp_at_server(self, true_us: int, delay_us: int, way_us: int, base_us: int | None) -> int:
        """The corrected stamp of an edit at `true_us` that is sent `delay_us` later."""
        sent_us = true_us + delay_us
        arrival_us = sent_us + way_us
        offset_us = choose_offset(
            self.sample.offset_us,
            self.sample.error_us,
            device_now_us=sent_us + self.skew_us,
            arrival_us=arrival_us,
        )
        return correct(
            true_us + self.skew_us, offset_us=offset_us, arrival_us=arrival_us, base_us=base_us
        )


devices = st.builds(
    lambda skew, there, back: Device(skew, round_trip(40 * YEAR, skew, there, back)),
    skews,
    ways,
    ways,
)


@given(
    one=devices,
    other=devices,
    first_us=true_moments,
    apart_us=st.integers(min_value=1, max_value=YEAR),
    delays=st.tuples(*[st.integers(min_value=0, max_value=YEAR)] * 2),
    way_us=st.tuples(ways, ways),
    on_base=st.booleans(),
)
def test_constant_skew_changes_no_order_between_edits_further_apart_than_the_error(
    *,
    one: Device,
    other: Device,
    first_us: int,
    apart_us: int,
    delays: tuple[int, int],
    way_us: tuple[int, int],
    on_base: bool,
) -> None:
    errors = one.sample.error_us + other.sample.error_us
    second_us = first_us + errors + apart_us
    base_us = first_us - 1 if on_base else None
    earlier = one.stamp_at_server(first_us, delays[0], way_us[0], base_us)
    later = other.stamp_at_server(second_us, delays[1], way_us[1], base_us)
    assert earlier < later


@given(
    jump_us=st.integers(min_value=-30 * YEAR, max_value=30 * YEAR),
    arrival_us=true_moments,
    base_us=st.none() | st.integers(min_value=0, max_value=50 * YEAR),
)
def test_a_jumping_clock_never_wins_more_than_at_arrival(
    jump_us: int, arrival_us: int, base_us: int | None
) -> None:
    offset_us = choose_offset(0, 1_000, device_now_us=arrival_us, arrival_us=arrival_us)
    stamp_us = arrival_us + jump_us
    assert (
        correct(stamp_us, offset_us=offset_us, arrival_us=arrival_us, base_us=base_us) <= arrival_us
    )
