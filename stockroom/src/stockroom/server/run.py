"""A whole Stockroom server: the engine's API under `/v1/`, the web app everywhere else.

Knows: how the two are put together, and what the first start does. Must not know: command lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.server.assembly import Server, open_server
from holdfast.server.cookies import TokenCookies
from holdfast.server.front import FrontOptions
from holdfast.server.gate import Limits
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What whoever starts a server is told. `code`: of the first admin, at the very first start."""

    url: str
    web: bool
    code: str | None = None
    sign_in: tuple[str, str] | None = None


def run(options: Options, *, ready: Callable[[Welcome], None]) -> None:
    """Serve until SIGTERM or SIGINT. Raises `UsageError`, `DatabaseError` or `SchemaError`."""
    proxies = options.front.proxies
    with open_server(schema, options.database, rules=rules, proxies=proxies) as server:
        code, sign_in = _first_people(server, demo=options.demo)
        web = WebApp(options.web)

        def tell(url: str) -> None:
            ready(Welcome(url=url, web=web.is_built, code=code, sign_in=sign_in))

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
        )


class App:
    """The API and the web app as one ASGI app."""

    def __init__(self, api: ASGIApp, web: ASGIApp) -> None:
        self._api = api
        self._web = web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pages = scope["type"] == "http" and not scope["path"].startswith("/v1/")
        await (self._web if pages else self._api)(scope, receive, send)


def _first_people(server: Server, *, demo: bool) -> tuple[str | None, tuple[str, str] | None]:
    """The first admin's code; in a demo, the name and password of somebody who may do all."""
    if not demo:
        return people.first_admin(server.people), None
    known = {user.name for user in server.people.users()}
    for person in people.DEMO:
        if person.name not in known:
            people.add(server.people, person, password=people.DEMO_PASSWORD)
    return None, (people.DEMO[0].name, people.DEMO_PASSWORD)
