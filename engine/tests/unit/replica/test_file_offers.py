"""Offers of files that no server of ours makes: the rows come all the same."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.protocol.messages import ExchangeRequest, Files, Line
from holdfast.replica.memory import MemoryTransport
from holdfast.server.files import snapshot
from holdfast.server.files.offers import FilePolicy
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore

SCHEMA = Schema(
    name="offers",
    tables=(
        Table(
            name="item",
            key=("id",),
            columns=(Column("id"), Column("name", default="so")),
            scopes=("all",),
        ),
    ),
)
ROWS = 300


class Twice:
    """A server that offers each file twice."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.offered = 0

    def exchange(
        self, principal: Principal, request: ExchangeRequest, *, echo: str
    ) -> Iterator[Line]:
        for line in self._service.exchange(principal, request, echo=echo):
            if isinstance(line, Files):
                self.offered += len(line.offers)
                yield msgspec.structs.replace(line, offers=[*line.offers, *line.offers])
            else:
                yield line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)


class World:
    """A server with files, a device that has filled it, and another one that has nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.service = Service(
            SCHEMA,
            SqliteStore.open(str(folder / "s.db"), SCHEMA, random_bytes=secrets.token_bytes),
            now_us=lambda: time.time_ns() // 1000,
            random_bytes=secrets.token_bytes,
            files=FilePolicy(snapshot_rows_min=100, catchup_rows_min=100),
        ).begin()
        with self.device("one", self.service) as one:
            with one.transaction() as db:
                db.executemany(
                    "INSERT INTO item (id) VALUES (?)", [(f"{n:04}",) for n in range(ROWS)]
                )
            one.sync()

    def device(self, name: str, server: Any) -> Replica:
        who = Principal("u", name, read=("all",), write=("all",))
        transport = MemoryTransport(server, who)
        return Replica.open(self._folder / f"{name}.db", SCHEMA, transport=transport)

    def load(self, server: Any) -> list[str]:
        """What a first load goes through; its rows are those of the server."""
        stages: list[str] = []
        with self.device("two", server) as two:
            report = two.sync(progress=lambda stage, _done, _total: stages.append(stage))
            assert report.verified
            assert two.query("SELECT count(*), min(name), max(name) FROM item") == [
                (ROWS, "so", "so")
            ]
        return stages


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.service.close()


def test_a_file_that_is_offered_twice_is_refused_and_the_rows_come(world: World) -> None:
    twice = Twice(world.service)
    stages = world.load(twice)
    assert twice.offered > 0, "there was no file"
    assert "importing" not in stages


def test_a_file_with_a_value_that_is_not_what_its_hash_says_is_refused_and_the_rows_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its length, its SHA-256 and the sum of its hashes are as they were offered."""
    rows, changed = snapshot._Rows._rows, []

    def lying(writer: Any, table: Any, keys: Any) -> Iterator[Any]:
        for key, rev, hashed, *values in rows(writer, table, keys):
            if key == "0123":
                changed.append(key)
                values[-1] = "otherwise"
            yield (key, rev, hashed, *values)

    monkeypatch.setattr(snapshot._Rows, "_rows", lying)
    world = World(tmp_path)
    stages = world.load(world.service)
    world.service.close()
    assert changed == ["0123"]
    assert "importing" not in stages
    assert "a row of item is not what its hash says" in caplog.text


def test_a_file_as_it_should_be_is_imported(world: World) -> None:
    assert "importing" in world.load(world.service)
