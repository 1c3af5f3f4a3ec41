"""Results for people and for programs.

Knows: tables, JSON, and where a run was made. Must not know: what was measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
from bench import Measured
from rich.console import Console
from rich.table import Table


def revision(folder: Path) -> str:
    """The git revision, ``+`` when files differ from it; ``unknown`` without git."""
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def circumstances(folder: Path, *, quick: bool) -> dict[str, Any]:
    """What a figure depends on."""
    return {
        "revision": revision(folder),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "machine": f"{os.cpu_count()} x {platform.machine()}, {platform.system()}",
        "load": round(os.getloadavg()[0], 2),
    }


def show(results: list[Measured], around: dict[str, Any]) -> None:
    """The table, on stdout."""
    title = f"holdfast {around['revision']}, SQLite {around['sqlite']}, {around['machine']}"
    table = Table(title=title, caption=None, title_justify="left")
    for name in ("", "workload", "server"):
        table.add_column(name)
    for name in ("measured", "limit", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("target", "met"):
        table.add_column(name)
    for result in results:
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[result.met]
        what = result.what if not result.note else f"{result.what}\n[dim]{result.note}[/]"
        table.add_row(
            result.workload,
            what,
            result.on,
            _figure(result.value, result.unit),
            "" if result.limit is None else _figure(result.limit, result.unit),
            "" if result.ratio is None else f"{result.ratio:.2f}",
            result.target,
            met,
        )
    # A pipe has no width of its own; 80 would fold every line three times.
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table)
    if around["quick"]:
        console.print("Quick: few rows. That it works is shown, not how fast it is.")


def _figure(value: float, unit: str) -> str:
    digits = 1 if unit == "ms" else 0
    return f"{value:,.{digits}f}{' ' if unit not in ('', '/s') else ''}{unit}"


def write_json(path: Path, results: list[Measured], around: dict[str, Any]) -> None:
    """The same, for programs."""
    body = {**around, "results": [asdict(result) for result in results]}
    path.write_text(json.dumps(body, indent=2) + "\n")
