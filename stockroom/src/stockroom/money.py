"""Prices as people type and read them, and as they are stored: integer minor units.

Knows: how many digits a currency has. Must not know: exchange rates, taxes or rounding policies.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

from holdfast.core.errors import UsageError

PRICE_MAX: Final = 1_000_000_000_000
"""Minor units; larger is a typing error."""

_DIGITS: Final = {"JPY": 0, "KRW": 0, "ISK": 0, "BHD": 3, "KWD": 3, "TND": 3}
"""Digits after the point, where they are not two (ISO 4217)."""


def digits(currency: str) -> int:
    """Digits after the point of a currency's amounts."""
    return _DIGITS.get(currency, 2)


def parse_price(text: str, *, currency: str) -> int:
    """Minor units of an amount such as `12.50`; more digits than the currency has are refused.

    Raises `UsageError` with the code `bad_price`.
    """
    try:
        amount = Decimal(text.strip())
        minor = amount.scaleb(digits(currency))
        whole = minor.to_integral_value()
    except (InvalidOperation, ValueError):
        raise UsageError(f"{text!r} is not a price, such as 12.50", code="bad_price") from None
    if not minor.is_finite() or minor != whole:
        raise UsageError(
            f"{text!r} has more than {digits(currency)} digits after the point", code="bad_price"
        )
    if not 0 <= whole <= PRICE_MAX:
        raise UsageError(f"{text!r} is no price a product can have", code="bad_price")
    return int(whole)


def nearest_minor(text: str, *, currency: str) -> int:
    """Minor units nearest to an amount from a foreign file, halves away from zero."""
    amount = Decimal(text).scaleb(digits(currency))
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def format_price(minor: int, *, currency: str) -> str:
    """`1250`, `EUR` as `12.50 EUR`."""
    places = digits(currency)
    return f"{Decimal(minor).scaleb(-places):.{places}f} {currency}"
