"""The merge policies: per policy what a change says, how it is made again, and who wins.

Knows: the functions of each policy, by name. Must not know: tables, SQL or messages.
``POLICIES`` has a row for each policy and a function in each of its cells; what is missing is a
type error, here and in its twin of the browser. Nothing else asks which policy a column has, but
for what its values must be (``schema.policies``, ``sql.policies``).

Upholds I18 and, by ``counter``, I21.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from holdfast.core import values
from holdfast.core.merging import choosing, counter, sets
from holdfast.core.merging.cells import Automatic, Decide
from holdfast.core.values import Value
from holdfast.schema.model import Column
from holdfast.schema.policies import ByPolicy


class Policy(NamedTuple):
    """Functions of one policy. A value is in its storage form, a word for it in its wire form."""

    replaces: bool
    """Whether an update says the new value, which takes the place of the old one: so it rests on
    what wrote that one, and says what it was. Otherwise it says a difference."""
    inherits: bool
    """Whether a change is based on what this device's earlier unsettled change of the column was
    based on; otherwise on the row's revision as last applied."""
    check: Callable[[Column, Any, bool], Value]
    """What a change says of a column, from its wire form; True: the change is an update. Raises
    ``BadValue``."""
    difference: Callable[[Value, Value], Value]
    """What an update says that makes of one value another."""
    between: Callable[[Value], tuple[Value, Value]]
    """A value before and one after, between which an update's difference is this."""
    replay: Callable[[Value, Value, Value], Value]
    """A value after a change, made elsewhere from a value before (None: an insert) to one after."""
    follow: Callable[[Value, Value], Value] | None
    """A value after a difference; None when that needs a closer look, and no function when it
    always does. The same as ``decide``, for a fraction of its cost."""
    join: Callable[[Value, Value], Value]
    """What two updates say, one after the other, as one."""
    decide: Decide
    """The value and its stamp after a change, and what goes on record."""
    show: Callable[[Column, Any], Any]
    """A value, or what an update says of it, from the wire form, as people read it in JSON."""


def _checked(column: Column, wire: Any, _updates: bool) -> Value:
    return values.wire_reader(column.type)(wire, column.scale)


def _shown(column: Column, wire: Any) -> Any:
    return values.plain(column.type, wire)


def _replacing(decide: Decide) -> Policy:
    """A policy under which one value takes the place of another."""
    return Policy(
        replaces=True,
        inherits=True,
        check=_checked,
        difference=lambda _before, after: after,
        between=lambda after: (None, after),
        replay=lambda _current, _before, after: after,
        follow=None,
        join=lambda _first, second: second,
        decide=decide,
        show=_shown,
    )


def _choosing(kind: Automatic, arriving_wins: choosing.ArrivingWins) -> Policy:
    return _replacing(choosing.chooses(kind, arriving_wins))


POLICIES: ByPolicy[Policy] = {
    "latest": _choosing("latest", choosing.is_later),
    "manual": _replacing(choosing.ask),
    "counter": Policy(
        replaces=False,
        inherits=True,
        check=_checked,
        difference=counter.difference,
        between=counter.between,
        replay=counter.replay,
        follow=counter.follow,
        join=counter.join,
        decide=counter.decide,
        show=_shown,
    ),
    "server": _choosing("server", lambda _cell, _incoming, _author: False),
    "client": _choosing("client", lambda _cell, _incoming, _author: True),
    "largest": _choosing("largest", choosing.is_larger),
    "smallest": _choosing("smallest", choosing.is_smaller),
    "set": Policy(
        replaces=False,
        inherits=False,
        check=sets.check,
        difference=sets.difference,
        between=sets.between,
        replay=sets.replay,
        follow=None,
        join=sets.join,
        decide=sets.decide,
        show=sets.show,
    ),
}


def policy_of(column: Column) -> Policy:
    """The policy of a column."""
    return POLICIES[column.merge]
