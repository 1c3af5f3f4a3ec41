"""``holdfast server``: what an operator does on the server's database.

Each command works on the database directly, also while servers run on it.
"""

from __future__ import annotations

import typer

from holdfast.cli.server import backup_commands, people_commands, stats_commands

server = typer.Typer(
    name="server",
    help="Manage a server's database: people, devices, and what is stored.",
    no_args_is_help=True,
)
server.add_typer(people_commands.user)
for command in (
    people_commands.enrol,
    people_commands.devices,
    people_commands.revoke,
    stats_commands.scopes,
    stats_commands.stats,
    stats_commands.purge,
    backup_commands.backup,
    backup_commands.restore,
):
    server.command()(command)
