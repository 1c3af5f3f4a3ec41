"""A replica's file is copied, put back from an older state, or lost: each goes on by itself.

Whatever was written on any of the files counts once, and every file ends with what the server has.

Checks I4, I7, I32.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import Device, World

pytestmark = pytest.mark.acceptance
SELL = "UPDATE stock SET on_hand = on_hand - {} WHERE sku = 'screw'"


def copied(world: World, original: Device, name: str = "copy", *, beside: bool = False) -> Device:
    """A copy of the file, and of what lies beside it."""
    copy = world.device(name, "token-a", met=False)
    for file in world.path.glob(f"{copy.file.name}*"):
        file.unlink()
    for file in world.path.glob(f"{original.file.name}*"):
        if beside or file == original.file:
            shutil.copy(file, copy.file.with_name(file.name.replace(original.name, name, 1)))
    return copy


def events(device: Device) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = device.cli("history", "--json").document["events"]
    return told


def kinds(device: Device) -> list[str]:
    return [event["kind"] for event in events(device)]


def synced(*devices: Device) -> None:
    for device in devices:
        told = device.cli("sync", "--json")
        assert told.code == 0, told.err
    for device in devices:
        assert device.sync().verified
        with device.opened() as replica:
            assert replica.verify().ok


def on_hand(world: World) -> int:
    ((number,),) = world.rows("SELECT on_hand FROM stock WHERE sku = 'screw'")
    return int(number)


@pytest.fixture
def till(world: World) -> Device:
    """A device with a thousand screws."""
    device = world.device("till", "token-a")
    device.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 1000)")
    device.sync()
    return device


@pytest.mark.parametrize("beside", [False, True], ids=["the file alone", "with what is beside it"])
@pytest.mark.parametrize("first", ["copy", "original"])
def test_two_copies_go_on_side_by_side(
    world: World, till: Device, first: str, beside: bool
) -> None:
    till.shell(SELL.format(1))  # in the log alone
    with till.opened() as replica, replica.transaction() as db:
        db.execute(SELL.format(10))
    copy = copied(world, till, beside=beside)
    till.shell(SELL.format(100))
    copy.shell(SELL.format(200))
    synced(*([copy, till] if first == "copy" else [till, copy]))
    assert on_hand(world) == 1000 - 1 - 10 - 100 - 200
    for _ in range(5):
        for device in (copy, till):
            device.shell(SELL.format(1))
            device.sync()
    synced(till, copy)
    assert on_hand(world) == 689 - 10
    world.check_equal(till, copy)
    assert sorted([*kinds(till), *kinds(copy)]) == ["copied"], "one of the two, and once"
    (event,) = events(till) + events(copy)
    assert event["already_there"] >= 2, event
    assert "copied" in event["text"]


def test_copies_that_hold_the_same_unsent_work(world: World, till: Device) -> None:
    """What goes on under their common name is an older file, which does not have it."""
    older = copied(world, till, "older")
    till.shell(SELL.format(1))
    with till.opened() as replica:
        replica.seal()
    first, second = copied(world, till, "first"), copied(world, till, "second")
    older.shell(SELL.format(10))
    second.shell(SELL.format(100))
    third = copied(world, second, "third")
    synced(older, first, second, third, till)
    assert on_hand(world) == 1000 - 111
    synced(older, first, second, third, till)
    world.check_equal(older, first, second, third, till)


def test_a_copy_is_made_while_the_original_syncs_in_the_background(
    world: World, till: Device
) -> None:
    running = till.run(poll=0.5)
    till.shell(SELL.format(1))
    wait_until(lambda: on_hand(world) == 999, what="the sale")
    copy = copied(world, till, beside=True)
    till.shell(SELL.format(10))
    wait_until(lambda: on_hand(world) == 989, what="the other sale")
    copy.shell(SELL.format(100))
    synced(copy)
    till.shell(SELL.format(200))
    wait_until(lambda: on_hand(world) == 689, what="what the running one has sold since")
    synced(copy)
    running.terminate()
    synced(till, copy)
    assert on_hand(world) == 689
    world.check_equal(till, copy)


@pytest.mark.parametrize("how", ["cp", "mv"])
def test_a_file_is_put_back_from_an_older_copy(world: World, till: Device, how: str) -> None:
    till.shell(SELL.format(1))
    with till.opened() as replica:
        replica.seal()  # it has its number and its id
    backup = world.path / "backup"
    subprocess.run(["cp", till.file, backup], check=True)
    till.sync()
    till.shell(SELL.format(10))
    till.sync()
    subprocess.run([how, backup, till.file], check=True)
    till.shell(SELL.format(100))
    synced(till)
    assert on_hand(world) == 1000 - 111
    world.check_equal(till)
    assert kinds(till) == ["restored"]
    (event,) = events(till)
    assert (event["resent"], event["already_there"], event["to_inbox"]) == (2, 1, 0)
    till.shell(SELL.format(1))
    till.sync()
    assert on_hand(world) == 1000 - 112


def test_the_log_of_a_file_is_lost(world: World, till: Device) -> None:
    """What stood in it alone is gone; what of it had arrived comes down."""
    running = till.run(poll=0.5)
    till.shell(SELL.format(1))
    wait_until(lambda: on_hand(world) == 999, what="the sale")
    running.kill()
    Path(f"{till.file}-wal").unlink(missing_ok=True)
    Path(f"{till.file}-shm").unlink(missing_ok=True)
    till.shell(SELL.format(10))
    synced(till)
    assert on_hand(world) == 989
    world.check_equal(till)


def test_a_lost_file_is_begun_anew_with_its_token(world: World, till: Device) -> None:
    till.shell(SELL.format(1))
    till.sync()
    for file in world.path.glob(f"{till.file.name}*"):
        file.unlink()
    fresh = world.device("till", "token-a", met=False)
    fresh.sync()
    fresh.shell(SELL.format(10))
    synced(fresh)
    assert on_hand(world) == 989
    assert kinds(fresh) == ["reinitialised"]


@pytest.mark.parametrize(
    "point", ["fork.before_commit", "fork.after_commit", "apply.before_commit"]
)
def test_a_copy_is_killed_while_it_becomes_another(world: World, till: Device, point: str) -> None:
    till.shell(SELL.format(1))
    copy = copied(world, till)
    till.shell(SELL.format(10))
    till.sync()
    copy.shell(SELL.format(100))
    died = copy.cli("sync", env={"HOLDFAST_FAILPOINT": point})
    assert died.code < 0 or died.code > 1, died
    synced(copy, till)
    assert on_hand(world) == 1000 - 111
    world.check_equal(till, copy)
