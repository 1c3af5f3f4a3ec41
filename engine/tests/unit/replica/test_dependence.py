"""A refusal holds what rests on it, and nothing else; settling the cause lets that go on.

Checks I27.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from replica_lab import LIBRARIES
from server_lab import Shop

from holdfast.schema import Column, ForeignKey, Schema, Table

SCHEMA = Schema(
    name="shop",
    tables=(
        Table(
            name="stock",
            key=("id",),
            columns=(
                Column("id"), Column("name", default="new"), Column("shelf", default="none"),
                Column("n", "integer", merge="counter"),
            ),
            scopes=("main",),
        ),
        Table(
            name="code",
            key=("id",),
            columns=(Column("id"), Column("text"), Column("note", default="")),
            scopes=("main",),
            unique=(("text",),),
            existence_public=True,
        ),
        Table(
            name="line",
            key=("stock_id", "at"),
            columns=(
                Column("stock_id"), Column("at", "integer"), Column("code_id", nullable=True),
                Column("note", default=""),
            ),
            scopes=("main",),
            foreign_keys=(ForeignKey(("stock_id",), "stock"), ForeignKey(("code_id",), "code")),
        ),
        Table(
            name="slot",
            key=("shelf", "place"),
            columns=(Column("shelf"), Column("place", "integer"), Column("label")),
            scopes=("main",),
            unique=(("shelf", "label"),),
            existence_public=True,
        ),
    ),
)  # fmt: skip

CLASH = "INSERT INTO code (id, text) VALUES ('mine', '7')"


@pytest.fixture(params=LIBRARIES)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path, SCHEMA, library=request.param)
    found.write(
        "a",
        "INSERT INTO stock (id, n) VALUES ('s', 100), ('t', 5)",
        "INSERT INTO code (id, text) VALUES ('c', '1'), ('d', '2')",
        "INSERT INTO line (stock_id, at, code_id) VALUES ('t', 1, 'c')",
        "INSERT INTO slot VALUES ('x', 1, 'one'), ('x', 2, 'two')",
    )
    found.sync()
    found.write("b", "INSERT INTO code (id, text) VALUES ('theirs', '7')")
    found.sync("b")
    yield found
    found.close()


RESTS = {
    "the same column": ("UPDATE stock SET name = 'x'", "UPDATE stock SET name = 'y'"),
    "an inserted row": (
        "INSERT INTO stock (id) VALUES ('u')",
        "UPDATE stock SET n = n + 1 WHERE id = 'u'",
    ),
    "an inserted row that goes": (
        "INSERT INTO stock (id) VALUES ('u')",
        "DELETE FROM stock WHERE id = 'u'",
    ),
    "a key that was free again": (
        "DELETE FROM slot WHERE place = 2",
        "INSERT INTO slot VALUES ('x', 2, 'again')",
    ),
    "an inserted parent": (
        "INSERT INTO code (id, text) VALUES ('e', '3')",
        "UPDATE line SET code_id = 'e'",
    ),
    "an inserted parent, by the key": (
        "INSERT INTO stock (id) VALUES ('u/%')",
        "INSERT INTO line (stock_id, at) VALUES ('u/%', 1)",
    ),
    "a child that went": ("DELETE FROM line", "DELETE FROM stock WHERE id = 't'"),
    "a child that was given to another": (
        "UPDATE line SET code_id = 'd'",
        "DELETE FROM code WHERE id = 'c'",
    ),
    "a unique value that was freed": (
        "UPDATE code SET text = '8' WHERE id = 'c'",
        "UPDATE code SET text = '1' WHERE id = 'd'",
    ),
    "a unique value that went with its row": (
        "DELETE FROM slot WHERE place = 1",
        "INSERT INTO slot VALUES ('x', 3, 'one')",
    ),
}

STANDS_ALONE = {
    "another column": ("UPDATE stock SET name = 'x'", "UPDATE stock SET shelf = 'y'"),
    "a difference after a difference": (
        "UPDATE stock SET n = n - 1",
        "UPDATE stock SET n = n - 2",
    ),
    "a difference after another column": (
        "UPDATE stock SET name = 'x', n = n - 1",
        "UPDATE stock SET n = n - 1",
    ),
    "a delete after an edit": (
        "UPDATE stock SET name = 'x' WHERE id = 's'",
        "DELETE FROM stock WHERE id = 's'",
    ),
    "a child of a parent that was changed": (
        "UPDATE code SET note = 'x'",
        "INSERT INTO line (stock_id, at, code_id) VALUES ('s', 1, 'c')",
    ),
    "a child whose reference stays": (
        "UPDATE code SET note = 'x' WHERE id = 'c'",
        "UPDATE line SET note = 'x'",
    ),
    "a value that another row still has": (
        "UPDATE slot SET label = 'uno' WHERE place = 1",
        "INSERT INTO slot VALUES ('y', 1, 'one')",
    ),
}


@pytest.mark.parametrize("name", RESTS)
def test_a_change_rests_on(shop: Shop, name: str) -> None:
    first, second = RESTS[name]
    shop.write("a", first)
    shop.write("a", second)
    shop.write("a", "INSERT INTO stock (id) VALUES ('apart')")
    assert shop.after() == {2: [], 3: [2], 4: []}


@pytest.mark.parametrize("name", STANDS_ALONE)
def test_a_change_does_not_rest_on(shop: Shop, name: str) -> None:
    first, second = STANDS_ALONE[name]
    shop.write("a", first)
    shop.write("a", second)
    assert shop.after() == {2: [], 3: []}


def test_only_who_freed_a_value_is_rested_on(shop: Shop) -> None:
    """Not who touched that row before, nor for what happens to the new holder later."""
    shop.write("a", "UPDATE code SET note = 'x' WHERE id = 'c'")
    shop.write("a", "UPDATE code SET text = '8' WHERE id = 'c'")
    shop.write("a", "UPDATE code SET text = '1' WHERE id = 'd'")
    shop.write("a", "UPDATE code SET note = 'y' WHERE id = 'd'")
    assert shop.after() == {2: [], 3: [], 4: [3], 5: []}


def test_sales_go_on_beside_a_refused_transaction(shop: Shop) -> None:
    shop.write("a", CLASH, "UPDATE stock SET n = n - 1, name = 'x' WHERE id = 's'")
    for _ in range(5):
        shop.write("a", "UPDATE stock SET n = n - 1 WHERE id = 's'")
    shop.write("a", "UPDATE stock SET name = 'y', n = n - 10 WHERE id = 's'")
    shop.sync("a", "b")
    assert shop.on_server("SELECT n, name FROM stock WHERE id = 's'") == [(95, "new")]
    assert shop.waiting() == {2: ("refused", "unique"), 8: ("held", "held")}
    foreseen = shop.a.if_discarded("2")
    assert (foreseen.numbers, foreseen.kept) == ((8,), ())
    assert shop.waiting() == {2: ("refused", "unique"), 8: ("held", "held")}
    assert shop.a.discard("2") == foreseen
    shop.sync("a", "b")
    assert shop.on_server("SELECT n, name FROM stock WHERE id = 's'") == [(85, "y")]
    assert shop.waiting() == {}


def test_mending_the_cause_frees_what_waited(shop: Shop) -> None:
    shop.write("a", CLASH, "INSERT INTO stock (id, n) VALUES ('u', 3)")
    shop.write("a", "UPDATE stock SET n = n - 1 WHERE id = 'u'")
    shop.write("a", "INSERT INTO line (stock_id, at) VALUES ('u', 1)")
    shop.sync("a", "b")
    assert list(shop.waiting()) == [2, 3, 4]
    shop.write("b", "DELETE FROM code WHERE id = 'theirs'")
    shop.sync("b", "a")
    assert len(shop.a.retry("2")) == 3
    shop.sync("a", "b")
    assert shop.on_server("SELECT n FROM stock WHERE id = 'u'") == [(2,)]
    assert shop.on_server("SELECT count(*) FROM line") == [(2,)]
    assert shop.waiting() == {}


def test_what_rests_on_a_row_that_never_came_stays_with_its_reason(shop: Shop) -> None:
    shop.write("a", CLASH, "INSERT INTO stock (id, n) VALUES ('u', 3)")
    shop.write("a", "UPDATE stock SET n = n - 1 WHERE id = 'u'")
    shop.write("a", "INSERT INTO line (stock_id, at) VALUES ('u', 1)")
    shop.write("a", "UPDATE line SET note = 'late' WHERE stock_id = 'u'")
    shop.write("a", "INSERT INTO code (id, text) VALUES ('fine', '9')")
    shop.sync("a")
    foreseen = shop.a.if_discarded("2")
    assert foreseen.numbers == ()
    assert [(one.number, one.code) for one in foreseen.kept] == [(3, "no_row"), (4, "no_row")]
    assert shop.a.discard("2") == foreseen
    shop.sync("a", "b")
    assert shop.waiting() == {3: ("held", "no_row"), 4: ("held", "no_row"), 5: ("held", "held")}
    assert shop.a.discard("4").kept[0].code == "no_row"
    shop.a.discard("3")
    shop.a.discard("5")
    shop.sync("a", "b")
    assert shop.waiting() == {}
    assert shop.on_server("SELECT count(*) FROM stock") == [(2,)]


def test_who_waits_for_two_goes_on_after_both(shop: Shop) -> None:
    shop.write("b", "INSERT INTO code (id, text) VALUES ('more', '8')")
    shop.sync("b")
    shop.write("a", CLASH, "UPDATE stock SET name = 'x' WHERE id = 's'")
    shop.write("a", "UPDATE code SET text = '8' WHERE id = 'd'", "UPDATE stock SET shelf = 'x'")
    shop.write("a", "UPDATE stock SET name = 'y', shelf = 'y' WHERE id = 's'")
    shop.sync("a")
    assert shop.waiting() == {
        2: ("refused", "unique"), 3: ("refused", "unique"), 4: ("held", "held"),
    }  # fmt: skip
    freed = shop.a.discard("2")
    assert [(one.number, one.held_by) for one in freed.kept] == [(4, 3)]
    assert {item.number: item.held_by for item in shop.a.refused()} == {3: 0, 4: 3}
    assert shop.a.discard("3").numbers == (4,)
    shop.sync("a", "b")
    assert shop.on_server("SELECT name, shelf FROM stock WHERE id = 's'") == [("y", "y")]


def test_sent_work_whose_cause_was_given_up_meanwhile_goes_on_by_itself(shop: Shop) -> None:
    """Its outcome comes when what it is held by has left the inbox."""
    real = shop.transports["a"].exchange
    asked: list[int] = []

    def exchange(request: Any, echo: str) -> Any:
        asked.append(len(request.transactions))
        if len(asked) == 2:
            shop.a.discard("2")
        answer = real(request, echo)
        if len(asked) == 1:
            shop.write("a", "UPDATE stock SET name = 'y' WHERE id = 's'")
        return answer

    shop.transports["a"].exchange = exchange  # type: ignore[method-assign]
    shop.write("a", CLASH, "UPDATE stock SET name = 'x' WHERE id = 's'")
    shop.sync("a")
    assert asked == [1, 1, 1]
    assert shop.waiting() == {}
    assert shop.on_server("SELECT name FROM stock WHERE id = 's'") == [("y",)]


def test_what_no_longer_fits_stays_and_the_rest_goes_on(shop: Shop) -> None:
    shop.write("a", CLASH, "UPDATE stock SET name = 'x', shelf = 'x' WHERE id = 's'")
    shop.write(
        "a", "UPDATE stock SET name = 'y' WHERE id = 's'", "INSERT INTO slot VALUES ('x', 9, 'new')"
    )
    shop.write("a", "UPDATE stock SET shelf = 'y' WHERE id = 's'")
    shop.sync("a")
    shop.write("b", "INSERT INTO slot VALUES ('x', 8, 'new')")
    shop.sync("b", "a")
    freed = shop.a.discard("2")
    assert freed.numbers == (4,)
    assert [(one.number, one.code) for one in freed.kept] == [(3, "constraint")]
    shop.sync("a")
    assert shop.on_server("SELECT name, shelf FROM stock WHERE id = 's'") == [("new", "y")]
    assert list(shop.waiting()) == [3]
