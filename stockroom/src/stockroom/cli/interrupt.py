"""Commands that start processes end them in order, whichever way they are asked to stop.

Knows: signals. Must not know: what is running.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from stockroom.cli import output


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C inside, so that every `finally` runs; then exit with 130."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        output.errors.print("Interrupted; everything that was started is ended.")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
