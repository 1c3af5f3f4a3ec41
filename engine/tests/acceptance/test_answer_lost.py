"""The server did the work and its answer is lost, three times running: it counts once.

Checks I7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast.testing import FaultProxy

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance


def test_work_whose_answer_was_lost_thrice_counts_once(world: World, proxy: FaultProxy) -> None:
    a = world.device("a", "token-a", url=proxy.url)
    b = world.device("b", "token-b")
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    a.sync()
    a.shell("UPDATE stock SET on_hand = on_hand - 1")

    proxy.scripted(["drop_after"] * 3)
    for lost in range(1, 4):
        error = a.try_sync()
        assert error is not None
        assert proxy.faults["drop_after"] == lost
        status = a.status()
        assert (status["pending"], status["sent"]) == (0, 1), "taken for done without an answer"
        assert a.query("SELECT on_hand FROM stock") == [(9,)]
    assert world.rows("SELECT on_hand FROM stock") == [(9,)], "the server did not get it"

    # Work goes on meanwhile, and comes after it.
    a.shell("UPDATE stock SET on_hand = on_hand - 1")
    report = a.sync()
    assert (report.sent, report.applied) == (2, 2)
    b.sync()
    assert world.rows("SELECT on_hand FROM stock") == [(8,)]
    assert world.applied("device-a") == [1, 2, 3]
    world.check_equal(a, b)
