"""Archived goods on the server: where some are on hand, a person is asked.

Knows: what is on hand when a product is archived, and what comes in of one that is. Must not know:
who may archive. Archived on one device, received on another without a connection: neither of them
has seen it, and the goods lie on the shelf. They are counted all the same; asked is whether they
are sold. Whoever offers the product again has answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stockroom import ids
from stockroom.archived_goods import ARCHIVED
from stockroom.rules.tills import worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.server.push.rules import RuleContext


def archived_goods_are_asked_about(context: RuleContext) -> None:
    """Ask about goods that are archived with some on hand, once a store until it is decided."""
    asked: set[tuple[str, str]] = set()
    for change in context.changes:
        new, old = change.new, change.old
        if change.table == "movement" and change.op == "insert" and new is not None:
            product = context.row("product", new["product_id"])
            is_in = int(str(new["quantity"])) > 0 and new["kind"] != "reversal"
            if is_in and product is not None and _is_archived(product):
                asked.add((str(new["product_id"]), str(new["store_id"])))
        elif change.table == "product" and new is not None and old is not None:
            if _is_archived(new) and not old["archived"]:
                asked |= {(change.key, store) for store in _stores(context, change.key)}
            elif old["archived"] and not new["archived"]:
                _settle(context, change.key)
    for product_id, store in sorted(asked):
        if not _open(context, product_id, store):
            about = f"{product_id} {store} {context.now_us}"
            question = {
                "id": ids.question_id(ARCHIVED, about), "store_id": store, "kind": ARCHIVED,
                "about_table": "product", "about_key": product_id, "asked_at": context.now_us,
            }  # fmt: skip
            context.add("question", question)


def _is_archived(product: Mapping[str, Any]) -> bool:
    return bool(product["archived"]) and product["merged_into"] is None


def _stores(context: RuleContext, product_id: str) -> list[str]:
    """Stores where some of it is on hand."""
    found = context.query(
        "SELECT store_id, sum(quantity) AS here FROM movement WHERE product_id = ? "
        "GROUP BY store_id",
        [product_id],
    )
    return [str(row["store_id"]) for row in found if int(str(row["here"])) > 0]


def _open(
    context: RuleContext, product_id: str, store: str | None = None
) -> list[dict[str, object]]:
    found = context.query(
        "SELECT id, store_id FROM question WHERE kind = ? AND about_key = ? AND decided = ''",
        [ARCHIVED, product_id],
    )
    return [dict(row) for row in found if store in (None, row["store_id"])]


def _settle(context: RuleContext, product_id: str) -> None:
    """Close what is asked about goods that are offered again, unless this is the answer."""
    answered = {change.key for change in context.changes if change.table == "question"}
    for one in _open(context, product_id):
        if one["id"] not in answered:
            decided = {
                "id": one["id"], "decided": "offer", "decided_by": worker(context).user,
                "decided_at": context.now_us,
            }  # fmt: skip
            context.add("question", decided)
