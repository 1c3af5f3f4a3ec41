"""Thirty short connections, most of them broken: no duplicates, and a status that never lies.

Checks I29.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal

import pytest

from holdfast import SyncError
from holdfast.testing import FaultProxy
from holdfast.testing.proxy import FaultKind

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance

CONNECTIONS = 30
Kind = FaultKind | Literal["cut"] | None
UNSETTLED = "SELECT count(*) FROM holdfast_tx WHERE state IN ('pending', 'sent')"


def test_thirty_broken_connections_lose_and_double_nothing(world: World, proxy: FaultProxy) -> None:
    a = world.device("a", "token-a", url=proxy.url)
    b = world.device("b", "token-b")
    kinds: list[Kind] = ["drop_before", "drop_after", "truncate", "reset", "cut", None]
    script = random.Random(7).choices(kinds, k=CONNECTIONS)
    succeeded = 0
    for number, kind in enumerate(script, start=1):
        # Each connection is a process of its own in the field; here a replica opened anew.
        with a.opened() as replica:
            with replica.transaction() as db:
                db.execute(
                    "INSERT INTO stock (sku, on_hand) VALUES ('screw', 1) "
                    "ON CONFLICT (sku) DO UPDATE SET on_hand = on_hand + 1"
                )
                db.execute("INSERT INTO stock (sku) VALUES (?)", [f"p{number:02}"])
            if kind == "cut":
                proxy.cut()
            else:
                proxy.heal()
                proxy.scripted([kind])
            before = world.rows("SELECT on_hand FROM stock WHERE sku = 'screw'")
            failed = ""
            try:
                replica.sync()
            except SyncError as error:
                failed = error.code
            ok = not failed
            status = replica.status
            assert (status.error_code or "") == failed
            assert status.error_kind == (None if ok else "network")
            assert status.pending + status.sent == replica.query(UNSETTLED)[0][0]
            assert ok is (kind is None), kind
            assert (status.state == "online") is ok
            assert (status.pending + status.sent == 0) is ok, "done without an answer"
            if kind in ("cut", "drop_before"):
                assert world.rows("SELECT on_hand FROM stock WHERE sku = 'screw'") == before
        succeeded += ok
        assert a.query("SELECT on_hand FROM stock WHERE sku = 'screw'") == [(number,)]
    assert 0 < succeeded < CONNECTIONS

    proxy.heal()
    a.sync()
    b.sync()
    assert world.rows("SELECT on_hand FROM stock WHERE sku = 'screw'") == [(CONNECTIONS,)]
    assert world.applied("device-a") == list(range(1, CONNECTIONS + 1))
    world.check_equal(a, b)
