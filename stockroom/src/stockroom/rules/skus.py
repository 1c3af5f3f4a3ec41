"""SKUs on the server: no two that a person would take for one.

Knows: how SKUs are compared (`skus`). Must not know: products beyond that. Two devices that give
such SKUs without a connection meet here: the first stands, and whoever made the second is asked.
Pairs that were there before stay; the same SKU to the letter is the schema's to refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stockroom.skus import FOLDED, like, spellings

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleContext


def skus_are_told_apart(context: RuleContext) -> None:
    """Refuse a new SKU that differs from another in case, blanks or width only."""
    given = {
        change.key: change.new
        for change in context.changes
        if change.table == "product"
        and change.new is not None
        and (change.old is None or change.old["sku"] != change.new["sku"])
    }
    if not given:
        return
    wanted = sorted({one for row in given.values() for one in spellings(str(row["sku"]))})
    marks = ", ".join("?" for _ in wanted)
    found = context.query(f"SELECT id, sku FROM product WHERE {FOLDED} IN ({marks})", wanted)
    changed = {change.key for change in context.changes if change.table == "product"}
    holders = [row for row in found if str(row["id"]) not in changed]
    for key, row in given.items():
        for other in (*holders, *(one for at, one in given.items() if at < key)):
            alike = like(str(other["sku"])) == like(str(row["sku"]))
            if alike and other["sku"] != row["sku"]:
                context.refuse(
                    "sku_like", f"{other['sku']!s} is there already.", field="sku", row=key
                )
