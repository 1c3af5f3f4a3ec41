"""A conflict about the amounts of a product: price, cost and currency are one decision.

Knows: how such a side is told, and what a person may type instead. Must not know: how a conflict is
settled. An amount is never told or taken without its currency.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from holdfast.core.errors import UsageError
from stockroom.money import format_price
from stockroom.prices import parse_or_none, parse_price

if TYPE_CHECKING:
    from holdfast.replica.inbox.inbox import Conflict

AMOUNTS = ("price", "cost")
_DECISIONS = ("price,cost,currency", "cost,currency")
"""Of a product, and of what it costs us where that is kept apart."""
_CODE: Final = re.compile(r"(.*?)(?:\s*([A-Za-z]{3}))?", re.DOTALL)


def is_about_amounts(conflict: Conflict) -> bool:
    return conflict.kind == "edit" and conflict.column in _DECISIONS


def asked(conflict: Conflict) -> tuple[str, ...]:
    """The amounts that a conflict is about: those that differ, or all of another currency."""
    one, other = conflict.device_value, conflict.server_value
    there = [name for name in AMOUNTS if (one.get(name), other.get(name)) != (None, None)]
    if one["currency"] != other["currency"]:
        return tuple(there)
    return tuple(name for name in there if one[name] != other[name]) or tuple(there[:1])


def told(conflict: Conflict, side: Mapping[str, Any]) -> str:
    """A side: `16.00 EUR`, or with the cost where that is in question too."""
    parts = []
    for name in asked(conflict):
        amount = side[name]
        text = "(empty)" if amount is None else format_price(amount, currency=side["currency"])
        parts.append(text if name == "price" else f"cost {text}")
    return ", ".join(parts)


def typed(conflict: Conflict, text: str) -> dict[str, Any]:
    """Return what a person types: `16.00`, `1600 JPY`, or a JSON object of all. Raises
    `UsageError`.
    """
    if text.lstrip().startswith("{"):
        return _from_json(text, [name for name in AMOUNTS if name in conflict.device_value])
    one, other = conflict.device_value, conflict.server_value
    amount, currency = _CODE.fullmatch(text.strip()).groups(default="")  # type: ignore[union-attr]
    currency = currency.upper()
    names = asked(conflict)
    if not currency and one["currency"] == other["currency"]:
        currency = one["currency"]
    if not currency:
        raise UsageError("the sides differ in currency: say it too, as in '16.00 EUR'",
                         code="bad_choice")  # fmt: skip
    with_cost = names != ("cost",) and one["cost"] is not None
    if len(names) > 1 or (with_cost and currency != one["currency"]):
        raise UsageError(
            'price and cost are in one currency: say all, as in \'{"price": "16.00", '
            '"cost": "9.00", "currency": "EUR"}\'', code="bad_choice",
        )  # fmt: skip
    return {**one, "currency": currency, names[0]: _amount(names[0], amount, currency)}


def _from_json(text: str, names: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(text)
        amounts = {name: found[name] for name in names}
        currency = str(found["currency"])
    except (ValueError, KeyError, TypeError):
        raise UsageError("price, cost and currency are one decision: say all of them",
                         code="bad_choice") from None  # fmt: skip
    return {"currency": currency} | {
        name: None if amount is None else _amount(name, str(amount), currency)
        for name, amount in amounts.items()
    }


def _amount(name: str, text: str, currency: str) -> int | None:
    read = parse_or_none if name == "cost" else parse_price
    return read(text, currency=currency)
