"""What goods cost: a manager's to see, and on no other device, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server
from stockroom import catalogue, refused, stock
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.server.people import Person, add, grant_costs
from stockroom.shop.desk import desk_of

COST = 48_151_623
"""A number that nothing else in a file is."""


def principal(name: str, role: str) -> Principal:
    person = Person(name=name, role=role, stores=("*",) if role == "admin" else ("1",))
    return Principal(name, f"{name}'s", read=person.read, write=person.write, roles=(role,))


class Shop:
    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        self.folder, self.database, self._stack = folder, database, stack
        self._open: dict[str, Replica] = {}
        self._transports: dict[str, MemoryTransport] = {}
        self.start()

    def start(self) -> None:
        def nobody(_headers: Mapping[str, str]) -> Principal:
            raise AssertionError

        self.server = self._stack.enter_context(
            open_server(schema, self.database, nobody, rules=rules)
        )

    def device(self, name: str, role: str) -> Replica:
        transport = MemoryTransport(self.server.service, principal(name, role))
        path = self.folder / f"{name}.db"
        replica = self._stack.enter_context(Replica.open(path, schema, transport=transport))
        replica.sync()
        return replica

    def bytes_of(self, name: str) -> bytes:
        return b"".join(one.read_bytes() for one in sorted(self.folder.glob(f"{name}.db*")))


@pytest.fixture
def shop(database: str, tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path, database, stack)


def sync(*devices: Replica) -> None:
    for replica in (*devices, *devices):
        assert replica.sync().verified
        assert replica.refused() == []


def cost_of(replica: Replica, sku: str) -> int | None:
    return catalogue.get_product(replica, sku).cost


def test_a_cost_reaches_those_who_may_see_it_and_nobody_else(shop: Shop) -> None:
    mira, ada = shop.device("mira", "manager"), shop.device("ada", "admin")
    stock.ensure_place(ada, "1", name="Harbour")
    sync(ada)
    catalogue.add_product(mira, sku="MUG-1", name="Mug", price=900, cost=COST)
    sync(mira, ada)
    dilan = shop.device("dilan", "employee")
    # Whoever receives goods may say what they cost: it goes where he does not look.
    catalogue.add_product(dilan, sku="JUG-1", name="Jug", price=900, cost=COST + 1)
    assert cost_of(dilan, "JUG-1") == COST + 1
    sync(dilan, mira, ada)
    for device in (mira, ada):
        assert (cost_of(device, "MUG-1"), cost_of(device, "JUG-1")) == (COST, COST + 1)
    catalogue.edit_product(mira, "JUG-1", {"cost": COST + 2, "price": 950})
    sync(mira, ada, dilan)
    assert cost_of(ada, "JUG-1") == COST + 2
    assert catalogue.get_product(dilan, "JUG-1").price == 950
    with dilan.transaction() as db:
        db.execute("INSERT INTO product_cost (product_id, cost) SELECT id, 1 FROM product LIMIT 1")
    dilan.sync()
    assert [one.code for one in dilan.refused()] == ["forbidden"]
    dilan.discard(dilan.refused()[0].id)
    with dilan.transaction() as db:
        db.execute("UPDATE product SET cost = 1")
    dilan.sync()
    assert [one.code for one in dilan.refused()] == ["rule:managers_only"]
    dilan.discard(dilan.refused()[0].id)
    sync(dilan)
    assert dilan.query("SELECT 1 FROM product_cost") == []
    assert {cost_of(dilan, "MUG-1"), cost_of(dilan, "JUG-1")} == {None}
    dilan.close()
    held = shop.bytes_of("dilan")
    # The device keeps what it has sent, for a server that is restored: its own number, as it typed.
    for number in (COST, COST + 2):
        assert number.to_bytes(4, "big") not in held
        assert str(number).encode() not in held


def test_costs_of_an_older_version_leave_the_devices_of_employees(shop: Shop) -> None:
    shop.server.close()
    with ExitStack() as stack:
        before = stack.enter_context(open_server(schema, shop.database))
        ada = stack.enter_context(
            Replica.open(
                shop.folder / "ada.db", schema,
                transport=MemoryTransport(before.service, Principal("ada", "o", write=("*",))),
            )
        )  # fmt: skip
        catalogue.add_product(ada, sku="MUG-1", name="Mug", price=900)
        with ada.transaction() as db:
            db.execute("UPDATE product SET cost = ?, currency = 'GBP'", (COST,))
        assert ada.sync().verified
        older = Principal("dilan", "dilan's", write=("catalog", "store/1"), roles=("employee",))
        dilan = stack.enter_context(
            Replica.open(
                shop.folder / "dilan.db", schema, transport=MemoryTransport(before.service, older)
            )
        )
        assert dilan.sync().verified
        assert cost_of(dilan, "MUG-1") == COST
        people = before.people
        people.add_user("mira", write=("catalog", "store/1"), read=("staff",), roles=("manager",))
        add(people, Person(name="dilan", role="employee", stores=("1",)))
    shop.start()
    desk = desk_of(shop.server, shop.database)
    granted = {user.name: user.write for user in desk.people.users()}
    assert "cost" in granted["mira"] and "cost" not in granted["dilan"]
    grant_costs(desk.people)  # safe to repeat
    assert {user.name: user.write for user in desk.people.users()} == granted
    dilan, mira = shop.device("dilan", "employee"), shop.device("mira", "manager")
    sync(dilan, mira)
    found = catalogue.get_product(mira, "MUG-1")
    assert (found.cost, found.price, found.currency) == (COST, 900, "GBP")
    assert cost_of(dilan, "MUG-1") is None
    dilan.close()
    assert COST.to_bytes(4, "big") not in shop.bytes_of("dilan")


def test_a_cost_follows_a_product_whose_sku_is_taken(shop: Shop) -> None:
    ada, mira = shop.device("ada", "admin"), shop.device("mira", "manager")
    catalogue.add_product(ada, sku="TEA-1", name="Tea", price=400)
    sync(ada)
    catalogue.add_product(mira, sku="TEA-1", name="Green tea", price=400, cost=COST)
    catalogue.add_product(mira, sku="TEA-2", name="Black tea", price=400, cost=COST + 1)
    mira.sync()
    (item, *held) = mira.refused()
    assert item.code == "unique" and len(held) <= 1
    refused.same_product(mira, item)
    sync(mira, ada)
    assert (cost_of(ada, "TEA-1"), cost_of(ada, "TEA-2")) == (COST, COST + 1)


def test_two_managers_costs_are_asked_about(shop: Shop) -> None:
    ada, mira = shop.device("ada", "admin"), shop.device("mira", "manager")
    catalogue.add_product(ada, sku="TEA-1", name="Tea", price=400, cost=200)
    sync(ada, mira)
    catalogue.edit_product(ada, "TEA-1", {"cost": 210})
    catalogue.edit_product(mira, "TEA-1", {"cost": 220, "price": 450})
    sync(ada)
    mira.sync()
    (conflict,) = mira.conflicts()
    assert (conflict.table, conflict.column) == ("product_cost", "cost,currency")
    assert catalogue.get_product(mira, "TEA-1").price == 450
    dilan = shop.device("dilan", "employee")
    assert dilan.conflicts() == []
