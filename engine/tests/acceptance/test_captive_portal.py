"""A captive portal answers 200 to everything: nothing of it is believed or acknowledged.

Checks I6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast import Offline
from holdfast.testing import FaultProxy, wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance


def test_a_portal_is_not_taken_for_the_server(world: World, proxy: FaultProxy) -> None:
    a = world.device("a", "token-a", url=proxy.url)
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    a.sync()
    checkpoint = a.query("SELECT * FROM holdfast_scope")

    proxy.captive_portal()
    a.shell("UPDATE stock SET on_hand = on_hand - 1")
    for _ in range(3):
        error = a.try_sync()
        assert isinstance(error, Offline)
        assert error.code == "not_our_server"
    told = a.cli("status", "--json").document
    assert (told["state"], told["error_kind"]) == ("offline", "not_our_server")
    assert "last failure: not_our_server (not_our_server): " in a.cli("status").out
    assert told["pending"] + told["sent"] == 1
    assert a.query("SELECT * FROM holdfast_scope") == checkpoint
    failed = a.cli("verify", "--json")
    assert (failed.code, failed.document["error"]["code"]) == (1, "not_our_server")

    proxy.captive_portal(False)
    a.sync()
    assert world.rows("SELECT on_hand FROM stock") == [(9,)]
    world.check_equal(a)


def test_background_sync_waits_behind_a_portal_and_goes_on_after_it(
    world: World, proxy: FaultProxy
) -> None:
    a = world.device("a", "token-a", url=proxy.url)
    proxy.captive_portal()
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    runner = a.run(backoff_max=1)
    wait_until(lambda: a.session().get("error_code") == "not_our_server", what="the portal")
    assert a.session()["state"] != "online"
    told = a.cli("status", "--json").document  # what the process in the background knows
    assert (told["error_kind"], told["error_code"]) == ("not_our_server", "not_our_server")

    proxy.captive_portal(False)
    wait_until(lambda: world.rows("SELECT on_hand FROM stock") == [(10,)], what="the write")
    wait_until(lambda: a.session().get("state") == "online", what="the state to say so")
    assert runner.terminate() == 0
    world.check_equal(a)
