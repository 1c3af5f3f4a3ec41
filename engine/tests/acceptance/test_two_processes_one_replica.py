"""Several processes on one replica: one syncs, any may write, none sends twice.

Checks I35.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from holdfast.testing import FaultProxy, wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance

ADD_ONE = (
    "INSERT INTO stock (sku, on_hand) VALUES ('screw', 1) "
    "ON CONFLICT (sku) DO UPDATE SET on_hand = on_hand + 1"
)
ON_SERVER = "SELECT on_hand FROM stock"


def test_sync_beside_run_is_done_by_run(world: World) -> None:
    a = world.device("a", "token-a")
    runner = a.run()
    wait_until(lambda: a.session().get("state") == "online", what="the background sync")
    for expected in range(1, 4):
        a.shell(ADD_ONE)
        told = a.cli("sync", "--json")
        assert told.code == 0
        assert told.document["pending"] == 0
        assert world.rows(ON_SERVER) == [(expected,)]
    assert runner.terminate() == 0
    assert world.applied("device-a") == [1, 2, 3]
    world.check_equal(a)


def test_sync_beside_run_says_soon_that_the_server_is_gone(world: World) -> None:
    a = world.device("a", "token-a")
    runner = a.run()
    wait_until(lambda: a.session().get("state") == "online", what="the background sync")
    world.server.kill()
    a.shell(ADD_ONE)
    wait_until(lambda: a.session().get("error_code"), what="the background sync to notice")
    told = a.cli("sync", "--json", timeout_s=60)
    assert told.code == 1
    assert told.document["error"]["code"] in {"unreachable", "broken_answer"}
    assert a.status()["pending"] + a.status()["sent"] == 1
    assert runner.terminate() == 0


def test_two_syncs_at_once_send_once(world: World, proxy: FaultProxy) -> None:
    a = world.device("a", "token-a", url=proxy.url)
    a.shell(ADD_ONE)
    proxy.delay_ms = 1500  # so that they do meet
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: a.cli("sync", "--json", timeout_s=60), range(2)))
    assert [one.code for one in ended] == [0, 0], ended
    assert sorted(one.document["sent"] for one in ended) == [0, 1]
    assert world.rows(ON_SERVER) == [(1,)]
    assert world.applied("device-a") == [1]
    world.check_equal(a)


def test_another_runner_takes_over_from_a_killed_one(world: World) -> None:
    a = world.device("a", "token-a")
    first = a.run()
    wait_until(lambda: a.session().get("state") == "online", what="the first runner")
    a.shell(ADD_ONE)
    wait_until(lambda: world.rows(ON_SERVER) == [(1,)], what="the first write")

    first.kill()
    a.shell(ADD_ONE)
    status = a.status()
    assert status["pending"] == 1
    assert status["state"] not in ("online", "syncing"), "the dead process speaks on"
    a.run()
    wait_until(lambda: world.rows(ON_SERVER) == [(2,)], what="the second runner")
    wait_until(lambda: a.status()["pending"] + a.status()["sent"] == 0, what="the acknowledgement")
    assert world.applied("device-a") == [1, 2]
    world.check_equal(a)


def test_a_second_runner_waits_its_turn(world: World) -> None:
    a = world.device("a", "token-a")
    first = a.run()
    wait_until(lambda: a.session().get("state") == "online", what="the first runner")
    second = a.run()
    log = a.file.with_suffix(".run-1.log")
    wait_until(lambda: str(first.process.pid) in log.read_text(), what="the second to say so")
    first.kill()
    a.shell(ADD_ONE)
    wait_until(lambda: world.rows(ON_SERVER) == [(1,)], what="the second runner")
    assert second.terminate() == 0
    assert world.applied("device-a") == [1]


def test_a_runner_that_waits_its_turn_ends_when_it_is_told(world: World) -> None:
    a = world.device("a", "token-a")
    first = a.run()
    wait_until(lambda: a.session().get("state") == "online", what="the first runner")
    second = a.run()
    log = a.file.with_suffix(".run-1.log")
    wait_until(lambda: "waiting" in log.read_text(), what="the second to wait")
    assert second.terminate() == 0
    assert first.terminate() == 0
