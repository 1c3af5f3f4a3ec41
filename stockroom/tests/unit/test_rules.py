"""Rules on a real server: what a device sends that its holder has opened up and written at will."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server
from holdfast.server.assembly import Server
from stockroom import catalogue, ids, stock
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.stock import INSERT_MOVEMENT, Actor, Movement, Place

EMPLOYEE = Principal("dilan", "tablet", write=("catalog", "store/1"), roles=("employee",))
MANAGER = Principal("mira", "laptop", write=("catalog", "store/1"), roles=("manager",))
ADMIN = Principal("ada", "office", write=("catalog", "store/*", "staff"), roles=("admin",))
HERE = Place(store_id="1", location_id=ids.first_location_id("1"))
THERE = Place(store_id="2", location_id=ids.first_location_id("2"))
YARD = ids.new_id(1)
MUG = ids.product_id("MUG-1", "Mug")


class Shop:
    """A server with two stores and their stock, and one device for each principal."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        def nobody(_headers: Mapping[str, str]) -> Principal:
            raise AssertionError

        self._folder, self._stack = folder, stack
        self.server: Server = stack.enter_context(
            open_server(schema, database, nobody, rules=rules)
        )
        self.admin = self.device(ADMIN)
        for place in (HERE, THERE):
            stock.ensure_place(self.admin, place.store_id, name=f"Store {place.store_id}")
        with self.admin.transaction() as db:
            db.execute("INSERT INTO location (id, store_id, name) VALUES (?, '1', 'Yard')", (YARD,))
            db.execute(
                "INSERT INTO supplier (id, name) VALUES (?, 'Acme')", (ids.supplier_id("A"),)
            )
        catalogue.add_product(
            self.admin, sku="MUG-1", name="Mug", price=850, barcodes=["2000000000015"]
        )
        for place in (HERE, THERE):
            stock.opening(self.admin, place, "MUG-1", 10, actor=Actor(person="ada"))
        self.admin.sync()
        assert self.admin.refused() == []

    def device(self, principal: Principal) -> Replica:
        transport = MemoryTransport(self.server.service, principal)
        path = self._folder / f"{principal.user}.db"
        replica = self._stack.enter_context(Replica.open(path, schema, transport=transport))
        replica.sync()
        # The app's own guard is the device's business: whoever holds it can take it away.
        with replica.transaction() as db:
            for (name,) in db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'movement%'"
            ):
                db.execute(f"DROP TRIGGER {name!s}")
        return replica

    def sent(self, device: Replica, sql: str, params: tuple[object, ...] = ()) -> str:
        """Write, sync, and tell: `applied`, or the code of the refusal, which is discarded."""
        with device.transaction() as db:
            db.execute(sql, params)  # type: ignore[arg-type]
        device.sync()
        waiting = device.refused()
        for item in waiting:
            device.discard(item.id)
        device.sync()
        return waiting[0].code if waiting else "applied"

    def truth(self, sql: str) -> list[tuple[object, ...]]:
        """What everybody has in the end."""
        self.admin.sync()
        return [tuple(row) for row in self.admin.query(sql)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path, str(tmp_path / "server.db"), stack)


@pytest.fixture
def any_shop(database: str, tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path, database, stack)


def movement(replica: Replica, **changed: object) -> tuple[object, ...]:
    now = replica.device_now_us()
    plain = {
        "id": ids.new_id(now), "product_id": MUG, "location_id": HERE.location_id,
        "store_id": "1", "quantity": 1, "kind": "found", "occurred_at": now,
    }  # fmt: skip
    return Movement(**(plain | changed)).values  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        "person = 'mallory'", "reason = 'theft'", "document = 'D'", "device = 'x'", "note = 'n'",
        "occurred_at = 1000000", "quantity = 99", "kind = 'theft'", "store_id = '2'",
        "product_id = product_id, note = 'again'",
    ],
)  # fmt: skip
def test_a_movement_is_never_rewritten(shop: Shop, change: str) -> None:
    before = shop.truth("SELECT * FROM movement ORDER BY id")
    for principal in (EMPLOYEE, MANAGER):
        assert shop.sent(
            shop.device(principal), f"UPDATE movement SET {change} WHERE store_id = '1'"
        ) in ("rule:append_only", "forbidden")
    assert shop.truth("SELECT * FROM movement ORDER BY id") == before


def test_a_movement_is_neither_removed_nor_written_anew(any_shop: Shop) -> None:
    shop = any_shop
    before = shop.truth("SELECT * FROM movement ORDER BY id")
    dilan = shop.device(EMPLOYEE)
    ((taken,),) = dilan.query("SELECT id FROM movement WHERE store_id = '1'")
    assert shop.sent(dilan, "DELETE FROM movement") == "rule:append_only"
    anew = movement(dilan, id=taken, kind="opening", quantity=10, person="dilan", note="forged")
    assert shop.sent(dilan, INSERT_MOVEMENT.replace("INSERT", "INSERT OR REPLACE"), anew) == (
        "rule:append_only"
    )
    # A device that has never seen it inserts over it.
    blind = shop._stack.enter_context(
        Replica.open(
            shop._folder / "blind.db", schema,
            transport=MemoryTransport(
                shop.server.service, Principal("dilan", "phone", write=EMPLOYEE.write)
            ),
        )
    )  # fmt: skip
    shop.sent(blind, INSERT_MOVEMENT, anew)
    assert shop.truth("SELECT * FROM movement ORDER BY id") == before


def test_a_movement_is_signed_by_who_sends_it(any_shop: Shop) -> None:
    shop = any_shop
    dilan = shop.device(EMPLOYEE)
    assert shop.sent(dilan, INSERT_MOVEMENT, movement(dilan, person="ada")) == "rule:not_yours"
    one = ids.new_id(dilan.device_now_us())
    assert shop.sent(dilan, INSERT_MOVEMENT, movement(dilan, id=one, device="till-of-ada")) == (
        "applied"
    )
    signed = ("dilan", "tablet")
    assert dilan.query("SELECT person, device FROM movement WHERE id = ?", (one,)) == [signed]
    assert shop.truth(f"SELECT person, device FROM movement WHERE id = '{one}'") == [signed]
    assert dilan.verify().ok


def test_a_movement_lies_at_its_own_store(any_shop: Shop) -> None:
    shop = any_shop
    dilan = shop.device(EMPLOYEE)

    def at(location: str) -> str:
        return shop.sent(dilan, INSERT_MOVEMENT, movement(dilan, location_id=location))

    assert at(THERE.location_id) == "rule:bad_location"
    assert at(YARD) == "applied"
    assert at(HERE.location_id) == "applied"
    assert at(ids.new_id(5)) in ("rule:bad_location", "foreign_key")


def test_a_reversal_is_the_exact_opposite_of_one_movement(any_shop: Shop) -> None:
    shop = any_shop
    dilan = shop.device(EMPLOYEE)
    ((here,),) = dilan.query("SELECT id FROM movement WHERE store_id = '1'")
    ((there,),) = shop.admin.query("SELECT id FROM movement WHERE store_id = '2'")

    def undo(of: object, quantity: int, **more: object) -> str:
        reversal = {
            "id": ids.reversal_id(str(of)), "kind": "reversal", "reverses": of,
            "quantity": quantity,
        }  # fmt: skip
        return shop.sent(dilan, INSERT_MOVEMENT, movement(dilan, **(reversal | more)))

    for deed in (
        undo(here, -9),
        undo(here, 10),
        undo(there, -10),
        undo(ids.new_id(7), -10),
        undo(here, -10, id=ids.new_id(8)),
        undo(here, -10, location_id=YARD),
        undo(here, -10, kind="correction"),
        undo(here, -10, reverses=None),
    ):
        assert deed == "rule:bad_reversal"
    assert undo(here, -10) == "applied"


def test_an_undo_on_two_devices_is_one_and_the_first_stands(shop: Shop) -> None:
    devices = [shop.device(principal) for principal in (EMPLOYEE, MANAGER)]
    ((opened,),) = devices[0].query("SELECT id FROM movement WHERE store_id = '1'")
    for device, person in zip(devices, ("dilan", "mira"), strict=True):
        stock.undo(device, str(opened), actor=Actor(person=person))
    for device in (*devices, *devices):
        device.sync()
        assert device.refused() == []
    undone = "SELECT person, device, quantity FROM movement WHERE kind = 'reversal'"
    assert shop.truth(undone) == [("dilan", "tablet", -10)]
    assert all(device.query(undone) == [("dilan", "tablet", -10)] for device in devices)


Deed = tuple[str, tuple[object, ...]]
OF_MANAGERS: dict[str, Deed] = {
    "price": ("UPDATE product SET price = 1", ()),
    "cost": ("UPDATE product SET cost = 1", ()),
    "no price": ("UPDATE product SET unpriced = 1", ()),
    "currency": ("UPDATE product SET currency = 'USD'", ()),
    "archive": ("UPDATE product SET archived = 1", ()),
    "unit": ("UPDATE product SET unit = 'box'", ()),
    "supplier": ("UPDATE supplier SET contact = 'x'", ()),
    "new supplier": ("INSERT INTO supplier (id, name) VALUES (?, 'B')", (ids.supplier_id("B"),)),
    "own store's name": ("UPDATE store SET name = 'x' WHERE id = '1'", ()),
    "own location": ("UPDATE location SET archived = 1 WHERE id = ?", (YARD,)),
    "new location": (
        "INSERT INTO location (id, store_id, name) VALUES (?, '1', 'Attic')", (ids.new_id(9),)
    ),
    "order again": (
        "INSERT INTO reorder_rule (store_id, product_id, reorder_at) VALUES ('1', ?, 3)", (MUG,)
    ),
    "remove a code": ("DELETE FROM barcode", ()),
}  # fmt: skip
OF_ADMINS: dict[str, Deed] = {
    "another store's name": ("UPDATE store SET name = 'x' WHERE id = '2'", ()),
    "another store's location": (
        "UPDATE location SET archived = 1 WHERE id = ?", (THERE.location_id,)
    ),
    "a location that moves away": ("UPDATE location SET store_id = '2' WHERE id = ?", (YARD,)),
    "a new store": ("INSERT INTO store (id, name) VALUES ('3', 'Third')", ()),
}  # fmt: skip


def test_what_is_a_managers_is_refused_to_employees(shop: Shop) -> None:
    everything = "SELECT p.*, s.*, l.* FROM product AS p, store AS s, location AS l"
    before = shop.truth(everything)
    dilan = shop.device(EMPLOYEE)
    got = {what: shop.sent(dilan, *deed) for what, deed in (OF_MANAGERS | OF_ADMINS).items()}
    assert "applied" not in got.values(), got
    assert shop.truth(everything) == before
    mira = shop.device(MANAGER)
    got = {what: shop.sent(mira, *deed) for what, deed in OF_ADMINS.items()}
    assert set(got.values()) == {"rule:not_your_store"}, got
    got = {what: shop.sent(mira, *deed) for what, deed in OF_MANAGERS.items()}
    assert set(got.values()) == {"applied"}, got


def test_employees_add_products_and_word_them(shop: Shop) -> None:
    dilan = shop.device(EMPLOYEE)
    catalogue.add_product(dilan, sku="TEA-1", name="Tea", price=400, barcodes=["4006381333931"])
    catalogue.edit_product(dilan, "TEA-1", {"name": "Green tea", "shelf": "A1"})
    catalogue.edit_product(dilan, "MUG-1", {}, barcodes=["049000028911"])
    stock.receive(dilan, stock.ensure_place(dilan, "1"), "TEA-1", 5)
    with dilan.transaction() as db:
        db.execute("INSERT INTO category (id, name) VALUES (?, 'Teas')", (ids.category_id("Teas"),))
    dilan.sync()
    assert dilan.refused() == []
    assert shop.sent(dilan, "UPDATE category SET name = 'x'") == "rule:managers_only"
    code = "UPDATE barcode SET product_id = ? WHERE code = '2000000000015'"
    tea = catalogue.get_product(dilan, "TEA-1").id
    assert shop.sent(dilan, code, (tea,)) == "rule:managers_only"


def test_somebody_without_a_role_is_an_employee(shop: Shop) -> None:
    nobody = shop.device(Principal("nia", "phone", write=("catalog", "store/1")))
    assert shop.sent(nobody, "UPDATE product SET price = 1") == "rule:managers_only"


def test_a_store_is_opened_offline_by_whoever_works_there(shop: Shop) -> None:
    leo = shop.device(Principal("leo", "phone", write=("catalog", "store/7")))
    stock.receive(leo, stock.ensure_place(leo, "7"), "MUG-1", 5)
    leo.sync()
    assert leo.refused() == []
    with leo.transaction() as db:
        db.execute("INSERT INTO location (id, store_id) VALUES (?, '7')", (ids.new_id(3),))
    leo.sync()
    assert [item.code for item in leo.refused()] == ["rule:managers_only"]


def test_a_sku_that_reads_like_another_is_refused(any_shop: Shop) -> None:
    dilan, cup = any_shop.device(EMPLOYEE), ids.new_id(2)
    insert = "INSERT INTO product (id, sku, name) VALUES (?, ?, 'Cup')"
    rename = "UPDATE product SET sku = ? WHERE id = ?"
    assert any_shop.sent(dilan, insert, (cup, "CUP-1")) == "applied"
    assert any_shop.sent(dilan, rename, ("cup-1", cup)) == "applied"  # its own
    for sku in ("mug-1", "ＭＵＧ - 1"):
        assert any_shop.sent(dilan, rename, (sku, cup)) == "rule:sku_like"
        assert any_shop.sent(dilan, insert, (ids.new_id(3), sku)) == "rule:sku_like"
    assert any_shop.sent(dilan, rename, ("MUG1", cup)) == "applied"
    with dilan.transaction() as db:
        for number, sku in enumerate(("TIN", "Tin")):
            db.execute(insert, (ids.new_id(10 + number), sku))
    dilan.sync()
    assert [item.code for item in dilan.refused()] == ["rule:sku_like"]


def test_thousands_of_new_products_are_told_apart_at_once(shop: Shop) -> None:
    """More spellings than a database takes parameters, and no comparison of each with each."""
    dilan = shop.device(EMPLOYEE)
    with dilan.transaction() as db:
        for number in range(7_000):
            db.execute(
                "INSERT INTO product (id, sku, name) VALUES (?, ?, 'Cup')",
                (ids.new_id(number + 1), f"ＣＵＰ Größe {number}"),
            )
    dilan.sync()
    assert dilan.refused() == []
    assert shop.truth("SELECT count(*) FROM product WHERE name = 'Cup'") == [(7_000,)]


@pytest.mark.parametrize("code", ["049000028911", "00049000028911", "]E00049000028911", " 1"])
def test_a_code_in_another_form_is_refused(shop: Shop, code: str) -> None:
    insert = "INSERT INTO barcode (code, product_id) VALUES (?, ?)"
    dilan = shop.device(EMPLOYEE)
    assert shop.sent(dilan, insert, (code, MUG)) == "rule:bad_code"
    assert shop.sent(dilan, insert, ("0049000028911", MUG)) == "applied"


def test_an_answer_is_signed(shop: Shop) -> None:
    dilan = shop.device(EMPLOYEE)
    ask = (
        "INSERT INTO question (id, store_id, kind, about_table, about_key, asked_at) "
        "VALUES (?, '1', 'k', 'product', ?, 1)"
    )
    assert shop.sent(dilan, ask, (ids.new_id(1), MUG)) == "applied"
    answer = "UPDATE question SET answer = 'yes', answered_by = ?"
    assert shop.sent(dilan, answer, ("ada",)) == "rule:not_yours"
    assert shop.sent(dilan, answer, ("dilan",)) == "applied"


def test_the_shop_itself_is_the_owners(shop: Shop) -> None:
    written = (
        "INSERT INTO shop (id, name) VALUES ('shop', 'Mine')",
        "INSERT INTO person (login, name) VALUES ('dilan', 'Boss')",
    )
    dilan, mira = shop.device(EMPLOYEE), shop.device(MANAGER)
    for device in (dilan, mira):
        assert [shop.sent(device, sql) for sql in written] == ["rule:owners_only"] * 2
    assert [shop.sent(shop.admin, sql) for sql in written] == ["applied"] * 2
    mira.sync()
    assert shop.sent(mira, "UPDATE person SET name = 'Me'") == "rule:owners_only"


DEEDS_DONE: dict[str, Deed] = {
    "add": ("INSERT INTO category (id, name) VALUES (?, 'New')", (ids.category_id("New"),)),
    "word": ("UPDATE product SET name = name || '!'", ()),
    "price": ("UPDATE product SET price = price + 1", ()),
    "archive": ("UPDATE product SET archived = 1 - archived", ()),
    "code": ("UPDATE category SET name = name || '!'", ()),
    "supplier": ("UPDATE supplier SET contact = contact || '!'", ()),
    "store": ("UPDATE location SET name = name || '!' WHERE store_id = '1'", ()),
}


def test_a_shop_says_what_each_role_may(any_shop: Shop) -> None:
    """Each deed, denied to managers and allowed to employees: the server decides by the row."""
    shop = any_shop
    dilan, mira = shop.device(EMPLOYEE), shop.device(MANAGER)
    for deed, done in DEEDS_DONE.items():
        say = "INSERT INTO permission (role, deed, allowed) VALUES (?, ?, ?)"
        assert shop.sent(mira, say, ("employee", deed, True)) == "rule:owners_only"
        assert shop.sent(shop.admin, say, ("manager", deed, False)) == "applied"
        assert shop.sent(shop.admin, say, ("employee", deed, True)) == "applied"
        assert shop.sent(dilan, *done) == "applied", deed
        mira.sync()
        again = (done[0], (ids.new_id(77),)) if deed == "add" else done
        assert shop.sent(mira, *again) == "rule:owners_only", deed
        assert shop.sent(shop.admin, *again) == "applied", deed


@pytest.mark.parametrize("deed", ["receive", "sell", "adjust", "undo"])
def test_a_shop_says_who_moves_stock(shop: Shop, deed: str) -> None:
    say = "INSERT INTO permission (role, deed, allowed) VALUES ('employee', ?, 0)"
    assert shop.sent(shop.admin, say, (deed,)) == "applied"
    dilan = shop.device(EMPLOYEE)
    ((opened,),) = dilan.query("SELECT id FROM movement WHERE store_id = '1'")
    own = ids.new_id(dilan.device_now_us())

    def moved(**said: object) -> str:
        return shop.sent(dilan, INSERT_MOVEMENT, movement(dilan, **said))

    got = {
        "receive": moved(kind="receive"),
        "sell": moved(kind="sale", quantity=-1),
        "adjust": moved(kind="found", id=own),
        "undo": moved(
            id=ids.reversal_id(str(opened)), kind="reversal", reverses=opened, quantity=-10
        ),
    }  # fmt: skip
    assert got == {one: "rule:managers_only" if one == deed else "applied" for one in got}
    if deed == "undo":  # their own they take back all the same
        mine = moved(id=ids.reversal_id(own), kind="reversal", reverses=own, quantity=-1)
        assert mine == "applied"


def test_products_are_made_one_by_managers_and_never_in_a_circle(any_shop: Shop) -> None:
    catalogue.add_product(any_shop.admin, sku="CUP-1", name="Cup")
    any_shop.admin.sync()
    cup, one = ids.product_id("CUP-1", "Cup"), "UPDATE product SET merged_into = ? WHERE id = ?"
    employee, manager = any_shop.device(EMPLOYEE), any_shop.device(MANAGER)
    assert any_shop.sent(employee, one, (MUG, cup)) == "rule:managers_only"
    assert any_shop.sent(manager, one, (cup, cup)) == "rule:bad_merge"
    assert any_shop.sent(manager, one, (ids.new_id(1), cup)) == "rule:bad_merge"
    with any_shop.admin.transaction() as db:  # the other way round, elsewhere and at the same time
        db.execute(one, (cup, MUG))
    assert any_shop.sent(manager, one, (MUG, cup)) == "applied"
    any_shop.admin.sync()
    assert [item.code for item in any_shop.admin.refused()] == ["rule:bad_merge"]
    assert stock.on_hand(manager, MUG, store_id="1") == 10
