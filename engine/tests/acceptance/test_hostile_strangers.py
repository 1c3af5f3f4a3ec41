"""Strangers without a token do their worst to a server process; all others are served meanwhile.

Real sockets from many addresses, a process with few descriptors. Nothing here is timed: after each
piece of each attack somebody else asks, on a new connection and on one that stands, and is served.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import BadStatusLine, HTTPConnection
from pathlib import Path

import pytest

from holdfast.testing import ServerProcess, wait_until

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[3]
DESCRIPTORS = 256
TOKENS = '[token-a]\nuser = "anna"\ndevice = "device-a"\nread = ["main"]\nwrite = ["main"]\n'
LINE = b"GET /v1/health HTTP/1.1\r\n"
HEAD = LINE + b"Host: localhost\r\n"
ENROL = b"POST /v1/enrol HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
PUSH = b"POST /v1/exchange HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
FLOOD = 8 * 1024 * 1024
Attack = Callable[["Stranger"], Iterator[None]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("strangers")
    command = [
        "sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh",
        sys.executable, "-m", "holdfast.cli", "serve", "--port", "{port}",
        "--schema", str(ROOT / "examples/counter/schema.json"),
        "--database", str(folder / "server.db"),
    ]  # fmt: skip
    with ServerProcess(command, log_path=folder / "server.log") as started:
        yield started


class Stranger:
    """Opens connections from many addresses, and says anything."""

    def __init__(self, port: int, stack: contextlib.ExitStack) -> None:
        self._port = port
        self._stack = stack
        self._number = 0

    def dial(self) -> socket.socket:
        self._number += 1
        made = socket.create_connection(
            ("127.0.0.1", self._port), timeout=60,
            source_address=(f"127.0.{1 + self._number % 3}.{1 + self._number % 50}", 0),
        )  # fmt: skip
        return self._stack.enter_context(made)

    def say(self, *pieces: bytes) -> str:
        """What is answered in the end: a status, or that the connection was closed."""
        connection = self.dial()
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        with contextlib.suppress(ConnectionError):
            return connection.recv(200)[9:12].decode() or "closed"
        return "closed"


def half_lines(stranger: Stranger) -> Iterator[None]:
    for _ in range(2 * DESCRIPTORS):
        with contextlib.suppress(ConnectionError):
            stranger.dial().sendall(LINE)
        yield


def silence(stranger: Stranger) -> Iterator[None]:
    for _ in range(2 * DESCRIPTORS):
        stranger.dial()
        yield


def half_bodies(stranger: Stranger) -> Iterator[None]:
    """More than there is room for: who is busy may stay, and the rest is told so."""
    for _ in range(40):
        with contextlib.suppress(ConnectionError):
            stranger.dial().sendall(ENROL + b"Content-Length: 9000\r\n\r\n{")
        yield
    for _ in range(40):
        with contextlib.suppress(ConnectionError):
            stranger.dial().sendall(HEAD + b"Content-Length: 9000\r\n\r\n{")
        yield


def large_heads(stranger: Stranger) -> Iterator[None]:
    refused = {"431", "closed"}
    assert (
        stranger.say(HEAD, *(b"X-%d: " % n + b"a" * 65_000 + b"\r\n" for n in range(128)))
        in refused
    )
    yield
    assert stranger.say(HEAD, b"X: a\r\n" * 20_000, b"\r\n") in refused
    yield
    assert stranger.say(HEAD + b"X: ", b"a" * FLOOD) in refused
    yield
    assert stranger.say(b"GET /?" + b"a" * FLOOD) in refused
    yield
    assert stranger.say(HEAD + b"X" * FLOOD) in refused
    yield
    assert stranger.say(HEAD + b"\r\n", b"GET /" + b"a" * FLOOD) in refused | {"200"}
    yield


def costly_words(stranger: Stranger) -> Iterator[None]:
    """What some parser somewhere takes a square of time for, as large as a head may be."""
    size = 15_000
    for words in (
        b'Cookie: holdfast_token="' + b"\\a" * (size // 2) + b'"',
        b"Cookie: " + b"a=b;" * (size // 4),
        b"Cookie: " + b"=" * size,
        b"Authorization: Bearer " + b" " * size + b"a",
        b"Accept-Encoding: " + b"gzip;q=0," * (size // 9),
        b"If-None-Match: " + b'"a",' * (size // 4),
        b"Range: bytes=" + b"0-1," * (size // 4),
        b"Range: bytes=" + b"0" * size,
        b"If-Modified-Since: " + b"Mon, " * (size // 5),
        b"Content-Type: application/json" + b"; a=b" * (size // 5),
        b"X-Forwarded-For: " + b"1.1.1.1," * (size // 8),
        b"Origin: http://" + b"[" * size,
        b"Holdfast-Echo: " + b"a" * size,
        b"Transfer-Encoding: " + b"chunked," * (size // 8),
        b"Connection: " + b"upgrade," * (size // 8),
    ):
        for target in (b"/v1/health", b"/v1/session", b"/v1/files/a?until=1&sign=a"):
            told = stranger.say(
                b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n" % (target, words)
            )
            assert not told.startswith("5"), (target, words[:40], told)
        yield
    for target in (
        b"%" * size,
        b"&" * size,
        b"a=1&" * (size // 4),
        b"nonce=" + b"%41" * (size // 3),
    ):
        told = stranger.say(b"GET /v1/health?%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
        assert not told.startswith("5"), (target[:40], told)
        yield


def odd_frames(stranger: Stranger) -> Iterator[None]:
    for odd in (
        LINE + b"\r\n",
        HEAD + b"Host: localhost\r\n\r\n",
        LINE + b"Host: evil.example\r\n\r\n",
        b"GET http://evil.example/v1/health HTTP/1.1\r\n\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 50,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 3000 + b"\x00",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        PUSH + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        PUSH + b"Content-Length: -1\r\n\r\n",
        PUSH + b"Content-Length: 99999999999999999999\r\n\r\n",
    ):
        told = stranger.say(odd)
        assert told[0] in "4c", (odd[:60], told)
        yield


def pipelines(stranger: Stranger) -> Iterator[None]:
    for _ in range(5):
        stranger.say((HEAD + b"\r\n") * 5000)
        yield


def guesses(stranger: Stranger) -> Iterator[None]:
    for number in range(60):
        body = json.dumps({"protocol": 1, "user": "anna", "password": f"guess {number}"}).encode()
        told = stranger.say(ENROL + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        assert told in ("401", "429"), told
        yield


ATTACKS: tuple[Attack, ...] = (
    half_lines, silence, half_bodies, large_heads, costly_words, odd_frames, pipelines, guesses,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_others_are_served_meanwhile(server: ServerProcess, attack: Attack) -> None:
    port = int(server.url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        stands = stack.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=60)))
        for _ in attack(Stranger(port, stack)):
            for path in ("/v1/health", "/v1/ready"):
                with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as fresh:
                    assert _status(fresh, path) == 200
            # One that is idle may have had to make room; clients dial again by themselves.
            with contextlib.suppress(ConnectionError, BadStatusLine):
                assert _status(stands, "/v1/health") == 200
                continue
            stands.close()
    wait_until(lambda: _sockets(server) < 40, what="the strangers' connections to be closed")
    assert server.running


def _status(connection: HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    with connection.getresponse() as answer:
        answer.read()
        return answer.status


def _sockets(server: ServerProcess) -> int:
    found = 0
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found
