"""Device and server of different generations of a schema: who is updated, and what goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.core.backoff import Backoff
from holdfast.core.errors import UpgradeNeeded
from holdfast.core.session import SessionConfig
from holdfast.protocol.messages import ExchangeRequest, VerifyRequest
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.runner import RunnerOptions
from holdfast.server import Principal, open_server
from holdfast.testing.processes import wait_until

COLUMNS = (Column("id"), Column("t", default=""))
NOTE = Table("note", ("id",), COLUMNS, ("main",))
WIDER = msgspec.structs.replace(NOTE, columns=(*COLUMNS, Column("vat", "integer", default=20)))
ONE = Schema("notes", (NOTE,))
TWO = Schema("notes", (WIDER,), generation=2)
OTHER_TWO = Schema("notes", (NOTE,), generation=2)
PRINCIPAL = Principal("u", "d", write=("main",))
SOON = SessionConfig(backoff=Backoff(base_ms=20, cap_ms=100), poll_ms=60_000)


class World:
    """One device's file, and a server that can be updated under it."""

    def __init__(self, folder: Path, server: Schema) -> None:
        self.folder = folder
        self.server: Any = None
        self.update(server)

    def update(self, schema: Schema) -> None:
        self.close()
        path = str(self.folder / "server.db")
        self.server = open_server(schema, path, lambda _headers: PRINCIPAL)

    def close(self) -> None:
        if self.server is not None:
            self.server.close()

    def exchange(self, principal: Any, request: ExchangeRequest, *, echo: str) -> Any:
        return self.server.service.exchange(principal, request, echo=echo)

    def verify(self, principal: Any, request: VerifyRequest, *, echo: str) -> Any:
        return self.server.service.verify(principal, request, echo=echo)

    def heads(self, principal: Any) -> dict[str, int]:
        heads: dict[str, int] = self.server.service.heads(principal)
        return heads

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def device(self, schema: Schema | None) -> Replica:
        transport = MemoryTransport(self, PRINCIPAL)  # type: ignore[arg-type]
        return Replica.open(self.folder / "d.db", schema, transport=transport, synchronous="OFF")


def write(device: Replica, sql: str) -> None:
    with device.transaction() as tx:
        tx.execute(sql)


@pytest.fixture
def worlds(tmp_path: Path) -> Iterator[Any]:
    made: list[World] = []

    def world(server: Schema) -> World:
        made.append(World(tmp_path, server))
        return made[-1]

    yield world
    for one in made:
        one.close()


def test_a_newer_device_waits_for_an_older_server_and_drains_after_it(worlds: Any) -> None:
    world = worlds(ONE)
    with world.device(TWO) as device:
        assert device.status.schema.server_generation is None
        write(device, "INSERT INTO note (id, t) VALUES ('a', 'kept')")
        for attempt in (device.sync, device.verify):
            with pytest.raises(UpgradeNeeded) as caught:
                attempt()
            assert caught.value.code == "server_older"
        told = device.status.to_dict()
        assert (told["state"], told["error_code"], told["pending"]) == (
            "waiting",
            "server_older",
            1,
        )
        assert told["schema"] == {
            "generation": 2, "fingerprint": TWO.fingerprint, "server_generation": 1
        }  # fmt: skip
        assert "server has to be updated first" in told["way_out"]
    with world.device(None) as device:
        # Another process says the same, of the same moment.
        assert device.status.to_dict() == told
        device.start(RunnerOptions(session=SOON))
        wait_until(lambda: device.status.error_kind == "server_older", what="it has looked again")
        write(device, "INSERT INTO note (id, t, vat) VALUES ('b', 'too', 7)")
        world.update(TWO)
        wait_until(lambda: device.status.state == "online", what="it has found the update")
        wait_until(lambda: device.status.pending + device.status.sent == 0, what="it has drained")
        device.stop()
        assert device.status.schema.server_generation == 2
        assert device.status.error_code is None
        assert device.sync().verified
        assert device.verify().ok


def test_a_server_that_has_never_had_the_generation_asks_for_an_update(worlds: Any) -> None:
    world = worlds(TWO)
    with world.device(ONE) as device:
        write(device, "INSERT INTO note (id, t) VALUES ('a', 'kept')")
        with pytest.raises(UpgradeNeeded) as caught:
            device.sync()
        assert caught.value.code == "upgrade_needed"
        now = device.status
        assert (now.state, now.error_kind) == ("needs_upgrade", "upgrade_needed")
        assert (now.pending, now.schema.server_generation) == (1, 2)
        assert now.way_out is not None and now.way_out.startswith("Update this app")


@pytest.mark.parametrize(
    "schema", [OTHER_TWO, msgspec.structs.replace(ONE, name="others")], ids=["reused", "name"]
)
def test_another_schema_needs_a_person(worlds: Any, schema: Schema) -> None:
    """Neither side is the older one: no update would help, and nothing is sent."""
    world = worlds(TWO)
    with world.device(schema) as device:
        write(device, "INSERT INTO note (id, t) VALUES ('a', 'kept')")
        with pytest.raises(UpgradeNeeded) as caught:
            device.sync()
        assert caught.value.code == "schema_mismatch"
        assert (device.status.state, device.status.pending) == ("needs_attention", 1)


def test_an_answer_tells_the_generation_also_when_it_is_brief(worlds: Any) -> None:
    world = worlds(TWO)
    with world.device(TWO) as device:
        device.sync()
        assert device.status.schema.server_generation == 2
        write(device, "INSERT INTO note (id, t) VALUES ('a', 'one')")
        device.sync()
        assert device.status.schema.server_generation == 2
