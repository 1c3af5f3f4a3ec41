"""Work about one product that becomes another's: under which ids, and what is written.

Knows: ids that follow from a product's, as those of a delivery's lines and of what these were
booked as. Must not know: why the one product is the other. The twin of the web app's
`data/followed.ts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from holdfast.core.errors import UsageError
from stockroom import ids
from stockroom.catalogue import Writer, add_code

if TYPE_CHECKING:
    from holdfast import Replica

_NAMING: Final = ("delivery", "delivery_line", "movement", "store", "location")
"""Tables of which new rows can wait together with a product."""
_CHANGED: Final = ("delivery", "delivery_line")
"""Those of which changed rows can."""
_OF_PRODUCT: Final = ("delivery_line", "movement")
"""Rows of a product."""

Change = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A product, the one that it becomes, and the ids that follow. `scanned`: of lines that go
    over, how much of their count is written by now."""

    own: str
    there: str
    ids: Mapping[str, str]
    scanned: dict[str, int] = field(default_factory=dict)


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


def check_apart(replica: Replica, changes: Iterable[Change], way: Way) -> None:
    """Raise `UsageError` (`not_mendable`) where the other product was counted in the same delivery:
    in its line this one's count would be lost."""
    for change in changes:
        if change["table"] != "delivery_line" or str(change["key"]) not in way.ids:
            continue
        line = way.ids[str(change["key"])]
        found = replica.query("SELECT added_at FROM delivery_line WHERE id = ?", (line,))
        # One with the same time is what an earlier try has written before it was cut off.
        if change["op"] == "insert" and found and found[0][0] != change["new"]["added_at"]:
            raise UsageError(
                "both products were counted in one delivery: receive or remove one of them first",
                code="not_mendable",
            )


def follow(db: Writer, changes: Sequence[Change], way: Way) -> None:
    """Write one of the transactions that wait about the product that is there, or find that an
    earlier try has written it. Raises `UsageError`: `not_mendable`, `barcode_exists`."""
    done = any(_is_written(db, change, way) for change in changes)
    for change in changes:
        if not done:
            _write(db, change, way)
        if str(change["key"]) in way.ids and change["table"] == "delivery_line":
            line = way.ids[str(change["key"])]
            by = int(change["new"].get("scanned", 0))
            way.scanned[line] = way.scanned.get(line, 0) + by


def _write(db: Writer, change: Change, way: Way) -> None:
    table, op, key = change["table"], change["op"], str(change["key"])
    if table in ("product", "product_cost") and key == way.own:
        return
    new = change.get("new", {})
    product = way.there if new.get("product_id") == way.own else new.get("product_id")
    row_id = way.ids.get(key, key)
    if table == "barcode":
        _write_code(db, op, key, {**new, **({"product_id": product} if product else {})})
    elif op == "insert" and table in _NAMING:
        if not _is_there(db, table, row_id):
            other = {"id": row_id}
            if table in _OF_PRODUCT:
                other["product_id"] = str(product)
            if str(new.get("reverses")) in way.ids:
                other["reverses"] = way.ids[str(new["reverses"])]
            insert(db, table, {**new, **other})
    elif op == "update" and table in _CHANGED:
        for name, value in new.items():
            if (table, name) == ("delivery_line", "scanned"):
                _scan(db, row_id, int(value), way)
            else:
                db.execute(f"UPDATE {table} SET {name} = ? WHERE id = ?", (_stored(value), row_id))
    else:
        raise UsageError(
            f"a change that is held with it changes {table} {key} too: settle that first",
            code="not_mendable",
        )


def _write_code(db: Writer, op: str, code: str, new: Mapping[str, Any]) -> None:
    if op == "insert":
        add_code(db, code, str(new["product_id"]), int(new.get("pack", 1)))
    elif op == "delete":
        db.execute("DELETE FROM barcode WHERE code = ?", (code,))
    else:
        for name, value in new.items():
            db.execute(f"UPDATE barcode SET {name} = ? WHERE code = ?", (_stored(value), code))


def _scan(db: Writer, line: str, by: int, way: Way) -> None:
    """Count on a line. What is counted travels as a difference; where a try was cut off, it is
    written only on top of what was before it."""
    before = way.scanned.get(line)
    if before is None:
        db.execute("UPDATE delivery_line SET scanned = scanned + ? WHERE id = ?", (by, line))
    else:
        db.execute(
            "UPDATE delivery_line SET scanned = scanned + ? WHERE id = ? AND scanned = ?",
            (by, line, before),
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


def _is_there(db: Writer, table: str, row_id: str) -> bool:
    return bool(db.execute(f"SELECT 1 FROM {table} WHERE id = ?", (row_id,)))


def _is_written(db: Writer, change: Change, way: Way) -> bool:
    """Return whether a row is there that only this can have written: transactions are whole."""
    table, key = str(change["table"]), str(change["key"])
    names_it = table == "movement" or (table == "delivery_line" and key in way.ids)
    return change["op"] == "insert" and names_it and _is_there(db, table, way.ids.get(key, key))
