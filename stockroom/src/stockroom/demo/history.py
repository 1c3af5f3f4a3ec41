"""Months of an invented retailer: deliveries, sales with a weekly rhythm, and what goes wrong.

Knows: how stock of the demo moves. Must not know: how rows are stored or synced.
All of it comes from one seed and the day it ends on; nothing of it is about real people or goods.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from stockroom import ids
from stockroom.demo.goods import CURRENCY, SUPPLIERS, Good, make_goods
from stockroom.schema import FIRST_LOCATION_NAME
from stockroom.stock import Movement

DAYS: Final = 120
STORES: Final = (
    ("1", "Harbour Street", 1.0),
    ("2", "Mill Lane", 0.6),
    ("3", "Station Arcade", 1.3),
)
"""Id, name, and how busy it is."""

PEOPLE: Final = (
    ("Ada Marsh", "admin"),
    ("Ben Okoro", "manager"),
    ("Chiara Lund", "manager"),
    ("Dilan Reyes", "employee"),
    ("Edith Voss", "employee"),
    ("Femi Castell", "employee"),
)
"""Name and role."""

_SALES_BY_WEEKDAY: Final = (0.7, 0.7, 0.8, 0.9, 1.2, 1.9, 0.0)
"""Monday to Sunday; shops are closed on Sunday."""

_DELIVERY_WEEKDAYS: Final = (1, 3)
_SALES_A_DAY: Final = 34
_MISHAPS: Final = (
    ("damage", "broken in the shop", 0.5),
    ("theft", "missing from the shelf", 0.2),
    ("use", "used for the window", 0.15),
    ("found", "found in the stock room", 0.15),
)

Cell = str | int | None
Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Demo:
    """Rows of each table, in the order of ``columns``; parents come before children."""

    columns: dict[str, tuple[str, ...]]
    rows: dict[str, list[Row]]


@dataclass(slots=True)
class _Shelf:
    """One product at one store, while its months are made."""

    good: Good
    weight: float
    reorder_at: int = 0
    order_up_to: int = 0
    on_hand: int = 0
    ordered: int = 0


@dataclass(slots=True)
class _Store:
    id: str
    busy: float
    shelves: list[_Shelf]
    movements: list[Movement] = field(default_factory=list)
    deliveries: int = 0

    @property
    def people(self) -> list[str]:
        own = int(self.id) - 1
        return [PEOPLE[own][0], PEOPLE[own + 3][0]]


def make_demo(*, seed: int, ends: date, days: int = DAYS) -> Demo:
    """The whole history of ``days`` days, the last of them the day before ``ends``."""
    rng = random.Random(f"{seed}/demo")
    goods = make_goods(rng)
    stores = [_open(store, busy, goods, rng) for store, _, busy in STORES]
    for store in stores:
        _keep_shop(store, rng, ends=ends, days=days)
    return _rows(goods, stores)


def _open(store: str, busy: float, goods: list[Good], rng: random.Random) -> _Store:
    shelves = []
    for good in goods:
        # A few goods make most of the sales, others hardly move.
        weight = rng.paretovariate(1.1) * 600 / (good.price + 300)
        shelves.append(_Shelf(good=good, weight=weight))
    total = sum(shelf.weight for shelf in shelves)
    for shelf in shelves:
        shelf.weight /= total
        daily = shelf.weight * busy * _SALES_A_DAY * 1.6
        shelf.reorder_at = max(2, round(daily * 4))
        shelf.order_up_to = max(shelf.good.pack, round(daily * 16))
    return _Store(id=store, busy=busy, shelves=shelves)


def _keep_shop(store: _Store, rng: random.Random, *, ends: date, days: int) -> None:
    first = ends - timedelta(days=days)
    for shelf in store.shelves:
        quantity = rng.randint(shelf.reorder_at, shelf.order_up_to + shelf.good.pack)
        _move(store, shelf, rng, _at(first, 7 * 60, rng), quantity=quantity, kind="opening")
    for number in range(days):
        day = first + timedelta(days=number)
        if day.weekday() in _DELIVERY_WEEKDAYS:
            _receive(store, rng, day)
        _sell(store, rng, day)
        if rng.random() < 0.35 and day.weekday() != 6:
            _mishap(store, rng, day)
        for shelf in store.shelves:
            # Somebody forgets to order now and then: that is what the low-stock list is for.
            if shelf.on_hand + shelf.ordered <= shelf.reorder_at and rng.random() < 0.8:
                packs = -(-(shelf.order_up_to - shelf.on_hand) // shelf.good.pack)
                shelf.ordered = packs * shelf.good.pack


def _receive(store: _Store, rng: random.Random, day: date) -> None:
    supplied = {shelf.good.supplier for shelf in store.shelves if shelf.ordered}
    for supplier in sorted(supplied):
        if rng.random() < 0.25:
            continue  # comes next time
        store.deliveries += 1
        document = f"DN-{store.id}{supplier + 1}-{store.deliveries:04d}"
        minute = rng.randint(8 * 60, 11 * 60)
        for shelf in store.shelves:
            if shelf.good.supplier == supplier and shelf.ordered:
                minute += 1
                _move(
                    store, shelf, rng, _at(day, minute, rng),
                    quantity=shelf.ordered, kind="receive", document=document,
                )  # fmt: skip
                shelf.ordered = 0


def _sell(store: _Store, rng: random.Random, day: date) -> None:
    sales = round(_SALES_A_DAY * store.busy * _SALES_BY_WEEKDAY[day.weekday()])
    chosen = rng.choices(store.shelves, [shelf.weight for shelf in store.shelves], k=sales)
    for shelf in chosen:
        quantity = min(shelf.on_hand, rng.choice((1, 1, 1, 2, 2, 3, 4)))
        if quantity < 1:
            continue
        minute = rng.randint(9 * 60, 18 * 60)
        _move(store, shelf, rng, _at(day, minute, rng), quantity=-quantity, kind="sale")
        if rng.random() < 0.02:
            at = _at(day, minute + 45, rng)
            _move(store, shelf, rng, at, quantity=quantity, kind="customer_return")


def _mishap(store: _Store, rng: random.Random, day: date) -> None:
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
    store: _Store,
    shelf: _Shelf,
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
    store.movements.append(
        Movement(
            id=ids.new_id(now_us, rng.randbytes),
            product_id=ids.product_id(shelf.good.sku),
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


def _rows(goods: list[Good], stores: list[_Store]) -> Demo:
    columns: dict[str, tuple[str, ...]] = {
        "store": ("id", "name"),
        "location": ("id", "store_id", "name"),
        "supplier": ("id", "name", "contact"),
        "category": ("id", "name"),
        "product": (
            "id", "sku", "name", "shelf", "price", "cost", "currency", "unit", "supplier_id",
            "category_id",
        ),
        "barcode": ("code", "product_id"),
        "reorder_rule": ("store_id", "product_id", "reorder_at", "order_up_to"),
        "employee": ("id", "name", "role"),
        "movement": (
            "id", "product_id", "location_id", "store_id", "quantity", "kind", "reason",
            "document", "person", "device", "occurred_at", "note", "reverses",
        ),
    }  # fmt: skip
    rows: dict[str, list[Row]] = {
        "store": [(store, name) for store, name, _ in STORES],
        "location": [
            (ids.first_location_id(store), store, FIRST_LOCATION_NAME) for store, _, _ in STORES
        ],
        "supplier": [(ids.supplier_id(name), name, contact) for name, contact in SUPPLIERS],
        "category": [
            (ids.category_id(name), name) for name in sorted({good.category for good in goods})
        ],
        "product": [
            (
                ids.product_id(good.sku), good.sku, good.name, good.shelf, good.price, good.cost,
                CURRENCY, good.unit, ids.supplier_id(SUPPLIERS[good.supplier][0]),
                ids.category_id(good.category),
            )
            for good in goods
        ],
        "barcode": [
            (code, ids.product_id(good.sku)) for good in goods for code in good.barcodes
        ],
        "reorder_rule": [
            (store.id, ids.product_id(shelf.good.sku), shelf.reorder_at, shelf.order_up_to)
            for store in stores
            for shelf in store.shelves
        ],
        "employee": [(ids.employee_id(name), name, role) for name, role in PEOPLE],
        "movement": list(_in_order(stores)),
    }  # fmt: skip
    return Demo(columns, rows)


def _in_order(stores: list[_Store]) -> Iterator[Row]:
    movements = [movement for store in stores for movement in store.movements]
    for movement in sorted(movements, key=lambda one: (one.occurred_at, one.id)):
        yield movement.values  # type: ignore[misc]
