"""Output of commands: words for people, or one JSON document as the last line of stdout.

Knows: stdout, stderr and exit codes. Must not know: replicas or stock.
Exit 0: done; 1: it failed or a check did not hold; 2: wrong use, with a message that helps.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from holdfast.core.errors import HoldfastError, SyncError, UsageError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

_USAGE_CODES: Final = frozenset(
    {"no_replica", "schema_mismatch", "schema_invalid", "bad_value", "bad_url", "no_token"}
)

_WAYS: Final = {"no_server": "Name it: --server URL --token-file FILE, once; it is remembered."}

errors: Final = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Words for people, on stdout."""
    Console(highlight=False, soft_wrap=True).print(text, markup=False)


def show_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table for people; numbers are right-aligned when a column's name ends with `#`."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        right = column.endswith("#")
        table.add_column(column.rstrip("#"), justify="right" if right else "left")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


def document(data: dict[str, Any]) -> None:
    """The one JSON document, as the last line of stdout."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def fail(error: HoldfastError, *, as_json: bool, way_out: str = "") -> NoReturn:
    """Say what went wrong and end with the exit code that fits."""
    errors.print(f"stockroom: {error.message} ({error.code})", style="red", markup=False)
    if way := way_out or _WAYS.get(error.code, ""):
        errors.print(way, markup=False)
    if isinstance(error, SyncError):
        errors.print("What was not sent is kept on this device.", markup=False)
    if as_json:
        document({"ok": False, "error": {"code": error.code, "message": error.message}})
    usage = isinstance(error, UsageError) or error.code in _USAGE_CODES
    raise typer.Exit(EXIT_USAGE if usage else EXIT_FAILED)
