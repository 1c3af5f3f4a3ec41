"""A damaged replica goes on by itself: all its work arrives, once, and both sides compare equal.

Checks I8, I32, I34.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast import ChangeEvent, Replica
from holdfast.replica.runner import RunnerOptions
from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import Device, World

pytestmark = pytest.mark.acceptance

PAGE = 4096
ALL = "SELECT sku, on_hand FROM stock ORDER BY sku"


@pytest.fixture
def device(world: World) -> Device:
    """A device with 300 rows, synced."""
    made = world.device("a", "token-a")
    with made.opened() as replica:
        with replica.transaction() as db:
            db.executemany(
                "INSERT INTO stock (sku, name, on_hand) VALUES (?, ?, ?)",
                [(f"p{number:03}", f"Part {number}", 100) for number in range(300)],
            )
        assert replica.sync().verified
    return made


def sell(replica: Replica, first: int, last: int) -> None:
    """A sale of each, in a transaction of its own."""
    for number in range(first, last):
        with replica.transaction() as db:
            db.execute("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = ?", (f"p{number:03}",))


def sold(world: World) -> list[str]:
    return [sku for sku, on_hand in world.rows(ALL) if on_hand == 99]


def no_header(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(bytes(100) + data[100:])


def test_what_was_not_sent_arrives_and_the_rest_is_loaded(world: World, device: Device) -> None:
    with device.opened() as replica:
        sell(replica, 0, 20)
        replica.seal()
        sell(replica, 20, 25)
    no_header(device.file)

    told = device.cli("sync", "--json")

    assert told.code == 0, told.err
    assert told.document["salvaged"]["transactions"] == 25
    assert sold(world) == [f"p{number:03}" for number in range(25)], "each once"
    world.check_equal(device)
    assert device.cli("verify", "--json").document["ok"] is True
    events = device.cli("history", "--json").document["events"]
    assert [event["kind"] for event in events][:1] == ["salvaged"]
    assert "damaged" in events[0]["text"]


def test_what_had_arrived_is_not_applied_twice(world: World, device: Device) -> None:
    """The damaged file is from before a sync: the server has half of what it holds."""
    with device.opened() as replica:
        sell(replica, 0, 10)
    older = device.file.read_bytes()
    device.sync()
    device.file.write_bytes(bytes(100) + older[100:])
    assert device.cli("salvage", "--json").document["transactions"] == 10
    with device.opened() as replica, replica.transaction() as db:  # the next number is its own
        db.execute("INSERT INTO stock (sku, name, on_hand) VALUES ('new', 'New', 99)")

    assert device.cli("sync", "--json").code == 0
    with device.opened() as replica:
        sell(replica, 10, 15)
        replica.sync()

    assert sold(world) == ["new", *(f"p{number:03}" for number in range(15))]
    world.check_equal(device)
    b = world.device("b", "token-b")
    world.check_equal(device, b)


def test_by_hand_without_a_server_it_is_queued(world: World, device: Device) -> None:
    with device.opened() as replica:
        sell(replica, 0, 5)
    no_header(device.file)
    world.server.kill()
    export = device.file.with_suffix(".jsonl")
    told = device.cli("salvage", "--json", "--to", export)
    assert told.code == 0, told.err
    assert told.document["transactions"] == told.document["exported"] == 5
    assert [json.loads(line)["changes"][0]["key"] for line in export.read_text().splitlines()] == [
        [f"p00{number}"] for number in range(5)
    ]
    assert device.status()["pending"] == 5
    assert device.cli("salvage", "--json").document == {"ok": True, "damaged": False}
    world.serve()
    assert device.cli("sync", "--json").code == 0
    assert sold(world) == [f"p{number:03}" for number in range(5)]
    world.check_equal(device)


def _damage_rows(device: Device) -> None:
    """Overwrite the leaves of the table, so that whoever reads them next meets it."""
    ((root,),) = device.query("SELECT rootpage FROM sqlite_schema WHERE name = 'stock'")
    leaves = device.query(
        "SELECT pageno FROM dbstat WHERE name = 'stock' AND pagetype = 'leaf'"
    ) or [(root,)]
    with device.file.open("rb+") as file:
        for (number,) in leaves:
            file.seek((number - 1) * PAGE)
            file.write(random.Random(number).randbytes(PAGE))


def test_a_sync_that_meets_a_damaged_page_mends_it(world: World, device: Device) -> None:
    b = world.device("b", "token-b")
    with b.opened() as replica:
        sell(replica, 0, 300)
        replica.sync()
    with device.opened() as replica:
        with replica.transaction() as db:
            db.execute("INSERT INTO stock (sku, name, on_hand) VALUES ('new', 'New', 1)")
        replica.seal()
    _damage_rows(device)
    with device.opened() as replica:
        before = replica.salvaged
        assert replica.sync().verified
        found = replica.salvaged
        assert before is None, "nothing of it was read before"
        assert found is not None
        assert found.ok
        assert replica.query("SELECT count(*), sum(on_hand) FROM stock") == [(301, 300 * 99 + 1)]
    b.sync()
    world.check_equal(device, b)


def test_background_sync_mends_it_and_goes_on(world: World, device: Device) -> None:
    """Who reads its changes is told of the new file's."""
    b = world.device("b", "token-b")
    _damage_rows(device)
    states: set[str] = set()
    with device.opened() as replica, replica.changes("stock") as changes:
        replica.on_status(lambda status: states.add(status.state))
        replica.start(RunnerOptions())
        with b.opened() as other:
            sell(other, 0, 300)
            other.sync()
        wait_until(lambda: replica.salvaged is not None, what="the damage is met")
        wait_until(lambda: replica.status.state == "online", what="it goes on")
        wait_until(
            lambda: replica.query("SELECT count(*), sum(on_hand) FROM stock") == [(300, 300 * 99)],
            what="all is loaded",
        )
        assert "unknown" in {change.kind for change in changes.take()}, "the file is another one"
        states.clear()
        sell(replica, 0, 1)
        assert next(changes) == ChangeEvent(
            table="stock", kind="update", origin="local", keys=("p000",)
        )
        wait_until(lambda: replica.status.pending + replica.status.sent == 0, what="it sends")
        wait_until(lambda: "online" in states, what="its status is told")
    assert world.rows("SELECT on_hand FROM stock WHERE sku = 'p000'") == [(98,)]
