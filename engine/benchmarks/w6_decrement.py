"""W6: two offline devices take one from ten, in plain SQL.

Knows: two devices and a server. Must not know: how results are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench import Measured
from databases import Kind
from rows import INSERT, STORE, TAKE
from stage import Stage, write


def measure(folder: Path, kind: Kind) -> Iterator[Measured]:
    with Stage(folder / "stage", kind) as stage:
        url = stage.serve()
        one, two = stage.device("one", url), stage.device("two", url)
        row = ("0f0e0d0c-0b0a-4908-8706-050403020100", "S", "N", "B", 1, 10, STORE, 0)
        write(one, INSERT, [row])
        one.sync()
        two.sync()
        for device in (one, two):
            write(device, TAKE, [(1, row[0])])
        for device in (one, two, one):
            device.sync()
        found = {int(str(d.query("SELECT quantity FROM item")[0][0])) for d in (one, two)}
    value = float(found.pop()) if len(found) == 1 else float("nan")
    yield Measured(
        workload="W6",
        what="two offline decrements of 10",
        on=kind.name,
        value=value,
        unit="",
        target="8, exactly",
        met=value == 8,
        runs=(value,),
    )
