"""A copy of a file seals what it holds under the ids that the original gives it.

Checks I7.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdfast.replica.replica import Replica
from holdfast.schema import Column, Schema, Table

SCHEMA = Schema(
    name="shop",
    tables=(
        Table(
            name="stock",
            key=("sku",),
            columns=(Column("sku"), Column("n", "integer", merge="counter")),
            scopes=("main",),
        ),
    ),
)


def sealed(path: Path) -> list[tuple[Any, ...]]:
    """Number, id, and time of what a file holds."""
    with Replica.open(path) as replica:
        replica.seal()
        return replica.query("SELECT number, id, at FROM holdfast_tx")


def ids(path: Path) -> list[tuple[int, str]]:
    return [(number, id_) for number, id_, _ in sealed(path)]


def sell(path: Path) -> None:
    with closing(sqlite3.connect(path)) as shell, shell:
        shell.execute("UPDATE stock SET n = n - 1 WHERE sku = 'a'")


@pytest.mark.parametrize("by", ["app", "shell"])
def test_what_was_written_before_the_copy_has_one_id(tmp_path: Path, by: str) -> None:
    path, copy = tmp_path / "r.db", tmp_path / "copy.db"
    with Replica.open(path, SCHEMA) as replica, replica.transaction() as db:
        db.execute("INSERT INTO stock VALUES ('a', 9)")
    if by == "app":
        with Replica.open(path) as replica, replica.transaction() as db:
            db.execute("UPDATE stock SET n = n - 1 WHERE sku = 'a'")
    else:
        sell(path)
    shutil.copy(path, copy)
    assert ids(path) == ids(copy)
    assert len({id_ for _, id_ in ids(path)}) == 2


def test_the_same_sale_after_the_copy_is_another_one(tmp_path: Path) -> None:
    path, copy = tmp_path / "r.db", tmp_path / "copy.db"
    with Replica.open(path, SCHEMA) as replica, replica.transaction() as db:
        db.execute("INSERT INTO stock VALUES ('a', 9)")
    shutil.copy(path, copy)
    sell(path)
    sell(copy)
    ours, theirs = dict(ids(path)), dict(ids(copy))
    assert ours[1] == theirs[1]
    assert ours[2] != theirs[2]


@pytest.mark.parametrize("ended_by", ["seal", "app", "shell"])
def test_what_another_program_wrote_has_the_moment_in_which_it_did(
    tmp_path: Path, ended_by: str
) -> None:
    """However it is ended, and whenever a copy comes to seal it."""
    path, copy = tmp_path / "r.db", tmp_path / "copy.db"
    with Replica.open(path, SCHEMA) as replica, replica.transaction() as db:
        db.execute("INSERT INTO stock VALUES ('a', 9)")
    ids(path)
    before_us = time.time_ns() // 1_000
    sell(path)
    after_us = time.time_ns() // 1_000
    shutil.copy(path, copy)
    time.sleep(0.01)
    if ended_by == "shell":
        sell(copy)
    if ended_by == "app":
        with Replica.open(copy) as replica, replica.transaction() as db:
            db.execute("UPDATE stock SET n = n - 1 WHERE sku = 'a'")
    ours, theirs = sealed(path), sealed(copy)
    assert ours[1] == theirs[1]
    assert before_us - 1_000 <= ours[1][2] <= after_us


def test_a_group_that_is_too_large_has_the_same_parts(tmp_path: Path) -> None:
    path, copy = tmp_path / "r.db", tmp_path / "copy.db"
    Replica.open(path, SCHEMA).close()
    with closing(sqlite3.connect(path)) as shell, shell:
        shell.executemany("INSERT INTO stock VALUES (?, 1)", [(f"s{n}",) for n in range(12_000)])
    shutil.copy(path, copy)
    assert len(ids(path)) > 1
    assert ids(path) == ids(copy)


def test_what_other_connections_write_behind_it_is_another_group(tmp_path: Path) -> None:
    """What stood in the log when the file was copied keeps its id, whatever is written after."""
    path, copy = tmp_path / "r.db", tmp_path / "copy.db"
    with Replica.open(path, SCHEMA) as replica, replica.transaction() as db:
        db.execute("INSERT INTO stock VALUES ('a', 9)")
    sell(path)
    sell(path)
    shutil.copy(path, copy)
    sell(path)
    sell(copy)
    sell(copy)
    ours, theirs = dict(ids(path)), dict(ids(copy))
    assert (len(ours), len(theirs)) == (4, 5)
    assert [ours[n] == theirs[n] for n in (1, 2, 3, 4)] == [True, True, True, False]


def test_a_transaction_of_another_program_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    Replica.open(path, SCHEMA).close()
    with closing(sqlite3.connect(path)) as shell, shell:
        shell.executemany("INSERT INTO stock VALUES (?, 1)", [(f"s{n}",) for n in range(50)])
        shell.execute("UPDATE stock SET n = n + 1")
        time.sleep(0.01)
        shell.execute("DELETE FROM stock WHERE sku = 's1'")
    assert len(ids(path)) == 1
