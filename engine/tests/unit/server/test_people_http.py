"""Enrolment and the list of devices on a real socket: answers, hostile requests, open streams."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdfast.core.errors import ProtocolError
from holdfast.core.limits import ENROL_BODY_BYTES_MAX, ENROL_TRIES_BURST
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.assembly import Server, open_server
from holdfast.server.identity.principal import Principal
from holdfast.server.run import Stopper, serve
from holdfast.testing import wait_until

SCHEMA = Schema(
    name="counter",
    tables=(Table("stock", ("sku",), (Column("sku"), Column("name")), scopes=("main",)),),
)


def sign_in(headers: Mapping[str, str]) -> Principal:
    """The app's own: whoever has its cookie."""
    name, _, user = headers.get("cookie", "").partition("=")
    if name != "session":
        raise ProtocolError("sign in first", code="sign_in", status=401)
    roles = ("admin",) if user == "boss" else ()
    return Principal(user, "", ("main",), roles=roles)


@dataclass
class Shop:
    server: Server
    client: httpx2.Client

    def post(self, path: str, token: str = "", /, **fields: Any) -> httpx2.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return self.client.post(path, json={"protocol": 1, **fields}, headers=headers)

    def get(self, path: str, token: str) -> httpx2.Response:
        return self.client.get(path, headers={"authorization": f"Bearer {token}"})

    def enrol(self, user: str = "ann", **fields: Any) -> dict[str, Any]:
        code = self.server.people.invite(user).code
        answer = self.post("/v1/enrol", code=code, **fields)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert isinstance(found, dict)
        return found

    @contextmanager
    def stream(self, token: str) -> Iterator[Iterator[str]]:
        headers = {"authorization": f"Bearer {token}", "holdfast-echo": "e"}
        with self.client.stream("GET", "/v1/events", headers=headers) as response:
            assert response.status_code == 200
            yield response.iter_lines()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    # However slow the machine is, no try comes back while others are made.
    monkeypatch.setattr("holdfast.server.identity.sign_in_attempts.ENROL_TRY_EVERY_MS", 3_600_000)
    stopper, ready, urls = Stopper(), threading.Event(), list[str]()

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    with open_server(SCHEMA, tmp_path / "server.db", sign_in=sign_in) as server:
        thread = threading.Thread(
            target=serve, args=(server.app, "127.0.0.1", 0, on_ready), kwargs={"stopper": stopper}
        )
        thread.start()
        assert ready.wait(30)
        server.people.add_user("ann", read=["main"], password="correct horse")
        server.people.add_user("chief", roles=["admin"])
        with httpx2.Client(base_url=urls[0], trust_env=False, timeout=60) as client:
            yield Shop(server, client)
        stopper.stop()
        thread.join(15)
        assert not thread.is_alive()


def event(lines: Iterator[str]) -> str:
    """The name of the next event; its data and the blank line are read too."""
    name, _, _ = (next(lines) for _ in range(3))
    return name


def check(answer: httpx2.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_a_device_enrols_refreshes_and_is_let_in(shop: Shop) -> None:
    done = shop.enrol(name="Till")
    assert done["expires_at"] > done["refresh_at"] > done["time"]
    seen = shop.get("/v1/session", done["token"]).json()
    assert (seen["device"], seen["user"]) == (done["device"], "ann")
    new = shop.post("/v1/token", done["token"]).json()
    assert new["device"] == done["device"]
    assert shop.get("/v1/session", new["token"]).status_code == 200
    check(shop.get("/v1/session", done["token"]), 401, "sign_in")
    by_password = shop.post("/v1/enrol", user="ann", password="correct horse")
    assert by_password.json()["device"] != done["device"]


def test_who_signs_out_is_not_let_in_and_may_enrol_again(shop: Shop) -> None:
    done = shop.enrol()
    assert shop.post("/v1/sign-out", done["token"]).json() == {"signed_out": True}
    check(shop.get("/v1/session", done["token"]), 401, "sign_in")
    check(shop.post("/v1/sign-out", done["token"]), 401, "sign_in")
    check(shop.post("/v1/sign-out"), 401, "sign_in")
    assert shop.enrol(device=done["device"])["device"] == done["device"]


@pytest.mark.parametrize("by", ["signing out", "enrolling again"])
def test_a_stream_ends_with_its_token(shop: Shop, by: str) -> None:
    done, other = shop.enrol(), shop.enrol()
    with shop.stream(done["token"]) as lines, shop.stream(other["token"]) as others:
        assert (event(lines), event(others)) == ("event: hello", "event: hello")
        if by == "signing out":
            assert shop.post("/v1/sign-out", done["token"]).status_code == 200
        else:
            shop.enrol(device=done["device"])
        assert next(lines, "") == ""
        shop.server.people.set_user("ann", read=["main", "more"])
        assert event(others) == "event: moved"


def test_the_apps_own_sign_in(shop: Shop) -> None:
    shop.client.headers["cookie"] = "session=zoe"
    check(shop.client.get("/v1/session"), 403, "enrol_first")
    check(shop.client.get("/v1/events"), 403, "enrol_first")
    check(shop.client.post("/v1/exchange", json={}), 403, "enrol_first")
    done = shop.post("/v1/enrol").json()
    assert done["user"] == "zoe"
    del shop.client.headers["cookie"]
    check(shop.post("/v1/enrol"), 401, "sign_in")
    check(shop.post("/v1/enrol", done["token"]), 400, "bad_message")
    shop.client.headers["cookie"] = "session=boss"  # an admin without a device may manage
    assert shop.client.get("/v1/devices").json()["devices"][0]["user"] == "zoe"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"[]", 400, "bad_message"),
        (b'{"protocol": 2}', 400, "protocol_version"),
        (b'{"protocol": 1, "code": "A", "user": "ann"}', 400, "bad_message"),
        (b'{"protocol": 1, "code": 7}', 400, "bad_message"),
        (b'{"protocol": 1, "roles": ["admin"]}', 400, "bad_message"),
        (b'{"protocol": 1, "code": "A", "code": "B"}', 400, "bad_json"),
        (b'{"protocol": 1, "code": "' + b"A" * 65 + b'"}', 400, "bad_message"),
        (b'{"protocol": 1, "attempt": "../x"}', 400, "bad_message"),
        (b'{"protocol": 1, "user": "\\u0000", "password": "x"}', 400, "bad_message"),
        (b'{"protocol": 1, "user": "ann", "password": ""}', 401, "enrol_refused"),
        (b'{"protocol": 1, "code": "EXR9-EKTG-AY3T"}', 401, "enrol_refused"),
        (b" " * (ENROL_BODY_BYTES_MAX + 1), 413, "too_large"),
    ],
)
def test_hostile_bodies(shop: Shop, body: bytes, status: int, code: str) -> None:
    plain = {"content-type": "application/json"}
    check(shop.client.post("/v1/enrol", content=body, headers=plain), status, code)
    assert list(shop.server.people.devices()) == []


def test_bodies_that_are_not_plain(shop: Shop) -> None:
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    body = gzip.compress(b'{"protocol": 1}')
    check(shop.client.post("/v1/enrol", content=body, headers=packed), 415, "bad_encoding")
    check(shop.client.post("/v1/enrol", content=b"{}"), 415, "bad_content_type")
    check(shop.client.get("/v1/enrol"), 405, "method_not_allowed")


def test_whoever_knocks_too_often_waits_and_nobody_else(shop: Shop) -> None:
    done = shop.enrol()
    answers = [shop.post("/v1/enrol", code=f"wrong {n}") for n in range(ENROL_TRIES_BURST + 1)]
    check(answers[-2], 401, "enrol_refused")
    check(answers[-1], 429, "too_many_tries")
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert shop.get("/v1/session", done["token"]).status_code == 200
    assert shop.post("/v1/token", done["token"]).status_code == 200
    # A header that anybody can write counts for nothing, unless a proxy of ours wrote it.
    forged = {"x-forwarded-for": "198.51.100.7"}
    again = shop.client.post("/v1/enrol", json={"protocol": 1, "code": "x"}, headers=forged)
    check(again, 429, "too_many_tries")


def test_a_person_changes_their_own_password(shop: Shop) -> None:
    signed_in = {"protocol": 1, "user": "ann", "password": "correct horse"}
    one, two = (shop.client.post("/v1/enrol", json=signed_in).json() for _ in range(2))
    change = {"password": "correct horse", "new": "violet tractor"}
    check(shop.client.post("/v1/password", json={"protocol": 1, **change}), 401, "sign_in")
    wrong = shop.post("/v1/password", one["token"], password="guess", new="violet tractor")
    check(wrong, 403, "wrong_password")
    weak = shop.post("/v1/password", one["token"], password="correct horse", new="ann ann ann ann")
    check(weak, 400, "bad_password")
    assert shop.get("/v1/session", two["token"]).status_code == 200
    assert shop.post("/v1/password", one["token"], **change).json() == {"changed": True}
    assert shop.get("/v1/session", one["token"]).status_code == 200
    assert shop.get("/v1/session", two["token"]).status_code == 401


def test_refused_sign_ins_are_in_the_log(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    guess = {"protocol": 1, "user": "ann", "password": "a guess", "device": "till-9"}
    check(shop.client.post("/v1/enrol", json=guess), 401, "enrol_refused")
    (told,) = [r for r in caplog.records if r.getMessage() == "sign_in_refused"]
    seen = vars(told)
    assert (seen["address"], seen["user"], seen["device"]) == ("127.0.0.1", "ann", "till-9")
    assert (seen["how"], seen["code"]) == ("password", "enrol_refused")
    assert "a guess" not in repr(seen)


def test_admins_only(shop: Shop) -> None:
    ann, chief = shop.enrol()["token"], shop.enrol("chief")
    for path in ("/v1/enrolments", "/v1/devices/x/revoke"):
        check(shop.post(path, ann, user="ann"), 403, "forbidden")
        check(shop.post(path, "", user="ann"), 401, "sign_in")
    check(shop.get("/v1/devices", ann), 403, "forbidden")
    shop.server.people.set_user("chief", roles=[])
    check(shop.get("/v1/devices", chief["token"]), 403, "forbidden")
    shop.server.people.set_user("chief", roles=["admin"])
    shop.server.people.revoke(chief["device"])
    check(shop.get("/v1/devices", chief["token"]), 401, "sign_in")


def test_an_admin_lists_invites_and_revokes(shop: Shop) -> None:
    chief = shop.enrol("chief")["token"]
    made = shop.post("/v1/enrolments", chief, user="ann", minutes=5).json()
    done = shop.post("/v1/enrol", code=made["code"]).json()
    check(shop.post("/v1/enrolments", chief, user="nobody"), 404, "unknown_user")
    check(shop.post("/v1/enrolments", chief, user="ann", device="x"), 404, "unknown_device")
    check(shop.post("/v1/enrolments", chief, user="ann", minutes=0), 400, "bad_message")
    first = shop.get("/v1/devices?limit=1", chief).json()
    second = shop.get(f"/v1/devices?limit=1&after={first['next']}", chief).json()
    listed = [d["device"] for d in first["devices"] + second["devices"]]
    assert len(set(listed)) == 2
    assert done["device"] in listed
    assert "token" not in first["devices"][0]
    assert len(shop.get("/v1/devices?user=ann", chief).json()["devices"]) == 1
    for limit in ("0", "-1", "x", "1e3", "99999", "٣"):
        check(shop.get(f"/v1/devices?limit={limit}", chief), 400, "bad_message")
    check(shop.post("/v1/devices/none/revoke", chief), 404, "unknown_device")
    assert shop.post(f"/v1/devices/{done['device']}/revoke", chief).json()["revoked"]
    check(shop.get("/v1/session", done["token"]), 401, "sign_in")


def test_an_open_stream_follows_its_rights_and_ends_with_them(shop: Shop) -> None:
    done, other = shop.enrol(), shop.enrol("chief")
    with shop.stream(done["token"]) as lines, shop.stream(other["token"]) as others:
        assert next(lines) == "event: hello"
        assert next(others) == "event: hello"
        shop.server.people.set_user("ann", read=["main", "more"])
        told = [next(lines) for _ in range(4)]
        assert told[2:] == ["event: moved", 'data: {"scopes":{}}']
        shop.server.people.revoke(done["device"])
        assert [line for line in lines if line] == []  # it has ended
        shop.server.people.set_user("chief", roles=[])
        assert [next(others) for _ in range(4)][2] == "event: moved"
    assert wait_until(lambda: not len(shop.server.hub))
    check(shop.get("/v1/events", done["token"]), 401, "sign_in")


def test_many_open_streams_cost_no_read_for_each_commit(shop: Shop) -> None:
    tokens = [shop.enrol()["token"] for _ in range(5)]
    store = shop.server.service._store
    reads = [0]
    read = store.read

    def counted(expected: Any = None) -> Any:
        reads[0] += 1
        return read(expected)

    streams = [shop.stream(token) for token in tokens]
    lines = [stream.__enter__() for stream in streams]
    try:
        for line in lines:
            assert next(line) == "event: hello"
            assert next(line).startswith("data: ")
            assert not next(line)
        store.read = counted  # type: ignore[method-assign]
        for version in range(1, 51):
            shop.server.hub.publish({"main": version})
            for line in lines:
                assert event(line) == "event: moved"
        assert reads[0] <= 2, "the enrolments above may be looked at late, once"
        reads[0] = 0
        shop.server.people.set_user("ann", read=["main", "x"])
        for line in lines:
            assert event(line) == "event: moved"
        assert reads[0] <= 2, "once for all of them"
    finally:
        store.read = read  # type: ignore[method-assign]
        for stream in streams:
            stream.__exit__(None, None, None)
