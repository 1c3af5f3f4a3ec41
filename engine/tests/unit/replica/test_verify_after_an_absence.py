"""Verification of a device whose removals were forgotten while it was away, and before it compares.

Checks I36.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.core.errors import Offline
from holdfast.protocol.messages import VerifyRequest
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.storage.database import applying, transaction
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore

DAY_US = 86_400_000_000
SCHEMA = Schema(
    name="absence",
    tables=(
        Table(
            name="task", key=("id",),
            columns=(Column("id"), Column("store"), Column("text", default="")),
            scopes=("store/{store}", "tasks"),
        ),
    ),
)  # fmt: skip
OFFICE = Principal(device="office", user="cleo", write=("store/*", "tasks"))
AWAY = Principal(device="away", user="anna", read=("tasks",), write=())
BACK = Principal(device="away", user="anna", read=("tasks", "store/1"), write=())


class Line(MemoryTransport):
    """Does not carry comparisons while it is poor."""

    poor = False

    def verify(self, request: VerifyRequest, echo: str) -> SpooledAnswer:
        if self.poor:
            raise Offline("the request was lost", code="timeout")
        return super().verify(request, echo)


class World:
    """A server, an office that deletes what another device holds, and that device: it is away for
    longer than removals are kept, and comes back with one more scope of the row that is gone."""

    def __init__(self, folder: Path) -> None:
        self.now_us = 1_790_000_000_000_000
        store = SqliteStore.open(str(folder / "s.db"), SCHEMA, random_bytes=secrets.token_bytes)
        self.service = Service(
            SCHEMA, store, random_bytes=secrets.token_bytes, now_us=lambda: self.now_us
        ).begin()
        self.office = self._device(folder / "office.db", MemoryTransport(self.service, OFFICE))
        self._write("INSERT INTO task (id, store, text) VALUES ('t1', '1', 'a'), ('t2', '1', 'b')")
        self.away = self._device(folder / "away.db", MemoryTransport(self.service, AWAY))
        self.away.sync()
        self.away.close()
        self._write("DELETE FROM task WHERE id = 't1'")
        self.service.purge()
        self.now_us += 400 * DAY_US
        self.service.purge()
        self.line = Line(self.service, BACK)
        self.line.poor = True
        self.away = self._device(folder / "away.db", self.line)
        with pytest.raises(Offline):
            self.away.sync()
        self.line.poor = False

    def _device(self, path: Path, line: MemoryTransport) -> Replica:
        return Replica.open(path, SCHEMA, transport=line)

    def _write(self, sql: str) -> None:
        with self.office.transaction() as db:
            db.execute(sql)
        self.office.sync()

    def keys(self) -> list[object]:
        return [key for (key,) in self.away.query("SELECT id FROM task ORDER BY id")]

    def close(self) -> None:
        self.away.close()
        self.office.close()
        self.service.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_a_row_that_is_only_behind_is_not_called_damaged(world: World) -> None:
    assert world.keys() == ["t1", "t2"]
    report = world.away.verify()
    assert report.ok and not report.damaged
    assert world.keys() == ["t2"]
    assert world.away.status.mismatches == 0


def test_a_row_that_is_damaged_meanwhile_is_found(world: World) -> None:
    database = world.away._database
    with transaction(database.sync), applying(database.sync):
        database.sync.execute("UPDATE task SET text = 'broken'")
    report = world.away.verify()
    assert report.ok and report.damaged == (("task", "t1"), ("task", "t2"))
    assert world.away.query("SELECT id, text FROM task") == [("t2", "b")]
    assert world.away.status.mismatches == 1


@pytest.mark.parametrize("expected", [True, False])
def test_another_revision_is_damage_where_nothing_is_to_be_compared(
    world: World, expected: bool
) -> None:
    """Where a comparison is expected, a row may be there again under another one."""
    if not expected:
        world.away.sync()
    database = world.away._database
    with transaction(database.sync):
        database.sync.execute("UPDATE holdfast_row SET rev = rev + 4")
    report = world.away.verify()
    assert report.ok and bool(report.damaged) is not expected
    assert world.away.status.mismatches == (not expected)
    assert world.away.verify().damaged == ()
