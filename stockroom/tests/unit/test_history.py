"""The history of products: who changed what, when and on which device, however it came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server
from stockroom import catalogue
from stockroom.changes import changes_of
from stockroom.goods_file.bringing import bring
from stockroom.goods_file.reading import read_sheet
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.shop.desk import desk_of

Told = tuple[str, str, str, str, str]


class Shop:
    """A server and devices of managers, each with a name of its own."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        def nobody(_headers: Mapping[str, str]) -> Principal:
            raise AssertionError

        self._folder, self._stack, self.database = folder, stack, database
        self.server = stack.enter_context(open_server(schema, database, nobody, rules=rules))

    def device(self, user: str) -> Replica:
        principal = Principal(
            user, f"{user}'s phone", write=("catalog", "store/1"), roles=("manager",)
        )
        transport = MemoryTransport(self.server.service, principal)
        replica = self._stack.enter_context(
            Replica.open(self._folder / f"{user}.db", schema, transport=transport)
        )
        replica.sync()
        return replica


@pytest.fixture
def shop(database: str, tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path, database, stack)


def told(replica: Replica) -> set[Told]:
    """What a device knows of all products."""
    replica.sync()
    return {
        (one.field, one.old_value, one.new_value, one.lost, one.person)
        for (product,) in replica.query("SELECT id FROM product")
        for one in changes_of(replica, str(product))
    }


def test_every_change_is_kept_with_who_when_and_where(shop: Shop) -> None:
    ada, ben = shop.device("ada"), shop.device("ben")
    catalogue.add_product(
        ada, sku="MUG", name="Mug", price=850, cost=400, barcodes=["4006381333931"]
    )
    ada.sync()
    assert told(ben) == set()
    before = ben.now_us()
    changed: dict[str, catalogue.Field] = {
        "name": "Cup",
        "price": 900,
        "archived": 1,
        "shelf": "A1",
    }
    catalogue.edit_product(ben, "MUG", changed | {"cost": 500}, barcodes=["2000000000022"])
    ben.sync()
    after = ben.now_us()
    catalogue.edit_product(ada, "MUG", {"currency": "USD"})
    assert told(ben) == {
        ("name", "Mug", "Cup", "", "ben"),
        ("price", "850 EUR", "900 EUR", "", "ben"),
        ("archived", "0", "1", "", "ben"),
        ("shelf", "", "A1", "", "ben"),
        ("barcode", "", "2000000000022", "", "ben"),
    }  # what it costs is in nobody's history, and a decision between two is not made yet
    for one in changes_of(ada, catalogue.get_product(ada, "MUG").id):
        assert one.device == "ben's phone"
        assert before <= one.changed_at <= after
    catalogue.edit_product(ben, "MUG", {}, barcodes=["2000000000022 x6"])
    pack = ("barcode", "2000000000022", "2000000000022 x6", "", "ben")
    assert pack in told(ben) | told(ben)
    with ben.transaction() as db:
        db.execute("DELETE FROM barcode WHERE code = '2000000000022'")
    assert ("barcode", "2000000000022 x6", "", "", "ben") in told(ada) | told(ben) | told(ada)


def test_a_name_that_lost_is_seen_by_everybody(shop: Shop) -> None:
    ada, ben = shop.device("ada"), shop.device("ben")
    catalogue.add_product(ada, sku="MUG", name="Mug")
    ada.sync()
    ben.sync()
    # Both offline; the later one comes first: what the earlier one wrote never counts.
    catalogue.edit_product(ada, "MUG", {"name": "Mug of Ada"})
    catalogue.edit_product(ben, "MUG", {"name": "Mug of Ben"})
    ben.sync()
    ada.sync()
    assert told(ben) == {
        ("name", "Mug", "Mug of Ben", "", "ben"),
        ("name", "Mug of Ben", "Mug of Ada", "dropped", "ada"),
    }
    assert catalogue.get_product(ada, "MUG").name == "Mug of Ben"
    # The earlier one comes first: what stood is overridden by who had not seen it.
    catalogue.edit_product(ada, "MUG", {"shelf": "A"})
    catalogue.edit_product(ben, "MUG", {"shelf": "B"})
    ada.sync()
    ben.sync()
    assert told(ada) >= {
        ("shelf", "", "A", "", "ada"),
        ("shelf", "A", "B", "overridden", "ben"),
    }


def test_nobody_writes_in_the_history_of_others(shop: Shop) -> None:
    ada = shop.device("ada")
    catalogue.add_product(ada, sku="MUG", name="Mug")
    catalogue.edit_product(ada, "MUG", {"name": "Cup"})
    ada.sync()
    forged = (
        "INSERT INTO product_change (id, product_id, field, person, changed_at) VALUES "
        "('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002', "
        "'name', 'ben', 1)"
    )
    for sql in (
        forged,
        "UPDATE product_change SET person = 'ben'",
        "DELETE FROM product_change",
    ):
        with ada.transaction() as db:
            db.execute(sql)
        ada.sync()
        (refused,) = ada.refused()
        assert refused.code == "rule:history_is_kept"
        ada.discard(refused.id)
        ada.sync()
    assert told(ada) == {("name", "Mug", "Cup", "", "ada")}


def test_a_file_of_goods_leaves_its_changes_too(shop: Shop) -> None:
    ada = shop.device("ada")
    desk = desk_of(shop.server, shop.database)
    with ada.transaction() as db:
        db.execute("INSERT INTO store (id, name) VALUES ('1', 'One')")
    ada.sync()
    first = b"sku,name,price,barcode\nMUG,Mug,8.50,\nCUP,Cup,1,\n"
    second = b"sku,name,price,barcode\nMUG,Mug,9.00,4006381333931\nCUP,Cup,1,\n"
    for text in (first, second, second):
        bring(desk, read_sheet(text), store="1", person="ada")
    assert told(ada) == {
        ("price", "850 EUR", "900 EUR", "", "ada"),
        ("barcode", "", "4006381333931", "", "ada"),
    }
