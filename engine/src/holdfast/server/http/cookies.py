"""Device tokens of browsers: kept in a cookie that no script can read.

Knows: cookies, the origin of a request, and which answers carry a token. Must not know: how tokens
are made or checked. A browser that says ``holdfast-token: cookie`` when it enrols or refreshes gets
its token as an HttpOnly cookie and never sees it; from then on the cookie stands for the
Authorization header. A cookie counts only for requests of our own pages: SameSite keeps it from
other sites, and whatever names another origin is refused.

Upholds I26 as far as it is about browsers: no token in web storage, none within reach of a script.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.errors import ProtocolError
from holdfast.server.http.front import PUBLIC_ORIGIN, with_headers
from holdfast.server.http.responses import error_response

COOKIE = "holdfast_token"
WANTED_HEADER = "holdfast-token"
"""Sent by a browser with the value ``cookie``, when it enrols, refreshes or signs out."""
_ANSWERS_WITH_A_TOKEN = ("/v1/enrol", "/v1/token")
_SIGN_OUT = "/v1/sign-out"
_TOKEN = re.compile(r"hft_[A-Za-z0-9_-]{43}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class TokenCookies:
    """An ASGI app around the server's app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token = "" if "authorization" in headers else _token(headers)
        wanted = headers.get(WANTED_HEADER) == "cookie"
        if (token or wanted) and not is_same_origin(
            headers, scheme=scope.get("scheme", ""), public=scope.get(PUBLIC_ORIGIN, "")
        ):
            error = ProtocolError(
                "cookies are taken from this server's own pages only",
                code="wrong_origin",
                status=403,
            )
            await error_response(error, echo="")(scope, receive, with_headers(send, scope))
            return
        if token:
            bearer = (b"authorization", b"Bearer " + token.encode("latin-1"))
            scope = {**scope, "headers": [*scope["headers"], bearer]}
        where: str = scope.get("root_path", "")
        path: str = scope["path"].removeprefix(where)
        taken = wanted and path in (_SIGN_OUT, *_ANSWERS_WITH_A_TOKEN)
        secure = scope.get("scheme") == "https" or not _is_loopback(headers)
        taker = _Taker(send, path, where, secure=secure) if taken else send
        await self._app(scope, receive, taker)


class _Taker:
    """Takes the token out of an answer and puts it into a cookie. Such answers are small.

    After signing out the cookie goes, also when its token was not known any more.
    """

    def __init__(self, send: Send, path: str, where: str, *, secure: bool) -> None:
        """``where``: below which path the server is mounted. ``secure``: only over TLS; so it is
        everywhere except on this very machine, where browsers trust plain HTTP too."""
        self._send = send
        self._path = path
        self._where = where
        self._secure = secure
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        headers = MutableHeaders(raw=list(self._start["headers"]))
        if self._path == _SIGN_OUT and self._start["status"] in (200, 401):
            headers.append("set-cookie", self._cookie("", max_age=0))
        elif self._start["status"] == 200:
            enrolled: dict[str, Any] = msgspec.json.decode(self._body)
            token, ends, now = enrolled.pop("token"), enrolled["expires_at"], enrolled["time"]
            self._body = msgspec.json.encode(enrolled)
            headers["content-length"] = str(len(self._body))
            age = max(0, (ends - now) // 1_000_000)
            headers.append("set-cookie", self._cookie(token, max_age=age))
        await self._send({**self._start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": self._body})

    def _cookie(self, token: str, *, max_age: int) -> str:
        secure = "; Secure" if self._secure else ""
        path = quote(f"{self._where}/v1/")
        return (
            f"{COOKIE}={token}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={max_age}{secure}"
        )


def is_same_origin(headers: Headers, *, scheme: str = "", public: str = "") -> bool:
    """Return whether a request comes from a page that this host has served, or from no page at all.

    ``public``: the origin of our pages, where the server knows it. ``scheme``: with ``https`` a
    page that came in the clear is another origin.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None or (public and origin == public):
        return True
    parts = _split(origin)
    if scheme == "https" and parts.scheme != "https":
        return False
    return parts.netloc == headers.get("host", "")


def _is_loopback(headers: Headers) -> bool:
    return _split(f"//{headers.get('host', '')}").hostname in _LOOPBACK


def _split(url: str) -> SplitResult:
    """Of what is no URL, nothing: it is nobody's origin."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _token(headers: Headers) -> str:
    """The last cookie of that name, if it can be a token of ours.

    Cut out plainly: no quotes, no escapes, in time that grows with the header's length alone.
    """
    found = ""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            name, _, value = pair.partition("=")
            if name.strip() == COOKIE:
                found = value.strip()
    return found if _TOKEN.fullmatch(found) else ""
