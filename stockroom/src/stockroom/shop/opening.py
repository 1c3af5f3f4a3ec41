"""A shop is opened: once, with its name, its first store and its owner.

Knows: what has to be there before anybody can work. Must not know: who asks, a shell or a page.
What is cut off half-way is taken up by whoever asks again: until an owner can sign in, there is no
shop yet.
"""

from __future__ import annotations

import dataclasses
import os
import zoneinfo
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from iso4217 import Currency

from holdfast.core.errors import UsageError
from holdfast.server.identity import password_rules
from holdfast.server.identity.people import People
from holdfast.server.store.registry import User
from stockroom.schema import FIRST_TIME_ZONE, SHOP_ID
from stockroom.server.people import ADMIN, Person
from stockroom.shop.desk import Desk
from stockroom.shop.names import cleaned, folded
from stockroom.shop.roster import tell_roster
from stockroom.shop.staff import A_PERSON, call, is_owner
from stockroom.shop.stores import A_STORE, ensure_store, list_stores
from stockroom.shop.tables import Tables, upsert

LANGUAGES: Final = ("en",)
"""In which the app speaks. Numbers and dates follow each device besides."""
_LOCAL_TIME: Final = Path("/etc/localtime")
_ZONES: Final = "/zoneinfo/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """The shop itself, as it is written down."""

    name: str
    currency: str
    language: str
    time_zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Words of an owner who opens a shop. `password`: None leaves one as it is."""

    shop: Shop
    store: str
    owner: str
    password: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A shop that is ready for its owner; `new`: it was made by this."""

    shop: Shop
    store_id: str
    owner: str
    new: bool


def checked(wanted: Opening) -> Opening:
    """The same, cleaned. Raises `UsageError`: `bad_name`, `bad_currency`, `bad_language`,
    `bad_time_zone`, `bad_password`."""
    shop = wanted.shop
    code = shop.currency.strip().upper()
    if code not in currencies():
        raise UsageError(
            f"{shop.currency!r} is not a currency: name it by its three letters, such as EUR",
            code="bad_currency",
        )
    if shop.language not in LANGUAGES:
        raise UsageError(
            f"{shop.language!r} is not spoken here yet; there is: {', '.join(LANGUAGES)}",
            code="bad_language",
        )
    if shop.time_zone not in time_zones():
        raise UsageError(
            f"{shop.time_zone!r} is not a time zone: name it as Europe/Berlin", code="bad_time_zone"
        )
    owner = cleaned(wanted.owner, A_PERSON)
    if wanted.password is not None:
        password_rules.check(wanted.password, name=owner)
    return Opening(
        shop=Shop(
            name=cleaned(shop.name, "the shop"),
            currency=code,
            language=shop.language,
            time_zone=shop.time_zone,
        ),
        store=cleaned(wanted.store, A_STORE),
        owner=owner,
        password=wanted.password,
    )


def open_shop(desk: Desk, wanted: Opening) -> Opened:
    """Open the shop, or find that all of it is there already.

    Raises `UsageError`: `another_shop` where the database is another shop's, `no_password` for an
    owner who is new, and those of `checked`.
    """
    asked = checked(wanted)
    owners = [user.name for user in owners_of(desk.people)]
    named = {user.name: user for user in desk.people.users()}.get(asked.owner)
    if named is not None and not is_owner(named):
        raise UsageError(
            f"{asked.owner!r} is not an owner here: name another, or make them one with "
            "`stockroom user change`",
            code="exists",
        )
    if asked.password is None and asked.owner not in owners:
        raise UsageError("the owner needs a password to sign in with", code="no_password")
    with desk.transaction() as tables:
        found = read_shop(tables)
        stores = [one for one in list_stores(tables) if folded(one.name) == folded(asked.store)]
        if found is not None and owners:
            _check_same(found, asked, is_known=asked.owner in owners and bool(stores))
            return Opened(shop=found, store_id=stores[0].id, owner=asked.owner, new=False)
        values = dataclasses.asdict(asked.shop)
        upsert(tables, "shop", {"id": SHOP_ID}, values)
        store, _new = ensure_store(tables, asked.store, desk.now_us())
        call(tables, asked.owner, asked.owner)
    _let_in(desk.people, asked, named)
    with desk.transaction() as tables:
        tell_roster(tables, desk.people)
    return Opened(shop=asked.shop, store_id=store.id, owner=asked.owner, new=True)


def read_shop(tables: Tables) -> Shop | None:
    """The shop as it is written down, if it was set up."""
    rows = tables.execute(
        "SELECT name, currency, language, time_zone FROM shop WHERE id = ?", (SHOP_ID,)
    )
    if not rows:
        return None
    name, currency, language, time_zone = map(str, rows[0])
    return Shop(name=name, currency=currency, language=language, time_zone=time_zone)


def has_owner(people: People) -> bool:
    """Return whether an owner can sign in, or is in already: then the shop is open."""
    return bool(owners_of(people))


def owners_of(people: People) -> list[User]:
    """The owners who can come in: with a password, or on a device that they have."""
    return [
        user
        for user in people.users()
        if is_owner(user) and (user.password is not None or any(people.devices(user=user.name)))
    ]


def _check_same(found: Shop, asked: Opening, *, is_known: bool) -> None:
    """Raise `UsageError` for anything but the shop that is there."""
    if folded(found.name) != folded(asked.shop.name):
        raise UsageError(
            f"this is the database of another shop, {found.name!r}: name a file of its own for "
            f"{asked.shop.name!r} (--database)",
            code="another_shop",
        )
    if found.currency != asked.shop.currency:
        raise UsageError(
            f"{found.name!r} is set up already, in {found.currency}: leave the currency as it is",
            code="set_up_already",
        )
    if not is_known:
        raise UsageError(
            f"{found.name!r} is set up already, with another store or owner: add more with "
            "`stockroom store add` and `stockroom user add`",
            code="set_up_already",
        )


def _let_in(people: People, asked: Opening, named: User | None) -> None:
    if named is None:
        owner = Person(name=asked.owner, role=ADMIN, stores=("*",))
        people.add_user(
            owner.name, read=owner.read, write=owner.write, roles=(ADMIN,), password=asked.password
        )
    elif named.password is None:
        people.set_password(asked.owner, asked.password, keep_devices=True)
    for user in people.users():
        # Made by the first start of an older version, for a code that nobody has used.
        unused = user.name == ADMIN != asked.owner and user.password is None and not user.disabled
        if unused and not any(people.devices(user=ADMIN)):
            people.set_user(ADMIN, disabled=True)


@cache
def currencies() -> frozenset[str]:
    return frozenset(one.code for one in Currency)


@cache
def time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def local_time_zone() -> str:
    """The zone that this machine keeps, as far as it says so."""
    for said in (os.environ.get("TZ", "").lstrip(":"), _linked()):
        if said in time_zones():
            return said
    return FIRST_TIME_ZONE


def _linked() -> str:
    try:
        return str(_LOCAL_TIME.resolve()).partition(_ZONES)[2]
    except OSError:
        return ""
