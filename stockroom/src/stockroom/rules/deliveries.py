"""Deliveries on the server: what is booked stands, and goods are received once.

Knows: what makes two receipts one. Must not know: how a draft is filled or shown.
The server is the first to see what two devices have received offline, so that it asks: the second
receipt is reversed in its own transaction, and a question says what was in it. On hand is what is
sure, on every device and in every report; the answer books the rest, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from stockroom import ids
from stockroom.deliveries import SAME_NOTE_DAYS, same_note
from stockroom.questions import BOOKED_TWICE, REALLY_MORE, RECEIVED_TWICE, TAKEN_BACK
from stockroom.rules.tills import worker

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleChange, RuleContext

_DAY_US: Final = 86_400_000_000
_OVER: Final = ("undone", "dropped")
_SIGNED: Final = (
    ("started_by", "started_on", ""),
    ("booked_by", "booked_on", "booked"),
    ("undone_by", None, "undone"),
)
"""Who, on which device, and the state that they bring about."""
_LINE_FIXED: Final = ("delivery_id", "store_id", "product_id", "added_at")
_FIXED: Final = ("store_id", "started_by", "started_on", "started_at")
_BOOKED_FIXED: Final = (*_FIXED, "booked_by", "booked_on")
_BOOKED_WITH: Final = ("supplier_id", "document")
_RECEIVED: Final = (
    "id, product_id, store_id, quantity, kind, document, device, delivery_id, occurred_at"
)


def deliveries_stand_as_booked(context: RuleContext) -> None:
    """Refuse changes of what is booked but for its undo, removals, and lines of other deliveries.

    Note and supplier stay what they were when it was booked. What another device counts into a
    draft that was booked meanwhile stays beside it, not booked.
    """
    for change in _changes(context, "delivery"):
        old, new = change.old, change.new
        if new is None:
            context.refuse("append_only", "A delivery is never removed.", row=change.key)
        if old is None:
            continue
        fixed = _FIXED if old["status"] == "draft" else _BOOKED_FIXED
        moved_on = old["booked_at"] not in (None, new["booked_at"])
        if moved_on or any(old[name] != new[name] for name in fixed) or not _leads(old, new):
            context.refuse(
                "already_booked",
                f"This delivery is {old['status']!s}: it stands as it is, and can only be undone.",
                row=change.key,
            )
        late = {name: old[name] for name in _BOOKED_WITH if old[name] != new[name]}
        if late and old["status"] != "draft":
            context.add("delivery", {"id": new["id"], **late})
    moved = {change.key for change in _changes(context, "movement")}
    for change in _changes(context, "delivery_line"):
        _judge_line(context, change, moved)


def deliveries_are_signed(context: RuleContext) -> None:
    """Refuse a delivery in somebody else's name; write who and which device the server knows."""
    user, device = worker(context).user, context.principal.device
    for change in _changes(context, "delivery"):
        if change.new is None:
            continue
        signed: dict[str, object] = {}
        for by, on, state in _SIGNED:
            before = "" if change.old is None else change.old[by]
            if change.new[by] not in (before, "", user):
                context.refuse(
                    "not_yours",
                    f"You are signed in as {user}: a delivery cannot be in the name of "
                    "somebody else.",
                    field=by,
                    row=change.key,
                )
            if not before and state in ("", change.new["status"]):
                signed |= {by: user} if on is None else {by: user, on: device}
        if signed and any(change.new[name] != value for name, value in signed.items()):
            context.add("delivery", {"id": change.new["id"], **signed})


def goods_are_received_once(context: RuleContext) -> None:
    """Put in question what is received a second time: with the same note on another device, from
    one draft with another number, or from a delivery that was taken back meanwhile."""
    added = [change.new for change in _changes(context, "movement")
             if change.op == "insert" and change.new is not None]  # fmt: skip
    reversed_ = {str(row["reverses"]) for row in added if row["reverses"] is not None}
    damage = {str(row["id"]): row for row in added if row["kind"] == "damage"}
    for row in added:
        if row["kind"] == "receive" and row["reason"] == REALLY_MORE:
            _judge_again(context, row)
        elif row["kind"] == "receive" and row["id"] not in reversed_:
            asked = _in_question(context, row)
            if asked is not None:
                kind, other = asked
                _ask(context, row, kind, other)
                for one in (row, damage.get(ids.damaged_id(str(row["id"])))):
                    if one is not None:
                        _reverse(context, one)
    for change in _changes(context, "delivery"):
        if change.new is not None and change.new["status"] == "undone":
            _settle(context, change.new)


def decisions_stand(context: RuleContext) -> None:
    """Refuse another answer to a question that is decided, and one in somebody else's name."""
    user = worker(context).user
    for change in _changes(context, "question"):
        if change.new is None:
            continue
        before = {"decided": "", "decided_by": ""} if change.old is None else change.old
        if before["decided"] and change.new["decided"] != before["decided"]:
            context.refuse("already_decided", "This question is decided.", row=change.key)
        if change.new["decided_by"] not in (before["decided_by"], "", user):
            context.refuse(
                "not_yours",
                f"You are signed in as {user}: an answer cannot be in the name of somebody else.",
                field="decided_by",
                row=change.key,
            )
        if change.new["decided"] and not before["decided"] and change.new["decided_by"] != user:
            context.add("question", {"id": change.new["id"], "decided_by": user})


def _changes(context: RuleContext, table: str) -> Iterable[RuleChange]:
    return [change for change in context.changes if change.table == table]


def _leads(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether a delivery may go from one state to the other."""
    ways = {"draft": ("draft", "booked", "dropped"), "booked": ("booked", "undone")}
    return new["status"] in ways.get(str(old["status"]), (old["status"],))


def _judge_line(context: RuleContext, change: RuleChange, moved: set[str]) -> None:
    if change.new is None:
        context.refuse("append_only", "A line is never removed from the table.", row=change.key)
    new, old = change.new, change.old
    delivery = _delivery(context, new["delivery_id"])
    is_right = (
        delivery is not None
        and delivery["store_id"] == new["store_id"]
        and new["id"] == ids.delivery_line_id(str(new["delivery_id"]), str(new["product_id"]))
        and (old is None or all(old[name] == new[name] for name in _LINE_FIXED))
    )
    before = 0 if old is None else int(str(old["booked"]))
    booked = int(str(new["booked"])) - before
    if booked:
        movement = ids.received_id(str(new["id"]), before, booked)
        is_right = is_right and booked > 0 and movement in moved
    if not is_right:
        context.refuse(
            "bad_line",
            "A line belongs to one delivery of its store, and is booked by its movement.",
            row=change.key,
        )


def _delivery(context: RuleContext, delivery_id: object) -> Mapping[str, Any] | None:
    """The document as it stands with this transaction."""
    return context.row("delivery", str(delivery_id))


def _in_question(
    context: RuleContext, row: Mapping[str, Any]
) -> tuple[str, Mapping[str, Any] | None] | None:
    delivery = None
    if row["delivery_id"] is not None:
        delivery = _delivery(context, row["delivery_id"])
        if delivery is None or delivery["store_id"] != row["store_id"]:
            context.refuse("bad_delivery", "This is no delivery of the movement's store.",
                           field="delivery_id", row=row["id"])  # fmt: skip
        if delivery["status"] in _OVER:
            return TAKEN_BACK, None
    note = same_note(str(row["document"]))
    if not note and delivery is None:
        return None
    line = ids.delivery_line_id(str(row["delivery_id"]), str(row["product_id"]))
    more = delivery is not None and _is_more(context, line)
    for other in _others(context, row):
        if delivery is not None and other["delivery_id"] == row["delivery_id"]:
            if _is_first(line, row) and _is_first(line, other):
                return BOOKED_TWICE, other
        elif (
            note
            and not more
            and other["device"] != context.principal.device
            and same_note(str(other["document"])) == note
            and abs(other["occurred_at"] - row["occurred_at"]) <= SAME_NOTE_DAYS * _DAY_US
            and _may_be_one(context, delivery, other)
        ):
            return RECEIVED_TWICE, other
    return None


def _is_first(line: str, row: Mapping[str, Any]) -> bool:
    """Return whether this is what a line became when none of it was booked."""
    return bool(row["id"] == ids.received_id(line, 0, int(row["quantity"])))


def _is_more(context: RuleContext, line: str) -> bool:
    row = context.row("delivery_line", line)
    return row is not None and bool(row["more"])


def _may_be_one(
    context: RuleContext, delivery: Mapping[str, Any] | None, other: Mapping[str, Any]
) -> bool:
    """Return whether nothing speaks against one supplier's note: two numbers may be the same."""
    if delivery is None or other["delivery_id"] is None:
        return True
    theirs = _delivery(context, other["delivery_id"])
    mine = delivery["supplier_id"]
    return theirs is None or None in (mine, theirs["supplier_id"]) or mine == theirs["supplier_id"]


def _others(context: RuleContext, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Receipts of these goods at the store that were before and stand, the oldest first."""
    found = context.query(
        f"SELECT {_RECEIVED} FROM movement AS m WHERE m.product_id = ? AND m.store_id = ? "
        "AND m.kind = 'receive' AND m.id <> ? AND (m.document <> '' OR m.delivery_id IS NOT NULL) "
        "AND NOT EXISTS (SELECT 1 FROM movement AS r WHERE r.product_id = m.product_id "
        "AND r.reverses = m.id) ORDER BY m.occurred_at, m.id",
        [str(row["product_id"]), str(row["store_id"]), str(row["id"])],
    )
    return [dict(one) for one in found]


def _ask(
    context: RuleContext, row: Mapping[str, Any], kind: str, other: Mapping[str, Any] | None
) -> None:
    context.add(
        "question",
        {
            "id": ids.question_id(kind, str(row["id"])),
            "store_id": row["store_id"],
            "kind": kind,
            "about_table": "movement",
            "about_key": row["id"],
            "other_key": "" if other is None else other["id"],
            "in_question": row["quantity"],
            "asked_at": context.now_us,
        },
    )


def _reverse(context: RuleContext, row: Mapping[str, Any]) -> None:
    same = ("product_id", "location_id", "store_id", "document", "delivery_id")
    context.add(
        "movement",
        {
            "id": ids.reversal_id(str(row["id"])),
            "quantity": -int(row["quantity"]),
            "kind": "reversal",
            "reason": "in question",
            "reverses": row["id"],
            "person": worker(context).user,
            "device": context.principal.device,
            "occurred_at": context.now_us,
            **{name: row[name] for name in same},
        },
    )


def _judge_again(context: RuleContext, row: Mapping[str, Any]) -> None:
    """Refuse to book what was in question unless that was the answer."""
    found: list[dict[str, Any]] = [
        dict(change.new) for change in _changes(context, "question") if change.new is not None
    ]
    found += [
        dict(one)
        for one in context.query(
            "SELECT about_key, decided FROM question WHERE store_id = ? AND decided <> ''",
            [str(row["store_id"])],
        )
    ]
    for one in found:
        if ids.again_id(str(one["about_key"])) == row["id"] and one["decided"] not in ("", "same"):
            return
    context.refuse(
        "already_decided",
        "Somebody has decided this meanwhile: the goods came in once.",
        row=row["id"],
    )


def _settle(context: RuleContext, delivery: Mapping[str, Any]) -> None:
    """Close the questions about what is taken back."""
    for one in context.query(
        "SELECT q.id FROM question AS q JOIN movement AS m ON m.id = q.about_key "
        "WHERE q.store_id = ? AND q.decided = '' AND m.delivery_id = ?",
        [str(delivery["store_id"]), str(delivery["id"])],
    ):
        context.add(
            "question",
            {
                "id": one["id"],
                "decided": "same",
                "decided_by": worker(context).user,
                "decided_at": context.now_us,
            },
        )
