"""Tills on the server: several people work at one device, each in their own name.

Knows: who is at work at a till, and who may be. Must not know: PINs, or what is done there.
A till signs in as itself and says in its own row of `device` who is at work: what comes after that
row is theirs. The server sees no PIN typed; it takes a till's word for whoever has a PIN at its
store and is let in, and gives nobody there more than a manager may do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.server.identity.principal import Principal
    from holdfast.server.push.rules import RuleChange, RuleContext

TILL: Final = "till"
_ROLES: Final = {"employee": "employee", "manager": "manager", "owner": "manager"}
"""What somebody is at a till, by what they are: whoever takes one apart is no owner."""
_STORE: Final = "store/"


def is_till(principal: Principal) -> bool:
    """Return whether a device is shared by several people."""
    return TILL in principal.roles


def worker(context: RuleContext) -> Principal:
    """Return in whose name this is: whoever signed in, or at a till the person at work.

    Scopes are the device's own in any case. Nobody is "" without a role.
    """
    principal = context.principal
    if not is_till(principal):
        return principal
    login = _at_work(context)
    person = context.row("person", login) if login else None
    role = "" if person is None else _ROLES.get(str(person["role"]), "")
    return replace(principal, user=login, roles=(role,) if role else ())


def tills_are_worked_by_who_may(context: RuleContext) -> None:
    """Refuse what comes from a till while nobody is at work there, or somebody who may not be."""
    principal = context.principal
    if not is_till(principal) or all(says_who(change, principal) for change in context.changes):
        return
    login = _at_work(context)
    if not login:
        context.refuse("nobody_at_work", "Nobody was at work at this till: enter a PIN first.")
    person = context.row("person", login)
    if person is None or not person["role"]:
        context.refuse(
            "not_let_in",
            f"{_name(person, login)} is let in no more: ask a manager whether this is to stand.",
            person=login,
        )
    if not all(context.row("pin", store, login) for store in _stores(context)):
        context.refuse(
            "no_pin_here",
            f"{_name(person, login)} has no PIN for this till: ask a manager whether this is to "
            "stand.",
            person=login,
        )


def says_who(change: RuleChange, principal: Principal) -> bool:
    """Return whether a till says nothing here but who is at work at it."""
    old, new = change.old, change.new
    return (
        is_till(principal)
        and change.table == "device"
        and old is not None
        and new is not None
        and new["id"] == principal.device
        and new == {**old, "at_work": new["at_work"]}
    )


def _at_work(context: RuleContext) -> str:
    device = context.row("device", context.principal.device)
    return "" if device is None else str(device["at_work"])


def _stores(context: RuleContext) -> set[str]:
    """The stores that this is about; the till's own where it is about none."""
    rows = [row for change in context.changes for row in (change.old, change.new) if row]
    found = {str(row["store_id"]) for row in rows if "store_id" in row}
    scopes = context.principal.write
    return found or {s.removeprefix(_STORE) for s in scopes if s.startswith(_STORE)}


def _name(person: Mapping[str, Any] | None, login: str) -> str:
    return login if person is None else str(person["name"])
