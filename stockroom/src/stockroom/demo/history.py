"""Months of an invented retailer: deliveries, sales with a weekly rhythm, and what goes wrong.

Knows: how stock of the demo moves. Must not know: how rows are stored or synced.
All of it comes from one seed and the day it ends on; nothing of it is about real people or goods.
A demo of a given size has exactly so many movements: each store gets its share, a third of it to
begin with, and each day as much of the rest as its weekday takes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import accumulate
from typing import Final

from stockroom import ids
from stockroom.demo.goods import Good
from stockroom.stock import Movement

DAYS: Final = 120
STORES: Final = (
    ("1", "Harbour Street", 1.0),
    ("2", "Mill Lane", 0.6),
    ("3", "Station Arcade", 1.3),
)
"""Id, name, and how busy it is."""

PEOPLE: Final = (
    ("ada", "Ada Marsh", "admin"),
    ("ben", "Ben Okoro", "manager"),
    ("chiara", "Chiara Lund", "manager"),
    ("dilan", "Dilan Reyes", "employee"),
    ("edith", "Edith Voss", "employee"),
    ("femi", "Femi Castell", "employee"),
)
"""What they sign in with, name and role."""

SIGN_IN: Final = ("ada", "ben", "dilan")
"""Those of them who are the demo server's people, too."""

_SALES_BY_WEEKDAY: Final = (0.7, 0.7, 0.8, 0.9, 1.2, 1.9, 0.0)
"""Monday to Sunday; shops are closed on Sunday."""

_DELIVERY_WEEKDAYS: Final = (1, 3)
_SALES_A_DAY: Final = 34
REORDER_AT_MIN: Final = 2
_UNLOADING_MINUTES: Final = 200
_SHARE_MAX: Final = 0.05
"""In a demo of a given size: what one product can have of a store's sales."""
_OPENINGS: Final = 3
"""In a demo of a given size, one in so many movements is the opening stock of a product."""
_MISHAPS: Final = (
    ("damage", "broken in the shop", 0.5),
    ("theft", "missing from the shelf", 0.2),
    ("use", "used for the window", 0.15),
    ("found", "found in the stock room", 0.15),
)

Told = Callable[[int], None]
"""Hears how many movements there are so far."""


@dataclass(slots=True)
class Shelf:
    """One product at one store, while its months are made."""

    number: int
    good: Good
    weight: float
    reorder_at: int = 0
    order_up_to: int = 0
    on_hand: int = 0
    ordered: int = 0


@dataclass(slots=True)
class Store:
    """``sales``: on an ordinary day. ``target``: how many movements it is to have, if set."""

    id: str
    shelves: list[Shelf]
    sales: float
    target: int | None = None
    movements: list[Movement] = field(default_factory=list)
    deliveries: int = 0
    low: set[int] = field(default_factory=set)
    open_orders: set[int] = field(default_factory=set)
    shares: list[float] = field(default_factory=list)

    @property
    def people(self) -> list[str]:
        own = int(self.id) - 1
        return [PEOPLE[own][0], PEOPLE[own + 3][0]]

    @property
    def missing(self) -> int:
        return 0 if self.target is None else self.target - len(self.movements)

    @property
    def is_full(self) -> bool:
        return self.target is not None and self.missing <= 0


def keep_shops(
    goods: list[Good],
    rng: random.Random,
    *,
    ends: date,
    days: int = DAYS,
    movements: int | None = None,
    told: Told = lambda _count: None,
) -> list[Store]:
    """The history of ``days`` days of all stores, the last of them the day before ``ends``."""
    busy = sum(share for _, _, share in STORES)
    stores = []
    left = movements
    for number, (name, _, share) in enumerate(STORES):
        if movements is None or left is None:
            stores.append(_open(name, share * _SALES_A_DAY, goods, rng))
            continue
        target = left if number == len(STORES) - 1 else round(movements * share / busy)
        left -= target
        count = min(len(goods), target, max(1, target // _OPENINGS))
        carried = rng.sample(goods, count)
        sales = (target - len(carried)) / (days * sum(_SALES_BY_WEEKDAY) / 7)
        stores.append(_open(name, sales, carried, rng, target))
    done = 0
    for store in stores:
        _keep_shop(store, rng, ends=ends, days=days, told=partial(_told_after, told, done))
        done += len(store.movements)
    return stores


def _told_after(told: Told, before: int, count: int) -> None:
    told(before + count)


def _open(
    store: str, sales: float, goods: list[Good], rng: random.Random, target: int | None = None
) -> Store:
    shelves = []
    for number, good in enumerate(goods):
        # A few goods make most of the sales, others hardly move.
        weight = rng.paretovariate(1.1) * 600 / (good.price + 300)
        shelves.append(Shelf(number=number, good=good, weight=weight))
    total = sum(shelf.weight for shelf in shelves)
    most = total if target is None else total * _SHARE_MAX
    for shelf in shelves:
        shelf.weight = min(shelf.weight, most) / total
        daily = shelf.weight * sales * 1.6
        shelf.reorder_at = max(REORDER_AT_MIN, round(daily * 4))
        shelf.order_up_to = max(shelf.good.pack, round(daily * 16))
    shares = list(accumulate(shelf.weight for shelf in shelves))
    return Store(id=store, shelves=shelves, sales=sales, target=target, shares=shares)


def _keep_shop(store: Store, rng: random.Random, *, ends: date, days: int, told: Told) -> None:
    first = ends - timedelta(days=days)
    for shelf in store.shelves:
        quantity = rng.randint(shelf.reorder_at, shelf.order_up_to + shelf.good.pack)
        _move(store, shelf, rng, _at(first, 7 * 60, rng), quantity=quantity, kind="opening")
    rhythm = [_SALES_BY_WEEKDAY[(first + timedelta(days=n)).weekday()] for n in range(days)]
    for number in range(days):
        day = first + timedelta(days=number)
        # What is still missing of a set number is spread over the days that are left.
        rest = sum(rhythm[number:])
        quota = round(store.missing * rhythm[number] / rest) if rest else 0
        wanted = len(store.movements) + quota
        if day.weekday() in _DELIVERY_WEEKDAYS:
            _receive(store, rng, day)
        _sell(store, rng, day, wanted - len(store.movements))
        if rng.random() < 0.35 and day.weekday() != 6 and not store.is_full:
            _mishap(store, rng, day)
        for at in sorted(store.low):
            # Somebody forgets to order now and then: that is what the low-stock list is for.
            if rng.random() < 0.8:
                shelf = store.shelves[at]
                packs = -(-(shelf.order_up_to - shelf.on_hand) // shelf.good.pack)
                shelf.ordered = packs * shelf.good.pack
                store.low.discard(at)
                store.open_orders.add(at)
        told(len(store.movements))


def _receive(store: Store, rng: random.Random, day: date) -> None:
    orders: dict[int, list[Shelf]] = {}
    for number in sorted(store.open_orders):
        shelf = store.shelves[number]
        orders.setdefault(shelf.good.supplier, []).append(shelf)
    for supplier in sorted(orders):
        if rng.random() < 0.25:
            continue  # comes next time
        store.deliveries += 1
        document = f"DN-{store.id}{supplier + 1}-{store.deliveries:04d}"
        minute = rng.randint(8 * 60, 11 * 60)
        for number, shelf in enumerate(orders[supplier], start=1):
            if store.is_full:
                return
            quantity, shelf.ordered = shelf.ordered, 0
            store.open_orders.discard(shelf.number)
            at = _at(day, minute + min(number, _UNLOADING_MINUTES), rng)
            _move(store, shelf, rng, at, quantity=quantity, kind="receive", document=document)


def _sell(store: Store, rng: random.Random, day: date, quota: int) -> None:
    if not store.shelves:
        return
    ordinary = round(store.sales * _SALES_BY_WEEKDAY[day.weekday()])
    sales = ordinary if store.target is None else max(0, quota)
    for shelf in rng.choices(store.shelves, cum_weights=store.shares, k=sales):
        if store.is_full:
            return
        quantity = min(shelf.on_hand, rng.choice((1, 1, 1, 2, 2, 3, 4)))
        if quantity < 1:
            if store.target is not None:  # a large shop has a van that fetches what is asked for
                at = _at(day, 8 * 60, rng)
                _move(store, shelf, rng, at, quantity=shelf.good.pack, kind="receive")
            continue
        minute = rng.randint(9 * 60, 18 * 60)
        _move(store, shelf, rng, _at(day, minute, rng), quantity=-quantity, kind="sale")
        if rng.random() < 0.02 and not store.is_full:
            at = _at(day, minute + 45, rng)
            _move(store, shelf, rng, at, quantity=quantity, kind="customer_return")


def _mishap(store: Store, rng: random.Random, day: date) -> None:
    kind, reason, _ = rng.choices(_MISHAPS, [share for _, _, share in _MISHAPS])[0]
    shelf = rng.choice(store.shelves)
    quantity = 1 if kind == "found" else -min(shelf.on_hand, rng.randint(1, 3))
    if quantity:
        at = _at(day, rng.randint(9 * 60, 18 * 60), rng)
        _move(store, shelf, rng, at, quantity=quantity, kind=kind, reason=reason)


def _at(day: date, minute: int, rng: random.Random) -> datetime:
    """Some second of a minute of a day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return midnight + timedelta(minutes=minute, seconds=rng.randint(0, 59))


def _move(
    store: Store,
    shelf: Shelf,
    rng: random.Random,
    at: datetime,
    *,
    quantity: int,
    kind: str,
    reason: str = "",
    document: str = "",
) -> None:
    now_us = int(at.timestamp()) * 1_000_000
    shelf.on_hand += quantity
    if shelf.on_hand + shelf.ordered <= shelf.reorder_at:
        store.low.add(shelf.number)
    else:
        store.low.discard(shelf.number)
    store.movements.append(
        Movement(
            id=ids.new_id(now_us, rng.randbytes),
            product_id=shelf.good.id,
            location_id=ids.first_location_id(store.id),
            store_id=store.id,
            quantity=quantity,
            kind=kind,
            reason=reason,
            document=document,
            person=rng.choice(store.people),
            device=f"till-{store.id}"
            if kind in ("sale", "customer_return")
            else f"tablet-{store.id}",
            occurred_at=now_us,
        )
    )
