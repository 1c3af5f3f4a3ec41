"""Checks that SQLite holds the columns of a policy to, beyond their type.

Knows: how conditions are written in SQLite's SQL. Must not know: what a policy decides.
``POLICIES`` has a row for each policy; a missing one is a type error. The same for PostgreSQL is
``sql.postgres.policies``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from holdfast.core.limits import SET_BYTES_MAX
from holdfast.schema.policies import ByPolicy


class PolicySql(NamedTuple):
    """The conditions of one policy; an empty one holds always."""

    check: Callable[[str], str]
    """A CHECK that a column's value fits its policy, from the column's quoted name."""
    unfit: Callable[[str, str], str]
    """A condition that the difference of two values, from before and after, cannot be said."""


def _leaps(before: str, after: str) -> str:
    """A difference that does not fit an integer: SQLite makes a real number of it."""
    return f"typeof({after} - {before}) = 'real'"


def _is_array(name: str) -> str:
    """An array, and not too large. SQLite tells the type of valid JSON only."""
    array = f"CASE WHEN json_valid({name}) THEN json_type({name}) = 'array' ELSE 0 END"
    return f"{array} AND length(CAST({name} AS BLOB)) <= {SET_BYTES_MAX}"


_ANY = PolicySql(check=lambda _name: "", unfit=lambda _before, _after: "")

POLICIES: ByPolicy[PolicySql] = {
    "latest": _ANY,
    "manual": _ANY,
    "counter": PolicySql(check=lambda _name: "", unfit=_leaps),
    "server": _ANY,
    "client": _ANY,
    "largest": _ANY,
    "smallest": _ANY,
    "set": PolicySql(check=_is_array, unfit=lambda _before, _after: ""),
}
