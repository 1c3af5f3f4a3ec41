"""Names of people and devices: told to all devices, changed by whose they are, and by the owner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server
from holdfast.server.assembly import Server
from stockroom.demo.history import PEOPLE, SIGN_IN
from stockroom.names import read_names
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.server.people import DEMO, DEMO_MARK, Person, add
from stockroom.shop.desk import Desk, desk_of
from stockroom.shop.roster import tell_roster
from stockroom.shop.staff import (
    add_member,
    change_member,
    list_devices,
    list_staff,
    rename_device,
)
from stockroom.shop.stores import add_store

ADA = Principal("Ada", "office", write=("catalog", "store/*", "staff", "cost"), roles=("admin",))
DILAN = Principal("Dilan", "tablet", write=("catalog", "store/pier"), roles=("employee",))
OTHER = Principal("Eve", "phone", write=("catalog", "store/mill"), roles=("employee",))
NAMES = "SELECT login, name, role FROM person ORDER BY login"


class Shop:
    """A server with two stores and three people."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        def nobody(_headers: Mapping[str, str]) -> Principal:
            raise AssertionError

        self._folder, self._stack = folder, stack
        self.server: Server = stack.enter_context(
            open_server(schema, database, nobody, rules=rules)
        )
        # As an older version has left it: people, and no rows that tell of them.
        add(self.server.people, Person(name="Ada", role="admin", stores=("*",)))
        self.desk: Desk = desk_of(self.server, database)
        for name in ("Pier", "Mill"):
            add_store(self.desk, name)
        add_member(self.desk, "Dilan", role="employee", stores=["pier"])
        add_member(self.desk, "Mara", role="manager", stores=["pier", "mill"])

    def device(self, principal: Principal) -> Replica:
        transport = MemoryTransport(self.server.service, principal)
        path = self._folder / f"{principal.user}.db"
        replica = self._stack.enter_context(Replica.open(path, schema, transport=transport))
        replica.sync()
        return replica

    def let_in(self, device: str, user: str, name: str) -> None:
        """A device as it is in the rows that all devices have."""
        with self.desk.transaction() as tables:
            tables.execute(
                "INSERT INTO device (id, name, login) VALUES (?, ?, ?)", (device, name, user)
            )


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Iterator[Shop]:
    with ExitStack() as stack:
        yield Shop(tmp_path, database, stack)


def sent(device: Replica, sql: str, *params: str) -> str:
    """Write, sync, and tell: `applied`, or the code of the refusal."""
    with device.transaction() as db:
        db.execute(sql, params)
    device.sync()
    waiting = device.refused()
    for item in waiting:
        device.discard(item.id)
    device.sync()
    return waiting[0].code.removeprefix("rule:") if waiting else "applied"


def test_devices_know_people_and_who_works_at_their_store(shop: Shop) -> None:
    dilan, eve = shop.device(DILAN), shop.device(OTHER)
    everybody = [
        ("Ada", "Ada", "owner"),
        ("Dilan", "Dilan", "employee"),
        ("Mara", "Mara", "manager"),
    ]
    assert [tuple(row) for row in dilan.query(NAMES)] == everybody
    works = "SELECT store_id, login FROM works_at ORDER BY login"
    assert [tuple(row) for row in dilan.query(works)] == [("pier", "Dilan"), ("pier", "Mara")]
    assert [tuple(row) for row in eve.query(works)] == [("mill", "Mara")]
    change_member(shop.desk, "Mara", stores=["mill"])
    change_member(shop.desk, "Dilan", disabled=True, called="Dilan Reyes")
    dilan.sync()
    assert [tuple(row) for row in dilan.query(works)] == []
    assert ("Dilan", "Dilan Reyes", "") in [tuple(row) for row in dilan.query(NAMES)]


def test_telling_twice_changes_nothing(shop: Shop) -> None:
    ada = shop.device(ADA)
    with shop.desk.transaction() as tables:
        tell_roster(tables, shop.desk.people)
    assert ada.sync().received_rows == 0


def test_a_name_is_changed_by_whose_it_is_and_by_the_owner(shop: Shop) -> None:
    dilan, ada = shop.device(DILAN), shop.device(ADA)
    rename = "UPDATE person SET name = ? WHERE login = ?"
    assert sent(dilan, rename, "Dilan Reyes", "Dilan") == "applied"
    assert sent(dilan, rename, "The boss", "Mara") == "owners_only"
    assert sent(ada, rename, "Mara Lund", "Mara") == "applied"
    assert sent(ada, rename, "x" * 101, "Mara") == "bad_name"
    dilan.sync()
    names = read_names(dilan)
    assert (names.person("Mara"), names.person("Dilan")) == ("Mara Lund", "Dilan Reyes")
    shown = {one.login: one.name for one in list_staff(shop.desk)}
    assert shown == {"Ada": "Ada", "Dilan": "Dilan Reyes", "Mara": "Mara Lund"}


def test_a_device_is_named_by_whose_it_is_and_by_the_owner(shop: Shop) -> None:
    shop.let_in("tablet", "Dilan", "Android")
    shop.let_in("phone", "Mara", "iPhone")
    dilan, ada = shop.device(DILAN), shop.device(ADA)
    rename = "UPDATE device SET name = ? WHERE id = ?"
    assert sent(dilan, rename, "Dilan's tablet", "tablet") == "applied"
    assert sent(dilan, rename, "Mine", "phone") == "owners_only"
    assert sent(ada, rename, "Counter phone", "phone") == "applied"
    rename_device(shop.desk, "tablet", " Shelf  tablet ")
    ada.sync()
    assert read_names(ada).both("Dilan", "tablet") == "Dilan, Shelf tablet"
    assert list_devices(shop.desk) == []  # none of them was let in by the registry


@pytest.mark.parametrize(
    "lie",
    [
        "UPDATE person SET role = 'owner' WHERE login = 'Dilan'",
        "INSERT INTO works_at (store_id, login) VALUES ('pier', 'Eve')",
        "DELETE FROM works_at WHERE login = 'Dilan'",
        "UPDATE device SET login = 'Mara' WHERE id = 'tablet'",
        "DELETE FROM person WHERE login = 'Dilan'",
    ],
)
def test_roles_and_places_are_told_by_the_server_alone(shop: Shop, lie: str) -> None:
    shop.let_in("tablet", "Dilan", "Android")
    for principal in (DILAN, ADA):
        device = shop.device(principal)
        assert sent(device, lie) == "roster_is_kept"


def test_the_demos_people_have_names_where_they_sign_in_and_where_they_do_not(shop: Shop) -> None:
    signing_in = {person.name: person.called for person in DEMO}
    assert {login: name for login, name, _ in PEOPLE if login in SIGN_IN}.items() <= (
        signing_in.items()
    )
    add(shop.server.people, DEMO[-1], marks=(DEMO_MARK,))
    with shop.desk.transaction() as tables:
        tell_roster(tables, shop.desk.people)
    assert read_names(shop.device(ADA)).person("dilan") == "Dilan Reyes"
