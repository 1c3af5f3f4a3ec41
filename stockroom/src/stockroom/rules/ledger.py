"""The ledger on the server: a movement is written once, whole, at its own store, by who sends it.

Knows: what a movement may say. Must not know: how changes are stored or merged.
Two devices that write the same movement (one undo, made on both) meet in one row: the schema's
`server` policy lets the first writing stand, so that nothing is left here for a rule to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stockroom import ids
from stockroom.rules.rows import rows_in
from stockroom.rules.tills import worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.server.push.rules import RuleContext

_SAME_GOODS: Final = ("product_id", "location_id", "store_id")


def movements_are_only_added(context: RuleContext) -> None:
    """Refuse any change of a movement, and its removal: it is only ever reversed."""
    for change in context.changes:
        if change.table == "movement" and change.op != "insert":
            context.refuse(
                "append_only",
                "A movement is never changed: undo it with a reversal.",
                row=change.key,
            )


def movements_fit_their_store(context: RuleContext) -> None:
    """Refuse a movement whose location is not one of its store."""
    # A store's first location is known by its id: nothing has to be read.
    moved = [row for row in _added(context) if row["location_id"] != _first(row)]
    if not moved:
        return
    stores = _stores_of(context, {str(row["location_id"]) for row in moved})
    for row in moved:
        if stores.get(str(row["location_id"])) != row["store_id"]:
            context.refuse(
                "bad_location",
                "This location is not one of the movement's store.",
                field="location_id",
                row=row["id"],
            )


def reversals_are_exact_opposites(context: RuleContext) -> None:
    """Refuse a reversal that is not the exact opposite of a movement of the same store.

    A movement is reversed once: the reversal's id follows from it.
    """
    added = {str(row["id"]): row for row in _added(context)}
    reversals = [row for row in added.values() if _is_reversal(row)]
    wanted = {str(row["reverses"]) for row in reversals} - added.keys()
    originals = added | _movements(context, wanted)
    for row in reversals:
        original = originals.get(str(row["reverses"]))
        if original is None or not _undoes(row, original):
            context.refuse(
                "bad_reversal",
                "A reversal undoes one movement of the same store, all of it, once.",
                field="reverses",
                row=row["id"],
            )


def movements_are_signed(context: RuleContext) -> None:
    """Refuse a movement in somebody else's name; write who and which device the server knows.

    A device that works offline before its first contact does not know its own name yet.
    """
    user, device = worker(context).user, context.principal.device
    for row in _added(context):
        if row["person"] not in ("", user):
            context.refuse(
                "not_yours",
                f"You are signed in as {user}: a movement cannot be in the name of somebody else.",
                field="person",
                row=row["id"],
            )
        if (row["person"], row["device"]) != (user, device):
            context.add("movement", {**row, "person": user, "device": device})


def _added(context: RuleContext) -> Iterable[Mapping[str, Any]]:
    return [
        change.new
        for change in context.changes
        if change.table == "movement" and change.op == "insert" and change.new is not None
    ]


def _first(movement: Mapping[str, Any]) -> str:
    return ids.first_location_id(str(movement["store_id"]))


def _is_reversal(movement: Mapping[str, Any]) -> bool:
    return movement["kind"] == "reversal" or movement["reverses"] is not None


def _undoes(reversal: Mapping[str, Any], original: Mapping[str, Any]) -> bool:
    return (
        reversal["kind"] == "reversal"
        and reversal["id"] == ids.reversal_id(str(original["id"]))
        and reversal["quantity"] == -original["quantity"]
        and all(reversal[name] == original[name] for name in _SAME_GOODS)
    )


def _stores_of(context: RuleContext, locations: set[str]) -> dict[str, Any]:
    """The store of each location, those that this transaction makes included."""
    known = {
        row["id"]: row["store_id"]
        for row in rows_in(context, "SELECT id, store_id FROM location WHERE id IN", locations)
    }
    made = {
        change.new["id"]: change.new["store_id"]
        for change in context.changes
        if change.table == "location" and change.new is not None
    }
    return {str(location): store for location, store in (known | made).items()}


def _movements(context: RuleContext, wanted: set[str]) -> dict[str, Mapping[str, Any]]:
    found = rows_in(
        context,
        "SELECT id, product_id, location_id, store_id, quantity FROM movement WHERE id IN",
        wanted,
    )
    return {str(row["id"]): row for row in found}
