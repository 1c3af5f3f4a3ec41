"""Commands that start processes end them in order, whichever way they are asked to stop.

Knows: signals. Must not know: what is running.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from stockroom.cli import output

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ended_in_order(
    *, code: int = 130, said: str = "Interrupted; everything that was started is ended."
) -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C inside, so that every `finally` runs; then say so and exit.

    SIGINT too is set: a shell starts what it puts into the background with that one ignored.
    """
    before = {number: signal.signal(number, signal.default_int_handler) for number in _SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        for number in _SIGNALS:  # whoever asks twice has been heard
            signal.signal(number, signal.SIG_IGN)
        output.errors.print(said)
        raise typer.Exit(code) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
