"""The HTTP shell, on a real socket: every answer has our form, and bad input reaches nobody."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from holdfast.core.errors import DatabaseBusy, ProtocolError, UsageError
from holdfast.core.limits import (
    EVENT_STREAMS_PER_DEVICE_MAX,
    REQUEST_BODY_BYTES_MAX,
    REQUEST_COMPRESSED_BYTES_MAX,
)
from holdfast.protocol.codec import decode_line, encode_request
from holdfast.protocol.compression import ENCODINGS, Encoding, pack_bytes, unpack_bounded
from holdfast.protocol.messages import (
    Change,
    Checkpoint,
    ExchangeRequest,
    Head,
    Line,
    Nonces,
    Rows,
    Transaction,
    VerifyRequest,
)
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.http import requests as request_module
from holdfast.server.http.app import asgi
from holdfast.server.http.responses import Lines
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.token_file import TokenFile
from holdfast.server.live.events import Hub
from holdfast.server.run import Stopper, serve

TOKENS = """
[token-a]
user = "ann"
device = "till-1"
read = ["main"]
write = ["main"]
[token-b]
user = "bob"
device = "till-2"
read = ["other"]
"""
SCHEMA = Schema(
    name="counter",
    tables=(Table("stock", ("sku",), (Column("sku"), Column("name")), scopes=("main",)),),
)


@dataclass
class Service:
    """A service that only shows what it was asked, and fails when it is told to."""

    epoch: str = "epoch-1"
    schema: Schema = SCHEMA
    rows: int = 1
    row_bytes: int = 10
    raises: Exception | None = None
    raises_at_row: int | None = None
    requests: list[tuple[Principal, Any]] = field(default_factory=list)
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    gate: threading.Event = field(default_factory=threading.Event)

    def exchange(
        self, principal: Principal, request: ExchangeRequest, *, echo: str
    ) -> Iterator[Line]:
        return self._lines(principal, request, echo)

    def verify(self, principal: Principal, request: VerifyRequest, *, echo: str) -> Iterator[Line]:
        return self._lines(principal, request, echo)

    def _lines(self, principal: Principal, request: Any, echo: str) -> Iterator[Line]:
        self.gate.wait(30)
        if self.raises is not None:
            raise self.raises
        self.requests.append((principal, request))
        try:
            yield Head(
                protocol=1, epoch=self.epoch, device=principal.device, user=principal.user,
                echo=echo, time=self.now_us(), schema=SCHEMA.fingerprint, scopes={},
            )  # fmt: skip
            for number in range(self.rows):
                if number == self.raises_at_row:
                    raise RuntimeError("the disk is on fire")
                yield Rows("stock", [[number, os.urandom(self.row_bytes // 2).hex()]])
            yield Checkpoint({}, self.rows + 1)
        finally:
            self.closed.release()

    def heads(self, principal: Principal) -> dict[str, int]:
        return {scope: 7 for scope in ("main", "other") if principal.may_read(scope)}

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def close(self) -> None:
        return


@dataclass
class Running:
    url: str
    service: Service
    hub: Hub
    tokens: Path
    client: httpx2.Client

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    def post(self, body: bytes, path: str = "/v1/exchange", **headers: str) -> httpx2.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"content-type": "application/json", "authorization": "Bearer token-a"} | given
        return self.client.post(
            path, content=body, headers={name: value for name, value in sent.items() if value}
        )

    def get(self, path: str, token: str = "token-a", **headers: str) -> httpx2.Response:
        sent = {"authorization": f"Bearer {token}"} if token else {}
        return self.client.get(path, headers=sent | headers)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    tokens.write_text(TOKENS)
    service, hub, stopper = Service(), Hub(), Stopper()
    app = asgi(
        service,  # type: ignore[arg-type]  # it has what is asked here
        TokenFile(tokens),
        hub=hub,
        threads=2,
        queue_max=2,
        heartbeat_ms=50,
        answer_hold_ms=200,
    )
    urls: list[str] = []
    ready = threading.Event()

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    thread = threading.Thread(
        target=serve, args=(app, "127.0.0.1", 0, on_ready), kwargs={"stopper": stopper}
    )
    thread.start()
    assert ready.wait(30)
    with httpx2.Client(base_url=urls[0], trust_env=False, timeout=60) as client:
        yield Running(urls[0], service, hub, tokens, client)
        tokens.write_text(TOKENS)
        opened = client.build_request(
            "GET", "/v1/events", headers={"authorization": "Bearer token-a"}
        )
        left_open = client.send(opened, stream=True)
        stopper.stop()
        assert b"hello" in b"".join(left_open.iter_raw())  # an open stream does not hold it up
    thread.join(15)
    assert not thread.is_alive()


@pytest.fixture
def server(running: Running) -> Running:
    """The running server, its service as new."""
    new = Service()
    new.gate.set()
    for name in Service.__dataclass_fields__:
        setattr(running.service, name, getattr(new, name))
    running.tokens.write_text(TOKENS)
    return running


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.005)


def exchange(**fields: Any) -> ExchangeRequest:
    given: dict[str, Any] = {
        "protocol": 1,
        "schema": SCHEMA.fingerprint,
        "now": 1,
        "nonce": Nonces("", "abcdefgh"),
    }
    return ExchangeRequest(**(given | fields))


GOOD = encode_request(exchange())


def lines(response: httpx2.Response) -> list[Line]:
    return [decode_line(line) for line in response.content.splitlines(keepends=True)]


def check_error(response: httpx2.Response, status: int, code: str, echo: str = "") -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert answer["error"]["code"] == code
    assert answer.get("echo", "") == echo
    assert response.headers.get("holdfast-echo", "") == echo


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/exchange", "/v1/verify"])
def test_an_answer_is_lines(server: Running, path: str) -> None:
    verify = encode_request(VerifyRequest(protocol=1, schema="s", now=1))
    response = server.post(GOOD if "exchange" in path else verify, path, holdfast_echo="e_-1")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.headers["holdfast-echo"] == "e_-1"
    # The answer to a POST needs no word for caches, and the echo is its id.
    assert not {"cache-control", "x-request-id"} & {*response.headers}
    assert "content-encoding" not in response.headers  # too small
    head, _, checkpoint = lines(response)
    assert isinstance(head, Head)
    assert (head.echo, head.device) == ("e_-1", "till-1")
    assert checkpoint == Checkpoint({}, 2)
    assert server.service.requests[0][0].user == "ann"


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("identity", None), ("gzip;q=0", None),
     ("gzip, zstd", "zstd"), ("zstd;q=0, gzip", "gzip"), ("Zstd", "zstd")],
)  # fmt: skip
def test_a_large_answer_is_streamed_and_compressed_if_accepted(
    server: Running, accept: str, encoding: Encoding | None
) -> None:
    server.service.rows, server.service.row_bytes = 3000, 300
    sent = {"authorization": "Bearer token-a", "accept-encoding": accept}
    with server.client.stream(
        "POST", "/v1/exchange", content=GOOD, headers={"content-type": "application/json"} | sent
    ) as response:
        body = b"".join(response.iter_raw())
    assert response.headers.get("content-encoding") == encoding
    assert response.headers["accept-encoding"] == "zstd, gzip"
    assert "content-length" not in response.headers
    if encoding is not None:
        body = unpack_bounded([body], encoding)
    assert len(body.splitlines()) == 3002
    server.service.closed.acquire(timeout=60)


@pytest.mark.parametrize("encoding", [*ENCODINGS, None])
def test_who_says_nothing_is_answered_in_the_packing_of_the_request(
    server: Running, encoding: Encoding | None
) -> None:
    server.service.row_bytes = 1000
    body = GOOD if encoding is None else pack_bytes(GOOD, encoding)
    packed = f"content-encoding: {encoding}\r\n" if encoding else ""
    with socket.create_connection(server.address) as raw:
        raw.sendall(head(f"{packed}content-length: {len(body)}\r\nconnection: close") + body)
        answer = raw.makefile("rb").read()
    before, _, content = answer.partition(b"\r\n\r\n")
    if encoding is not None:
        assert f"content-encoding: {encoding}".encode() in before.lower().split(b"\r\n")
        content = unpack_bounded([content], encoding)
    assert content.splitlines()[-1] == b'{"type":"checkpoint","scopes":{},"lines":2}'


def slow_reader(server: Running) -> socket.socket:
    """Asks for more than sockets hold, and reads the first line of it."""
    server.service.rows, server.service.row_bytes = 20_000, 2000
    raw = socket.create_connection(server.address)
    raw.sendall(head(f"content-length: {len(GOOD)}") + GOOD)
    assert raw.recv(12) == b"HTTP/1.1 200"
    return raw


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
def test_a_slow_reader_holds_the_database_only_for_a_while(server: Running, encoding: str) -> None:
    """What it has not read by then waits for it, and is whole."""
    server.service.rows, server.service.row_bytes = 20_000, 2000
    sent = {"content-type": "application/json", "authorization": "Bearer token-a"}
    with server.client.stream(
        "POST", "/v1/exchange", content=GOOD, headers=sent | {"accept-encoding": encoding}
    ) as response:
        assert server.service.closed.acquire(timeout=60)
        body = b"".join(response.iter_raw())
    name: Any = encoding
    if encoding != "identity":
        body = unpack_bounded([body], name, bytes_max=10**8)
    found = [decode_line(line) for line in body.splitlines()]
    assert [line.rows[0][0] for line in found if isinstance(line, Rows)] == [*range(20_000)]
    assert found[-1] == Checkpoint({}, 20_001)


@pytest.mark.parametrize("limit", ["ANSWER_SPOOL_BYTES_MAX", "ANSWER_SPOOLS_MAX"])
def test_a_slow_reader_of_too_much_is_cut_off(
    server: Running, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit == "ANSWER_SPOOLS_MAX":
        monkeypatch.setattr("holdfast.server.http.open_answers.ANSWER_SPOOLS_MAX", 0)
    else:
        defaults: Any = Lines.let_go.__kwdefaults__
        monkeypatch.setitem(defaults, "bytes_max", 100_000)
    with slow_reader(server) as raw:
        assert server.service.closed.acquire(timeout=60)
        assert not received(raw).endswith(b"0\r\n\r\n")
    assert server.get("/v1/health?nonce=n").status_code == 200


def test_a_slow_reader_that_goes_away_leaves_nothing(server: Running) -> None:
    slow_reader(server).close()
    assert server.service.closed.acquire(timeout=60)


def test_a_failure_behind_a_slow_reader_breaks_its_answer(server: Running) -> None:
    server.service.raises_at_row = 19_000
    with slow_reader(server) as raw:
        assert server.service.closed.acquire(timeout=60)
        assert not received(raw).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_compressed_request_is_understood(server: Running, encoding: Encoding) -> None:
    change = Change(table="stock", key=["x" * 5000], op="insert")
    transaction = Transaction(number=1, id="0" * 32, at=1, changes=[change])
    request = exchange(transactions=[transaction])
    body = pack_bytes(encode_request(request), encoding)
    assert server.post(body, content_encoding=encoding).status_code == 200
    assert server.service.requests[0][1] == request


def test_connections_are_kept(server: Running) -> None:
    with socket.create_connection(server.address) as raw:
        for _ in range(3):
            raw.sendall(b"GET /v1/health?nonce=n HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                piece = raw.recv(65_536)
                assert piece
                answer += piece
            assert b'"nonce":"n"' in answer


def test_health_needs_no_token(server: Running) -> None:
    response = server.get("/v1/health?nonce=abc_1", token="")
    body = response.json()
    assert response.headers["cache-control"] == "no-store"
    assert (body["holdfast"], body["nonce"], body["epoch"]) == (1, "abc_1", "epoch-1")
    assert abs(body["time"] - time.time_ns() // 1000) < 10_000_000
    check_error(server.get("/v1/health?nonce=" + "x" * 65), 400, "bad_nonce")
    check_error(server.get("/v1/health?nonce=%0d%0a"), 400, "bad_nonce")


def test_session_and_schema(server: Running) -> None:
    session = server.get("/v1/session").json()
    assert session == {
        "device": "till-1", "user": "ann", "scopes": {"read": ["main"], "write": ["main"]},
        "schema": SCHEMA.fingerprint, "generation": 1, "epoch": "epoch-1", "protocol": 1,
    }  # fmt: skip
    assert Schema.from_json(server.get("/v1/schema").content) == SCHEMA
    check_error(server.get("/v1/session", token="none"), 401, "sign_in")
    check_error(server.get("/v1/schema", token=""), 401, "sign_in")


# --- refusals -------------------------------------------------------------------------------------


def test_who_is_unknown_has_to_sign_in(server: Running) -> None:
    for headers in ({"authorization": ""}, {"authorization": "Bearer token-c"}):
        response = server.post(GOOD, holdfast_echo="e1", **headers)
        check_error(response, 401, "sign_in", "e1")
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert server.service.requests == []


def test_a_removed_token_is_refused_at_once(server: Running) -> None:
    assert server.post(GOOD).status_code == 200
    server.tokens.write_text(TOKENS.replace("token-a", "token-x"))
    check_error(server.post(GOOD), 401, "sign_in")


def test_a_broken_token_file_asks_to_come_back(server: Running) -> None:
    server.tokens.write_text("[")
    response = server.post(GOOD)
    check_error(response, 503, "tokens_invalid")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("echo", ["x" * 65, "a b", "a%20b", "a/b", "{}"])
def test_a_bad_echo_is_refused_and_not_repeated(server: Running, echo: str) -> None:
    check_error(server.post(GOOD, holdfast_echo=echo), 400, "bad_echo")
    assert server.service.requests == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/exchange/", 404, "not_found"),
        ("POST", "/v1/unknown", 404, "not_found"),
        ("GET", "/v1/../etc/passwd", 404, "not_found"),
        ("GET", "/v1/exchange", 405, "method_not_allowed"),
        ("PUT", "/v1/verify", 405, "method_not_allowed"),
        ("POST", "/v1/health", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/exchange", 405, "method_not_allowed"),
    ],
)
def test_unknown_paths_and_methods(
    server: Running, method: str, path: str, status: int, code: str
) -> None:
    response = server.client.request(method, path, headers={"holdfast-echo": "e"})
    check_error(response, status, code, "e")


def nested(depth: int) -> bytes:
    return GOOD[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"


def with_key(raw: bytes) -> bytes:
    change = Change(table="stock", key=["@"], op="insert")
    transaction = Transaction(number=1, id="0" * 32, at=1, changes=[change])
    return encode_request(exchange(transactions=[transaction])).replace(b'"@"', raw)


GZIP = {"content_encoding": "gzip"}
BAD: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "gzip bomb": (gzip.compress(bytes(40_000_000)), GZIP, 413, "too_large"),
    "gzip twice in the header": (
        gzip.compress(gzip.compress(GOOD)), {"content_encoding": "gzip, gzip"}, 415, "bad_encoding",
    ),
    "gzip twice in the body": (gzip.compress(gzip.compress(GOOD)), GZIP, 400, "bad_json"),
    "gzip of two members": (gzip.compress(GOOD) * 2, GZIP, 400, "bad_encoding"),
    "gzip cut short": (gzip.compress(GOOD)[:-3], GZIP, 400, "bad_encoding"),
    "gzip that is none": (GOOD, GZIP, 400, "bad_encoding"),
    "gzip not declared": (gzip.compress(GOOD), {}, 400, "bad_json"),
    "brotli": (GOOD, {"content_encoding": "br"}, 415, "bad_encoding"),
    "deflate": (GOOD, {"content_encoding": "deflate"}, 415, "bad_encoding"),
    "zstd that is none": (GOOD, {"content_encoding": "zstd"}, 400, "bad_encoding"),
    "zstd in gzip": (
        pack_bytes(pack_bytes(GOOD, "zstd"), "gzip"), {"content_encoding": "zstd, gzip"}, 415,
        "bad_encoding",
    ),
    "zstd bomb": (
        pack_bytes(bytes(40_000_000), "zstd"), {"content_encoding": "zstd"}, 413, "too_large",
    ),
    "unknown encoding": (GOOD, {"content_encoding": "rot13"}, 415, "bad_encoding"),
    "no content type": (GOOD, {"content_type": ""}, 415, "bad_content_type"),
    "form": (GOOD, {"content_type": "application/x-www-form-urlencoded"}, 415, "bad_content_type"),
    "other charset": (
        GOOD, {"content_type": "application/json; charset=latin-1"}, 415, "bad_content_type",
    ),
    "empty": (b"", {}, 400, "bad_json"),
    "depth bomb": (nested(100_000), {}, 400, "bad_json"),
    "duplicate key": (GOOD[:-1] + b',"now":2}', {}, 400, "bad_json"),
    "NaN": (with_key(b"NaN"), {}, 400, "bad_json"),
    "5,000 digits": (with_key(b"1" * 5000), {}, 400, "bad_json"),
    "1e999": (with_key(b"1e999"), {}, 400, "bad_message"),
    "lone surrogate": (with_key(rb'"\ud800"'), {}, 400, "bad_json"),
    "invalid UTF-8": (with_key(b'"\xff"'), {}, 400, "bad_json"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, {}, 400, "bad_json"),
    "UTF-16": (GOOD.decode().encode("utf-16"), {}, 400, "bad_json"),
    "trailing garbage": (GOOD + b"garbage", {}, 400, "bad_json"),
    "wrong type": (GOOD.replace(b'"now":1', b'"now":"1"'), {}, 400, "bad_message"),
    "unknown field": (GOOD[:-1] + b',"sql":"DROP"}', {}, 400, "bad_message"),
    "another protocol": (b'{"protocol":2,"new":{}}', {}, 400, "protocol_version"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "status", "code"), BAD.values(), ids=BAD)
def test_bad_input_gets_a_code_and_reaches_nobody(
    server: Running, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    check_error(server.post(body, holdfast_echo="e", **headers), status, code, "e")
    assert server.service.requests == []
    assert server.post(GOOD).status_code == 200  # and the server is as well as before


def test_a_body_above_the_limit_is_refused(server: Running) -> None:
    check_error(server.post(b" " * (REQUEST_BODY_BYTES_MAX + 1)), 413, "too_large")
    body = os.urandom(REQUEST_COMPRESSED_BYTES_MAX + 1)
    check_error(server.post(body, content_encoding="gzip"), 413, "too_large")
    assert server.service.requests == []


def test_a_body_at_the_limit_is_read(server: Running) -> None:
    body = GOOD + b" " * (REQUEST_BODY_BYTES_MAX - len(GOOD))
    assert server.post(body).status_code == 200


def head(*fields: str) -> bytes:
    given = (
        "host: localhost",
        "content-type: application/json",
        "authorization: Bearer token-a",
        *fields,
    )
    return ("POST /v1/exchange HTTP/1.1\r\n" + "\r\n".join(given) + "\r\n\r\n").encode()


def received(raw: socket.socket) -> bytes:
    raw.settimeout(20)
    data = b""
    try:
        while piece := raw.recv(65_536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def test_an_endless_body_is_cut(server: Running) -> None:
    with socket.create_connection(server.address) as raw:
        raw.sendall(head("transfer-encoding: chunked"))
        chunk = b"%x\r\n" % 1_000_000 + bytes(1_000_000) + b"\r\n"
        try:
            for _ in range(1000):
                raw.sendall(chunk)
        except OSError:
            pass
        else:
            pytest.fail("it reads for ever")
    assert server.service.requests == []


def test_a_declared_giant_is_refused_before_it_is_sent(server: Running) -> None:
    with socket.create_connection(server.address) as raw:
        raw.sendall(head(f"content-length: {10**15}"))
        assert b"too_large" in received(raw)


@pytest.mark.parametrize(
    "start",
    [
        head(f"content-length: {len(GOOD)}") + GOOD[:-1],
        head("transfer-encoding: chunked") + b"%x\r\n" % len(GOOD) + GOOD + b"\r\n",
        head("transfer-encoding: chunked") + b"%x\r\n" % len(GOOD) + GOOD[:-5],
    ],
    ids=["content-length", "no last chunk", "inside a chunk"],
)
def test_a_truncated_body_changes_nothing(server: Running, start: bytes) -> None:
    for reset in (False, True):
        with socket.create_connection(server.address) as raw:
            if reset:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raw.sendall(start)
    assert server.post(GOOD).status_code == 200
    assert len(server.service.requests) == 1  # only the one just now


def test_a_slow_body_is_given_up(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = request_module.Body.read.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "idle_ms", 50)
    monkeypatch.setattr(request_module, "REQUEST_DRAIN_MS", 50)
    with socket.create_connection(server.address) as raw:
        raw.sendall(head("content-length: 100") + b"{")
        answer = received(raw)
    assert b"408" in answer
    assert b"slow_body" in answer


@pytest.mark.parametrize(
    "raw_request",
    [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/exchange\r\n\r\n",
     head("content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n",
     head("content-length: 5", "content-length: 6") + b"hello!",
     head("content-length: -1"), head("transfer-encoding: gzip")],
)  # fmt: skip
def test_what_is_not_http_gets_no_further(server: Running, raw_request: bytes) -> None:
    with socket.create_connection(server.address) as raw:
        raw.sendall(raw_request)
        raw.shutdown(socket.SHUT_WR)
        answer = received(raw)
    assert b"200" not in answer.split(b"\r\n")[0]
    assert server.service.requests == []
    assert server.get("/v1/health?nonce=n").status_code == 200


# --- failures -------------------------------------------------------------------------------------


def test_what_the_service_refuses_keeps_its_code(server: Running) -> None:
    server.service.raises = ProtocolError(
        "restored?", code="epoch_mismatch", status=409, epoch="epoch-1"
    )
    response = server.post(GOOD, holdfast_echo="e")
    check_error(response, 409, "epoch_mismatch", "e")
    assert response.json()["error"]["detail"] == {"epoch": "epoch-1"}


def test_a_busy_database_asks_to_come_back(server: Running) -> None:
    server.service.raises = DatabaseBusy("/var/lib/secret-path is locked")
    response = server.post(GOOD)
    check_error(response, 503, "database_busy")
    assert response.headers["retry-after"]
    assert "secret-path" not in response.text


def test_an_unexpected_failure_is_logged_and_not_told(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    server.service.raises = RuntimeError("password is swordfish")
    with caplog.at_level(logging.ERROR):
        check_error(server.post(GOOD, holdfast_echo="e"), 500, "internal", "e")
    assert "swordfish" not in server.post(GOOD).text
    assert "swordfish" in caplog.text
    assert "Traceback" in caplog.text


def test_an_answer_that_breaks_off_is_not_ended_properly(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    server.service.rows, server.service.row_bytes = 3000, 300
    server.service.raises_at_row = 2000
    for encoding in ("identity", "gzip"):
        with pytest.raises(httpx2.RemoteProtocolError):
            server.post(GOOD, accept_encoding=encoding)
        assert server.service.closed.acquire(timeout=60)
    assert "on fire" in caplog.text


def test_a_client_that_goes_away_releases_the_snapshot(server: Running) -> None:
    server.service.rows, server.service.row_bytes = 10**6, 10_000
    with socket.create_connection(server.address) as raw:
        raw.sendall(head(f"content-length: {len(GOOD)}") + GOOD)
        assert b"200 OK" in raw.recv(4096)
        assert not server.service.closed.acquire(blocking=False)
    assert server.service.closed.acquire(timeout=60)


def test_too_many_at_once_are_told_to_come_back(server: Running) -> None:
    server.service.gate.clear()
    answers: list[httpx2.Response] = []

    def ask() -> None:
        answers.append(server.post(GOOD))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    until(lambda: any(answer.status_code == 503 for answer in answers))
    assert server.get("/v1/health?nonce=n", token="").status_code == 200  # never waits
    server.service.gate.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200, 503}
    busy = next(answer for answer in answers if answer.status_code == 503)
    check_error(busy, 503, "busy")
    assert busy.headers["retry-after"] == "1"


# --- live events ----------------------------------------------------------------------------------


class Stream:
    """A client of the event stream that reads as far as it is asked."""

    def __init__(self, server: Running, token: str = "token-a") -> None:
        self.raw = socket.create_connection(server.address)
        self.raw.settimeout(20)
        self.raw.sendall(
            b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\nholdfast-echo: e\r\n"
            b"authorization: Bearer %s\r\n\r\n" % token.encode()
        )
        self.data = b""

    def until(self, part: bytes) -> bytes:
        while part not in self.data:
            piece = self.raw.recv(4096)
            assert piece, f"ended before {part!r}: {self.data!r}"
            self.data += piece
        before, _, self.data = self.data.partition(part)
        return before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()


def event_data(stream: Stream, name: bytes) -> Any:
    stream.until(b"event: " + name + b"\ndata: ")
    return json.loads(stream.until(b"\n\n"))


def test_events_say_hello_and_what_moved(server: Running) -> None:
    with Stream(server) as stream:
        headers = stream.until(b"\r\n\r\n").lower()
        assert b"text/event-stream" in headers
        assert b"holdfast-echo: e" in headers
        assert b"no-store" in headers
        assert event_data(stream, b"hello")["scopes"] == {"main": 7}
        server.hub.publish({"main": 8, "other": 9})
        assert event_data(stream, b"moved") == {"scopes": {"main": 8}}
        stream.until(b": alive\n\n")
    until(lambda: len(server.hub) == 0)


def test_events_need_a_token(server: Running) -> None:
    check_error(server.get("/v1/events", token="none"), 401, "sign_in")


def test_a_revoked_token_ends_its_stream(server: Running) -> None:
    with Stream(server) as stream:
        stream.until(b"hello")
        server.tokens.write_text(TOKENS.replace('read = ["main"]', "read = []"))
        assert b"moved" not in stream.until(b"\r\n0\r\n\r\n")
    assert len(server.hub) == 0


def test_a_device_has_so_many_streams(server: Running) -> None:
    streams = []
    for _ in range(EVENT_STREAMS_PER_DEVICE_MAX):  # one by one: little may wait at this server
        streams.append(Stream(server))
        streams[-1].until(b"hello")
    response = server.get("/v1/events")
    check_error(response, 429, "too_many_streams")
    assert response.headers["retry-after"]
    with Stream(server, "token-b") as other:
        other.until(b"hello")
    for stream in streams:
        stream.raw.close()
    until(lambda: len(server.hub) == 0)


# --- the process ----------------------------------------------------------------------------------

PROGRAM = """
    from pathlib import Path
    import importlib.util, sys
    spec = importlib.util.spec_from_file_location("shell", sys.argv[1])
    shell = importlib.util.module_from_spec(spec)
    sys.modules["shell"] = shell
    spec.loader.exec_module(shell)
    service, hub = shell.Service(), shell.Hub()
    service.gate.set()
    app = shell.asgi(service, shell.TokenFile(Path(sys.argv[2])), hub=hub)
    shell.serve(app, "127.0.0.1", 0, lambda url: print(url, flush=True))
    print("ended", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_order(tmp_path: Path, number: signal.Signals) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), __file__, str(tokens)]
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        contextlib.ExitStack() as ending,
    ):
        ending.callback(process.kill)
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip()
        headers = {"authorization": "Bearer token-a"}
        with (
            httpx2.Client(base_url=url, trust_env=False) as client,
            client.stream("GET", "/v1/events", headers=headers) as stream,
        ):
            pieces = stream.iter_raw()
            assert b"hello" in next(pieces)
            process.send_signal(number)
            assert b"".join(pieces) == b""  # ended, and properly
        assert process.wait(60) == 0
        assert process.stdout.read() == "ended\n"
        assert process.stderr.read() == ""


def test_a_taken_port_is_said_clearly(running: Running) -> None:
    service: Any = running.service
    app = asgi(service, lambda _: Principal("u", "d"), hub=Hub())
    with pytest.raises(UsageError, match="cannot_listen"):
        serve(app, "127.0.0.1", running.address[1], lambda _: None)
    with pytest.raises(UsageError, match="cannot_listen"):
        serve(app, "no-such-host.invalid", 0, lambda _: None)
