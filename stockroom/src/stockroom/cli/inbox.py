"""`stockroom device inbox|resolve|retry|discard`: what waits for a person, labelled by who looks.

Knows: the verbs, and how a conflict and a refusal are told. Must not know: SQL or the network.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from holdfast.cli.output import moment
from holdfast.core.errors import UsageError
from stockroom import refused as mending
from stockroom.catalogue import Product
from stockroom.cli import amounts, output
from stockroom.cli.product import product_data
from stockroom.cli.session import Device, opened

if TYPE_CHECKING:
    from holdfast import Replica
    from holdfast.replica.inbox.inbox import Conflict, Refused

Item = Annotated[str, typer.Argument(metavar="ID", help="As the inbox shows it.")]
Side = Literal["device", "server", "yours", "other"]


def inbox(context: typer.Context) -> None:
    """Conflicts and refused changes, with whose value is whose and what can be done."""
    with opened(context.obj) as device:
        replica = device.replica
        conflicts, refused = replica.conflicts(), replica.refused()
        data = {
            "conflicts": [one.to_dict() for one in conflicts],
            "refused": [{**asdict(one), "same_as": _same_as(replica, one)} for one in refused],
        }

        def words() -> None:
            for conflict in conflicts:
                _tell_conflict(device, conflict)
            for one in refused:
                _tell_refused(replica, one)
            if not conflicts and not refused:
                output.say("Nothing needs you.")

        device.answer(data, words)


def resolve(
    context: typer.Context,
    item: Item,
    *,
    keep: Annotated[Side | None, typer.Option(help="The side that stays.")] = None,
    value: Annotated[str | None, typer.Option("--set", help="Another value.")] = None,
) -> None:
    """Settle a conflict; offline too. `yours` is the side of this device, or else of its user."""
    with opened(context.obj) as device:
        if (keep is None) == (value is None):
            sides = "|".join(get_args(Side))
            raise UsageError(f"say either --keep {sides} or --set VALUE", code="bad_choice")
        if keep is not None:
            device.replica.resolve(item, keep=keep)
        else:
            device.replica.resolve(item, value=_typed(device.replica, item, value or ""))
        device.answer({"ok": True, "id": item}, lambda: output.say(f"Decided {item}."))


def retry(
    context: typer.Context,
    item: Item,
    *,
    sku: Annotated[
        str | None, typer.Option(help="Another SKU, for a new product whose SKU is taken.")
    ] = None,
    same: Annotated[
        bool,
        typer.Option(
            "--same",
            help="It is the product that has this SKU: values, codes and movements go to that one.",
        ),
    ] = False,
) -> None:
    """Make a refused change again: as it was, with another SKU, or on the product that is there."""
    with opened(context.obj) as device:
        if sku is not None and same:
            raise UsageError("say either --sku or --same", code="bad_choice")
        data: dict[str, Any] = {"ok": True, "id": item}
        if same:
            there = mending.same_product(device.replica, _refused(device.replica, item))
            data["product"] = product_data(device.replica, there)
        elif sku is not None:
            mending.use_other_sku(device.replica, _refused(device.replica, item), sku)
        else:
            data["numbers"] = device.replica.retry(item)
        device.answer(data, lambda: output.say(f"Made {item} again; it goes with the next sync."))


def discard(context: typer.Context, item: Item) -> None:
    """Give a refused change up; what waited for it goes on where it can."""
    with opened(context.obj) as device:
        freed = device.replica.discard(item)
        data = {"ok": True, "id": item, "goes_on": list(freed.numbers),
                "kept": [asdict(one) for one in freed.kept]}  # fmt: skip
        device.answer(data, lambda: output.say(f"Discarded {item}."))


def _refused(replica: Replica, item: str) -> Refused:
    for one in replica.refused():
        if one.id == item:
            return one
    raise UsageError(f"no refused change has the id {item}", code="no_refused")


def _same_as(replica: Replica, item: Refused) -> str | None:
    found = mending.other_product(replica, item)
    return None if found is None else found.sku


def _name(replica: Replica, conflict: Conflict) -> str:
    """The name of what a conflict is about."""
    if conflict.table in ("product", "product_cost") and (
        rows := replica.query("SELECT name FROM product WHERE id = ?", (conflict.key,))
    ):
        return str(rows[0][0])
    return conflict.key


def _typed(replica: Replica, item: str, text: str) -> Any:
    """A typed amount, with its currency, in minor units; anything else as it is."""
    for conflict in replica.conflicts():
        if conflict.id == item and amounts.is_about_amounts(conflict):
            return amounts.typed(conflict, text)
    return text


def _shown(conflict: Conflict, value: Any) -> str:
    if value is None:
        return "removed" if conflict.kind == "delete" else "(empty)"
    if amounts.is_about_amounts(conflict):
        return amounts.told(conflict, value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)


def _tell_conflict(device: Device, conflict: Conflict) -> None:
    status = device.replica.status
    name = _name(device.replica, conflict)
    column = conflict.column
    if amounts.is_about_amounts(conflict):
        column = " and ".join(amounts.asked(conflict))
    what = f"{column} of {name}" if column else name
    base = "" if conflict.kind == "delete" else f" It was {_shown(conflict, conflict.base)}."
    output.say(f"{conflict.id}  Which {what}?{base}")
    for side, value, user, on, at in (
        ("device", conflict.device_value, conflict.user, conflict.device, conflict.at),
        ("server", conflict.server_value, conflict.their_user, conflict.their_device,
         conflict.their_at),
    ):  # fmt: skip
        who = "You" if user and user == status.user else user or "somebody"
        where = "this device" if on and on == status.device else on or "another device"
        parts = [who, where, *([] if at is None else [moment(at)])]
        own = "yours: " if conflict.yours == side else ""
        output.say(f"  {side}  {own}{_shown(conflict, value)}  ({' · '.join(parts)})")
    yours = "yours|other" if conflict.yours else "device|server"
    output.say(f"  settle it with: resolve {conflict.id} --keep {yours}, or --set VALUE")


def _tell_refused(replica: Replica, item: Refused) -> None:
    reason = item.message or (f"waits for {item.held_by}" if item.held_by else item.code)
    output.say(f"{item.id}  {'set aside' if item.set_aside else item.state}: {reason}")
    for change in item.changes:
        output.say(f"  {change['op']} {change['table']}: {change.get('new')}")
    there = mending.other_product(replica, item)
    if there is not None:
        _tell_same(item, there)


def _tell_same(item: Refused, there: Product) -> None:
    output.say(f"  {there.sku} is {there.name} by now. Another product: retry {item.id} --sku SKU.")
    change = mending.taken_sku(item) or {}
    edits = mending.edits_of(there, change.get("new", {}))
    said = ", ".join(f"{name}: {value}" for name, value in edits.items())
    output.say(
        f"  The same product: retry {item.id} --same" + (f" (it gets {said})" if said else "")
    )
