"""The bar that is shown while a demo is made.

Knows: Rich. Must not know: what a demo is made of, or how a command is interrupted.
A small demo is there before anybody would read a bar: it appears after half a second, or at once
for a large one, and only on a terminal.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stockroom.cli import output

if TYPE_CHECKING:
    from stockroom.server.filling import Step

_WORDS: Final = {"make": "Making up a shop", "write": "Writing it", "take_in": "Taking it in"}
_QUIET_S: Final = 0.5


class Filling:
    """Shows progress for as long as it is entered."""

    def __init__(self, *, at_once: bool = False) -> None:
        """``at_once``: for a demo of which it is known that it takes a while."""
        self._shows_from = time.monotonic() + (0 if at_once else _QUIET_S)
        self._bar: Progress | None = None
        self._step: Step | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if self._bar is not None:
            if kind is None:
                self._finish()
            self._bar.stop()

    def told(self, step: Step, done: int, of: int | None) -> None:
        """Tell how far a step is."""
        if self._bar is None:
            if not output.errors.is_terminal or time.monotonic() < self._shows_from:
                return
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=output.errors,
            )
            self._bar.start()
        if step != self._step:
            self._finish()
            self._step = step
            self._bar.add_task(_WORDS[step], total=of)
            self._bar.refresh()
        self._bar.update(self._bar.task_ids[-1], completed=done)

    def _finish(self) -> None:
        if self._bar is not None and self._bar.task_ids:
            last = self._bar.tasks[-1]
            total = last.total if last.total is not None else 1
            self._bar.update(last.id, total=total, completed=total)
