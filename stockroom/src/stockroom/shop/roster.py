"""The roster: what devices know of people and devices, so that screens speak in names.

Knows: which rows follow from who may sign in, and from which devices were let in. Must not know:
who may change a name, or where it is shown. The registry decides; rows only tell of it. They are
compared whenever a shop's database is opened, somebody is added or changed, or a device is let in:
a shop of an older version gets its rows that way, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.server.identity.people import People
from stockroom.server.people import first_name_of, role_of, stores_of
from stockroom.shop.pins import tell_pins
from stockroom.shop.tables import insert_if_new, upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.server.store.registry import User
    from stockroom.shop.tables import Tables

NO_ROLE: Final = ""
"""Of somebody who is let in no more."""


def tell_roster(tables: Tables, people: People) -> None:
    """Write what differs between the registry and what devices are told of it."""
    users = list(people.users())
    _tell_people(tables, users)
    _tell_stores(tables, users)
    tell_pins(tables, users)
    known = {str(device) for (device,) in tables.execute("SELECT id FROM device")}
    for one in people.devices():
        if one.registered and one.device not in known:
            # From here on its name is a row like others: people change it.
            insert_if_new(tables, "device", {"id": one.device, "name": one.name, "login": one.user})


def _tell_people(tables: Tables, users: Sequence[User]) -> None:
    known = {str(n): str(role) for n, role in tables.execute("SELECT login, role FROM person")}
    for user in users:
        role = NO_ROLE if user.disabled else role_of(user)
        if user.name not in known:
            insert_if_new(
                tables, "person", {"login": user.name, "name": first_name_of(user), "role": role}
            )
        elif known[user.name] != role:
            upsert(tables, "person", {"login": user.name}, {"role": role})


def _tell_stores(tables: Tables, users: Sequence[User]) -> None:
    wanted = {(s, user.name) for user in users if not user.disabled for s in stores_of(user)}
    rows = tables.execute("SELECT store_id, login FROM works_at")
    known = {(str(store), str(login)) for store, login in rows}
    for store, login in sorted(wanted - known):
        insert_if_new(tables, "works_at", {"store_id": store, "login": login})
    for store, login in sorted(known - wanted):
        tables.execute("DELETE FROM works_at WHERE store_id = ? AND login = ?", (store, login))
