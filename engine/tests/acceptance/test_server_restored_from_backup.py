"""The server's database is put back in time: devices give back what it lacks, by themselves.

Checks I5.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import MakeWorld, World

pytestmark = pytest.mark.acceptance


def test_devices_give_back_what_a_restored_server_has_lost(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    for device in (a, b):
        device.sync()
    world.server.terminate()
    backup = world.path / "backup.db"
    subprocess.run(["cp", world.database, backup], check=True)

    world.serve()
    a.shell("UPDATE stock SET on_hand = on_hand - 1; INSERT INTO stock (sku) VALUES ('nut')")
    for device in (a, b):
        device.sync()
    a.shell("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'screw'")
    world.server.terminate()
    for suffix in ("", "-wal", "-shm"):
        (world.path / f"server.db{suffix}").unlink(missing_ok=True)
    subprocess.run(["cp", backup, world.database], check=True)
    world.serve()

    for device in (b, a, b):  # first comes the one that has it as news alone
        assert device.cli("sync").code == 0
    with a.opened() as replica:
        assert replica.verify().ok
        (event,) = replica.history()
    assert world.rows("SELECT sku, on_hand FROM stock ORDER BY 1") == [("nut", 0), ("screw", 8)]
    world.check_equal(a, b)
    assert (event.kind, event.to_inbox) == ("server_restored", 0)
    assert event.resent == 3
    assert event.already_there == 1, "the backup had the first"


def test_a_server_is_put_back_twice_and_a_device_was_copied(world: World) -> None:
    """What the first restore or the copy has made of a replica, the server has forgotten."""
    till = world.device("till", "token-a")
    till.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 1000)")
    till.sync()
    world.server.terminate()
    backup = world.path / "backup.db"
    shutil.copy(world.database, backup)
    world.serve()

    sell = "UPDATE stock SET on_hand = on_hand - {}"
    till.shell(sell.format(1))
    till.sync()
    copy = world.device("copy", "token-a", met=False)
    shutil.copy(till.file, copy.file)
    for round_ in (1, 2):
        for device, amount in ((copy, 10), (till, 100)):
            device.shell(sell.format(amount))
            assert device.cli("sync").code == 0
        world.server.terminate()
        for suffix in ("", "-wal", "-shm"):
            (world.path / f"server.db{suffix}").unlink(missing_ok=True)
        shutil.copy(backup, world.database)
        world.serve()
        for device in (till, copy, till):
            assert device.cli("sync").code == 0
        assert world.rows("SELECT on_hand FROM stock") == [(999 - 110 * round_,)]
        world.check_equal(till, copy)


@pytest.mark.parametrize(
    ("who", "point"),
    [
        ("server", "epoch.before_commit"),
        ("server", "epoch.after_commit"),
        ("device", "fork.before_commit"),
        ("device", "fork.after_commit"),
    ],
)
def test_who_is_killed_while_the_epoch_ends_goes_on(
    make_world: MakeWorld, who: str, point: str
) -> None:
    world = make_world()
    till = world.device("till", "token-a")
    till.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    till.sync()
    world.server.terminate()
    backup = world.path / "backup.db"
    shutil.copy(world.database, backup)
    world.serve()
    till.shell("UPDATE stock SET on_hand = on_hand - 1; INSERT INTO stock (sku) VALUES ('nut')")
    till.sync()
    till.shell("UPDATE stock SET on_hand = on_hand - 2")
    world.server.terminate()
    for suffix in ("", "-wal", "-shm"):
        (world.path / f"server.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, world.database)

    killed = {"HOLDFAST_FAILPOINT": f"{point}:1"}
    world.serve(env=killed if who == "server" else None)
    told = till.cli("sync", env=killed if who == "device" else None)
    if who == "device":
        assert told.code == -9
    else:
        assert told.code != 0
        wait_until(lambda: not world.server.running, what="the server's death")
        ended = world.rows("SELECT count(*) FROM holdfast_epoch")
        assert ended == [(int(point == "epoch.after_commit"),)], "half an end"
        world.serve()
    till.sync()
    assert world.rows("SELECT sku, on_hand FROM stock ORDER BY 1") == [("nut", -2), ("screw", 7)]
    assert world.rows("SELECT count(*) FROM holdfast_epoch") == [(1,)]
    world.check_equal(till)


def test_work_on_a_row_that_is_not_back_yet_waits_for_it(world: World) -> None:
    """Who comes first has changed, counted and deleted what another device began, and has not sent
    all of it; and renamed what that one has renamed since."""
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    for device in (a, b):
        device.sync()
    world.server.terminate()
    backup = world.path / "backup.db"
    shutil.copy(world.database, backup)
    world.serve()
    b.shell("INSERT INTO stock (sku) VALUES ('nut'), ('bolt'), ('pin'), ('rivet')")
    b.sync()
    a.sync()
    a.shell("UPDATE stock SET on_hand = on_hand - 2, name = 'by a' WHERE sku IN ('screw', 'nut')")
    a.shell("UPDATE stock SET on_hand = on_hand - 2 WHERE sku = 'nut'")
    a.shell("DELETE FROM stock WHERE sku = 'bolt'")
    a.shell("UPDATE stock SET name = 'first' WHERE sku = 'pin'")
    a.sync()
    b.sync()
    b.shell("UPDATE stock SET name = 'last' WHERE sku = 'pin'")
    b.sync()
    safe = [("nut", "by a", -4), ("pin", "last", 0), ("rivet", "", 0), ("screw", "by a", 8)]
    assert world.rows("SELECT sku, name, on_hand FROM stock ORDER BY 1") == safe
    a.shell("UPDATE stock SET on_hand = on_hand - 3, name = 'unsent' WHERE sku = 'rivet'")
    safe[2] = ("rivet", "unsent", -3)

    world.server.terminate()
    for suffix in ("", "-wal", "-shm"):
        (world.path / f"server.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, world.database)
    world.serve()
    for device in (a, b, a, b, a):
        device.sync()
    assert world.rows("SELECT sku, name, on_hand FROM stock ORDER BY 1") == safe
    (left,) = a.query("SELECT state, code FROM holdfast_tx")
    assert left == ("held", "constraint"), "the rename that was overtaken is for a person"


def test_an_empty_server_deletes_nothing_on_a_device(world: World) -> None:
    a = world.device("a", "token-a")
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    a.sync()
    world.server.terminate()
    for suffix in ("", "-wal", "-shm"):
        (world.path / f"server.db{suffix}").unlink(missing_ok=True)
    world.serve()
    told = a.cli("sync", "--json")
    assert (told.code, told.document["error"]["code"]) == (1, "epoch_mismatch")
    assert a.query("SELECT sku, on_hand FROM stock") == [("screw", 10)]
