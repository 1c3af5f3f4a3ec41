"""Health and live events, and both ends with the server's real shell."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from transport_lab import (
    ECHO,
    NOW_US,
    PORTAL,
    Stub,
    end_of,
    exchange,
    head,
    http,
    silent,
)

from holdfast.core.errors import (
    AttentionNeeded,
    Offline,
    ProtocolError,
    ServerTrouble,
    SignInNeeded,
    SyncError,
    UpgradeNeeded,
)
from holdfast.protocol.messages import (
    Checkpoint,
    ExchangeRequest,
    Line,
    Rows,
    VerifyRequest,
)
from holdfast.replica.http.live import parse_events
from holdfast.replica.http.transport import HttpTransport, LiveEvent
from holdfast.replica.memory import MemoryTransport
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.http.app import asgi
from holdfast.server.identity.principal import Principal
from holdfast.server.live.events import Hub
from holdfast.server.run import Stopper, serve


def alive(nonce: str = "n1", **fields: Any) -> bytes:
    body = {"holdfast": 1, "nonce": nonce, "time": 42, "epoch": "e"} | fields
    return json.dumps(body).encode()


def test_health_tells_the_servers_clock(stub: Stub, transport: HttpTransport) -> None:
    stub.answers.append(http(alive(), kind="application/json", echo="n1"))
    assert transport.health("n1") == (42, NOW_US, NOW_US)
    assert stub.requests[0].startswith(b"GET /v1/health?nonce=n1 ")
    assert b"secret" not in stub.requests[0]  # it needs no token


@pytest.mark.parametrize(
    "answer",
    [
        http(PORTAL, kind="text/html", echo=None),
        http(PORTAL, kind="application/json", echo="n1"),
        http(alive(), kind="application/json", echo=None),
        http(alive("n2"), kind="application/json", echo="n1"),
        http(alive(time="now"), kind="application/json", echo="n1"),
        http(alive(time=2**60), kind="application/json", echo="n1"),
        http(alive() + b" " * 100_000, kind="application/json", echo="n1"),
        http(b"[" * 50_000, kind="application/json", echo="n1"),
        http(b"", status="302 Found", location="http://portal.example/", echo="n1"),
    ],
)
def test_a_portal_is_no_sign_of_life(stub: Stub, transport: HttpTransport, answer: bytes) -> None:
    stub.answers.append(answer)
    with pytest.raises(Offline, match="not_our_server"):
        transport.health("n1")


def test_events_are_read_however_they_arrive() -> None:
    raw = (
        b'event: hello\ndata: {"scopes":{"main":7},"heartbeat_ms":50}\n\n'
        b': alive\n\nevent: future\ndata: {"x":1}\n\nevent: moved\ndata: {"scopes":\ndata: '
        b'{"main":8}}\n\nevent: moved\ndata: {"scopes":{"cut'
    )
    expected = [
        LiveEvent("hello", {"main": 7}), LiveEvent("heartbeat"), LiveEvent("moved", {"main": 8}),
    ]  # fmt: skip
    for size in (1, 5, 1000):
        pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
        assert list(parse_events(pieces)) == expected


@pytest.mark.parametrize(
    "raw",
    [b"event: moved\ndata: no\n\n", b'event: moved\ndata: {"scopes":[]}\n\n',
     b"event: moved\n\n", b"x" * 10_000_000, b"data: " + b"x" * 2_000_000 + b"\n",
     b'event: moved\ndata: {"scopes":{"a":"\xff"}}\n\n'],
)  # fmt: skip
def test_events_that_are_none_of_ours(raw: bytes) -> None:
    with pytest.raises(Offline, match="not_our_server"):
        list(parse_events([raw]))


def test_a_portal_is_no_event_stream(stub: Stub, transport: HttpTransport) -> None:
    stub.answers.append(http(PORTAL, kind="text/html", echo=None))
    with pytest.raises(Offline, match="not_our_server"):
        transport.events()
    stub.answers.append(http(b"", kind="text/event-stream", echo="other"))
    with pytest.raises(Offline, match="not_our_server"):
        transport.events()


ANN = Principal("ann", "till-1", read=("main",))


class Service:
    """Answers with as many rows as it is told to."""

    epoch = "epoch-1"
    schema = Schema(name="s", tables=(Table("t", ("k",), (Column("k"),), scopes=("main",)),))

    def __init__(self) -> None:
        self.rows = 1
        self.refuses: ProtocolError | None = None
        self.requests: list[Any] = []

    def exchange(
        self, principal: Principal, request: ExchangeRequest, *, echo: str
    ) -> Iterator[Line]:
        return self._lines(principal, request, echo)

    def verify(self, principal: Principal, request: VerifyRequest, *, echo: str) -> Iterator[Line]:
        return self._lines(principal, request, echo)

    def _lines(self, principal: Principal, request: Any, echo: str) -> Iterator[Line]:
        self.requests.append(request)
        if self.refuses is not None:
            raise self.refuses
        yield head(echo)
        for number in range(self.rows):
            yield Rows("t", [[number, "x" * 100]])
        yield Checkpoint({}, self.rows + 1)

    def heads(self, _principal: Principal) -> dict[str, int]:
        return {"main": 7}

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def close(self) -> None:
        return


@dataclass
class Shell:
    url: str
    service: Service
    hub: Hub
    stopper: Stopper
    tokens: dict[str, Principal]
    thread: threading.Thread


@pytest.fixture
def shell() -> Iterator[Shell]:
    service, hub, stopper = Service(), Hub(), Stopper()
    tokens = {"Bearer t": ANN}

    def authenticate(headers: Any) -> Principal:
        found = tokens.get(headers.get("authorization"))
        if found is None:
            raise ProtocolError("who?", code="sign_in", status=401)
        return found

    urls: list[str] = []
    ready = threading.Event()

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    app = asgi(service, authenticate, hub=hub, heartbeat_ms=40)  # type: ignore[arg-type]  # it has what is asked here
    thread = threading.Thread(
        target=serve, args=(app, "127.0.0.1", 0, on_ready), kwargs={"stopper": stopper}
    )
    thread.start()
    assert ready.wait(30)
    yield Shell(urls[0], service, hub, stopper, tokens, thread)
    stopper.stop()
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def line(shell: Shell) -> Iterator[HttpTransport]:
    transport = HttpTransport(shell.url, lambda: "t", heartbeat_ms=400)
    yield transport
    transport.close()


@pytest.mark.parametrize("rows", [0, 1, 100, 20_000])
def test_both_ends_understand_each_other(shell: Shell, line: HttpTransport, rows: int) -> None:
    shell.service.rows = rows
    answer = line.exchange(exchange(), ECHO)
    assert sum(1 for _ in answer.lines()) == rows
    assert answer.sent_us <= answer.received_us
    answer.close()
    request = VerifyRequest(protocol=1, schema="s", now=1)
    line.verify(request, "e2").close()
    assert shell.service.requests == [exchange(), request]
    server_us, sent_us, received_us = line.health("n")
    assert sent_us <= received_us
    assert abs(server_us - sent_us) < 10_000_000


def test_refusals_keep_their_meaning(shell: Shell, line: HttpTransport) -> None:
    shell.service.refuses = ProtocolError("no", code="nonce_mismatch", status=409)
    with pytest.raises(AttentionNeeded, match="nonce_mismatch"):
        line.exchange(exchange(), ECHO)
    with pytest.raises(UpgradeNeeded, match="protocol_version"):
        line.exchange(exchange(protocol=2), ECHO)
    shell.tokens.clear()
    with pytest.raises(SignInNeeded, match="sign_in"):
        line.exchange(exchange(), ECHO)
    with pytest.raises(SignInNeeded, match="sign_in"):
        line.events()


def test_live_events_come_through(shell: Shell, line: HttpTransport) -> None:
    stream = line.events()
    events = iter(stream)
    assert next(events) == LiveEvent("hello", {"main": 7})
    shell.hub.publish({"main": 8})
    seen = [next(events) for _ in range(3)]
    assert LiveEvent("moved", {"main": 8}) in seen
    assert LiveEvent("heartbeat") in seen
    stream.close()
    stream.close()
    assert list(events) == []


@pytest.mark.parametrize("how", ["the stream", "the transport", "interrupt", "the server"])
def test_a_live_stream_is_ended(shell: Shell, line: HttpTransport, how: str) -> None:
    stream = line.events()
    hello = threading.Event()

    def read() -> None:
        for _ in stream:
            hello.set()

    thread, errors = end_of(read)
    assert hello.wait(20)
    {
        "the stream": stream.close, "the transport": line.close, "interrupt": line.interrupt,
        "the server": shell.stopper.stop,
    }[how]()  # fmt: skip
    thread.join(20)
    assert not thread.is_alive()
    assert [error.code for error in errors] in ([], ["broken_answer"])
    if how in ("the stream", "the server"):
        assert errors == []
    stream.close()


def test_a_silent_stream_is_given_up(stub: Stub) -> None:
    def answer(connection: socket.socket) -> None:
        echo = stub.requests[-1].lower().partition(b"holdfast-echo: ")[2][:16]
        start = http(b"", kind="text/event-stream", echo=echo.decode(), length=10**6)
        connection.sendall(start + b'event: hello\ndata: {"scopes":{}}\n\n')
        silent(connection)

    stub.answers.append(answer)
    transport = HttpTransport(stub.url, lambda: "t", heartbeat_ms=40)
    stream = transport.events()
    events = iter(stream)
    assert next(events).kind == "hello"
    with pytest.raises(Offline, match="timeout"):
        next(events)
    stream.close()
    transport.close()


def test_memory_speaks_the_same() -> None:
    service = Service()
    asked: Any = service
    transport = MemoryTransport(asked, ANN)
    answer = transport.exchange(exchange(), ECHO)
    assert answer.head == head()
    assert len(list(answer.lines())) == 1
    answer.close()
    transport.verify(VerifyRequest(protocol=1, schema="s", now=1), ECHO).close()
    server_us, sent_us, _ = transport.health("n")
    assert abs(server_us - sent_us) < 10_000_000
    cases: Sequence[tuple[ProtocolError, type[SyncError]]] = [
        (ProtocolError("", code="sign_in", status=401), SignInNeeded),
        (ProtocolError("", code="epoch_mismatch", status=409), AttentionNeeded),
        (ProtocolError("", code="busy", status=503), ServerTrouble),
    ]
    for refusal, kind in cases:
        service.refuses = refusal
        with pytest.raises(kind, match=refusal.code):
            transport.exchange(exchange(), ECHO)
    with pytest.raises(UpgradeNeeded, match="protocol_version"):
        transport.exchange(exchange(protocol=2), ECHO)
    stream = transport.events()
    transport.moved({"main": 8})
    events = iter(stream)
    assert [next(events), next(events)] == [
        LiveEvent("hello", {"main": 7}), LiveEvent("moved", {"main": 8}),
    ]  # fmt: skip
    transport.close()
    assert list(events) == []
    with pytest.raises(Offline, match="unreachable"):
        transport.exchange(exchange(), ECHO)
