"""A shop's server on its own network: its certificates and its guide, put together.

Knows: which parts there are. Must not know: the engine's server, or command lines.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

from holdfast.server.http.front import https_needed
from holdfast.server.run import Tls
from stockroom.server.lan.addresses import (
    Machine,
    is_loopback,
    is_near,
    this_machine,
    url_of,
)
from stockroom.server.lan.authority import Authority, fingerprint_of
from stockroom.server.lan.certificates import ShopCertificates
from stockroom.server.lan.guide import PREFIX, Guide, page_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

API: Final = "/v1/"


class Lan:
    """Https by the shop's own authority. ``more``: names that the network gives the machine;
    ``near``: whether only its own network is answered. Raises ``UsageError``."""

    def __init__(self, folder: Path, *, more: tuple[str, ...] = (), near: bool = True) -> None:
        self._more = more
        self._near = near
        self._port = 0
        machine = self.machine()
        self._authority = Authority(folder, machine.names)
        self._certificates = ShopCertificates(self._authority, self.machine)

    def machine(self) -> Machine:
        """Names and addresses as they are now."""
        return this_machine(self._more)

    @property
    def authority_file(self) -> Path:
        return self._authority.public_file.resolve()

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self._authority.certificate)

    def left_out(self) -> tuple[str, ...]:
        """Sentences about names that no certificate can be made for."""
        return tuple(
            f"The authority in {self.authority_file.parent} may not vouch for {name}: use another "
            "name, or a new folder (--tls-dir), whose authority each device has to trust anew."
            for name in self.machine().all
            if not self._authority.vouches_for(name)
        )

    def listens(self, port: int) -> None:
        """The port is known when it listens."""
        self._port = port

    def urls(self) -> tuple[str, ...]:
        """The addresses that a device may use, best first: a name stays when an address changes."""
        machine = self.machine()
        return tuple(
            url_of(name, self._port)
            for name in (*machine.names, *machine.addresses)
            if self._authority.vouches_for(name)
        )

    def begin(self) -> str:
        """The address where a phone begins that does not trust the shop yet: a number, which every
        phone finds."""
        machine = self.machine()
        first = (*machine.addresses, *machine.names, "localhost")[0]
        return url_of(first, self._port, scheme="http") + "/"

    def guide(self) -> Guide:
        return Guide(self.urls(), self.begin(), self._authority.certificate)

    def tls(self, app: ASGIApp, trust: ASGIApp) -> Tls:
        """Listen so: in the clear it shows its guide; to this very machine, whose
        browsers trust it, the app."""
        return Tls(
            certificates=self._certificates,
            plain=InTheClear(app, trust, self.guide),
            admits=is_near if self._near else None,
        )


class Strangers:
    """ASGI app for pages that are asked for by a name which is not the server's."""

    def __init__(self, trust: ASGIApp, guide: Callable[[], Guide]) -> None:
        self._trust = trust
        self._guide = guide

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in (f"{PREFIX}guide.css", f"{PREFIX}guide.js"):
            await self._trust(scope, receive, send)
            return
        page = page_of(self._guide(), scope, status=421, strange=True)
        await page(scope, receive, send)


class InTheClear:
    """ASGI app for requests without TLS. ``trust``: of `/trust/`."""

    def __init__(self, app: ASGIApp, trust: ASGIApp, guide: Callable[[], Guide]) -> None:
        self._app = app
        self._trust = trust
        self._guide = guide

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "").rpartition("@")[2]
        name = host.partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        client = scope.get("client")
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if client is not None and is_loopback(client[0]) and is_loopback(name):
            await self._app(scope, receive, send)
        elif path.startswith(PREFIX):
            await self._trust(scope, receive, send)
        elif path.startswith(API):
            await https_needed(scope, receive, send)
        else:
            await page_of(self._guide(), scope)(scope, receive, send)
