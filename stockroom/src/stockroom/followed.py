"""Work about one product that becomes another's: under which ids, and what is written.

Knows: ids that follow from a product's, as those of a delivery's lines and of what these were
booked as. Must not know: why the one product is the other. The twin of the web app's
`data/followed.ts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.core.errors import UsageError
from stockroom import ids
from stockroom.catalogue import Writer, add_code

_NAMING: Final = ("delivery", "delivery_line", "movement", "store", "location")
"""Tables of which new rows can wait together with a product."""
_CHANGED: Final = ("delivery", "delivery_line")
"""Those of which changed rows can."""
_OF_PRODUCT: Final = ("delivery_line", "movement")
"""Rows of a product."""

Change = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A product, the one that it becomes, and the ids that follow. `done`: lines of deliveries that
    are written already, by an earlier time that was cut off."""

    own: str
    there: str
    ids: Mapping[str, str]
    done: set[str] = field(default_factory=set)


def way_of(changes: Iterable[Change], own: str, there: str) -> Way:
    """Find the way of all that waits, in its order."""
    found = dict[str, str]()
    booked = dict[str, int]()
    damaged = dict[str, str]()
    for change in changes:
        if change["op"] != "insert":
            continue
        table, key, new = change["table"], str(change["key"]), change.get("new", {})
        delivery, reverses = new.get("delivery_id"), new.get("reverses")
        if table == "movement" and str(reverses) in found:
            found[key] = ids.reversal_id(found[str(reverses)])
        elif new.get("product_id") != own or delivery is None:
            continue
        elif table == "delivery_line":
            found[key] = ids.delivery_line_id(str(delivery), there)
        elif new.get("kind") == "damage" and key in damaged:
            found[key] = damaged[key]
        elif new.get("kind") == "receive":
            line = ids.delivery_line_id(str(delivery), own)
            before, quantity = booked.get(line, 0), int(new["quantity"])
            if key == ids.received_id(line, before, quantity):
                other = ids.delivery_line_id(str(delivery), there)
                found[key] = ids.received_id(other, before, quantity)
                damaged[ids.damaged_id(key)] = ids.damaged_id(found[key])
                booked[line] = before + quantity
    return Way(own=own, there=there, ids=found)


def follow(db: Writer, change: Change, way: Way) -> None:
    """Write one change of what waits about the product that is there. Raises `UsageError`:
    `not_mendable`, `barcode_exists`."""
    table, op, key = change["table"], change["op"], str(change["key"])
    if table == "product" and key == way.own:
        return
    new = change.get("new", {})
    product = way.there if new.get("product_id") == way.own else new.get("product_id")
    row_id = way.ids.get(key, key)
    if table == "barcode" and op == "insert":
        add_code(db, key, str(product))
    elif table == "barcode" and op == "delete":
        db.execute("DELETE FROM barcode WHERE code = ?", (key,))
    elif table == "barcode":
        db.execute("UPDATE barcode SET product_id = ? WHERE code = ?", (str(product), key))
    elif op == "insert" and table in _NAMING:
        if not _is_there(db, table, row_id, new, way):
            other = {"id": row_id}
            if table in _OF_PRODUCT:
                other["product_id"] = str(product)
            if str(new.get("reverses")) in way.ids:
                other["reverses"] = way.ids[str(new["reverses"])]
            insert(db, table, {**new, **other})
    elif row_id in way.done:
        return
    elif op == "update" and table in _CHANGED:
        for name, value in new.items():
            # What is counted travels as a difference.
            place = "scanned + ?" if (table, name) == ("delivery_line", "scanned") else "?"
            db.execute(
                f"UPDATE {table} SET {name} = {place} WHERE id = ?", (_stored(value), row_id)
            )
    else:
        raise UsageError(
            f"a change that is held with it changes {table} {key} too: settle that first",
            code="not_mendable",
        )


def insert(db: Writer, table: str, values: Mapping[str, Any]) -> None:
    """Insert a row of values as an inbox has them."""
    marks = ", ".join("?" for _ in values)
    db.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})",
        tuple(_stored(value) for value in values.values()),
    )


def _stored(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _is_there(db: Writer, table: str, row_id: str, new: Mapping[str, Any], way: Way) -> bool:
    """Return whether such a row is there. In the line of a delivery that was counted of the other
    product, too, nothing of this one's count may be lost."""
    if table != "delivery_line":
        return bool(db.execute(f"SELECT 1 FROM {table} WHERE id = ?", (row_id,)))
    found = db.execute("SELECT added_at FROM delivery_line WHERE id = ?", (row_id,))
    if not found:
        return False
    if str(found[0][0]) != str(new.get("added_at")):
        raise UsageError(
            "both products were counted in one delivery: receive or remove one of them first",
            code="not_mendable",
        )
    way.done.add(row_id)
    return True
