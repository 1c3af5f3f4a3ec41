"""The front of a server process: to which names it answers, for whom a proxy speaks, how often one
address may ask, and the headers that every answer carries.

Knows: Host, Origin, what proxies say, addresses. Must not know: tokens, or what is asked for.
A page of another site that has made its own name point here (DNS rebinding) asks by that name; so
only names that are known to be ours are served. Of a proxy only what ours have written is believed.

Upholds I26 as far as browsers go, and I31.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.errors import ProtocolError, UsageError
from holdfast.core.limits import ADDRESS_REQUEST_EVERY_MS, ADDRESS_REQUESTS_BURST
from holdfast.protocol.version import ECHO_HEADER
from holdfast.server.http.proxies import Proxies
from holdfast.server.http.requests import echo_of
from holdfast.server.http.responses import error_response
from holdfast.server.identity.rate_limit import Rates, address_key

PUBLIC_ORIGIN: Final = "holdfast.public_origin"
"""In an ASGI scope: the origin of our pages, where the server has been told."""
ANY_HOST: Final = "*"
_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_LOCAL: Final = "localhost"
_API_HEADERS: Final = (
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
)
_HSTS: Final = "max-age=31536000"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontOptions:
    """``hosts``: names it answers to beside its own; ``*``: to any. ``public_url``: what browsers
    call it, when that is another name or scheme than the one it listens to. ``proxies``: addresses
    or networks of ours. ``requests``: of one address, in a row, and then one each so many ms.
    ``root_path``: below which path of its proxy it is, whether the proxy takes that off or not.
    ``strict_transport``: tell browsers to use TLS for this name from now on, on each port."""

    hosts: tuple[str, ...] = ()
    public_url: str = ""
    proxies: tuple[str, ...] = ()
    root_path: str = ""
    strict_transport: bool = True
    requests: tuple[int, float] = (ADDRESS_REQUESTS_BURST, ADDRESS_REQUEST_EVERY_MS)


class Front:
    """ASGI middleware around everything that a process serves.

    ``host``: what the process listens to. ``plain``: where the process speaks TLS, the app that
    answers whoever does not, whatever name it calls; a proxy of ours need not. ``strangers``: the
    app that answers who asks for a page by a name that is not ours.
    Raises ``UsageError`` (``bad_choice``) for options that make no sense.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        options: FrontOptions,
        *,
        plain: ASGIApp | None = None,
        strangers: ASGIApp | None = None,
    ) -> None:
        self._app = app
        self._strangers = strangers
        self._plain = plain
        self._root = root_path_of(options.root_path)
        self._strict = options.strict_transport
        self._proxies = Proxies(options.proxies)
        self._origin = _origin_of(options.public_url)
        burst, every_ms = options.requests
        self._rates = Rates(
            burst=burst,
            every_ms=every_ms,
            what="requests",
            code="too_many_requests",
        )
        self._wide = _is_wildcard(host)
        self._names = {_LOCAL, host.lower(), *(name.lower() for name in options.hosts)}
        if self._origin:
            self._names.add(_name(urlsplit(self._origin).netloc))
        if self._wide:
            machine = socket.gethostname().lower()
            self._names |= {machine, f"{machine}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer = scope.get("client")
        in_the_clear = scope["scheme"] == "http" and not (peer and peer[0] in self._proxies)
        scope = below(self._seen_by_proxy(scope), self._root)
        plain = self._plain if in_the_clear else None
        if plain is None:
            send = with_headers(send, scope, strict=self._strict)
        try:
            if plain is None:
                self._check_host(scope)
            client = scope.get("client")
            self._rates.take(address_key(client[0] if client else ""))
        except ProtocolError as error:
            path: str = scope["path"].removeprefix(self._root)
            if error.code == "wrong_host" and self._strangers and not path.startswith("/v1/"):
                await self._strangers(scope, receive, send)
            else:
                await _refuse(error, scope, receive, send)
            return
        if plain is not None:
            await plain(scope, receive, send)
            return
        if self._origin:
            scope[PUBLIC_ORIGIN] = self._origin
        await self._app(scope, receive, send)

    def _seen_by_proxy(self, scope: Scope) -> Scope:
        """The request as it reached the outermost proxy of ours."""
        scope = dict(scope)
        headers = Headers(scope=scope)
        peer = scope.get("client")
        if peer is not None and peer[0] in self._proxies and "x-forwarded-for" in headers:
            address = self._proxies.origin(peer[0], headers.getlist("x-forwarded-for"))
            scope["client"] = (address, 0)
            scheme = _last(headers, "x-forwarded-proto").lower()
            if scheme in ("http", "https"):
                scope["scheme"] = scheme
            host = _last(headers, "x-forwarded-host")
            if not host and self._origin and not self._is_ours(headers.get("host", ""), scope):
                host = urlsplit(self._origin).netloc  # the proxy calls us by a name of its own
            if host:
                kept = [(name, value) for name, value in scope["headers"] if name != b"host"]
                scope["headers"] = [(b"host", host.encode("latin-1", "replace")), *kept]
        if self._origin.startswith("https://") and Headers(scope=scope).get("host", "").lower() == (
            urlsplit(self._origin).netloc
        ):
            scope["scheme"] = "https"
        return scope

    def _check_host(self, scope: Scope) -> None:
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            raise ProtocolError("a request must have exactly one Host header", code="bad_host")
        if not self._is_ours(hosts[0], scope):
            raise ProtocolError(
                f"this server does not answer to the name {hosts[0][:100]!r}; if it is one of its "
                "names, start it with --allowed-host NAME, or --public-url URL",
                code="wrong_host",
                status=421,
            )

    def _is_ours(self, host: str, scope: Scope) -> bool:
        if ANY_HOST in self._names:
            return True
        name = _name(host)
        if name in self._names or name.endswith(f".{_LOCAL}"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        server = scope.get("server")
        # Nobody can make a number point elsewhere.
        return address.is_loopback or self._wide or (server is not None and name == server[0])


def root_path_of(text: str) -> str:
    """The path below which a server is mounted, without a slash at its end.
    Raises ``UsageError`` (``bad_choice``)."""
    path = "/" + text.strip("/") if text.strip("/") else ""
    if not _ROOT_PATH.fullmatch(path):
        raise UsageError(
            f"{text!r} is not a path such as /shop: letters, digits, - . _ ~ and /",
            code="bad_choice",
        )
    return path


def below(scope: Scope, root: str) -> Scope:
    """The request as of an app mounted at ``root``, whether a proxy took that off or not."""
    if not root:
        return scope
    path: str = scope["path"]
    if path != root and not path.startswith(f"{root}/"):
        path = root + path
    raw: bytes = scope.get("raw_path") or path.encode()
    kept = root.encode()
    if raw != kept and not raw.startswith(kept + b"/"):
        raw = kept + raw
    return {**scope, "path": path, "raw_path": raw, "root_path": root}


async def https_needed(scope: Scope, receive: Receive, send: Send) -> None:
    """ASGI app: refuses what came in the clear, in words."""
    error = ProtocolError(
        "this server is talked to by TLS: use the same address with https:// before it",
        code="https_needed",
        status=403,
    )
    await _refuse(error, scope, receive, send)


def with_headers(send: Send, scope: Scope, *, strict: bool = True) -> Send:
    """``send``, with the headers for what is no page, and for TLS where that is used."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    wanted = list(_API_HEADERS) if path.startswith("/v1/") else []
    if strict and scope.get("scheme") == "https":
        wanted.append(("strict-transport-security", _HSTS))

    async def give(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in wanted:
                headers.setdefault(name, value)
        await send(message)

    return give


class ApiHeaders:
    """ASGI middleware: the headers of ``/v1/``, for an app that is mounted elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        give = with_headers(send, scope) if scope["type"] == "http" else send
        await self._app(scope, receive, give)


async def _refuse(error: ProtocolError, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        echo = echo_of(Headers(scope=scope))
    except ProtocolError:
        echo = ""
    headers = [("cache-control", "no-store"), ("connection", "close")]
    if echo:
        headers.append((ECHO_HEADER, echo))
    await error_response(error, echo=echo, headers=headers)(scope, receive, send)


def _last(headers: Headers, name: str) -> str:
    """Return what the nearest proxy has written."""
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


def _name(host: str) -> str:
    """A host without its port, as names compare."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().removesuffix(".")


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def _origin_of(public_url: str) -> str:
    if not public_url:
        return ""
    try:
        parts = urlsplit(public_url)
        _port = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.netloc):
        raise UsageError(
            f"{public_url!r} is not a URL such as https://shop.example.com", code="bad_choice"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"
