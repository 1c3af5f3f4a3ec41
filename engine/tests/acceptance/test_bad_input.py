"""Whatever a client sends: a 4xx with a code of SPEC.md, or one refused transaction; never a 500.

After each attempt the server's rows and digests are what they were, and it serves other devices.

Checks I8, I27, I31.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from holdfast.core.digest import Digest
from holdfast.core.digest import seal as make_seal
from holdfast.core.limits import JSON_VALUES_MAX, SCOPES_MAX

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import MakeWorld, World

pytestmark = pytest.mark.acceptance

SPEC = (Path(__file__).resolve().parents[3] / "protocol/SPEC.md").read_text()
TOKENS = """\
[token-b]
user = "ben"
device = "device-b"
read = ["main"]
write = ["main"]

[token-x]
user = "mallory"
device = "device-x"
read = ["main"]
write = ["main"]

[token-r]
user = "rita"
device = "device-r"
read = ["main"]
write = []
"""
HEX = "0123456789abcdef" * 2
GARBAGE_BODIES = 300


class Peer:
    """A device that may send anything."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx2.Client(base_url=url, timeout=60, trust_env=False)
        self.http.headers["authorization"] = f"Bearer {token}"
        self.schema = self.http.get("/v1/session").json()["schema"]
        self.nonce = ""
        self.number = 0
        self.checkpoint: dict[str, Any] = {}

    def message(self, *transactions: dict[str, Any], **changed: Any) -> dict[str, Any]:
        message = {
            "protocol": 1, "schema": self.schema, "now": time.time_ns() // 1000,
            "checkpoint": self.checkpoint, "transactions": list(transactions),
            "nonce": {"since": self.nonce, "to": secrets.token_hex(16)},
        }  # fmt: skip
        return {name: value for name, value in (message | changed).items() if value is not None}

    def transaction(self, *changes: dict[str, Any], **changed: Any) -> dict[str, Any]:
        number = changed.pop("number", None)
        if number is None:
            self.number += 1
            number = self.number
        base = {"number": number, "id": secrets.token_hex(16), "at": 0, "changes": list(changes)}
        return base | changed

    def post(self, body: bytes | dict[str, Any], path: str = "/v1/exchange", **headers: str) -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(
            path, content=raw,
            headers={"content-type": "application/json", "holdfast-echo": "e", **names},
        )  # fmt: skip

    def exchange(self, *transactions: dict[str, Any], **changed: Any) -> list[dict[str, Any]]:
        """An exchange that is answered; the outcomes."""
        message = self.message(*transactions, **changed)
        answer = self.post(message)
        assert answer.status_code == 200, answer.text
        self.nonce = message["nonce"]["to"]
        lines = [json.loads(line) for line in answer.text.splitlines()]
        self.checkpoint = lines[-1]["scopes"]
        return list(lines[0].get("outcomes", []))


def insert(key: str, /, **new: Any) -> dict[str, Any]:
    return {"table": "stock", "key": [key], "op": "insert", "new": new}


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(tokens=TOKENS)


@pytest.fixture
def peer(world: World) -> Iterator[Peer]:
    made = Peer(world.url, "token-x")
    yield made
    made.http.close()


def _state(world: World) -> tuple[Any, ...]:
    return (
        world.rows(),
        world.rows("SELECT scope, head, count, digest FROM holdfast_scope"),
        world.rows("SELECT device, nonce, high FROM holdfast_replica ORDER BY 1"),
        world.rows("SELECT count(*) FROM holdfast_applied"),
    )


def _codes() -> dict[int, set[str]]:
    """Statuses and codes as SPEC.md has them."""
    found: dict[int, set[str]] = {}
    for statuses, codes in re.findall(r"^\| ([\d, ]+) \| (`.*) \|$", SPEC, re.MULTILINE):
        for status in re.findall(r"\d+", statuses):
            found.setdefault(int(status), set()).update(re.findall(r"`(\w+)`", codes))
    return found


def _bomb(peer: Peer) -> bytes:
    return gzip.compress(json.dumps(peer.message()).encode() + b" " * 64_000_000)


def _text(peer: Peer, old: str, new: str) -> bytes:
    text = json.dumps(peer.message(peer.transaction(insert("k", name="NAME"))))
    assert old in text
    return text.replace(old, new).encode()


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _position(**changed: Any) -> dict[str, Any]:
    return {"main": {"version": 1, "count": 1, "digest": HEX, "seal": "s"} | changed}


Attempt = Callable[[Peer], Any]
REFUSED: dict[str, tuple[int, str, Attempt]] = {
    "another device": (403, "wrong_device", lambda p: p.post(p.message(device="device-b"))),
    "unknown device": (403, "wrong_device", lambda p: p.post(p.message(device="ghost"))),
    "wrong token": (401, "sign_in", lambda p: p.post(p.message(), authorization="Bearer no")),
    "no token": (401, "sign_in", lambda p: p.post(p.message(), authorization="")),
    "basic auth": (401, "sign_in", lambda p: p.post(p.message(), authorization="Basic eDp5")),
    "protocol 2": (400, "protocol_version", lambda p: p.post(p.message(protocol=2))),
    "protocol true": (400, "bad_message", lambda p: p.post(p.message(protocol=True))),
    "no protocol": (400, "bad_message", lambda p: p.post(p.message(protocol=None))),
    "other schema": (409, "schema_mismatch", lambda p: p.post(p.message(schema=HEX))),
    "other epoch": (409, "epoch_mismatch", lambda p: p.post(p.message(epoch="another"))),
    "unknown nonce": (
        409, "nonce_mismatch",
        lambda p: p.post(p.message(nonce={"since": "elsewhere", "to": "12345678"})),
    ),
    "replayed nonce": (
        409, "nonce_mismatch",
        lambda p: p.post(p.message(nonce={"since": "", "to": "87654321"})),
    ),
    "short nonce": (
        400, "bad_message", lambda p: p.post(p.message(nonce={"since": p.nonce, "to": "1"})),
    ),
    "number gap": (
        409, "number_gap", lambda p: p.post(p.message(p.transaction(insert("k"), number=9))),
    ),
    "gap inside": (
        409, "number_gap",
        lambda p: p.post(p.message(
            p.transaction(insert("k"), number=2), p.transaction(insert("k"), number=4))),
    ),
    "number twice": (
        409, "number_gap",
        lambda p: p.post(p.message(
            p.transaction(insert("k"), number=2), p.transaction(insert("k"), number=2))),
    ),
    "reused number": (
        409, "number_reused",
        lambda p: p.post(p.message(p.transaction(insert("other"), number=1))),
    ),
    "number zero": (
        400, "bad_message", lambda p: p.post(p.message(p.transaction(insert("k"), number=0))),
    ),
    "number 2^63": (
        400, "bad_message", lambda p: p.post(p.message(p.transaction(insert("k"), number=2**63))),
    ),
    "bad id": (400, "bad_message", lambda p: p.post(p.message(p.transaction(insert("k"), id="x")))),
    "invalid seal": (
        409, "seal_invalid", lambda p: p.post(p.message(checkpoint=_position(seal="0" * 32))),
    ),
    "seal that is no text": (
        400, "bad_message", lambda p: p.post(p.message(checkpoint=_position(seal=7))),
    ),
    "negative version": (
        400, "bad_message", lambda p: p.post(p.message(checkpoint=_position(version=-1))),
    ),
    "100k scopes": (
        400, "bad_message",
        lambda p: p.post(p.message(
            checkpoint={f"s{i}": _position()["main"] for i in range(100_000)})),
    ),
    "one scope too many": (
        400, "bad_message",
        lambda p: p.post(p.message(
            checkpoint={f"s{i}": _position()["main"] for i in range(SCOPES_MAX + 1)})),
    ),
    "unknown field": (400, "bad_message", lambda p: p.post(p.message(admin=True))),
    "unknown field inside": (
        400, "bad_message", lambda p: p.post(p.message(p.transaction(insert("k"), owner="me"))),
    ),
    "prototype": (400, "bad_message", lambda p: p.post(p.message(__proto__={"admin": True}))),
    "unknown op": (
        400, "bad_message",
        lambda p: p.post(p.message(p.transaction({**insert("k"), "op": "truncate"}))),
    ),
    "NaN": (400, "bad_json", lambda p: p.post(_text(p, '"NAME"', "NaN"))),
    "Infinity": (400, "bad_json", lambda p: p.post(_text(p, '"NAME"', "-Infinity"))),
    "lone surrogate": (400, "bad_json", lambda p: p.post(_text(p, "NAME", "\\ud800"))),
    "raw NUL": (400, "bad_json", lambda p: p.post(_text(p, "NAME", "a\0b"))),
    "5,000 digits": (400, "bad_json", lambda p: p.post(_text(p, '"NAME"', "9" * 5000))),
    "not UTF-8": (
        400, "bad_json", lambda p: p.post(_text(p, "NAME", "N").replace(b'"N"', b'"\xff\xfe"')),
    ),
    "UTF-16": (400, "bad_json", lambda p: p.post(json.dumps(p.message()).encode("utf-16"))),
    "byte order mark": (
        400, "bad_json", lambda p: p.post(b"\xef\xbb\xbf" + json.dumps(p.message()).encode()),
    ),
    "duplicate keys": (
        400, "bad_json", lambda p: p.post(_text(p, '"now":', '"now": 1, "now":')),
    ),
    "duplicate keys inside": (
        400, "bad_json", lambda p: p.post(_text(p, '"name":', '"name": "a", "name":')),
    ),
    "depth bomb": (400, "bad_json", lambda p: p.post(b'{"protocol":' + b"[" * 100_000)),
    "closed depth bomb": (
        400, "bad_json", lambda p: p.post(_text(p, '"NAME"', "[" * 500 + "]" * 500)),
    ),
    "many values": (
        413, "too_large", lambda p: p.post(_text(p, '"NAME"', f"[{'1,' * JSON_VALUES_MAX}1]")),
    ),
    "too large": (413, "too_large", lambda p: p.post(b" " * (33 * 1024 * 1024))),
    "gzip bomb": (413, "too_large", lambda p: p.post(_bomb(p), content_encoding="gzip")),
    "gzip in gzip": (
        400, "bad_json",
        lambda p: p.post(
            gzip.compress(gzip.compress(json.dumps(p.message()).encode())),
            content_encoding="gzip"),
    ),
    "cut gzip": (
        400, "bad_encoding",
        lambda p: p.post(
            _cut(gzip.compress(json.dumps(p.message()).encode())), content_encoding="gzip"),
    ),
    "no gzip at all": (
        400, "bad_encoding", lambda p: p.post(p.message(), content_encoding="gzip"),
    ),
    "two gzip members": (
        400, "bad_encoding",
        lambda p: p.post(gzip.compress(b"{}") + gzip.compress(b"{}"), content_encoding="gzip"),
    ),
    "two encodings": (
        415, "bad_encoding", lambda p: p.post(p.message(), content_encoding="gzip, gzip"),
    ),
    "brotli": (415, "bad_encoding", lambda p: p.post(p.message(), content_encoding="br")),
    "form": (
        415, "bad_content_type",
        lambda p: p.post(b"a=b", content_type="application/x-www-form-urlencoded"),
    ),
    "UTF-16 by header": (
        415, "bad_content_type",
        lambda p: p.post(p.message(), content_type="application/json; charset=utf-16"),
    ),
    "cut JSON": (400, "bad_json", lambda p: p.post(_cut(json.dumps(p.message()).encode()))),
    "empty": (400, "bad_json", lambda p: p.post(b"")),
    "an array": (400, "bad_message", lambda p: p.post(b"[]")),
    "null": (400, "bad_message", lambda p: p.post(b"null")),
    "bad echo": (400, "bad_echo", lambda p: p.post(p.message(), holdfast_echo="a b<script>")),
    "long echo": (400, "bad_echo", lambda p: p.post(p.message(), holdfast_echo="e" * 65)),
    "no such path": (404, "not_found", lambda p: p.post(p.message(), "/v1/admin")),
    "wrong method": (405, "method_not_allowed", lambda p: p.http.get("/v1/exchange")),
    "verify: unknown table": (
        400, "unknown_table",
        lambda p: p.post(
            _verify(p, rows=[{"table": "sqlite_master", "key": "x"}]), "/v1/verify"),
    ),
    "verify: invalid seal": (
        409, "seal_invalid",
        lambda p: p.post(_verify(p, checkpoint=_position(seal="0" * 32)), "/v1/verify"),
    ),
    "verify: too many ranges": (
        400, "bad_message",
        lambda p: p.post(_verify(p, ranges=[{"scope": "main"}] * 10_000), "/v1/verify"),
    ),
}  # fmt: skip


def _verify(peer: Peer, **changed: Any) -> dict[str, Any]:
    return peer.message(nonce=None, transactions=None, **changed)


def test_requests_that_are_refused_whole(world: World, peer: Peer) -> None:
    b = world.device("b", "token-b")
    b.shell("INSERT INTO stock (sku, name, on_hand) VALUES ('mine', 'Mine', 3)")
    b.sync()
    assert peer.exchange(peer.transaction(insert("first")))[0]["outcome"] == "applied"
    before = _state(world)
    wrong: dict[str, Any] = {}
    undocumented = set()
    for name, (status, code, attempt) in REFUSED.items():
        peer.number = 1
        answer = attempt(peer)
        found = (answer.status_code, answer.json()["error"]["code"])
        if found != (status, code):
            wrong[name] = found
        if found[1] not in _codes().get(found[0], set()):
            undocumented.add(found)
        assert answer.json()["error"]["message"], name
        assert _state(world) == before, name
        assert world.server.running, name
    assert wrong == {}
    assert undocumented == set(), "codes that SPEC.md does not have"
    b.shell("UPDATE stock SET on_hand = on_hand - 1")
    b.sync()
    world.check_equal(b)


def test_a_seal_of_the_server_above_its_head(world: World, peer: Peer) -> None:
    """Made with the server's own secret: as a device has it after the server was put back."""
    peer.exchange(peer.transaction(insert("first")))
    before = _state(world)
    ((epoch, secret),) = world.rows("SELECT epoch, seal_secret FROM holdfast_state")
    seal = make_seal(secret, epoch=epoch, scope="main", version=99, digest=Digest.of(1, HEX))
    position = {"version": 99, "count": 1, "digest": HEX, "seal": seal}
    for checkpoint in ({"main": position}, {"main": {**position, "count": 2}}):
        answer = peer.post(peer.message(checkpoint=checkpoint))
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] in ("epoch_mismatch", "seal_invalid")
        assert _state(world) == before
    assert peer.exchange() == []


BAD_CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "unknown table": ("unknown_table", {**insert("k"), "table": "users; DROP TABLE stock--"}),
    "engine table": ("unknown_table", {**insert("k"), "table": "holdfast_state"}),
    "system table": ("unknown_table", {**insert("k"), "table": "sqlite_master"}),
    "unknown column": ("unknown_column", insert("k", owner="me")),
    "quoted column": ("unknown_column", insert("k", **{'a""b': "me"})),
    "rowid": ("unknown_column", insert("k", rowid="1")),
    "number for text": ("bad_value", insert("k", name=7)),
    "list for text": ("bad_value", insert("k", name=["a"])),
    "number for integer": ("bad_value", insert("k", price=7)),
    "true for integer": ("bad_value", insert("k", price=True)),
    "hex": ("bad_value", insert("k", price="0x10")),
    "spaces": ("bad_value", insert("k", price=" 7 ")),
    "minus zero": ("bad_value", insert("k", price="-0")),
    "other digits": ("bad_value", insert("k", price="٣")),
    "2^63": ("bad_value", insert("k", price="9223372036854775808")),
    "-2^63-1": ("bad_value", insert("k", on_hand="-9223372036854775809")),
    "5,000 digits as text": ("bad_value", insert("k", price="9" * 5000)),
    "NUL in text": ("bad_value", insert("k", name="a\0b")),
    "null counter": ("not_null", insert("k", on_hand=None)),
    "null name": ("not_null", insert("k", name=None)),
    "overlong key": ("bad_key", insert("k" * 2000)),
    "empty key": ("bad_key", insert("")),
    "null key": ("bad_key", {**insert("k"), "key": [None]}),
    "no key": ("bad_key", {**insert("k"), "key": []}),
    "two keys": ("bad_key", {**insert("k"), "key": ["a", "b"]}),
    "NUL in key": ("bad_key", insert("a\0b")),
    "key as column": ("bad_key", insert("k", sku="other")),
    "edit of nothing": (
        "row_gone",
        {"table": "stock", "key": ["none"], "op": "update", "base": 5, "new": {"name": "a"}},
    ),
    "counter overflow": (
        "overflow",
        {"table": "stock", "key": ["full"], "op": "update", "new": {"on_hand": "1"}},
    ),
}


def test_a_bad_transaction_costs_only_itself(world: World, peer: Peer) -> None:
    b = world.device("b", "token-b")
    full = str(2**63 - 1)
    peer.exchange(peer.transaction(insert("full", on_hand=full)))
    sent, expected = [], {}
    for name, (code, change) in BAD_CHANGES.items():
        sent.append(peer.transaction(change))
        expected[peer.number] = (name, "refused", code)
        sent.append(peer.transaction(insert(f"good-{len(sent):03}", name=name)))
        expected[peer.number] = (name, "applied", "")
    sent.append(peer.transaction(insert("twice"), insert("twice")))
    expected[peer.number] = ("twice", "refused", "duplicate_change")
    outcomes = peer.exchange(*sent)
    found = {
        one["number"]: (expected[one["number"]][0], one["outcome"], one.get("code", ""))
        for one in outcomes
    }
    assert found == expected
    refusals = [one for one in outcomes if one["outcome"] == "refused"]
    assert all(one["message"] for one in refusals)
    section = SPEC[SPEC.index("Codes of refusals") :]
    assert {one["code"] for one in refusals} <= set(re.findall(r"`(\w+)`", section))

    b.sync()
    assert b.query("SELECT count(*) FROM stock") == [(len(BAD_CHANGES) + 1,)]
    assert b.query("SELECT on_hand FROM stock WHERE sku = 'full'") == [(2**63 - 1,)]
    world.check_equal(b)


def test_hostile_values_that_fit_arrive_unchanged(world: World, peer: Peer) -> None:
    b = world.device("b", "token-b")
    names = [
        "'; DROP TABLE stock; --",
        '"quoted"',
        "\u202e\u200d",
        "e\u0301 \u00e9",
        "=cmd|'/c calc'!A1",
        "\U0010ffff\ufdd0",
        "<img src=x onerror=alert(1)>",
        "x" * 100_000,
        "\r\n\t\x01\x7f",
    ]
    numbers = [2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), -1, 0]
    changes = [insert(f"n{i}", name=name) for i, name in enumerate(names)]
    changes += [insert(f"i{i}", price=str(number)) for i, number in enumerate(numbers)]
    changes += [
        insert(sku) for sku in ("../../etc", "e\u0301", "\u00e9", "K", "k", "a/b%2F", "' --")
    ]
    outcomes = peer.exchange(*(peer.transaction(change) for change in changes))
    assert {one["outcome"] for one in outcomes} == {"applied"}
    b.sync()
    held = dict(b.query("SELECT sku, name FROM stock"))
    prices = dict(b.query("SELECT sku, price FROM stock"))
    assert [held[f"n{i}"] for i in range(len(names))] == names
    assert [prices[f"i{i}"] for i in range(len(numbers))] == numbers
    assert len(held) == len(changes)
    world.check_equal(b)


def test_who_may_not_write_is_refused_by_transaction(world: World) -> None:
    reader = Peer(world.url, "token-r")
    (outcome,) = reader.exchange(reader.transaction(insert("k")))
    assert (outcome["outcome"], outcome["code"]) == ("refused", "forbidden")
    assert world.rows() == []
    reader.http.close()


def test_a_body_that_ends_early_changes_nothing(world: World, peer: Peer) -> None:
    before = _state(world)
    body = json.dumps(peer.message(peer.transaction(insert("k")))).encode()
    heads = (
        b"Content-Length: %d\r\n\r\n%s" % (len(body) + 10, body),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body),
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n%x\r\n%s" % (len(body), body),
    )
    for head in heads:
        with socket.create_connection(("127.0.0.1", world.port), timeout=10) as connection:
            connection.sendall(
                b"POST /v1/exchange HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: Bearer token-x\r\nContent-Type: application/json\r\n" + head
            )
            connection.shutdown(socket.SHUT_WR)
            told = b"".join(iter(lambda: connection.recv(4096), b""))
            assert not told.startswith(b"HTTP/1.1 2")
            assert not told.startswith(b"HTTP/1.1 5")
    peer.number = 0
    assert _state(world) == before
    assert peer.exchange(peer.transaction(insert("k")))[0]["outcome"] == "applied"


def test_random_garbage_is_always_a_4xx(world: World, peer: Peer) -> None:
    """Seeded: random bytes, and valid requests with bytes changed, cut or doubled."""
    b = world.device("b", "token-b")
    b.shell("INSERT INTO stock (sku) VALUES ('mine')")
    b.sync()
    peer.exchange()
    rng = random.Random(20)
    statuses: dict[int, int] = {}
    for number in range(GARBAGE_BODIES):
        path = rng.choice(("/v1/exchange", "/v1/verify"))
        # A stale nonce: a mutation that stays a good request is told so and changes nothing.
        message = peer.message(
            peer.transaction(insert("k", name="n", price="1"), number=1),
            nonce={"since": "stale", "to": "stale-stale"},
        )
        if path == "/v1/verify":
            message = _verify(peer, ranges=[{"scope": "main", "start": "stock/a"}])
        body = bytearray(json.dumps(message).encode())
        kind = number % 4
        if kind == 0:
            body = bytearray(rng.randbytes(rng.randrange(2000)))
        elif kind == 1:
            for _ in range(rng.randrange(1, 8)):
                body[rng.randrange(len(body))] = rng.randrange(256)
        elif kind == 2:
            start = rng.randrange(len(body))
            del body[start : start + rng.randrange(1, 60)]
        else:
            start = rng.randrange(len(body))
            body[start:start] = rng.choice((b"[", b"{", b'"', b"\\u", b"1e999", b"\0", b"null,"))
        zipped = rng.random() < 0.2
        raw = gzip.compress(bytes(body)) if zipped else bytes(body)
        if zipped and rng.random() < 0.5:
            position = rng.randrange(len(raw))
            raw = raw[:position] + rng.randbytes(1) + raw[position + 1 :]
        headers = {"content_encoding": "gzip"} if zipped else {}
        answer = peer.post(raw, path, **headers)
        allowed = answer.status_code == 200 if path == "/v1/verify" else False
        assert allowed or 400 <= answer.status_code < 500, (number, answer.status_code, bytes(body))
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    assert statuses.get(400, 0) > GARBAGE_BODIES / 2
    assert world.rows("SELECT sku FROM stock") == [("mine",)]
    b.sync()
    world.check_equal(b)
