"""A device that is live is not sent to the server by the news of its own push."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.core.session import SessionConfig
from holdfast.protocol.messages import ExchangeRequest
from holdfast.replica.exchange.exchanger import Exchanger
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.runner import Runner, RunnerOptions
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore
from holdfast.sqlite import OpenOptions, driver
from holdfast.testing import wait_until

SCHEMA = Schema(
    name="news",
    tables=(Table(name="item", key=("id",), columns=(Column("id"),), scopes=("all",)),),
)
UNHURRIED = SessionConfig(poll_ms=600_000, poll_with_stream_ms=600_000, heartbeat_ms=600_000)
"""On a busy machine too, nothing but news is a reason to ask."""
WAIT_S = 20
ROUNDS = 5


class Counted(MemoryTransport):
    """Counts exchanges."""

    exchanges = 0

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        self.exchanges += 1
        return super().exchange(request, echo)


class World:
    """Two live devices on one server."""

    def __init__(self, folder: Path) -> None:
        store = SqliteStore.open(str(folder / "s.db"), SCHEMA, random_bytes=secrets.token_bytes)
        self.wires: list[Counted] = []
        self.service = Service(
            SCHEMA,
            store,
            now_us=lambda: 1_790_000_000_000_000,
            random_bytes=secrets.token_bytes,
            on_commit=self.tell,
        ).begin()
        self.replicas: list[Replica] = []
        for name in ("one", "two"):
            who = Principal(device=name, user=name, read=("all",), write=("all",))
            self.wires.append(Counted(self.service, who))
            replica = Replica.open(folder / f"{name}.db", SCHEMA, transport=self.wires[-1])
            self.replicas.append(replica)
            replica.start(RunnerOptions(session=UNHURRIED))

    def tell(self, versions: Mapping[str, int]) -> None:
        for wire in self.wires:
            wire.moved(versions)

    def write(self, number: int, key: str) -> None:
        """One writes; both have it, and nobody waits for anything."""
        with self.replicas[number].transaction() as db:
            db.execute("INSERT INTO item VALUES (?)", (key,))
        for replica in self.replicas:
            wait_until(lambda replica=replica: self.has(replica, key), WAIT_S, f"{key} everywhere")  # type: ignore[misc]  # it binds the name

    def has(self, replica: Replica, key: str) -> bool:
        status = replica.status
        return bool(replica.query("SELECT 1 FROM item WHERE id = ?", (key,))) and (
            status.pending,
            status.sent,
            status.state,
        ) == (0, 0, "online")

    def close(self) -> None:
        for replica in self.replicas:
            replica.close()
        self.service.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_a_push_costs_its_device_one_exchange(world: World) -> None:
    for wire in world.wires:  # one at the start, one when the stream has opened
        wait_until(lambda wire=wire: wire.exchanges >= 2, WAIT_S, "a live stream")  # type: ignore[misc]  # it binds the name
    world.write(1, "first")
    before = [wire.exchanges for wire in world.wires]
    for number in range(ROUNDS):
        world.write(0, f"mine-{number}")
        world.write(1, f"theirs-{number}")
    assert [wire.exchanges for wire in world.wires] == [had + 2 * ROUNDS for had in before]


def test_a_write_that_an_exchange_is_about_to_take_asks_for_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the exchange takes to begin: the file has changed, and holds what is unsent."""
    for wire in world.wires:
        wait_until(lambda wire=wire: wire.exchanges >= 2, WAIT_S, "a live stream")  # type: ignore[misc]  # it binds the name
    world.write(1, "first")
    begin, looked = threading.Event(), threading.Event()
    begins, looks = Exchanger.exchange, Runner._look

    def late(exchanger: Exchanger) -> object:
        begin.wait(WAIT_S)
        return begins(exchanger)

    def look(runner: Runner) -> None:
        looks(runner)
        if runner._state.exchanging:
            looked.set()

    monkeypatch.setattr(Exchanger, "exchange", late)
    monkeypatch.setattr(Runner, "_look", look)
    had = world.wires[0].exchanges
    with world.replicas[0].transaction() as db:
        db.execute("INSERT INTO item VALUES ('mine')")
    assert looked.wait(WAIT_S)
    begin.set()
    for replica in world.replicas:
        wait_until(lambda replica=replica: world.has(replica, "mine"), WAIT_S, "mine everywhere")  # type: ignore[misc]  # it binds the name
    world.write(0, "next")  # an exchange for nothing would have been before this one
    assert world.wires[0].exchanges == had + 2


def test_what_is_written_while_an_exchange_is_under_way_goes_with_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nobody but the file tells of it."""
    for wire in world.wires:
        wait_until(lambda wire=wire: wire.exchanges >= 2, WAIT_S, "a live stream")  # type: ignore[misc]  # it binds the name
    world.write(1, "first")
    end, looked = threading.Event(), threading.Event()
    begins, looks = Exchanger.exchange, Runner._look

    def late(exchanger: Exchanger) -> object:
        done = begins(exchanger)
        end.wait(WAIT_S)
        return done

    def look(runner: Runner) -> None:
        looks(runner)
        if runner._state.exchanging and runner._has_unsent():
            looked.set()

    monkeypatch.setattr(Exchanger, "exchange", late)
    monkeypatch.setattr(Runner, "_look", look)
    with world.replicas[0].transaction() as db:
        db.execute("INSERT INTO item VALUES ('mine')")
    wait_until(
        lambda: (world.replicas[0].status.pending, world.replicas[0].status.sent) == (0, 0),
        WAIT_S,
        "an answer",
    )
    looked.clear()
    other = driver().connect(str(world.replicas[0].path), OpenOptions())
    other.execute("INSERT INTO item VALUES ('foreign')")
    other.close()
    assert looked.wait(WAIT_S)
    end.set()
    wait_until(
        lambda: world.has(world.replicas[1], "foreign"), WAIT_S, "what was written meanwhile"
    )


def test_news_of_rights_without_versions_are_looked_at(world: World) -> None:
    world.write(0, "first")
    for wire in world.wires:
        before = wire.exchanges
        wire.moved({})
        wait_until(lambda wire=wire, had=before: wire.exchanges > had, WAIT_S, "an exchange")  # type: ignore[misc]  # it binds the name


def test_a_version_that_the_replica_lacks_is_fetched(world: World) -> None:
    world.write(0, "first")
    wire = world.wires[1]
    before = wire.exchanges
    wire.moved({"all": 10**6})
    wait_until(lambda: wire.exchanges > before, WAIT_S, "an exchange")
