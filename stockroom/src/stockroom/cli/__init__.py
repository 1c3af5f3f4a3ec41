"""The `stockroom` command.

Knows: which commands there are, and how wrong use is answered. Must not know: what they do.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from holdfast.cli.server.options import with_proxy_here
from stockroom import __version__
from stockroom.cli import output
from stockroom.cli.backup import backup_command, restore_command
from stockroom.cli.device import app as device_app
from stockroom.cli.device import hoisted
from stockroom.cli.goods import export_command, import_command
from stockroom.cli.replay import replay_command
from stockroom.cli.role import role_app
from stockroom.cli.serve import serve_command
from stockroom.cli.shop import setup_command, store_app
from stockroom.cli.staff import user_app
from stockroom.cli.tour import tour_command

app = typer.Typer(
    name="stockroom",
    help="Inventory for retail stores that keeps working when the connection does not.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(device_app, name="device")
app.command("backup")(backup_command)
app.command("export")(export_command)
app.command("import")(import_command)
app.command("replay")(replay_command)
app.command("restore")(restore_command)
app.command("serve")(serve_command)
app.command("setup")(setup_command)
app.add_typer(role_app, name="role")
app.add_typer(store_app, name="store")
app.add_typer(user_app, name="user")
app.command("tour")(tour_command)


def _version(wanted: bool) -> None:
    if wanted:
        output.say(f"stockroom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None:
    """Inventory for retail stores that keeps working when the connection does not."""


def main(argv: list[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 failed or a check did not hold, 2 wrong use."""
    arguments = with_proxy_here(hoisted(sys.argv[1:] if argv is None else argv))
    try:
        result = typer.main.get_command(app).main(
            arguments, prog_name="stockroom", standalone_mode=False
        )
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "stockroom"
        if message := error.format_message().strip():  # without one, the help was shown
            output.errors.print(f"{where}: {message}", markup=False)
            output.errors.print(f"Try '{where} --help'.", markup=False)
        if "--json" in arguments:
            output.document(
                {"ok": False, "error": {"code": "usage", "message": error.format_message()}}
            )
        sys.exit(output.EXIT_USAGE)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(output.EXIT_FAILED)
    sys.exit(result if isinstance(result, int) else 0)
