"""``holdfast server scopes``, ``stats``, ``purge``: what a database holds, and forgets."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from holdfast.cli.output import document, out, reported
from holdfast.core.errors import UsageError
from holdfast.core.limits import (
    JOURNAL_RETENTION_DAYS,
    NUMBERS_RETENTION_DAYS,
    REMOVALS_RETENTION_DAYS,
)
from holdfast.schema.load import load_schema

SchemaOption = Annotated[str, typer.Option(help="A JSON file, or module:attribute.")]
DatabaseOption = Annotated[
    str, typer.Option(help="The SQLite file, or postgresql://user@host/name.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document, last.")]
INTERRUPTED = 130


def _existing(database: str) -> str:
    if "://" not in database and not Path(database).is_file():
        raise UsageError(f"there is no database at {database}", code="no_database")
    return database


def scopes(schema: SchemaOption, database: DatabaseOption, as_json: JsonOption = False) -> None:
    """List the scopes: head version, rows, floor, remembered removals and positions."""
    from holdfast.cli.server import host

    with reported(as_json=as_json, at="server"):
        found = host.stats(load_schema(schema), _existing(database)).scopes
    if as_json:
        document({"scopes": [asdict(scope) for scope in found]})
        return
    table = Table("scope", box=None)
    for name in ("head", "rows", "floor", "tombstones", "positions"):
        table.add_column(name, justify="right")
    for scope in found:
        table.add_row(
            scope.name, str(scope.head), str(scope.rows), str(scope.floor),
            str(scope.tombstones), str(scope.positions),
        )  # fmt: skip
    out.print(table)


def stats(schema: SchemaOption, database: DatabaseOption, as_json: JsonOption = False) -> None:
    """Count what the database holds, and how large it is."""
    from holdfast.cli.server import host

    with reported(as_json=as_json, at="server"):
        found = host.stats(load_schema(schema), _existing(database))
    tombstones = sum(scope.tombstones for scope in found.scopes)
    if as_json:
        document(
            {
                "rows": dict(found.rows),
                "entries": dict(found.entries),
                "tombstones": tombstones,
                "notes": found.notes,
                "size_bytes": found.sizes[""],
                "sizes": {name: size for name, size in found.sizes.items() if name},
            }
        )
        return
    table = Table("table", box=None)
    table.add_column("rows", justify="right")
    table.add_column("size", justify="right")
    for name, count in {**found.rows, **found.entries}.items():
        size = found.sizes.get(name)
        table.add_row(name, str(count), "" if size is None else decimal(size))
    out.print(table)
    out.print(
        f"{decimal(found.sizes[''])} in all; {tombstones} removals remembered; "
        f"{found.notes} notes of direct writes waiting"
    )


def purge(
    *,
    schema: SchemaOption,
    database: DatabaseOption,
    keep_removals: Annotated[int, typer.Option(help="Days.", min=1)] = REMOVALS_RETENTION_DAYS,
    keep_numbers: Annotated[int, typer.Option(help="Days.", min=1)] = NUMBERS_RETENTION_DAYS,
    keep_journal: Annotated[int, typer.Option(help="Days.", min=1)] = JOURNAL_RETENTION_DAYS,
    as_json: JsonOption = False,
) -> None:
    """Forget now what has been kept for long enough; servers may run. Ctrl-C ends it between two
    bites, and what is left is left for the next time."""
    from holdfast.cli.server import host
    from holdfast.server.maintenance.retention import Forgotten, Retention

    with reported(as_json=as_json, at="server"):
        retention = Retention(
            removals_days=keep_removals, numbers_days=keep_numbers, journal_days=keep_journal
        )
        loaded = load_schema(schema)
        with _progress(quiet=as_json) as show, _interruptible() as interrupted:

            def proceed(done: Forgotten) -> bool:
                show(_sentence(done))
                return not interrupted()

            done = host.purge(loaded, _existing(database), retention, proceed)
    if as_json:
        document(asdict(done))
    else:
        out.print(_sentence(done) if done.whole else f"interrupted: {_sentence(done)}")
    if not done.whole:
        raise typer.Exit(INTERRUPTED)


def _sentence(done: object) -> str:
    counts = asdict(done)  # type: ignore[call-overload]
    names = ("removals", "rows", "positions", "numbers", "journal", "generations")
    return "forgot " + ", ".join(f"{counts[name]} {name}" for name in names)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Return how much there is to forget is not known before: a spinner, and what was done."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, transient=True, disable=quiet) as progress:
        task = progress.add_task("looking", total=None)
        yield lambda text: progress.update(task, description=text)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
