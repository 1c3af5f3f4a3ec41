"""PINs of people at the shop's server: set, forgotten, and told to the tills of their stores.

Knows: which stores' tills somebody's PIN belongs to. Must not know: how a till asks for it.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from holdfast.core.errors import UsageError
from holdfast.core.values import Value
from stockroom.pins import SALT_BYTES, keep
from stockroom.server.people import OWNER, TILL, role_of, stores_of
from stockroom.shop.tables import insert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.server.store.registry import User
    from stockroom.shop.desk import Desk
    from stockroom.shop.tables import Tables

_Kept = dict[str, Value]


def set_pin(desk: Desk, user: User, pin: str) -> None:
    """Give somebody a PIN, at the tills of all stores where they work.

    Raises `UsageError`: `bad_pin`, `is_till`, `disabled`.
    """
    if role_of(user) == TILL:
        raise UsageError(
            f"{user.name} is a till: people have PINs, and enter them there", code="is_till"
        )
    if user.disabled:
        raise UsageError(f"{user.name} is locked out", code="disabled")
    made = keep(pin, secrets.token_bytes(SALT_BYTES))
    kept: _Kept = {"salt": made.salt, "hash": made.hash, "rounds": made.rounds}
    with desk.transaction() as tables:
        _forget(tables, user.name)
        for store in _stores(tables, user):
            insert(tables, "pin", {"store_id": store, "login": user.name, **kept})


def forget_pin(desk: Desk, user: User) -> None:
    """Take somebody's PIN away: they work at no till until they have a new one."""
    with desk.transaction() as tables:
        _forget(tables, user.name)


def who_has_pins(tables: Tables) -> set[str]:
    """Logins of those who have a PIN."""
    return {str(login) for (login,) in tables.execute("SELECT DISTINCT login FROM pin")}


def tell_pins(tables: Tables, users: Sequence[User]) -> None:
    """Let PINs follow people: to stores where they work now, away from others, and away with
    whoever is let in no more."""
    known: dict[str, dict[str, _Kept]] = {}
    rows = tables.execute("SELECT store_id, login, salt, hash, rounds FROM pin")
    for store, login, salt, digest, rounds in rows:
        kept: _Kept = {"salt": str(salt), "hash": str(digest), "rounds": int(rounds)}
        known.setdefault(str(login), {})[str(store)] = kept
    if not known:
        return
    by_name = {user.name: user for user in users if not user.disabled}
    for login, at in known.items():
        user = by_name.get(login)
        wanted = set() if user is None or role_of(user) == TILL else _stores(tables, user)
        one_of_them = next(iter(at.values()))
        for store in sorted(wanted - at.keys()):
            row = {"store_id": store, "login": login, **one_of_them}
            insert(tables, "pin", row)
        for store in sorted(at.keys() - wanted):
            tables.execute("DELETE FROM pin WHERE store_id = ? AND login = ?", (store, login))


def _forget(tables: Tables, login: str) -> None:
    tables.execute("DELETE FROM pin WHERE login = ?", (login,))


def _stores(tables: Tables, user: User) -> set[str]:
    """The stores where somebody works: an owner everywhere."""
    if role_of(user) == OWNER:
        return {str(store) for (store,) in tables.execute("SELECT id FROM store")}
    return {*stores_of(user)}
