from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from holdfast import Replica
from holdfast.testing import ServerProcess
from stockroom import catalogue, stock
from stockroom.ids import product_id
from stockroom.on_hand import check_stock
from stockroom.schema import schema
from stockroom.stock import Place
from tests.acceptance.conftest import Run

pytestmark = pytest.mark.acceptance


@pytest.fixture
def devices(server: ServerProcess, tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:
    with ExitStack() as stack:
        opened = [
            stack.enter_context(
                Replica.open(
                    tmp_path / f"{name}.db", schema, server=server.url, token=f"token-{name}"
                )
            )
            for name in ("a", "b")
        ]
        yield opened[0], opened[1]
        for replica in opened:
            assert check_stock(replica) == []
            assert replica.verify().ok
            status = replica.status
            assert (status.pending, status.sent, status.refused, status.held) == (0, 0, 0, 0)


def sync(*devices: Replica) -> None:
    """Everything up and down again, so that all know of all."""
    for replica in (*devices, *devices):
        assert replica.sync().verified


def place_on(replica: Replica) -> Place:
    return stock.ensure_place(replica, "1")


def test_the_same_new_product_is_one(devices: tuple[Replica, Replica]) -> None:
    for quantity, replica in enumerate(devices, start=5):
        catalogue.add_product(replica, sku="A", name="Tea", price=100, barcodes=["1"])
        stock.receive(replica, place_on(replica), "A", quantity)
    sync(*devices)
    for replica in devices:
        assert len(catalogue.list_products(replica)) == 1
        assert stock.on_hand(replica, product_id("A", "Tea")) == 11
        assert replica.conflicts() == []


def test_the_same_movement_undone_on_both_is_undone_once(devices: tuple[Replica, Replica]) -> None:
    a, b = devices
    catalogue.add_product(a, sku="A", name="Tea")
    stock.opening(a, place_on(a), "A", 10)
    sold = stock.adjust(a, place_on(a), "A", by=-4, reason="sale").movement.id
    sync(a, b)
    for person, replica in (("Ana", a), ("Ben", b)):
        undone = stock.undo(replica, sold, actor=stock.Actor(person=person))
        assert undone.after == 10
    sync(a, b)
    for replica in devices:
        assert stock.on_hand(replica, product_id("A", "Tea")) == 10
        assert len(stock.ledger(replica, product_id("A", "Tea"))) == 3
        assert replica.refused() == []


def test_one_barcode_for_two_products_asks_a_person(devices: tuple[Replica, Replica]) -> None:
    a, b = devices
    catalogue.add_product(a, sku="A", name="Tea", barcodes=["2000000000015"])
    catalogue.add_product(b, sku="B", name="Bee", barcodes=["2000000000015"])
    sync(a, b)
    (conflict,) = b.conflicts()
    assert (conflict.table, conflict.key, conflict.column) == (
        "barcode",
        "2000000000015",
        "product_id",
    )
    assert {conflict.mine, conflict.theirs} == {product_id("A", "Tea"), product_id("B", "Bee")}
    a.resolve(conflict.id, keep="mine")
    sync(a, b)
    assert {catalogue.get_product(r, "2000000000015").sku for r in devices} == {"B"}
    assert [r.conflicts() for r in devices] == [[], []]


def test_a_store_keeps_the_name_that_somebody_chose(devices: tuple[Replica, Replica]) -> None:
    a, b = devices
    stock.ensure_place(a, "1", name="Bath")
    sync(a)
    place_on(b)
    sync(b, a)
    for replica in devices:
        assert replica.query("SELECT id, name FROM store") == [("1", "Bath")]
        assert replica.conflicts() == []


def test_a_movement_at_a_store_that_is_not_ours_is_refused_and_kept(
    devices: tuple[Replica, Replica],
) -> None:
    a, _ = devices
    catalogue.add_product(a, sku="A", name="Tea")
    stock.receive(a, stock.ensure_place(a, "2"), "A", 3)
    stock.receive(a, place_on(a), "A", 5)
    sync(a)
    waiting = a.refused()
    assert {item.table for item in waiting} == {"store", "movement"}
    assert all(item.code for item in waiting)
    assert stock.on_hand(a, product_id("A", "Tea")) == 5
    # What waited for the store goes on when that is settled, and is refused for itself.
    for _ in range(len(waiting)):
        for item in a.refused()[:1]:
            a.discard(item.id)
        sync(a)
    assert a.refused() == []
    assert check_stock(a) == []


def test_an_amount_never_stands_in_a_currency_that_nobody_chose(
    devices: tuple[Replica, Replica], run: Run
) -> None:
    """Price, cost and currency are one decision, however each of them is edited."""

    def device(replica: Replica, *arguments: object, code: int = 0) -> str:
        ran = run("device", "--db", replica.path, *arguments)
        assert ran.code == code, (arguments, ran.out, ran.err)
        return str(ran.out + ran.err)

    def amounts(replica: Replica) -> tuple[Any, ...]:
        found = catalogue.get_product(replica, "X")
        return found.price, found.cost, found.currency

    a, b = devices
    catalogue.add_product(a, sku="X", name="Ex", price=1000, currency="EUR")
    for replica in (a, b):
        replica.sync()
    catalogue.edit_product(a, "X", {"currency": "JPY"})
    catalogue.edit_product(b, "X", {"price": 1100, "cost": 400})
    for replica in (a, b, a):
        replica.sync()
    (conflict,) = b.conflicts()
    told = device(b, "inbox")
    assert "Which price and cost of Ex? It was 10.00 EUR, cost (empty)." in told
    assert "11.00 EUR, cost 4.00 EUR" in told and "1000 JPY, cost (empty)" in told
    for part in ("16.00", "1600 JPY", '{"price": "16.00"}'):
        assert "bad_choice" in device(b, "resolve", conflict.id, "--set", part, "--json", code=2)
    assert amounts(b) == (1000, None, "JPY")
    device(
        b, "resolve", conflict.id, "--set", '{"price": "16.50", "cost": null, "currency": "EUR"}'
    )
    for replica in (b, a):
        replica.sync()
    assert amounts(a) == amounts(b) == (1650, None, "EUR")
    catalogue.edit_product(a, "X", {"price": 1700})
    catalogue.edit_product(b, "X", {"price": 1800})
    for replica in (a, b, a):
        replica.sync()
    (conflict,) = b.conflicts()
    device(b, "resolve", conflict.id, "--set", "2000 JPY")
    for replica in (b, a):
        replica.sync()
    assert amounts(a) == amounts(b) == (2000, None, "JPY")
