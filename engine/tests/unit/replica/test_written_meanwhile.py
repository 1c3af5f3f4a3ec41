"""What is written while an exchange is under way is sent next, and nothing has failed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from holdfast import Column, Replica, Schema, SyncError, Table
from holdfast.protocol.messages import ExchangeRequest
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore

SCHEMA = Schema(
    name="meanwhile",
    tables=(Table(name="item", key=("id",), columns=(Column("id"),), scopes=("all",)),),
)
WHO = Principal(device="one", user="one", read=("all",), write=("all",))
NOW = 1_790_000_000_000_000


@dataclass
class Plan:
    """What becomes of the next exchanges, and how much each of them sent."""

    meanwhile: Callable[[], None] | None = None
    deaf: bool = False
    sent: list[int] = field(default_factory=list)


class Planned(MemoryTransport):
    """Something happens before the answer; a deaf one loses what is sent."""

    def __init__(self, service: Service) -> None:
        super().__init__(service, WHO)
        self.plan = Plan()

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        self.plan.sent.append(len(request.transactions))
        happens, self.plan.meanwhile = self.plan.meanwhile, None
        if happens is not None:
            happens()
        if self.plan.deaf:
            request = msgspec.structs.replace(request, transactions=[])
        return super().exchange(request, echo)


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Planned]:
    store = SqliteStore.open(str(tmp_path / "s.db"), SCHEMA, random_bytes=secrets.token_bytes)
    service = Service(SCHEMA, store, now_us=lambda: NOW, random_bytes=secrets.token_bytes).begin()
    yield Planned(service)
    service.close()


@pytest.mark.parametrize("waiting", [0, 1])
def test_it_is_sent_next(tmp_path: Path, wire: Planned, waiting: int) -> None:
    with Replica.open(tmp_path / "r.db", SCHEMA, transport=wire) as replica:
        replica.sync()
        for number in range(waiting):
            _write(replica, f"before {number}")
        wire.plan = Plan(meanwhile=lambda: _write(replica, "meanwhile"))
        report = replica.sync()
        assert (report.sent, report.applied, report.verified) == (waiting + 1, waiting + 1, True)
        assert wire.plan.sent == [waiting, 1]
        assert (replica.status.pending, replica.status.sent) == (0, 0)


def test_a_server_that_decides_nothing_is_told(tmp_path: Path, wire: Planned) -> None:
    with Replica.open(tmp_path / "r.db", SCHEMA, transport=wire) as replica:
        replica.sync()
        _write(replica, "unheard")
        wire.plan = Plan(deaf=True)
        with pytest.raises(SyncError) as failed:
            replica.sync()
        assert failed.value.code == "no_progress"
        assert wire.plan.sent == [1]


def _write(replica: Replica, key: str) -> None:
    with replica.transaction() as db:
        db.execute("INSERT INTO item VALUES (?)", (key,))
