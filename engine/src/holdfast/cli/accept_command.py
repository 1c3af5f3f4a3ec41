"""``holdfast accept-server``: another server takes the place of the one that a replica knows.

A thin layer over ``Replica.accept_server``.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from holdfast.cli.output import document, out, reported
from holdfast.cli.replica_commands import File, Json, open_existing
from holdfast.core.errors import Offline, ServerTrouble, UsageError


def accept_server(
    file: File,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Take the server that answers now for this replica's own, where it is another one.

    The file is copied beside itself first. Unsent work, and acknowledged work that is still kept,
    is offered to that server; rows that it lacks leave the replica. To go back to the server
    before, point the device back to it instead.
    """
    with reported(as_json=as_json):
        with open_existing(file) as replica:
            if not yes:
                _ask(replica.status.server)
            copy = replica.accept_server()
            told: dict[str, Any] = {"ok": True, "copy": str(copy), "contact": "ok"}
            try:
                replica.sync()
            except (Offline, ServerTrouble) as error:
                told["contact"] = error.code
            now = replica.status
        told |= {"pending": now.pending, "refused": now.refused, "held": now.held}
    if as_json:
        document(told)
        return
    out.print(f"the file as it was is kept as {copy}", markup=False, highlight=False)
    out.print(
        f"server: {told['contact']}; pending {now.pending}, in the inbox {now.refused + now.held}",
        markup=False, highlight=False,
    )  # fmt: skip


def _ask(server: str) -> None:
    """Raises ``UsageError`` (``not_confirmed``)."""
    if sys.stdin.isatty() and typer.confirm(
        f"Take {server} for this replica's own server from now on?", err=True
    ):
        return
    raise UsageError(
        "nothing was changed; to take the server that answers now for this replica's own, "
        "confirm it with --yes",
        code="not_confirmed",
    )
