"""The counter example: plain `sqlite3` on two replicas, and what the command says of it.

Checks I21.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import Device, World

pytestmark = pytest.mark.acceptance

STATUS_FIELDS = {
    "state", "pending", "sent", "held", "refused", "conflicts", "verified_at", "retry_at",
    "clock_offset_ms",
}  # fmt: skip
CONFLICT_FIELDS = {
    "id", "table", "key", "column", "base", "device_value", "server_value", "yours", "mine",
    "theirs", "user", "device", "at", "their_user", "their_device", "their_at",
}  # fmt: skip
SCREW = "INSERT INTO stock (sku, name, price, on_hand) VALUES ('screw', 'Screw', 100, 10)"


def test_two_offline_decrements_of_ten_end_at_eight_everywhere(world: World) -> None:
    made = world.holdfast(
        "init", world.path / "a.db", "--schema", world.schema, "--server", world.url,
        "--token-file", _token(world, "token-a"), "--json",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert made.document["device"] == "device-a"
    a = world.device("a", "token-a")
    b = world.device("b", "token-b")
    a.shell(SCREW)
    assert a.cli("sync", "--json").document["ok"] is True
    b.sync()
    world.server.kill()

    for device in (a, b):
        device.shell("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'screw'")
    failed = a.cli("sync", "--json")
    assert failed.code == 1
    assert failed.document["error"]["code"]
    assert failed.err.strip()
    status = b.cli("status", "--json")
    assert status.code == 0
    assert status.document.keys() >= STATUS_FIELDS
    assert (status.document["pending"], status.document["state"]) == (1, "offline")

    world.serve()
    for device in (a, b, a):
        device.sync()
    assert a.cli("verify", "--json").document["ok"] is True
    assert [device.query("SELECT on_hand FROM stock") for device in (a, b)] == [[(8,)], [(8,)]]
    world.check_equal(a, b)


def test_a_price_conflict_is_settled_offline_on_the_other_device(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.shell(SCREW)
    a.sync()
    b.sync()
    a.shell("UPDATE stock SET price = 110, name = 'Screw M4'")
    b.shell("UPDATE stock SET price = 120, name = 'Screw M5'")
    for device in (a, b, a):
        device.sync()

    # Both edits stand where they can: the later name, the first price, and a question about it.
    told = a.cli("conflicts", "--json")
    assert told.code == 0
    assert told.document.keys() == {"conflicts"}
    (conflict,) = told.document["conflicts"]
    assert conflict.keys() >= CONFLICT_FIELDS
    assert conflict["table"], conflict["key"] == ("stock", "screw")
    assert (conflict["column"], conflict["base"]) == ("price", 100)
    assert (conflict["device_value"], conflict["server_value"]) == (120, 110)
    assert (conflict["mine"], conflict["theirs"]) == (120, 110)
    assert (conflict["user"], conflict["device"]) == ("ben", "device-b")
    assert a.query("SELECT name, price FROM stock") == [("Screw M5", 110)]
    # The same conflict, seen by both: each is told which side is theirs.
    for device, side, own in ((a, "server", "yours: 110  anna"), (b, "device", "yours: 120  ben")):
        (seen,) = device.cli("conflicts", "--json").document["conflicts"]
        assert {**seen, "yours": None} == {**conflict, "yours": None}
        assert seen["yours"] == side
        assert f"    {side}  {own}'s, on device-{device.name}, " in device.cli("conflicts").out

    world.server.kill()
    wrong = a.cli("resolve", conflict["id"], "--set", "cheap", "--json")
    assert (wrong.code, wrong.document["error"]["code"]) == (2, "bad_value")
    settled = a.cli("resolve", conflict["id"], "--set", "115", "--json")
    assert (settled.code, settled.document["ok"]) == (0, True)
    assert a.query("SELECT price FROM stock") == [(115,)]
    assert a.cli("conflicts", "--json").document == {"conflicts": []}
    again = a.cli("resolve", conflict["id"], "--keep", "mine", "--json")
    assert (again.code, again.document["error"]["code"]) == (2, "no_conflict")

    world.serve()
    for device in (a, b):
        device.sync()
    assert b.query("SELECT price FROM stock") == [(115,)]
    assert b.status()["conflicts"] == 0
    world.check_equal(a, b)
    world.check_equal(a, b, table="holdfast_conflict")


def test_keep_takes_either_side(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.shell(SCREW + ", ('nut', 'Nut', 100, 10)")
    a.sync()
    b.sync()
    a.shell("UPDATE stock SET price = 110")
    b.shell("UPDATE stock SET price = 120")
    for device in (a, b):
        device.sync()
    found = {item.key: item.id for item in _conflicts(b)}
    with b.opened() as replica:
        replica.resolve(found["screw"], keep="mine")
    assert b.cli("resolve", found["nut"], "--keep", "theirs").code == 0
    for device in (b, a):
        device.sync()
    assert a.query("SELECT sku, price FROM stock ORDER BY 1") == [("nut", 110), ("screw", 120)]
    world.check_equal(a, b)


@pytest.mark.parametrize("first", ["a", "b"])
def test_keeping_yours_keeps_ones_own_on_either_device(world: World, first: str) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    a.shell(SCREW)
    a.sync()
    b.sync()
    a.shell("UPDATE stock SET price = 110")
    b.shell("UPDATE stock SET price = 120")
    for device in (a, b, a):
        device.sync()
    settler, other, price = (a, b, 110) if first == "a" else (b, a, 120)
    (conflict,) = _conflicts(settler)
    assert settler.cli("resolve", conflict.id, "--keep", "yours").code == 0
    for device in (settler, other):
        device.sync()
    for device in (a, b):
        assert device.query("SELECT price FROM stock") == [(price,)]
        assert device.cli("conflicts", "--json").document == {"conflicts": []}


def test_a_third_persons_device_is_shown_names_and_asked_for_a_side(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    c = world.device("c", "token-c")
    a.shell(SCREW)
    a.sync()
    b.sync()
    a.shell("UPDATE stock SET price = 110")
    b.shell("UPDATE stock SET price = 120")
    for device in (a, b, c):
        device.sync()
    shown = c.cli("conflicts")
    assert "yours" not in shown.out
    assert "device  120  ben's, on device-b" in shown.out
    assert "server  110  anna's, on device-a" in shown.out
    (conflict,) = c.cli("conflicts", "--json").document["conflicts"]
    assert conflict["yours"] is None
    wrong = c.cli("resolve", conflict["id"], "--keep", "yours", "--json")
    assert (wrong.code, wrong.document["error"]["code"]) == (2, "unclear_side")
    for words in ("ben's, on device-b", "anna's, on device-a", "Keep device or server"):
        assert words in wrong.document["error"]["message"]
    assert c.cli("resolve", conflict["id"], "--keep", "device").code == 0
    c.sync()
    a.sync()
    assert a.query("SELECT price FROM stock") == [(120,)]


def _conflicts(device: Device) -> Any:
    with device.opened() as replica:
        return replica.conflicts()


def _token(world: World, token: str) -> Any:
    path = world.path / "init.token"
    path.write_text(token)
    return path


def test_run_ends_with_exit_code_zero_and_one_document(world: World) -> None:
    a = world.device("a", "token-a")
    started = a.run("--json")
    wait_until(lambda: a.session().get("state") == "online", what="the background sync")
    assert started.terminate() == 0
    assert a.query("SELECT count(*) FROM stock") == [(0,)]
