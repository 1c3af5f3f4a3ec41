"""`stockroom device product`: the catalogue from a shell.

Knows: the options of products. Must not know: SQL, stock movements or the network.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.core.errors import UsageError
from stockroom import catalogue, stock
from stockroom.catalogue import Field, Product
from stockroom.changes import SHOWN_MAX, changes_of
from stockroom.cli import output
from stockroom.cli.session import opened
from stockroom.names import read_names
from stockroom.prices import parse_or_none

if TYPE_CHECKING:
    from holdfast import Replica

app = typer.Typer(no_args_is_help=True, help="Add, edit and list products.")

Sku = Annotated[str | None, typer.Argument(metavar="SKU", help="SKU.")]
SkuOption = Annotated[str | None, typer.Option("--sku", help="The same, as an option.")]
Text = Annotated[str | None, typer.Option()]
Barcodes = Annotated[
    list[str] | None,
    typer.Option("--barcode", help="May be given repeatedly; of a case of 12: 'CODE x12'."),
]
AsIs = Annotated[bool, typer.Option("--as-is", help="Barcodes are meant so, check digit or not.")]


def product_data(replica: Replica, product: Product) -> dict[str, Any]:
    """A product as JSON: with its barcodes, what is on hand and whether it is synced."""
    return {
        **asdict(product),
        "barcodes": catalogue.barcodes_of(replica, product.id),
        "packs": catalogue.packs_of(replica, product.id),
        "on_hand": stock.on_hand(replica, product.id),
        "state": replica.row_status("product", product.id),
    }


@app.command()
def add(
    context: typer.Context,
    *,
    sku: Sku = None,
    name: Text = None,
    sku_option: SkuOption = None,
    price: Annotated[
        str, typer.Option(help="Such as 12.50 or 12,50; without it there is no price yet.")
    ] = "",
    cost: Annotated[str | None, typer.Option(help="What it costs us.")] = None,
    currency: Annotated[
        str | None, typer.Option(help="Three letters; without it the shop's.")
    ] = None,
    quantity: Annotated[
        int | None, typer.Option("--quantity", "-q", help="Receive so many at once.")
    ] = None,
    barcode: Barcodes = None,
    as_is: AsIs = False,
    description: Annotated[str, typer.Option()] = "",
    shelf: Annotated[str, typer.Option()] = "",
    notes: Annotated[str, typer.Option()] = "",
    unit: Annotated[str, typer.Option()] = "piece",
) -> None:
    """Add a product; with --quantity its first stock is received too."""
    with opened(context.obj) as device:
        money = currency or device.currency
        product = catalogue.add_product(
            device.replica,
            sku=_named(sku, sku_option),
            name=name or _named(sku, sku_option),
            price=parse_or_none(price, currency=money, language=device.language),
            cost=parse_or_none(cost or "", currency=money, language=device.language),
            currency=money,
            description=description,
            shelf=shelf,
            notes=notes,
            unit=unit,
            barcodes=barcode or (),
            as_is=as_is,
        )
        if quantity is not None:
            stock.receive(device.replica, device.place, product.sku, quantity, actor=device.actor)
        data = {"product": product_data(device.replica, product)}
        device.answer(
            data, lambda: output.say(f"Added {product.sku}, {product.name}: {product.price_text}.")
        )


@app.command()
def edit(
    context: typer.Context,
    *,
    sku: Sku = None,
    sku_option: SkuOption = None,
    new_sku: Text = None,
    name: Text = None,
    price: Text = None,
    cost: Text = None,
    currency: Text = None,
    description: Text = None,
    shelf: Text = None,
    notes: Text = None,
    unit: Text = None,
    archived: Annotated[bool | None, typer.Option("--archive/--unarchive")] = None,
    barcode: Barcodes = None,
    as_is: AsIs = False,
) -> None:
    """Change what is given, and nothing else."""
    with opened(context.obj) as device:
        product = catalogue.get_product(device.replica, _named(sku, sku_option))
        money = currency or product.currency
        given: dict[str, Field] = {
            "sku": new_sku,
            "name": name,
            "currency": currency,
            "description": description,
            "shelf": shelf,
            "notes": notes,
            "unit": unit,
            "archived": None if archived is None else int(archived),
        }
        changes: dict[str, Field] = {
            column: value for column, value in given.items() if value is not None
        }
        for column, typed in (("price", price), ("cost", cost)):
            if typed is not None:  # empty: there is none any more
                changes[column] = parse_or_none(typed, currency=money, language=device.language)
        if not changes and not barcode:
            raise UsageError("nothing to change was given", code="nothing_given")
        edited = catalogue.edit_product(
            device.replica, product.sku, changes, barcodes=barcode or (), as_is=as_is
        )
        data = {"product": product_data(device.replica, edited)}
        device.answer(
            data, lambda: output.say(f"Changed {edited.sku}: {', '.join(changes) or 'barcodes'}.")
        )


@app.command("list")
def list_command(
    context: typer.Context,
    *,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 1000,
) -> None:
    """Products by SKU."""
    with opened(context.obj) as device:
        found = catalogue.list_products(device.replica, archived=archived, limit=limit)
        products = [product_data(device.replica, product) for product in found]

        def words() -> None:
            rows = [(p.sku, p.name, p.price_text, str(d["on_hand"]), str(d["state"]))
                    for p, d in zip(found, products, strict=True)]  # fmt: skip
            columns = ("SKU", "name", "price#", "on hand#", "state")
            output.show_table("Products", columns, rows)

        device.answer({"products": products}, words)


@app.command()
def history(
    context: typer.Context,
    *,
    sku: Sku = None,
    sku_option: SkuOption = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = SHOWN_MAX,
) -> None:
    """Show every change of a product: what, by whom, when, on which device."""
    with opened(context.obj) as device:
        product = catalogue.get_product(device.replica, _named(sku, sku_option))
        found = changes_of(device.replica, product.id, limit=limit)
        names = read_names(device.replica)
        who = [names.both(one.person, one.device) for one in found]

        def words() -> None:
            rows = [
                (_moment(one.changed_at), one.field, one.old_value, one.new_value, by)
                for one, by in zip(found, who, strict=True)
            ]
            output.show_table(product.name, ("when", "what", "before", "after", "who"), rows)

        data = {
            "product": product.id,
            "changes": [asdict(one) | {"who": by} for one, by in zip(found, who, strict=True)],
        }
        device.answer(data, words)


def _moment(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).astimezone().strftime("%d %b %Y, %H:%M")


@app.command()
def merge(
    context: typer.Context,
    *,
    sku: Annotated[str, typer.Argument(metavar="SKU", help="The product that is the same goods.")],
    into: Annotated[str, typer.Option(help="SKU of the product that stays.")],
) -> None:
    """Make two products one: stock, codes and history of both count as one; can be undone."""
    with opened(context.obj) as device:
        lead = catalogue.merge_products(device.replica, sku, into)
        data = {"product": product_data(device.replica, lead)}
        on_hand = data["product"]["on_hand"]
        device.answer(data, lambda: output.say(f"{sku} is {lead.sku} now: {on_hand} on hand."))


@app.command()
def part(
    context: typer.Context,
    *,
    sku: Annotated[str, typer.Argument(metavar="SKU", help="A product that was merged.")],
) -> None:
    """Undo a merge: the product is one of its own again."""
    with opened(context.obj) as device:
        product = catalogue.part_products(device.replica, sku)
        data = {"product": product_data(device.replica, product)}
        device.answer(data, lambda: output.say(f"{product.sku} is a product of its own again."))


def _named(sku: str | None, option: str | None) -> str:
    chosen = sku or option
    if not chosen:
        raise UsageError("name the product by its SKU", code="no_sku")
    return chosen
