"""W1: the first load of a fresh replica, by whatever way the server offers.

Knows: a server with many rows, fresh devices, an ATTACH copy beside them. Must not know: how the
rows travel: ``sync`` takes a snapshot where one is offered, and else the rows of an exchange.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench import Measured, Rounds, seconds, speed
from databases import Kind, PlainSqlite
from rows import items
from sizes import Sizes
from stage import DEVICES, Stage, Wire

_RATE = 170_000
_ROW_BYTES = 80


def measure(folder: Path, kind: Kind, sizes: Sizes) -> Iterator[Measured]:
    rounds = Rounds()
    rows = items(0, sizes.load)
    with Stage(folder / "stage", kind) as stage, PlainSqlite(folder / "plain.db") as plain:
        stage.prepare()
        stage.database.load(rows)
        plain.batch(rows, [])
        url = stage.serve()
        _arrive(stage, "six", url, sizes.load)  # what the server builds once is there for the rest
        for name in DEVICES[: sizes.loads]:
            rounds.ours.append(seconds(_arrive, stage, name, url, sizes.load))
            rounds.limit.append(seconds(plain.attach_copy, folder / f"copy-{name}.db"))
        with Wire(url).open() as wire:
            _arrive(stage, "five", wire.url, sizes.load)
            size = (wire.sent + wire.received) / sizes.load
    what = f"first load of {sizes.load:,} rows"
    result = speed("W1", what, sizes.load, rounds, least=0.5, at_least=_RATE, on=kind.name)
    yield replace(result, note="the limit is an ATTACH copy into a fresh file")
    yield Measured(
        workload="W1", what=f"{what}: bytes a row", on=kind.name, value=size, unit="B",
        target=f"at most {_ROW_BYTES} B", met=size <= _ROW_BYTES, runs=(size,),
    )  # fmt: skip


def _arrive(stage: Stage, name: str, url: str, count: int) -> None:
    replica = stage.device(name, url)
    replica.sync()
    ((found,),) = replica.query("SELECT count(*) FROM item")
    if found != count:
        raise RuntimeError(f"{found} of {count} rows arrived")
