"""Roles on the server: who may change prices, stores and what all stores share.

Knows: what is a manager's. Must not know: how people are kept, or what an app shows them.
Everybody who may write at a store adds products with their prices, codes and categories, words
them, and moves stock. A manager also changes prices, archives, keeps suppliers, and looks after
the stores they work at. The shop itself and people's names are the owner's, whose role is called
`admin` here. Somebody without a role is an employee.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stockroom import ids
from stockroom.schema import FIRST_LOCATION_NAME

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleChange, RuleContext

MANAGING: Final = frozenset({"manager", "admin"})
OWNING: Final = frozenset({"admin"})

_MANAGERS_COLUMNS: Final = {
    "price": "the price of a product",
    "cost": "the cost of a product",
    "currency": "the currency of a product",
    "unit": "the unit of a product",
    "archived": "whether a product is archived",
}
_MANAGERS_TABLES: Final = {
    "supplier": "suppliers",
    "reorder_rule": "when to order again",
    "employee": "the list of employees",
}
_OWNERS_TABLES: Final = {
    "shop": "the shop's name, currency and language",
    "person": "what people are called",
}
_ADDED_BY_ALL: Final = {
    "product": "remove a product",
    "category": "rename or remove a category",
    "barcode": "move or remove a code",
}
"""Tables that employees add to; what else is done to a row, in words."""


def only_managers_change_the_catalogue(context: RuleContext) -> None:
    """Refuse an employee's prices of what is there, archiving, suppliers and removals."""
    if MANAGING.intersection(context.principal.roles):
        return
    for change in context.changes:
        if change.table in _MANAGERS_TABLES:
            _refuse(context, change, f"change {_MANAGERS_TABLES[change.table]}")
        elif change.table not in _ADDED_BY_ALL or change.op == "insert":
            continue
        elif change.table != "product" or change.old is None or change.new is None:
            _refuse(context, change, _ADDED_BY_ALL[change.table])
        else:
            for column, words in _MANAGERS_COLUMNS.items():
                if change.old[column] != change.new[column]:
                    _refuse(context, change, f"change {words}", field=column)


def only_managers_change_stores(context: RuleContext) -> None:
    """Refuse changes of stores and locations by employees, and of stores one does not work at.

    What opening a store offline writes is let through: the store without a name, and its first
    location.
    """
    managing = bool(MANAGING.intersection(context.principal.roles))
    for change in context.changes:
        if change.table not in ("store", "location"):
            continue
        rows = [row for row in (change.old, change.new) if row is not None]
        stores = {str(row["id" if change.table == "store" else "store_id"]) for row in rows}
        if not all(context.principal.may_write(f"store/{store}") for store in stores):
            context.refuse("not_your_store", "You do not work at this store.", row=change.key)
        if not managing and not _is_opening(change):
            _refuse(context, change, "change stores and their locations")


def only_owners_change_the_shop(context: RuleContext) -> None:
    """Refuse changes of the shop itself and of what people are called, by anybody but the owner."""
    if OWNING.intersection(context.principal.roles):
        return
    for change in context.changes:
        if change.table in _OWNERS_TABLES:
            context.refuse(
                "owners_only",
                f"Only the owner may change {_OWNERS_TABLES[change.table]}: ask them to do it.",
                row=change.key,
            )


def answers_are_signed(context: RuleContext) -> None:
    """Refuse an answer to a question in somebody else's name."""
    user = context.principal.user
    for change in context.changes:
        if change.table != "question" or change.new is None:
            continue
        before = "" if change.old is None else change.old["answered_by"]
        if change.new["answered_by"] not in (before, "", user):
            context.refuse(
                "not_yours",
                f"You are signed in as {user}: an answer cannot be in the name of somebody else.",
                field="answered_by",
                row=change.key,
            )


def _is_opening(change: RuleChange) -> bool:
    """Return whether this is what a device writes that is the first to open a store."""
    new = change.new
    if change.op != "insert" or new is None:
        return False
    if change.table == "store":
        return new["name"] == ""
    return (
        new["id"] == ids.first_location_id(str(new["store_id"]))
        and new["name"] == FIRST_LOCATION_NAME
        and not new["archived"]
    )


def _refuse(
    context: RuleContext, change: RuleChange, what: str, *, field: str | None = None
) -> None:
    context.refuse(
        "managers_only",
        f"Only a manager may {what}: ask one to do it.",
        field=field,
        row=change.key,
    )
