"""A listener that takes TLS and what comes in the clear on one port, and tells them apart.

Knows: sockets and the first byte of a connection. Must not know: HTTP, or what is served.
A browser that is given an address without ``https://`` asks in the clear; on a port that knows TLS
alone it would show an error that helps nobody. So the first byte is looked at, not taken: a TLS
handshake begins with 22, and no HTTP request does.

Upholds I31: whoever says nothing is let go after a while, and makes room for others before that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias

from holdfast.core.limits import (
    ACCEPT_PAUSE_MS,
    CERTIFICATE_LOOK_MS,
    CONNECTION_LOG_EVERY_S,
    TLS_FIRST_BYTE_MS,
    TLS_HANDSHAKE_MS,
    TLS_POLL_MS,
    TLS_WAITING_MAX,
)
from holdfast.server.tls.certificates import Certificates, looked

log = logging.getLogger("holdfast.server.tls")

Admits: TypeAlias = Callable[[str, str], bool]
"""Whether a peer's address may talk to an address of ours."""
_HANDSHAKE: Final = b"\x16"


class Listener:
    """Accepts on listening sockets, for as long as it is open. Belongs to one event loop.

    ``admits``: who may come in; others are closed before anything is read.
    """

    def __init__(
        self,
        certificates: Certificates,
        protocol: Callable[[], asyncio.Protocol],
        *,
        admits: Admits | None = None,
    ) -> None:
        self._certificates = certificates
        self._protocol = protocol
        self._admits = admits
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[asyncio.Task[None], None] = {}
        """Has not said all of its handshake; who has been so for longest comes first."""
        self._said_at = float("-inf")

    def open(self, listeners: Iterable[socket.socket]) -> None:
        """Accept from now on, and look for newer certificates."""
        for listener in listeners:
            self._begin(self._accept(listener))
        self._begin(self._renew())

    async def close(self) -> None:
        """Take no more; those that have come in are not touched."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._begun(asyncio.get_running_loop().create_task(work))

    def _begun(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_LOOK_MS / 1000)
            await asyncio.to_thread(looked, self._certificates)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                plug, address = await loop.sock_accept(listener)
            except OSError as error:  # no descriptor is free, or it has gone again
                self._say("not_accepted", why=str(error))
                await asyncio.sleep(ACCEPT_PAUSE_MS / 1000)
                continue
            try:
                ours = plug.getsockname()
            except OSError:
                plug.close()
                continue
            if self._admits is not None and not self._admits(address[0], ours[0]):
                self._say("not_admitted", address=address[0])
                plug.close()
                continue
            if len(self._waiting) >= TLS_WAITING_MAX:
                oldest = next(iter(self._waiting))
                del self._waiting[oldest]
                oldest.cancel()
            task = asyncio.get_running_loop().create_task(self._let_in(plug))
            self._begun(task)
            self._waiting[task] = None
            task.add_done_callback(lambda done: self._waiting.pop(done, None))

    async def _let_in(self, plug: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        plug.setblocking(False)
        taken = False
        try:
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(TLS_FIRST_BYTE_MS / 1000):
                    first = await _peeked(loop, plug)
                if not first:
                    return
                taken = True
                if first == _HANDSHAKE:
                    await loop.connect_accepted_socket(
                        self._protocol,
                        plug,
                        ssl=self._certificates.context(),
                        ssl_handshake_timeout=TLS_HANDSHAKE_MS / 1000,
                    )
                else:
                    await loop.connect_accepted_socket(self._protocol, plug)
        finally:
            if not taken:
                plug.close()

    def _say(self, what: str, **more: object) -> None:
        """Once in a while: whoever floods us does not fill the disk as well."""
        now = time.monotonic()
        if now - self._said_at >= CONNECTION_LOG_EVERY_S:
            self._said_at = now
            log.warning(what, extra=more)


async def _peeked(loop: asyncio.AbstractEventLoop, plug: socket.socket) -> bytes:
    """The first byte, left where it is; nothing at the end of a connection."""
    while True:
        try:
            return plug.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            await _readable(loop, plug)


async def _readable(loop: asyncio.AbstractEventLoop, plug: socket.socket) -> None:
    readable: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not readable.done():
            readable.set_result(None)

    try:
        loop.add_reader(plug, ready)
    except NotImplementedError:  # Windows' loop has no such thing
        await asyncio.sleep(TLS_POLL_MS / 1000)
        return
    try:
        await readable
    finally:
        loop.remove_reader(plug)
