"""The people of a shop: who they are, what they do there, and where.

Knows: roles and stores in the shop's words, and which scopes they come to. Must not know: command
lines, HTTP, or how a device enrols. A person signs in with their name as it was given; what others
read of them is a row of `person`, which every device has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from holdfast.core.errors import UsageError
from holdfast.server.identity.people import People
from holdfast.server.store.registry import DeviceReport, User
from stockroom.server.people import ADMIN, DEMO_MARK, OWNER, TILL, Person, role_of, stores_of
from stockroom.shop.desk import Desk
from stockroom.shop.names import cleaned, folded
from stockroom.shop.pins import who_has_pins
from stockroom.shop.roster import tell_roster
from stockroom.shop.stores import Store, find_store, list_stores
from stockroom.shop.tables import Tables, upsert

ROLES: Final = ("employee", "manager", OWNER, TILL)
"""As they are called in a shop; the engine's word for an owner is `admin`."""
INVITATION_MINUTES: Final = 30
A_PERSON: Final = "a person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person of the shop. `stores`: ids; empty for an owner, who works everywhere.

    `login`: what they sign in with; `last_seen`: of their devices, in µs, 0 for never.
    """

    login: str
    name: str
    role: str
    stores: tuple[str, ...]
    has_password: bool
    disabled: bool
    has_pin: bool = False
    devices: int = 0
    last_seen: int = 0


def list_staff(desk: Desk) -> list[Member]:
    """Everybody who may sign in, or might again, by name."""
    with desk.transaction() as tables:
        names = names_by_login(tables)
        pins = who_has_pins(tables)
    devices: dict[str, list[DeviceReport]] = {}
    for one in desk.people.devices():
        if one.registered and not one.revoked:
            devices.setdefault(one.user, []).append(one)
    found = [
        replace(
            _member(user, names.get(user.name, user.name), devices.get(user.name, [])),
            has_pin=user.name in pins,
        )
        for user in desk.people.users()
    ]
    return sorted(found, key=lambda one: folded(one.name))


def find_member(people: People, wanted: str) -> User:
    """Whoever signs in with this name. Raises `UsageError`: `unknown_user`, `user_unclear`."""
    users = list(people.users())
    found = [user for user in users if user.name == wanted] or [
        user for user in users if folded(user.name) == folded(wanted)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"several people are called {wanted!r} but for case: type it exactly",
            code="user_unclear",
        )
    known = ", ".join(user.name for user in users if not user.disabled) or "none yet"
    raise UsageError(f"there is no user {wanted!r}; there are: {known}", code="unknown_user")


def add_member(
    desk: Desk,
    name: str,
    *,
    role: str,
    stores: Sequence[str] = (),
    password: str | None = None,
) -> tuple[Member, bool]:
    """Let somebody in; whether they are new. Whoever is there in the same role stays as they are.

    `stores`: names or ids; none is the only one there is. Raises `UsageError`: `bad_role`,
    `no_store`, `unknown_store`, `exists`, `bad_name`, `bad_password`.
    """
    login = cleaned(name, A_PERSON)
    with desk.transaction() as tables:
        chosen = _chosen(list_stores(tables), role, stores)
        known = names_by_login(tables)
    wanted = _person(login, role, chosen)
    for user in desk.people.users():
        if folded(user.name) != folded(login):
            continue
        same = user.name == login and not user.disabled
        if same and (role_of(user), set(user.write)) == (role, set(wanted.write)):
            return _member(user, known.get(login, login), []), False
        raise UsageError(
            f"there is {user.name!r} already, {_described(user)}: change their role or stores with "
            "`stockroom user change`, or give the new one another name, such as with an initial",
            code="exists",
        )
    user = desk.people.add_user(
        login, read=wanted.read, write=wanted.write, roles=(wanted.role,), password=password
    )
    with desk.transaction() as tables:
        call(tables, login, login)
        tell_roster(tables, desk.people)
    return _member(user, login, []), True


def change_member(
    desk: Desk,
    name: str,
    *,
    role: str | None = None,
    stores: Sequence[str] | None = None,
    disabled: bool | None = None,
    called: str | None = None,
) -> Member:
    """Change somebody's role, stores, what others call them, or whether they may come in; at once.

    The last owner stays one. Raises `UsageError`: `unknown_user`, `last_owner`, `bad_role`,
    `no_store`, `unknown_store`, `bad_name`.
    """
    new_name = None if called is None else cleaned(called, A_PERSON)
    user = find_member(desk.people, name)
    new_role = role or role_of(user)
    if is_owner(user) and (new_role != OWNER or disabled):
        others = [one for one in desk.people.users() if one.name != user.name and is_owner(one)]
        if not others:
            raise UsageError(
                f"{user.name} is the only owner: make somebody else an owner first",
                code="last_owner",
            )
    with desk.transaction() as tables:
        known = list_stores(tables)
        names = names_by_login(tables)
    person = None
    if role is not None or stores is not None:
        at = stores if stores is not None else stores_of(user)
        person = _person(user.name, new_role, _chosen(known, new_role, at))
    changed = desk.people.set_user(
        user.name,
        read=None if person is None else person.read,
        write=None if person is None else person.write,
        roles=None if person is None else (person.role, *_marks(user)),
        disabled=disabled,
    )
    with desk.transaction() as tables:
        if new_name is not None:
            call(tables, user.name, new_name)
        tell_roster(tables, desk.people)
    return _member(changed, new_name or names.get(user.name, user.name), [])


def names_by_login(tables: Tables) -> dict[str, str]:
    """Names of people by what they sign in with."""
    rows = tables.execute("SELECT login, name FROM person")
    return {str(login): str(name) for login, name in rows}


def list_devices(desk: Desk) -> list[DeviceReport]:
    """The devices that were let in, each under the name that people have given it."""
    with desk.transaction() as tables:
        rows = tables.execute("SELECT id, name FROM device")
    names = {str(device): str(name) for device, name in rows}
    return [
        replace(one, name=names.get(one.device) or one.name)
        for one in desk.people.devices()
        if one.registered
    ]


def rename_device(desk: Desk, device: str, name: str) -> str:
    """Give a device another name, and return it. Raises `UsageError` (`bad_name`)."""
    new = cleaned(name, "a device")
    with desk.transaction() as tables:
        tell_roster(tables, desk.people)
        upsert(tables, "device", {"id": device}, {"name": new})
    return new


def call(tables: Tables, login: str, name: str) -> None:
    """Write what somebody is called."""
    upsert(tables, "person", {"login": login}, {"name": name})


def is_owner(user: User) -> bool:
    """Return whether somebody may do everything, and can come in to do it."""
    return ADMIN in user.roles and DEMO_MARK not in user.roles and not user.disabled


def _person(login: str, role: str, stores: Sequence[Store]) -> Person:
    if role == OWNER:
        return Person(name=login, role=ADMIN, stores=("*",))
    return Person(name=login, role=role, stores=tuple(one.id for one in stores))


def _chosen(known: Sequence[Store], role: str, stores: Sequence[str]) -> list[Store]:
    if role not in ROLES:
        raise UsageError(f"{role!r} is not one of the roles {', '.join(ROLES)}", code="bad_role")
    if role == OWNER:
        return []
    if stores:
        found = {store.id: store for store in (find_store(known, one) for one in stores)}
        return [*found.values()]
    if len(known) == 1:
        return [known[0]]
    names = ", ".join(one.shown for one in known) or "none yet"
    raise UsageError(
        f"say at which store the {role} works (--store NAME); there are: {names}", code="no_store"
    )


def _marks(user: User) -> tuple[str, ...]:
    return tuple(role for role in user.roles if role == DEMO_MARK)


def _described(user: User) -> str:
    if user.disabled:
        return "who is locked out"
    role = role_of(user)
    return f"{'an' if role[0] in 'aeo' else 'a'} {role}"


def _member(user: User, name: str, devices: Sequence[DeviceReport]) -> Member:
    return Member(
        login=user.name,
        name=name,
        role=role_of(user),
        stores=stores_of(user),
        has_password=user.password is not None,
        disabled=user.disabled,
        devices=len(devices),
        last_seen=max((one.last_seen for one in devices), default=0),
    )
