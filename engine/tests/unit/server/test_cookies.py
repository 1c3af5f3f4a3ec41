"""Browsers: the token is in a cookie, out of reach of scripts and of other sites."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from holdfast.schema.model import Column, Schema, Table
from holdfast.server.assembly import open_server
from holdfast.server.http.cookies import COOKIE, TokenCookies
from holdfast.server.http.front import FrontOptions
from holdfast.server.run import Stopper, serve

SCHEMA = Schema(
    name="counter",
    tables=(Table("stock", ("sku",), (Column("sku"), Column("name")), scopes=("main",)),),
)
ASKED = {"protocol": 1, "user": "ann", "password": "correct horse"}
WANTED = {"holdfast-token": "cookie"}


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[httpx2.Client]:
    """A client that keeps cookies, as a browser does."""
    stopper, ready, urls = Stopper(), threading.Event(), list[str]()

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    with open_server(SCHEMA, tmp_path / "server.db") as server:
        server.people.add_user("ann", read=["main"], password="correct horse")
        app = TokenCookies(server.app)
        thread = threading.Thread(
            target=serve,
            args=(app, "127.0.0.1", 0, on_ready),
            kwargs={
                "stopper": stopper,
                "on_stop": server.hub.close,
                "front": FrontOptions(hosts=("shop.example",)),
            },
        )
        thread.start()
        assert ready.wait(30)
        with httpx2.Client(base_url=urls[0], trust_env=False, timeout=60) as client:
            yield client
        stopper.stop()
        thread.join(15)
        assert not thread.is_alive()


def enrol(browser: httpx2.Client, **headers: str) -> httpx2.Response:
    return browser.post("/v1/enrol", json=ASKED, headers={**WANTED, **headers})


def test_the_token_is_in_the_cookie_alone(browser: httpx2.Client) -> None:
    answer = enrol(browser)
    assert answer.status_code == 200
    assert "token" not in answer.json()
    token = browser.cookies[COOKIE]
    assert token not in answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    words = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/v1/"} <= set(words)
    assert "Secure" not in words  # this machine: browsers trust it over plain HTTP
    assert browser.get("/v1/session").json()["device"] == answer.json()["device"]


def test_elsewhere_the_cookie_travels_over_tls_only(browser: httpx2.Client) -> None:
    answer = enrol(browser, host="shop.example")
    assert answer.headers["set-cookie"].endswith("; Secure")


def test_without_the_header_the_token_is_in_the_answer(browser: httpx2.Client) -> None:
    answer = browser.post("/v1/enrol", json=ASKED)
    assert answer.json()["token"]
    assert "set-cookie" not in answer.headers


def test_refreshing_replaces_the_cookie(browser: httpx2.Client) -> None:
    enrol(browser)
    before = browser.cookies[COOKIE]
    answer = browser.post("/v1/token", json={"protocol": 1}, headers=WANTED)
    assert answer.status_code == 200
    assert "token" not in answer.json()
    assert browser.cookies[COOKIE] != before
    assert browser.get("/v1/session").status_code == 200


def test_a_refused_enrolment_sets_no_cookie(browser: httpx2.Client) -> None:
    wrong = {**ASKED, "password": "wrong"}
    answer = browser.post("/v1/enrol", json=wrong, headers=WANTED)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "enrol_refused")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_sites_get_nothing(browser: httpx2.Client, headers: dict[str, str]) -> None:
    enrol(browser)
    for answer in (
        browser.get("/v1/session", headers=headers),
        browser.post("/v1/sign-out", json={"protocol": 1}, headers={**WANTED, **headers}),
        enrol(browser, **headers),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_origin")
    assert browser.get("/v1/session").status_code == 200


def test_our_own_pages_and_bearers_pass(browser: httpx2.Client) -> None:
    enrol(browser)
    own = {"origin": str(browser.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    assert browser.get("/v1/session", headers=own).status_code == 200
    bearer = {"authorization": f"Bearer {browser.cookies[COOKIE]}", "origin": "https://a.example"}
    browser.cookies.clear()
    assert browser.get("/v1/session", headers=bearer).status_code == 200


def test_signing_out_ends_the_token_and_the_cookie(browser: httpx2.Client) -> None:
    enrol(browser)
    token = browser.cookies[COOKIE]
    answer = browser.post("/v1/sign-out", json={"protocol": 1}, headers=WANTED)
    assert answer.json() == {"signed_out": True}
    assert COOKIE not in browser.cookies
    bearer = {"authorization": f"Bearer {token}"}
    assert browser.get("/v1/session", headers=bearer).status_code == 401
    again = browser.post(
        "/v1/sign-out", json={"protocol": 1}, headers={**WANTED, "cookie": f"{COOKIE}={token}"}
    )
    assert again.status_code == 401
    assert "Max-Age=0" in again.headers["set-cookie"]


@pytest.mark.parametrize("cookie", ["", "holdfast_token", "holdfast_token=", "a=b; c", "=;="])
def test_strange_cookies(browser: httpx2.Client, cookie: str) -> None:
    answer = browser.get("/v1/session", headers={"cookie": cookie})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in")


def test_a_host_that_is_none_gets_an_answer(browser: httpx2.Client) -> None:
    answer = enrol(browser, host="[")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_host")
    assert "set-cookie" not in answer.headers


def test_mounted_below_a_path_the_token_is_in_the_cookie_too(tmp_path: Path) -> None:
    with open_server(SCHEMA, tmp_path / "server.db") as server:
        server.people.add_user("ann", read=["main"], password="correct horse")
        app = Starlette(routes=[Mount("/sync", TokenCookies(server.app))])
        with TestClient(app, base_url="https://shop.example") as client:
            answer = client.post("/sync/v1/enrol", json=ASKED, headers=WANTED)
            assert answer.status_code == 200
            assert "token" not in answer.json()
            assert "Path=/sync/v1/;" in answer.headers["set-cookie"]
            assert client.get("/sync/v1/session").status_code == 200
            done = client.post("/sync/v1/sign-out", json={"protocol": 1}, headers=WANTED)
            assert done.status_code == 200
            assert client.get("/sync/v1/session").status_code == 401
