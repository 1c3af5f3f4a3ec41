"""Goods that were archived while some of them are on hand: still sold, or not any more.

Knows: the question, and what an answer writes. Must not know: how a question is found or shown
(the server's rule `archived_goods_are_asked_about` finds it). The twin of
`web/src/data/archivedGoods.ts`. The goods stay on hand whatever is answered; the first answer
stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.core.errors import UsageError
from stockroom.stock import NOBODY, Actor

if TYPE_CHECKING:
    from holdfast import Replica

ARCHIVED: Final = "archived_with_stock"
ANSWERS: Final = {
    "offer": "they are sold again",
    "leave": "they stay archived, and on hand",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedGoods:
    """Question about a product that is archived, with so many (base units) on hand."""

    id: str
    product_id: str
    sku: str
    name: str
    on_hand: int


def archived_goods(replica: Replica, store_id: str) -> list[ArchivedGoods]:
    """Archived goods of a store with some on hand about which nobody has decided."""
    rows = replica.query(
        "SELECT q.id, p.id, p.sku, p.name, (SELECT coalesce(sum(s.quantity), 0) "
        "FROM stock_on_hand AS s WHERE s.product_id = p.id AND s.store_id = q.store_id) AS here "
        "FROM question AS q JOIN product AS p ON p.id = q.about_key AND p.archived = 1 "
        "WHERE q.kind = ?1 AND q.decided = '' AND q.store_id = ?2 AND here > 0 "
        "ORDER BY q.asked_at, q.id",
        (ARCHIVED, store_id),
    )
    return [
        ArchivedGoods(
            id=str(row[0]), product_id=str(row[1]), sku=str(row[2]), name=str(row[3]),
            on_hand=int(str(row[4])),
        )
        for row in rows
    ]  # fmt: skip


def is_about_archived(replica: Replica, question_id: str) -> bool:
    """Return whether a question is one of these."""
    asked = "SELECT 1 FROM question WHERE id = ? AND kind = ?"
    return bool(replica.query(asked, (question_id, ARCHIVED)))


def decide_archived(
    replica: Replica, question_id: str, answer: str, *, actor: Actor = NOBODY
) -> None:
    """Answer a question. Raises `UsageError`: `no_question`, `bad_answer`, `already_decided`."""
    if answer not in ANSWERS:
        raise UsageError(f"{answer!r} is not one of {', '.join(ANSWERS)}", code="bad_answer")
    now_us = replica.device_now_us()
    with replica.transaction() as db:
        found = db.execute(
            "SELECT about_key, decided, decided_by FROM question WHERE id = ? AND kind = ?",
            (question_id, ARCHIVED),
        )
        if not found:
            raise UsageError(f"there is no question {question_id}", code="no_question")
        product, decided, by = map(str, found[0])
        if decided:
            raise UsageError(
                f"{by or 'somebody'} has decided this: {ANSWERS.get(decided, decided)}",
                code="already_decided",
            )
        db.execute(
            "UPDATE question SET decided = ?, decided_by = ?, decided_at = ? WHERE id = ?",
            (answer, actor.person, now_us, question_id),
        )
        if answer == "offer":
            db.execute("UPDATE product SET archived = 0 WHERE id = ?", (product,))
