"""`stockroom serve` as a shop starts it: the first admin's code, the demo, headers of the pages."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast.testing import ServerProcess
from tests.acceptance.conftest import Run

pytestmark = pytest.mark.acceptance

INDEX = (
    '<!doctype html><title>Stockroom</title><script type="module" src="/assets/app.js"></script>'
)


def serving(folder: Path, *arguments: str) -> ServerProcess:
    (folder / "web" / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "web" / "index.html").write_text(INDEX)
    (folder / "web" / "assets" / "app-0a1b2c3d4e.js").write_text("export {};\n")
    command = [
        sys.executable, "-m", "stockroom.cli", "serve", "--port", "{port}",
        "--database", str(folder / "shop.db"), "--web", str(folder / "web"), *arguments,
    ]  # fmt: skip
    return ServerProcess(command, log_path=folder / "server.log")


def told(folder: Path) -> str:
    return (folder / "server.out").read_text()


def client(server: ServerProcess) -> httpx2.Client:
    return httpx2.Client(base_url=server.url, trust_env=False, timeout=60)


def test_a_shop_is_set_up_once_by_the_link_of_any_start(tmp_path: Path) -> None:
    asked = {
        "shop": "Lantern", "currency": "EUR", "store": "Harbour", "owner": "Ada Marsh",
        "password": "quay lantern 4711",
    }  # fmt: skip
    with serving(tmp_path) as server:
        (first,) = re.findall(r"set up at \S+/#/enrol/(\S+)", told(tmp_path))
        assert server.terminate() == 0
        server.start()
        code = re.findall(r"set up at \S+/#/enrol/(\S+)", told(tmp_path))[-1]
        assert code != first
        with client(server) as browser:
            assert browser.get("/v1/shop").json()["code_needed"] is False
            away = {"x-forwarded-for": "192.0.2.7"}
            assert browser.get("/v1/shop", headers=away).json()["code_needed"] is True

            def refused(expected: int, headers: dict[str, str], **changed: str) -> str:
                answer = browser.post("/v1/shop/setup", json=asked | changed, headers=headers)
                assert answer.status_code == expected, answer.text
                found: str = answer.json()["error"]["code"]
                return found

            assert refused(403, away) == "wrong_code"
            assert refused(403, away, code=first) == "wrong_code"
            assert refused(400, {}, password="short") == "bad_password"
            assert refused(400, {}, currency="XXQ") == "bad_currency"
            foreign = {"origin": "http://evil.example", "holdfast-token": "cookie"}
            assert refused(403, foreign) == "wrong_origin"
            plain = browser.post("/v1/shop/setup", content=b"{}")
            assert plain.status_code == 415
            done = browser.post("/v1/shop/setup", json=asked | {"code": code}, headers=away)
            assert done.status_code == 200, done.text
            assert browser.get("/v1/shop").json() == {"set_up": True}
            assert refused(409, {}) == "set_up_already"
            sign_in = {"protocol": 1, "user": "Ada Marsh", "password": asked["password"]}
            enrolled = browser.post("/v1/enrol", json=sign_in)
            assert enrolled.status_code == 200, enrolled.text
            bearer = {"authorization": f"Bearer {enrolled.json()['token']}"}
            session = browser.get("/v1/session", headers=bearer).json()
            assert session["scopes"]["write"] == ["catalog", "store/*", "staff", "cost"]
        assert server.terminate() == 0
        server.start()
        assert told(tmp_path).count("set up at") == 2
        assert server.terminate() == 0


def test_people_are_looked_after_by_who_may(tmp_path: Path, run: Run) -> None:
    """An owner sees to all, a manager to the employees of their store, an employee to nobody."""
    password = tmp_path / "password"
    password.write_text("quay lantern 4711\n")
    shop = ("--database", tmp_path / "shop.db")
    setup = ("--shop", "Lantern", "--store", "Harbour", "--owner", "Ada")
    assert run("setup", *setup, "--password-file", password, *shop).code == 0
    assert run("store", "add", "Pier", *shop).code == 0
    with serving(tmp_path) as server, client(server) as browser:
        assert "set up at" not in told(tmp_path)

        def enrolled(**who: str) -> dict[str, str]:
            answer = browser.post("/v1/enrol", json={"protocol": 1, "name": "phone", **who})
            assert answer.status_code == 200, answer.text
            return {"authorization": f"Bearer {answer.json()['token']}"}

        def call(who: dict[str, str], path: str, **asked: object) -> tuple[int, dict[str, Any]]:
            answer = browser.post(f"/v1/shop{path}", json=asked, headers=who)
            return answer.status_code, answer.json()

        ada = enrolled(user="Ada", password="quay lantern 4711")
        for name, role, store in (
            ("Mira", "manager", "harbour"), ("Dilan", "employee", "harbour"),
            ("Edith", "employee", "pier"),
        ):  # fmt: skip
            assert call(ada, "/people", name=name, role=role, stores=[store])[0] == 200
        tokens = {}
        for name in ("Mira", "Dilan"):
            status, made = call(ada, "/people/invite", login=name)
            assert status == 200
            tokens[name] = enrolled(code=made["code"])
        mira, dilan = tokens["Mira"], tokens["Dilan"]

        def seen(who: dict[str, str]) -> list[str]:
            listed = browser.get("/v1/shop/people", headers=who).json()
            return [one["name"] for one in listed["people"]]

        assert seen(ada) == ["Ada", "Dilan", "Edith", "Mira"]
        assert seen(mira) == ["Dilan", "Mira"]
        assert browser.get("/v1/shop/people", headers=dilan).status_code == 403
        assert browser.get("/v1/shop/people").status_code == 401
        for path, asked in (
            ("/people", {"name": "X", "role": "manager", "stores": ["harbour"]}),
            ("/people", {"name": "X", "role": "employee", "stores": ["pier"]}),
            ("/people", {"name": "X", "role": "employee", "stores": []}),
            ("/people/change", {"login": "Ada", "password": "another lantern 12"}),
            ("/people/change", {"login": "Edith", "disabled": True}),
            ("/people/change", {"login": "Dilan", "role": "owner"}),
            ("/people/change", {"login": "Dilan", "stores": ["pier"]}),
            ("/people/change", {"login": "Mira", "role": "owner"}),
            ("/people/invite", {"login": "Ada"}),
            ("/people/invite", {"login": "Edith"}),
            ("/stores", {"name": "X"}),
        ):
            assert call(mira, path, **asked)[1]["error"]["code"] == "forbidden", (path, asked)
            assert call(dilan, path, **asked)[1]["error"]["code"] == "forbidden", (path, asked)
        listed = browser.get("/v1/shop/people", headers=ada).json()
        devices = {one["user"]: one["device"] for one in listed["devices"]}
        assert call(mira, "/devices/revoke", device=devices["Ada"])[0] == 403
        assert call(mira, "/devices/revoke", device=devices["Dilan"])[0] == 200
        assert browser.get("/v1/session", headers=dilan).status_code == 401
        assert call(ada, "/people/change", login="Ada", disabled=True)[1]["error"]["code"] == (
            "last_owner"
        )

        goods = b"SKU,Name,Price,Quantity\nM1,Mug,2.50,3\nM2,,1,1\n"

        def bring(who: dict[str, str], **asked: str) -> dict[str, Any]:
            found: dict[str, Any] = browser.post(
                "/v1/shop/goods", params=asked, content=goods, headers=who
            ).json()
            return found

        assert bring(mira, store="pier")["error"]["code"] == "forbidden"
        counts = {"new": 1, "changed": 0, "same": 0, "wrong": 1}
        assert bring(mira, store="harbour")["counts"] == counts
        assert bring(mira, store="harbour", write="1")["counts"] == counts
        assert bring(ada, store="harbour", write="1")["counts"] == counts | {"new": 0, "same": 1}
        # An employee brings in what the shop lets employees do: what is there is priced by others.
        status, made = call(ada, "/people/invite", login="Dilan")
        dilan = enrolled(code=made["code"])
        goods = b"SKU,Name,Price,Quantity,Cost\nM1,Mug,9.50,3,\nM3,Jar,4.00,2,1.00\nM1,Mug,,,1\n"
        brought = bring(dilan, store="harbour", write="1")
        assert brought["counts"] == {"new": 1, "changed": 0, "same": 0, "wrong": 2}
        assert [[why["code"] for why in line["reasons"]] for line in brought["lines"]] == [
            ["not_allowed"], [], ["cost_of_managers"],
        ]  # fmt: skip
        assert bring(dilan, store="pier")["error"]["code"] == "forbidden"
        assert run("role", "deny", "employee", "add", *shop).code == 0
        goods = b"SKU,Name\nM4,Jug\n"
        assert bring(dilan, store="harbour")["counts"]["wrong"] == 1
        assert server.terminate() == 0


def test_the_demo_is_filled_once_and_everybody_sees_their_store(tmp_path: Path) -> None:
    with serving(tmp_path, "--demo") as server:
        (name, password) = re.findall(r"Sign in as (\w+) with the password: (.+)", told(tmp_path))[
            0
        ]
        with client(server) as browser:
            assert browser.get("/v1/shop").json() == {"set_up": True}
            for user, scopes in ((name, "store/*"), ("ben", "store/2"), ("dilan", "store/1")):
                asked = {"protocol": 1, "user": user, "password": password}
                done = browser.post("/v1/enrol", json=asked, headers={"holdfast-token": "cookie"})
                assert done.status_code == 200, done.text
                assert scopes in browser.get("/v1/session").json()["scopes"]["write"]
        assert server.terminate() == 0
    sold = "SELECT count(*) FROM movement"
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        first = db.execute(sold).fetchone()
    with serving(tmp_path, "--demo") as server:
        assert server.terminate() == 0
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        assert db.execute(sold).fetchone() == first
    assert first[0] > 5_000


@pytest.mark.parametrize(
    ("word", "number"),
    [("Making up", signal.SIGINT), ("Writing it", signal.SIGTERM), ("Taking it in", signal.SIGINT)],
)
def test_a_large_demo_shows_how_far_it_is_and_can_be_interrupted(
    tmp_path: Path, word: str, number: signal.Signals
) -> None:
    """At any step it ends with 0, and the next start makes the whole demo of what it finds."""
    size = ["--demo-products", "9000", "--demo-movements", "9000"]
    command = [sys.executable, "-m", "stockroom.cli", "serve", "--demo", "--port", "0", *size]
    # As a shell starts what it puts into the background.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve = subprocess.Popen(
            [*command, "--database", str(tmp_path / "shop.db")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"},
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    with serve:
        try:
            assert serve.stderr is not None
            said = ""
            while word not in said and (piece := serve.stderr.read(1)):
                said += piece
            serve.send_signal(number)
            out, rest = serve.communicate(timeout=60)
        finally:
            serve.kill()
    assert serve.returncode == 0, said + rest
    assert "Traceback" not in rest
    # Where this test was slow to ask, it was ready by then.
    assert ("what was not whole is not there" in rest) != ("ready" in out)
    count = "SELECT (SELECT count(*) FROM product), (SELECT count(*) FROM movement)"
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        found = db.execute(count).fetchone()
    assert found in ([(9000, 9000)] if word == "Taking it in" else [(0, 0), (9000, 9000)])

    with serving(tmp_path, "--demo", *size) as server:
        with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
            assert db.execute(count).fetchone() == (9000, 9000)
            taken_in = "SELECT count(*) FROM holdfast_row WHERE tbl = 'movement'"
            assert db.execute(taken_in).fetchone() == (9000,)
        assert server.terminate() == 0


def test_pages_and_their_headers(tmp_path: Path) -> None:
    with serving(tmp_path) as server, client(server) as browser:
        led = browser.get("/stock/some-product")
        assert (led.status_code, led.headers["location"]) == (307, "/")
        for path in ("/", "/index.html"):
            page = browser.get(path)
            assert (page.status_code, page.text) == (200, INDEX)
            assert page.headers["cache-control"] == "no-cache"
            policy = page.headers["content-security-policy"]
            assert "script-src 'self' 'wasm-unsafe-eval'" in policy
            assert "unsafe-inline" not in policy
            assert "frame-ancestors 'none'" in policy
        script = browser.get("/assets/app-0a1b2c3d4e.js")
        assert script.headers["cache-control"].endswith("immutable")
        assert script.headers["x-content-type-options"] == "nosniff"
        for path in ("/assets/none.js", "/../../etc/passwd.txt", "/%2e%2e/%2e%2e/shop.db"):
            assert browser.get(path).status_code == 404, path
        assert browser.post("/").status_code == 405
        assert browser.get("/v1/session").status_code == 401
        assert browser.get("/v1/health").status_code == 200
        assert browser.get("/v1/none").json()["error"]["code"] == "not_found"


def test_without_a_build_it_says_so_and_still_serves_devices(tmp_path: Path) -> None:
    with serving(tmp_path, "--web", str(tmp_path / "none")) as server, client(server) as browser:
        page = browser.get("/")
        assert (page.status_code, "make web" in page.text) == (503, True)
        assert browser.get("/v1/health").status_code == 200


def test_wrong_use(run: Run, tmp_path: Path) -> None:
    ran = run("serve", "--demo", "--database", "postgresql://nobody@127.0.0.1:1/none")
    assert ran.code == 2
    assert "the demo is for a SQLite file" in ran.err
    other = tmp_path / "other.db"
    other.write_text("no database, but long enough to look like something " * 40)
    for wrong in (("--demo-products", "9"), ("--demo", "--demo-products", "9999999")):
        assert run("serve", "--database", tmp_path / "new.db", *wrong).code == 2
    assert not (tmp_path / "new.db").exists()
    ran = run("serve", "--database", other)
    assert ran.code == 1
    assert "Traceback" not in ran.err


def sign_in(server: ServerProcess, password: str, **fields: str) -> int:
    with client(server) as browser:
        asked = {"protocol": 1, "user": "ada", "password": password, **fields}
        return browser.post("/v1/enrol", json=asked).status_code


def test_a_demo_that_is_over_lets_nobody_in(tmp_path: Path) -> None:
    with serving(tmp_path, "--demo") as server, client(server) as browser:
        asked = {"protocol": 1, "user": "ada", "password": "stockroom demo"}
        token = browser.post("/v1/enrol", json=asked).json()["token"]
    with serving(tmp_path) as server, client(server) as browser:
        assert sign_in(server, "stockroom demo") == 401
        bearer = {"authorization": f"Bearer {token}"}
        assert browser.get("/v1/session", headers=bearer).status_code == 401
        assert "ada, ben, dilan" in server.log_path.read_text()
        assert re.findall(r"/#/enrol/(\S+)", told(tmp_path)), "somebody has to come in"
    with serving(tmp_path, "--demo") as server:
        assert sign_in(server, "stockroom demo") == 200


def test_a_demo_that_others_can_reach_has_a_password_of_its_own(tmp_path: Path) -> None:
    with serving(tmp_path, "--demo", "--host", "0.0.0.0") as server:
        assert "can be reached by others" in server.log_path.read_text()
        (password,) = re.findall(r"with the password: (\S+)", told(tmp_path))
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        with httpx2.Client(base_url=url, trust_env=False, timeout=60) as browser:
            asked = {"protocol": 1, "user": "ada", "password": "stockroom demo"}
            assert browser.post("/v1/enrol", json=asked).status_code == 401
            asked["password"] = password
            assert browser.post("/v1/enrol", json=asked).status_code == 200


def test_a_shop_is_no_demo(tmp_path: Path, run: Run) -> None:
    (tmp_path / "password").write_text("a lantern by the sea", encoding="utf-8")
    shop = ("--shop", "Lantern", "--currency", "EUR", "--store", "Harbour", "--owner", "Ada")
    kept = ("--database", tmp_path / "shop.db", "--password-file", tmp_path / "password")
    assert run("setup", *shop, *kept).code == 0
    ran = run("serve", "--demo", "--database", tmp_path / "shop.db", "--port", "0")
    assert (ran.code, "not_a_demo" in ran.err) == (2, True), ran.err


def test_strangers_cost_nothing_and_names_are_ours(tmp_path: Path) -> None:
    with serving(
        tmp_path, "--proxy", "127.0.0.1", "--public-url", "https://shop.example"
    ) as server:
        with client(server) as browser:
            for cookie in ("\\a" * 30_000, "a=b;" * 15_000):
                headers = {"cookie": f'holdfast_token="{cookie}"'}
                assert browser.get("/v1/health", headers=headers).status_code == 431
            headers = {"cookie": 'holdfast_token="' + "\\a" * 7000 + '"'}
            assert browser.get("/v1/health", headers=headers).status_code == 200
            evil = browser.get("/v1/health", headers={"host": "evil.example"})
            assert evil.json()["error"]["code"] == "wrong_host"
            # A person who came by a wrong name is told so; the app is not there by it.
            lost = browser.get("/", headers={"host": "evil.example"})
            assert (lost.status_code, INDEX in lost.text) == (421, False)
            assert "does not answer by that name" in lost.text
            seen = browser.post(
                "/v1/enrol",
                json={"protocol": 1, "user": "ada", "password": "a guess"},
                headers={
                    "x-forwarded-for": "203.0.113.7", "host": "stockroom",
                    "origin": "https://shop.example", "holdfast-token": "cookie",
                },
            )  # fmt: skip
            assert seen.status_code == 401
            assert seen.headers["strict-transport-security"]
        lines = [line for line in server.log_path.read_text().splitlines() if "sign_in" in line]
        assert any('"203.0.113.7"' in line and '"ada"' in line for line in lines), lines
