"""A device tells of itself what the server does not know yet, and no more than that."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.core.errors import Offline
from holdfast.protocol.messages import ExchangeRequest
from holdfast.replica.host import Host
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.contract import ReplicaRecord
from holdfast.server.store.sqlite.store import SqliteStore

SCHEMA = Schema(
    name="told",
    tables=(Table(name="item", key=("id",), columns=(Column("id"),), scopes=("all",)),),
)
SKEW_US = 5_000_000


class Watched(MemoryTransport):
    """Keeps the requests, and may lose an answer."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.requests: list[ExchangeRequest] = []
        self.loses = False

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        self.requests.append(request)
        answer = super().exchange(request, echo)
        if self.loses:
            answer.close()
            raise Offline("the answer is lost", code="unreachable")
        return answer


class World:
    """A server, and one replica that two processes sync in turns."""

    def __init__(self, folder: Path) -> None:
        self.now_us = 1_790_000_000_000_000
        self.store = SqliteStore.open(
            str(folder / "s.db"), SCHEMA, random_bytes=secrets.token_bytes
        )
        self.service = Service(
            SCHEMA, self.store, now_us=self.clock, random_bytes=secrets.token_bytes
        ).begin()
        who = Principal(device="one", user="one", read=("all",), write=("all",))
        self.wire = Watched(self.service, who, now_us=lambda: self.clock() - SKEW_US)
        host = Host(now_us=lambda: self.clock() - SKEW_US)
        self.replicas = [
            Replica.open(folder / "r.db", SCHEMA, transport=self.wire, host=host) for _ in range(2)
        ]

    def clock(self) -> int:
        self.now_us += 1000
        return self.now_us

    def write(self, *keys: str) -> None:
        for key in keys:
            with self.replicas[0].transaction() as db:
                db.execute("INSERT INTO item VALUES (?)", (key,))

    def sync(self, number: int = 0) -> list[ExchangeRequest]:
        """The requests that one sync makes."""
        del self.wire.requests[:]
        self.replicas[number].sync()
        return list(self.wire.requests)

    def known(self) -> ReplicaRecord | None:
        """Return what the server knows of the replica."""
        ((name,),) = self.replicas[0].query("SELECT replica FROM holdfast_state")
        (found,) = self.store.transact(lambda writer: [writer.replica(str(name))])
        return found

    def close(self) -> None:
        for replica in self.replicas:
            replica.close()
        self.service.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def told(request: ExchangeRequest) -> tuple[int, bool] | None:
    """What waits, and whether the program's version was told."""
    said = request.report
    return None if said is None else (said.waiting, said.client != "")


def test_what_has_not_changed_is_told_once(world: World) -> None:
    (first,) = world.sync()
    assert told(first) == (0, True)
    (second,) = world.sync()
    assert (second.report, second.offset) == (None, None)
    device = world.known()
    assert device is not None and device.client.startswith("holdfast ")


def test_who_sends_work_tells_its_clock_and_nothing_twice(world: World) -> None:
    world.sync()
    world.write("a")
    (sent,) = world.sync()
    assert sent.report is None and sent.offset is not None


def test_what_waits_is_told_when_it_changes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sync()
    monkeypatch.setattr("holdfast.replica.changes.outbox.PUSH_TRANSACTIONS_MAX", 1)
    world.write("a", "b", "c")
    assert [told(request) for request in world.sync()] == [(2, True), (1, True), (0, True)]
    assert [told(request) for request in world.sync()] == [None]


def test_what_was_perhaps_not_heard_is_told_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has stored that two wait; the device does not know that, and nothing waits now."""
    world.sync()
    monkeypatch.setattr("holdfast.replica.changes.outbox.PUSH_TRANSACTIONS_MAX", 1)
    world.write("a", "b", "c")
    world.wire.loses = True
    with pytest.raises(Offline):
        world.sync()
    world.wire.loses = False
    monkeypatch.undo()
    assert told(world.sync()[-1]) == (0, True)
    device = world.known()
    assert device is not None and device.waiting == 0


def test_what_another_process_has_told_since_does_not_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Process 0 has told that nothing waits, process 1 that one does, and was stopped there."""
    world.sync(0)
    monkeypatch.setattr("holdfast.replica.changes.outbox.PUSH_TRANSACTIONS_MAX", 1)
    world.write("a", "b")
    exchanger = world.replicas[1]._syncing.exchanger()
    exchanger.exchange()
    assert told(world.wire.requests[-1]) == (1, True)
    monkeypatch.undo()
    assert told(world.sync(0)[-1]) == (0, True)
    assert told(world.sync(1)[-1]) == (0, True)
    assert told(world.sync(1)[-1]) is None


def test_a_clock_that_was_told_is_not_measured_anew_by_the_way_of_a_request(world: World) -> None:
    """Who proposes a nonce without work makes the server write: it keeps what it was told."""
    world.sync()
    world.write("a")
    (request,) = world.sync()
    assert request.offset is not None
    before = world.known()
    assert before is not None and before.offset_us == request.offset.us
    world.now_us += 3_600_000_000  # long not seen: the next read is written down
    world.sync()
    after = world.known()
    assert after is not None and after.last_seen > before.last_seen
    assert after.offset_us == before.offset_us
