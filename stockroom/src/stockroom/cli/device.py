"""`stockroom device`: working as one device from a shell, online or not.

Knows: verbs and their options. Must not know: SQL. Only `sync` and `init` use the network.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.core.errors import SyncError, UsageError
from stockroom import catalogue, stock
from stockroom.cli import deliveries, inbox, output, pin, staff
from stockroom.cli.product import app as product_app
from stockroom.cli.product import product_data
from stockroom.cli.session import Device, DeviceOptions, opened
from stockroom.names import Names, read_names
from stockroom.on_hand import check_stock, rebuild_stock
from stockroom.packs import in_words

app = typer.Typer(
    no_args_is_help=True,
    help="Work as one device (--db FILE), or see to the shop's devices (list, revoke, rename).",
)
_OF_THE_SHOP = ("list", "revoke", "rename")
_PANEL = "The shop's devices, at its server (--database)"
app.command("list", rich_help_panel=_PANEL)(staff.device_list)
app.command("revoke", rich_help_panel=_PANEL)(staff.device_revoke)
app.command("rename", rich_help_panel=_PANEL)(staff.device_rename)
app.add_typer(product_app, name="product")
for verb in (inbox.inbox, inbox.resolve, inbox.retry, inbox.discard):
    app.command()(verb)
app.command()(deliveries.receive)
app.command("deliveries")(deliveries.list_deliveries)
app.command("undo-delivery")(deliveries.undo_delivery)
app.command("questions")(deliveries.list_questions)
app.command()(deliveries.decide)
app.command()(pin.switch)
app.command()(pin.lock)

_SHARED = {"--db", "--server", "--token-file", "--ca", "--store", "--person"}

Sku = Annotated[str | None, typer.Argument(metavar="SKU", help="SKU or barcode.")]
SkuOption = Annotated[str | None, typer.Option("--sku", help="The same, as an option.")]


def hoisted(arguments: list[str]) -> list[str]:
    """Move the options that all device verbs share to the front: they may stand anywhere."""
    if not arguments or arguments[0] != "device":
        return arguments
    front, rest = ["device"], []
    words = iter(arguments[1:])
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--json" or word.partition("=")[0] in _SHARED:
            front.append(word)
            if word in _SHARED:
                front += [value for value in [next(words, None)] if value is not None]
        else:
            rest.append(word)
    return front + rest


@app.callback()
def shared(
    context: typer.Context,
    *,
    db: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The device's database; for all but those of the shop."),
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="The server; remembered in the database.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds the token; it stays there.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The shop's own authority, of serve --lan; remembered beside the database.",
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="ID", help="The store; remembered in the database.")
    ] = None,
    person: Annotated[str, typer.Option(help="Who is at work.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, last on stdout.")] = (
        False
    ),
) -> None:
    """Options that every verb shares; they may stand before or after it."""
    if db is None and context.invoked_subcommand not in _OF_THE_SHOP:
        raise typer.BadParameter(
            "name the device's database, such as --db till.db", param_hint="--db"
        )
    context.obj = DeviceOptions(
        db=db or Path(),
        server=server,
        token_file=token_file,
        authority=ca,
        store=store,
        person=person,
        as_json=as_json,
    )


@app.command()
def init(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Option(help="What the store is called.")] = "",
) -> None:
    """Make the device's database, fetch what there is, and open the store."""
    with opened(context.obj) as device:
        reached = False
        try:
            if device.replica.transport is not None:
                device.replica.sync()
                reached = True
        except SyncError as error:
            output.errors.print(f"Not yet synced: {error.message}", markup=False)
        place = stock.ensure_place(device.replica, device.store_id, name=name)
        data = {
            "db": str(device.options.db),
            "store": place.store_id,
            "location": place.location_id,
            "synced": reached,
        }
        device.answer(
            data, lambda: output.say(f"Ready: {device.options.db}, store {place.store_id}.")
        )


@app.command("stock")
def stock_command(
    context: typer.Context,
    *,
    sku: Sku = None,
    sku_option: SkuOption = None,
    ledger: Annotated[bool, typer.Option(help="Every movement of the product.")] = False,
    everywhere: Annotated[bool, typer.Option("--all", help="All stores this device sees.")] = False,
) -> None:
    """Show what is on hand, and how much of that is not sent yet."""
    wanted = sku or sku_option
    with opened(context.obj) as device:
        store = None if everywhere else device.store_id
        product = catalogue.get_product(device.replica, wanted) if wanted else None
        if ledger and product is None:
            raise UsageError("--ledger needs a product", code="no_product")
        lines = stock.stock_list(
            device.replica, store_id=store, product_id=product.id if product else None
        )
        data: dict[str, Any] = {"store": store, "stock": [asdict(line) for line in lines]}
        if product is not None:
            data["product"] = product_data(device.replica, product)
            data["on_hand"] = sum(line.quantity for line in lines)
        entries: list[stock.LedgerLine] = []
        names = read_names(device.replica)
        if ledger and product is not None:
            entries = stock.ledger(device.replica, product.id, store_id=store)
            data["ledger"] = [
                {**asdict(e.movement), "balance": e.balance, "who": _who(e, names)} for e in entries
            ]
        device.answer(data, lambda: _tell_stock(lines, entries, names))


@app.command()
def opening(
    context: typer.Context,
    *,
    sku: Sku = None,
    quantity: Annotated[
        int | None, typer.Argument(help="Base units; of a case's barcode, cases.")
    ] = None,
    sku_option: SkuOption = None,
    quantity_option: Annotated[int | None, typer.Option("--quantity", "-q")] = None,
) -> None:
    """Write what was there when the books were opened."""
    amount = quantity if quantity is not None else quantity_option
    if amount is None:
        raise typer.BadParameter("say how many there were", param_hint="QUANTITY")
    with opened(context.obj) as device:
        moved = stock.opening(
            device.replica, device.place, _named(sku, sku_option), amount, actor=device.actor
        )
        _answer_moved(device, moved)


@app.command()
def adjust(
    context: typer.Context,
    *,
    sku: Sku = None,
    sku_option: SkuOption = None,
    to: Annotated[
        int | None, typer.Option("--to", help="The number seen; of a case's barcode, cases.")
    ] = None,
    by: Annotated[
        int | None, typer.Option("--by", "--delta", help="The difference, such as --by -3.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why; the name of a kind, such as damage, counts as such.")
    ] = "",
    kind: Annotated[str | None, typer.Option(help="The kind of movement.")] = None,
    note: Annotated[str, typer.Option()] = "",
) -> None:
    """Correct the stock, to a number or by a difference, with a reason."""
    with opened(context.obj) as device:
        moved = stock.adjust(
            device.replica,
            device.place,
            _named(sku, sku_option),
            to=to,
            by=by,
            reason=reason,
            kind=kind,
            note=note,
            actor=device.actor,
        )
        _answer_moved(device, moved)


@app.command()
def undo(
    context: typer.Context,
    *,
    movement: Annotated[
        str | None, typer.Argument(help="Its id; without it, this device's last movement.")
    ] = None,
    reason: Annotated[str, typer.Option()] = "",
) -> None:
    """Reverse a movement; nothing is ever removed from the ledger."""
    with opened(context.obj) as device:
        chosen = movement or stock.last_movement_id(
            device.replica, store_id=device.store_id, device=device.actor.device
        )
        if chosen is None:
            raise UsageError("there is no movement to undo", code="no_movement")
        moved = stock.undo(device.replica, chosen, reason=reason, actor=device.actor)
        _answer_moved(device, moved)


@app.command()
def find(
    context: typer.Context,
    *,
    text: Annotated[list[str], typer.Argument(help="Words of the name, SKU or barcode.")],
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
) -> None:
    """Products by barcode, SKU or words, the best match first."""
    with opened(context.obj) as device:
        found = catalogue.find_products(device.replica, " ".join(text), limit=limit)
        products = [product_data(device.replica, product) for product in found]

        def words() -> None:
            rows = [
                (p.sku, p.name, p.price_text, str(data["on_hand"]))
                for p, data in zip(found, products, strict=True)
            ]
            output.show_table("Found", ("SKU", "name", "price#", "on hand#"), rows)

        device.answer({"products": products}, words)


@app.command()
def status(context: typer.Context) -> None:
    """Show what waits for the server, what needs a person, and whether the cache of stock is
    right.
    """
    with opened(context.obj) as device:
        state = device.replica.status
        differences = check_stock(device.replica)
        data = {**state.to_dict(), "stock_differences": len(differences)}

        def words() -> None:
            rows = [(name.replace("_", " "), str(value)) for name, value in data.items()]
            output.show_table("Status", ("what", "now"), rows)

        device.answer(data, words)


@app.command("rebuild-stock")
def rebuild_command(context: typer.Context) -> None:
    """Make the cache of stock on hand anew from the ledger."""
    with opened(context.obj) as device:
        wrong = rebuild_stock(device.replica)
        device.answer({"wrong": wrong}, lambda: output.say(f"Rebuilt; {wrong} entries were wrong."))


@app.command()
def sync(context: typer.Context) -> None:
    """Send what waits, fetch what is new, and compare; when offline, fail and keep everything."""
    with opened(context.obj) as device:
        report = device.replica.sync()
        data = {**asdict(report), "status": device.replica.status.to_dict()}
        device.answer(
            data,
            lambda: output.say(
                f"Sent {report.sent}, received {report.received_rows} rows; "
                + ("verified with the server." if report.verified else "NOT equal to the server.")
            ),
        )
        if not report.verified:
            raise typer.Exit(output.EXIT_FAILED)


def _named(sku: str | None, option: str | None) -> str:
    chosen = sku or option
    if not chosen:
        raise UsageError("name a product by its SKU or barcode", code="no_sku")
    return chosen


def _answer_moved(device: Device, moved: stock.Moved) -> None:
    ((found,),) = device.replica.query(
        "SELECT sku FROM product WHERE id = ?", (moved.movement.product_id,)
    )
    sku = str(found)
    data = {
        "sku": sku,
        "before": moved.before,
        "after": moved.after,
        "pack": moved.pack,
        "on_hand": moved.after,
        "state": device.replica.row_status("movement", moved.movement.id),
        "movement": asdict(moved.movement),
    }

    def words() -> None:
        by, pack = moved.movement.quantity, moved.pack
        cases = "" if pack == 1 or by % pack else f": {in_words(by // pack, pack)}"
        output.say(f"{sku}: {moved.before} becomes {moved.after} ({by:+d}{cases}).")

    if moved.after < 0:
        output.errors.print(f"{sku} is below zero at this store: {moved.after}.", markup=False)
    device.answer(data, words)


def _who(entry: stock.LedgerLine, names: Names) -> str:
    return names.both(entry.movement.person, entry.movement.device)


def _tell_stock(
    lines: list[stock.StockLine], entries: list[stock.LedgerLine], names: Names
) -> None:
    rows = [
        (x.sku, x.name, x.store_id, x.location, str(x.quantity), str(x.unsent or "")) for x in lines
    ]
    columns = ("SKU", "name", "store", "location", "on hand#", "not sent yet#")
    output.show_table("Stock", columns, rows)
    if entries:
        movements = [
            (e.movement.kind, f"{e.movement.quantity:+d}", str(e.balance), e.movement.reason,
             _who(e, names))
            for e in entries
        ]  # fmt: skip
        heads = ("kind", "quantity#", "balance#", "reason", "who")
        output.show_table("Ledger", heads, movements)
