"""History of products on the server: each change is kept, with who, when and on which device.

Knows: which columns of a product have a history, and how their values are written in it. Must not
know: who may change them. Whatever sends a change, the app, a shell or a release before this one,
the server writes the history, in the same transaction; nobody else writes in it. A value that
merging let fall is in it too: who typed it can see that, and take it back. Amounts are written as
`850 EUR`, or not at all where there is no price yet; the cost is not written. The code of a case is
written with its pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stockroom import ids
from stockroom.packs import write_pack
from stockroom.rules.tills import worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from holdfast.server.push.rules import RuleContext

FIELDS: Final = (
    "name", "sku", "price", "unit", "archived", "shelf", "description", "notes",
    "category_id", "supplier_id", "merged_into",
)  # fmt: skip
"""The fields of a product that have a history, besides its codes (`barcode`)."""

Told = tuple[str, str, str, str, str]
"""Product, field, before, after, and how it met another change."""


def products_have_a_history(context: RuleContext) -> None:
    """Refuse what others write in the history; write what the transaction did to products."""
    for change in context.changes:
        if change.table == "product_change":
            context.refuse(
                "history_is_kept",
                "The history of products is written by the server alone.",
                row=change.key,
            )
    for at, (product, field, old, new, lost) in enumerate(_told(context)):
        by = worker(context)
        context.add(
            "product_change",
            {
                "id": ids.change_id(
                    by.device, context.number, context.now_us, product, f"{field}\x00{at}"
                ),
                "product_id": product,
                "field": field,
                "old_value": old,
                "new_value": new,
                "lost": lost,
                "person": by.user,
                "device": by.device,
                "changed_at": context.at_us,
            },
        )


def _told(context: RuleContext) -> Iterator[Told]:
    made = {
        change.key
        for change in context.changes
        if change.table == "product" and change.op == "insert"
    }
    unseen = {
        (one.key, one.column)
        for one in context.decisions
        if one.table == "product" and one.kind == "latest"
    }
    changed = set()
    for change in context.changes:
        if change.table == "barcode":
            yield from _codes(change.old, change.new, made)
        if change.table != "product" or change.old is None or change.new is None:
            continue
        for field, old, new in differences(change.old, change.new):
            changed.add((change.key, field))
            lost = "overridden" if (change.key, field) in unseen else ""
            yield change.key, field, old, new, lost
    for one in context.decisions:
        if (one.key, one.column) in unseen - changed and one.column in FIELDS:
            yield one.key, one.column, str(one.kept or ""), str(one.lost or ""), "dropped"


def _codes(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, made: Iterable[str]
) -> Iterator[Told]:
    """A code that came to a product, went from it or counts otherwise.

    Those that a new product has are its own.
    """
    before = "" if old is None else str(old["product_id"])
    after = "" if new is None else str(new["product_id"])
    if old is not None and new is not None and before == after:
        if old["pack"] != new["pack"]:
            yield after, "barcode", _code(old), _code(new), ""
        return
    if old is not None:
        yield before, "barcode", _code(old), "", ""
    if new is not None and after not in made:
        yield after, "barcode", "", _code(new), ""


def _code(row: Mapping[str, Any]) -> str:
    return write_pack(str(row["code"]), int(row["pack"]))


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], fields: Iterable[str] = FIELDS
) -> Iterator[tuple[str, str, str]]:
    """The fields in which a product differs from what it was, with both values as they are kept."""
    for field in fields:
        before, after = _text(old, field), _text(new, field)
        if before != after:
            yield field, before, after


def _text(product: Mapping[str, Any], field: str) -> str:
    value = product[field]
    if field == "price":
        return "" if product["unpriced"] and not value else f"{value} {product['currency']}"
    return "" if value is None else str(int(value)) if field == "archived" else str(value)
