"""`stockroom backup` and `stockroom restore`: the shop's data, kept elsewhere and put back.

Knows: the commands' options and words. Must not know: how a database is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.output import progress_bar, way_out_of
from holdfast.core.errors import HoldfastError
from stockroom.cli import output
from stockroom.cli.interrupt import ended_in_order

Database = Annotated[str, typer.Option(help="The shop's SQLite file, or postgresql://...")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, last.")]


@contextmanager
def _reported(*, as_json: bool) -> Iterator[None]:
    try:
        with ended_in_order(code=130, said="Interrupted; what was not whole is not there."):
            yield
    except HoldfastError as error:
        output.fail(error, as_json=as_json, way_out=way_out_of(error, "server"))


def backup_command(
    to: Annotated[
        Path,
        typer.Argument(help="A folder, or a name that is free.", show_default=False),
    ],
    *,
    database: Database = "stockroom.db",
    keep: Annotated[
        int | None, typer.Option(help="In a folder: keep so many, remove older ones.", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a backup of the shop while everybody works, and check it.

    It has everything: products, stock, movements, people and what lets their devices in. Guard it.
    """
    with _reported(as_json=as_json):
        from holdfast.server.backup.backup import back_up

        with progress_bar(as_json=as_json) as progress:
            made = back_up(database, to, keep=keep, progress=progress)
    sound = made.marked is not None
    if as_json:
        output.document(
            {
                "ok": sound, "file": str(made.file), "bytes": made.size,
                "devices": made.contents.devices, "differing": made.contents.differing,
            }
        )  # fmt: skip
    else:
        output.say(f"The shop is in {made.file} ({made.size / 1e6:.1f} MB).")
    if not sound:
        output.errors.print(
            f"{made.contents.differing} rows are not what their hashes say. Keep older backups, "
            f"and run: holdfast check --schema stockroom.schema:schema --database {database}"
        )
        raise typer.Exit(output.EXIT_FAILED)


def restore_command(
    copy: Annotated[Path, typer.Argument(metavar="FROM", help="The backup.", show_default=False)],
    *,
    database: Database = "stockroom.db",
    as_json: Json = False,
) -> None:
    """Put a backup of the shop in its place, while no server runs; what stands there is set
    aside."""
    with _reported(as_json=as_json):
        from holdfast.server.backup.restore import restore

        with progress_bar(as_json=as_json) as progress:
            done = restore(database, copy, progress=progress)
    record = done.record
    day = datetime.fromtimestamp(record.as_of / 1e6, UTC).astimezone().strftime("%d %b %Y, %H:%M")
    text = f"The shop is as it was on {day}." if record.as_of else "The shop is as it was then."
    if as_json:
        output.document({"ok": True, "aside": done.aside, "devices": record.devices, "text": text})
        return
    output.say(text)
    if done.aside is not None:
        output.say(f"What stood there is now {done.aside}.")
    output.say("Start the server again: stockroom serve.")


__all__ = ["backup_command", "restore_command"]
