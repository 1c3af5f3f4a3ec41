"""A till from a shell: two people, no server, each by their PIN; the ledger says who."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Run
from tests.acceptance.test_serve import client, serving

pytestmark = pytest.mark.acceptance

PINS = {"Dilan": "4711", "Mira": "80305"}


def test_two_people_share_a_till_while_the_server_is_away(tmp_path: Path, run: Run) -> None:
    secret = tmp_path / "password"
    secret.write_text("quay lantern 4711\n")
    shop = ("--database", tmp_path / "shop.db", "--json")
    setup = ("--shop", "Lantern", "--store", "Harbour", "--owner", "Ada")
    assert run("setup", *setup, "--password-file", secret, *shop).code == 0
    for name, role in (("Mira", "manager"), ("Dilan", "employee"), ("Front", "till")):
        added = run("user", "add", name, "--role", role, "--password-file", secret, *shop)
        assert added.document["role"] == role
    for name, pin in PINS.items():
        (tmp_path / name).write_text(f"{pin}\n")
        assert run("user", "pin", name, "--pin-file", tmp_path / name, *shop).code == 0
    missing = run("user", "pin", "Dilan", "--pin-file", tmp_path / "none", *shop)
    assert missing.document["error"]["code"] == "no_pin"
    till_pin = run("user", "pin", "Front", "--pin-file", tmp_path / "Mira", *shop)
    assert till_pin.document["error"]["code"] == "is_till"

    def device(*arguments: object, code: int = 0) -> dict[str, Any]:
        ran = run("device", "--db", tmp_path / "till.db", *arguments, "--json")
        assert ran.code == code, (arguments, ran.out, ran.err)
        return ran.document

    with serving(tmp_path) as server, client(server) as browser:
        token = tmp_path / "token"
        token.write_text(_token(browser, "Front", "quay lantern 4711"))
        way = ("--server", server.url, "--token-file", token)
        device(*way, "--store", "harbour", "sync")
        server.kill()

        device("switch", "Mira", "--pin-file", tmp_path / "Mira")
        device("product", "add", "--sku", "MUG-1", "--name", "Blue mug", "--price", "8.50")
        device("receive", "MUG-1", 24)
        wrong = device("switch", "Dilan", "--pin-file", tmp_path / "Mira", code=2)
        assert wrong["error"]["code"] == "wrong_pin"
        device("switch", "Dilan", "--pin-file", tmp_path / "Dilan")
        device("adjust", "MUG-1", "--by", -3, "--reason", "sale")
        device("product", "edit", "MUG-1", "--price", "1.00")
        device("lock")
        device("adjust", "MUG-1", "--by", -1, "--reason", "sale")

        server.start()
        device(*way, "sync")
        refused = {item["code"] for item in device("inbox")["refused"]}
        assert refused == {"rule:managers_only", "rule:nobody_at_work"}
        ledger = device("stock", "MUG-1", "--ledger")["ledger"]
        who = {(one["person"], one["quantity"]) for one in ledger}
        assert {("Mira", 24), ("Dilan", -3)} <= who

        # A PIN is set by whose it is; a manager takes it away.
        mira, dilan = (
            {"authorization": f"Bearer {_token(browser, name, secret.read_text().strip())}"}
            for name in ("Mira", "Dilan")
        )
        for who_asks, asked, status in (
            (dilan, {"pin": "2580"}, 200), (mira, {"pin": "2580", "login": "Dilan"}, 403),
            (dilan, {"pin": "12"}, 400), (dilan, {"login": "Mira"}, 403),
            (mira, {"login": "Dilan"}, 200),
        ):  # fmt: skip
            answer = browser.post("/v1/shop/people/pin", json=asked, headers=who_asks)
            assert answer.status_code == status, (asked, answer.text)
        device(*way, "sync")
        gone = device("switch", "Dilan", "--pin-file", tmp_path / "Dilan", code=2)
        assert gone["error"]["code"] == "no_pin_here"


def _token(browser: httpx2.Client, user: str, password: str) -> str:
    sign_in = {"protocol": 1, "name": "device", "user": user, "password": password}
    answer = browser.post("/v1/enrol", json=sign_in)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])
