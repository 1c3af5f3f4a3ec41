"""The server goes away while `holdfast run` works: it is found again without any command.

Checks I29.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import Device, World

pytestmark = pytest.mark.acceptance

BACK_WITHIN_S = 10
"""The promise of the command contract."""
DOWN = ("offline", "waiting")


def test_a_server_that_comes_back_is_synced_without_a_command(world: World) -> None:
    a = world.device("a", "token-a")
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    runner = a.run(backoff_max=2)
    wait_until(lambda: world.rows("SELECT on_hand FROM stock") == [(10,)], what="the first sync")
    wait_until(lambda: a.session().get("state") == "online", what="a quiet link")

    world.server.kill()
    a.shell("UPDATE stock SET on_hand = on_hand - 1")
    wait_until(lambda: a.session().get("state") in DOWN, what="the outage to be noticed")
    a.shell("UPDATE stock SET on_hand = on_hand - 1")
    told = wait_until(lambda: _with_retry_at(a), what="a time for the next attempt")
    assert told["state"] in (*DOWN, "syncing")
    assert told["pending"] + told["sent"] >= 1
    assert told["syncing_elsewhere"] is True
    assert a.query("SELECT on_hand FROM stock") == [(8,)]

    world.serve()
    wait_until(
        lambda: world.rows("SELECT on_hand FROM stock") == [(8,)], BACK_WITHIN_S, "both writes"
    )
    status = wait_until(lambda: _settled(a), what="the acknowledgement")
    assert status["state"] in ("online", "syncing")
    assert status["retry_at"] is None
    assert runner.terminate() == 0
    world.check_equal(a, world.device("b", "token-b"))
    assert len(world.applied("device-a")) in (2, 3)


def _with_retry_at(device: Device) -> Any:
    status = device.cli("status", "--json").document
    return status if status["retry_at"] is not None else None


def _settled(device: Device) -> Any:
    status = device.status()
    return status if status["pending"] + status["sent"] == 0 and not status["retry_at"] else None
