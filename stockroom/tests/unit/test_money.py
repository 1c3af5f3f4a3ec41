from __future__ import annotations

import pytest

from stockroom.money import digits, nearest_minor


def test_digits_are_those_of_iso_4217() -> None:
    three = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
    none = ("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF")
    assert {digits(code) for code in three} == {3}
    assert {digits(code) for code in none} == {0}
    assert {digits(code) for code in ("EUR", "USD", "GBP", "HUF", "XYZ", "XAU")} == {2}


@pytest.mark.parametrize(
    ("text", "minor"), [("3.39", 339), ("0.001", 0), ("0.005", 1), ("-11062.06", -1106206)]
)
def test_foreign_amounts_are_rounded(text: str, minor: int) -> None:
    assert nearest_minor(text, currency="GBP") == minor
