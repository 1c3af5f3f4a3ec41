"""The server dies (SIGKILL) at each named point of a push: nothing is lost, nothing done twice.

I3, I4, I7, I10: before the commit nothing of the push is there and it is sent again; after the
commit the stored outcome is told again.

Checks I3, I4, I7, I10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from holdfast import SyncError
from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import MakeWorld

pytestmark = pytest.mark.acceptance

POINTS = (
    "push.after_write",
    "push.before_commit",
    "store.before_commit",
    "store.after_commit",
    "push.after_commit",
    "pull.mid",
)
PASSES = 3
"""The point is passed twice before it kills, so that there is something to lose."""
ATTEMPTS_MAX = 20


@pytest.mark.parametrize("point", POINTS)
def test_every_write_is_applied_exactly_once(make_world: MakeWorld, point: str) -> None:
    world = make_world(env={"HOLDFAST_FAILPOINT": f"{point}:{PASSES}"})
    device = world.device("a", "token-a", met=False)
    writes = 0
    with device.opened() as replica:
        for _ in range(ATTEMPTS_MAX):
            writes += 1
            with replica.transaction() as db:
                db.execute("INSERT INTO stock (sku) VALUES (?)", [f"p{writes:02}"])
                db.execute("UPDATE stock SET on_hand = on_hand + 1 WHERE sku = 'p01'")
            try:
                replica.sync()
            except SyncError:
                wait_until(lambda: not world.server.running, what="the server's death")
                break
        else:
            pytest.fail(f"{point} was never passed {PASSES} times")
        status = replica.status
        assert status.pending + status.sent >= 1, "a write was taken for done without an answer"
        before = world.rows("SELECT count(*), max(on_hand) FROM stock")

        world.serve()
        report = replica.sync()
        assert report.verified
    assert before in ([(writes, writes)], [(writes - 1, writes - 1 or None)]), "half a transaction"
    assert device.query("SELECT count(*), max(on_hand) FROM stock") == [(writes, writes)]
    assert world.applied("device-a") == list(range(1, writes + 1))
    world.check_equal(device, world.device("b", "token-b"))
