"""Verbs of `stockroom device` for deliveries, and for goods that were received twice.

Knows: verbs and their options. Must not know: SQL.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from holdfast.core.errors import UsageError
from stockroom import archived_goods, catalogue, deliveries, questions, stock
from stockroom.cli import output
from stockroom.cli.session import Device, opened
from stockroom.deliveries import Counted
from stockroom.names import Names, read_names
from stockroom.packs import in_words


def receive(
    context: typer.Context,
    *,
    sku: Annotated[str | None, typer.Argument(metavar="SKU", help="SKU or barcode.")] = None,
    quantity: Annotated[
        int | None, typer.Argument(help="At least 1; of a case's barcode, cases.")
    ] = None,
    sku_option: Annotated[str | None, typer.Option("--sku", help="The same, as an option.")] = None,
    quantity_option: Annotated[
        int | None, typer.Option("--quantity", "-q", help="The same, as an option.")
    ] = None,
    document: Annotated[str, typer.Option(help="Number of the delivery note.")] = "",
    supplier: Annotated[str, typer.Option(help="Who sent it: a supplier's name.")] = "",
    expected: Annotated[int | None, typer.Option(help="How many the note says.")] = None,
    damaged: Annotated[int, typer.Option(help="How many of them arrived damaged.")] = 0,
    more: Annotated[
        bool, typer.Option("--more", help="They come on top of those with the same note.")
    ] = False,
    note: Annotated[str, typer.Option()] = "",
) -> None:
    """Goods came in: a delivery of one line, booked at once."""
    amount = quantity if quantity is not None else quantity_option
    if amount is None:
        raise typer.BadParameter("say how many came in", param_hint="QUANTITY")
    wanted = sku or sku_option
    if not wanted:
        raise UsageError("name a product by its SKU or barcode", code="no_sku")
    if amount < 1:
        raise UsageError("one receives at least 1; to take out, adjust", code="bad_quantity")
    with opened(context.obj) as device:
        replica, place = device.replica, device.place
        product, pack = catalogue.scanned(replica, wanted)
        supplier_id = deliveries.find_supplier(replica, supplier) if supplier else None
        _check_not_received(device, product.id, document, more=more)
        before = stock.on_hand(replica, product.id, store_id=place.store_id)
        delivery, made = deliveries.receive(
            replica,
            place,
            product.id,
            Counted(
                to=amount * pack,
                damaged=damaged * pack,
                expected=None if expected is None else expected * pack,
                more=more,
            ),
            document=document,
            supplier_id=supplier_id,
            note=note,
            actor=device.actor,
        )
        data = {
            "sku": product.sku,
            "pack": pack,
            "before": before,
            "after": before + sum(one.quantity for one in made),
            "on_hand": before + sum(one.quantity for one in made),
            "state": replica.row_status("movement", made[0].id),
            "movement": asdict(made[0]),
            "delivery": asdict(deliveries.get_delivery(replica, delivery)),
        }
        device.answer(
            data,
            lambda: output.say(
                f"{product.sku}: {before} becomes {data['after']} ({amount * pack:+d}"
                + ("" if pack == 1 else f": {in_words(amount, pack)}")
                + (f", {damaged * pack} of them damaged)." if damaged else ").")
            ),
        )


def list_deliveries(
    context: typer.Context,
    *,
    delivery: Annotated[str | None, typer.Argument(metavar="ID", help="With its lines.")] = None,
    status: Annotated[
        str | None, typer.Option(help="draft, booked, undone or dropped; without it, all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
) -> None:
    """Deliveries of the store, the newest first; with an ID, one and its lines."""
    with opened(context.obj) as device:
        if delivery is not None:
            _tell_one(device, delivery)
            return
        found = deliveries.deliveries(
            device.replica, store_id=device.store_id, status=status, limit=limit
        )

        def words() -> None:
            rows = [
                (d.id, d.document, d.supplier, d.status, d.started_by, str(d.lines), str(d.units))
                for d in found
            ]
            columns = ("id", "note", "supplier", "status", "started by", "lines#", "units#")
            output.show_table("Deliveries", columns, rows)

        device.answer({"deliveries": [asdict(one) for one in found]}, words)


def undo_delivery(
    context: typer.Context, *, delivery: Annotated[str, typer.Argument(metavar="ID")]
) -> None:
    """Take a booked delivery back, all of it."""
    with opened(context.obj) as device:
        reversed_ = deliveries.undo(device.replica, delivery, actor=device.actor)
        document = asdict(deliveries.get_delivery(device.replica, delivery))
        device.answer(
            {"delivery": document, "reversed": reversed_},
            lambda: output.say(f"Taken back: {reversed_} movements were reversed."),
        )


def list_questions(context: typer.Context) -> None:
    """Goods of the store that may have been received twice, and are not on hand until decided."""
    with opened(context.obj) as device:
        found = questions.open_questions(device.replica, device.store_id)
        stopped = archived_goods.archived_goods(device.replica, device.store_id)
        names = read_names(device.replica)

        def words() -> None:
            for one in found:
                output.say(_asked(one, names))
            if found:
                answers = "\n".join(f"  {name}: {what}" for name, what in questions.ANSWERS.items())
                output.say(f"Answer with `stockroom device decide ID ANSWER`:\n{answers}")
            for one_stopped in stopped:
                output.say(
                    f"{one_stopped.id}\n  {one_stopped.name} ({one_stopped.sku}) is archived, and "
                    f"{one_stopped.on_hand} are on hand: is it still sold?"
                )
            if stopped:
                answers = "\n".join(
                    f"  {name}: {what}" for name, what in archived_goods.ANSWERS.items()
                )
                output.say(f"Answer with `stockroom device decide ID ANSWER`:\n{answers}")
            if not found and not stopped:
                output.say("Nothing is in question.")

        asked = [asdict(one) for one in found]
        archived = [asdict(one) for one in stopped]
        device.answer({"questions": asked, "archived": archived}, words)


def decide(
    context: typer.Context,
    *,
    question: Annotated[str, typer.Argument(metavar="ID")],
    answer: Annotated[str, typer.Argument(help="same, more or instead; offer or leave.")],
) -> None:
    """Decide whether goods were received twice; works offline, and the first answer stands."""
    with opened(context.obj) as device:
        if archived_goods.is_about_archived(device.replica, question):
            archived_goods.decide_archived(device.replica, question, answer, actor=device.actor)
            device.answer(
                {"question": question, "answer": answer},
                lambda: output.say(f"Decided: {archived_goods.ANSWERS[answer]}."),
            )
            return
        booked = questions.decide(device.replica, question, answer, actor=device.actor)
        device.answer(
            {"question": question, "answer": answer, "booked": booked},
            lambda: output.say(f"Decided: {questions.ANSWERS[answer]}; {booked:+d} units."),
        )


def _check_not_received(device: Device, product_id: str, document: str, *, more: bool) -> None:
    """Refuse what another device has received with this note, unless it comes on top."""
    if more:
        return
    before = deliveries.received_before(
        device.replica,
        device.store_id,
        document,
        [product_id],
        device=device.actor.device,
    )
    if before:
        who = read_names(device.replica).person(before[0].person)
        raise UsageError(
            f"{who or 'somebody'} has received {before[0].quantity} of these with "
            f"this note: say --more if they come on top",
            code="received_already",
        )


def _tell_one(device: Device, delivery_id: str) -> None:
    document = deliveries.get_delivery(device.replica, delivery_id)
    lines = deliveries.lines(device.replica, delivery_id)

    def words() -> None:
        rows = [
            (x.sku, x.name, "" if x.expected is None else str(x.expected), str(x.here),
             str(x.damaged or ""), str(x.booked))
            for x in lines
        ]  # fmt: skip
        columns = ("SKU", "name", "expected#", "here#", "damaged#", "booked#")
        output.show_table(f"Delivery {document.document}: {document.status}", columns, rows)

    data: dict[str, Any] = {"delivery": asdict(document), "lines": [asdict(one) for one in lines]}
    device.answer(data, words)


def _asked(one: questions.Question, names: Names) -> str:
    note = f" with note {one.document}" if one.document else ""
    first = "the delivery was taken back meanwhile"
    if one.first:
        first = f"{names.person(one.first_person) or 'somebody'} received {one.first} before"
    return (
        f"{one.id}\n  {one.name} ({one.sku}): {names.person(one.person) or 'somebody'} received "
        f"{one.quantity}{note}; {first}. Not on hand until decided."
    )
