"""A server and, at ``/site``, the test page on one origin; who has the cookie ``token`` is who it
says. Rows come as files from a number on that tests can afford."""

from __future__ import annotations

import http.cookies
import sys
from collections.abc import Mapping
from pathlib import Path

from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from holdfast.schema.load import load_schema
from holdfast.server.assembly import open_server
from holdfast.server.files.offers import FilePolicy
from holdfast.server.http.front import FrontOptions
from holdfast.server.identity.principal import Principal
from holdfast.server.identity.token_file import TokenFile
from holdfast.server.run import serve

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[2] / "protocol" / "vectors"


def main() -> None:
    folder, database, port, rows = sys.argv[1:]
    policy = FilePolicy()
    if rows:
        policy = FilePolicy(snapshot_rows_min=int(rows), catchup_rows_min=int(rows))
    tokens = TokenFile(HERE / "tokens.toml")

    def authenticate(headers: Mapping[str, str]) -> Principal:
        cookie = http.cookies.SimpleCookie(headers.get("cookie", "")).get("token")
        if cookie is not None and "authorization" not in headers:
            return tokens({"authorization": f"Bearer {cookie.value}"})
        return tokens(headers)

    schema = load_schema(str(HERE / "shop.json"))
    with open_server(schema, database, authenticate, files=policy) as server:
        if folder:
            server.app.router.routes += [
                Mount("/site", StaticFiles(directory=folder, html=True)),
                Mount("/vectors", StaticFiles(directory=VECTORS)),
            ]
        # A name without https: what a browser allows there is tested, too.
        front = FrontOptions(hosts=("insecure.test",))
        serve(server.app, "127.0.0.1", int(port), ready, front=front)


def ready(url: str) -> None:
    sys.stdout.write(f"ready {url}\n")
    sys.stdout.flush()


main()
