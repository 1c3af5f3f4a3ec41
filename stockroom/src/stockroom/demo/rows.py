"""The invented retailer as rows of the schema's tables.

Knows: tables and their columns. Must not know: how goods and their history were made up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stockroom import ids
from stockroom.demo.goods import CURRENCY, SUPPLIERS, Good
from stockroom.demo.history import PEOPLE, REORDER_AT_MIN, SIGN_IN, STORES, Store
from stockroom.schema import FIRST_LOCATION_NAME

Cell = str | int | None
Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Demo:
    """Rows of each table, in the order of ``columns``; parents come before children."""

    columns: dict[str, tuple[str, ...]]
    rows: dict[str, list[Row]]

    @property
    def size(self) -> int:
        """Return how many rows there are."""
        return sum(len(rows) for rows in self.rows.values())


def rows_of(goods: list[Good], stores: list[Store]) -> Demo:
    """The rows of all tables, parents before children."""
    columns: dict[str, tuple[str, ...]] = {
        "store": ("id", "name"),
        "location": ("id", "store_id", "name"),
        "supplier": ("id", "name", "contact"),
        "category": ("id", "name"),
        "product": (
            "id", "sku", "name", "shelf", "price", "currency", "unit", "supplier_id",
            "category_id",
        ),
        "product_cost": ("product_id", "cost", "currency"),
        "barcode": ("code", "product_id", "pack"),
        "reorder_rule": ("store_id", "product_id", "reorder_at", "order_up_to"),
        "person": ("login", "name"),
        "employee": ("id", "name", "role"),
        "movement": (
            "id", "product_id", "location_id", "store_id", "quantity", "kind", "reason",
            "document", "person", "device", "occurred_at", "note", "reverses",
            "delivery_id",
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
                good.id, good.sku, good.name, good.shelf, good.price,
                CURRENCY, good.unit, ids.supplier_id(SUPPLIERS[good.supplier][0]),
                ids.category_id(good.category),
            )
            for good in goods
        ],
        "product_cost": [(good.id, good.cost, CURRENCY) for good in goods],
        "barcode": [
            (code, good.id, good.pack if outer else 1)
            for good in goods
            for outer, code in enumerate(good.barcodes)
        ],
        "reorder_rule": [
            (store.id, shelf.good.id, shelf.reorder_at, shelf.order_up_to)
            for store in stores
            for shelf in store.shelves
            # In a large shop, what hardly ever sells is ordered by hand.
            if store.target is None or shelf.reorder_at > REORDER_AT_MIN
        ],
        # Of those who sign in, the server writes them.
        "person": [(login, name) for login, name, _ in PEOPLE if login not in SIGN_IN],
        "employee": [(ids.employee_id(name), name, role) for _, name, role in PEOPLE],
        "movement": list(_in_order(stores)),
    }  # fmt: skip
    return Demo(columns, rows)


def _in_order(stores: list[Store]) -> Iterator[Row]:
    movements = [movement for store in stores for movement in store.movements]
    for movement in sorted(movements, key=lambda one: (one.occurred_at, one.id)):
        yield movement.values  # type: ignore[misc]
