"""W4: local writes, one row a transaction and many, against plain SQLite.

What a write leaves to the next exchange (the log is made into transactions of the outbox) is timed
apart, and named beside the figure, with the ratio that it would give if it belonged to the write.

Knows: a replica without a server. Must not know: how results are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from bench import Measured, Rounds, median, seconds, speed
from databases import PlainSqlite, Synchronous
from rows import INSERT, SCHEMA, TAKE, Item, items, sales
from sizes import Sizes

from holdfast import Replica


def measure(folder: Path, sizes: Sizes) -> Iterator[Measured]:
    yield _single(folder / "full", sizes, "FULL")
    yield _single(folder / "normal", sizes, "NORMAL")
    yield _many(folder / "insert", sizes, "insert")
    yield _many(folder / "update", sizes, "update")


def _single(folder: Path, sizes: Sizes, synchronous: Synchronous) -> Measured:
    """One row a transaction; the turns are short, so that a slow disk meets both alike."""
    folder.mkdir()
    count = sizes.single_full if synchronous == "FULL" else sizes.single_normal
    turn = max(1, count // 8)
    rounds, sealing = Rounds(), [0.0]
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
            ours = limit = later = 0.0
            for _ in range(0, count, turn):
                part = list(islice(rows, turn))
                ours += seconds(_singles, replica, part)
                limit += seconds(plain.single, part)
                later += seconds(replica.seal)
            if number:  # the first round warms both up
                rounds.ours.append(ours)
                rounds.limit.append(limit)
                sealing.append(later)
    what = f"local writes, one a transaction, {synchronous.lower()} sync"
    least = 0.7 if synchronous == "FULL" else 0.5
    count = count // turn * turn
    note = _with_sealing(rounds, sealing[1:], count)
    return speed("W4", what, count, rounds, least=least, note=note)


def _with_sealing(rounds: Rounds, sealing: list[float], count: int) -> str:
    each = median(sealing) / count * 1e6
    whole = [ours + later for ours, later in zip(rounds.ours, sealing, strict=True)]
    ratio = Rounds(ours=whole, limit=rounds.limit).ratio
    return f"sealed later, {each:.1f} µs a change: with it {ratio:.2f} of the limit"


def _singles(replica: Replica, rows: list[Item]) -> None:
    for row in rows:
        with replica.transaction() as db:
            db.execute(INSERT, row)


def _many(folder: Path, sizes: Sizes, kind: Literal["insert", "update"]) -> Measured:
    """Many rows in one transaction."""
    folder.mkdir()
    rounds, sealing = Rounds(), [0.0]
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
                replica.seal()
            ours = seconds(_batch, replica, *first)
            limit = seconds(plain.batch, *first)
            later = seconds(replica.seal)
            if number:
                rounds.ours.append(ours)
                rounds.limit.append(limit)
                sealing.append(later)
    what = f"{sizes.batch:,} {kind}s in one transaction, full sync"
    note = _with_sealing(rounds, sealing[1:], sizes.batch)
    return speed("W4", what, sizes.batch, rounds, least=0.5, note=note)


def _batch(replica: Replica, rows: list[Item], sold: list[tuple[int, str]]) -> None:
    with replica.transaction() as db:
        db.executemany(INSERT, rows)
        db.executemany(TAKE, sold)
