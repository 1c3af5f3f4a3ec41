"""``holdfast salvage``: saves what a damaged replica still holds into a new one, by hand.

A thin layer over ``replica.salvage``, which opening a replica does by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.output import document, out, reported
from holdfast.cli.replica_commands import File, Json
from holdfast.core.errors import UsageError
from holdfast.schema.load import load_schema


def salvage(
    file: File,
    to: Annotated[
        Path | None, typer.Option(help="Also write the unsent work there, as JSON lines.")
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="For a file that does not say its own any more.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also if the file looks sound.")] = False,
    as_json: Json = False,
) -> None:
    """Save what a damaged replica still holds into a new one; the damaged file is kept. Exits 0
    when nothing that was not sent is lost. Needs no network."""
    from holdfast.replica.host import Host
    from holdfast.replica.salvage import salvage as salvaging
    from holdfast.sqlite import driver

    with reported(as_json=as_json):
        if not file.is_file():
            raise UsageError(f"there is no replica at {file}", code="no_replica")
        if to is not None and to.exists():
            raise UsageError(f"{to} exists already", code="exists")
        library = driver()
        damaged = force or not salvaging.is_sound(file, library)
        told: dict[str, Any] = {"ok": True, "damaged": False}
        if damaged:
            known = None if schema is None else load_schema(schema)
            report = salvaging.salvage(file, known, driver=library, host=Host(), asked=True)
            told = {**report.to_dict(), "damaged": True}
        if to is not None:
            told["exported"] = _export(file, to)
        if as_json:
            document(told)
        elif damaged:
            _tell(told)
        else:
            out.print(f"{file} is sound: nothing to do", markup=False, highlight=False)
    if not told["ok"]:
        raise typer.Exit(1)


def _export(file: Path, to: Path) -> int:
    from holdfast.core.limits import BUSY_TIMEOUT_MS
    from holdfast.replica.salvage.export import export
    from holdfast.replica.storage.database import LocalDatabase
    from holdfast.sqlite import driver

    database = LocalDatabase.open(
        str(file), driver=driver(), schema=None, busy_timeout_ms=BUSY_TIMEOUT_MS
    )
    try:
        return export(database, to)
    finally:
        database.close()


def _tell(told: dict[str, Any]) -> None:
    out.print(
        f"saved {told['transactions']} transactions ({told['changes']} changes); "
        f"{told['to_inbox']} wait in the inbox",
        highlight=False,
    )
    for lost in told["lost"]:
        out.print(f"not readable: {lost}", markup=False, highlight=False)
    out.print(f"the damaged file is kept as {told['file']}", markup=False, highlight=False)
