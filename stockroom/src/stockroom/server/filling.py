"""The demo in a server's database: made up, written, and taken in before the doors open.

Knows: the steps and how far each is. Must not know: how that is shown.
What is interrupted while it is written has never been; what is interrupted while it is taken in is
taken in by the next start, before the doors open.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from holdfast.core.errors import UsageError
from holdfast.server.assembly import open_server
from stockroom.demo import Size, is_empty, load, make_demo
from stockroom.rules import rules
from stockroom.schema import schema

DEMO_SEED: Final = 1

Step = Literal["make", "write", "take_in"]
Told = Callable[[Step, int, int | None], None]
"""Hears a step, how many rows of it are done, and of how many; None: nobody knows."""


def fill(database: str, size: Size, told: Told) -> None:
    """The demo, if there is nothing yet. Raises `UsageError` for anything but a SQLite file."""
    if "://" in database:
        raise UsageError("the demo is for a SQLite file", code="bad_option")
    path = Path(database)
    with open_server(schema, path, rules=rules, maintain=False) as server:
        if is_empty(path):
            _write(path, size, told)
            told("take_in", 0, None)
        while server.service.poll_foreign_writes():
            pass  # a large shop takes more than one look


def _write(path: Path, size: Size, told: Told) -> None:
    movements = size.movements
    told("make", 0, movements)
    today = datetime.now(UTC).date()
    demo = make_demo(
        seed=DEMO_SEED, ends=today, size=size, told=lambda n: told("make", n, movements)
    )
    count = demo.size
    load(demo, path, lambda n: told("write", n, count))
