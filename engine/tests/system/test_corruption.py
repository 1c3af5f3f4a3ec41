"""Any single wrong cell of a replica, its books included, is found and repaired.

Checks I36.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bazaar import SCHEMA, tokens
from chance import heal, step
from checks import after_step, at_rest, same_rows
from device import Device, Options
from properties import examples
from world import World

from holdfast.replica.exchange.verify import VerifyReport
from holdfast.replica.storage.database import transaction

pytestmark = pytest.mark.slow


@pytest.fixture
def world() -> Iterator[World]:
    """A world at rest, with rows in every scope."""
    with tempfile.TemporaryDirectory(prefix="holdfast-damage-") as folder:
        made = World(Path(folder), "damage", Options(revocations=False, jumps=False))
        try:
            for _ in range(60):
                step(made)
            heal(made)
            at_rest(made)
            yield made
        finally:
            made.close()


def damage(device: Device, *statements: str) -> None:
    """Change the file behind the triggers' back, when what was written is sealed."""
    device.replica.seal()
    db = device.foreign
    with transaction(db):
        db.execute("UPDATE holdfast_state SET applying = 1")
        for sql in statements:
            db.execute(sql)
        db.execute("UPDATE holdfast_state SET applying = 0")


def verified(device: Device) -> VerifyReport:
    device.verifying = True  # it may be told that what it asks about is not there
    try:
        return device.replica.verify()
    finally:
        device.verifying = False


def is_found_and_repaired(world: World, device: Device, what: str) -> None:
    report = verified(device)
    assert report.ok, f"{what}: {report}"
    assert report.damaged or report.repaired or report.mismatched, f"{what} was not noticed"
    same_rows(world, device)
    after_step(world)
    again = verified(device)
    assert again.ok and not again.damaged and not again.repaired, f"{what}: {again}"


def test_any_wrong_cell_is_found_and_repaired(world: World) -> None:
    dice = random.Random("cells")
    columns = [(table, column) for table in SCHEMA.tables for column in table.data_columns]
    done = 0
    device = world.devices[0]
    while done < examples(60):
        device = dice.choice(world.devices)
        table, column = dice.choice(columns)
        found = device.rows(f"SELECT rowid, {column.name} FROM {table.name}")
        if not found:
            continue
        rowid, value = dice.choice(found)
        other = {
            "text": "'wrong'", "integer": "-7", "decimal": "'0.07'", "json": "'7'",
            "bytes": "x'07'",
            "boolean": str(int(not value)), "date": "'1999-09-09'", "timestamp": "7", "real": "7.5",
        }[column.type]  # fmt: skip
        if column.name == "rank":
            other = "7"
        elif table.name == "purse" and column.name == "n":
            other = "7777"  # never below nothing
        damage(device, f"UPDATE {table.name} SET {column.name} = {other} WHERE rowid = {rowid}")
        done += 1
        is_found_and_repaired(world, device, f"{table.name}.{column.name}")
    assert device.replica.status.mismatches > 0, "every mismatch is counted"


def test_missing_and_unknown_rows_are_found(world: World) -> None:
    for device in world.devices:
        damage(device, "DELETE FROM item WHERE rowid = (SELECT min(rowid) FROM item)")
        is_found_and_repaired(world, device, "a missing row")
        damage(device, "INSERT INTO item (id, store) VALUES ('unknown', '3')")
        is_found_and_repaired(world, device, "an unknown row")
        assert not device.rows("SELECT 1 FROM item WHERE id = 'unknown'")
        damage(device, "DELETE FROM item")
        is_found_and_repaired(world, device, "an empty table")


BOOKS = (
    "DELETE FROM holdfast_member WHERE key = (SELECT min(key) FROM holdfast_member)",
    "DELETE FROM holdfast_member",
    (
        "UPDATE holdfast_member SET hash = zeroblob(16) "
        "WHERE key = (SELECT max(key) FROM holdfast_member)"
    ),
    "UPDATE holdfast_member SET hash = x'07'",
    "INSERT INTO holdfast_member SELECT scope, 'item', 'never', zeroblob(16) FROM holdfast_scope",
    "UPDATE OR REPLACE holdfast_member SET scope = (SELECT max(scope) FROM holdfast_scope)",
    "UPDATE OR REPLACE holdfast_member SET tbl = 'item' WHERE tbl = 'task'",
    "DELETE FROM holdfast_row WHERE key = (SELECT min(key) FROM holdfast_row)",
    "DELETE FROM holdfast_row",
    "UPDATE holdfast_row SET rev = rev + 5 WHERE key = (SELECT min(key) FROM holdfast_row)",
    "UPDATE holdfast_row SET rev = rev - 1 WHERE key = (SELECT max(key) FROM holdfast_row)",
    "UPDATE holdfast_row SET rev = rev + (1 << 33)",
    "INSERT INTO holdfast_row VALUES ('item', 'never', 7)",
    "UPDATE holdfast_scope SET digest = '00000000000000000000000000000007'",
    "UPDATE holdfast_scope SET count = count + 1",
    (
        "UPDATE holdfast_scope SET server_count = 7, seal = '', "
        "server_digest = '00000000000000000000000000000007'"
    ),
)


@pytest.mark.parametrize("sql", BOOKS)
def test_wrong_books_are_put_right(world: World, sql: str) -> None:
    """Whether it says so or not: after a deep check everything is as it should be."""
    for device in world.devices:
        damage(device, sql)
        assert verified(device).ok
        same_rows(world, device)
        after_step(world)


def test_pending_work_is_left_alone(world: World) -> None:
    device = world.devices[2]
    with device.replica.transaction() as db:
        db.execute("UPDATE item SET name = '~fff1~' WHERE id = (SELECT min(id) FROM item)")
    assert device.replica.status.pending == 1
    damage(device, "UPDATE item SET label = 'wrong'", "UPDATE holdfast_member SET hash = x'07'")
    verified(device)
    assert device.replica.status.pending == 1
    heal(world)
    for each in world.devices:
        same_rows(world, each)
    assert "~fff1~" in tokens(world.latest)
