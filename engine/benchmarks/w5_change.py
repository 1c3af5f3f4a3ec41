"""W5: one row is changed by SQL on the server; a device that holds many exchanges.

Knows: a server, devices, the bytes between them. Must not know: how results are shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench import Measured, Rounds, median, seconds
from databases import Kind, PlainSqlite
from rows import Item, items
from sizes import Sizes
from stage import Stage, Wire

from holdfast import Replica

_MS = 10.0
_BYTES = 1000


def measure(folder: Path, kind: Kind, sizes: Sizes) -> Iterator[Measured]:
    for held in sizes.held:
        yield from _one_change(folder / str(held), kind, sizes, held)


def _one_change(folder: Path, kind: Kind, sizes: Sizes, held: int) -> Iterator[Measured]:
    """The limit is what no exchange can go below: a round trip that does nothing, and two durable
    commits (the server's and the device's)."""
    rounds = Rounds()
    with Stage(folder, kind) as stage, PlainSqlite(folder / "plain.db") as plain:
        stage.prepare()
        rows = items(0, held)
        stage.database.load(rows)
        url = stage.serve()
        replica = stage.device("one", url)
        loaded = seconds(replica.sync)
        for number in range(sizes.changed + 1):
            time.sleep(0.05)  # not in step with the server's own look for direct writes
            stage.database.take(rows[number * 7 % held][0])
            ours = seconds(replica.sync)
            limit = seconds(_bare, replica, plain, items(number * 2, 2))
            if number:
                rounds.ours.append(ours * 1000)
                rounds.limit.append(limit * 1000)
        sent, received = _exchanged_bytes(stage, url, rows[0][0])
    value = median(rounds.ours)
    what = f"one row changed, {held:,} held"
    yield Measured(
        workload="W5", what=f"{what}: time", on=kind.name, value=value, unit="ms",
        limit=median(rounds.limit), ratio=rounds.ratio, target=f"at most {_MS:g} ms",
        met=value <= _MS, note=f"first load {held / loaded:,.0f} rows/s",
        runs=tuple(rounds.ours),
    )  # fmt: skip
    size = sent + received
    yield Measured(
        workload="W5", what=f"{what}: bytes with HTTP headers", on=kind.name, value=float(size),
        unit="B", target="under 1 kB", met=size < _BYTES, note=f"{sent} up, {received} down",
        runs=(float(size),),
    )  # fmt: skip


def _bare(replica: Replica, plain: PlainSqlite, rows: list[Item]) -> None:
    assert replica.transport is not None
    replica.transport.health("benchmark")
    plain.single(rows)


def _exchanged_bytes(stage: Stage, url: str, key: str) -> tuple[int, int]:
    """Bytes up and down of one exchange that brings one row, on a warm connection."""
    with Wire(url).open() as wire:
        device = stage.device("two", wire.url)
        device.sync()
        before = wire.sent, wire.received
        stage.database.take(key)
        time.sleep(0.3)  # the server takes the row in by itself; the count does not depend on it
        report = device.sync()
        if report.received_rows != 1:
            raise RuntimeError(f"one row was expected: {report}")
        return wire.sent - before[0], wire.received - before[1]
