"""The verbs of catalogue and stock on a replica without a server: all of it works offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import Replica, UsageError
from stockroom import catalogue, stock
from stockroom.ids import product_id
from stockroom.on_hand import check_stock
from stockroom.schema import schema
from stockroom.stock import Actor, Place

ANA = Actor(person="Ana", device="tablet")


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with Replica.open(tmp_path / "device.db", schema) as opened:
        yield opened
        assert check_stock(opened) == []


@pytest.fixture
def place(replica: Replica) -> Place:
    return stock.ensure_place(replica, "1")


def code_of(caught: pytest.ExceptionInfo[UsageError]) -> str:
    return caught.value.code


def test_a_product_is_added_edited_found(replica: Replica) -> None:
    added = catalogue.add_product(
        replica, sku="MUG-1", name="Blue mug", price=850, barcodes=["2000000000015"]
    )
    assert added.id == product_id("MUG-1", "Blue mug")
    edited = catalogue.edit_product(replica, "MUG-1", {"price": 900, "name": "Blue mug"})
    assert edited.price_text == "9.00 EUR"
    catalogue.add_product(replica, sku="mug-2", name="Mug 100% wool_", price=1)
    assert [p.sku for p in catalogue.list_products(replica)] == ["MUG-1", "mug-2"]
    assert [p.sku for p in catalogue.find_products(replica, "2000000000015")] == ["MUG-1"]
    assert [p.sku for p in catalogue.find_products(replica, "mug BLUE")] == ["MUG-1"]
    assert [p.sku for p in catalogue.find_products(replica, "100%")] == ["mug-2"]
    assert catalogue.find_products(replica, "  ") == []
    assert catalogue.get_product(replica, "2000000000015").sku == "MUG-1"


def test_only_what_differs_is_written(replica: Replica) -> None:
    catalogue.add_product(replica, sku="A", name="Tea", price=1)
    before = replica.status.pending
    catalogue.edit_product(replica, "A", {"name": "Tea", "price": 1})
    assert replica.status.pending == before


def test_one_sku_and_one_barcode_name_one_product(replica: Replica) -> None:
    catalogue.add_product(replica, sku="A", name="Tea", barcodes=["1"])
    catalogue.add_product(replica, sku="B", name="Bee")
    with pytest.raises(UsageError) as caught:
        catalogue.add_product(replica, sku="A", name="Other")
    assert code_of(caught) == "sku_exists"
    with pytest.raises(UsageError) as caught:
        catalogue.add_product(replica, sku="C", name="Other", barcodes=["1"])
    assert code_of(caught) == "barcode_exists"
    assert catalogue.product_or_none(replica, "C") is None
    with pytest.raises(UsageError) as caught:
        catalogue.edit_product(replica, "B", {"sku": "A"})
    assert code_of(caught) == "sku_exists"
    with pytest.raises(UsageError) as caught:
        catalogue.edit_product(replica, "B", {}, barcodes=["1"])
    assert code_of(caught) == "barcode_exists"
    with pytest.raises(UsageError) as caught:
        catalogue.edit_product(replica, "B", {"id": "x"})
    assert code_of(caught) == "no_field"


def test_a_sku_that_was_given_up_can_name_another_product(replica: Replica) -> None:
    first = catalogue.add_product(replica, sku="A", name="Tea")
    catalogue.edit_product(replica, "A", {"sku": "B"})
    second = catalogue.add_product(replica, sku="A", name="Coffee")
    assert first.id != second.id
    assert catalogue.get_product(replica, "B").name == "Tea"


def test_stock_is_the_sum_of_what_happened(replica: Replica, place: Place) -> None:
    tea = catalogue.add_product(replica, sku="A", name="Tea")
    stock.opening(replica, place, "A", 10, actor=ANA)
    assert stock.receive(replica, place, "A", 24, document="DN-1", actor=ANA).after == 34
    sold = stock.adjust(replica, place, "A", by=-3, reason="sale", actor=ANA)
    assert (sold.before, sold.after, sold.movement.kind) == (34, 31, "sale")
    counted = stock.adjust(replica, place, "A", to=30, reason="one broken", actor=ANA)
    assert (counted.movement.quantity, counted.movement.kind) == (-1, "correction")
    undone = stock.undo(replica, sold.movement.id, actor=ANA)
    assert (undone.before, undone.after) == (30, 33)
    with pytest.raises(UsageError) as caught:
        stock.undo(replica, sold.movement.id)
    assert code_of(caught) == "undone_already"
    assert [line.balance for line in stock.ledger(replica, tea.id)] == [10, 34, 31, 30, 33]
    (line,) = stock.stock_list(replica, store_id="1")
    assert (line.sku, line.location, line.quantity, line.unsent) == ("A", "Main", 33, 33)
    assert stock.on_hand(replica, tea.id) == 33
    last = stock.last_movement_id(replica, store_id="1", device="tablet")
    assert last == counted.movement.id


def test_stock_may_fall_below_zero(replica: Replica, place: Place) -> None:
    catalogue.add_product(replica, sku="A", name="Tea")
    assert stock.adjust(replica, place, "A", by=-2, reason="sale").after == -2


def test_what_makes_no_sense_is_refused_with_a_code(replica: Replica, place: Place) -> None:
    catalogue.add_product(replica, sku="A", name="Tea")
    pending = replica.status.pending
    calls: tuple[tuple[str, Callable[[], stock.Moved]], ...] = (
        ("no_product", lambda: stock.receive(replica, place, "B", 1)),
        ("bad_quantity", lambda: stock.receive(replica, place, "A", 0)),
        ("bad_quantity", lambda: stock.receive(replica, place, "A", 10**10)),
        ("bad_quantity", lambda: stock.adjust(replica, place, "A", reason="x")),
        ("bad_quantity", lambda: stock.adjust(replica, place, "A", to=1, by=1, reason="x")),
        ("no_reason", lambda: stock.adjust(replica, place, "A", to=1, reason=" ")),
        ("bad_kind", lambda: stock.adjust(replica, place, "A", to=1, reason="x", kind="y")),
        ("no_movement", lambda: stock.undo(replica, "nothing")),
    )
    for code, call in calls:
        with pytest.raises(UsageError) as caught:
            call()
        assert code_of(caught) == code
    for name in ("", "a/b", "x" * 41, "a b", "*"):
        with pytest.raises(UsageError) as caught:
            stock.ensure_place(replica, name)
        assert code_of(caught) == "bad_store"
    assert replica.status.pending == pending


def test_a_store_is_opened_once_and_may_get_a_name(replica: Replica, place: Place) -> None:
    pending = replica.status.pending
    assert stock.ensure_place(replica, "1") == place
    assert replica.status.pending == pending
    stock.ensure_place(replica, "1", name="Bath")
    assert replica.query("SELECT id, name FROM store") == [("1", "Bath")]


def test_two_products_that_are_the_same_goods_are_one_and_can_be_parted(
    replica: Replica, place: Place
) -> None:
    catalogue.add_product(replica, sku="UMB-1", name="Umbrella", barcodes=["2000000000015"])
    catalogue.add_product(replica, sku="UMB-B", name="Schirm", barcodes=["2000000000022"])
    stock.receive(replica, place, "UMB-1", 4, actor=ANA)
    stock.receive(replica, place, "UMB-B", 10, actor=ANA)
    lead = catalogue.merge_products(replica, "UMB-B", "UMB-1")
    assert stock.on_hand(replica, lead.id) == 14
    assert catalogue.barcodes_of(replica, lead.id) == ["2000000000015", "2000000000022"]
    for typed in ("UMB-B", "2000000000022", "schirm"):
        assert [one.sku for one in catalogue.find_products(replica, typed)] == ["UMB-1"]
    assert catalogue.get_product(replica, "UMB-B").sku == "UMB-1"
    assert [one.sku for one in catalogue.list_products(replica)] == ["UMB-1"]
    # What is booked for one of them is the other's as well, and their ledger is one.
    assert stock.adjust(replica, place, "2000000000022", to=13, reason="damage").before == 14
    lines = stock.ledger(replica, lead.id)
    assert [(one.movement.quantity, one.balance) for one in lines] == [(4, 4), (10, 14), (-1, 13)]
    with pytest.raises(UsageError) as same:
        catalogue.merge_products(replica, "UMB-1", "UMB-B")
    assert code_of(same) == "same_product"
    apart = catalogue.part_products(replica, "UMB-B")
    assert (apart.sku, apart.archived, stock.on_hand(replica, apart.id)) == ("UMB-B", False, 10)
    assert stock.on_hand(replica, lead.id) == 3
