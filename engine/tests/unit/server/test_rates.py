"""So many tries in a row, then one every so often; memory is bounded."""

from __future__ import annotations

import pytest

from holdfast.core.errors import ProtocolError
from holdfast.server.identity.rate_limit import Rates, address_key


class Clock:
    now_ms = 5_000

    def __call__(self) -> int:
        return self.now_ms


def left(rates: Rates, key: str) -> int:
    """How many go through now."""
    for number in range(1000):
        try:
            rates.take(key)
        except ProtocolError:
            return number
    raise AssertionError("there is no end to it")


def test_a_burst_then_one_at_a_time() -> None:
    clock = Clock()
    rates = Rates(burst=3, every_ms=1000, monotonic_ms=clock)
    assert left(rates, "a") == 3
    assert left(rates, "b") == 3
    with pytest.raises(ProtocolError) as caught:
        rates.take("a")
    assert caught.value.detail == {"retry_after_s": 1}
    clock.now_ms += 999
    assert left(rates, "a") == 0
    clock.now_ms += 1
    assert left(rates, "a") == 1
    clock.now_ms += 2500
    assert left(rates, "a") == 2
    clock.now_ms += 10**9
    assert left(rates, "a") == 3


def test_memory_is_bounded_and_the_eager_are_remembered_longest() -> None:
    rates = Rates(burst=1, every_ms=10**9, keys_max=10, monotonic_ms=Clock())
    rates.take("guesser")
    for number in range(100):
        rates.take(str(number))
        assert len(rates) <= 10
    assert left(rates, "99") == 0
    assert left(rates, "guesser") == 1  # forgotten, after as many others


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_what_counts_as_one_address(address: str, key: str) -> None:
    assert address_key(address) == key
