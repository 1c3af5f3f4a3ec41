"""A new product's SKU is another's by the time it is sent: another SKU, or the same goods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from holdfast import Replica
from holdfast.core.errors import UsageError
from holdfast.testing import ServerProcess
from stockroom import catalogue, refused, stock
from stockroom.on_hand import check_stock
from stockroom.schema import schema
from stockroom.stock import Actor, ensure_place
from tests.acceptance.conftest import Run

pytestmark = pytest.mark.acceptance


class Killed(Exception):
    """Ends the work at a point, as a kill does: what was committed is there, the rest is not."""


Devices = tuple[Replica, Replica]


@pytest.fixture
def devices(server: ServerProcess, tmp_path: Path) -> Iterator[Devices]:
    with ExitStack() as stack:
        a, b = (
            stack.enter_context(
                Replica.open(
                    tmp_path / f"{name}.db", schema, server=server.url, token=f"token-{name}"
                )
            )
            for name in ("a", "b")
        )
        yield a, b
        for _ in range(2):
            for replica in (a, b):
                replica.sync()
        for replica in (a, b):
            assert check_stock(replica) == []
            assert replica.verify().ok
            assert replica.refused() == []


def _taken(a: Replica, b: Replica) -> None:
    """Ben adds a tea with its stock, offline; Ana's tea of another name has the SKU first."""
    for replica in (a, b):
        replica.sync()
    ensure_place(a, "1")
    a.sync()
    b.sync()
    ben = Actor(person="Ben", device=b.status.device)
    catalogue.add_product(
        b, sku="TEA", name="Assam tea, loose", price=450, shelf="B4", barcodes=["4006381333931"]
    )
    place = ensure_place(b, "1")
    stock.receive(b, place, "TEA", 10, document="DN-7", actor=ben)
    counted = stock.adjust(b, place, "TEA", by=-3, reason="damage", actor=ben)
    stock.undo(b, counted.movement.id, actor=ben)
    stock.adjust(b, place, "TEA", by=-1, reason="sale", actor=ben)
    catalogue.edit_product(b, "TEA", {"notes": "keep dry"})
    catalogue.add_product(a, sku="TEA", name="Assam", price=400, notes="from Assam")
    stock.receive(a, ensure_place(a, "1"), "TEA", 5)
    a.sync()
    b.sync()


def test_a_new_sku_written_otherwise_may_be_the_same_product(devices: Devices) -> None:
    a, b = devices
    for replica in (a, b):
        replica.sync()
    theirs = catalogue.add_product(a, sku="MUG-1", name="Enamel mug")
    a.sync()
    place = ensure_place(b, "1")
    catalogue.add_product(b, sku="Mug-1", name="Mug", barcodes=["14006381333938"])
    catalogue.edit_product(b, "Mug-1", {}, barcodes=["14006381333938 x12"])
    stock.receive(b, place, "14006381333938", 2)
    b.sync()
    (item,) = [one for one in b.refused() if refused.taken_sku(one) is not None]
    assert item.code == "rule:sku_like"
    with pytest.raises(UsageError, match="MUG-1 is there already"):
        refused.use_other_sku(b, item, "mug - 1")
    assert refused.same_product(b, item).id == theirs.id
    b.sync()
    a.sync()
    assert stock.on_hand(a, theirs.id) == 24
    assert catalogue.scanned(a, "14006381333938")[1] == 12


def _new_product(replica: Replica) -> Any:
    (item,) = [one for one in replica.refused() if refused.taken_sku(one) is not None]
    assert item.code == "unique"
    return item


def test_the_same_product_takes_all_of_it(devices: Devices) -> None:
    a, b = devices
    _taken(a, b)
    item = _new_product(b)
    held = [one for one in b.refused() if one.id != item.id]
    assert len(held) == 5
    moved = {
        change["key"] for one in held for change in one.changes if change["table"] == "movement"
    }
    there = refused.same_product(b, item)
    assert b.refused() == []
    b.sync()
    a.sync()
    for replica in (a, b):
        (only,) = catalogue.list_products(replica)
        assert only.id == there.id
        assert (only.sku, only.name, only.price, only.shelf, only.notes) == (
            "TEA", "Assam tea, loose", 450, "B4", "keep dry",
        )  # fmt: skip
        assert catalogue.barcodes_of(replica, only.id) == ["4006381333931"]
        assert stock.on_hand(replica, only.id) == 5 + 10 - 1
        # The same movements: who, when and why they were made is what it was.
        rows = replica.query(
            "SELECT id, document, person, reverses IS NOT NULL FROM movement "
            "WHERE product_id = ? AND person = 'Ben'", (only.id,),
        )  # fmt: skip
        assert {row[0] for row in rows} == moved
        assert {row[1] for row in rows} == {"DN-7", ""}
        assert sum(row[3] == 1 for row in rows) == 1


@pytest.mark.parametrize("discards", [0, 3])
def test_killed_in_between_the_same_answer_ends_it(
    devices: Devices, monkeypatch: pytest.MonkeyPatch, discards: int
) -> None:
    a, b = devices
    _taken(a, b)
    done = 0
    real = b.discard

    def discard(item: str) -> None:
        nonlocal done
        if done == discards:
            raise Killed
        done += 1
        real(item)

    with monkeypatch.context() as patch:
        patch.setattr(b, "discard", discard)
        with pytest.raises(Killed):
            refused.same_product(b, _new_product(b))
    b.sync()  # what is written already may have gone
    refused.same_product(b, _new_product(b))
    assert b.refused() == []
    b.sync()
    a.sync()
    (only,) = catalogue.list_products(a)
    assert (only.name, only.notes) == ("Assam tea, loose", "keep dry")
    assert stock.on_hand(a, only.id) == 5 + 10 - 1


def test_another_sku_takes_what_waits_along(devices: Devices) -> None:
    a, b = devices
    _taken(a, b)
    with pytest.raises(UsageError) as caught:
        refused.use_other_sku(b, _new_product(b), "TEA")
    assert caught.value.code == "sku_exists"
    refused.use_other_sku(b, _new_product(b), "TEA-2")
    assert b.refused() == []
    b.sync()
    a.sync()
    assert [(one.sku, stock.on_hand(a, one.id)) for one in catalogue.list_products(a)] == [
        ("TEA", 5), ("TEA-2", 9),
    ]  # fmt: skip


def test_only_what_was_typed_becomes_an_edit() -> None:
    there = catalogue.Product(
        id="p", sku="X", name="Ex", description="long", shelf="A1", notes="n", price=100, cost=50,
        currency="EUR", unit="box", archived=False, unpriced=False,
    )  # fmt: skip
    made: dict[str, Any] = {
        "sku": "X", "name": "Ex", "description": "", "shelf": "", "notes": "n", "price": 0,
        "cost": None, "currency": "EUR", "unit": "piece", "archived": False,
    }  # fmt: skip
    assert refused.edits_of(there, made) == {}
    assert refused.edits_of(there, made | {"shelf": "B2", "cost": 40}) == {
        "shelf": "B2",
        "cost": 40,
    }
    # An amount is one of its currency.
    pounds = made | {"currency": "GBP"}
    assert refused.edits_of(there, pounds) == {}
    assert refused.edits_of(there, pounds | {"cost": 40}) == {}
    assert refused.edits_of(there, pounds | {"price": 90}) == {
        "price": 90, "currency": "GBP", "cost": None,
    }  # fmt: skip


def test_the_inbox_of_the_command_says_whose_is_whose(devices: Devices, run: Run) -> None:
    def device(replica: Replica, *arguments: object, code: int = 0, json: bool = False) -> Any:
        ran = run("device", "--db", replica.path, *arguments, *(("--json",) if json else ()))
        assert ran.code == code, (arguments, ran.out, ran.err)
        return ran.document if json else ran.out

    a, b = devices
    _taken(a, b)
    item = _new_product(b).id
    told = device(b, "inbox")
    assert "TEA is Assam by now" in told
    assert f"retry {item} --same (it gets name: Assam tea, loose, shelf: B4, price: 450)" in told
    made = device(b, "retry", item, "--same", json=True)
    assert (made["product"]["name"], made["product"]["on_hand"]) == ("Assam tea, loose", 14)
    b.sync()
    a.sync()
    catalogue.edit_product(a, "TEA", {"price": 410})
    catalogue.edit_product(b, "TEA", {"price": 420})
    for replica in (a, b, a):
        replica.sync()
    ours = device(a, "inbox")
    assert "yours: 4.10 EUR  (You · this device · " in ours
    assert "device  4.20 EUR  (Ben · phone · " in ours
    (conflict,) = a.conflicts()
    wrong = device(a, "resolve", conflict.id, code=2, json=True)
    assert wrong["error"]["code"] == "bad_choice"
    device(a, "resolve", conflict.id, "--keep", "yours")
    a.sync()
    b.sync()
    assert catalogue.get_product(b, "TEA").price == 410
    assert device(b, "inbox", json=True) == {"conflicts": [], "refused": []}
