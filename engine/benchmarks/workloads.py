"""The workloads W2, W4, W5 and W6 of the research notes, each with its limit.

Knows: what is done in each, and its target. Must not know: how results are shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import apsw
from bench import Measured, Rounds, Stage, Wire, median, seconds
from limits import PlainSqlite, Synchronous
from rows import INSERT, SCHEMA, STORE, TAKE, Item, items, sales

from holdfast import Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is done. Shrunk, the figures mean little; they show that everything works."""

    rounds: int = 3
    batch: int = 10_000
    warm: int = 30_000
    single_full: int = 400
    single_normal: int = 4_000
    upload: int = 10_000
    changed: int = 9
    held: tuple[int, ...] = (10_000, 100_000)


QUICK = Sizes(
    rounds=1,
    batch=500,
    warm=10,
    single_full=16,
    single_normal=64,
    upload=200,
    held=(200,),
    changed=1,
)


# --- W4: local writes ---------------------------------------------------------------------------


def local_single(folder: Path, sizes: Sizes, synchronous: Synchronous) -> Measured:
    """One row a transaction; the turns are short, so that a slow disk meets both alike."""
    count = sizes.single_full if synchronous == "FULL" else sizes.single_normal
    turn = max(1, count // 8)
    rounds = Rounds()
    rows = iter(items(0, count * (sizes.rounds + 1)))
    with (
        Replica.open(folder / "ours.db", SCHEMA, synchronous=synchronous) as replica,
        PlainSqlite(folder / "plain.db", synchronous) as plain,
    ):
        for number in (1, 2):  # both logs grow to their full length: a sync is dearer while they do
            filler = items(10**7 * number, sizes.warm)
            _batch(replica, filler, [])
            plain.batch(filler, [])
        for number in range(sizes.rounds + 1):
            ours = limit = 0.0
            for _ in range(0, count, turn):
                part = list(islice(rows, turn))
                ours += seconds(_singles, replica, part)
                limit += seconds(plain.single, part)
            if number:  # the first round warms both up
                rounds.ours.append(ours)
                rounds.limit.append(limit)
    least = 0.7 if synchronous == "FULL" else 0.5
    return _speed(
        "W4",
        f"local writes, one a transaction, {synchronous.lower()} sync",
        count // turn * turn,
        rounds,
        least=least,
    )


def _singles(replica: Replica, rows: list[Item]) -> None:
    for row in rows:
        with replica.transaction() as db:
            db.execute(INSERT, row)


def local_batch(folder: Path, sizes: Sizes, kind: Literal["insert", "update"]) -> Measured:
    """Many rows in one transaction."""
    rounds = Rounds()
    with (
        Replica.open(folder / "ours.db", SCHEMA) as replica,
        PlainSqlite(folder / "plain.db") as plain,
    ):
        for number in range(sizes.rounds + 1):
            rows = items(number * sizes.batch, sizes.batch)
            sold = sales(rows)
            first = (rows, []) if kind == "insert" else ([], sold)
            if kind == "update":
                _batch(replica, rows, [])
                plain.batch(rows, [])
            ours = seconds(_batch, replica, *first)
            limit = seconds(plain.batch, *first)
            if number:
                rounds.ours.append(ours)
                rounds.limit.append(limit)
    what = f"{sizes.batch:,} {kind}s in one transaction, full sync"
    return _speed("W4", what, sizes.batch, rounds, least=0.5)


def _batch(replica: Replica, rows: list[Item], sold: list[tuple[int, str]]) -> None:
    with replica.transaction() as db:
        db.executemany(INSERT, rows)
        db.executemany(TAKE, sold)


def _speed(
    workload: str, what: str, count: int, rounds: Rounds, *, least: float, at_least: float = 0
) -> Measured:
    value = count / median(rounds.ours)
    target = f"at least {least:g} of the limit"
    if at_least:
        target += f", {at_least:,.0f} /s"
    return Measured(
        workload=workload,
        what=what,
        value=value,
        unit="/s",
        limit=count / median(rounds.limit),
        ratio=rounds.ratio,
        target=target,
        met=rounds.ratio >= least and value >= at_least,
        runs=tuple(count / taken for taken in rounds.ours),
    )


# --- W2: upload ---------------------------------------------------------------------------------


def upload(folder: Path, sizes: Sizes, *, changes: int) -> Measured:
    """Offline inserts and sales, ``changes`` a transaction, until acknowledged and applied."""
    rounds = Rounds()
    booked: list[float] = []
    half = sizes.upload // 2
    with Stage(folder / "stage") as stage, PlainSqlite(folder / "plain.db") as plain:
        replica = stage.device("one", stage.serve())
        for number in range(sizes.rounds + 1):
            known = items(2 * number * half, half)
            fresh = items((2 * number + 1) * half, half)
            sold = sales(known)
            _batch(replica, known, [])
            replica.sync()
            plain.batch(known, [])
            for start in range(0, half, changes):
                _batch(replica, fresh[start : start + changes], [])
                _batch(replica, [], sold[start : start + changes])
            ours = seconds(replica.sync)
            limit = seconds(plain.batch, fresh, sold)
            more = items((2 * number + 1) * half + 10**7, half)
            with_book = seconds(plain.booked, more, sold)
            if number:
                rounds.ours.append(ours)
                rounds.limit.append(limit)
                booked.append(with_book)
            status = replica.status
            if status.pending or status.sent or status.refused:
                raise RuntimeError(f"not everything was applied: {status}")
    shape = "one change" if changes == 1 else f"{changes} changes"
    result = _speed(
        "W2",
        f"{2 * half:,} offline changes to the server, {shape} a transaction",
        2 * half,
        rounds,
        least=0.7,
        at_least=18_000,
    )
    ratio = median([a / b for a, b in zip(booked, rounds.ours, strict=True)])
    note = f"{ratio:.2f} of plain SQL that also writes one bookkeeping row a change"
    return replace(result, note=note)


# --- W5: one changed row ------------------------------------------------------------------------


def one_change(folder: Path, sizes: Sizes, held: int) -> list[Measured]:
    """One row is changed by SQL on the server; the device, which holds ``held`` rows, exchanges.

    The limit is what no exchange can go below: a round trip that does nothing, and two durable
    commits (the server's and the device's).
    """
    rounds = Rounds()
    with Stage(folder / "stage") as stage, PlainSqlite(folder / "plain.db") as plain:
        stage.prepare()
        rows = items(0, held)
        with closing(_server_side(stage)) as db, db:
            db.executemany(INSERT, rows)
        url = stage.serve()
        with closing(_server_side(stage)) as db:
            replica = stage.device("one", url)
            loaded = seconds(replica.sync)
            for number in range(sizes.changed + 1):
                time.sleep(0.05)  # not in step with the server's own look for direct writes
                db.execute(TAKE, (1, rows[number * 7 % held][0]))
                ours = seconds(replica.sync)
                limit = seconds(_bare, replica, plain, items(number * 2, 2))
                if number:
                    rounds.ours.append(ours * 1000)
                    rounds.limit.append(limit * 1000)
            sent, received = _exchanged_bytes(stage, url, db, rows[0][0])
    value = median(rounds.ours)
    what = f"one row changed, {held:,} held"
    note = f"first load {held / loaded:,.0f} rows/s"
    size = sent + received
    return [
        Measured(
            workload="W5", what=f"{what}: time", value=value, unit="ms",
            limit=median(rounds.limit), ratio=rounds.ratio, target="at most 10 ms",
            met=value <= 10, note=note, runs=tuple(rounds.ours),
        ),
        Measured(
            workload="W5", what=f"{what}: bytes with HTTP headers", value=float(size), unit="B",
            target="under 1 kB", met=size < 1000, note=f"{sent} up, {received} down",
            runs=(float(size),),
        ),
    ]  # fmt: skip


def _server_side(stage: Stage) -> apsw.Connection:
    db = apsw.Connection(str(stage.database))
    db.set_busy_timeout(10_000)
    return db


def _bare(replica: Replica, plain: PlainSqlite, rows: list[Item]) -> None:
    assert replica.transport is not None
    replica.transport.health("benchmark")
    plain.single(rows)


def _exchanged_bytes(stage: Stage, url: str, db: apsw.Connection, key: str) -> tuple[int, int]:
    """Bytes up and down of one exchange that brings one row, on a warm connection."""
    with Wire(url).open() as wire:
        device = stage.device("one", wire.url)
        device.sync()
        before = wire.sent, wire.received
        db.execute(TAKE, (1, key))
        time.sleep(0.3)  # the server takes the row in by itself; the count does not depend on it
        report = device.sync()
        if report.received_rows != 1:
            raise RuntimeError(f"one row was expected: {report}")
        return wire.sent - before[0], wire.received - before[1]


# --- W6: two decrements -------------------------------------------------------------------------


def two_decrements(folder: Path) -> Measured:
    """Two offline devices take one from ten, in plain SQL."""
    with Stage(folder / "stage") as stage:
        url = stage.serve()
        one, two = stage.device("one", url), stage.device("two", url)
        row = ("0f0e0d0c-0b0a-4908-8706-050403020100", "S", "N", "B", 1, 10, STORE, 0)
        _batch(one, [row], [])
        one.sync()
        two.sync()
        for device in (one, two):
            _batch(device, [], [(1, row[0])])
        for device in (one, two, one):
            device.sync()
        found = {int(str(d.query("SELECT quantity FROM item")[0][0])) for d in (one, two)}
    value = float(found.pop()) if len(found) == 1 else float("nan")
    return Measured(
        workload="W6",
        what="two offline decrements of 10",
        value=value,
        unit="",
        target="8, exactly",
        met=value == 8,
        runs=(value,),
    )


# --- all of them --------------------------------------------------------------------------------


def run(folder: Path, sizes: Sizes, only: frozenset[str]) -> Iterator[Measured]:
    """Measure the workloads named in ``only``, or all."""

    def place(name: str) -> Path:
        path = folder / name
        path.mkdir()
        return path

    wanted = only or frozenset({"W2", "W4", "W5", "W6"})
    if "W4" in wanted:
        yield local_single(place("w4-full"), sizes, "FULL")
        yield local_single(place("w4-normal"), sizes, "NORMAL")
        yield local_batch(place("w4-insert"), sizes, "insert")
        yield local_batch(place("w4-update"), sizes, "update")
    if "W2" in wanted:
        yield upload(place("w2-hundred"), sizes, changes=100)
        yield upload(place("w2-one"), sizes, changes=1)
    if "W5" in wanted:
        for held in sizes.held:
            yield from one_change(place(f"w5-{held}"), sizes, held)
    if "W6" in wanted:
        yield two_decrements(place("w6"))
