"""W2: offline changes go up, clean and in conflict, until acknowledged and applied.

Knows: devices, a server, the same rows in plain SQL beside them. Must not know: how results are
shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench import Measured, Rounds, median, seconds, speed
from databases import Kind
from rows import INSERT, SCHEMA, SCHEMA_MANUAL, TAKE, Item, items, sales
from sizes import Sizes
from stage import Stage, settled, write

from holdfast import Replica, Schema

_RATE = 18_000
_CONFLICT_COST_MAX = 3.0
_RENAME = "UPDATE item SET name = ? WHERE id = ?"


def measure(folder: Path, kind: Kind, sizes: Sizes) -> Iterator[Measured]:
    for changes in (100, 1):
        yield _upload(folder / f"by-{changes}", kind, sizes, changes=changes)


def _upload(folder: Path, kind: Kind, sizes: Sizes, *, changes: int) -> Measured:
    """Inserts and sales, ``changes`` a transaction."""
    rounds = Rounds()
    booked: list[float] = []
    half = sizes.upload // 2
    with Stage(folder, kind) as stage:
        plain = kind.plain(folder)
        replica = stage.device("one", stage.serve())
        for number in range(sizes.rounds + 1):
            known = items(2 * number * half, half)
            fresh = items((2 * number + 1) * half, half)
            sold = sales(known)
            write(replica, INSERT, known)
            replica.sync()
            plain.batch(known, [])
            for start in range(0, half, changes):
                write(replica, INSERT, fresh[start : start + changes])
                write(replica, TAKE, list(sold[start : start + changes]))
            ours = seconds(replica.sync)
            limit = seconds(plain.batch, fresh, sold)
            more = items((2 * number + 1) * half + 10**7, half)
            with_book = seconds(plain.booked, more, sold)
            settled(replica)
            if number:
                rounds.ours.append(ours)
                rounds.limit.append(limit)
                booked.append(with_book)
    shape = "one change" if changes == 1 else f"{changes} changes"
    ratio = median([a / b for a, b in zip(booked, rounds.ours, strict=True)])
    return speed(
        "W2",
        f"{2 * half:,} offline changes to the server, {shape} a transaction",
        2 * half,
        rounds,
        least=0.7,
        at_least=_RATE,
        on=kind.name,
        note=f"{ratio:.2f} of plain SQL that also writes one bookkeeping row a change",
    )


# --- a batch in which every change conflicts ----------------------------------------------------


def measure_conflicts(folder: Path, kind: Kind, sizes: Sizes) -> Iterator[Measured]:
    yield _conflicts(folder / "latest", kind, sizes, SCHEMA, "the later one wins, journalled")
    yield _conflicts(folder / "manual", kind, sizes, SCHEMA_MANUAL, "each opens a conflict")


def _conflicts(folder: Path, kind: Kind, sizes: Sizes, schema: Schema, how: str) -> Measured:
    """Device two renames rows that device one has renamed meanwhile, and as many that it has not.

    The limit is the clean batch: the ratio is clean by conflicting.
    """
    rounds = Rounds()
    count = sizes.upload
    with Stage(folder, kind, schema) as stage:
        url = stage.serve()
        one, two = stage.device("one", url), stage.device("two", url)
        for number in range(sizes.rounds + 1):
            rows = items(number * 2 * count, 2 * count)
            contested, free = rows[:count], rows[count:]
            write(one, INSERT, rows)
            one.sync()
            two.sync()
            write(one, _RENAME, [(f"{row[2]}, by one", row[0]) for row in contested])
            one.sync()
            limit = _rename(two, free)
            one.sync()
            ours = _rename(two, contested)
            if number:
                rounds.ours.append(ours)
                rounds.limit.append(limit)
    cost = 1 / rounds.ratio
    return Measured(
        workload="WC",
        what=f"{count:,} changes that all conflict ({how})",
        on=kind.name,
        value=count / median(rounds.ours),
        unit="/s",
        limit=count / median(rounds.limit),
        ratio=rounds.ratio,
        target=f"at most {_CONFLICT_COST_MAX:g} times a clean batch",
        met=cost <= _CONFLICT_COST_MAX,
        note=f"{cost:.2f} times the clean batch",
        runs=tuple(count / taken for taken in rounds.ours),
    )


def _rename(replica: Replica, rows: list[Item]) -> float:
    """Seconds of one sync that sends a new name of each row, a hundred a transaction."""
    for start in range(0, len(rows), 100):
        part = rows[start : start + 100]
        write(replica, _RENAME, [(f"{row[2]}, by {replica.path[-6:-3]}", row[0]) for row in part])
    taken = seconds(replica.sync)
    settled(replica)
    return taken
