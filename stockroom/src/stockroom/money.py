"""Prices as they are read, shown and stored: integer minor units.

Knows: amounts of a currency as text. Must not know: exchange rates, taxes or rounding policies.
What people type is read in `prices`, and the digits of a currency are in `currencies`; whoever has
to do with money finds both here.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from stockroom.currencies import DIGITS_IF_UNKNOWN, PRICE_MAX, digits, unusual_digits
from stockroom.prices import parse_price

__all__ = (
    "DIGITS_IF_UNKNOWN", "PRICE_MAX", "digits", "format_price", "nearest_minor", "parse_price",
    "unusual_digits",
)  # fmt: skip


def nearest_minor(text: str, *, currency: str) -> int:
    """Minor units nearest to an amount from a foreign file, halves away from zero."""
    amount = Decimal(text).scaleb(digits(currency))
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def format_price(minor: int, *, currency: str) -> str:
    """`1250`, `EUR` as `12.50 EUR`."""
    places = digits(currency)
    return f"{Decimal(minor).scaleb(-places):.{places}f} {currency}"
