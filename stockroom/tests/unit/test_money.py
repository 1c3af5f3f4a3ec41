from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import UsageError
from stockroom.money import PRICE_MAX, digits, format_price, nearest_minor, parse_price


@given(st.integers(0, PRICE_MAX), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_what_is_shown_can_be_typed(minor: int, currency: str) -> None:
    shown = format_price(minor, currency=currency).removesuffix(f" {currency}")
    assert parse_price(shown, currency=currency) == minor


def test_digits_are_those_of_iso_4217() -> None:
    three = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
    none = ("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF")
    assert {digits(code) for code in three} == {3}
    assert {digits(code) for code in none} == {0}
    assert {digits(code) for code in ("EUR", "USD", "GBP", "HUF", "XYZ", "XAU")} == {2}
    assert parse_price("1.255", currency="JOD") == 1255
    with pytest.raises(UsageError):
        parse_price("990.50", currency="CLP")


@pytest.mark.parametrize("text", ["", "abc", "1.234", "-1", "NaN", "inf", "1e99", "1,50"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_price(text, currency="EUR")
    assert caught.value.code == "bad_price"


@pytest.mark.parametrize(
    ("text", "minor"), [("3.39", 339), ("0.001", 0), ("0.005", 1), ("-11062.06", -1106206)]
)
def test_foreign_amounts_are_rounded(text: str, minor: int) -> None:
    assert nearest_minor(text, currency="GBP") == minor
