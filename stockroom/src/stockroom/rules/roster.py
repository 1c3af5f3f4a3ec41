"""Names on the server: everybody says what they and their devices are called, an owner for all.

Knows: which rows devices are told of people and devices, and which part of them is the server's.
Must not know: how people are kept. A role, and who works where, are decided by the registry: a row
that said otherwise would only lie to other devices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stockroom.rules.roles import OWNING
from stockroom.rules.tills import says_who, worker
from stockroom.shop.names import NAME_LENGTH_MAX

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleChange, RuleContext

_KEPT: Final = {"works_at": (), "person": ("role",), "device": ("login", "at_work")}
"""What the server alone writes of each table; all of it where nothing is named."""
_OWN: Final = {"person": "login", "device": "login"}
"""The column that says whose name it is."""
_WHOSE: Final = {
    "person": "what other people are called",
    "device": "what other people's devices are called",
}


def names_are_ones_own(context: RuleContext) -> None:
    """Refuse another's name to all but an owner, and roles, places and owners of devices to all."""
    who = worker(context)
    for change in context.changes:
        if change.table not in _KEPT or says_who(change, context.principal):
            continue
        if _touches_kept(change):
            context.refuse(
                "roster_is_kept",
                "Roles, and who works where, are changed on the page People.",
                row=change.key,
            )
        _check_name(context, change)
        if OWNING.intersection(who.roles):
            continue
        old = change.old
        if change.op != "update" or old is None or old[_OWN[change.table]] != who.user:
            context.refuse(
                "owners_only",
                f"Only the owner may change {_WHOSE[change.table]}: ask them to do it.",
                row=change.key,
            )


def _touches_kept(change: RuleChange) -> bool:
    kept = _KEPT[change.table]
    if not kept or change.new is None:
        return True
    return any(
        change.new[name] != ("" if change.old is None else change.old[name]) for name in kept
    )


def _check_name(context: RuleContext, change: RuleChange) -> None:
    name = "" if change.new is None else str(change.new["name"])
    if not name.strip() or len(name) > NAME_LENGTH_MAX:
        context.refuse(
            "bad_name",
            f"A name has 1 to {NAME_LENGTH_MAX} characters.",
            field="name",
            row=change.key,
        )
