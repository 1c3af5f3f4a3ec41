"""Connections within limits: whatever comes before a body is bounded in size, number and time."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine.tests.unit.server.served import port_of, served

from holdfast.server.http.connections import Limits

HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n"
LIMITS = Limits(connections=8, per_address=4, head_bytes=4096, headers=20, head_ms=1500)
Dial = Callable[..., socket.socket]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with served(tmp_path_factory.mktemp("gate"), limits=LIMITS) as url:
        yield port_of(url)


@pytest.fixture
def dial(port: int) -> Iterator[Callable[..., socket.socket]]:
    with contextlib.ExitStack() as stack:

        def connect(source: str = "127.0.0.1") -> socket.socket:
            made = socket.create_connection(
                ("127.0.0.1", port), timeout=60, source_address=(source, 0)
            )
            return stack.enter_context(made)

        yield connect


def told(connection: socket.socket) -> bytes:
    """All that is said until the server closes; what a reset cuts off is lost."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            found += piece
    return found


def answer(connection: socket.socket) -> tuple[int, str]:
    """The status and code of one small answer."""
    found = b""
    while b"}" not in found:
        piece = connection.recv(65536)
        assert piece, f"closed after {found!r}"
        found += piece
    status = int(found.split()[1])
    body = json.loads(found.partition(b"\r\n\r\n")[2])
    return status, body.get("error", {}).get("code", "")


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (HEALTH + b"X: " + b"a" * 4096 + b"\r\n\r\n", 431, "headers_too_large"),
        (HEALTH + b"X: " + b"a" * 9000, 431, "headers_too_large"),
        (b"GET /" + b"a" * 9000, 431, "headers_too_large"),
        (HEALTH + b"X: a\r\n" * 21 + b"\r\n", 431, "headers_too_large"),
        (HEALTH + b"X" * 9000 + b": a\r\n\r\n", 431, "headers_too_large"),
        (HEALTH + b'Cookie: holdfast_token="' + b"\\a" * 3000 + b'"\r\n\r\n', 431,
         "headers_too_large"),
        (b"\x16\x03\x01 what is this\r\n\r\n", 400, "bad_request"),
        (HEALTH + b"X: a\r\n" * 20 + b"\r\n", 431, "headers_too_large"),
        (HEALTH + b"X: a\r\n" * 19 + b"\r\n", 200, ""),
        (b"GET /v1/health HTTP/1.1\r\n\r\n", 400, "bad_host"),
        (HEALTH + b"Host: localhost\r\n\r\n", 400, "bad_host"),
        (b"GET /v1/health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "wrong_host"),
    ],
)  # fmt: skip
def test_heads_have_limits(dial: Dial, head: bytes, status: int, code: str) -> None:
    connection = dial()
    connection.sendall(head)
    assert answer(connection) == (status, code)


def test_a_head_that_comes_byte_by_byte_has_a_deadline(dial: Dial) -> None:
    connection = dial()
    other = dial("127.0.0.2")
    connection.sendall(HEALTH)
    said = b""
    connection.settimeout(0.1)
    while not said:
        with contextlib.suppress(TimeoutError):
            said = connection.recv(100)
        if not said:
            connection.sendall(b"X")
    assert said.startswith(b"HTTP/1.1 408 ")
    other.sendall(b"")
    assert told(other).startswith(b"HTTP/1.1 408 ")  # one that says nothing has it, too


def test_a_later_request_has_the_same_deadline(dial: Dial) -> None:
    connection = dial()
    connection.sendall(HEALTH + b"\r\n")
    assert answer(connection) == (200, "")
    connection.sendall(b"\r\n\r\nGET /")
    assert told(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_nobody_wants_holds_no_connection(dial: Dial) -> None:
    connection = dial()
    connection.sendall(HEALTH + b"Content-Length: 1000000\r\n\r\nab")
    assert told(connection).startswith(b"HTTP/1.1 200 ")


def test_half_requests_keep_nobody_out(dial: Callable[..., socket.socket]) -> None:
    halves = [dial(f"127.0.0.{2 + number % 20}") for number in range(40)]
    for half in halves:
        with contextlib.suppress(ConnectionError):
            half.sendall(HEALTH)
        well = dial()
        well.sendall(HEALTH + b"\r\n")
        assert answer(well) == (200, "")


def test_one_address_gets_its_share_and_others_theirs(
    tmp_path: Path,
) -> None:
    """Connections with requests under way are never closed for another; what is too much is told
    so, and the others are served."""
    head = (
        b"POST /v1/enrol HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000\r\n\r\n{"
    )
    limits = Limits(connections=8, per_address=3)
    with served(tmp_path, limits=limits) as url, contextlib.ExitStack() as stack:
        port = port_of(url)

        def connect(source: str, said: bytes) -> socket.socket:
            made = stack.enter_context(
                socket.create_connection(
                    ("127.0.0.1", port), timeout=60, source_address=(source, 0)
                )
            )
            made.sendall(said)
            return made

        busy = [connect("127.0.0.2", head) for _ in range(3)]
        assert answer(connect("127.0.0.2", b"")) == (503, "busy")
        assert answer(connect("127.0.0.3", HEALTH + b"\r\n")) == (200, "")
        for connection in busy:
            connection.sendall(b"}" + b" " * 998)
            assert answer(connection)[0] == 400
        assert answer(connect("127.0.0.2", HEALTH + b"\r\n")) == (200, "")


def test_bodies_count_for_no_head(dial: Dial) -> None:
    """However they are cut, and whatever follows in the same piece."""
    body = b'{"protocol": 1, "code": "' + b"a" * 9000 + b'"}'
    head = b"POST /v1/enrol HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for request in (whole, chunked):
        connection = dial()
        connection.sendall(request + HEALTH)
        assert answer(connection) == (400, "bad_message")
        connection.sendall(b"\r\n" + request[:5000])
        assert answer(connection)[0] == 200
        connection.sendall(request[5000:])
        assert answer(connection) == (400, "bad_message")


def test_requests_in_a_row_are_bounded(dial: Dial) -> None:
    connection = dial()
    with contextlib.suppress(ConnectionError):
        connection.sendall((HEALTH + b"\r\n") * 2000)
    assert 0 <= told(connection).count(b"HTTP/1.1 200 ") < 2000
    well = dial()
    well.sendall(HEALTH + b"\r\n")
    assert answer(well) == (200, "")
