"""A replica's file is copied and both copies sync: the second is told so, and keeps its queue."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from holdfast.core.errors import AttentionNeeded
from holdfast.testing import FaultProxy, wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance


def test_the_second_of_two_copies_is_stopped_and_keeps_its_queue(world: World) -> None:
    original = world.device("a", "token-a")
    original.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    original.sync()
    copy = world.device("copy", "token-a", met=False)
    subprocess.run(["cp", original.file, copy.file], check=True)

    original.shell("UPDATE stock SET on_hand = on_hand - 1")
    original.sync()
    copy.shell("UPDATE stock SET on_hand = on_hand - 5")

    for _ in range(2):
        told = copy.cli("sync", "--json")
        assert (told.code, told.document["error"]["code"]) == (1, "nonce_mismatch")
    with copy.opened() as replica:
        with pytest.raises(AttentionNeeded, match="copied or restored"):
            replica.sync()
        assert replica.status.state == "needs_attention"
        assert replica.status.error_code == "nonce_mismatch"
        assert replica.status.pending + replica.status.sent == 1
    assert copy.query("SELECT on_hand FROM stock") == [(5,)]
    assert world.rows("SELECT on_hand FROM stock") == [(9,)]

    # The one that came first goes on undisturbed.
    original.shell("UPDATE stock SET on_hand = on_hand - 1")
    original.sync()
    assert world.rows("SELECT on_hand FROM stock") == [(8,)]
    world.check_equal(original)


def test_in_the_background_a_copy_needs_attention_and_stops_asking(
    world: World, proxy: FaultProxy
) -> None:
    original = world.device("a", "token-a")
    copy = world.device("copy", "token-a", url=proxy.url, met=False)
    subprocess.run(["cp", original.file, copy.file], check=True)
    with copy.opened(server=proxy.url):
        pass  # remembers the way through the proxy
    original.shell("INSERT INTO stock (sku) VALUES ('screw')")
    original.sync()
    copy.shell("INSERT INTO stock (sku) VALUES ('nut')")
    runner = copy.run(backoff_max=0.5)
    wait_until(lambda: copy.session().get("state") == "needs_attention", what="the verdict")
    asked = proxy.requests
    told = copy.cli("status", "--json").document
    assert (told["state"], told["error_code"]) == ("needs_attention", "nonce_mismatch")
    assert told["pending"] + told["sent"] == 1
    assert proxy.requests == asked, "it asks again what was answered for good"
    assert runner.terminate() == 0
