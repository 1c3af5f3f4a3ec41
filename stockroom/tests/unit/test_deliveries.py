"""Deliveries between devices and a server with its rules: booked as one, undone as one, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.core.errors import UsageError
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server
from stockroom import catalogue, deliveries, ids, questions, refused, stock
from stockroom.deliveries import Counted
from stockroom.on_hand import check_stock
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.stock import Actor, Place

HERE = Place(store_id="1", location_id=ids.first_location_id("1"))
MUG = ids.product_id("MUG-1", "Mug")
JUG = ids.product_id("JUG-1", "Jug")


class Shop:
    """A server, and devices of employees at its store."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        def nobody(_headers: Mapping[str, str]) -> Principal:
            raise AssertionError

        self._folder, self._stack = folder, stack
        self._server = stack.enter_context(open_server(schema, database, nobody, rules=rules))
        self.ada = self.device("ada", role="admin")
        stock.ensure_place(self.ada, "1", name="Store 1")
        for sku, name in (("MUG-1", "Mug"), ("JUG-1", "Jug")):
            catalogue.add_product(self.ada, sku=sku, name=name, price=850)
        stock.opening(self.ada, HERE, "MUG-1", 17, actor=Actor(person="ada"))
        with self.ada.transaction() as db:
            for name in ("Acme", "Bolt"):
                db.execute(
                    "INSERT INTO supplier (id, name) VALUES (?, ?)", (ids.supplier_id(name), name)
                )
        self.sync(self.ada)

    def device(self, user: str, *, role: str = "employee") -> Replica:
        scopes = ("catalog", "store/*") if role == "admin" else ("catalog", "store/1")
        principal = Principal(user, f"{user}'s", write=scopes, roles=(role,))
        transport = MemoryTransport(self._server.service, principal)
        replica = self._stack.enter_context(
            Replica.open(self._folder / f"{user}.db", schema, transport=transport)
        )
        replica.sync()
        return replica

    def sync(self, *devices: Replica) -> None:
        for replica in (*devices, *devices):
            assert replica.sync().verified
            assert (replica.refused(), replica.conflicts()) == ([], [])
            assert check_stock(replica) == []


@pytest.fixture
def shop(database: str, tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path, database, stack)


def who(replica: Replica) -> Actor:
    return Actor(person=replica.status.user, device=replica.status.device)


def draft(replica: Replica, document: str = "DN-1", **more: str) -> str:
    return deliveries.start(replica, HERE, document=document, actor=who(replica), **more)


def book(replica: Replica, delivery: str) -> None:
    deliveries.book(replica, HERE, delivery, actor=who(replica))


def received(replica: Replica, document: str, mugs: int, **more: str) -> str:
    delivery = draft(replica, document, **more)
    deliveries.count(replica, delivery, MUG, Counted(by=mugs))
    book(replica, delivery)
    return delivery


def mugs(*devices: Replica) -> set[int]:
    return {stock.on_hand(replica, MUG) for replica in devices}


def test_two_people_fill_one_draft_and_it_is_booked_and_undone_as_one(shop: Shop) -> None:
    ben, cleo = shop.device("ben"), shop.device("cleo")
    delivery = draft(ben)
    deliveries.count(ben, delivery, MUG, Counted(by=1, expected=24))
    shop.sync(ben, cleo)
    # Offline, both scan on; what was typed is what somebody saw, and scans come on top of it.
    deliveries.count(ben, delivery, MUG, Counted(by=5))
    deliveries.count(cleo, delivery, MUG, Counted(to=20))
    deliveries.count(cleo, delivery, JUG, Counted(by=3, damaged=1))
    shop.sync(ben, cleo, ben)
    for replica in (ben, cleo):
        found = {line.sku: line for line in deliveries.lines(replica, delivery)}
        assert (found["MUG-1"].here, found["MUG-1"].expected) == (25, 24)
        assert (found["JUG-1"].here, found["JUG-1"].damaged) == (3, 1)
    book(cleo, delivery)
    assert cleo.status.pending > 0
    shop.sync(cleo, ben)
    assert mugs(ben, cleo) == {17 + 25}
    assert stock.on_hand(ben, JUG) == 2
    document = deliveries.get_delivery(ben, delivery)
    assert (document.status, document.started_by, document.booked_by) == ("booked", "ben", "cleo")
    assert deliveries.undo(ben, delivery, actor=who(ben)) == 3
    shop.sync(ben, cleo)
    assert mugs(ben, cleo) == {17}
    assert stock.on_hand(cleo, JUG) == 0
    assert deliveries.get_delivery(cleo, delivery).undone_by == "ben"
    with pytest.raises(UsageError, match="nothing to undo"):
        deliveries.undo(cleo, delivery)


@pytest.mark.parametrize(("answer", "right"), [("same", 24), ("more", 47), ("instead", 23)])
def test_a_draft_that_two_book_offline_is_booked_once(shop: Shop, answer: str, right: int) -> None:
    ben, cleo = shop.device("ben"), shop.device("cleo")
    delivery = draft(ben)
    deliveries.count(ben, delivery, MUG, Counted(to=24))
    deliveries.count(ben, delivery, JUG, Counted(to=6, damaged=2))
    shop.sync(ben, cleo)
    deliveries.count(cleo, delivery, MUG, Counted(to=23))
    book(ben, delivery)
    book(cleo, delivery)
    shop.sync(ben, cleo, ben)
    # The jugs are the same movement; of the mugs, what the second has counted is in question.
    assert mugs(ben, cleo) == {17 + 24}
    assert {stock.on_hand(replica, JUG) for replica in (ben, cleo)} == {4}
    (asked,) = questions.open_questions(ben, "1")
    assert (asked.kind, asked.quantity, asked.first) == ("booked_twice", 23, 24)
    assert (asked.person, asked.first_person) == ("cleo", "ben")
    assert deliveries.get_delivery(cleo, delivery).booked_by == "ben"
    questions.decide(ben, asked.id, answer, actor=who(ben))
    assert mugs(ben) == {17 + right}
    shop.sync(ben, cleo)
    assert mugs(cleo) == {17 + right}
    assert questions.open_questions(cleo, "1") == []
    deliveries.undo(cleo, delivery, actor=who(cleo))
    shop.sync(cleo, ben)
    assert mugs(ben, cleo) == {17}


@pytest.mark.parametrize(("answer", "right"), [("same", 24), ("more", 48)])
def test_one_note_received_on_two_devices_is_a_question(
    shop: Shop, answer: str, right: int
) -> None:
    ben, cleo = shop.device("ben"), shop.device("cleo")
    received(ben, "DN-7788", 24)
    received(cleo, " dn-77 88", 24)
    assert mugs(ben, cleo) == {17 + 24}
    shop.sync(ben, cleo, ben)
    assert mugs(ben, cleo) == {17 + 24}
    (asked,) = questions.open_questions(cleo, "1")
    assert (asked.kind, asked.quantity, asked.name) == ("received_twice", 24, "Mug")
    assert [one.id for one in questions.open_questions(ben, "1")] == [asked.id]
    questions.decide(cleo, asked.id, answer, actor=who(cleo))
    with pytest.raises(UsageError) as error:
        questions.decide(cleo, asked.id, "more")
    assert error.value.code == "already_decided"
    shop.sync(cleo, ben)
    assert mugs(ben, cleo) == {17 + right}


@pytest.mark.parametrize("first", ["same", "more"])
def test_of_two_answers_given_offline_the_first_stands(shop: Shop, first: str) -> None:
    ben, cleo = shop.device("ben"), shop.device("cleo")
    received(ben, "DN-1", 24)
    received(cleo, "DN-1", 24)
    shop.sync(ben, cleo, ben)
    (asked,) = questions.open_questions(ben, "1")
    second = "more" if first == "same" else "same"
    questions.decide(ben, asked.id, first, actor=who(ben))
    questions.decide(cleo, asked.id, second, actor=who(cleo))
    ben.sync()
    cleo.sync()
    for item in cleo.refused():
        assert item.code == "rule:already_decided"
        cleo.discard(item.id)
    shop.sync(ben, cleo)
    assert mugs(ben, cleo) == {17 + 24 * (1 if first == "same" else 2)}


def test_what_is_another_delivery_is_not_asked_about(shop: Shop) -> None:
    ben, cleo = shop.device("ben"), shop.device("cleo")
    received(ben, "", 1)
    received(cleo, "", 1)  # no note: nothing says that they are one
    received(ben, "DN-1", 1)
    received(cleo, "DN-2", 1)
    received(ben, "N1", 1, supplier_id=ids.supplier_id("Acme"))
    received(cleo, "N1", 1, supplier_id=ids.supplier_id("Bolt"))
    received(ben, "DN-1", 1)  # by hand on one device, which shows what it has received
    undone = received(cleo, "DN-1", 5)
    deliveries.undo(cleo, undone, actor=who(cleo))
    more = draft(cleo, "DN-1")
    deliveries.count(cleo, more, MUG, Counted(by=2, more=True))
    book(cleo, more)
    shop.sync(ben, cleo, ben)
    assert [questions.open_questions(replica, "1") for replica in (ben, cleo)] == [[], []]
    assert mugs(ben, cleo) == {17 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 2}


def test_a_device_knows_what_came_in_with_a_note(shop: Shop) -> None:
    ben, cleo = shop.device("ben"), shop.device("cleo")
    own = received(ben, "DN-1", 24)
    shop.sync(ben, cleo)
    (found,) = deliveries.received_before(cleo, "1", "dn-1", [MUG, JUG])
    assert (found.quantity, found.person, found.name) == (24, "ben", "Mug")
    assert deliveries.received_before(cleo, "1", "dn-1", [JUG]) == []
    assert deliveries.received_before(cleo, "1", "", [MUG]) == []
    assert deliveries.received_before(ben, "1", "DN-1", [MUG], but=own) == []


def test_booked_on_one_device_and_taken_back_on_another(shop: Shop) -> None:
    ben, cleo = shop.device("ben"), shop.device("cleo")
    delivery = draft(ben)
    deliveries.count(ben, delivery, MUG, Counted(to=9))
    shop.sync(ben, cleo)
    deliveries.drop(ben, delivery)
    book(cleo, delivery)
    shop.sync(ben, cleo, ben)
    assert mugs(ben, cleo) == {17}
    (asked,) = questions.open_questions(cleo, "1")
    assert (asked.kind, asked.quantity, asked.first) == ("taken_back", 9, 0)
    questions.decide(cleo, asked.id, "more", actor=who(cleo))
    shop.sync(cleo, ben)
    assert mugs(ben, cleo) == {17 + 9}
    # The other way round, what is booked stands.
    other = draft(ben, "DN-2")
    deliveries.count(ben, other, MUG, Counted(to=4))
    shop.sync(ben, cleo)
    book(cleo, other)
    deliveries.drop(ben, other)
    shop.sync(cleo, ben, cleo)
    assert deliveries.get_delivery(ben, other).status == "booked"
    assert mugs(ben, cleo) == {17 + 9 + 4}


def test_what_is_counted_late_is_kept_beside_and_booked_when_said(shop: Shop) -> None:
    ben, cleo = shop.device("ben"), shop.device("cleo")
    delivery = draft(ben)
    deliveries.count(ben, delivery, MUG, Counted(by=10))
    shop.sync(ben, cleo)
    book(ben, delivery)
    deliveries.count(cleo, delivery, MUG, Counted(by=2))
    deliveries.count(cleo, delivery, JUG, Counted(by=3))
    with cleo.transaction() as db:
        db.execute("UPDATE delivery SET document = 'DN-9' WHERE id = ?", (delivery,))
    shop.sync(ben, cleo, ben)
    assert mugs(ben, cleo) == {17 + 10}
    assert deliveries.get_delivery(ben, delivery).document == "DN-1"
    assert {(x.here, x.booked) for x in deliveries.lines(ben, delivery)} == {(12, 10), (3, 0)}
    for replica in (ben, cleo):
        book(replica, delivery)
    shop.sync(ben, cleo, ben)
    assert mugs(ben, cleo) == {17 + 12}
    assert stock.on_hand(cleo, JUG) == 3
    with pytest.raises(UsageError, match="nothing was counted"):
        book(ben, delivery)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("DELETE FROM delivery_line", "append_only"),
        ("UPDATE delivery SET status = 'draft'", "already_booked"),
        ("UPDATE delivery SET booked_by = 'mallory'", "already_booked"),
        ("UPDATE delivery SET started_at = 1", "already_booked"),
        ("UPDATE delivery_line SET booked = 99", "bad_line"),
        ("UPDATE delivery_line SET product_id = (SELECT id FROM product WHERE sku = 'JUG-1')",
         "bad_line"),
        ("UPDATE delivery SET status = 'undone', undone_by = 'mallory', undone_at = 1",
         "not_yours"),
    ],
)  # fmt: skip
def test_what_is_booked_is_rewritten_by_nobody(tmp_path: Path, change: str, code: str) -> None:
    with ExitStack() as stack:
        shop = Shop(tmp_path, str(tmp_path / "server.db"), stack)
        ben = shop.device("ben")
        received(ben, "DN-1", 3)
        shop.sync(ben)
        with ben.transaction() as db:
            db.execute(change)
        ben.sync()
        assert {item.code for item in ben.refused()} == {f"rule:{code}"}


def test_nothing_that_cannot_be_is_booked(tmp_path: Path) -> None:
    with ExitStack() as stack:
        shop = Shop(tmp_path, str(tmp_path / "server.db"), stack)
        ben = shop.device("ben")
        delivery = draft(ben)
        for counted, code in (
            (Counted(to=0), "nothing_to_book"),
            (Counted(to=-3), "nothing_to_book"),
            (Counted(to=2, damaged=3), "bad_quantity"),
        ):
            deliveries.count(ben, delivery, MUG, counted)
            with pytest.raises(UsageError) as error:
                book(ben, delivery)
            assert error.value.code == code
        with pytest.raises(UsageError):
            deliveries.count(ben, delivery, MUG, Counted(to=10**9 + 1))
        assert deliveries.get_delivery(ben, delivery).status == "draft"
        assert mugs(ben) == {17}


class Killed(Exception):
    """Ends the work at a point, as a kill does."""


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_received_of_a_product_that_is_another_goes_with_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """Booked, taken back, or counted only: as the other product's it is what it was."""
    ben = shop.device("ben")
    mine = catalogue.add_product(ben, sku="CUP-1", name="Cup, blue", price=500).id
    booked = draft(ben, "DN-1")
    deliveries.count(ben, booked, mine, Counted(by=3))
    deliveries.count(ben, booked, mine, Counted(to=10, damaged=2))
    deliveries.count(ben, booked, MUG, Counted(to=4))
    book(ben, booked)
    gone = draft(ben, "DN-2")
    deliveries.count(ben, gone, mine, Counted(to=6))
    book(ben, gone)
    deliveries.undo(ben, gone, actor=who(ben))
    counted = draft(ben, "DN-3")
    deliveries.count(ben, counted, mine, Counted(by=1))
    deliveries.count(ben, counted, mine, Counted(by=1))
    theirs = catalogue.add_product(shop.ada, sku="CUP-1", name="Cup", price=500).id
    shop.sync(shop.ada)
    ben.sync()

    (item,) = [one for one in ben.refused() if refused.taken_sku(one) is not None]
    if killed:
        with monkeypatch.context() as patch:

            def discard(_item: str) -> None:
                raise Killed

            patch.setattr(ben, "discard", discard)
            with pytest.raises(Killed):
                refused.same_product(ben, item)
    refused.same_product(ben, item)
    shop.sync(ben, shop.ada)
    for replica in (ben, shop.ada):
        assert stock.on_hand(replica, theirs) == 10 - 2
        assert stock.on_hand(replica, MUG) == 17 + 4
        assert {
            (line.product_id, line.here, line.damaged, line.booked)
            for delivery in (booked, gone, counted)
            for line in deliveries.lines(replica, delivery)
        } == {(theirs, 10, 2, 10), (MUG, 4, 0, 4), (theirs, 6, 0, 6), (theirs, 2, 0, 0)}
        states = [deliveries.get_delivery(replica, one).status for one in (booked, gone, counted)]
        assert states == ["booked", "undone", "draft"]
    book(ben, counted)
    shop.sync(ben, shop.ada)
    assert stock.on_hand(shop.ada, theirs) == 10 - 2 + 2


def test_both_products_in_one_delivery_are_not_one_untold(shop: Shop) -> None:
    ben = shop.device("ben")
    mine = catalogue.add_product(ben, sku="CUP-1", name="Cup, blue", price=500).id
    theirs = catalogue.add_product(shop.ada, sku="CUP-2", name="Cup", price=500).id
    shop.sync(shop.ada)
    delivery = draft(ben)
    deliveries.count(ben, delivery, mine, Counted(to=3))
    catalogue.edit_product(shop.ada, "CUP-2", {"sku": "CUP-1"})
    shop.sync(shop.ada)
    ben.sync()
    deliveries.count(ben, delivery, theirs, Counted(to=5))
    (item,) = [one for one in ben.refused() if refused.taken_sku(one) is not None]
    before = len(ben.refused())
    with pytest.raises(UsageError) as caught:
        refused.same_product(ben, item)
    assert (caught.value.code, len(ben.refused())) == ("not_mendable", before)
    refused.use_other_sku(ben, item, "CUP-3")
    shop.sync(ben)
    assert {line.here for line in deliveries.lines(ben, delivery)} == {3, 5}
