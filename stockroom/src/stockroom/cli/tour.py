"""`stockroom tour`: the eight promises in a terminal, each one checked.

Knows: how the story is shown. Must not know: how it is played.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from stockroom.cli import output
from stockroom.cli.interrupt import ended_in_order

if TYPE_CHECKING:
    from stockroom.tour.play import Step


class _Teller:
    """Tells the story on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, number: int, step: Step) -> None:
        title = Text(f"{number}. {step.name}", style="bold")
        self._console.print()
        self._console.print(
            Panel(Text(step.story), title=title, title_align="left", border_style="cyan")
        )

    def show(self, what: str) -> None:
        self._console.print(Text.assemble(("  \N{CHECK MARK} ", "green"), what))

    def fail(self, what: str) -> None:
        self._console.print(Text.assemble(("  \N{BALLOT X} ", "bold red"), what))


def tour_command(
    as_json: Annotated[
        bool, typer.Option("--json", help="Report as JSON, last on stdout.")
    ] = False,
) -> None:
    """See it work: two devices, a real server, a cable that is pulled; eight checked steps."""
    from stockroom.tour.play import play

    console = Console(highlight=False, file=sys.stderr if as_json else sys.stdout)
    console.print("Stockroom with two devices, Ana's tablet and Ben's phone, and a real server.")
    with ended_in_order():
        report = play(_Teller(console))
    console.print()
    held = sum(step.ok for step in report.steps)
    console.print(
        Text(f"{held} of {len(report.steps)} steps held.", style="green" if report.ok else "red")
    )
    if as_json:
        output.document(report.to_dict())
    if not report.ok:
        raise typer.Exit(output.EXIT_FAILED)
