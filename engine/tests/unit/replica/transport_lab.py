"""A server that is a socket and answers with given bytes, and what tests ask it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from holdfast.core.errors import (
    ProtocolError,
    SyncError,
)
from holdfast.protocol.codec import encode_error, encode_line
from holdfast.protocol.messages import (
    Checkpoint,
    ExchangeRequest,
    Gone,
    Head,
    Line,
    Nonces,
    Rows,
)
from holdfast.replica.http.transport import HttpTransport, SpooledAnswer

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


def ask(stub: Stub, transport: HttpTransport, *answers: Any) -> SpooledAnswer:
    stub.answers.extend(answers)
    return transport.exchange(exchange(), ECHO)


def failure(stub: Stub, transport: HttpTransport, *answers: Any) -> SyncError:
    with pytest.raises(SyncError) as caught:
        ask(stub, transport, *answers)
    return caught.value


PORTAL = b"<!doctype html><title>Welcome</title><h1>Sign in to use this network</h1>"


def silent(connection: socket.socket) -> None:
    connection.settimeout(20)
    connection.recv(1)


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
