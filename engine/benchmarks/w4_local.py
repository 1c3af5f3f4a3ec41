"""W4: local writes, one row a transaction and many, against plain SQLite.

Knows: a replica without a server. Must not know: how results are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from bench import Measured, Rounds, seconds, speed
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
    what = f"local writes, one a transaction, {synchronous.lower()} sync"
    least = 0.7 if synchronous == "FULL" else 0.5
    return speed("W4", what, count // turn * turn, rounds, least=least)


def _singles(replica: Replica, rows: list[Item]) -> None:
    for row in rows:
        with replica.transaction() as db:
            db.execute(INSERT, row)


def _many(folder: Path, sizes: Sizes, kind: Literal["insert", "update"]) -> Measured:
    """Many rows in one transaction."""
    folder.mkdir()
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
    return speed("W4", what, sizes.batch, rounds, least=0.5)


def _batch(replica: Replica, rows: list[Item], sold: list[tuple[int, str]]) -> None:
    with replica.transaction() as db:
        db.executemany(INSERT, rows)
        db.executemany(TAKE, sold)
