"""Checks that PostgreSQL holds the columns of a policy to, beyond their type.

Knows: how conditions are written in PostgreSQL's SQL. Must not know: what a policy decides.
``CHECKS`` has a row for each policy; a missing one is a type error. The same for SQLite is
``sql.policies``.

Upholds I17: what one database takes, the other takes.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.limits import SET_BYTES_MAX
from holdfast.schema.policies import ByPolicy

Condition = Callable[[str], str]
"""A CHECK that a column's value fits its policy, from the column's quoted name; empty: always."""


def _any(_name: str) -> str:
    return ""


def _is_array(name: str) -> str:
    """An array, and not too large."""
    return f"json_typeof({name}::json) = 'array' AND octet_length({name}) <= {SET_BYTES_MAX}"


CHECKS: ByPolicy[Condition] = {
    "latest": _any,
    "manual": _any,
    "counter": _any,
    "server": _any,
    "client": _any,
    "largest": _any,
    "smallest": _any,
    "set": _is_array,
}
