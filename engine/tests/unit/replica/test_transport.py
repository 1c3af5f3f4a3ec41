"""An answer is believed when it is whole and ours; what else comes is told apart by what to do.

The stub is a socket that answers with given bytes; the last tests use the server's real shell.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import (
    AttentionNeeded,
    Offline,
    ProtocolError,
    ReplicaError,
    ServerTrouble,
    SignInNeeded,
    SyncError,
    UpgradeNeeded,
)
from holdfast.core.limits import RESPONSE_MEMORY_BYTES_MAX, RETRY_AFTER_MS_MAX
from holdfast.protocol.codec import decode_request, encode_error, encode_line, encode_request
from holdfast.protocol.compression import ENCODINGS, Encoding, pack_bytes, unpack_bounded
from holdfast.protocol.messages import (
    Change,
    Checkpoint,
    ExchangeRequest,
    Gone,
    Head,
    Line,
    Nonces,
    Rows,
    Transaction,
    VerifyRequest,
)
from holdfast.replica import answer as answer_module
from holdfast.replica.failures import retry_after_ms
from holdfast.replica.live import parse_events
from holdfast.replica.transport import Answer, HttpTransport, LiveEvent, MemoryTransport
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.asgi import asgi
from holdfast.server.events import Hub
from holdfast.server.principal import Principal
from holdfast.server.run import Stopper, serve

ECHO = "e1"
NOW_US = 1_700_000_000_000_000


def exchange(**fields: Any) -> ExchangeRequest:
    given: dict[str, Any] = {
        "protocol": 1,
        "schema": "s",
        "now": 1,
        "nonce": Nonces("", "abcdefgh"),
    }
    return ExchangeRequest(**(given | fields))


def head(echo: str = ECHO, protocol: int = 1) -> Head:
    return Head(
        protocol=protocol, epoch="e", device="d", user="u", echo=echo, time=5, schema="s", scopes={}
    )


MIDDLE: list[Line] = [Rows("t", [[1, "a"]]), Gone("t", ["k"])]


def encoded(*lines: Line) -> bytes:
    return b"".join(encode_line(line) for line in lines)


WHOLE = encoded(head(), *MIDDLE, Checkpoint({}, 3))


def http(
    body: bytes,
    *,
    status: str = "200 OK",
    kind: str = "application/x-ndjson",
    echo: str | None = ECHO,
    length: int | None = None,
    **fields: str,
) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}"]
    if kind:
        lines.append(f"content-type: {kind}")
    if echo is not None:
        lines.append(f"holdfast-echo: {echo}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def error(status: str, code: str, *, echo: str = ECHO, **fields: str) -> bytes:
    body = encode_error(ProtocolError("because", code=code, key="value"), echo=echo)
    return http(body, status=status, kind="application/json", echo=echo, **fields)  # type: ignore[arg-type]  # all text


@dataclass
class Stub:
    """A server that answers one connection after the other with bytes it was given."""

    answers: list[bytes | Callable[[socket.socket], None]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection:
                if not self.answers:
                    return
                self.connections += 1
                while self.answers and (request := self.read(connection)):
                    self.requests.append(request)
                    answer = self.answers.pop(0)
                    if not isinstance(answer, bytes):
                        answer(connection)
                        break
                    connection.sendall(answer)
                    if b"connection: close" in answer:
                        break

    def read(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65_536)
            if not piece:
                return b""
            data += piece
        before, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in before.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        while len(body) < length:
            body += connection.recv(65_536)
        return before + b"\r\n\r\n" + body

    def close(self) -> None:
        self.answers.clear()
        with socket.create_connection(self.listener.getsockname()):
            pass
        self.thread.join(20)
        assert not self.thread.is_alive()
        self.listener.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def transport(stub: Stub) -> Iterator[HttpTransport]:
    transport = HttpTransport(stub.url, lambda: "secret", now_us=lambda: NOW_US)
    yield transport
    transport.close()


def ask(stub: Stub, transport: HttpTransport, *answers: Any) -> Answer:
    stub.answers.extend(answers)
    return transport.exchange(exchange(), ECHO)


def failure(stub: Stub, transport: HttpTransport, *answers: Any) -> SyncError:
    with pytest.raises(SyncError) as caught:
        ask(stub, transport, *answers)
    return caught.value


# --- whole answers --------------------------------------------------------------------------------


def test_a_whole_answer_is_believed(stub: Stub, transport: HttpTransport) -> None:
    answer = ask(stub, transport, http(WHOLE))
    assert answer.head == head()
    assert answer.checkpoint == Checkpoint({}, 3)
    assert list(answer.lines()) == MIDDLE
    assert list(answer.lines()) == MIDDLE  # from the start again
    assert (answer.sent_us, answer.received_us) == (NOW_US, NOW_US)
    answer.close()
    answer.close()


def test_what_is_sent(stub: Stub, transport: HttpTransport) -> None:
    ask(stub, transport, http(WHOLE)).close()
    before, _, body = stub.requests[0].partition(b"\r\n\r\n")
    sent = before.decode().lower().split("\r\n")
    assert sent[0] == "post /v1/exchange http/1.1"
    assert "authorization: bearer secret" in sent
    assert f"holdfast-echo: {ECHO}" in sent
    assert "content-type: application/json" in sent
    assert decode_request(body, ExchangeRequest) == exchange()


def test_a_large_request_is_compressed(stub: Stub, transport: HttpTransport) -> None:
    change = Change(table="t", key=["k"], op="insert", new={"n": "x" * 5000})
    request = exchange(transactions=[Transaction(number=1, id="0" * 32, at=1, changes=[change])])
    stub.answers.append(http(WHOLE))
    transport.exchange(request, ECHO).close()
    before, _, body = stub.requests[0].partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in before.lower()
    assert gzip.decompress(body) == encode_request(request)


def test_zstd_goes_up_to_a_server_that_has_said_it_takes_it(
    stub: Stub, transport: HttpTransport
) -> None:
    change = Change(table="t", key=["k"], op="insert", new={"note": "x" * 5000})
    transaction = Transaction(number=1, id="0" * 32, at=1, changes=[change])
    request = exchange(transactions=[transaction])
    takes = http(WHOLE, accept_encoding="gzip, zstd;q=1")
    no = error("415 Unsupported Media Type", "bad_encoding")
    stub.answers.extend([takes, takes, no, http(WHOLE)])
    sent = []
    for _ in range(4):
        with contextlib.suppress(SyncError):
            transport.exchange(request, ECHO).close()
        before, _, body = stub.requests[-1].partition(b"\r\n\r\n")
        assert b"accept-encoding: zstd, gzip" in before.lower()
        name: Any = next(e for e in ENCODINGS if b"content-encoding: " + e.encode() in before)
        assert unpack_bounded([body], name) == encode_request(request)
        sent.append(name)
    assert sent == ["gzip", "zstd", "zstd", "gzip"]


def test_a_connection_is_used_again(stub: Stub, transport: HttpTransport) -> None:
    stub.answers.extend([http(WHOLE)] * 3)
    for _ in range(3):
        transport.exchange(exchange(), ECHO).close()
    assert stub.connections == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_a_compressed_answer(
    stub: Stub, transport: HttpTransport, pieces: int, encoding: Encoding
) -> None:
    rows: list[Line] = [Rows("t", [[number, "x" * 50]]) for number in range(pieces)]
    body = encoded(head(), *rows, Checkpoint({}, pieces + 1))
    answer = ask(stub, transport, http(pack_bytes(body, encoding), content_encoding=encoding))
    assert list(answer.lines()) == rows
    answer.close()


def test_a_large_answer_goes_to_a_file(stub: Stub, tmp_path: Path) -> None:
    rows: list[Line] = [
        Rows("t", [[number, "x" * 100_000]])
        for number in range(RESPONSE_MEMORY_BYTES_MAX // 100_000 + 2)
    ]
    transport = HttpTransport(stub.url, lambda: "t", spool_directory=tmp_path)
    answer = ask(stub, transport, http(encoded(head(), *rows, Checkpoint({}, len(rows) + 1))))
    assert sum(1 for _ in answer.lines()) == len(rows)
    answer.close()
    assert list(tmp_path.iterdir()) == []
    transport.close()


def test_no_room_for_the_answer(stub: Stub, tmp_path: Path) -> None:
    transport = HttpTransport(stub.url, lambda: "t", spool_directory=tmp_path / "gone")
    body = encoded(head(), Rows("t", [["x" * (RESPONSE_MEMORY_BYTES_MAX + 1)]]), Checkpoint({}, 2))
    assert failure(stub, transport, http(body)).code == "disk_full"
    transport.close()


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 4096])
def test_lines_are_found_however_they_arrive(size: int) -> None:
    pieces = [WHOLE[start : start + size] for start in range(0, len(WHOLE), size)]
    answer = answer_module.receive(pieces, echo=ECHO, sent_us=0, received_us=0)
    assert (answer.head, list(answer.lines())) == (head(), MIDDLE)
    assert answer.checkpoint == Checkpoint({}, 3)
    answer.close()


def test_every_truncation_is_found() -> None:
    for end in range(len(WHOLE)):
        with pytest.raises(Offline) as caught:
            answer_module.receive([WHOLE[:end]], echo=ECHO, sent_us=0, received_us=0)
        assert caught.value.code == "broken_answer", end


BROKEN = {
    "no lines": b"",
    "only a head": encoded(head()),
    "no checkpoint": encoded(head(), *MIDDLE),
    "a line lost": encoded(head(), MIDDLE[0], Checkpoint({}, 3)),
    "a line doubled": encoded(head(), *MIDDLE, MIDDLE[1], Checkpoint({}, 3)),
    "something behind": WHOLE + encoded(MIDDLE[0]),
    "two answers": WHOLE + WHOLE,
    "garbage behind": WHOLE + b"x",
    "blank line behind": WHOLE + b"\n",
    "no line end": WHOLE[:-1],
    "not JSON": b"hello\nworld\n",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_is_not_whole(stub: Stub, transport: HttpTransport, body: bytes) -> None:
    found = failure(stub, transport, http(body))
    assert isinstance(found, Offline)
    assert found.code == "broken_answer"


@pytest.mark.parametrize(
    "middle", [b"{}\n", b"no\n", encoded(head()), encoded(Checkpoint({}, 1)), b"\xff\n"]
)
def test_a_wrong_line_in_the_middle_is_found_when_it_is_read(middle: bytes) -> None:
    body = encoded(head()) + middle + encoded(Checkpoint({}, 2))
    answer = answer_module.receive([body], echo=ECHO, sent_us=0, received_us=0)
    with pytest.raises(Offline, match="broken_answer"):
        list(answer.lines())
    answer.close()


def test_a_line_or_answer_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "RESPONSE_LINE_BYTES_MAX", 300)
    monkeypatch.setattr(answer_module, "RESPONSE_BYTES_MAX", 1000)

    def sizes(*lines: int) -> list[bytes]:
        return [b"x" * size + b"\n" for size in lines]

    for pieces in ([b"x" * 200, b"x" * 200], sizes(301), sizes(*[250] * 4), [b"x" * 290] * 9):
        with pytest.raises(Offline, match="larger"):
            answer_module.receive(pieces, echo="", sent_us=0, received_us=0)


# --- not our server -------------------------------------------------------------------------------

PORTAL = b"<!doctype html><title>Welcome</title><h1>Sign in to use this network</h1>"
NOT_OURS = {
    "portal": http(PORTAL, kind="text/html", echo=None),
    "portal that repeats our headers": http(PORTAL, kind="text/html"),
    "portal with our type": http(WHOLE, echo=None),
    "another request's answer": http(WHOLE, echo="e2"),
    "another request's lines": http(encoded(head("e2"), *MIDDLE, Checkpoint({}, 3))),
    "another protocol": http(encoded(head(protocol=2), Checkpoint({}, 1))),
    "does not begin with a head": http(encoded(MIDDLE[0], Checkpoint({}, 1))),
    "no content type": http(WHOLE, kind=""),
    "JSON": http(b"{}", kind="application/json"),
    "encoded in some other way": http(WHOLE, content_encoding="br"),
    "encoded twice": http(gzip.compress(WHOLE), content_encoding="gzip, gzip"),
    "no content": http(b"", status="204 No Content"),
    "partial content": http(WHOLE, status="206 Partial Content"),
    "redirect": http(b"", status="302 Found", location="http://portal.example/"),
    "redirect that keeps the method": http(b"", status="307 Moved", location="/v1/elsewhere"),
    "511": http(PORTAL, status="511 Network Authentication Required", kind="text/html"),
    "404 page": http(PORTAL, status="404 Not Found", kind="text/html"),
    "403 JSON without our echo": http(
        b'{"error":{"code":"sign_in","message":""}}', status="403 No", kind="application/json",
        echo=None,
    ),
    "401 of a proxy": http(PORTAL, status="401 Unauthorized", kind="text/html"),
    "401 with another echo": error("401 Unauthorized", "sign_in", echo="e2"),
    "409 with another echo inside": http(
        encode_error(ProtocolError("", code="epoch_mismatch"), echo="e2"), status="409 Conflict",
        kind="application/json",
    ),
    "400 that is no error": http(b'{"ok":true}', status="400 Bad", kind="application/json"),
    "error page that never ends": http(b"x" * 100_000, status="400 Bad", kind="application/json"),
}  # fmt: skip


@pytest.mark.parametrize("answer", NOT_OURS.values(), ids=NOT_OURS)
def test_what_is_not_our_server_is_not_believed(
    stub: Stub, transport: HttpTransport, answer: bytes
) -> None:
    found = failure(stub, transport, answer)
    assert isinstance(found, Offline)
    assert found.code == "not_our_server"
    assert len(stub.requests) == 1  # nothing was followed


def test_the_token_and_cookies_stay_at_home(stub: Stub, transport: HttpTransport) -> None:
    portal = http(PORTAL, kind="text/html", set_cookie="session=stolen; path=/")
    failure(stub, transport, portal)
    ask(stub, transport, http(WHOLE)).close()
    assert b"stolen" not in stub.requests[1]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        ("401 Unauthorized", "sign_in", SignInNeeded),
        ("401 Unauthorized", "token_expired", SignInNeeded),
        ("400 Bad Request", "protocol_version", UpgradeNeeded),
        ("409 Conflict", "schema_mismatch", UpgradeNeeded),
        ("409 Conflict", "nonce_mismatch", AttentionNeeded),
        ("409 Conflict", "epoch_mismatch", AttentionNeeded),
        ("409 Conflict", "wrong_device", AttentionNeeded),
        ("409 Conflict", "number_reused", AttentionNeeded),
        ("409 Conflict", "number_gap", AttentionNeeded),
        ("409 Conflict", "seal_invalid", AttentionNeeded),
        ("409 Conflict", "server_behind", AttentionNeeded),
        ("413 Too Large", "too_large", SyncError),
        ("400 Bad Request", "bad_message", SyncError),
        ("418 Teapot", "some_code_of_the_future", SyncError),
    ],
)
def test_what_our_server_refuses(
    stub: Stub, transport: HttpTransport, status: str, code: str, kind: type[SyncError]
) -> None:
    found = failure(stub, transport, error(status, code))
    assert type(found) is kind
    assert found.code == code
    assert found.message == "because"
    assert found.detail["server"] == {"key": "value"}


@pytest.mark.parametrize(
    ("answer", "code", "wait_ms"),
    [
        (error("503 Busy", "busy", retry_after="7"), "busy", 7000),
        (error("500 Internal", "internal"), "internal", None),
        (error("429 Slow down", "too_many_streams", retry_after="0"), "too_many_streams", 0),
        (http(PORTAL, status="502 Bad Gateway", kind="text/html", echo=None), "server_trouble",
         None),
        (http(b"", status="504 Time-out", kind="", retry_after="99999999999"), "server_trouble",
         RETRY_AFTER_MS_MAX),
        (http(b"", status="429 Slow down", kind="", retry_after="soon"), "server_trouble", None),
        (http(b"abc", status="503 Cut", length=1000, connection="close"), "server_trouble", None),
    ],
)  # fmt: skip
def test_trouble_is_retried(
    stub: Stub, transport: HttpTransport, answer: bytes, code: str, wait_ms: int | None
) -> None:
    found = failure(stub, transport, answer)
    assert isinstance(found, ServerTrouble)
    assert (found.code, found.retry_after_ms) == (code, wait_ms)


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        ("", None), ("x", None), ("-1", None), ("1.5", None), ("٣", None), ("5", 5000),
        ("9" * 60, RETRY_AFTER_MS_MAX), (formatdate(NOW_US / 1e6 + 60, usegmt=True), 60_000),
        (formatdate(NOW_US / 1e6 - 60, usegmt=True), 0),
        (formatdate(NOW_US / 1e6 + 1e9, usegmt=True), RETRY_AFTER_MS_MAX),
        ("Fri, 99 Foo 9999 99:99:99 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(value: str, wait_ms: int | None) -> None:
    assert retry_after_ms(value, now_us=NOW_US) == wait_ms


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "a\r\nx: y", "ä"])
def test_a_token_that_cannot_be_one_is_never_sent(stub: Stub, token: str) -> None:
    transport = HttpTransport(stub.url, lambda: token)
    assert isinstance(failure(stub, transport), SignInNeeded)
    assert stub.requests == []
    transport.close()


# --- the way --------------------------------------------------------------------------------------


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut(data: bytes, *, by_reset: bool = False) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(data)
        if by_reset:
            reset(connection)

    return answer


def drip(data: bytes) -> Callable[[socket.socket], None]:
    """One byte now and then, for ever: no single wait is long."""

    def answer(connection: socket.socket) -> None:
        connection.settimeout(5)
        try:
            connection.sendall(data)
            while True:
                time.sleep(0.02)
                connection.sendall(b"x")
        except OSError:
            return

    return answer


def silent(connection: socket.socket) -> None:
    connection.settimeout(20)
    connection.recv(1)


HEAD_ONLY = http(b"", length=1000)


def silent_after_head(connection: socket.socket) -> None:
    connection.sendall(HEAD_ONLY)
    silent(connection)


CUTS = {
    "closed before an answer": (cut(b""), "broken_answer"),
    "reset before an answer": (cut(b"", by_reset=True), "unreachable"),
    "closed in the headers": (cut(HEAD_ONLY[:20]), "broken_answer"),
    "closed in the body": (cut(http(WHOLE, length=len(WHOLE) + 1)), "broken_answer"),
    "reset in the body": (cut(http(WHOLE, length=10**6), by_reset=True), "broken_answer"),
    "not HTTP": (cut(b"220 smtp.example ESMTP\r\n\r\n"), "broken_answer"),
    "gzip cut short": (
        cut(http(gzip.compress(WHOLE)[:-1], content_encoding="gzip")), "broken_answer",
    ),
    "gzip with something behind": (
        cut(http(gzip.compress(WHOLE) + b"x", content_encoding="gzip")), "broken_answer",
    ),
    "gzip with a flipped bit": (
        cut(http(gzip.compress(WHOLE)[:-5] + b"\0" * 5, content_encoding="gzip")), "broken_answer",
    ),
    "zstd cut short": (
        cut(http(pack_bytes(WHOLE, "zstd")[:-1], content_encoding="zstd")), "broken_answer",
    ),
    "zstd with something behind": (
        cut(http(pack_bytes(WHOLE, "zstd") * 2, content_encoding="zstd")), "broken_answer",
    ),
    "silence": (silent, "timeout"),
    "silence in the body": (silent_after_head, "timeout"),
    "drips in the headers": (drip(b"HTTP/1.1 200 OK\r\nx: "), "timeout"),
    "drips in the body": (drip(http(b"", length=10**6)), "timeout"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "code"), CUTS.values(), ids=CUTS)
def test_the_line_is_cut(stub: Stub, answer: Any, code: str) -> None:
    transport = HttpTransport(stub.url, lambda: "t", read_timeout_ms=200, deadline_ms=400)
    found = failure(stub, transport, answer)
    assert isinstance(found, Offline)
    assert found.code == code, found
    transport.close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    transport = HttpTransport(f"http://127.0.0.1:{port}", lambda: "t")
    with pytest.raises(Offline, match="unreachable"):
        transport.exchange(exchange(), ECHO)
    transport.close()


def test_a_server_that_does_not_speak_tls() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    transport = HttpTransport(
        f"https://127.0.0.1:{listener.getsockname()[1]}", lambda: "t",
        ssl_context=ssl.create_default_context(),
    )  # fmt: skip
    with pytest.raises(Offline, match="unreachable"):
        transport.exchange(exchange(), ECHO)
    thread.join(20)
    transport.close()
    listener.close()


@pytest.mark.parametrize(
    "url",
    ["", "server", "ftp://h", "http://", "http://u:p@h", "http://h?q=1", "http://h/#f",
     "file:///etc/passwd", "http://h:99999", "http://h:0"],
)  # fmt: skip
def test_urls_that_cannot_be_a_server(url: str) -> None:
    with pytest.raises(ReplicaError, match="bad_url"):
        HttpTransport(url, lambda: "t")


def test_a_server_below_a_path(stub: Stub) -> None:
    transport = HttpTransport(stub.url + "/sync/", lambda: "t")
    ask(stub, transport, http(WHOLE)).close()
    assert stub.requests[0].startswith(b"POST /sync/v1/exchange ")
    transport.close()


def end_of(work: Callable[[], object]) -> tuple[threading.Thread, list[SyncError]]:
    errors: list[SyncError] = []

    def run() -> None:
        try:
            work()
        except SyncError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("how", ["interrupt", "close"])
@pytest.mark.parametrize("begun", [b"", HEAD_ONLY], ids=["before the answer", "inside it"])
def test_another_thread_ends_a_request(stub: Stub, how: str, begun: bytes) -> None:
    asked = threading.Event()

    def wait(connection: socket.socket) -> None:
        connection.sendall(begun)
        asked.set()
        silent(connection)

    stub.answers.append(wait)
    transport = HttpTransport(stub.url, lambda: "t")
    thread, errors = end_of(lambda: transport.exchange(exchange(), ECHO))
    assert asked.wait(20)
    getattr(transport, how)()
    thread.join(10)
    assert not thread.is_alive()
    assert errors[0].code == "interrupted"
    if how == "interrupt":
        ask(stub, transport, http(WHOLE)).close()
    transport.close()
    with pytest.raises(Offline, match="closed"):
        transport.exchange(exchange(), ECHO)
    transport.close()


def test_a_fingerprint_changes_with_the_token() -> None:
    tokens = ["a"]
    transport = HttpTransport("http://h", lambda: tokens[0])
    first = transport.fingerprint()
    assert first == transport.fingerprint()
    tokens[0] = "b"
    assert transport.fingerprint() not in (first, "", "a", "b")
    tokens.clear()
    unreadable = HttpTransport("http://h", lambda: Path("/no/such/file").read_text())
    assert unreadable.fingerprint() == ""
    transport.close()
    unreadable.close()


# --- health and live events -----------------------------------------------------------------------


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


# --- with the server's real shell -----------------------------------------------------------------

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

    app = asgi(service, authenticate, hub=hub, heartbeat_ms=40)
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


# --- in one process -------------------------------------------------------------------------------


def test_memory_speaks_the_same() -> None:
    service = Service()
    transport = MemoryTransport(service, ANN)
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
