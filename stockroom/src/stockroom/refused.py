"""Refused changes that can be mended: the same again, with what was wrong put right.

Knows: what the server refuses a product for. Must not know: how it is shown. The twin of the web
app's `data/refused.ts`. What was refused is given up only after all of it is written in its new
form, and what is written already is not written twice: killed in between, a person is asked once
more, and the same answer ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from holdfast.core.errors import UsageError
from stockroom.catalogue import (
    Product,
    add_code,
    check_sku,
    edit_product,
    get_product,
    holder_of_sku,
    product_or_none,
)
from stockroom.followed import check_apart, follow, insert, way_of
from stockroom.schema import schema

if TYPE_CHECKING:
    from holdfast import Replica
    from holdfast.replica.inbox.inbox import Refused

_WORDS: Final = ("name", "description", "shelf", "notes")
"""What everybody who adds products may change of one that is there."""
_MANAGED: Final = ("price", "cost", "currency", "unit")
"""What only a manager may; it goes alone, so that a refusal of it costs nothing else."""
_TAKEN: Final = ("unique", "rule:sku_like")
"""The SKU is another's, to the letter or as a person reads it."""
Change = Mapping[str, Any]


def taken_sku(item: Refused) -> Change | None:
    """The new product whose SKU somebody else has taken meanwhile; None for anything else."""
    if item.code not in _TAKEN or item.state == "held":
        return None
    product, *more = [change for change in item.changes if change["table"] != "barcode"] or [{}]
    is_new = product.get("table") == "product" and product["op"] == "insert"
    return product if is_new and not more and "sku" in product["new"] else None


def other_product(replica: Replica, item: Refused) -> Product | None:
    """The product that has the SKU of a refused one."""
    change = taken_sku(item)
    if change is None:
        return None
    found = holder_of_sku(replica.query, str(change["new"]["sku"]), str(change["key"]))
    return None if found is None else get_product(replica, found[1])


def edits_of(there: Product, made: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a refused product says otherwise than the one that is there: what somebody has
    typed, never a default. An amount is one of its currency: they go together, or not at all."""
    columns = schema.by_name["product"].by_name
    given = {
        name: made[name]
        for name in (*_WORDS, *_MANAGED)
        if name in made and made[name] not in (None, "", columns[name].default_value())
    }
    currency = made.get("currency", columns["currency"].default_value())
    if currency != there.currency:
        given.pop("currency", None)
        if given.get("price"):
            given |= {"currency": currency, "cost": made.get("cost")}
        else:
            given.pop("cost", None)
    return {name: value for name, value in given.items() if getattr(there, name) != value}


def use_other_sku(replica: Replica, item: Refused, sku: str) -> None:
    """The refused product with another SKU, and what waits for it. Raises `UsageError`:
    `not_mendable`, `sku_exists`, `barcode_exists`."""
    change = taken_sku(item)
    if change is None:
        raise _not_mendable(item)
    with replica.transaction() as db:
        check_sku(db, sku, str(change["key"]))
        if not db.execute("SELECT 1 FROM product WHERE id = ?", (change["key"],)):
            insert(db, "product", {"id": change["key"], **change["new"], "sku": sku})
        for code in item.changes:
            if code["table"] == "barcode" and code["op"] == "insert":
                add_code(
                    db,
                    code["key"],
                    str(code["new"]["product_id"]),
                    int(code["new"].get("pack", 1)),
                )
    replica.discard(item.id)


def same_product(replica: Replica, item: Refused) -> Product:
    """The refused product is the one that has its SKU: what else was typed of it becomes an edit
    of that one, and its codes and movements go to that one.

    Raises `UsageError`: `not_mendable`, `no_product`, `undecided`, `barcode_exists`.
    """
    change = taken_sku(item)
    if change is None:
        raise _not_mendable(item)
    there = other_product(replica, item)
    if there is None:
        raise UsageError("the other product no longer exists: try again", code="no_product")
    own = str(change["key"])
    waiting = replica.refused()
    named = _own(waiting, own)
    naming = [item, *(one for one in waiting if one.id != item.id and _names(one, named))]
    if any(one.set_aside for one in naming):
        raise UsageError(
            "the server has not decided all that is held with it yet: sync first",
            code="undecided",
        )
    made: dict[str, Any] = {}
    parts = [part for one in naming for part in one.changes]
    for part in parts:
        if part["table"] == "product" and part["key"] == own:
            made |= part["new"]
        elif part["table"] == "product_cost" and part["key"] == own:
            made["cost"] = part["new"].get("cost")
    way = way_of(parts, own, there.id)
    check_apart(replica, parts, way)
    for one in naming:
        with replica.transaction() as db:
            follow(db, one.changes, way)
    edits = edits_of(there, made)
    for columns in (_WORDS, _MANAGED):
        if changed := {str(name): edits[name] for name in columns if name in edits}:
            edit_product(replica, there.sku, changed)
    for one in reversed(naming):
        replica.discard(one.id)
    now = product_or_none(replica, there.sku)
    assert now is not None, "it was there in this process"
    return now


def _names(item: Refused, own: frozenset[str]) -> bool:
    """Return whether something of it is about the product, or about a line of the product."""
    return any(
        str(change["key"]) in own or str(change.get("new", {}).get("product_id")) in own
        for change in item.changes
    )


def _own(waiting: Sequence[Refused], product: str) -> frozenset[str]:
    """Return the product's id, and those of its lines in deliveries that wait with it."""
    return frozenset({product}) | {
        str(change["key"])
        for item in waiting
        for change in item.changes
        if change["table"] == "delivery_line" and change.get("new", {}).get("product_id") == product
    }


def _not_mendable(item: Refused) -> UsageError:
    return UsageError(
        f"{item.id} is not a new product whose SKU is taken: retry or discard it",
        code="not_mendable",
    )
