"""Deliveries: documents of what comes in, counted line by line, booked as one and undone as one.

Knows: what a draft, a booking and an undo write. Must not know: the network, or how results are
shown. The twin of `web/src/data/deliveries.ts`. Each verb is one local transaction, so that a draft
is as durable as stock. A line that two people count adds up; a number that is typed is what
somebody saw, and the later one stands. Booking writes a movement for each line, whose id follows
from the line: what two devices book offline from one draft is booked once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.core.errors import UsageError
from holdfast.core.values import Value
from stockroom import ids
from stockroom.catalogue import Writer
from stockroom.schema import QUANTITY_MAX
from stockroom.stock import INSERT_MOVEMENT, NOBODY, Actor, Movement, Place

if TYPE_CHECKING:
    from holdfast import Replica

DOCUMENT_LENGTH_MAX: Final = 80
SAME_NOTE_DAYS: Final = 30
"""The same number within so many days is the same note."""

_DAY_US: Final = 86_400_000_000
_BLANKS: Final = re.compile(r"\s+")
_HERE: Final = "l.seen + l.scanned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A document. `document`: the number of the note; times in µs since 1970, UTC."""

    id: str
    store_id: str
    document: str
    supplier: str
    status: str
    started_by: str
    started_at: int
    booked_by: str
    booked_at: int | None
    undone_by: str
    undone_at: int | None
    lines: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line: `here` were counted, of those `damaged`; `booked` of them are in the ledger."""

    id: str
    product_id: str
    sku: str
    name: str
    expected: int | None
    here: int
    damaged: int
    booked: int
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Receipt of a product before, with the same note."""

    product_id: str
    name: str
    quantity: int
    person: str
    occurred_at: int


def same_note(document: str) -> str:
    """The number of a note as it is compared: without case, blanks do not count."""
    return _BLANKS.sub("", document).casefold()


def find_supplier(replica: Replica, text: str) -> str:
    """The id of the supplier of this name. Raises `UsageError` (`no_supplier`)."""
    found = replica.query(
        "SELECT id FROM supplier WHERE id = ?1 OR name = ?1 COLLATE NOCASE", (text,)
    )
    if len(found) != 1:
        raise UsageError(
            f"there is no supplier {text!r}: a manager adds suppliers", code="no_supplier"
        )
    return str(found[0][0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Words about a line: `by` as taps and scans do, or `to` a number that was seen; None says
    nothing."""

    by: int | None = None
    to: int | None = None
    damaged: int | None = None
    expected: int | None = None
    more: bool | None = None


def start(
    replica: Replica,
    place: Place,
    *,
    document: str = "",
    supplier_id: str | None = None,
    actor: Actor = NOBODY,
) -> str:
    """Begin a draft; its id. Raises `UsageError` (`bad_document`)."""
    with replica.transaction() as db:
        return _start(
            db,
            place,
            replica.device_now_us(),
            document=document,
            supplier_id=supplier_id,
            actor=actor,
        )


def count(replica: Replica, delivery_id: str, product_id: str, counted: Counted) -> None:
    """Count goods of a draft; a line that was removed is there again.

    Raises `UsageError`: `no_delivery`, `not_a_draft`, `bad_quantity`.
    """
    with replica.transaction() as db:
        _count(db, delivery_id, product_id, counted, replica.device_now_us())


def drop(replica: Replica, delivery_id: str) -> None:
    """Put a draft away. Raises `UsageError`: `no_delivery`, `not_a_draft`."""
    with replica.transaction() as db:
        _draft(db, delivery_id)
        db.execute("UPDATE delivery SET status = 'dropped' WHERE id = ?", (delivery_id,))


def book(
    replica: Replica, place: Place, delivery_id: str, *, note: str = "", actor: Actor = NOBODY
) -> list[Movement]:
    """Receive what is counted and not booked yet, all of it in one transaction.

    Of a document that is booked already: what was counted on another device meanwhile. Raises
    `UsageError`: `no_delivery`, `not_a_draft`, `nothing_to_book`, `bad_quantity`.
    """
    with replica.transaction() as db:
        return _book(db, place, delivery_id, replica.device_now_us(), note=note, actor=actor)


def receive(
    replica: Replica,
    place: Place,
    product_id: str,
    counted: Counted,
    *,
    document: str = "",
    supplier_id: str | None = None,
    note: str = "",
    actor: Actor = NOBODY,
) -> tuple[str, list[Movement]]:
    """Receive a delivery of one line at once; its id, and what was written. Raises as `book`."""
    now_us = replica.device_now_us()
    with replica.transaction() as db:
        delivery_id = _start(
            db, place, now_us, document=document, supplier_id=supplier_id, actor=actor
        )
        _count(db, delivery_id, product_id, counted, now_us)
        return delivery_id, _book(db, place, delivery_id, now_us, note=note, actor=actor)


def undo(replica: Replica, delivery_id: str, *, actor: Actor = NOBODY) -> int:
    """Take a booked delivery back, all of it; how many movements were reversed.

    Raises `UsageError`: `no_delivery`, `not_booked`.
    """
    now_us = replica.device_now_us()
    with replica.transaction() as db:
        _, status = _found(db, delivery_id)
        if status != "booked":
            raise UsageError(f"this delivery is {status}: there is nothing to undo",
                             code="not_booked")  # fmt: skip
        db.execute(
            "UPDATE delivery SET status = 'undone', undone_by = ?, undone_at = ? WHERE id = ?",
            (actor.person, now_us, delivery_id),
        )
        return _reverse(db, delivery_id, now_us, actor)


def deliveries(
    replica: Replica, *, store_id: str, status: str | None = None, limit: int = 200
) -> list[Delivery]:
    """The documents of a store, the newest first."""
    rows = replica.query(
        f"{_DELIVERIES} WHERE d.store_id = ?1 AND (?2 IS NULL OR d.status = ?2) "
        "ORDER BY d.started_at DESC, d.id DESC LIMIT ?3",
        (store_id, status, limit),
    )
    return [_delivery(row) for row in rows]


def get_delivery(replica: Replica, delivery_id: str) -> Delivery:
    """One document. Raises `UsageError` (`no_delivery`)."""
    rows = replica.query(f"{_DELIVERIES} WHERE d.id = ?1", (delivery_id,))
    if not rows:
        raise UsageError(f"there is no delivery {delivery_id}", code="no_delivery")
    return _delivery(rows[0])


def lines(replica: Replica, delivery_id: str) -> list[Line]:
    """The lines of a document in the order in which they were added."""
    rows = replica.query(
        f"SELECT l.id, l.product_id, p.sku, p.name, l.expected, {_HERE}, l.damaged, l.booked, "
        "l.more FROM delivery_line AS l JOIN product AS p ON p.id = l.product_id "
        "WHERE l.delivery_id = ? AND l.removed = 0 ORDER BY l.added_at, l.id",
        (delivery_id,),
    )
    return [
        Line(
            id=str(row[0]),
            product_id=str(row[1]),
            sku=str(row[2]),
            name=str(row[3]),
            expected=None if row[4] is None else int(str(row[4])),
            here=int(str(row[5])),
            damaged=int(str(row[6])),
            booked=int(str(row[7])),
            more=bool(row[8]),
        )
        for row in rows
    ]


def received_before(
    replica: Replica,
    store_id: str,
    document: str,
    products: list[str],
    *,
    but: str = "",
    device: str | None = None,
) -> list[Received]:
    """Receipts of these products with the same note, as far as this device knows.

    `but`: a delivery that is left out; `device`: one whose own work is.
    """
    wanted = same_note(document)
    if not wanted:
        return []
    since = replica.device_now_us() - SAME_NOTE_DAYS * _DAY_US
    rows = [
        row
        for product_id in products
        for row in replica.query(_BEFORE, (product_id, store_id, since, but, device))
    ]
    return [
        Received(
            product_id=str(row[0]),
            name=str(row[1]),
            quantity=int(str(row[2])),
            person=str(row[3]),
            occurred_at=int(str(row[4])),
        )
        for row in rows
        if same_note(str(row[5])) == wanted
    ]


_BEFORE: Final = (
    "SELECT p.id, p.name, m.quantity, m.person, m.occurred_at, m.document FROM movement AS m "
    "JOIN product AS p ON p.id = m.product_id WHERE m.product_id = ?1 AND m.store_id = ?2 "
    "AND m.kind = 'receive' AND m.document <> '' AND m.occurred_at > ?3 "
    "AND coalesce(m.delivery_id, '') <> ?4 AND (?5 IS NULL OR m.device <> ?5) "
    "AND NOT EXISTS (SELECT 1 FROM movement AS r WHERE r.product_id = m.product_id "
    "AND r.reverses = m.id) ORDER BY m.occurred_at"
)

_DELIVERIES: Final = (
    "SELECT d.id, d.store_id, d.document, coalesce(s.name, ''), d.status, d.started_by, "
    "d.started_at, d.booked_by, d.booked_at, d.undone_by, d.undone_at, "
    "(SELECT count(*) FROM delivery_line AS l WHERE l.delivery_id = d.id AND l.removed = 0), "
    f"(SELECT coalesce(sum({_HERE}), 0) FROM delivery_line AS l WHERE l.delivery_id = d.id "
    "AND l.removed = 0) FROM delivery AS d LEFT JOIN supplier AS s ON s.id = d.supplier_id"
)


def _delivery(row: tuple[Value, ...]) -> Delivery:
    def time(value: Value) -> int | None:
        return None if value is None else int(str(value))

    return Delivery(
        id=str(row[0]),
        store_id=str(row[1]),
        document=str(row[2]),
        supplier=str(row[3]),
        status=str(row[4]),
        started_by=str(row[5]),
        started_at=int(str(row[6])),
        booked_by=str(row[7]),
        booked_at=time(row[8]),
        undone_by=str(row[9]),
        undone_at=time(row[10]),
        lines=int(str(row[11])),
        units=int(str(row[12])),
    )


def _start(
    db: Writer,
    place: Place,
    now_us: int,
    *,
    document: str,
    supplier_id: str | None,
    actor: Actor,
) -> str:
    delivery_id = ids.new_id(now_us)
    db.execute(
        "INSERT INTO delivery (id, store_id, supplier_id, document, started_by, started_on, "
        "started_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            delivery_id, place.store_id, supplier_id, _document(document), actor.person,
            actor.device, now_us,
        ),
    )  # fmt: skip
    return delivery_id


def _count(db: Writer, delivery_id: str, product_id: str, counted: Counted, now_us: int) -> None:
    for number in (counted.by, counted.to, counted.damaged, counted.expected):
        if number is not None and abs(number) > QUANTITY_MAX:
            raise UsageError(f"one line has at most {QUANTITY_MAX} units", code="bad_quantity")
    line_id = ids.delivery_line_id(delivery_id, product_id)
    said: tuple[tuple[str, Value], ...] = (
        ("scanned = scanned + ?", counted.by),
        ("seen = ? - scanned", counted.to),
        ("damaged = ?", counted.damaged),
        ("expected = ?", counted.expected),
        ("more = ?", None if counted.more is None else int(counted.more)),
    )
    store_id = _draft(db, delivery_id)
    if not db.execute("SELECT 1 FROM delivery_line WHERE id = ?", (line_id,)):
        db.execute(
            "INSERT INTO delivery_line (id, delivery_id, store_id, product_id, added_at) "
            "VALUES (?, ?, ?, ?, ?)",
            (line_id, delivery_id, store_id, product_id, now_us),
        )
    for change, value in said:
        if value is not None:
            db.execute(
                f"UPDATE delivery_line SET {change}, removed = 0 WHERE id = ?", (value, line_id)
            )


def _book(
    db: Writer, place: Place, delivery_id: str, now_us: int, *, note: str, actor: Actor
) -> list[Movement]:
    document, status = _found(db, delivery_id)
    if status not in ("draft", "booked"):
        raise _not_a_draft(status)
    rows = db.execute(
        f"SELECT l.id, l.product_id, {_HERE}, l.damaged, l.booked FROM delivery_line AS l "
        f"WHERE l.delivery_id = ? AND l.removed = 0 AND {_HERE} > l.booked "
        "ORDER BY l.added_at, l.id",
        (delivery_id,),
    )
    made: list[Movement] = []
    for line_id, product_id, here, damaged, booked in rows:
        before, quantity = int(str(booked)), int(str(here)) - int(str(booked))
        made += _movements(
            Movement(
                id=ids.received_id(str(line_id), before, quantity),
                product_id=str(product_id),
                location_id=place.location_id,
                store_id=place.store_id,
                quantity=quantity,
                kind="receive",
                document=document,
                person=actor.person,
                device=actor.device,
                occurred_at=now_us,
                note=note,
                delivery_id=delivery_id,
            ),
            damaged=int(str(damaged)) if before == 0 else 0,
        )
        db.execute("UPDATE delivery_line SET booked = ? WHERE id = ?", (here, line_id))
    if not made:
        raise UsageError("nothing was counted that could be received", code="nothing_to_book")
    for movement in made:
        db.execute(INSERT_MOVEMENT, movement.values)
    if status == "draft":
        db.execute(
            "UPDATE delivery SET status = 'booked', booked_by = ?, booked_on = ?, "
            "booked_at = ? WHERE id = ?",
            (actor.person, actor.device, now_us, delivery_id),
        )
    return made


def _document(text: str) -> str:
    number = text.strip()
    if len(number) > DOCUMENT_LENGTH_MAX:
        raise UsageError(
            f"the number of a note has at most {DOCUMENT_LENGTH_MAX} characters",
            code="bad_document",
        )
    return number


def _found(db: Writer, delivery_id: str) -> tuple[str, str]:
    rows = db.execute("SELECT document, status FROM delivery WHERE id = ?", (delivery_id,))
    if not rows:
        raise UsageError(f"there is no delivery {delivery_id}", code="no_delivery")
    return str(rows[0][0]), str(rows[0][1])


def _draft(db: Writer, delivery_id: str) -> str:
    """The store of a draft."""
    _, status = _found(db, delivery_id)
    if status != "draft":
        raise _not_a_draft(status)
    ((store,),) = db.execute("SELECT store_id FROM delivery WHERE id = ?", (delivery_id,))
    return str(store)


def _not_a_draft(status: str) -> UsageError:
    return UsageError(f"this delivery is {status}: begin another one", code="not_a_draft")


def _movements(received: Movement, *, damaged: int) -> list[Movement]:
    """Movements of a line: goods that came in, and those of them that were damaged."""
    if received.quantity > QUANTITY_MAX or not 0 <= damaged <= received.quantity:
        raise UsageError(
            f"a line has at most {QUANTITY_MAX} units, and not more damaged than came in",
            code="bad_quantity",
        )
    broken = Movement(
        id=ids.damaged_id(received.id),
        product_id=received.product_id,
        location_id=received.location_id,
        store_id=received.store_id,
        quantity=-damaged,
        kind="damage",
        reason="damaged on arrival",
        document=received.document,
        person=received.person,
        device=received.device,
        occurred_at=received.occurred_at,
        delivery_id=received.delivery_id,
    )
    return [received, broken] if damaged else [received]


def _reverse(db: Writer, delivery_id: str, now_us: int, actor: Actor) -> int:
    rows = db.execute(
        "SELECT m.id, m.product_id, m.location_id, m.store_id, m.quantity, m.document "
        "FROM movement AS m WHERE m.delivery_id = ? AND m.kind <> 'reversal' "
        "ORDER BY m.occurred_at, m.id",
        (delivery_id,),
    )
    done = 0
    for movement_id, product_id, location_id, store_id, quantity, document in rows:
        reversal = Movement(
            id=ids.reversal_id(str(movement_id)),
            product_id=str(product_id),
            location_id=str(location_id),
            store_id=str(store_id),
            quantity=-int(str(quantity)),
            kind="reversal",
            document=str(document),
            person=actor.person,
            device=actor.device,
            occurred_at=now_us,
            reverses=str(movement_id),
            delivery_id=delivery_id,
        )
        if not db.execute("SELECT 1 FROM movement WHERE id = ?", (reversal.id,)):
            db.execute(INSERT_MOVEMENT, reversal.values)
            done += 1
    return done
