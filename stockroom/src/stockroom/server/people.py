"""Who works here: what each role may read and write, and who is there at the first start.

Knows: Stockroom's roles and scopes. Must not know: HTTP, or how devices enrol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from holdfast.server.people import People

ADMIN: Final = "admin"
DEMO_PASSWORD: Final = "stockroom demo"  # noqa: S105 - told to whoever starts the demo


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person who signs in. `stores`: where they work; `*` is every store."""

    name: str
    role: str
    stores: tuple[str, ...]

    @property
    def write(self) -> tuple[str, ...]:
        """The scopes they may write: all that happens at their stores, and the catalogue."""
        stores = tuple(f"store/{store}" for store in self.stores)
        return ("catalog", *stores, *(("staff",) if self.role == ADMIN else ()))

    @property
    def read(self) -> tuple[str, ...]:
        return ("staff",) if self.role == "manager" else ()


DEMO: Final = (
    Person(name="ada", role=ADMIN, stores=("*",)),
    Person(name="ben", role="manager", stores=("2",)),
    Person(name="mira", role="manager", stores=("1",)),
    Person(name="dilan", role="employee", stores=("1",)),
)
"""The people of the demo; each signs in with `DEMO_PASSWORD`."""


def add(people: People, person: Person, *, password: str | None = None) -> None:
    """Add a person. Raises `UsageError` (`exists`)."""
    people.add_user(
        person.name, read=person.read, write=person.write, roles=(person.role,), password=password
    )


def first_admin(people: People) -> str | None:
    """On the very first start: add an admin; a one-time code with which a device enrols.

    None when somebody is there already.
    """
    if next(iter(people.users()), None) is not None:
        return None
    add(people, Person(name=ADMIN, role=ADMIN, stores=("*",)))
    return people.invite(ADMIN).code
