"""The merge policies by name, and what a column must be to have each.

Knows: types and values. Must not know: tables, SQL, or how a policy decides (``core.merging``).
``RULES`` has a row for each policy; a missing one is a type error (``ByPolicy``). Other tables of
this form are ``core.merging.policies`` (what it does), ``sql.policies`` and
``sql.postgres.policies`` (what a database holds its columns to), and ``core/merging/policies.ts``
of the browser.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypedDict, TypeVar, get_args

from holdfast.core import values

MergePolicy = Literal[
    "latest", "manual", "counter", "server", "client", "largest", "smallest", "set"
]
POLICIES: tuple[MergePolicy, ...] = get_args(MergePolicy)

T = TypeVar("T")


class ByPolicy(TypedDict, Generic[T]):
    """One of something for each policy: a table without one of them has a wrong type, and so has a
    look-up by a policy that is not named here."""

    latest: T
    manual: T
    counter: T
    server: T
    client: T
    largest: T
    smallest: T
    set: T


class Rule(NamedTuple):
    """Rule for columns of one policy."""

    types: tuple[str, ...]
    nullable: bool
    """Whether it may be NULL."""
    grouped: bool
    """Whether it may be in a group: its policy chooses between two values, and makes no third one
    of them."""
    start: values.Value
    """The default where none is declared."""
    meant: str
    """What is said to whoever breaks the rule."""
    takes: Callable[[values.Value], bool] = lambda _default: True
    """Whether a value of its type may be the default."""


def _any(*, grouped: bool) -> Rule:
    return Rule(values.TYPES, True, grouped, None, "")


RULES: ByPolicy[Rule] = {
    "latest": _any(grouped=True),
    "manual": _any(grouped=True),
    "counter": Rule(("integer",), False, False, 0, "a counter is an integer and never null"),
    "server": _any(grouped=True),
    "client": _any(grouped=True),
    "largest": _any(grouped=False),
    "smallest": _any(grouped=False),
    "set": Rule(
        ("json",),
        False,
        False,
        "[]",
        "a set is json, never null, and its default an array",
        takes=lambda default: str(default).lstrip(" \t\n\r").startswith("["),
    ),
}


def misfit(policy: MergePolicy, type_name: str, *, nullable: bool, default: values.Value) -> str:
    """Say why a column cannot have a policy; empty when it can. ``default``: in storage form."""
    rule = RULES[policy]
    fits = type_name in rule.types and (rule.nullable or not nullable)
    return "" if fits and rule.takes(default) else rule.meant
