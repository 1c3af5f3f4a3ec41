"""SKUs on the server: no two that a person would take for one.

Knows: how SKUs are compared (`skus`). Must not know: products beyond that. Two devices that give
such SKUs without a connection meet here: the first stands, and whoever made the second is asked.
Pairs that were there before stay; the same SKU to the letter is the schema's to refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stockroom.rules.rows import rows_in
from stockroom.skus import FOLDED, like, spellings

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleContext

_SPELLINGS_MAX: Final = 10_000
"""In one statement, which reads all products."""


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
    spelt = {one for row in given.values() for one in spellings(str(row["sku"]))}
    found = rows_in(
        context, f"SELECT id, sku FROM product WHERE {FOLDED} IN", spelt, at_most=_SPELLINGS_MAX
    )
    changed = {change.key for change in context.changes if change.table == "product"}
    alike: dict[str, list[str]] = {}
    for row in found:
        if str(row["id"]) not in changed:
            alike.setdefault(like(str(row["sku"])), []).append(str(row["sku"]))
    for key, sku in sorted((key, str(row["sku"])) for key, row in given.items()):
        held = alike.setdefault(like(sku), [])
        for other in held:
            if other != sku:
                context.refuse("sku_like", f"{other} is there already.", field="sku", row=key)
        held.append(sku)
