"""A whole Stockroom server: the engine's API under `/v1/`, the web app everywhere else.

Knows: how the two are put together, and what the first start does. Must not know: command lines.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.server.assembly import Server, open_server
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.http.connections import Limits
from holdfast.server.http.cookies import TokenCookies
from holdfast.server.http.front import FrontOptions
from holdfast.server.run import collect_rarely
from holdfast.server.run import serve as serve_app
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.server import people
from stockroom.server.web import WebApp

WEB_FOLDER: Final = Path(__file__).resolve().parents[3] / "web" / "dist"
"""Where the build of the web app lies in a checkout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`database`: a file of SQLite, or `postgresql://...`; `demo`: its people may sign in."""

    database: str
    host: str = "127.0.0.1"
    port: int = 0
    demo: bool = False
    web: Path = WEB_FOLDER
    front: FrontOptions = field(default_factory=FrontOptions)
    limits: Limits = field(default_factory=Limits)
    budgets: Budgets = field(default_factory=Budgets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Message for whoever starts a server. `code`: of the first admin, at the very first start;
    `warnings`: sentences for a person."""

    url: str
    web: bool
    code: str | None = None
    sign_in: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()


def run(options: Options, *, ready: Callable[[Welcome], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises `UsageError`, `DatabaseError` or `SchemaError`."""
    proxies = options.front.proxies
    with open_server(
        schema, options.database, rules=rules, proxies=proxies, budgets=options.budgets
    ) as server:
        code, sign_in, warnings = _first_people(server, options)
        web = WebApp(options.web)

        def tell(url: str) -> None:
            ready(Welcome(url=url, web=web.is_built, code=code, sign_in=sign_in, warnings=warnings))

        collect_rarely()
        app = App(TokenCookies(server.app), web)
        serve_app(
            app,
            options.host,
            options.port,
            tell,
            on_stop=server.hub.close,
            front=options.front,
            limits=options.limits,
            end_process=True,
        )


class App:
    """The API and the web app as one ASGI app."""

    def __init__(self, api: ASGIApp, web: ASGIApp) -> None:
        self._api = api
        self._web = web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pages = scope["type"] == "http" and not scope["path"].startswith("/v1/")
        await (self._web if pages else self._api)(scope, receive, send)


def _first_people(
    server: Server, options: Options
) -> tuple[str | None, tuple[str, str] | None, tuple[str, ...]]:
    """The first admin's code; in a demo, the name and password of somebody who may do all; what
    whoever starts it has to know besides.

    The demo's password is in its documentation: it opens what only this machine can reach.
    """
    warnings: tuple[str, ...] = ()
    if not options.demo:
        ended = people.end_demo(server.people)
        if ended:
            warnings = (f"This was a demo; its people ({', '.join(ended)}) are disabled now.",)
        return people.first_admin(server.people), None, warnings
    password = people.DEMO_PASSWORD
    if not _is_loopback(options.host) or options.front.public_url or options.front.proxies:
        password = secrets.token_urlsafe(12)
        said = (
            "The demo can be reached by others, and all of it by whoever has the password below; "
            "it is another one at each start."
        )
        warnings = (said,)
    people.open_demo(server.people, password=password)
    return None, (people.DEMO[0].name, password), warnings


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
