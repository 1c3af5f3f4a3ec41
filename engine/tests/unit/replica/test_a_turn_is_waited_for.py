"""Background sync that starts while another one has the replica waits its turn, and takes over.

Checks I35.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.core.errors import SyncError
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.runner import RunnerOptions
from holdfast.server import Principal, open_server
from holdfast.testing import wait_until

SCHEMA = Schema(
    name="turns",
    tables=(Table(name="item", key=("id",), scopes=("all",), columns=(Column("id"),)),),
)
HOLD = """
import sys
from holdfast.replica.storage.lock import SyncLock
lock = SyncLock(sys.argv[1])
assert lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Replica]]:
    server = open_server(SCHEMA, tmp_path / "s.db", lambda _: None, maintain=False)
    made: list[Replica] = []

    def make() -> Replica:
        transport = MemoryTransport(server.service, Principal("ann", "d", write=("all",)))
        replica = Replica.open(tmp_path / "d.db", SCHEMA, transport=transport, synchronous="OFF")
        made.append(replica)
        return replica

    yield make
    for replica in made:
        replica.close()
    server.close()


def write(replica: Replica, key: str) -> None:
    with replica.transaction() as db:
        db.execute("INSERT INTO item VALUES (?)", [key])


def all_sent(replica: Replica) -> bool:
    return replica.status.pending + replica.status.sent == 0


def test_the_next_one_begins_when_the_first_ends(opened: Callable[[], Replica]) -> None:
    first, second = opened(), opened()
    told: list[dict[str, Any]] = []
    first.start()
    second.start(RunnerOptions(on_status=told.append))
    second.start()  # it waits already
    assert second.status.waiting_for == "another process"
    assert told[0]["waiting_for"] == "another process"
    assert first.status.waiting_for is None
    with pytest.raises(SyncError) as caught:
        second.sync()
    assert caught.value.code == "sync_elsewhere"
    write(second, "by the one that waits")
    wait_until(lambda: all_sent(second), what="the first one to send it")
    first.stop()
    write(second, "after its end")
    wait_until(lambda: all_sent(second), what="the second one to take over")
    taken_over = second.status
    assert taken_over.waiting_for is None
    assert first.syncs_elsewhere()


def test_another_process_is_named_and_its_death_noticed(opened: Callable[[], Replica]) -> None:
    replica = opened()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, replica.path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        write(replica, "a")
        replica.start()
        assert replica.status.waiting_for == f"process {holder.pid}"
        assert replica.status.pending == 1
    finally:
        holder.kill()
        holder.communicate()
    wait_until(lambda: all_sent(replica), what="the turn")
    assert replica.status.waiting_for is None


def test_who_waits_can_stop(opened: Callable[[], Replica]) -> None:
    first, second = opened(), opened()
    first.start()
    second.start()
    second.stop()
    assert second.status.waiting_for is None
    first.stop()
    assert not first.syncs_elsewhere()
    second.start()
    write(second, "a")
    wait_until(lambda: all_sent(second), what="a new start")


def test_who_waits_can_close(opened: Callable[[], Replica]) -> None:
    first, second = opened(), opened()
    first.start()
    second.start()
    second.close()
    first.stop()
    first.sync()


def test_what_fails_at_the_turn_is_tried_again(
    opened: Callable[[], Replica], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    first, second = opened(), opened()
    first.start()
    second.start()
    watch, failures = second._database.watch, [OSError("no descriptors left")]

    def no_watch(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return watch(*arguments)

    monkeypatch.setattr(second._database, "watch", no_watch)
    first.stop()
    write(second, "a")
    wait_until(lambda: all_sent(second), what="the second try")
    assert not failures
    assert "no descriptors left" in caplog.text
