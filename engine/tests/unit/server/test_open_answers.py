"""Answers that nobody reads: those who leave them hold neither the database nor their neighbours.

A real server on a socket, on both stores; how long a reader may be behind while nobody waits for
it is never over here, so that what is released is released for those who wait.

Checks I31.
"""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Any

import pytest

from holdfast.core.errors import DatabaseFull
from holdfast.core.limits import (
    ANSWER_SPOOLS_MAX,
    ANSWER_SPOOLS_PER_DEVICE_MAX,
    ANSWERS_OPEN_MAX,
    ANSWERS_PER_DEVICE_MAX,
    DATABASE_CONNECTIONS_MAX,
)
from holdfast.protocol.codec import decode_line, encode_request
from holdfast.protocol.messages import Checkpoint, Nonces, VerifyRequest
from holdfast.server.http.app import asgi
from holdfast.server.http.open_answers import OpenAnswer, OpenAnswers
from holdfast.server.identity.principal import Principal
from holdfast.server.live.events import Hub
from holdfast.server.run import Stopper, serve

NEVER_MS = 3_600_000
ROWS, NOTE = 120, "n" * 60_000
"""Some 7 MB, more than sockets hold."""

FIRST = Nonces("", "abcdefgh")


@dataclass
class Running:
    server: Any
    neighbour: Any
    port: int
    most: list[int]
    """How many snapshots of the database were open at once, at most."""
    asked: list[socket.socket] = field(default_factory=list)

    def ask(self, device: str, path: str, body: bytes) -> socket.socket:
        """Send a request; nothing of its answer is read."""
        raw = socket.socket()
        self.asked.append(raw)
        raw.settimeout(60)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        raw.connect(("127.0.0.1", self.port))
        raw.sendall(
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {device}\r\n"
            f"content-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return raw


def rest(raw: socket.socket) -> bytes:
    """The body of an answer that is a good one, and whole."""
    with raw, HTTPResponse(raw, method="POST") as answer:
        answer.begin()
        body = answer.read()
        assert answer.status == 200, body
        return body


def authenticate(headers: Mapping[str, str]) -> Principal:
    device = headers["authorization"]
    return Principal("u", device, write=("store/1",) if device == "neighbour" else ("*",))


def counted(store: Any, most: list[int]) -> None:
    """Note how many snapshots are open at once."""
    read, lock, now = store.read, threading.Lock(), [0]

    def opened(*arguments: Any) -> Any:
        snapshot = read(*arguments)
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        close = snapshot.close
        once = iter([1])

        def closed() -> None:
            with lock:
                now[0] -= next(once, 0)
            close()

        snapshot.close = closed
        return snapshot

    store.read = opened


@pytest.fixture
def running(make_server: Callable[..., Any]) -> Iterator[Running]:
    server = make_server()
    writer = server.peer("writer")
    for number in range(ROWS):
        writer.insert("parcel", f"p{number}", note=NOTE)
    writer.sync()
    neighbour = server.peer("neighbour", user="u", write=("store/1",))
    most = [0]
    counted(server.store, most)
    app = asgi(server.service, authenticate, hub=Hub(), answer_hold_ms=NEVER_MS)
    ports: list[int] = []
    ready, stopper = threading.Event(), Stopper()

    def on_ready(url: str) -> None:
        ports.append(int(url.rpartition(":")[2]))
        ready.set()

    thread = threading.Thread(
        target=serve, args=(app, "127.0.0.1", 0, on_ready), kwargs={"stopper": stopper}
    )
    thread.start()
    assert ready.wait(30)
    made = Running(server, neighbour, ports[0], most)
    yield made
    for raw in made.asked:
        raw.close()
    stopper.stop()
    thread.join(30)
    assert not thread.is_alive()


def everything(running: Running, device: str, path: str) -> socket.socket:
    """Ask as a device that has nothing."""
    peer = running.server.peer(device)
    if path == "/v1/exchange":
        return running.ask(device, path, encode_request(peer.request(nonce=FIRST)))
    body = VerifyRequest(
        protocol=1, schema=running.server.schema.fingerprint, device=device, now=peer.clock()
    )
    return running.ask(device, path, encode_request(body))


def is_served(running: Running) -> None:
    """A neighbour sends a row, and looks into the journal."""
    peer = running.neighbour
    number = peer.insert("shelf", ("1", running.server.random(4)), label="mine")
    request = peer.request()
    body = rest(running.ask("neighbour", "/v1/exchange", encode_request(request)))
    (outcome,) = peer.apply([decode_line(line) for line in body.splitlines()])
    assert (outcome.number, outcome.outcome) == (number, "applied")
    peer.nonce, peer.confirmed, peer.pending = request.nonce.to, number, []
    raw = socket.create_connection(("127.0.0.1", running.port), timeout=60)
    raw.sendall(
        b"GET /v1/journal HTTP/1.1\r\nhost: localhost\r\nauthorization: neighbour\r\n"
        b"connection: close\r\n\r\n"
    )
    assert b"entries" in rest(raw)


def begins(raw: socket.socket) -> None:
    assert raw.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL) == b"HTTP/1.1 200"


def all_are_whole(asked: list[socket.socket]) -> None:
    """Read at last, in whatever order they come."""
    with ThreadPoolExecutor(len(asked)) as readers:
        for body in readers.map(rest, asked):
            assert body.count(NOTE.encode()) == ROWS
            assert isinstance(decode_line(body.splitlines()[-1]), Checkpoint)


@pytest.mark.parametrize("path", ["/v1/exchange", "/v1/verify"])
def test_one_device_that_reads_nothing_holds_up_nobody(running: Running, path: str) -> None:
    asked = [everything(running, "greedy", path) for _ in range(DATABASE_CONNECTIONS_MAX + 1)]
    begun: list[socket.socket] = []
    while len(begun) < ANSWERS_PER_DEVICE_MAX + ANSWER_SPOOLS_PER_DEVICE_MAX:
        left = [raw for raw in asked if raw not in begun]
        begin = select.select(left, [], [], 60)[0]
        assert begin, "no further one begins"
        begun += begin
    is_served(running)
    all_are_whole(asked)
    assert running.most[0] <= ANSWERS_PER_DEVICE_MAX + 1


def test_many_devices_that_read_nothing_hold_up_nobody(running: Running) -> None:
    """They have all the places, and others wait: what they have not read waits elsewhere."""
    devices = [f"greedy{number}" for number in range(DATABASE_CONNECTIONS_MAX // 2 + 1)]
    asked = [everything(running, device, "/v1/verify") for device in devices * 2]
    begins(asked[0])
    is_served(running)
    for raw in asked:
        begins(raw)
    is_served(running)
    all_are_whole(asked)
    assert running.most[0] <= ANSWERS_OPEN_MAX


def test_a_device_has_so_many_temporary_files_and_a_process_so_many() -> None:
    async def work() -> None:
        answers = OpenAnswers(per_device=ANSWERS_PER_DEVICE_MAX, hold_ms=NEVER_MS, wanted_ms=0)
        opened: list[OpenAnswer] = []

        async def spooled(device: str) -> OpenAnswer:
            answer = await answers.open(device)
            opened.append(answer)
            answer.spool()
            answer.release()
            return answer

        first = await spooled("greedy")
        for _ in range(ANSWER_SPOOLS_PER_DEVICE_MAX - 1):
            await spooled("greedy")
        with pytest.raises(DatabaseFull, match="read slowly"):
            await spooled("greedy")
        first.close()
        first.close()
        await spooled("greedy")
        for number in range(ANSWER_SPOOLS_MAX - ANSWER_SPOOLS_PER_DEVICE_MAX):
            await spooled(f"other{number}")
        with pytest.raises(DatabaseFull, match="read slowly"):
            await spooled("one more")
        for answer in opened:
            answer.close()
        assert len(answers) == answers.waiting() == 0
        await spooled("one more")

    asyncio.run(asyncio.wait_for(work(), 30))


def test_who_is_behind_keeps_the_place_until_somebody_waits_for_it() -> None:
    async def work() -> None:
        answers = OpenAnswers(per_device=2, hold_ms=NEVER_MS, total=3, wanted_ms=0)
        own, others = [await answers.open("greedy") for _ in range(2)], await answers.open("other")
        due = [asyncio.ensure_future(answer.until_due()) for answer in (*own, others)]
        third = asyncio.ensure_future(answers.open("greedy"))
        third.add_done_callback(lambda _done: None)
        others.release()  # a place is free, but not for who has two
        last = await answers.open("more")
        await asyncio.wait(due[:2])
        assert not third.done()
        own[0].release()
        await third
        last.close()
        assert not due[2].done()  # nobody has waited for it
        due[2].cancel()

    asyncio.run(asyncio.wait_for(work(), 30))
