"""A shop is opened and kept by command: on SQLite and on PostgreSQL, once, and safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import UsageError
from holdfast.server.identity import passwords
from stockroom.cli import main
from stockroom.permissions import BY_EMPLOYEES, DEEDS
from stockroom.rules.roles import MANAGING
from stockroom.server.people import Person, add
from stockroom.shop.desk import open_desk
from stockroom.shop.opening import Opening, Shop, checked, has_owner, open_shop

PASSWORD = "lantern boats 4711 quay"
Command = Callable[..., dict[str, Any]]


@pytest.fixture
def stockroom(database: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `stockroom` on the shop; its document, or its error's code."""

    def run(*arguments: str) -> dict[str, Any]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--database", database, "--json"])
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["ok"] is (ended.value.code == 0)
        return found if found["ok"] else found["error"]

    return run


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return str(file)


def test_a_shop_from_nothing_to_its_people(
    stockroom: Command, database: str, password_file: str
) -> None:
    setup = (
        "setup", "--shop", "Lantern & Söhne", "--currency", "eur", "--store", "Harbour  Street",
        "--owner", "Ada Marsh", "--password-file", password_file,
    )  # fmt: skip
    assert stockroom(*setup)["new"] is True
    again = stockroom(*setup)
    assert (again["new"], again["shop"]["currency"]) == (False, "EUR")
    assert stockroom(*setup, "--shop", "Another")["code"] == "another_shop"
    assert stockroom(*setup, "--store", "Pier")["code"] == "set_up_already"
    assert stockroom(*setup, "--owner", "Eve Ross")["code"] == "set_up_already"

    assert stockroom("store", "add", "متجر الميناء")["new"] is True
    assert stockroom("store", "add", "harbour street")["new"] is False
    assert stockroom("store", "rename", "متجر الميناء", "Pier 5")["name"] == "Pier 5"
    assert stockroom("store", "rename", "Pier 5", "Harbour Street")["code"] == "exists"
    assert stockroom("store", "rename", "Nowhere", "Else")["code"] == "unknown_store"
    names = [one["name"] for one in stockroom("store", "list")["stores"]]
    assert names == ["Harbour Street", "Pier 5"]

    employee = ("user", "add", "Dilan Reyes", "--role", "employee")
    assert stockroom(*employee)["code"] == "no_store"
    assert stockroom(*employee, "--store", "pier 5")["new"] is True
    assert stockroom(*employee, "--store", "Pier 5")["new"] is False
    assert stockroom(*employee, "--store", "Harbour Street")["code"] == "exists"
    assert stockroom("user", "add", "Eve", "--role", "boss")["code"] == "bad_role"
    moved = stockroom("user", "change", "dilan reyes", "--store", "Harbour Street")
    assert (moved["role"], moved["stores"]) == ("employee", ["Harbour Street"])
    assert stockroom("user", "disable", "Ada Marsh")["code"] == "last_owner"
    assert stockroom("user", "change", "Ada Marsh", "--role", "employee")["code"] == "last_owner"
    assert stockroom("user", "disable", "Dilan Reyes")["disabled"] is True
    assert stockroom("user", "disable", "Dilan Reyes")["disabled"] is True
    assert stockroom("user", "invite", "Dilan Reyes")["code"] == "bad_choice"
    assert stockroom("user", "enable", "Dilan Reyes")["disabled"] is False
    assert len(stockroom("user", "invite", "Dilan Reyes")["code"]) == 14
    stockroom("user", "password", "Dilan Reyes", "--password-file", password_file)
    shown = {one["name"]: one for one in stockroom("user", "list")["users"]}
    assert {name: one["role"] for name, one in shown.items()} == {
        "Ada Marsh": "owner", "Dilan Reyes": "employee",
    }  # fmt: skip
    assert stockroom("device", "list")["devices"] == []
    assert stockroom("device", "revoke", "till")["code"] == "unknown_device"

    with open_desk(database) as desk:
        users = {user.name: user for user in desk.people.users()}
        ada, dilan = users["Ada Marsh"], users["Dilan Reyes"]
        assert passwords.is_right(ada.password, PASSWORD)
        assert ada.write == ("catalog", "store/*", "staff", "cost")
        assert dilan.write == ("catalog", "store/harbour-street")
        assert not MANAGING.intersection(dilan.roles)


def test_what_roles_may_is_told_and_changed(stockroom: Command, password_file: str) -> None:
    setup = ("setup", "--shop", "S", "--store", "S", "--owner", "Ada", "--password-file")
    stockroom(*setup, password_file)
    before = stockroom("role", "list")["roles"]
    assert before["employee"] == {deed: deed in BY_EMPLOYEES for deed in DEEDS}
    assert all(before["manager"].values())
    assert stockroom("role", "allow", "employee", "price")["changed"] is True
    assert stockroom("role", "allow", "employee", "price")["changed"] is False
    assert stockroom("role", "deny", "manager", "archive")["changed"] is True
    assert stockroom("role", "deny", "owner", "sell")["code"] == "bad_role"
    assert stockroom("role", "deny", "manager", "dance")["code"] == "bad_deed"
    now = stockroom("role", "list")["roles"]
    assert now["employee"]["price"] and not now["manager"]["archive"]
    assert stockroom("role", "allow", "manager", "archive")["changed"] is True
    assert all(stockroom("role", "list")["roles"]["manager"].values())


def test_what_makes_no_shop_leaves_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], password_file: str
) -> None:
    """Neither wrong words, nor a command that needs a shop, leaves a database behind."""
    database = tmp_path / "none.db"
    setup = ["setup", "--shop", "S", "--store", "S", "--owner", "Ada"]
    too_short = tmp_path / "short"
    too_short.write_text("abc")
    for arguments, code in (
        (["store", "list"], "no_shop"),
        (["user", "list"], "no_shop"),
        (["device", "list"], "no_shop"),
        ([*setup, "--currency", "XXQ", "--password-file", password_file], "bad_currency"),
        ([*setup, "--time-zone", "Mars/One", "--password-file", password_file], "bad_time_zone"),
        ([*setup, "--password-file", str(too_short)], "bad_password"),
        ([*setup, "--password-file", str(tmp_path / "absent")], "no_password"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--database", str(database), "--json"])
        assert ended.value.code == 2
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["error"]["code"] == code
        assert not database.exists(), code


def test_a_set_up_that_was_cut_off_is_taken_up(tmp_path: Path) -> None:
    """Without an owner there is no shop; what an older version's first start left is no owner."""
    wanted = Opening(
        shop=Shop(name="Lantern", currency="JPY", language="en", time_zone="Asia/Tokyo"),
        store="Ginza", owner="Ada Marsh", password=PASSWORD,
    )  # fmt: skip
    with open_desk(str(tmp_path / "shop.db"), existing=False) as desk:
        add(desk.people, Person(name="admin", role="admin", stores=("*",)))
        desk.people.invite("admin")
        assert not has_owner(desk.people)
        with pytest.raises(UsageError, match="password"):
            open_shop(desk, Opening(shop=wanted.shop, store="X", owner="Eve", password=None))
        with desk.transaction() as tables:
            values = "'shop', 'Half', 'EUR', 'en', 'UTC'"
            tables.execute(
                f"INSERT INTO shop (id, name, currency, language, time_zone) VALUES ({values})"
            )
        assert open_shop(desk, checked(wanted)).new
        assert has_owner(desk.people)
        assert not open_shop(desk, wanted).new
        (admin,) = [user for user in desk.people.users() if user.name == "admin"]
        assert admin.disabled
