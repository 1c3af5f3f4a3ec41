"""Products that are made one, on the server: into a product that is there, and never in a circle.

Knows: `product.merged_into`. Must not know: what is on hand of them, or how a device follows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleContext


def products_are_merged_soundly(context: RuleContext) -> None:
    """Refuse a product that is made one with itself, by whatever way, or with none that is there.

    Two people who make one of the same two, each the other way round, meet here: the first stands.
    """
    now = {
        change.key: change.new
        for change in context.changes
        if change.table == "product" and change.new is not None
    }
    for change in context.changes:
        if change.table != "product" or change.new is None or change.new["merged_into"] is None:
            continue
        if change.old is not None and change.old["merged_into"] == change.new["merged_into"]:
            continue
        seen = {str(change.new["id"])}
        at: object = change.new["merged_into"]
        while at is not None:
            row = now.get(str(at))
            if row is None:
                found = context.query("SELECT merged_into FROM product WHERE id = ?", [str(at)])
                row = found[0] if found else None
            if row is None or str(at) in seen:
                context.refuse(
                    "bad_merge",
                    "These are one product already, the other way round."
                    if row is not None
                    else "The product that this one is to be is not there.",
                    field="merged_into",
                    row=change.key,
                )
            seen.add(str(at))
            at = row["merged_into"]
