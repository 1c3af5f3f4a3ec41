"""Stock: movements written to the ledger, and what the ledger says is on hand.

Knows: what a movement means. Must not know: the network, or how results are shown.
Each verb is one local transaction; none waits for a server. Stock may fall below zero: what
happened at the shelf is a fact, and the caller warns about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.core.errors import UsageError
from holdfast.core.values import Value
from stockroom import ids
from stockroom.catalogue import Product, Writer, scanned
from stockroom.same_goods import family, leading
from stockroom.schema import KINDS, QUANTITY_MAX, STORE_ID_LENGTH_MAX, schema

if TYPE_CHECKING:
    from holdfast import Replica

_STORE_ID: Final = re.compile(r"[A-Za-z0-9_.-]+\Z")
_COLUMNS: Final = tuple(column.name for column in schema.by_name["movement"].columns)
INSERT_MOVEMENT: Final = (
    f"INSERT INTO movement ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Place where stock lies."""

    store_id: str
    location_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The person who moves stock, and the device."""

    person: str = ""
    device: str = ""


NOBODY: Final = Actor()


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One entry of the ledger. `quantity` in base units, `occurred_at` in µs since 1970, UTC."""

    id: str
    product_id: str
    location_id: str
    store_id: str
    quantity: int
    kind: str
    reason: str = ""
    document: str = ""
    person: str = ""
    device: str = ""
    occurred_at: int
    note: str = ""
    reverses: str | None = None
    delivery_id: str | None = None

    @property
    def values(self) -> tuple[Value, ...]:
        """The values in the order of the table's columns."""
        return tuple(getattr(self, name) for name in _COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Result of a verb: the movement, and what was on hand there before and after (base units)."""

    movement: Movement
    before: int
    after: int
    pack: int = 1
    """Pieces in what was counted: a case of 12 counts 12."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StockLine:
    """Stock on hand of a product at a location, in base units; `unsent` of it is not yet sent."""

    product_id: str
    sku: str
    name: str
    unit: str
    store_id: str
    location: str
    quantity: int
    unsent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """A movement with the balance after it at its location (base units)."""

    movement: Movement
    balance: int


def ensure_place(replica: Replica, store_id: str, *, name: str = "") -> Place:
    """The first location of a store; store and location are made when they are not there yet.

    Two devices that open a store offline make the same rows; `name` names the store. Raises
    `UsageError` (`bad_store`).
    """
    if not _STORE_ID.match(store_id) or len(store_id) > STORE_ID_LENGTH_MAX:
        raise UsageError(
            f"{store_id!r} is not a store: letters, digits, '.', '_' and '-', "
            f"at most {STORE_ID_LENGTH_MAX}",
            code="bad_store",
        )
    place = Place(store_id=store_id, location_id=ids.first_location_id(store_id))
    known = replica.query("SELECT 1 FROM location WHERE id = ?", (place.location_id,))
    if name or not known:
        with replica.transaction() as db:
            write_place(db, place)
            if name:
                db.execute("UPDATE store SET name = ? WHERE id = ?", (name, store_id))
    return place


def write_place(db: Writer, place: Place) -> None:
    """Insert what is missing of a store and its first location into an open transaction."""
    if not db.execute("SELECT 1 FROM store WHERE id = ?", (place.store_id,)):
        db.execute("INSERT INTO store (id) VALUES (?)", (place.store_id,))
    if not db.execute("SELECT 1 FROM location WHERE id = ?", (place.location_id,)):
        db.execute(
            "INSERT INTO location (id, store_id) VALUES (?, ?)",
            (place.location_id, place.store_id),
        )


def receive(
    replica: Replica,
    place: Place,
    sku: str,
    quantity: int,
    *,
    document: str = "",
    note: str = "",
    actor: Actor = Actor(),
) -> Moved:
    """Goods came in: `quantity` of what is named, at least 1; of a case's barcode, cases."""
    if quantity < 1:
        raise UsageError("one receives at least 1; to take out, adjust", code="bad_quantity")
    return _move(
        replica, place, scanned(replica, sku), by=quantity, kind="receive", document=document,
        note=note, actor=actor,
    )  # fmt: skip


def opening(
    replica: Replica, place: Place, sku: str, quantity: int, *, actor: Actor = Actor()
) -> Moved:
    """Write what was there when the books were opened; of a case's barcode, cases."""
    return _move(replica, place, scanned(replica, sku), by=quantity, kind="opening", actor=actor)


def adjust(
    replica: Replica,
    place: Place,
    sku: str,
    *,
    to: int | None = None,
    by: int | None = None,
    reason: str,
    kind: str | None = None,
    note: str = "",
    actor: Actor = Actor(),
) -> Moved:
    """Correct the stock, either `to` a number that was seen or `by` a difference.

    Both in base units; of a case's barcode, in cases. `kind` is one of the schema's; without it a
    reason that is the name of a kind counts as such, any other as a correction. Raises
    `UsageError`: `no_reason`, `bad_quantity`, `bad_kind`.
    """
    if (to is None) == (by is None):
        raise UsageError("say either the new number or the difference", code="bad_quantity")
    if not reason.strip():
        raise UsageError("an adjustment needs a reason", code="no_reason")
    chosen = kind or (reason if reason in KINDS else "correction")
    if chosen not in KINDS:
        raise UsageError(f"{chosen!r} is not one of {', '.join(KINDS)}", code="bad_kind")
    return _move(
        replica,
        place,
        scanned(replica, sku),
        to=to,
        by=by,
        kind=chosen,
        reason=reason,
        note=note,
        actor=actor,
    )


def undo(replica: Replica, movement_id: str, *, reason: str = "", actor: Actor = Actor()) -> Moved:
    """Write the reversal of a movement; offline too, and once even when two devices do it.

    Raises `UsageError`: `no_movement`, `undone_already`.
    """
    found = replica.query(
        f"SELECT {', '.join(_COLUMNS)} FROM movement WHERE id = ?", (movement_id,)
    )
    if not found:
        raise UsageError(f"there is no movement {movement_id}", code="no_movement")
    original = _movement(found[0])
    reversal = Movement(
        id=ids.reversal_id(original.id),
        product_id=original.product_id,
        location_id=original.location_id,
        store_id=original.store_id,
        quantity=-original.quantity,
        kind="reversal",
        reason=reason,
        document=original.document,
        person=actor.person,
        device=actor.device,
        occurred_at=replica.device_now_us(),
        reverses=original.id,
        delivery_id=original.delivery_id,
    )
    with replica.transaction() as db:
        if db.execute("SELECT 1 FROM movement WHERE id = ?", (reversal.id,)):
            raise UsageError("this movement was undone already", code="undone_already")
        before = _on_hand(db, original.product_id, original.location_id)
        db.execute(INSERT_MOVEMENT, reversal.values)
    return Moved(movement=reversal, before=before, after=before + reversal.quantity)


def last_movement_id(replica: Replica, *, store_id: str, device: str = "") -> str | None:
    """The newest movement of a store that can still be undone (of one device, if named)."""
    rows = replica.query(
        "SELECT m.id FROM movement AS m WHERE m.store_id = ? AND (? = '' OR m.device = ?) "
        "AND m.kind <> 'reversal' "
        "AND NOT EXISTS (SELECT 1 FROM movement AS r WHERE r.reverses = m.id) "
        "ORDER BY m.occurred_at DESC, m.id DESC LIMIT 1",
        (store_id, device, device),
    )
    return str(rows[0][0]) if rows else None


def stock_list(
    replica: Replica, *, store_id: str | None = None, product_id: str | None = None
) -> list[StockLine]:
    """Return what is on hand, by SKU and location; products never moved are left out."""
    rows = replica.query(
        f"WITH waiting AS (SELECT {leading('m.product_id')} AS product_id, m.location_id, "
        "sum(m.quantity) AS quantity FROM holdfast_pending AS w JOIN movement AS m ON m.id = w.key "
        "WHERE w.tbl = 'movement' GROUP BY 1, 2) "
        "SELECT p.id, p.sku, p.name, p.unit, s.store_id, coalesce(l.name, s.location_id), "
        "s.quantity, coalesce(w.quantity, 0) "
        "FROM stock_on_hand AS s JOIN product AS p ON p.id = s.product_id "
        "LEFT JOIN location AS l ON l.id = s.location_id "
        "LEFT JOIN waiting AS w ON w.product_id = s.product_id AND w.location_id = s.location_id "
        "WHERE (?1 IS NULL OR s.store_id = ?1) AND (?2 IS NULL OR s.product_id = ?2) "
        "ORDER BY p.sku, s.store_id, l.name",
        (store_id, product_id),
    )
    return [
        StockLine(
            product_id=str(row[0]),
            sku=str(row[1]),
            name=str(row[2]),
            unit=str(row[3]),
            store_id=str(row[4]),
            location=str(row[5]),
            quantity=int(str(row[6])),
            unsent=int(str(row[7])),
        )
        for row in rows
    ]


def on_hand(replica: Replica, product_id: str, *, store_id: str | None = None) -> int:
    """Base units of a product on hand, at one store or at all that this device knows."""
    ((total,),) = replica.query(
        "SELECT coalesce(sum(quantity), 0) FROM stock_on_hand "
        "WHERE product_id = ?1 AND (?2 IS NULL OR store_id = ?2)",
        (product_id, store_id),
    )
    return int(str(total))


def ledger(replica: Replica, product_id: str, *, store_id: str | None = None) -> list[LedgerLine]:
    """All movements of a product in the order they happened, each with the balance after it."""
    rows = replica.query(
        f"SELECT {', '.join(_COLUMNS)}, sum(quantity) OVER (PARTITION BY location_id "
        "ORDER BY occurred_at, id) FROM movement "
        f"WHERE product_id IN {family('?1')} AND (?2 IS NULL OR store_id = ?2) "
        "ORDER BY occurred_at, id",
        (product_id, store_id),
    )
    return [
        LedgerLine(movement=_movement(row[: len(_COLUMNS)]), balance=int(str(row[-1])))
        for row in rows
    ]


def _move(
    replica: Replica,
    place: Place,
    found: tuple[Product, int],
    *,
    to: int | None = None,
    by: int | None = None,
    kind: str,
    reason: str = "",
    document: str = "",
    note: str = "",
    actor: Actor,
) -> Moved:
    now_us = replica.device_now_us()
    product, pack = found
    with replica.transaction() as db:
        before = _on_hand(db, product.id, place.location_id)
        quantity = to * pack - before if to is not None else (by or 0) * pack
        if not -QUANTITY_MAX <= quantity <= QUANTITY_MAX:
            raise UsageError(f"one movement has at most {QUANTITY_MAX} units", code="bad_quantity")
        movement = Movement(
            id=ids.new_id(now_us),
            product_id=product.id,
            location_id=place.location_id,
            store_id=place.store_id,
            quantity=quantity,
            kind=kind,
            reason=reason,
            document=document,
            person=actor.person,
            device=actor.device,
            occurred_at=now_us,
            note=note,
        )
        db.execute(INSERT_MOVEMENT, movement.values)
    return Moved(movement=movement, before=before, after=before + quantity, pack=pack)


def _on_hand(db: Writer, product_id: str, location_id: str) -> int:
    ((total,),) = db.execute(
        "SELECT coalesce(sum(quantity), 0) FROM stock_on_hand "
        f"WHERE product_id = {leading('?1')} AND location_id = ?2",
        (product_id, location_id),
    )
    return int(str(total))


def _movement(row: tuple[Value, ...]) -> Movement:
    fields = dict(zip(_COLUMNS, row, strict=True))
    reverses, delivery = fields["reverses"], fields["delivery_id"]
    return Movement(
        id=str(fields["id"]),
        product_id=str(fields["product_id"]),
        location_id=str(fields["location_id"]),
        store_id=str(fields["store_id"]),
        quantity=int(str(fields["quantity"])),
        kind=str(fields["kind"]),
        reason=str(fields["reason"]),
        document=str(fields["document"]),
        person=str(fields["person"]),
        device=str(fields["device"]),
        occurred_at=int(str(fields["occurred_at"])),
        note=str(fields["note"]),
        reverses=None if reverses is None else str(reverses),
        delivery_id=None if delivery is None else str(delivery),
    )
