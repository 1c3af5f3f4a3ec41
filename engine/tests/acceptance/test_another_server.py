"""Another server answers at the address of the one that a device knows: an empty one, or one with
rows of its own. Nothing is deleted; the device is pointed back, or a person accepts the server.

Checks I4, I5, I32.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import Device, World

pytestmark = pytest.mark.acceptance
SELL = "UPDATE stock SET on_hand = on_hand - {} WHERE sku = 'screw'"
STOCK = "SELECT sku, on_hand FROM stock ORDER BY 1"


@pytest.fixture
def till(world: World) -> Device:
    """A device with acknowledged work, and some that waits."""
    device = world.device("till", "token-a")
    device.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 1000)")
    device.sync()
    device.shell(SELL.format(1))
    device.sync()
    device.shell(SELL.format(10))
    return device


def put_aside(world: World) -> None:
    """The server's database goes elsewhere; what begins at its place is another one."""
    world.server.terminate()
    for suffix in ("", "-wal", "-shm"):
        if (file := world.path / f"server.db{suffix}").exists():
            shutil.move(file, world.path / f"first.db{suffix}")
    world.serve()


def refuses(till: Device) -> None:
    """It stands, says what it is and what helps; nothing is lost of what is there."""
    told = till.cli("sync", "--json")
    assert told.code == 1
    assert "accept-server" in told.document["error"]["way_out"]
    status = till.status()
    assert (status["state"], status["error_kind"]) == ("needs_attention", "another_server")
    assert till.query(STOCK) == [("screw", 989)]
    assert status["pending"] + status["sent"] == 1


def test_the_device_is_pointed_back(world: World, till: Device) -> None:
    put_aside(world)
    refuses(till)
    till.shell(SELL.format(100))
    world.server.terminate()
    for suffix in ("", "-wal", "-shm"):
        (world.path / f"server.db{suffix}").unlink(missing_ok=True)
        if (file := world.path / f"first.db{suffix}").exists():
            shutil.move(file, world.database)
    world.serve()
    assert till.sync().verified
    assert world.rows(STOCK) == [("screw", 889)]
    world.check_equal(till)
    assert till.cli("history", "--json").document["events"] == []


def test_an_empty_server_is_accepted(world: World, till: Device) -> None:
    put_aside(world)
    refuses(till)
    asked = till.cli("accept-server", "--json")
    assert (asked.code, asked.document["error"]["code"]) == (2, "not_confirmed")
    done = till.cli("accept-server", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.document | {"contact": "ok", "pending": 0, "refused": 0} == done.document
    assert world.holdfast("status", done.document["copy"], "--json").document["pending"] == 1
    assert world.rows(STOCK) == [("screw", 989)], "kept and waiting work, each once"
    till.shell(SELL.format(100))
    assert till.sync().verified
    with till.opened() as replica:
        assert replica.verify().ok
        assert [event.kind for event in replica.history()] == ["accepted_server"]
    assert world.rows(STOCK) == [("screw", 889)]
    world.check_equal(till)
    assert till.status()["mismatches"] == 0


def test_a_server_with_rows_of_its_own_is_accepted(world: World, till: Device) -> None:
    """Its rows come, what it lacks and nobody here has made leaves, unsettled work stays."""
    other = world.device("other", "token-b")
    other.shell("INSERT INTO stock (sku, on_hand) VALUES ('washer', 5)")
    other.sync()
    till.sync()
    till.shell("UPDATE stock SET on_hand = 7 WHERE sku = 'washer'")
    put_aside(world)
    third = world.device("third", "token-c")
    third.shell(
        "INSERT INTO stock (sku, on_hand) VALUES ('nut', 3);"
        "INSERT INTO stock (sku, on_hand) VALUES ('screw', 50)"
    )
    third.sync()
    refuses_again = till.cli("sync", "--json")
    assert refuses_again.code == 1
    done = till.cli("accept-server", "--yes", "--json")
    assert done.code == 0, done.err
    with till.opened() as replica:
        assert replica.verify().ok
        told = replica.history()[-1]
        waiting = replica.refused()
    assert told.kind == "accepted_server"
    assert {"nut", "screw"} <= {sku for sku, _ in world.rows(STOCK)}
    assert ("washer", 5) not in till.query(STOCK)
    assert waiting, "what the server did not take waits for a person"
    assert told.to_inbox == len(waiting)


@pytest.mark.parametrize("point", ["accept.copied", "accept.before_commit", "apply.before_commit"])
def test_it_is_killed_while_it_accepts(world: World, till: Device, point: str) -> None:
    put_aside(world)
    died = till.cli("accept-server", "--yes", env={"HOLDFAST_FAILPOINT": point})
    assert died.code < 0 or died.code > 1, died
    done = till.cli("accept-server", "--yes", "--json")
    assert done.code == 0, done.err
    assert world.rows(STOCK) == [("screw", 989)]
    world.check_equal(till)
