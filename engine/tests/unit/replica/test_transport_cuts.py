"""The way is cut, slow or ended by another thread; the address may be wrong."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transport_lab import (
    ECHO,
    WHOLE,
    Stub,
    ask,
    end_of,
    exchange,
    failure,
    http,
    silent,
)

from holdfast.core.errors import (
    Offline,
    ReplicaError,
)
from holdfast.protocol.compression import pack_bytes
from holdfast.replica.http.transport import HttpTransport


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
