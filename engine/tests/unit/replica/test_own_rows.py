"""A replica takes in what it has made itself without being sent it, whatever happens meanwhile."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.protocol.messages import ExchangeRequest, Own
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.server.identity.principal import Principal
from holdfast.server.push.rules import RuleContext
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore

SCHEMA = Schema(
    name="own",
    tables=(
        Table(
            name="item",
            key=("id",),
            columns=(
                Column("id"),
                Column("name", default=""),
                Column("price", "decimal", scale=2, default="0.00"),
                Column("stock", "integer", merge="counter"),
            ),
            scopes=("all",),
            unique=(("name",),),
        ),
        Table(
            name="pair",
            key=("a", "b"),
            columns=(Column("a", "integer"), Column("b", "bytes"), Column("text", default="")),
            scopes=("all",),
        ),
    ),
)


class Watched(MemoryTransport):
    """Counts own rows, and lets something happen after the server has answered."""

    own = 0
    meanwhile: Callable[[], None] | None = None

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        answer = super().exchange(request, echo)
        self.own += sum(len(line.keys) for line in answer.lines() if isinstance(line, Own))
        if self.meanwhile is not None and request.transactions:
            happen, self.meanwhile = self.meanwhile, None
            happen()
        return answer


class World:
    def __init__(self, folder: Path) -> None:
        self.now = 1_790_000_000_000_000
        self.refused: set[str] = set()
        store = SqliteStore.open(str(folder / "s.db"), SCHEMA, random_bytes=secrets.token_bytes)
        self.service = Service(
            SCHEMA, store, rules=[self.rule], now_us=self.clock, random_bytes=secrets.token_bytes
        ).begin()
        self.replicas: dict[str, Replica] = {}
        self.wires: dict[str, Watched] = {}
        for name in ("one", "two"):
            who = Principal(device=name, user=name, read=("all",), write=("all",))
            self.wires[name] = Watched(self.service, who, now_us=self.clock)
            self.replicas[name] = Replica.open(
                folder / f"{name}.db", SCHEMA, transport=self.wires[name]
            )

    def clock(self) -> int:
        self.now += 1000
        return self.now

    def rule(self, context: RuleContext) -> None:
        for change in context.changes:
            if change.new is not None and change.new.get("name") in self.refused:
                context.refuse("no", "no")

    def run(self, name: str, *statements: str) -> None:
        with self.replicas[name].transaction() as db:
            for sql in statements:
                db.execute(sql)

    def settle(self) -> list[Any]:
        """Everything everywhere; equal, and with digests that agree. The items."""
        for name in ("one", "two", "one", "two"):
            self.replicas[name].sync()
        for replica in self.replicas.values():
            report = replica.verify(deep=True)
            assert not report.mismatched and not report.repaired, report
            assert replica.status.mismatches == 0
        found = [r.query("SELECT * FROM item ORDER BY id") for r in self.replicas.values()]
        assert found[0] == found[1]
        return found[0]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for replica in made.replicas.values():
        replica.close()
    made.service.close()


def test_inserts_and_updates_come_back_as_own(world: World) -> None:
    world.run("one", "INSERT INTO item (id, name, stock) VALUES ('a', 'A', 5), ('b', 'B', 1)")
    world.run("one", "UPDATE item SET stock = stock - 1, name = 'AA' WHERE id = 'a'")
    world.replicas["one"].sync()
    assert world.wires["one"].own == 2
    assert world.settle() == [("a", "AA", "0.00", 4), ("b", "B", "0.00", 1)]


def test_keys_of_several_columns_and_of_bytes(world: World) -> None:
    world.run("one", "INSERT INTO pair (a, b, text) VALUES (1, x'00ff', 't'), (2, x'2f25', 'u')")
    world.replicas["one"].sync()
    assert world.wires["one"].own == 2
    world.settle()
    assert world.replicas["two"].query("SELECT count(*) FROM pair") == [(2,)]


def test_an_edit_made_while_the_answer_is_under_way(world: World) -> None:
    world.run("one", "INSERT INTO item (id, name, stock) VALUES ('a', 'A', 5)")
    world.wires["one"].meanwhile = lambda: world.run(
        "one", "UPDATE item SET stock = stock - 2, name = 'later' WHERE id = 'a'"
    )
    world.replicas["one"].sync()
    assert world.wires["one"].own
    assert world.settle() == [("a", "later", "0.00", 3)]


def test_a_row_deleted_while_the_answer_is_under_way(world: World) -> None:
    world.run("one", "INSERT INTO item (id, name) VALUES ('a', 'A')")
    world.wires["one"].meanwhile = lambda: world.run("one", "DELETE FROM item WHERE id = 'a'")
    world.replicas["one"].sync()
    assert world.settle() == []


def test_another_device_in_between_makes_it_a_full_row(world: World) -> None:
    world.run("one", "INSERT INTO item (id, name, stock) VALUES ('a', 'A', 5)")
    world.settle()
    for name in ("one", "two"):
        world.run(name, "UPDATE item SET stock = stock - 1 WHERE id = 'a'")
    world.replicas["two"].sync()
    before = world.wires["one"].own
    world.replicas["one"].sync()
    assert world.wires["one"].own == before
    assert world.settle() == [("a", "A", "0.00", 3)]


def test_a_refused_edit_of_the_row_does_not_stay_in_it(world: World) -> None:
    world.run("one", "INSERT INTO item (id, name, stock) VALUES ('a', 'A', 5)")
    world.settle()
    world.refused.add("bad")
    world.run("one", "UPDATE item SET name = 'bad' WHERE id = 'a'")
    world.replicas["one"].sync()
    world.run("one", "UPDATE item SET stock = stock - 1 WHERE id = 'a'")
    world.replicas["one"].sync()
    assert world.settle() == [("a", "A", "0.00", 4)]
    assert len(world.replicas["one"].refused()) == 1


def test_values_that_pass_from_row_to_row(world: World) -> None:
    world.run("one", "INSERT INTO item (id, name) VALUES ('a', 'A'), ('b', 'B')")
    world.settle()
    world.run("one", "UPDATE item SET name = 'x' WHERE id = 'a'")
    world.run("one", "UPDATE item SET name = 'A' WHERE id = 'b'")
    world.run("one", "UPDATE item SET name = 'B' WHERE id = 'a'")
    world.run("two", "INSERT INTO item (id, name) VALUES ('c', 'C')")
    assert world.settle() == [
        ("a", "B", "0.00", 0), ("b", "A", "0.00", 0), ("c", "C", "0.00", 0),
    ]  # fmt: skip
