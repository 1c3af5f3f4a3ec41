"""What a writer says of its own work, in a file beside the database, before and after each commit.

Knows: lines of JSON that only grow. Must not know: any database. A process may end in the middle of
a line; the next life begins a line of its own, and a line that is no JSON was never written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Ledger:
    """Open for appending; a line is given to the system before the call returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(self._file, b"\n")

    def note(self, kind: str, **more: Any) -> None:
        os.write(self._file, json.dumps({"kind": kind, **more}).encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


def lines(path: Path) -> Iterator[Line]:
    """All whole lines there are."""
    if not path.is_file():
        return
    for text in path.read_bytes().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


@dataclass
class Told:
    """A ledger, read: ``sales`` and ``parcels`` map a name to whether its commit had returned."""

    sales: dict[str, bool] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    """What the device's inbox had, and why; it gave them up after it had said so."""
    parcels: dict[str, bool] = field(default_factory=dict)
    gone: dict[str, bool] = field(default_factory=dict)
    edits: int = 0
    settled: int = 0
    lives: int = 0
    local_us: list[int] = field(default_factory=list)
    acknowledged_us: list[int] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """What no fault explains."""


def read(path: Path) -> Told:
    """What a writer has told so far."""
    told = Told()
    for line in lines(path):
        _take(told, line)
    return told


def _take(told: Told, line: Line) -> None:
    match line["kind"]:
        case "sale":
            told.sales[line["id"]] = False
            if line["bad"]:
                told.bad.add(line["id"])
            if line["parcel"]:
                told.parcels[line["parcel"]] = False
        case "gone":
            told.gone[line["id"]] = False
        case "done":
            _take_done(told, line)
        case "acknowledged":
            told.acknowledged.update(line["ids"])
            told.acknowledged_us += line["us"]
        case "refused":
            told.refused.update(dict.fromkeys(line["slips"] or ["no slip"], line["code"]))
        case "settled":
            told.settled += 1
        case "life":
            told.lives += 1
        case "trouble":
            told.troubles.append(line["message"])


def _take_done(told: Told, line: Line) -> None:
    told.local_us.append(line["us"])
    if line["of"] == "sale":
        told.sales[line["id"]] = True
        if line["parcel"]:
            told.parcels[line["parcel"]] = True
    elif line["of"] == "gone":
        told.gone[line["id"]] = True
    else:
        told.edits += 1
