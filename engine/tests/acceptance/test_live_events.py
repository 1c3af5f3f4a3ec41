"""A write on one device reaches another through the live stream, with no polling in between."""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

import pytest

from holdfast.testing import wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance

WRITES = 10
ARRIVAL_MAX_S = 20
"""Far below the next poll, far above what it takes."""
POLL_S = 3600


def test_a_write_reaches_the_other_device_by_live_events(world: World) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    runners = [device.run(poll=POLL_S) for device in (a, b)]
    for device in (a, b):
        wait_until(lambda device=device: device.session().get("state") == "online", what="a link")  # type: ignore[misc]  # it binds the name
    took_ms = []
    for number in range(WRITES):
        a.shell(f"INSERT INTO stock (sku) VALUES ('p{number}')")
        began = time.perf_counter()
        wait_until(
            lambda number=number: b.query(f"SELECT 1 FROM stock WHERE sku = 'p{number}'"),  # type: ignore[misc]  # it binds the name
            ARRIVAL_MAX_S,
            f"write {number} on the other device",
            poll_s=0.002,
        )
        took_ms.append((time.perf_counter() - began) * 1000)
    p50, worst = statistics.median(took_ms), max(took_ms)
    sys.stdout.write(f"p50 {p50:.0f} ms, max {worst:.0f} ms from shell to shell\n")

    # The other way round, and what the back office writes into the server itself.
    b.shell("UPDATE stock SET on_hand = on_hand + 5 WHERE sku = 'p0'")
    world.shell(world.database, "UPDATE stock SET name = 'office' WHERE sku = 'p1'")
    for sql in ("sku = 'p0' AND on_hand = 5", "sku = 'p1' AND name = 'office'"):
        for device in (a, b):
            wait_until(
                lambda device=device, sql=sql: device.query(f"SELECT 1 FROM stock WHERE {sql}"),  # type: ignore[misc]  # it binds the name
                ARRIVAL_MAX_S,
                f"{sql} on {device.name}",
            )
    assert [runner.terminate() for runner in runners] == [0, 0]
    world.check_equal(a, b)
