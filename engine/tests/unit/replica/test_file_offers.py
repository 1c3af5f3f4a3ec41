"""Offers of files that no server of ours makes: the rows come all the same."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from holdfast import Column, Replica, Schema, Table
from holdfast.protocol.messages import ExchangeRequest, Files, Line
from holdfast.replica.memory import MemoryTransport
from holdfast.server.offers import FilePolicy
from holdfast.server.principal import Principal
from holdfast.server.service import Service
from holdfast.server.sqlite_store import SqliteStore

SCHEMA = Schema(
    name="offers",
    tables=(Table(name="item", key=("id",), columns=(Column("id"),), scopes=("all",)),),
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


def test_a_file_that_is_offered_twice_is_refused_and_the_rows_come(tmp_path: Path) -> None:
    service = Service(
        SCHEMA,
        SqliteStore(str(tmp_path / "s.db"), SCHEMA, random_bytes=secrets.token_bytes),
        now_us=lambda: time.time_ns() // 1000,
        random_bytes=secrets.token_bytes,
        files=FilePolicy(snapshot_rows_min=100, catchup_rows_min=100),
    )
    twice = Twice(service)

    def device(name: str, server: Any) -> Replica:
        who = Principal("u", name, read=("all",), write=("all",))
        transport = MemoryTransport(server, who)
        return Replica.open(tmp_path / f"{name}.db", SCHEMA, transport=transport)

    with device("one", service) as one, device("two", twice) as two:
        with one.transaction() as db:
            db.executemany("INSERT INTO item VALUES (?)", [(f"{n:04}",) for n in range(ROWS)])
        one.sync()
        stages: list[str] = []
        report = two.sync(progress=lambda stage, _done, _total: stages.append(stage))
        assert report.verified
        assert twice.offered > 0, "there was no file"
        assert "importing" not in stages
        assert two.query("SELECT count(*) FROM item") == [(ROWS,)]
    service.close()
