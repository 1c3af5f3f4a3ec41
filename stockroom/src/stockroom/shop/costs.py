"""Costs of goods, kept apart from the goods, and carried over from an older version.

Knows: where a cost stands, and where it must not. Must not know: roles, or who asks.
The server moves what devices send (`rules.roles`); what older versions, or other programs, have
written into `product` is moved here, each time a shop's database is opened.
"""

from __future__ import annotations

from holdfast.core.values import Value
from stockroom.shop.tables import Tables, upsert


def move_costs(tables: Tables) -> int:
    """Move costs that stand in the catalogue to where only those see them who may; how many."""
    found = tables.execute("SELECT id, cost, currency FROM product WHERE cost IS NOT NULL")
    for product, cost, currency in found:
        set_cost(tables, str(product), cost, str(currency))
    if found:
        tables.execute("UPDATE product SET cost = NULL WHERE cost IS NOT NULL")
    return len(found)


def set_cost(tables: Tables, product: str, cost: Value, currency: str) -> None:
    """Write what a product costs the shop."""
    upsert(tables, "product_cost", {"product_id": product}, {"cost": cost, "currency": currency})


def costs_of(tables: Tables) -> dict[str, tuple[Value, str]]:
    """Cost of each product, with its currency."""
    rows = tables.execute("SELECT product_id, cost, currency FROM product_cost")
    return {str(product): (cost, str(currency)) for product, cost, currency in rows}
