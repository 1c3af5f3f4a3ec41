"""W3: device A writes a row; how long until device B's own database has it, both live.

Knows: two devices in processes of their own, and a server. Must not know: how results are shown.
The clock is read before A's transaction begins, and when a reader of B's file sees the row.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
from bench import Measured, percentile
from databases import Kind
from rows import INSERT, items
from sizes import Sizes
from stage import Stage

from holdfast import Replica
from holdfast.testing import wait_until

_P50_MS = 6.0
_P99_MS = 20.0
_WAIT_S = 10.0
_LOOK_S = 0.0002
_PAUSE_S = 0.02


def measure(folder: Path, kind: Kind, sizes: Sizes) -> Iterator[Measured]:
    with Stage(folder / "stage", kind) as stage:
        url = stage.serve()
        one = stage.device("one", url)
        one.sync()
        one.start()
        with _Other(stage, url) as path:
            times = _times(one, path, sizes.live)
        one.stop()
    for name, percent, target in (("p50", 50, _P50_MS), ("p99", 99, _P99_MS)):
        value = percentile(times, percent)
        yield Measured(
            workload="W3", what=f"write on A to visible on B, live: {name}", on=kind.name,
            value=value, unit="ms", target=f"at most {target:g} ms", met=value <= target,
            note=f"{len(times)} rows, one at a time", runs=(value,),
        )  # fmt: skip


class _Other:
    """Device two, live in a process of its own; gives the path of its database."""

    def __init__(self, stage: Stage, url: str) -> None:
        self._stage = stage
        self._url = url

    def __enter__(self) -> Path:
        folder = self._stage.folder
        program = Path(__file__).with_name("live_device.py")
        words = [str(folder / "two.db"), str(folder / "schema.json"), self._url, "token-two"]
        self._process = subprocess.Popen(
            [sys.executable, str(program), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"live\n":
            raise RuntimeError("the other device did not go live")
        return folder / "two.db"

    def __exit__(self, *_failure: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _times(one: Replica, path: Path, count: int) -> list[float]:
    """Milliseconds of each row, after some that warm everything up."""
    found: list[float] = []
    other = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    other.set_busy_timeout(1000)
    warm = min(count, 20)
    wait_until(lambda: one.status.state == "online", _WAIT_S, "device one to be live")
    for number, row in enumerate(items(0, count + warm)):
        time.sleep(_PAUSE_S)
        start = time.perf_counter()
        with one.transaction() as db:
            db.execute(INSERT, row)
        _seen(other, row[0], start + _WAIT_S)
        if number >= warm:
            found.append((time.perf_counter() - start) * 1000)
    other.close()
    return found


def _seen(other: apsw.Connection, key: str, deadline: float) -> None:
    while not other.execute("SELECT 1 FROM item WHERE id = ?", (key,)).fetchall():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"row {key} did not arrive")
        time.sleep(_LOOK_S)
