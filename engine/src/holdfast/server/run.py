"""A process that serves one app until it is told to stop.

Knows: uvicorn, sockets, signals, TLS. Must not know: what is served. Prints nothing; logs only.
SIGTERM and SIGINT end it in order: not ready any more, no new connections, event streams closed,
requests under way answered, then a normal return.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from holdfast.core.errors import UsageError
from holdfast.core.limits import END_GRACE_MS, SERVER_GRACE_S, SERVER_KEEP_ALIVE_S
from holdfast.server.http.connections import Limits, OpenConnections
from holdfast.server.http.front import Front, FrontOptions, https_needed
from holdfast.server.live.events import Hub
from holdfast.server.tls.certificates import Certificates
from holdfast.server.tls.listener import Admits, Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS of a server. ``plain``: the app that answers what comes in the clear; without one it is
    refused. ``admits``: whose addresses may come in; all without it."""

    certificates: Certificates
    plain: ASGIApp | None = None
    admits: Admits | None = None


class _Server(uvicorn.Server):
    """uvicorn, told when it listens and when it stops, and without raising the signal again."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_started: Callable[[], None],
        on_stopping: Callable[[], None],
        on_stop: Callable[[], None],
        drain_s: float,
        end_process: bool,
        tls: Tls | None,
    ) -> None:
        super().__init__(config)
        self._tls = tls
        self._listener: Listener | None = None
        self._end_process = end_process
        self._on_started = on_started
        self._on_stopping = on_stopping
        self._on_stop = on_stop
        self._drain_s = drain_s
        self._ends: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([] if self._tls is not None else sockets)
        if self._tls is not None and self.started:
            self._listener = Listener(
                self._tls.certificates, self._protocol, admits=self._tls.admits
            )
            self._listener.open(sockets or ())
        if self.started:
            self._on_started()

    def _protocol(self) -> asyncio.Protocol:
        """A connection's protocol, as uvicorn makes it for a listener of its own."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    async def on_tick(self, counter: int) -> bool:
        if self._ends is not None and time.monotonic() >= self._ends:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        if self._listener is not None:
            await self._listener.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._ends is not None:  # asked a second time: at once
            self.force_exit = self.should_exit = True
            return
        self._on_stopping()
        self._ends = time.monotonic() + self._drain_s
        if self._end_process:
            # Without a lock: the handler may have interrupted whoever has it.
            _thread.start_new_thread(_end_late, (self._drain_s + END_GRACE_MS / 1000,))


def collect_rarely() -> None:
    """For a process that does nothing but serve: let Python's cycle collector look less often.

    A batch of 10,000 changes is some 100,000 objects without a cycle among them; at the default
    thresholds the collector walks them again and again, for a fifth of the server's time.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


class Stopper:
    """Stops a server from any thread, as SIGTERM does."""

    def __init__(self) -> None:
        self._servers: list[uvicorn.Server] = []

    def stop(self) -> None:
        """Ask for an orderly end; ``serve`` returns when it is done."""
        for server in self._servers:
            server.should_exit = True

    def attach(self, server: uvicorn.Server) -> None:
        """Called by ``serve``."""
        self._servers.append(server)


def serve(
    app: ASGIApp,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    *,
    on_stop: Callable[[], None] | None = None,
    stopper: Stopper | None = None,
    drain_s: float = 0,
    front: FrontOptions | None = None,
    limits: Limits | None = None,
    end_process: bool = False,
    tls: Tls | None = None,
    strangers: ASGIApp | None = None,
) -> None:
    """Serve ``app`` until SIGTERM or SIGINT, then return.

    A signal first turns ``/v1/ready`` to 503; for ``drain_s`` everything else goes on, so that a
    proxy that looks can send new requests elsewhere. Then the listener closes, event streams end,
    requests under way are answered.

    ``port`` 0 takes a free one; ``on_ready`` gets the URL when connections are accepted. ``host``
    without a letter is all addresses, of IPv6 too. ``tls``: with it, HTTPS on that port.
    ``strangers``: the app for pages that are asked for by a name which is not the server's.
    ``on_stop`` is called when the end begins and must end event streams; by default the hub in
    ``app.state.hub`` is closed. ``stopper`` is for a server in a thread of its own.
    ``front``: names, proxies; ``limits``: of connections, and of what they say before a body.
    ``end_process``: for a process that does nothing else: whatever is still under way so long after
    the signal is cut off by its end, as by a kill, and nothing that was acknowledged is lost.
    Raises ``UsageError`` (``cannot_listen``, ``bad_choice``).
    """
    front = front or FrontOptions()
    gate = OpenConnections(limits, proxies=front.proxies)
    served = Front(app, host, front, plain=_plain(tls), strangers=strangers)
    listeners = _listen(host, port)
    hub = getattr(getattr(app, "state", None), "hub", None)
    stop = on_stop or (hub.close if isinstance(hub, Hub) else _nothing)
    config = uvicorn.Config(
        served,
        loop="uvloop" if find_spec("uvloop") else "asyncio",  # there is none for Windows
        http=gate.protocol,  # type: ignore[arg-type]  # any maker of protocols will do
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,  # every answer tells the time in its body; a small one is half headers
        proxy_headers=False,
        timeout_keep_alive=SERVER_KEEP_ALIVE_S,
        timeout_graceful_shutdown=SERVER_GRACE_S,
    )
    server = _Server(
        config,
        on_started=lambda: on_ready(_url(host, listeners[0], "http" if tls is None else "https")),
        on_stopping=getattr(getattr(app, "state", None), "stop", _nothing),
        drain_s=drain_s,
        end_process=end_process,
        on_stop=stop,
        tls=tls,
    )
    if stopper is not None:
        stopper.attach(server)
    try:
        server.run(sockets=list(listeners))
    finally:
        for listener in listeners:
            listener.close()


def _plain(tls: Tls | None) -> ASGIApp | None:
    if tls is None:
        return None
    return tls.plain or https_needed


def _listen(host: str, port: int) -> tuple[socket.socket, ...]:
    if host:
        return (_listener(host, port),)
    first = _listener("0.0.0.0", port)  # noqa: S104 - who may come in is decided elsewhere
    try:
        return (first, _listener("::", first.getsockname()[1], only=True))
    except UsageError:  # a machine without IPv6
        return (first,)


def _listener(host: str, port: int, *, only: bool = False) -> socket.socket:
    """``only``: of IPv6, and not IPv4 by it."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"no such host {host!r}: {error}", code="cannot_listen") from None
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if only:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host} port {port}: {error}", code="cannot_listen"
        ) from None
    return listener


def _url(host: str, listener: socket.socket, scheme: str) -> str:
    shown = f"[{host}]" if ":" in host else host or "localhost"
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"


def _end_late(seconds: float) -> None:
    time.sleep(seconds)
    os._exit(0)


def _nothing() -> None:
    return
