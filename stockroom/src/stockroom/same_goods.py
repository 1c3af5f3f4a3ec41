"""Two products that are the same goods: one of them leads, and the other is resolved to it.

Knows: `product.merged_into`, and how it is followed in SQL. Must not know: who decides it. Nothing
is moved or rewritten: movements, codes and lines keep the product they were written for, so that
both histories stay, whatever arrives late finds its way, and undoing is one column. `same_goods` is
a local table, kept by triggers (`on_hand`): which product leads those that are, were or have been
found to be the same as others; whatever is not in it leads itself.
"""

from __future__ import annotations

from typing import Final

_STEPS_MAX: Final = 8
"""So far it is followed: of two merges that meet offline, the server refuses a circle."""


def followed(product: str) -> str:
    """SQL for the product that leads `product` (an expression), by the column alone."""
    return (
        f"coalesce((WITH RECURSIVE up_ (id, n) AS (SELECT {product}, 0 UNION ALL "
        "SELECT next_.merged_into, up_.n + 1 FROM up_ JOIN product AS next_ ON next_.id = up_.id "
        f"WHERE next_.merged_into IS NOT NULL AND up_.n < {_STEPS_MAX}) "
        f"SELECT id FROM up_ ORDER BY n DESC LIMIT 1), {product})"
    )


def leading(product: str) -> str:
    """SQL for the product that leads `product` (an expression); itself, mostly."""
    return (
        f"coalesce((SELECT same_.leads FROM same_goods AS same_ WHERE same_.product_id = {product})"
        f", {product})"
    )


def family(product: str) -> str:
    """SQL for the products that `product` (an expression) leads, itself among them."""
    return f"(SELECT {product} UNION SELECT product_id FROM same_goods WHERE leads = {product})"


_TABLE: Final = (
    "CREATE TABLE same_goods (product_id TEXT PRIMARY KEY, leads TEXT NOT NULL) "
    "STRICT, WITHOUT ROWID"
)
SAME_GOODS_SQL: Final = (
    "CREATE INDEX product_merged ON product (merged_into) WHERE merged_into IS NOT NULL",
    _TABLE,
    "CREATE INDEX same_goods_leads ON same_goods (leads)",
)
"""Part of the schema's `local` SQL."""

FOLLOW_SQL: Final = (
    f"INSERT INTO same_goods (product_id, leads) SELECT known_.id, {followed('known_.id')} FROM ("
    "SELECT id FROM product WHERE merged_into IS NOT NULL "
    "UNION SELECT merged_into FROM product WHERE merged_into IS NOT NULL "
    "UNION SELECT product_id FROM same_goods) AS known_ WHERE true "
    "ON CONFLICT (product_id) DO UPDATE SET leads = excluded.leads;"
)
"""For a trigger: `same_goods` as the column says now; what was in it stays, and may lead itself."""
