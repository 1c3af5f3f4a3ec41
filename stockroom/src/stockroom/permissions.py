"""Permissions of each role: the deeds that a shop decides about, and what holds until it does.

Knows: deeds and roles by their names. Must not know: how they are kept, told or enforced.
An owner may do everything, and nobody else changes what roles may do, the shop itself, or people's
names. What somebody may see is no deed: that is decided by scopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GIVEN_ROLES: Final = ("employee", "manager")
"""Roles that a shop gives more or less to."""

BY_EMPLOYEES: Final = ("add", "word", "receive", "sell", "adjust", "undo")
"""What everybody may in the beginning: add products, word them, receive, sell, adjust stock, and
undo what others have booked."""
BY_MANAGERS: Final = ("price", "archive", "code", "supplier", "store")
"""What managers may besides: prices and units, archiving, codes and categories that are there,
suppliers and when to order again, the stores where they work."""
DEEDS: Final = (*BY_EMPLOYEES, *BY_MANAGERS)
_OF_COLUMNS: Final = {
    **dict.fromkeys(("price", "unpriced", "cost", "currency", "unit"), "price"),
    **dict.fromkeys(("archived", "merged_into"), "archive"),
}


def deed_of(column: str) -> str:
    """Return what whoever changes this column of a product does."""
    return _OF_COLUMNS.get(column, "word")


def default_of(role: str, deed: str) -> bool:
    """Return whether a role may do this where the shop has said nothing."""
    return role == "manager" or deed in BY_EMPLOYEES


def is_allowed(role: str, deed: str, said: Mapping[tuple[str, str], bool]) -> bool:
    """Return whether a role may do this. `said`: what the shop has, by role and deed."""
    return role not in GIVEN_ROLES or said.get((role, deed), default_of(role, deed))
