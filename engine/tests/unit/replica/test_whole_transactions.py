"""A transaction that cannot be shown on the news is set aside whole, with its reason, and is sent.

A real server and two devices in one process. What this device does is committed while the answer
with the news is on its way to it: so the news meet work that the server has not seen.

Checks I16.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast import Check, Column, ForeignKey, Offline, Replica, Schema, Table, UsageError
from holdfast.replica.memory import MemoryTransport
from holdfast.server.files.offers import FilePolicy
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore

SCHEMA = Schema(
    name="whole",
    tables=(
        Table(
            name="vault",
            key=("id",),
            columns=(Column("id"), Column("n", "integer", merge="counter")),
            scopes=("all",),
            checks=(Check("n", "range", min=0),),
        ),
        Table(
            name="item",
            key=("a", "b"),
            columns=(Column("a"), Column("b", "integer"), Column("sku", nullable=True)),
            scopes=("all",),
            unique=(("sku",),),
            existence_public=True,
        ),
        Table(
            name="part",
            key=("id",),
            columns=(
                Column("id", "integer"),
                Column("item_a", nullable=True),
                Column("item_b", "integer", nullable=True),
                Column("word", default=""),
            ),
            scopes=("all",),
            foreign_keys=(ForeignKey(("item_a", "item_b"), "item"),),
        ),
        Table(
            name="note", key=("id",), columns=(Column("id"), Column("t", default="")),
            scopes=("all",),
        ),
    ),
)  # fmt: skip
FIRST = (
    "INSERT INTO vault VALUES ('a', 10), ('b', 0)",
    "INSERT INTO item VALUES ('x/y', 1, 'S'), ('x/y', 2, NULL)",
    "INSERT INTO part VALUES (7, 'x/y', 1, 'old')",
)


class Line(MemoryTransport):
    """``work``: done when the news have been fetched, and before they are stored."""

    work: Any = None

    def exchange(self, request: Any, echo: str) -> Any:
        answer = super().exchange(request, echo)
        if self.work is not None and answer.files() is None:
            work, self.work = self.work, None
            work()
            self.connected = False
        return answer


class Shop:
    """A server, the others, and ``mine``."""

    def __init__(self, folder: Path, library: str, *, files: bool) -> None:
        rows = 1 if files else 1_000_000
        self.service = Service(
            SCHEMA,
            SqliteStore.open(str(folder / "s.db"), SCHEMA, random_bytes=secrets.token_bytes),
            now_us=lambda: time.time_ns() // 1000,
            random_bytes=secrets.token_bytes,
            files=FilePolicy(snapshot_rows_min=1_000_000, catchup_rows_min=rows),
        ).begin()
        self.folder, self.library = folder, library
        self.others, self.mine = self.device("others"), self.device("mine")
        write(self.others, *FIRST)
        self.others.sync()
        self.mine.sync()

    def device(self, name: str) -> Replica:
        self.line = Line(self.service, Principal("u", name, read=("all",), write=("all",)))
        return Replica.open(
            self.folder / f"{name}.db", SCHEMA, transport=self.line, synchronous="OFF",
            driver_name=self.library,  # type: ignore[arg-type]
        )  # fmt: skip

    def meet(self, theirs: tuple[str, ...], *ours: tuple[str, ...]) -> None:
        """News come to work that was committed while they were on their way."""
        write(self.others, *theirs)
        self.others.sync()
        self.line.connected = True

        def work() -> None:
            for one in ours:
                write(self.mine, *one)

        self.line.work = work
        with pytest.raises(Offline):
            self.mine.sync()

    def reopen(self) -> None:
        self.mine.close()
        self.mine = self.device("mine")

    def close(self) -> None:
        self.mine.close()
        self.others.close()
        self.service.close()


def write(replica: Replica, *statements: str) -> None:
    with replica.transaction() as db:
        for sql in statements:
            db.execute(sql)


def rows(replica: Replica) -> dict[str, list[Any]]:
    return {t.name: replica.query(f'SELECT * FROM "{t.name}" ORDER BY 1, 2') for t in SCHEMA.tables}


@pytest.fixture(params=[("apsw", False), ("stdlib", False), ("apsw", True), ("stdlib", True)],
                ids=lambda p: f"{p[0]}-{'file' if p[1] else 'answer'}")  # fmt: skip
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path, request.param[0], files=request.param[1])
    yield found
    found.close()


@dataclass(frozen=True)
class Story:
    """``code``, ``field`` and ``says`` (part of the message): what the inbox says is in the way."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    code: str
    field: str
    says: str


STORIES = {
    "a check of a counter": Story(
        ("UPDATE vault SET n = n - 5 WHERE id = 'a'",),
        (
            "UPDATE vault SET n = n - 8 WHERE id = 'a'",
            "UPDATE vault SET n = n + 8 WHERE id = 'b'",
        ),
        "check", "n", "vault a",
    ),
    "a unique value of others": Story(
        ("INSERT INTO item VALUES ('z', 1, 'new')",),
        ("INSERT INTO item VALUES ('m', 5, 'new')", "INSERT INTO part VALUES (1, 'm', 5, '')"),
        "unique", "sku", "item z/1 has it",
    ),
    "a unique value that was passed on": Story(
        ("UPDATE item SET sku = 'kept' WHERE b = 2",),
        (
            "UPDATE item SET sku = NULL WHERE b = 1",
            "UPDATE item SET sku = 'kept' WHERE b = 1",
            "INSERT INTO item VALUES ('m', 5, 'S')",
        ),
        "unique", "sku", "item x%2Fy/2 has it",
    ),
    "a child under a parent that is gone": Story(
        ("DELETE FROM part", "DELETE FROM item WHERE b = 1"),
        ("INSERT INTO part VALUES (8, 'x/y', 1, 'mine')",),
        "foreign_key", "item_a", "item x%2Fy/1, which is not there",
    ),
    "a child that refers to a parent that is gone, from now on": Story(
        ("DELETE FROM item WHERE b = 2",),
        ("UPDATE part SET item_b = 2",),
        "foreign_key", "item_a", "item x%2Fy/2, which is not there",
    ),
    "an edit that brings a child back, and its parent is gone": Story(
        ("DELETE FROM part", "DELETE FROM item WHERE b = 1"),
        ("UPDATE part SET word = 'mine'",),
        "foreign_key", "item_a", "part 7 refers to",
    ),
    "a parent that goes while a child comes": Story(
        ("INSERT INTO part VALUES (9, 'x/y', 2, 'theirs')",),
        ("DELETE FROM item WHERE b = 2",),
        "foreign_key", "", "part 9 refers to item x%2Fy/2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_nothing_of_it_is_seen_and_all_of_it_is_sent(name: str, shop: Shop) -> None:
    story = STORIES[name]
    shop.meet(story.theirs, (*story.ours, "INSERT INTO note VALUES ('why')"
                             .replace("VALUES", "(id) VALUES")), ("INSERT INTO note VALUES ('k', 'l')",))  # fmt: skip  # noqa: E501
    for reopened in (False, True):
        if reopened:
            shop.reopen()
        seen = rows(shop.mine)
        assert seen["note"] == [("k", "l")], "what has nothing to do with it stays"
        assert seen | {"note": []} == rows(shop.others)
        (item,) = shop.mine.refused()
        assert (item.state, item.set_aside, item.code) == ("held", True, story.code)
        assert item.field == story.field and story.says in item.message, item
        assert {change["table"] for change in item.changes} >= {"note"}
        status = shop.mine.status
        assert (status.held, status.set_aside, status.pending + status.sent) == (1, 1, 2)
        assert status.pending_changes == len(item.changes) + 1
        assert shop.mine.row_status("note", "why") == "held"
        for touch in (shop.mine.retry, shop.mine.discard):
            with pytest.raises(UsageError) as caught:
                touch(item.id)
            assert caught.value.code == "undecided"
    shop.mine.sync()
    status = shop.mine.status
    assert (status.pending, status.sent, status.held, status.refused) == (0, 0, 0, 1)
    (item,) = shop.mine.refused()
    assert (item.state, item.set_aside) == ("refused", False)
    shop.others.sync()
    assert rows(shop.mine) == rows(shop.others)
    shop.mine.discard(item.id)
    assert shop.mine.refused() == []


@pytest.mark.parametrize("name", STORIES)
def test_it_comes_back_when_the_server_can_take_it(name: str, shop: Shop) -> None:
    story = STORIES[name]
    before = rows(shop.mine)
    shop.meet(story.theirs, (*story.ours, "INSERT INTO note (id) VALUES ('why')"))
    tables = [(table, key) for table in ("item", "part", "vault") for key in before[table]]
    now = rows(shop.others)
    for table, row in tables:  # everything is as it was
        if row not in now[table]:
            values = ", ".join(repr(v) if v is not None else "NULL" for v in row)
            write(shop.others, f"INSERT OR REPLACE INTO {table} VALUES ({values})")
    write(
        shop.others,
        "DELETE FROM part WHERE id = 9",
        "DELETE FROM item WHERE a = 'z'",
        "UPDATE item SET sku = NULL WHERE sku = 'kept'",
    )
    shop.others.sync()
    shop.line.connected = True
    shop.mine.sync()
    assert shop.mine.refused() == [] and shop.mine.status.held == 0
    assert shop.mine.query("SELECT id FROM note") == [("why",)]
    shop.others.sync()
    assert rows(shop.mine) == rows(shop.others)


def test_what_builds_on_it_is_set_aside_with_it(shop: Shop) -> None:
    shop.meet(
        ("INSERT INTO item VALUES ('z', 1, 'new')",),
        ("INSERT INTO item VALUES ('m', 5, 'new')", "INSERT INTO note VALUES ('a', '')"),
        ("INSERT INTO part VALUES (1, 'm', 5, '')", "UPDATE vault SET n = 77 WHERE id = 'b'"),
        ("UPDATE part SET word = 'later' WHERE id = 1", "INSERT INTO note VALUES ('c', '')"),
        ("UPDATE part SET word = 'other' WHERE id = 7", "INSERT INTO note VALUES ('d', '')"),
    )
    first, second, third = shop.mine.refused()
    assert (first.code, first.held_by) == ("unique", 0)
    assert (second.code, second.held_by) == ("held", first.number)
    assert third.code == "held" and third.held_by in (first.number, second.number)
    assert shop.mine.query("SELECT id FROM note") == [("d",)]
    assert shop.mine.query("SELECT id, word FROM part") == [(7, "other")]
    assert shop.mine.query("SELECT n FROM vault ORDER BY id") == [(10,), (0,)]
    assert (shop.mine.status.held, shop.mine.status.pending + shop.mine.status.sent) == (3, 4)


def test_what_was_made_since_does_not_build_on_what_nobody_saw(shop: Shop) -> None:
    """It stays through the next news, though it is of a row that what is set aside changes too."""
    shop.meet(
        ("INSERT INTO item VALUES ('z', 1, 'new')",),
        ("INSERT INTO item VALUES ('m', 5, 'new')", "UPDATE vault SET n = 70 WHERE id = 'b'"),
    )
    write(shop.mine, "UPDATE vault SET n = 3 WHERE id = 'b'")
    write(shop.others, "INSERT INTO note VALUES ('n', '')")
    shop.others.sync()
    shop.line.connected = True
    shop.mine.verify()  # it brings news, and sends nothing
    assert shop.mine.query("SELECT id FROM note") == [("n",)]
    assert shop.mine.status.set_aside == 1
    assert shop.mine.query("SELECT n FROM vault WHERE id = 'b'") == [(3,)]
    write(shop.mine, "INSERT INTO item VALUES ('m', 5, 'mine')")
    shop.mine.verify()
    assert shop.mine.status.set_aside == 0, "it stands in nobody's way any more"
    assert shop.mine.query("SELECT n FROM vault WHERE id = 'b'") == [(73,)]


def test_the_earlier_of_two_stays_and_sales_that_fit_come_back(shop: Shop) -> None:
    """Each sale has its note: exactly those of the sales that are counted are seen."""
    sales = [
        (f"UPDATE vault SET n = n - {n} WHERE id = 'a'", f"INSERT INTO note VALUES ('{n}', '')")
        for n in (3, 4, 2)
    ]
    shop.meet(("UPDATE vault SET n = n - 5 WHERE id = 'a'",), *sales)
    taken = sum(int(str(id_)) for (id_,) in shop.mine.query("SELECT id FROM note"))
    assert shop.mine.query("SELECT n FROM vault WHERE id = 'a'") == [(5 - taken,)]
    assert shop.mine.query("SELECT 1 FROM note WHERE id = '3'") == [(1,)]
