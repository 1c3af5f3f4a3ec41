"""Permissions of the roles in this shop: read, allowed and denied.

Knows: the rows of `permission`. Must not know: who asks, or what enforces them.
"""

from __future__ import annotations

from holdfast.core.errors import UsageError
from stockroom.permissions import DEEDS, GIVEN_ROLES, is_allowed
from stockroom.shop.desk import Desk
from stockroom.shop.tables import Tables, upsert


def list_roles(tables: Tables) -> dict[str, dict[str, bool]]:
    """By role and deed, whether it is allowed."""
    rows = tables.execute("SELECT role, deed, allowed FROM permission")
    said = {(str(role), str(deed)): bool(allowed) for role, deed, allowed in rows}
    return {role: {deed: is_allowed(role, deed, said) for deed in DEEDS} for role in GIVEN_ROLES}


def set_allowed(desk: Desk, role: str, deed: str, *, allowed: bool) -> bool:
    """Allow a role something, or deny it; whether that is a change. Raises `UsageError`:
    `bad_role`, `bad_deed`."""
    if role not in GIVEN_ROLES:
        raise UsageError(
            f"{role!r} is not one of {', '.join(GIVEN_ROLES)}; an owner may do everything",
            code="bad_role",
        )
    if deed not in DEEDS:
        raise UsageError(f"{deed!r} is not one of {', '.join(DEEDS)}", code="bad_deed")
    with desk.transaction() as tables:
        if list_roles(tables)[role][deed] == allowed:
            return False
        upsert(tables, "permission", {"role": role, "deed": deed}, {"allowed": int(allowed)})
    return True
