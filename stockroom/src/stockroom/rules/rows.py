"""Rows that a rule asks for by many values at once.

Knows: that databases bound the parameters of a statement. Must not know: what the rows are for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleContext

_VALUES_MAX: Final = 500
"""A transaction may have 50,000 changes: SQLite takes 32,766 parameters, PostgreSQL 65,535."""


def rows_in(
    context: RuleContext, sql: str, wanted: Iterable[str], *, at_most: int = _VALUES_MAX
) -> list[dict[str, Any]]:
    """Return the rows of a query that ends with `IN`, for all values, `at_most` in one statement.

    More in one statement is better where each one reads a whole table.
    """
    ordered, found = sorted(set(wanted)), []
    for start in range(0, len(ordered), at_most):
        some = ordered[start : start + at_most]
        found += context.query(f"{sql} ({', '.join('?' * len(some))})", some)
    return found
