"""`stockroom serve`: the server and the web app, for a shop or for a look around.

Knows: the command's options, and what is said until it is ready. Must not know: how it is served.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.output import way_out_of
from holdfast.cli.server.options import Serving, with_serving
from holdfast.core.errors import HoldfastError
from stockroom.cli import output
from stockroom.cli.filling import Filling
from stockroom.cli.interrupt import ended_in_order
from stockroom.demo import GOODS_MAX, Size

if TYPE_CHECKING:  # the server is a large import, for this command alone
    from stockroom.server.run import Welcome
    from stockroom.server.way import LanWelcome


@with_serving(database="stockroom.db", port=8040, host="", log_level="warning")
def serve_command(
    *,
    serving: Serving,
    demo: Annotated[
        bool, typer.Option("--demo", help="Fill an empty SQLite file with an invented retailer.")
    ] = False,
    demo_products: Annotated[
        int | None,
        typer.Option(help="Products of the demo, to see how a large shop does.", min=1),
    ] = None,
    demo_movements: Annotated[
        int | None,
        typer.Option(help="Movements of the demo: 300000 take a minute or two.", min=1),
    ] = None,
    lan: Annotated[
        bool,
        typer.Option(
            "--lan",
            help="Https on the shop's own network, by an authority that is made for it.",
        ),
    ] = False,
    tls_dir: Annotated[
        Path | None,
        typer.Option(help="Where --lan keeps its certificates; beside the database without it."),
    ] = None,
    web: Annotated[
        Path | None, typer.Option(help="The built web app; that of the checkout without it.")
    ] = None,
) -> None:
    """Serve the shop: the web app, and sync for every device. Prints `ready URL`, best first.

    It listens to this machine alone, unless --host or --lan says otherwise.

    Until the shop is set up it prints a link, at each start, where that is done in a browser.
    SIGTERM and SIGINT end it, at any moment, with 0.
    """
    size = _size(demo=demo, products=demo_products, movements=demo_movements)
    # To be told to stop is how it ends, ready or not.
    with ended_in_order(code=0, said="Interrupted; what was not whole is not there."):
        from holdfast.cli.server.host import logs_to_stderr
        from stockroom.server.filling import fill
        from stockroom.server.run import WEB_FOLDER, Options, run

        try:
            logs_to_stderr(serving.log_level)
            certificates = serving.certificates()
            options = Options(
                database=serving.database,
                host=serving.host,
                port=serving.port,
                demo=demo,
                web=web or WEB_FOLDER,
                front=serving.front(),
                limits=serving.limits(),
                budgets=serving.budgets(),
                certificates=certificates,
                lan=_lan(lan=lan, folder=tls_dir, certificates=certificates, serving=serving),
            )
            if size is not None:
                is_large = demo_products is not None or demo_movements is not None
                with Filling(at_once=is_large) as filling:
                    fill(serving.database, size, filling.told)
            run(options, ready=_tell)
        except HoldfastError as error:
            output.fail(error, as_json=False, way_out=way_out_of(error, "server"))


def _size(*, demo: bool, products: int | None, movements: int | None) -> Size | None:
    if not demo and (products is not None or movements is not None):
        raise typer.BadParameter("a size is for --demo")
    if products is not None and products > GOODS_MAX:
        raise typer.BadParameter(f"the demo can make up {GOODS_MAX} products")
    return Size(products=products, movements=movements) if demo else None


def _lan(*, lan: bool, folder: Path | None, certificates: object, serving: Serving) -> Path | None:
    """The folder of the shop's own certificates, with --lan."""
    if not lan:
        if folder is not None:
            raise typer.BadParameter("--tls-dir is for --lan")
        return None
    if certificates is not None:
        raise typer.BadParameter("take either --lan or --tls-cert and --tls-key")
    if serving.proxy:
        raise typer.BadParameter("behind a proxy its certificate counts: leave --lan out")
    if folder is not None:
        return folder
    beside = Path() if "://" in serving.database else Path(serving.database).parent
    return beside / "stockroom-tls"


def _tell(welcome: Welcome) -> None:
    for warning in welcome.warnings:
        output.errors.print(warning, highlight=False, soft_wrap=True)
    if welcome.sign_in is not None:
        name, password = welcome.sign_in
        output.say(f"Sign in as {name} with the password: {password}")
    if welcome.code is not None:
        link = f"{welcome.link}/#/enrol/{welcome.code}"
        output.say(f"This shop is empty: set up at {link}")
    if welcome.lan is not None:
        _tell_of_lan(welcome.lan)
    if not welcome.web:
        output.errors.print("The web app is not built; run `make web`. Devices can sync.")
    for url in welcome.urls:
        sys.stdout.write(f"ready {url}\n")
    sys.stdout.flush()


def _tell_of_lan(lan: LanWelcome) -> None:
    output.say(f"Phones and tablets begin at {lan.begin}")
    if sys.stdout.isatty():
        from stockroom.server.lan.guide import qr_lines

        sys.stdout.write(qr_lines(lan.begin))
    output.say(f"The shop's certificate authority: {lan.authority_file}")
    output.say(f"Its mark (SHA-256): {lan.fingerprint}")
