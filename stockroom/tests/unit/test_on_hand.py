"""The cache of stock on hand equals the ledger, whoever writes movements, in whatever order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast import Replica
from holdfast.core.errors import ConstraintFailed
from holdfast.sql.replica import compile_replica
from holdfast.sqlite import Connection, OpenOptions, driver
from stockroom import ids
from stockroom.on_hand import DIFFERENCE_SQL, FROM_LEDGER_SQL, check_stock, rebuild_stock
from stockroom.schema import schema
from stockroom.stock import INSERT_MOVEMENT

PROGRAM = compile_replica(schema).tables["movement"]
MOVEMENT_IDS = [ids.reversal_id(str(n)) for n in range(8)]
PRODUCTS = [ids.product_id(str(n), "") for n in range(4)]
STORES = ["1", "2"]


@contextmanager
def replica_tables() -> Iterator[Connection]:
    """A replica's tables and triggers in memory, without an engine around them."""
    program = compile_replica(schema)
    connection = driver("apsw").connect(":memory:", OpenOptions(foreign_keys=False))
    for sql in (*program.create, *program.triggers.values(), *program.views.values()):
        connection.execute(sql)
    for sql in program.local:
        connection.execute(sql)
    connection.execute(
        "INSERT INTO holdfast_state (id, format, fingerprint, schema) VALUES (1, 1, '', '')"
    )
    try:
        yield connection
    finally:
        connection.close()


def movement(rng: random.Random, movement_id: str) -> tuple[str | int | None, ...]:
    store = rng.choice(STORES)
    return (
        movement_id,
        rng.choice(PRODUCTS),
        ids.first_location_id(store),
        store,
        rng.choice([-1_000_000_000, -3, -1, 0, 1, 2, 24, 1_000_000_000]),
        "correction",
        "",
        "",
        "",
        "",
        1_700_000_000_000_000,
        "",
        None,
        None,
    )


def as_the_engine(db: Connection, rng: random.Random) -> None:
    """News: rows come, change in any column, and go."""
    db.execute("BEGIN IMMEDIATE")
    db.execute("DELETE FROM holdfast_log")  # as if it had been sealed
    db.execute("UPDATE holdfast_state SET applying = 1")
    for _ in range(rng.randint(1, 4)):
        row = movement(rng, rng.choice(MOVEMENT_IDS))
        match rng.randrange(3):
            case 0:
                db.execute(PROGRAM.delete_row, row[:1])
            case 1:
                db.execute(PROGRAM.upsert_row, row)
            case _:
                db.execute(PROGRAM.delete_row, row[:1])
                db.execute(PROGRAM.upsert_row, row)
    db.execute("UPDATE holdfast_state SET applying = 0")
    db.execute(rng.choice(["COMMIT", "COMMIT", "ROLLBACK"]))


def as_a_person(db: Connection, rng: random.Random) -> None:
    """Local work: movements are added; some of it is undone under a savepoint."""
    db.execute("SAVEPOINT work")
    row = movement(rng, rng.choice(MOVEMENT_IDS))
    known = db.execute("SELECT 1 FROM movement WHERE id = ?", row[:1])
    if known:
        with pytest.raises(ConstraintFailed):
            db.execute(INSERT_MOVEMENT, row)
    else:
        db.execute(INSERT_MOVEMENT, row)
    if rng.random() < 0.3:
        db.execute("ROLLBACK TO work")
    db.execute("RELEASE work")


def as_one_who_merges(db: Connection, rng: random.Random) -> None:
    """Products are there or go, and are made one with others: chains and circles as well."""
    product, other = rng.choice(PRODUCTS), rng.choice([None, *PRODUCTS])
    db.execute("SAVEPOINT work")
    if rng.random() < 0.2:
        db.execute("DELETE FROM product WHERE id = ?", (product,))
    elif not db.execute("SELECT 1 FROM product WHERE id = ?", (product,)):
        insert = "INSERT INTO product (id, sku, name, merged_into) VALUES (?1, ?1, 'x', ?2)"
        db.execute(insert, (product, None if other == product else other))
    elif product != other:
        db.execute("UPDATE product SET merged_into = ? WHERE id = ?", (other, product))
    if rng.random() < 0.2:
        db.execute("ROLLBACK TO work")
    db.execute("RELEASE work")


@pytest.mark.slow
@settings(max_examples=examples(60))
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_cache_follows_any_history(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    with replica_tables() as db:
        for _ in range(steps):
            rng.choice([as_the_engine, as_a_person, as_one_who_merges])(db, rng)
            assert db.execute(DIFFERENCE_SQL) == []
        cache = db.execute(
            "SELECT product_id, location_id, store_id, quantity, movements FROM stock_on_hand"
        )
        assert sorted(cache) == sorted(db.execute(FROM_LEDGER_SQL))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE movement SET quantity = 5",
        "UPDATE movement SET note = 'x'",
        "DELETE FROM movement",
        "REPLACE INTO movement SELECT * FROM movement",
        "UPDATE OR REPLACE movement SET id = id",
        "INSERT INTO movement SELECT * FROM movement WHERE true ON CONFLICT DO NOTHING",
    ],
)
def test_a_movement_is_never_changed_on_a_device(sql: str) -> None:
    with replica_tables() as db:
        row = movement(random.Random(1), MOVEMENT_IDS[0])
        db.execute(INSERT_MOVEMENT, row)
        with pytest.raises(ConstraintFailed) as caught:
            db.execute(sql)
        assert caught.value.kind == "trigger"
        assert "undo it with a reversal" in str(caught.value)
        assert db.execute("SELECT * FROM movement") == [row]
        assert db.execute(DIFFERENCE_SQL) == []


def test_a_wrong_cache_is_found_and_rebuilt(tmp_path: Path) -> None:
    with Replica.open(tmp_path / "device.db", schema) as replica:
        with replica.transaction() as db:
            for number in range(5):
                db.execute(INSERT_MOVEMENT, movement(random.Random(number), MOVEMENT_IDS[number]))
        assert check_stock(replica) == []
        with replica.transaction() as db:
            db.execute("UPDATE stock_on_hand SET quantity = quantity + 1")
        found = check_stock(replica)
        assert found
        assert all(difference.cached == difference.ledger + 1 for difference in found)
        assert rebuild_stock(replica) == len(found)
        assert check_stock(replica) == []
        assert replica.status.pending == 1
