"""Two products that are the same goods: one of them leads, and the other is resolved to it.

Knows: `product.merged_into`, and how it is followed in SQL. Must not know: who decides it. Nothing
is moved or rewritten: movements, codes and lines keep the product they were written for, so that
both histories stay, whatever arrives late finds its way, and undoing is one column.
"""

from __future__ import annotations

from typing import Final

_STEPS_MAX: Final = 8
"""So far it is followed: of two merges that meet offline, the server refuses a circle."""


def leading(product: str) -> str:
    """SQL for the product that leads what `product` (an expression) names; itself, mostly."""
    return (
        "CASE WHEN EXISTS (SELECT 1 FROM product AS one_ "
        f"WHERE one_.id = {product} AND one_.merged_into IS NOT NULL) THEN ("
        f"WITH RECURSIVE up_ (id, n) AS (SELECT {product}, 0 UNION ALL "
        "SELECT next_.merged_into, up_.n + 1 FROM up_ JOIN product AS next_ ON next_.id = up_.id "
        f"WHERE next_.merged_into IS NOT NULL AND up_.n < {_STEPS_MAX}) "
        f"SELECT id FROM up_ ORDER BY n DESC LIMIT 1) ELSE {product} END"
    )


def family(product: str) -> str:
    """SQL for the products that are resolved to `product` (an expression), itself among them."""
    return (
        f"(WITH RECURSIVE down_ (id, n) AS (SELECT {product}, 0 UNION "
        "SELECT below_.id, down_.n + 1 FROM down_ JOIN product AS below_ "
        f"ON below_.merged_into = down_.id WHERE down_.n < {_STEPS_MAX}) SELECT id FROM down_)"
    )


SAME_GOODS_SQL: Final = (
    "CREATE INDEX product_merged ON product (merged_into) WHERE merged_into IS NOT NULL",
)
"""Part of the schema's `local` SQL."""
