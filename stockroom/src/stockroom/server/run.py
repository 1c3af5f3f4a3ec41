"""A whole Stockroom server: the engine's API under `/v1/`, the web app everywhere else.

Knows: how the two are put together, and what the first start does. Must not know: command lines.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.errors import HoldfastError
from holdfast.server.assembly import Server, open_server
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.http.connections import Limits
from holdfast.server.http.cookies import TokenCookies
from holdfast.server.http.front import FrontOptions
from holdfast.server.http.proxies import Proxies
from holdfast.server.run import collect_rarely
from holdfast.server.run import serve as serve_app
from holdfast.server.tls.certificates import Certificates
from stockroom.rules import rules
from stockroom.schema import schema
from stockroom.server import people
from stockroom.server.first_run import FirstRun
from stockroom.server.lan.addresses import LOOPBACK, is_loopback
from stockroom.server.lan.guide import PREFIX, GuideApp
from stockroom.server.lan.shop import Strangers
from stockroom.server.shop_api import PREFIX as CALLS
from stockroom.server.shop_api import ShopApi
from stockroom.server.way import LanWelcome, Way
from stockroom.server.web import WebApp
from stockroom.shop.desk import Desk, desk_of
from stockroom.shop.roster import tell_roster

WEB_FOLDER: Final = Path(__file__).resolve().parents[3] / "web" / "dist"
"""Where the build of the web app lies in a checkout."""
log = logging.getLogger("stockroom.server")
_ENROL: Final = "/v1/enrol/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`database`: a file of SQLite, or `postgresql://...`; `demo`: its people may sign in.
    `host`: without it this machine alone, or with `lan` its own network; `lan`: the folder of the
    shop's own certificates; `certificates`: somebody else's."""

    database: str
    host: str = ""
    port: int = 0
    demo: bool = False
    web: Path = WEB_FOLDER
    front: FrontOptions = field(default_factory=FrontOptions)
    limits: Limits = field(default_factory=Limits)
    budgets: Budgets = field(default_factory=Budgets)
    certificates: Certificates | None = None
    lan: Path | None = None

    @property
    def is_reached_by_others(self) -> bool:
        """Return whether more than this machine may come to it."""
        front = self.front
        own = self.lan is None and is_loopback(self.host or LOOPBACK[0])
        return not own or bool(front.public_url or front.proxies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Message for whoever starts a server. `urls`: where it answers, best first; `link`: what links
    for whoever sits at this machine begin with; `code`: opens the shop, until it
    is set up; `warnings`: sentences for a person."""

    urls: tuple[str, ...]
    link: str
    web: bool
    lan: LanWelcome | None = None
    code: str | None = None
    sign_in: tuple[str, str] | None = None
    warnings: tuple[str, ...] = ()


def run(options: Options, *, ready: Callable[[Welcome], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises `UsageError`, `DatabaseError` or `SchemaError`."""
    proxies = options.front.proxies
    with open_server(
        schema, options.database, rules=rules, proxies=proxies, budgets=options.budgets
    ) as server:
        sign_in, warnings = _first_people(server, options)
        web = WebApp(options.web)
        desk = desk_of(server, options.database)
        first = FirstRun(desk, demo=options.demo)
        code = None if first.done else first.code
        way = Way(
            options.host,
            options.front,
            lan=options.lan,
            certificates=options.certificates,
        )
        trust = GuideApp(way.guide)
        shop = ShopApi(desk, first, server.authenticate, Proxies(proxies))
        app = App(TokenCookies(Api(server.app, shop, _teller(desk))), web, trust)

        def tell(url: str) -> None:
            way.listens(url)
            ready(
                Welcome(
                    urls=way.urls(),
                    link=way.link(),
                    web=web.is_built,
                    lan=way.welcome(),
                    code=code,
                    sign_in=sign_in,
                    warnings=(*warnings, *way.warnings()),
                )
            )

        collect_rarely()
        serve_app(
            app,
            way.host,
            options.port,
            tell,
            on_stop=server.hub.close,
            front=way.front,
            limits=options.limits,
            end_process=True,
            tls=way.tls(app, trust),
            strangers=Strangers(trust, way.known_guide),
        )


class Api:
    """The engine's calls, and the shop's own beside them. `let_in`: called in a thread when a
    device was let in: others are told what it is called."""

    def __init__(self, engine: ASGIApp, shop: ASGIApp, let_in: Callable[[], None]) -> None:
        self._engine = engine
        self._shop = shop
        self._let_in = let_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path(scope)
        if path.startswith(f"{CALLS}/"):
            await self._shop(scope, receive, send)
        elif path == _ENROL:
            await self._enrol(scope, receive, send)
        else:
            await self._engine(scope, receive, send)

    async def _enrol(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def heard(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self._engine(scope, receive, heard)
        if status == HTTPStatus.OK:  # whoever is not let in causes no work
            await anyio.to_thread.run_sync(self._let_in)


def _path(scope: Scope) -> str:
    """The path below where the app lies, with a slash behind it; "" for what is no request."""
    if scope["type"] != "http":
        return ""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return f"{path.rstrip('/')}/"


def _teller(desk: Desk) -> Callable[[], None]:
    """Function that tells devices of people and devices; where it fails, the next start does."""

    def tell() -> None:
        try:
            with desk.transaction() as tables:
                tell_roster(tables, desk.people)
        except HoldfastError:
            log.exception("roster_not_told")

    return tell


class App:
    """The API, the guide to trust, and the web app as one ASGI app."""

    def __init__(self, api: ASGIApp, web: ASGIApp, trust: ASGIApp) -> None:
        self._api = api
        self._web = web
        self._trust = trust

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._of(scope)(scope, receive, send)

    def _of(self, scope: Scope) -> ASGIApp:
        if scope["type"] != "http":
            return self._api
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith("/v1/"):
            return self._api
        return self._trust if path.startswith(PREFIX) else self._web


def _first_people(
    server: Server, options: Options
) -> tuple[tuple[str, str] | None, tuple[str, ...]]:
    """In a demo, the name and password of somebody who may do all; what whoever starts it has to
    know besides.

    The demo's password is in its documentation: it opens what only this machine can reach.
    """
    warnings: tuple[str, ...] = ()
    if not options.demo:
        ended = people.end_demo(server.people)
        if ended:
            warnings = (f"This was a demo; its people ({', '.join(ended)}) are disabled now.",)
        return None, warnings
    password = people.DEMO_PASSWORD
    if options.is_reached_by_others:
        password = secrets.token_urlsafe(12)
        said = (
            "The demo can be reached by others, and all of it by whoever has the password below; "
            "it is another one at each start."
        )
        warnings = (said,)
    people.open_demo(server.people, password=password)
    return (people.DEMO[0].name, password), warnings
