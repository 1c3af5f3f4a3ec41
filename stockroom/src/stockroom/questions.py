"""Questions about goods that were received twice, and what an answer does to the ledger.

Knows: what is in question, and the answers. Must not know: how a question is found (the server's
rule `goods_are_received_once` does that) or shown. The twin of `web/src/data/questions.ts`.
Goods in question are not on hand: their movement is reversed in the transaction that asks. An
answer leaves it so, or books them again. The first answer stands; both work offline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.core.errors import UsageError
from holdfast.core.values import Value
from stockroom import ids
from stockroom.catalogue import Writer
from stockroom.stock import INSERT_MOVEMENT, NOBODY, Actor, Movement

if TYPE_CHECKING:
    from holdfast import Replica

RECEIVED_TWICE: Final = "received_twice"
"""One note, received as two deliveries."""
BOOKED_TWICE: Final = "booked_twice"
"""One draft, booked on two devices with different numbers."""
TAKEN_BACK: Final = "taken_back"
"""Booked on one device, and undone or put away on another."""
KINDS: Final = (RECEIVED_TWICE, BOOKED_TWICE, TAKEN_BACK)

ANSWERS: Final = {
    "same": "the same goods: nothing more came in",
    "more": "they came in as well: book them too",
    "instead": "this number is the right one: book it instead of the other",
}
REALLY_MORE: Final = "really more"
"""The reason of a movement that books after all what was in question."""

_MOVED: Final = "id, product_id, location_id, store_id, quantity, kind, document, note, delivery_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Goods in question: `quantity` of a product, received `at` by `person` with `document`, and
    `first` of it before by `first_person`."""

    id: str
    kind: str
    product_id: str
    sku: str
    name: str
    document: str
    quantity: int
    person: str
    at: int
    first: int
    first_person: str
    first_at: int | None


def open_questions(replica: Replica, store_id: str) -> list[Question]:
    """Goods in question at a store, the oldest first."""
    rows = replica.query(
        "SELECT q.id, q.kind, m.product_id, p.sku, p.name, m.document, q.in_question, m.person, "
        "m.occurred_at, coalesce(f.quantity, 0), coalesce(f.person, ''), f.occurred_at "
        "FROM question AS q JOIN movement AS m ON m.id = q.about_key "
        "JOIN product AS p ON p.id = m.product_id LEFT JOIN movement AS f ON f.id = q.other_key "
        "WHERE q.store_id = ?1 AND q.decided = '' "
        f"AND q.kind IN {KINDS} ORDER BY q.asked_at, q.id",
        (store_id,),
    )
    return [
        Question(
            id=str(row[0]),
            kind=str(row[1]),
            product_id=str(row[2]),
            sku=str(row[3]),
            name=str(row[4]),
            document=str(row[5]),
            quantity=int(str(row[6])),
            person=str(row[7]),
            at=int(str(row[8])),
            first=int(str(row[9])),
            first_person=str(row[10]),
            first_at=None if row[11] is None else int(str(row[11])),
        )
        for row in rows
    ]


def decide(replica: Replica, question_id: str, answer: str, *, actor: Actor = NOBODY) -> int:
    """Answer a question; how many units are booked by that.

    Raises `UsageError`: `no_question`, `bad_answer`, `already_decided`.
    """
    if answer not in ANSWERS:
        raise UsageError(f"{answer!r} is not one of {', '.join(ANSWERS)}", code="bad_answer")
    now_us = replica.device_now_us()
    with replica.transaction() as db:
        found = db.execute(
            "SELECT kind, about_key, other_key, decided, decided_by FROM question WHERE id = ?",
            (question_id,),
        )
        if not found or found[0][0] not in KINDS:
            raise UsageError(f"there is no question {question_id}", code="no_question")
        kind, about, other, decided, by = map(str, found[0])
        if decided:
            raise UsageError(
                f"{by or 'somebody'} has decided this: {ANSWERS.get(decided, decided)}",
                code="already_decided",
            )
        if answer == "instead" and kind != BOOKED_TWICE:
            raise UsageError("instead is an answer to one draft that was booked twice",
                             code="bad_answer")  # fmt: skip
        db.execute(
            "UPDATE question SET decided = ?, decided_by = ?, decided_at = ? WHERE id = ?",
            (answer, actor.person, now_us, question_id),
        )
        if answer == "same":
            return 0
        if answer == "instead":
            for movement in _with_damage(db, other):
                _reverse(db, movement, now_us, actor)
        booked = 0
        for movement in _with_damage(db, about):
            booked += _again(db, movement, now_us, actor)
        return booked


def _with_damage(db: Writer, movement_id: str) -> list[dict[str, Value]]:
    """A receipt and what was damaged of it."""
    rows = db.execute(
        f"SELECT {_MOVED} FROM movement WHERE id IN (?, ?)",
        (movement_id, ids.damaged_id(movement_id)),
    )
    return [dict(zip(_MOVED.split(", "), row, strict=True)) for row in rows]


def _again(db: Writer, of: dict[str, Value], now_us: int, actor: Actor) -> int:
    made = {"id": ids.again_id(str(of["id"])), "reason": REALLY_MORE}
    return _write(db, {**of, **made}, now_us, actor)


def _reverse(db: Writer, of: dict[str, Value], now_us: int, actor: Actor) -> int:
    made: dict[str, Value] = {
        "id": ids.reversal_id(str(of["id"])),
        "quantity": -int(str(of["quantity"])),
        "kind": "reversal",
        "note": "",
        "reverses": of["id"],
    }
    return _write(db, {**of, **made}, now_us, actor)


def _write(db: Writer, row: dict[str, Value], now_us: int, actor: Actor) -> int:
    """Write a movement unless it is there; its quantity."""
    if db.execute("SELECT 1 FROM movement WHERE id = ?", (row["id"],)):
        return 0
    signed = {"person": actor.person, "device": actor.device, "occurred_at": now_us}
    movement = Movement(**({"reason": ""} | row | signed))  # type: ignore[arg-type]
    db.execute(INSERT_MOVEMENT, movement.values)
    return movement.quantity
