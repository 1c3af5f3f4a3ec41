"""`stockroom replay`: real sales over a bad connection, every sum checked.

Knows: the command's options and how progress is shown. Must not know: how a replay works.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from holdfast.core.errors import HoldfastError
from stockroom.cli import output
from stockroom.cli.interrupt import ended_in_order

if TYPE_CHECKING:
    from stockroom.replay.report import Report
    from stockroom.replay.run import Progress as Listener


@contextmanager
def _bar() -> Iterator[Listener]:
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("invoices"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.errors, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def listen(phase: str, done: int, total: int) -> None:
            bar.update(task, description=phase, completed=done, total=total)

        yield listen


def replay_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Sales as CSV, or CSV packed with xz.")
    ],
    *,
    devices: Annotated[int, typer.Option(help="Replicas, each in a process of its own.")] = 6,
    stores: Annotated[
        int, typer.Option(help="Stores; device i works at store i modulo these.")
    ] = 3,
    lines: Annotated[
        int | None, typer.Option(help="Only the first so many lines; all without it.")
    ] = None,
    cut: Annotated[float, typer.Option(help="Chance that a request suffers a fault.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Of the shares, the faults and the kills.")] = 1,
    keep: Annotated[
        Path | None, typer.Option(help="Leave server.db and device-*.db in this folder.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(help="An empty PostgreSQL database, postgresql://...; SQLite without it."),
    ] = None,
    servers: Annotated[
        int | None, typer.Option(help="Server processes, killed in turn: 2 on PostgreSQL.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Report as JSON, last on stdout.")
    ] = False,
) -> None:
    """Replay sales on several devices over a bad connection, then check every sum.

    Each invoice is one local transaction, each line one movement of minus its quantity. Requests
    are dropped, cut and reset; server and devices are killed and started again. At the end every
    device must hold what the server holds, and the server what the file says.
    """
    from stockroom.replay.run import Options, replay

    options = Options(
        file=file,
        devices=devices,
        stores=stores,
        lines=lines,
        cut=cut,
        seed=seed,
        keep=keep,
        database=database,
        servers=servers,
    )
    try:
        with ended_in_order(), _bar() as listen:
            report, problems = replay(options, progress=listen)
    except HoldfastError as error:
        output.fail(error, as_json=as_json)
    for problem in problems:
        output.errors.print(problem, style="red", markup=False)
    if as_json:
        output.document(report.to_dict())
    else:
        _tell(report, keep)
    if not report.ok:
        raise typer.Exit(output.EXIT_FAILED)


def _tell(report: Report, keep: Path | None) -> None:
    faults = ", ".join(f"{count} {kind}" for kind, count in report.faults.items())
    pending = sum(device.pending for device in report.devices)
    output.show_table(
        "Replay: all is right" if report.ok else "Replay: NOT right",
        ("what", "found"),
        [
            ("lines, invoices", f"{report.lines:,}, {report.transactions:,}"),
            ("devices, servers", f"{len(report.devices)}, {report.servers} on {report.database}"),
            ("faults", faults),
            (
                "killed and restarted",
                f"server {report.server_kills}, devices {report.device_kills}",
            ),
            ("units: file, server", f"{report.expected_units:,}, {report.server_units:,}"),
            ("replicas equal the server", "yes, byte for byte" if report.replicas_equal else "NO"),
            ("invoices lost, doubled", f"{report.lost}, {report.doubled}"),
            ("conflicts, refused", f"{report.conflicts}, {report.refused}"),
            ("still pending", str(pending)),
            ("seconds", f"{report.seconds:g}"),
        ],
    )
    if keep is not None:
        output.say(f"The databases are in {keep}.")
