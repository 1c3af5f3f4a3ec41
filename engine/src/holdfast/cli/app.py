"""Puts the commands together."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from holdfast.cli import (
    accept_command,
    enrol_command,
    history_commands,
    replica_commands,
    salvage_command,
    schema_commands,
)
from holdfast.cli.server import commands, serve
from holdfast.cli.server.options import with_proxy_here
from holdfast.protocol.version import RELEASE

app = typer.Typer(
    name="holdfast",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_SETTINGS: Mapping[Any, dict[str, Any]] = {
    command: {"ignore_unknown_options": True}
    for command in (replica_commands.retry, replica_commands.discard)
}
"""What was written into a column or table that is gone has a number below 0, which is no option."""
for command in (
    replica_commands.init,
    enrol_command.enrol,
    enrol_command.password,
    replica_commands.migrate,
    replica_commands.status,
    history_commands.history,
    replica_commands.sync,
    replica_commands.verify,
    replica_commands.conflicts,
    replica_commands.refused,
    replica_commands.resolve,
    replica_commands.retry,
    replica_commands.discard,
    replica_commands.run,
    accept_command.accept_server,
    salvage_command.salvage,
    replica_commands.program,
    serve.serve,
    serve.check,
):
    app.command(context_settings=_SETTINGS.get(command))(command)
app.add_typer(schema_commands.schema)
app.add_typer(commands.server)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"holdfast {RELEASE}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None:
    """Offline-first synchronization of plain SQL tables."""


def main() -> None:
    """Entry point of the ``holdfast`` command."""
    app(with_proxy_here(sys.argv[1:]))
