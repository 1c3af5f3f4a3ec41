"""One till, several people: each works in their own name, by PIN, whoever signed the device in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.core.errors import UsageError
from holdfast.server import Principal
from stockroom import catalogue, pins, stock, tills
from stockroom.shop.pins import forget_pin, set_pin
from stockroom.shop.staff import add_member, change_member, find_member, list_staff
from stockroom.stock import Actor, Place
from tests.unit.two_stores import ADA, TwoStores, refused

DILAN = Principal("Dilan", "phone", write=("catalog", "store/pier"), roles=("employee",))
TILL = Principal(
    "Front till", "till", read=("pin/pier",), write=("catalog", "store/pier"), roles=("till",)
)
PINS = {"Ada": "7070", "Dilan": "4711", "Mara": "80305", "Eve": "2468"}
WHO = "SELECT person, device, quantity FROM movement ORDER BY occurred_at"
NOW_S = 1_800_000_000


class Shop(TwoStores):
    """Two stores, their people with PINs, and a till at the pier."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        super().__init__(folder, database, stack)
        add_member(self.desk, "Eve", role="employee", stores=["mill"])
        made, _new = add_member(self.desk, "Front till", role="till", stores=["pier"])
        user = find_member(self.desk.people, made.login)
        assert (user.read, {*user.write}) == (TILL.read, {*TILL.write})
        for login, pin in PINS.items():
            set_pin(self.desk, find_member(self.desk.people, login), pin)
        self.let_in("till", "Front till", "Front")
        ada = self.device(ADA)
        catalogue.add_product(ada, sku="MUG-1", name="Mug", price=850)
        ada.sync()
        self.till = self.device(TILL)
        self.place: Place = stock.ensure_place(self.till, "pier")

    def book(self, quantity: int, person: str | None = None) -> None:
        who = tills.at_work(self.till) if person is None else person
        stock.receive(self.till, self.place, "MUG-1", quantity, actor=Actor(person=who))

    def switch(self, login: str) -> None:
        tills.switch_to(self.till, "pier", login, PINS[login], now_s=NOW_S)

    def truth(self, sql: str) -> list[tuple[object, ...]]:
        with self.desk.transaction() as tables:
            return [tuple(row) for row in tables.execute(sql)]

    def say(self, login: str) -> None:
        """Claim who is at work, as somebody does who has taken the till's file apart."""
        with self.till.transaction() as db:
            db.execute("UPDATE device SET at_work = ? WHERE id = 'till'", (login,))


@pytest.fixture
def shop(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    # Each PIN says how often it was hashed; the command's own test has the number of a shop.
    monkeypatch.setattr(pins, "ROUNDS", 1000)
    with ExitStack() as stack:
        yield Shop(tmp_path, database, stack)


def test_each_books_in_their_own_name_without_a_connection(shop: Shop) -> None:
    shop.switch("Dilan")
    shop.book(3)
    shop.switch("Mara")
    shop.book(5)
    with shop.till.transaction() as db:
        db.execute("UPDATE product SET price = 900")
    shop.switch("Dilan")
    shop.book(7)
    assert refused(shop.till) == []
    assert shop.truth(WHO) == [("Dilan", "till", 3), ("Mara", "till", 5), ("Dilan", "till", 7)]
    changed = "SELECT person, new_value FROM product_change WHERE field = 'price'"
    assert ("Mara", "900 EUR") in shop.truth(changed)


def test_somebody_has_their_own_rights_at_a_till(shop: Shop) -> None:
    shop.switch("Dilan")
    with shop.till.transaction() as db:
        db.execute("UPDATE product SET price = 1")
    assert refused(shop.till) == ["managers_only"]
    shop.switch("Ada")
    with shop.till.transaction() as db:
        db.execute("INSERT INTO shop (id, name) VALUES ('shop', 'Mine')")
    assert refused(shop.till) == ["owners_only"]
    with shop.till.transaction() as db:
        db.execute("UPDATE person SET name = 'Nobody' WHERE login = 'Mara'")
    assert refused(shop.till) == ["owners_only"]


def test_nothing_is_booked_in_the_name_of_a_till_or_of_who_is_not_at_work(shop: Shop) -> None:
    shop.book(1)
    assert refused(shop.till) == ["nobody_at_work"]
    shop.switch("Dilan")
    shop.book(1, person="Mara")
    assert refused(shop.till) == ["not_yours"]
    tills.leave(shop.till)
    shop.book(1)
    assert refused(shop.till) == ["nobody_at_work"]
    assert shop.truth(WHO) == []


def test_a_till_is_believed_only_of_who_has_a_pin_at_its_store(shop: Shop) -> None:
    for login, code in (("Eve", "no_pin_here"), ("Front till", "no_pin_here"),
                        ("Stranger", "not_let_in")):  # fmt: skip
        shop.say(login)
        shop.book(1, person=login)
        assert refused(shop.till) == [code], login
    assert shop.truth(WHO) == []


def test_another_device_cannot_say_who_is_at_work(shop: Shop) -> None:
    dilan = shop.device(DILAN)
    with dilan.transaction() as db:
        db.execute("UPDATE device SET at_work = 'Mara' WHERE id = 'till'")
    dilan.sync()
    assert [item.code for item in dilan.refused()] == ["rule:roster_is_kept"]


def test_who_is_disabled_works_there_no_more(shop: Shop) -> None:
    shop.switch("Dilan")
    shop.book(3)
    shop.till.sync()
    shop.book(4)
    change_member(shop.desk, "Dilan", disabled=True)
    assert refused(shop.till) == ["not_let_in"]
    assert shop.truth(WHO) == [("Dilan", "till", 3)]
    with pytest.raises(UsageError) as failed:
        shop.switch("Dilan")
    assert failed.value.code == "no_pin_here"


def test_hashes_are_on_tills_of_their_store_and_nowhere_else(shop: Shop) -> None:
    known = "SELECT login FROM pin ORDER BY login"
    assert [row[0] for row in shop.till.query(known)] == ["Ada", "Dilan", "Mara"]
    for principal in (ADA, DILAN):
        other = shop.device(Principal(principal.user, "second", write=principal.write,
                                      roles=principal.roles))  # fmt: skip
        assert other.query(known) == []
        other.close()
        (shop._folder / "second.db").unlink()
    forget_pin(shop.desk, find_member(shop.desk.people, "Ada"))
    change_member(shop.desk, "Mara", stores=["mill"])
    shop.till.sync()
    assert [row[0] for row in shop.till.query(known)] == ["Dilan"]
    change_member(shop.desk, "Mara", stores=["pier"])
    shop.till.sync()
    shop.switch("Mara")
    pins_of = {one.login: one.has_pin for one in list_staff(shop.desk)}
    assert pins_of == {"Ada": False, "Dilan": True, "Mara": True, "Eve": True, "Front till": False}


def test_wrong_pins_make_one_wait_longer_and_longer(shop: Shop) -> None:
    def tried(pin: str, now_s: int) -> str:
        try:
            tills.switch_to(shop.till, "pier", "Dilan", pin, now_s=now_s)
        except UsageError as error:
            return error.code
        return "in"

    now = NOW_S
    assert [tried("0001", now) for _ in range(4)] == ["wrong_pin"] * 3 + ["wait"]
    assert tried(PINS["Dilan"], now + 29) == "wait"
    assert tried("0001", now + 30) == "wrong_pin"
    assert tills.seconds_left(shop.till, now + 30) == 60
    assert tills.seconds_left(shop.till, now - 9_000) == 60, "a clock that was set back"
    assert tried(PINS["Dilan"], now + 90) == "in"
    assert tills.at_work(shop.till) == "Dilan"
    assert tills.seconds_left(shop.till, now + 90) == 0


@pytest.mark.parametrize(
    "pin", ["", "123", "123456789", "12a4", "\u0661\u0662\u0663\u0665", "0000", "1234"]
)
def test_what_is_no_pin_is_not_taken(pin: str) -> None:
    with pytest.raises(UsageError) as failed:
        pins.keep(pin, b"salt")
    assert failed.value.code == "bad_pin"


def test_waits_grow_up_to_a_limit() -> None:
    assert [pins.wait_s(n) for n in (0, 2, 3, 4, 5, 60)] == [0, 0, 30, 60, 120, 900]
