"""Identifiers are well formed, ordered by time and made of nothing but what was handed in."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.ids import UUID7_US_MAX, derived_id, transaction_id, uuid7

moments = st.integers(min_value=0, max_value=UUID7_US_MAX)


@given(now_us=moments, noise=st.binary(min_size=8, max_size=8))
def test_a_uuid7_is_canonical_and_carries_its_moment(now_us: int, noise: bytes) -> None:
    text = uuid7(now_us, lambda _: noise)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == now_us // 1000


@given(first=moments, second=moments, noise=st.tuples(*[st.binary(min_size=8, max_size=8)] * 2))
def test_uuid7s_of_different_microseconds_sort_by_time(
    first: int, second: int, noise: tuple[bytes, bytes]
) -> None:
    one, other = uuid7(first, lambda _: noise[0]), uuid7(second, lambda _: noise[1])
    if first != second:
        assert (one < other) == (first < second)


def test_the_example_of_the_standard() -> None:
    # RFC 9562, appendix A.6: its rand_a (0xCC3) is a fraction of 797 to 798 µs.
    text = uuid7(0x017F22E279B0 * 1000 + 798, lambda _: bytes.fromhex("18c4dc0c0c07398f"))
    assert text == "017f22e2-79b0-7cc4-98c4-dc0c0c07398f"


@given(now_us=st.integers())
def test_a_clock_far_wrong_still_makes_keys(now_us: int) -> None:
    assert uuid.UUID(uuid7(now_us, bytes)).version == 7


def test_a_transaction_id_is_128_random_bits() -> None:
    assert transaction_id(lambda n: bytes(range(n))) == "000102030405060708090a0b0c0d0e0f"


def test_a_derived_id_follows_from_all_its_parts() -> None:
    ids = {derived_id("a", 1, 2), derived_id("a", 1, 3), derived_id("a1", 2), derived_id("a", 12)}
    assert len(ids) == 4
    assert derived_id("a", 1, 2) in ids


def test_a_short_source_of_randomness_is_an_error() -> None:
    with pytest.raises(ValueError, match="random bytes"):
        uuid7(0, lambda _: b"short")
    with pytest.raises(ValueError, match="random bytes"):
        transaction_id(lambda _: b"")
