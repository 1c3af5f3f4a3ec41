"""Roles on the server: who may change prices, stores and what all stores share.

Knows: which change is which deed. Must not know: how people are kept, or what an app shows them.
What a role may do is the shop's to say (`permission`), with defaults that are safe (`permissions`).
The shop itself and what roles may do are the owner's, whose role is called `admin` here. Somebody
without a role is an employee.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stockroom import ids
from stockroom.permissions import deed_of, default_of
from stockroom.rules.tills import worker
from stockroom.schema import FIRST_LOCATION_NAME

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleChange, RuleContext

MANAGING: Final = frozenset({"manager", "admin"})
OWNING: Final = frozenset({"admin"})

_COLUMNS: Final = {
    "price": "change the price of a product",
    "cost": "change the cost of a product",
    "currency": "change the currency of a product",
    "unit": "change the unit of a product",
    "archived": "archive a product or take it back",
    "merged_into": "make two products one",
}
"""Columns of a product that are not its words: what is done to them."""
_TABLES: Final = {
    "supplier": ("supplier", "change suppliers"),
    "reorder_rule": ("supplier", "change when to order again"),
    "employee": ("store", "change the list of employees"),
}
_ADDED: Final = {
    "product": ("add", "add products"),
    "category": ("add", "add categories"),
    "barcode": ("add", "add codes"),
}
_ELSE: Final = {
    "product": ("archive", "remove a product"),
    "category": ("code", "rename or remove a category"),
    "barcode": ("code", "move or remove a code"),
}
"""What else is done to a row of these tables."""
_SALES: Final = frozenset({"sale", "customer_return"})
_ARRIVALS: Final = frozenset({"receive", "opening"})
_OWNERS_TABLES: Final = {
    "shop": "the shop's name, currency and language",
    "permission": "what each role may do",
}


def roles_change_what_they_may(context: RuleContext) -> None:
    """Refuse changes of goods and suppliers that the sender's role may not make."""
    for change in context.changes:
        if change.table in _TABLES:
            _check(context, change, *_TABLES[change.table])
        elif change.table not in _ADDED:
            continue
        elif change.op == "insert":
            _check(context, change, *_ADDED[change.table])
        elif change.table != "product" or change.old is None or change.new is None:
            _check(context, change, *_ELSE[change.table])
        else:
            moved = [name for name, value in change.old.items() if change.new[name] != value]
            for column in moved:
                words = _COLUMNS.get(column, "change what a product is called")
                _check(context, change, deed_of(column), words, field=column)


def roles_move_what_they_may(context: RuleContext) -> None:
    """Refuse receipts, sales and other movements of stock that the sender's role may not make."""
    for change in context.changes:
        if change.table in ("delivery", "delivery_line"):
            _check(context, change, "receive", "receive deliveries")
        if change.table != "movement" or change.op != "insert" or change.new is None:
            continue
        kind = change.new["kind"]
        if kind == "reversal":
            _check_undo(context, change, str(change.new["reverses"]))
        elif kind in _ARRIVALS or change.new["delivery_id"] is not None:
            _check(context, change, "receive", "receive goods")
        elif kind in _SALES:
            _check(context, change, "sell", "sell")
        else:
            _check(context, change, "adjust", "adjust stock")


def costs_are_kept_apart(context: RuleContext) -> None:
    """Move a cost that came with a product to where only those see it who may."""
    for change in context.changes:
        if change.table != "product" or change.new is None or change.new["cost"] is None:
            continue
        product, amount = change.new["id"], change.new["cost"]
        cost = {"product_id": product, "cost": amount, "currency": change.new["currency"]}
        context.add("product_cost", cost)
        context.add("product", {"id": product, "cost": None})


def stores_are_changed_by_who_works_there(context: RuleContext) -> None:
    """Refuse changes of stores by whose role may not, and of stores one does not work at.

    What opening a store offline writes is let through: the store without a name, and its first
    location.
    """
    for change in context.changes:
        if change.table not in ("store", "location"):
            continue
        rows = [row for row in (change.old, change.new) if row is not None]
        stores = {str(row["id" if change.table == "store" else "store_id"]) for row in rows}
        if not all(context.principal.may_write(f"store/{store}") for store in stores):
            context.refuse("not_your_store", "You do not work at this store.", row=change.key)
        if not _is_opening(change):
            _check(context, change, "store", "change stores and their locations")


def only_owners_change_the_shop(context: RuleContext) -> None:
    """Refuse changes of the shop itself and of what roles may do, by anybody but the owner."""
    if OWNING.intersection(worker(context).roles):
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
    user = worker(context).user
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


def _check_undo(context: RuleContext, change: RuleChange, reverses: str) -> None:
    """Refuse to undo what somebody else has booked to whose role may not."""
    if _may(context, "undo"):
        return
    original = context.row("movement", reverses)
    if original is None or original["person"] != worker(context).user:
        _check(context, change, "undo", "undo what others have booked")


def _check(
    context: RuleContext, change: RuleChange, deed: str, words: str, *, field: str | None = None
) -> None:
    """Refuse a deed that the sender's role may not do."""
    if _may(context, deed):
        return
    managers = not MANAGING.intersection(worker(context).roles) and _said(context, "manager", deed)
    who, code = ("a manager", "managers_only") if managers else ("the owner", "owners_only")
    whom = "one" if managers else "them"
    context.refuse(code, f"Only {who} may {words}: ask {whom} to do it.", field=field,
                   row=change.key)  # fmt: skip


def _may(context: RuleContext, deed: str) -> bool:
    roles = worker(context).roles
    if OWNING.intersection(roles):
        return True
    return _said(context, "manager" if MANAGING.intersection(roles) else "employee", deed)


def _said(context: RuleContext, role: str, deed: str) -> bool:
    row = context.row("permission", role, deed)
    return default_of(role, deed) if row is None else bool(row["allowed"])
