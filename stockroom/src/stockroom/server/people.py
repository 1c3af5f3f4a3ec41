"""Roles and people: what each role may read and write, and who is there at the first start.

Knows: Stockroom's roles and scopes. Must not know: HTTP, or how devices enrol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.core.errors import UsageError
from holdfast.server.identity.people import People
from holdfast.server.store.registry import User

ADMIN: Final = "admin"
MANAGER: Final = "manager"
OWNER: Final = "owner"
"""What the engine's `admin` is called in a shop."""
TILL: Final = "till"
"""A device that several people share: it signs in as itself, and they enter their PINs there."""
COST: Final = "cost"
"""The scope of what goods cost the shop."""
_EVERYWHERE: Final = "store/*"
_STORE: Final = "store/"
DEMO_MARK: Final = "demo"
"""A role of the demo's people, by which they are known when the demo is over."""
DEMO_PASSWORD: Final = "stockroom demo"  # noqa: S105 - told to whoever starts the demo


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person who signs in. `stores`: where they work; `*` is every store. `called`: what others
    read, where that is another name."""

    name: str
    role: str
    stores: tuple[str, ...]
    called: str = ""

    @property
    def write(self) -> tuple[str, ...]:
        """The scopes they may write: all that happens at their stores, the catalogue, and for a
        manager what goods cost."""
        stores = tuple(f"store/{store}" for store in self.stores)
        more = {ADMIN: ("staff", COST), MANAGER: (COST,)}.get(self.role, ())
        return ("catalog", *stores, *more)

    @property
    def read(self) -> tuple[str, ...]:
        if self.role == TILL:
            return tuple(f"pin/{store}" for store in self.stores)
        return ("staff",) if self.role == MANAGER else ()


DEMO: Final = (
    Person(name="ada", role=ADMIN, stores=("*",), called="Ada Marsh"),
    Person(name="ben", role="manager", stores=("2",), called="Ben Okoro"),
    Person(name="mira", role="manager", stores=("1",), called="Mira Sato"),
    Person(name="dilan", role="employee", stores=("1",), called="Dilan Reyes"),
)
"""The people of the demo; each signs in with `DEMO_PASSWORD`."""


def role_of(user: User) -> str:
    """The role in the shop's words; somebody without one is an employee."""
    if ADMIN in user.roles:
        return OWNER
    return next((role for role in (MANAGER, TILL) if role in user.roles), "employee")


def stores_of(user: User) -> tuple[str, ...]:
    """The ids of the stores where somebody works."""
    return tuple(
        scope.removeprefix(_STORE)
        for scope in user.write
        if scope.startswith(_STORE) and scope != _EVERYWHERE
    )


def first_name_of(user: User) -> str:
    """Name of somebody until they, or an owner, say otherwise."""
    demo = {person.name: person.called for person in DEMO}
    return demo.get(user.name, user.name) if DEMO_MARK in user.roles else user.name


def add(
    people: People, person: Person, *, password: str | None = None, marks: tuple[str, ...] = ()
) -> None:
    """Add a person. `marks`: roles beside theirs. Raises `UsageError` (`exists`)."""
    people.add_user(
        person.name,
        read=person.read,
        write=person.write,
        roles=(person.role, *marks),
        password=password,
    )


def grant_costs(people: People) -> None:
    """Let managers and owners of an older version see what goods cost: it was in the catalogue."""
    for user in people.users():
        if {ADMIN, MANAGER}.intersection(user.roles) and COST not in user.write:
            people.set_user(user.name, write=(*user.write, COST))


def open_demo(people: People, *, password: str) -> None:
    """The demo's people may sign in with a password that whoever starts the demo is told.

    Raises `UsageError` (`not_a_demo`) where a shop's own people are already: nobody gets a key to a
    shop by a demo.
    """
    known = {user.name: user for user in people.users()}
    if known and not any(DEMO_MARK in user.roles for user in known.values()):
        raise UsageError(
            "this database is a shop's, not a demo's: start it without --demo, or name another "
            "file for the demo (--database)",
            code="not_a_demo",
        )
    for person in DEMO:
        user = known.get(person.name)
        if user is None:
            add(people, person, password=password, marks=(DEMO_MARK,))
        elif DEMO_MARK in user.roles:
            people.set_password(person.name, password, keep_devices=True)
            if user.disabled:
                people.set_user(person.name, disabled=False)


def end_demo(people: People) -> list[str]:
    """Without the demo nobody gets in by its people; their names, if any could."""
    ended = [u.name for u in people.users() if DEMO_MARK in u.roles and not u.disabled]
    for name in ended:
        people.set_user(name, disabled=True)
        people.set_password(name, None)
    return ended
