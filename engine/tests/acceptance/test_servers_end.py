"""A server ends when it is told to, whoever listens and whatever has half arrived; mounted, too."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast import Replica
from holdfast.schema.load import load_schema
from holdfast.testing import free_port, wait_until

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import World

pytestmark = pytest.mark.acceptance

SCHEMA = Path(__file__).resolve().parents[3] / "examples/counter/schema.json"
SERVED = """
    import contextlib, signal, sys, threading, uvicorn
    from pathlib import Path
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.routing import Mount
    from holdfast.schema.load import load_schema
    from holdfast.server import Principal, open_server

    how, schema, database, port = sys.argv[1:]
    principal = Principal("anna", "till-1", read=("main",), write=("main",))
    server = open_server(load_schema(schema), database, lambda headers: principal)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        server.close()

    async def through(request, call_next):
        return await call_next(request)

    app = Starlette(
        routes=[Mount("/sync", app=server.app)], lifespan=lifespan,
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=through)] if how == "wrapped" else [],
    )
    config = uvicorn.Config(app, port=int(port), log_level="critical")
    host = uvicorn.Server(config)
    if how == "thread":
        thread = threading.Thread(target=host.run)
        thread.start()
        told = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: told.set())
        while not told.wait(0.1):
            pass
        host.should_exit = True
        thread.join()
    else:
        host.run()
"""


@contextlib.contextmanager
def _mounted(tmp_path: Path, how: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    script = tmp_path / "app.py"
    script.write_text(textwrap.dedent(SERVED))
    process = subprocess.Popen(
        [sys.executable, str(script), how, str(SCHEMA), str(tmp_path / "s.db"), str(port)],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def _half_a_post(port: int, path: str) -> socket.socket:
    """A request whose body never comes whole; its server has begun to read it."""
    line = socket.create_connection(("127.0.0.1", port), timeout=30)
    line.sendall(
        f"POST {path} HTTP/1.1\r\nhost: here\r\nauthorization: Bearer token-a\r\n"
        "content-type: application/json\r\ncontent-length: 1000\r\n\r\n{".encode()
    )
    return line


@pytest.mark.parametrize("how", ["plain", "wrapped", "thread"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_mounted_server_ends_with_its_host(tmp_path: Path, how: str, number: int) -> None:
    port = free_port()
    with (
        _mounted(tmp_path, how, port) as process,
        Replica.open(
            tmp_path / "a.db", load_schema(str(SCHEMA)), server=f"http://127.0.0.1:{port}/sync",
            token="x",
        ) as replica,
    ):  # fmt: skip
        replica.start()
        wait_until(lambda: replica.status.state == "online", what="a link")
        half = _half_a_post(port, "/sync/v1/exchange")
        process.send_signal(number)
        process.wait(20)  # for ever, were it not noticed
        half.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_with_streams_and_half_a_request(world: World, number: int) -> None:
    a = world.device("a", "token-a")
    runner = a.run()
    wait_until(lambda: a.session().get("state") == "online", what="a link")
    with _half_a_post(world.port, "/v1/exchange"), _half_a_post(world.port, "/v1/verify"):
        world.server.signal(number)
        assert world.server.wait(15) == 0
    assert runner.terminate() == 0
