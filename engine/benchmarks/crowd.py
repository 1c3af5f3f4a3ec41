"""Many live devices in one process: real tokens, streams and exchanges, no database of their own.

    python crowd.py PLAN.json

Knows: the protocol's messages on plain sockets. Must not know: who writes, or what is measured.
Every device opens a session as a replica does: a first exchange, then the event stream; when it
hears that a scope has moved it fetches the news over a connection that it keeps. What happened is
told as JSON lines on stdout, with times of CLOCK_MONOTONIC in nanoseconds, which is one clock for
all processes of a machine.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

import httptools

from holdfast.protocol.codec import decode_line, encode_request
from holdfast.protocol.messages import Checkpoint, ExchangeRequest, Head, Nonces, Position
from holdfast.protocol.version import ECHO_HEADER, PROTOCOL

OPENING_AT_ONCE = 32
TIMEOUT_S = 120.0
RETRIES_MAX = 50


def tell(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Link(asyncio.Protocol):
    """One HTTP/1.1 connection that is kept: one request after another, bodies without framing."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self._body: list[bytes] = []
        self._on_body: Callable[[bytes], None] | None = None
        self._done: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        _, link = await asyncio.get_running_loop().create_connection(cls, host, port)
        return link

    def ask(
        self, request: bytes, on_body: Callable[[bytes], None] | None = None
    ) -> asyncio.Future[tuple[int, bytes]]:
        """Send a request; its status and body. ``on_body`` gets the pieces of an endless body."""
        assert self.transport is not None
        self.parser = httptools.HttpResponseParser(self)
        self._body, self._on_body = [], on_body
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._done

    def close(self) -> None:
        """Hang up; an answer that is still out is not waited for."""
        if self._done is not None:
            self._done.cancel()
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError("closed without an answer"))

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self._on_body is not None and self.parser.get_status_code() == 200:
            self._on_body(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if not self.parser.should_keep_alive():
            self.closed = True
        if self._done is not None and not self._done.done():
            self._done.set_result((self.parser.get_status_code(), b"".join(self._body)))


@dataclass(slots=True)
class Device:
    """A device that listens, and fetches what it hears of."""

    token: str
    host: str
    port: int
    schema: str
    scope: str
    fetches: bool
    nonce: str = ""
    epoch: str = ""
    checkpoint: dict[str, Position] = field(default_factory=dict)
    heard: list[tuple[int, int]] = field(default_factory=list)
    fetched: list[tuple[int, int]] = field(default_factory=list)
    retries: int = 0
    rest: bytes = b""
    link: Link | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def live(self, opening: asyncio.Semaphore, ready: asyncio.Event) -> None:
        """First exchange, stream, then news for ever."""
        stream: Link | None = None
        try:
            async with opening:
                await self.exchange()
                hello = asyncio.Event()
                stream = await Link.open(self.host, self.port)
                ended = stream.ask(
                    self._request("GET", "/v1/events"), lambda piece: self._hear(piece, hello)
                )
                async with asyncio.timeout(TIMEOUT_S):
                    await asyncio.wait(
                        [ended, asyncio.ensure_future(hello.wait())],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                assert not ended.done(), ended
            ready.set()
            while True:
                await self.moved.wait()
                self.moved.clear()
                await self.exchange()
        finally:
            for link in (stream, self.link):
                if link is not None:
                    link.close()

    def _hear(self, piece: bytes, hello: asyncio.Event) -> None:
        *whole, self.rest = (self.rest + piece).split(b"\n\n")
        for event in whole:
            if b"event: hello" in event:
                hello.set()
            elif b"event: moved" in event:
                version = json.loads(event.partition(b"data: ")[2])["scopes"].get(self.scope)
                if version is not None:
                    self.heard.append((version, time.monotonic_ns()))
                    if self.fetches:
                        self.moved.set()

    async def exchange(self) -> None:
        """Fetch the news; an overloaded server is asked again a little later."""
        proposed = self.nonce or secrets.token_hex(16)
        request = ExchangeRequest(
            protocol=PROTOCOL, schema=self.schema, epoch=self.epoch,
            now=time.time_ns() // 1000, checkpoint=self.checkpoint,
            nonce=Nonces(since=self.nonce, to=proposed),
        )  # fmt: skip
        body = encode_request(request)
        for attempt in range(RETRIES_MAX):
            if self.link is None or self.link.closed:
                self.link = await Link.open(self.host, self.port)
            status, raw = await self.link.ask(self._request("POST", "/v1/exchange", body))
            if status != 503:
                break
            self.retries += 1
            await asyncio.sleep(0.05 * (attempt + 1))
        assert status == 200, (status, raw[:200])
        lines = [decode_line(line) for line in raw.splitlines()]
        first, last = lines[0], lines[-1]
        assert isinstance(first, Head)
        assert isinstance(last, Checkpoint)
        self.nonce, self.epoch, self.checkpoint = proposed, first.epoch, last.scopes
        self.fetched.append((last.scopes[self.scope].version, time.monotonic_ns()))

    def _request(self, method: str, path: str, body: bytes = b"") -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1", f"host: {self.host}:{self.port}",
            f"authorization: Bearer {self.token}", f"{ECHO_HEADER}: {secrets.token_hex(8)}",
        ]  # fmt: skip
        if body:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


async def main(plan: dict[str, Any]) -> None:
    """Open all devices, say so, and tell what they heard when stdin says ``done``."""
    devices = [
        Device(token, plan["host"], plan["port"], plan["schema"], plan["scope"], plan["fetches"])
        for token in plan["tokens"]
    ]
    opening = asyncio.Semaphore(OPENING_AT_ONCE)
    ready = [asyncio.Event() for _ in devices]
    started = time.monotonic()
    tasks = [
        asyncio.create_task(device.live(opening, event))
        for device, event in zip(devices, ready, strict=True)
    ]
    waiting = asyncio.gather(*(event.wait() for event in ready))
    failed = asyncio.ensure_future(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
    await asyncio.wait([waiting, failed], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()
    tell(event="ready", devices=len(devices), seconds=round(time.monotonic() - started, 3))
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if line.startswith("count "):
            # How many have heard of, and hold, a version.
            version = int(line.split()[1])
            tell(
                event="count",
                heard=sum(any(v >= version for v, _ in d.heard) for d in devices),
                fetched=sum(any(v >= version for v, _ in d.fetched) for d in devices),
                ended=sum(task.done() for task in tasks),
            )
            continue
        break
    tell(
        event="done",
        heard=[device.heard for device in devices],
        fetched=[device.fetched for device in devices],
        retries=sum(device.retries for device in devices),
    )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
