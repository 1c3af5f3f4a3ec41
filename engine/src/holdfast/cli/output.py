"""Output of the command: results on stdout, everything else on stderr, stable exit codes.

Exit codes: 0 ok, 1 a check failed or the work could not be done, 2 wrong use.
``--json`` prints exactly one JSON document as the last line of stdout.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from holdfast.cli.ending import interruptible
from holdfast.core.connection.failures import failure_kind
from holdfast.core.connection.ways_out import way_out, way_out_at_server
from holdfast.core.errors import (
    BadValue,
    DatabaseError,
    HoldfastError,
    ReplicaError,
    SchemaError,
    SyncError,
    UsageError,
)

CHECK_FAILED = 1
WRONG_USE = 2

out = Console(soft_wrap=True)
err = Console(stderr=True)


def document(value: Any) -> None:
    """Print one JSON document as one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str) + "\n")
    sys.stdout.flush()


FileRole = Literal["replica", "server"]


def moment(us: int | None) -> str:
    """A time stamp (microseconds) for people, in local time."""
    if us is None:
        return "never"
    try:
        return (
            datetime.fromtimestamp(us / 1_000_000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        )
    except (OverflowError, ValueError, OSError):
        return "at an impossible time"


def read_by_others(path: Path) -> bool:
    """Return whether other accounts of this machine can read a file."""
    return sys.platform != "win32" and path.is_file() and path.stat().st_mode & 0o077 != 0


def warn_of_readers(path: Path) -> None:
    """Say so when others of this machine can read a file of tokens."""
    if read_by_others(path):
        err.print(
            f"{path} can be read by others of this machine, and whoever has a token is its device: "
            f"chmod 600 {path}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


def way_out_of(error: HoldfastError, at: FileRole) -> str:
    """Return what a person can do about it where they are; empty: the message says all there is."""
    if at == "server":
        return way_out_at_server(error.code)
    if isinstance(error, SyncError | DatabaseError):
        return way_out(failure_kind(error).value, error.code)
    return ""


def fail(error: HoldfastError, *, as_json: bool, at: FileRole = "replica") -> NoReturn:
    """Show an error and end with the exit code that fits it."""
    way = way_out_of(error, at)
    if as_json:
        told = {"code": error.code, "message": error.message}
        document({"ok": False, "error": told | ({"way_out": way} if way else {})})
    err.print(f"[bold red]{error.code}[/]: {error.message}", highlight=False)
    if way:
        err.print(way, markup=False, highlight=False)
    wrong_use = isinstance(error, (UsageError, BadValue, SchemaError, ReplicaError))
    raise typer.Exit(WRONG_USE if wrong_use else CHECK_FAILED)


@contextmanager
def reported(*, as_json: bool, at: FileRole = "replica") -> Iterator[None]:
    """Turn errors of ours into messages and exit codes. Ctrl-C ends it soon, whatever it waits
    for. ``at``: whose database the command works on."""
    # Where the shell has it ignored (in the background), it stays so.
    known = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        with interruptible((signal.SIGINT,)) if known else nullcontext():
            yield
    except HoldfastError as error:
        fail(error, as_json=as_json, at=at)
    except KeyboardInterrupt:
        err.print("interrupted; nothing is lost, run it again to go on")
        raise typer.Exit(130) from None


@contextmanager
def progress_bar(*, as_json: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr, for ``(what, done, total)``; total 0 means unknown.

    Only where a person looks: on a terminal, and not beside a JSON document.
    """
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(),
        TextColumn("{task.fields[of]}"), TimeElapsedColumn(),
    )  # fmt: skip
    hidden = as_json or not err.is_terminal
    with Progress(*columns, console=err, transient=True, disable=hidden) as bar:
        task = bar.add_task("connecting", total=None, of="")

        def update(what: str, done: int, total: int) -> None:
            bar.update(
                task,
                description=what,
                completed=done,
                total=total or None,
                of=_share(what, done, total),
            )

        yield update


def _share(what: str, done: int, total: int) -> str:
    """Return how many of how many: bytes of a download in MB, else numbers."""
    if what == "downloading":
        return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
    return f"{done:,} of {total:,}" if total else f"{done:,}"
