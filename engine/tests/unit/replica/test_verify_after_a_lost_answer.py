"""Verification after an answer that was lost: whose work is in the rows is known with the rows.

Checks I15, I16, I36.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.core.errors import Offline
from holdfast.protocol.messages import ExchangeRequest
from holdfast.replica.http.spool import SpooledAnswer
from holdfast.replica.memory import MemoryTransport
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.identity.principal import Principal
from holdfast.server.push.rules import RuleContext
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore

COLUMNS = (Column("id"), Column("name", default=""), Column("stock", "integer", merge="counter"))
SCHEMA = Schema(
    name="lost",
    tables=(Table(name="item", key=("id",), columns=COLUMNS, scopes=("all",)),),
)
WHO = {name: Principal(device=name, user=name, write=("all",)) for name in "ab"}
STOCK = "SELECT stock FROM item WHERE id = 'a'"


class Line(MemoryTransport):
    """Loses the request or the answer of an exchange, as it is told."""

    loses = ""
    meanwhile: Callable[[], None] | None = None

    def exchange(self, request: ExchangeRequest, echo: str) -> SpooledAnswer:
        if self.loses == "request":
            raise Offline("the request was lost", code="timeout")
        answer = super().exchange(request, echo)
        if self.meanwhile is not None:
            self.meanwhile()
        if self.loses == "answer":
            answer.close()
            raise Offline("the answer was lost", code="timeout")
        return answer


class World:
    """A server that refuses an item called ``no``, and two devices; the first one is looked at."""

    def __init__(self, folder: Path, budgets: Budgets) -> None:
        store = SqliteStore.open(str(folder / "s.db"), SCHEMA, random_bytes=secrets.token_bytes)
        self.service = Service(
            SCHEMA, store, rules=[no], random_bytes=secrets.token_bytes, budgets=budgets,
            now_us=lambda: 1_790_000_000_000_000,
        ).begin()  # fmt: skip
        self.lines = [Line(self.service, who) for who in WHO.values()]
        self.ours, self.theirs = (
            Replica.open(folder / f"{number}.db", SCHEMA, transport=line)
            for number, line in enumerate(self.lines)
        )
        self.write(self.ours, "INSERT INTO item (id, stock) VALUES ('a', 10), ('b', 10)")
        self.ours.sync()

    @property
    def line(self) -> Line:
        return self.lines[0]

    def write(self, replica: Replica, *statements: str) -> None:
        with replica.transaction() as db:
            for sql in statements:
                db.execute(sql)

    def lose(self, what: str) -> None:
        self.line.loses = what
        with pytest.raises(Offline):
            self.ours.sync()
        self.line.loses = ""

    def waits(self) -> tuple[int, int]:
        status = self.ours.status
        return status.pending, status.sent

    def stock(self, replica: Replica | None = None) -> object:
        ((stock,),) = (replica or self.ours).query(STOCK)
        return stock

    def end(self) -> None:
        """Both sync, and nothing was done twice or had to be repaired."""
        for replica in (self.ours, self.theirs, self.ours):
            assert replica.sync().verified
        for replica in (self.ours, self.theirs):
            report = replica.verify()
            assert report.ok and not report.repaired and not report.damaged
            assert replica.status.mismatches == 0
        everything = "SELECT * FROM item ORDER BY id"
        assert self.ours.query(everything) == self.theirs.query(everything)
        assert self.waits() == (0, 0)

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()
        self.service.close()


def no(context: RuleContext) -> None:
    for change in context.changes:
        if change.new is not None and change.new.get("name") == "no":
            context.refuse("no", "It is called no.")


@pytest.fixture(params=[Budgets(), Budgets(bite_changes=1, push_changes_max=2)], ids=["", "bites"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    world = World(tmp_path, request.param)
    yield world
    world.close()


@pytest.mark.parametrize("deep", [True, False])
def test_a_counter_shows_its_own_work_once(world: World, deep: bool) -> None:
    for _ in range(5):  # in bites only the first of them are decided
        world.write(world.ours, "UPDATE item SET stock = stock - 1 WHERE id = 'a'")
    world.lose("answer")
    assert world.waits() == (0, 5)
    report = world.ours.verify(deep=deep)
    assert (report.ok, report.repaired, report.damaged) == (True, 0, ())
    assert world.stock() == 5
    world.end()


def test_outcomes_are_known_with_the_rows(world: World) -> None:
    world.write(world.ours, "UPDATE item SET stock = stock - 1 WHERE id = 'a'")
    world.write(world.ours, "UPDATE item SET name = 'no' WHERE id = 'b'")
    world.lose("answer")
    world.ours.verify()
    assert world.waits() == (0, 0)
    (refused,) = world.ours.refused()
    assert (refused.state, refused.code) == ("refused", "rule:no")
    assert world.ours.query("SELECT name FROM item WHERE id = 'b'") == [("",)]
    world.ours.discard(refused.id)
    world.end()


def test_work_that_was_written_since_stays_on_top(world: World) -> None:
    def later() -> None:
        world.line.meanwhile = None
        world.write(world.ours, "UPDATE item SET stock = stock - 2 WHERE id = 'a'")

    world.write(world.ours, "UPDATE item SET stock = stock - 1, name = 'x' WHERE id = 'a'")
    world.line.meanwhile = later
    world.lose("answer")
    world.theirs.sync()
    world.write(world.theirs, "UPDATE item SET stock = stock + 100 WHERE id = 'a'")
    world.theirs.sync()
    world.ours.verify()
    assert world.stock() == 107
    assert world.waits() == (1, 0)
    world.end()


def test_what_never_arrived_is_still_to_be_decided(world: World) -> None:
    world.write(world.ours, "UPDATE item SET stock = stock - 1 WHERE id = 'a'")
    world.lose("request")
    world.theirs.sync()
    world.write(world.theirs, "UPDATE item SET stock = stock + 100 WHERE id = 'a'")
    world.theirs.sync()
    world.ours.verify()
    assert world.stock() == 109
    assert world.waits() == (0, 1)
    world.end()


def test_the_outcomes_of_a_copy_are_not_ours(world: World, tmp_path: Path) -> None:
    """The same number says nothing: what the other copy has sent has another id."""
    copied = tmp_path / "copy.db"
    world.ours.close()
    copied.write_bytes((tmp_path / "0.db").read_bytes())
    copy_line, world.line.connected = Line(world.service, WHO["a"]), True
    world.ours = Replica.open(tmp_path / "0.db", SCHEMA, transport=world.line)
    world.write(world.ours, "UPDATE item SET stock = stock - 1 WHERE id = 'a'")
    world.lose("request")
    with Replica.open(copied, SCHEMA, transport=copy_line) as copy:
        world.write(copy, "UPDATE item SET stock = stock - 4 WHERE id = 'a'")
        copy.sync()
    world.ours.verify()
    assert world.waits() == (0, 1)
    assert world.stock() == 5  # theirs, and on it what is still to be decided
