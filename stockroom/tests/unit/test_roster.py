"""Names of people and devices: told to all devices, changed by whose they are, and by the owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.server import Principal
from stockroom.demo.history import PEOPLE, SIGN_IN
from stockroom.names import read_names
from stockroom.server.people import DEMO, DEMO_MARK, add
from stockroom.shop.roster import tell_roster
from stockroom.shop.staff import (
    change_member,
    list_devices,
    list_staff,
    rename_device,
)
from tests.unit.two_stores import ADA, TwoStores, refused

DILAN = Principal("Dilan", "tablet", write=("catalog", "store/pier"), roles=("employee",))
OTHER = Principal("Eve", "phone", write=("catalog", "store/mill"), roles=("employee",))
NAMES = "SELECT login, name, role FROM person ORDER BY login"


@pytest.fixture
def shop(tmp_path: Path, database: str) -> Iterator[TwoStores]:
    with ExitStack() as stack:
        yield TwoStores(tmp_path, database, stack)


def sent(device: Replica, sql: str, *params: str) -> str:
    """Write, sync, and tell: `applied`, or the code of the refusal."""
    with device.transaction() as db:
        db.execute(sql, params)
    return next(iter(refused(device)), "applied")


def test_devices_know_people_and_who_works_at_their_store(shop: TwoStores) -> None:
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


def test_telling_twice_changes_nothing(shop: TwoStores) -> None:
    ada = shop.device(ADA)
    with shop.desk.transaction() as tables:
        tell_roster(tables, shop.desk.people)
    assert ada.sync().received_rows == 0


def test_a_name_is_changed_by_whose_it_is_and_by_the_owner(shop: TwoStores) -> None:
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


def test_a_device_is_named_by_whose_it_is_and_by_the_owner(shop: TwoStores) -> None:
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
def test_roles_and_places_are_told_by_the_server_alone(shop: TwoStores, lie: str) -> None:
    shop.let_in("tablet", "Dilan", "Android")
    for principal in (DILAN, ADA):
        device = shop.device(principal)
        assert sent(device, lie) == "roster_is_kept"


def test_the_demos_people_have_names_where_they_sign_in_and_elsewhere(shop: TwoStores) -> None:
    signing_in = {person.name: person.called for person in DEMO}
    assert {login: name for login, name, _ in PEOPLE if login in SIGN_IN}.items() <= (
        signing_in.items()
    )
    add(shop.server.people, DEMO[-1], marks=(DEMO_MARK,))
    with shop.desk.transaction() as tables:
        tell_roster(tables, shop.desk.people)
    assert read_names(shop.device(ADA)).person("dilan") == "Dilan Reyes"
