"""`stockroom setup` and `stockroom store`: a shop is opened, and its stores are kept.

Knows: the commands' options and words. Must not know: what a shop consists of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.output import way_out_of
from holdfast.core.errors import HoldfastError, UsageError
from stockroom.cli import output
from stockroom.cli.interrupt import ended_in_order

if TYPE_CHECKING:
    from stockroom.shop.stores import Store

Database = Annotated[str, typer.Option(help="The shop's SQLite file, or postgresql://...")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, last.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help="Holds the password in its first line; - is stdin."),
]
DATABASE = "stockroom.db"

store_app = typer.Typer(no_args_is_help=True, help="The shop's stores.")


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Turn what goes wrong into words with a way out, and an exit code."""
    try:
        with ended_in_order(code=130, said="Interrupted; run it again to go on."):
            yield
    except HoldfastError as error:
        output.fail(error, as_json=as_json, way_out=way_out_of(error, "server"))


def password_from(file: Path | None) -> str | None:
    """The first line of a file, or of stdin for `-`. Raises `UsageError` (`no_password`)."""
    if file is None:
        return None
    try:
        text = (
            typer.get_text_stream("stdin").read() if str(file) == "-" else file.read_text("utf-8")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as text: {error}", code="no_password") from None
    password = text.removeprefix("\ufeff").partition("\n")[0].rstrip("\r")
    if not password:
        raise UsageError(f"there is no password in {file}", code="no_password")
    return password


def setup_command(
    *,
    database: Database = DATABASE,
    shop: Annotated[str, typer.Option(help="What the shop is called.", show_default=False)],
    store: Annotated[str, typer.Option(help="Its first store.", show_default=False)],
    owner: Annotated[
        str, typer.Option(help="The owner's name, to sign in with.", show_default=False)
    ],
    password_file: PasswordFile = None,
    currency: Annotated[str, typer.Option(help="Of its prices, in three letters.")] = "EUR",
    language: Annotated[str, typer.Option(help="In which the app speaks.")] = "en",
    time_zone: Annotated[
        str, typer.Option(help="Such as Europe/Berlin; this machine's without it.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Open a shop without a browser: its name, first store and owner, in an empty database.

    The same again changes nothing, and ends with 0.
    """
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.opening import Opening, Shop, checked, local_time_zone, open_shop

        wanted = Opening(
            shop=Shop(
                name=shop, currency=currency, language=language,
                time_zone=time_zone or local_time_zone(),
            ),
            store=store,
            owner=owner,
            password=password_from(password_file),
        )  # fmt: skip
        checked(wanted)  # nothing is made for what cannot be
        with open_desk(database, existing=False) as desk:
            opened = open_shop(desk, wanted)
    if as_json:
        output.document(
            {
                "ok": True, "new": opened.new, "shop": asdict(opened.shop),
                "store": opened.store_id, "owner": opened.owner,
            }
        )  # fmt: skip
        return
    name = opened.shop.name
    output.say(f"{name} is open." if opened.new else f"{name} was set up already; nothing changed.")
    output.say(f"Serve it: stockroom serve --database {database}")
    output.say(f"Then sign in as {opened.owner}.")


@store_app.command("add")
def store_add(
    name: Annotated[str, typer.Argument(help="What it is called.", show_default=False)],
    *,
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Add a store. One that is called so already stays as it is."""
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.stores import add_store

        with open_desk(database) as desk:
            store, new = add_store(desk, name)
    said = "is open" if new else "was there already"
    _tell_store(store, f"{store.shown} {said}.", new=new, as_json=as_json)


@store_app.command("list")
def store_list(*, database: Database = DATABASE, as_json: Json = False) -> None:
    """List the stores."""
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.stores import list_stores

        with open_desk(database) as desk, desk.transaction() as tables:
            stores = list_stores(tables)
    if as_json:
        shown = [{"id": one.id, "name": one.shown} for one in stores]
        output.document({"ok": True, "stores": shown})
        return
    output.show_table("Stores", ("store", "id"), [(one.shown, one.id) for one in stores])


@store_app.command("rename")
def store_rename(
    store: Annotated[str, typer.Argument(help="Its name, or its id.", show_default=False)],
    name: Annotated[str, typer.Argument(help="The new name.", show_default=False)],
    *,
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Give a store another name; its stock, people and history stay with it."""
    with reported(as_json=as_json):
        from stockroom.shop.desk import open_desk
        from stockroom.shop.stores import rename_store

        with open_desk(database) as desk:
            renamed, changed = rename_store(desk, store, name)
    said = (
        f"It is called {renamed.name} now." if changed else f"It is called {renamed.name} already."
    )
    _tell_store(renamed, said, new=False, as_json=as_json)


def _tell_store(store: Store, said: str, *, new: bool, as_json: bool) -> None:
    if as_json:
        output.document({"ok": True, "new": new, "id": store.id, "name": store.name})
    else:
        output.say(said)
