"""Prices as they are read and stored: integer minor units.

Knows: how many digits a currency has (ISO 4217, from a kept table; the web app's is made from it by
`tools/app_schema.py`). Must not know: how prices are typed (`prices`), exchange rates,
taxes or rounding policies.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
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


def nearest_minor(text: str, *, currency: str) -> int:
    """Minor units nearest to an amount from a foreign file, halves away from zero."""
    amount = Decimal(text).scaleb(digits(currency))
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def format_price(minor: int, *, currency: str) -> str:
    """`1250`, `EUR` as `12.50 EUR`."""
    places = digits(currency)
    return f"{Decimal(minor).scaleb(-places):.{places}f} {currency}"
