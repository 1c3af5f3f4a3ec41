"""Archived with some on hand: a person is asked, and the goods are counted meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast import Replica, UsageError
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server
from stockroom import catalogue, ids, stock
from stockroom.archived_goods import archived_goods, decide_archived
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.stock import Actor, Place

HERE = Place(store_id="1", location_id=ids.first_location_id("1"))
Two = tuple[Replica, Replica]


@pytest.fixture
def two(database: str, tmp_path: Path) -> Iterator[Two]:
    """A manager's device and an employee's, both with a mug that is offered."""

    def nobody(_headers: Mapping[str, str]) -> Principal:
        raise AssertionError

    with ExitStack() as stack:
        server = stack.enter_context(open_server(schema, database, nobody, rules=rules))

        def device(user: str, role: str) -> Replica:
            write = ("catalog", "store/*") if role == "admin" else ("catalog", "store/1")
            principal = Principal(user, f"{user}'s", write=write, roles=(role,))
            transport = MemoryTransport(server.service, principal)
            return stack.enter_context(
                Replica.open(tmp_path / f"{user}.db", schema, transport=transport)
            )

        ada, ben = device("ada", "admin"), device("ben", "employee")
        stock.ensure_place(ada, "1", name="Harbour")
        catalogue.add_product(ada, sku="MUG-1", name="Mug")
        _sync(ada, ben)
        yield ada, ben
        _sync(ada, ben, ada, ben)
        for replica in (ada, ben):
            assert replica.refused() == []


def _sync(*devices: Replica) -> None:
    for replica in devices:
        assert replica.sync().verified


def _archive(replica: Replica) -> None:
    catalogue.edit_product(replica, "MUG-1", {"archived": 1})


@pytest.mark.parametrize("first", ["archived", "received"])
@pytest.mark.parametrize("answer", ["offer", "leave"])
def test_archived_here_and_received_there_is_asked_about_once(
    two: Two, first: str, answer: str
) -> None:
    ada, ben = two
    _archive(ada)
    for quantity in (5, 7):
        stock.receive(ben, HERE, "MUG-1", quantity, actor=Actor(person="ben"))
    _sync(*((ada, ben) if first == "archived" else (ben, ada)))
    _sync(ada, ben)
    (asked,) = archived_goods(ada, "1")
    assert archived_goods(ben, "1") == [asked]
    for replica in (ada, ben):
        assert (asked.sku, asked.on_hand) == ("MUG-1", 12)
        assert stock.on_hand(replica, asked.product_id) == 12
    decide_archived(ada, asked.id, answer, actor=Actor(person="ada"))
    _sync(ada, ben)
    for replica in (ada, ben):
        assert archived_goods(replica, "1") == []
        assert catalogue.get_product(replica, "MUG-1").archived == (answer == "leave")
        assert stock.on_hand(replica, asked.product_id) == 12
    with pytest.raises(UsageError) as caught:
        decide_archived(ben, asked.id, "offer")
    assert caught.value.code == "already_decided"


def test_what_comes_in_after_an_answer_is_asked_about_again(two: Two) -> None:
    ada, ben = two
    _archive(ada)
    stock.receive(ben, HERE, "MUG-1", 1, actor=Actor(person="ben"))
    _sync(ada, ben, ada)
    (asked,) = archived_goods(ada, "1")
    decide_archived(ada, asked.id, "leave", actor=Actor(person="ada"))
    _sync(ada, ben)
    stock.receive(ben, HERE, "MUG-1", 2, actor=Actor(person="ben"))
    _sync(ben, ada)
    (again,) = archived_goods(ada, "1")
    assert (again.id != asked.id, again.on_hand) == (True, 3)
    # Offered again from its form: that is an answer, too.
    catalogue.edit_product(ada, "MUG-1", {"archived": 0})
    _sync(ada, ben)
    assert (archived_goods(ada, "1"), archived_goods(ben, "1")) == ([], [])


def test_nothing_is_asked_where_nothing_is_on_hand(two: Two) -> None:
    ada, ben = two
    stock.receive(ben, HERE, "MUG-1", 4, actor=Actor(person="ben"))
    stock.adjust(ben, HERE, "MUG-1", by=-4, reason="sale", actor=Actor(person="ben"))
    _sync(ben, ada)
    _archive(ada)
    _sync(ada, ben)
    assert archived_goods(ada, "1") == []
