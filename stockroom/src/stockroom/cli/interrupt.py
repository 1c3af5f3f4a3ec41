"""Commands that start processes end them in order, whichever way they are asked to stop.

Knows: how a command ends. Must not know: what is running.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from holdfast.cli.ending import interruptible
from stockroom.cli import output


@contextmanager
def ended_in_order(
    *, code: int = 130, said: str = "Interrupted; everything that was started is ended."
) -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C inside, so that every `finally` runs, in time; then say so and
    exit. Whoever asks twice has been heard.

    SIGINT too is set: a shell starts what it puts into the background with that one ignored.
    """
    with interruptible():
        try:
            yield
        except KeyboardInterrupt:
            output.errors.print(said)
            raise typer.Exit(code) from None
