"""The server's database is put back in time: devices stop, say so, and keep what they hold.

Checks I5.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from holdfast.core.errors import AttentionNeeded
from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance

STOP_CODES = ("server_behind", "epoch_mismatch", "nonce_mismatch")


def test_devices_stop_and_keep_their_rows_and_queues(world: World) -> None:
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
    a.shell("UPDATE stock SET on_hand = on_hand - 1")
    world.server.terminate()
    for suffix in ("", "-wal", "-shm"):
        (world.path / f"server.db{suffix}").unlink(missing_ok=True)
    subprocess.run(["cp", backup, world.database], check=True)
    world.serve()

    held = {device.name: device.query("SELECT * FROM stock ORDER BY 1") for device in (a, b)}
    restored = world.rows()
    for device in (a, b):
        error = device.try_sync()
        assert isinstance(error, AttentionNeeded)
        assert error.code == "epoch_mismatch"
        assert device.query("SELECT * FROM stock ORDER BY 1") == held[device.name]
    with a.opened() as replica, pytest.raises(AttentionNeeded):
        replica.verify()
    assert world.rows() == restored, "nothing was taken over in silence"
    status = a.status()
    assert status["pending"] + status["sent"] == 1
    assert held["b"] == [("nut", "", None, 0), ("screw", "", None, 9)]

    # Local work goes on, and the background sync says what is the matter.
    a.shell("UPDATE stock SET on_hand = on_hand - 1")
    a.run(backoff_max=0.5)
    wait_until(lambda: a.session().get("state") == "needs_attention", what="the verdict")
    assert a.session()["error_code"] in STOP_CODES
    assert a.query("SELECT on_hand FROM stock WHERE sku = 'screw'") == [(7,)]


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
