"""A device dies (SIGKILL) at each named point of a local write and of an exchange.

I1, I2, I4, I6, I7, I10: a committed write is there with its outbox entry, or neither is; whatever
was sent is applied exactly once; the checkpoint never moves without its rows.

Checks I1, I2, I4, I6, I7, I10.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance

WRITER = """
import sys
from holdfast import Replica
with Replica.open(sys.argv[1]) as replica:
    with replica.transaction() as db:
        db.execute("INSERT INTO stock (sku) VALUES ('mine')")
        db.execute("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'shared'")
"""


@pytest.mark.parametrize(
    "point", ["exchange.prepared", "exchange.answered", "apply.before_commit", "apply.after_commit"]
)
def test_an_exchange_cut_short_is_done_again_and_counts_once(world: World, point: str) -> None:
    a, b = world.device("a", "token-a"), world.device("b", "token-b")
    b.shell("INSERT INTO stock (sku, on_hand) VALUES ('shared', 100)")
    b.sync()
    a.sync()
    a.shell("UPDATE stock SET on_hand = on_hand - 1; INSERT INTO stock (sku) VALUES ('from-a')")
    b.shell("UPDATE stock SET on_hand = on_hand - 1; INSERT INTO stock (sku) VALUES ('from-b')")
    b.sync()

    killed = a.cli("sync", env={"HOLDFAST_FAILPOINT": f"{point}:1"})
    assert killed.code == -9
    status = a.status()
    arrived = point == "apply.after_commit"
    assert (status["pending"] + status["sent"] == 0) is arrived
    ((news,),) = a.query("SELECT count(*) FROM stock WHERE sku = 'from-b'")
    assert bool(news) is arrived, "checkpoint and rows came apart"

    for device in (a, b):
        device.sync()
    assert world.rows("SELECT on_hand FROM stock WHERE sku = 'shared'") == [(98,)]
    assert world.applied("device-a") == [1]
    world.check_equal(a, b)


@pytest.mark.parametrize("point", ["local.before_commit", "local.after_commit"])
def test_a_local_write_is_there_whole_or_not_at_all(world: World, point: str) -> None:
    a = world.device("a", "token-a")
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('shared', 10)")
    a.sync()
    killed = subprocess.run(
        [sys.executable, "-c", WRITER, str(a.file)],
        env={**os.environ, "HOLDFAST_FAILPOINT": f"{point}:1"}, check=False, timeout=60,
    )  # fmt: skip
    assert killed.returncode == -9
    written = point == "local.after_commit"
    assert a.query("SELECT count(*) FROM stock WHERE sku = 'mine'") == [(int(written),)]
    assert a.status()["pending"] == int(written), "data and outbox came apart"
    a.sync()
    assert world.rows("SELECT on_hand FROM stock WHERE sku = 'shared'") == [(10 - written,)]
    world.check_equal(a)
