"""Currencies: how many digits their amounts have, and the largest amount.

Knows: ISO 4217, from a kept table; the web app's is made from it by `tools/app_schema.py`. Must not
know: how prices are typed or shown, exchange rates, taxes or rounding policies.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from iso4217 import Currency

PRICE_MAX: Final = 1_000_000_000_000
"""Minor units; larger is a typing error."""

DIGITS_IF_UNKNOWN: Final = 2


@cache
def digits(currency: str) -> int:
    """Digits after the point of a currency's amounts; two where ISO 4217 does not say."""
    try:
        exponent: int | None = Currency(currency).exponent
    except ValueError:
        exponent = None
    return DIGITS_IF_UNKNOWN if exponent is None else exponent


def unusual_digits() -> dict[str, int]:
    """The currencies whose digits are not two, by their codes, in order."""
    found = {one.code: digits(one.code) for one in Currency}
    return {code: places for code, places in sorted(found.items()) if places != DIGITS_IF_UNKNOWN}
