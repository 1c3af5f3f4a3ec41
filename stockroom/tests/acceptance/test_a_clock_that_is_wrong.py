"""Devices whose clocks are hours fast or slow: movements get the time at which they happened."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.replica.host import Host
from holdfast.testing import ServerProcess
from stockroom import catalogue, stock
from stockroom.schema import schema

pytestmark = pytest.mark.acceptance

HOUR_US = 3_600_000_000
APART_US_MAX = 600_000_000


@pytest.mark.parametrize("off_us", [3 * HOUR_US, -3 * HOUR_US], ids=["fast", "slow"])
def test_movements_are_recorded_when_they_happened(
    server: ServerProcess, tmp_path: Path, off_us: int
) -> None:
    wrong = Host(now_us=lambda: time.time_ns() // 1000 + off_us)
    a = Replica.open(tmp_path / "a.db", schema, server=server.url, token="token-a", host=wrong)
    b = Replica.open(tmp_path / "b.db", schema, server=server.url, token="token-b")
    with a, b:
        catalogue.add_product(a, sku="FIG", name="Figs", price=500)
        before_contact = stock.receive(a, stock.ensure_place(a, "1"), "FIG", 30).movement
        assert a.sync().verified
        after_contact = stock.adjust(a, stock.ensure_place(a, "1"), "FIG", by=-2, reason="sale")
        assert stock.undo(a, after_contact.movement.id).after == 30
        assert a.sync().verified
        assert b.sync().verified
        stock.receive(b, stock.ensure_place(b, "1"), "FIG", 5)
        assert b.sync().verified
        assert a.sync().verified
        for replica in (a, b):
            found = replica.query("SELECT id, quantity, occurred_at FROM movement ORDER BY 3, 1")
            assert [quantity for _, quantity, _ in found] == [30, -2, 2, 5]
            assert found[0][0] == before_contact.id
            for _, _, at_us in found:
                assert abs(int(str(at_us)) - time.time_ns() // 1000) < APART_US_MAX
