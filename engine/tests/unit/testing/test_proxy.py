"""The fault proxy: without faults it changes nothing, and each fault does what its name says.

Checks I37.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from holdfast import testing
from holdfast.testing import (
    FaultKind,
    FaultProxy,
    ServerProcess,
    ServerStartError,
    free_port,
    wait_until,
)

BODY = bytes(range(256)) * 200
PROXY_COMMAND = [sys.executable, "-m", "holdfast.testing.proxy_command", "--port", "{port}"]


class Server:
    """A real server in a thread; counts what reached it."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.seen: Counter[str] = Counter()
        self.clients: set[tuple[str, int] | None] = set()
        self.streams_open = 0
        routes = [
            Route("/v1/exchange", self.exchange, methods=["POST"]),
            Route("/fixed", self.fixed, methods=["GET", "HEAD"]),
            Route("/chunked", self.chunked),
            Route("/empty", self.empty),
            Route("/refuse", self.refuse, methods=["POST"]),
            Route("/events", self.events),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            port=self.port,
            log_level="error",
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        wait_until(lambda: self.server.started, what="the server")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=10)
        assert not self.thread.is_alive()

    def note(self, request: Request) -> None:
        self.seen[request.url.path] += 1
        self.clients.add(request.client and (request.client.host, request.client.port))

    async def exchange(self, request: Request) -> Response:
        body = await request.body()
        self.note(request)
        return JSONResponse({"bytes": len(body), "sum": sum(body)})

    async def fixed(self, request: Request) -> Response:
        self.note(request)
        return Response(BODY, media_type="application/octet-stream")

    async def chunked(self, request: Request) -> Response:
        self.note(request)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(BODY), 5000):
                yield BODY[start : start + 5000]

        return StreamingResponse(pieces())

    async def empty(self, request: Request) -> Response:
        self.note(request)
        return Response(status_code=204)

    async def refuse(self, request: Request) -> Response:
        self.note(request)
        return Response(status_code=413, headers={"connection": "close"})

    async def events(self, request: Request) -> Response:
        self.note(request)

        async def ticks() -> AsyncIterator[bytes]:
            self.streams_open += 1
            try:
                for number in range(2000):
                    yield b"data: %d\n\n" % number
                    await asyncio.sleep(0.02)
            finally:
                self.streams_open -= 1

        return StreamingResponse(ticks(), media_type="text/event-stream")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(upstream=("127.0.0.1", server.port), seed=7) as running:
        yield running


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=proxy.url, timeout=10, trust_env=False) as running:
        yield running


def raw_get(proxy: FaultProxy, path: str) -> tuple[bytes, bool]:
    """What a bare socket receives until the end, and whether the end was a reset."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as sock:
        sock.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
        received = b""
        try:
            while piece := sock.recv(65536):
                received += piece
        except ConnectionResetError:
            return received, True
        return received, False


def test_without_faults_every_body_passes_unchanged_on_one_connection(
    server: Server, proxy: FaultProxy, client: httpx2.Client
) -> None:
    for _ in range(20):
        assert client.get("/fixed").content == BODY
        assert client.get("/chunked").content == BODY
        assert client.get("/empty").status_code == 204
        assert client.head("/fixed").headers["content-length"] == str(len(BODY))
        assert client.post("/v1/exchange", content=b"ab").json()["bytes"] == 2
    assert proxy.open_connections == 1
    assert len(server.clients) == 1
    assert proxy.requests == sum(server.seen.values()) == 100
    assert proxy.faults == dict.fromkeys(testing.FAULT_KINDS, 0)


@pytest.mark.parametrize("chunked", [False, True])
def test_large_requests_stream_through(client: httpx2.Client, chunked: bool) -> None:
    body = BODY * 200
    content = (body[i : i + 100_000] for i in range(0, len(body), 100_000)) if chunked else body
    answer = client.post("/v1/exchange", content=content).json()
    assert answer == {"bytes": len(body), "sum": sum(body)}
    assert client.get("/fixed").content == BODY


def test_small_chunked_request(client: httpx2.Client) -> None:
    assert client.post("/v1/exchange", content=iter([b"a", b"bc"])).json()["bytes"] == 3


def test_an_early_refusal_of_a_large_request_arrives(client: httpx2.Client) -> None:
    for _ in range(20):
        assert client.post("/refuse", content=b"x" * 3_000_000).status_code == 413


def test_expect_continue(proxy: FaultProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as sock:
        sock.sendall(
            b"POST /v1/exchange HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\nContent-Length: 3\r\n\r\n"
        )
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"abc")
        answer = b"".join(iter(lambda: sock.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_drop_before_never_reaches_the_server(
    server: Server, proxy: FaultProxy, client: httpx2.Client
) -> None:
    proxy.scripted(["drop_before", None])
    with pytest.raises(httpx2.RemoteProtocolError):
        client.post("/v1/exchange", content=b"x" * 300_000)
    assert server.seen["/v1/exchange"] == 0
    assert proxy.faults["drop_before"] == 1
    assert client.post("/v1/exchange", content=b"x").status_code == 200


def test_drop_after_reaches_the_server_and_gives_the_client_nothing(
    server: Server, proxy: FaultProxy, client: httpx2.Client
) -> None:
    proxy.scripted(["drop_after"] * 2)
    with pytest.raises(httpx2.RemoteProtocolError):
        client.post("/v1/exchange", content=b"x" * 300_000)
    assert server.seen["/v1/exchange"] == 1
    assert raw_get(proxy, "/fixed") == (b"", False)
    assert server.seen["/fixed"] == 1
    assert proxy.faults["drop_after"] == 2


@pytest.mark.parametrize("path", ["/fixed", "/chunked"])
def test_truncate_sends_the_head_and_a_strict_prefix(
    server: Server, proxy: FaultProxy, client: httpx2.Client, path: str
) -> None:
    script: list[FaultKind | None] = [None]
    script += ["truncate"] * 21
    proxy.scripted(script)
    whole = len(client.get(path, headers={"connection": "close"}).content)
    with pytest.raises(httpx2.RemoteProtocolError):
        client.get(path)
    lengths = set()
    for _ in range(20):
        received, was_reset = raw_get(proxy, path)
        head, separator, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert separator
        assert not was_reset
        assert not body.endswith(b"0\r\n\r\n")
        assert len(body) < whole + 400
        lengths.add(len(body))
    assert len(lengths) > 10
    assert server.seen[path] == 22
    assert proxy.faults["truncate"] == 21


def test_truncate_cuts_the_head_of_an_empty_answer(
    proxy: FaultProxy, client: httpx2.Client
) -> None:
    proxy.scripted(["truncate"])
    with pytest.raises(httpx2.RemoteProtocolError):
        client.get("/empty")


def test_reset_strikes_before_after_and_in_the_middle(server: Server, proxy: FaultProxy) -> None:
    proxy.scripted(["reset"] * 40)
    outcomes: Counter[str] = Counter()
    for _ in range(40):
        before = server.seen["/fixed"]
        received, was_reset = raw_get(proxy, "/fixed")
        assert was_reset
        assert len(received) < len(BODY) + 400
        forwarded = server.seen["/fixed"] > before
        outcomes["middle" if received else "after" if forwarded else "before"] += 1
    assert set(outcomes) == {"before", "after", "middle"}
    assert proxy.faults["reset"] == 40


def fates(server: Server, *, seed: int) -> list[bool]:
    upstream = ("127.0.0.1", server.port)
    with FaultProxy(upstream=upstream, probability=0.4, seed=seed) as proxy:
        with httpx2.Client(base_url=proxy.url, trust_env=False) as client:
            outcomes = []
            for _ in range(150):
                try:
                    outcomes.append(client.get("/fixed").content == BODY)
                except httpx2.TransportError:
                    outcomes.append(False)
        assert proxy.requests == 150
        assert sum(proxy.faults.values()) == outcomes.count(False)
        assert all(proxy.faults.values())
        return outcomes


def test_one_seed_gives_one_sequence_of_faults(server: Server) -> None:
    first = fates(server, seed=5)
    assert 30 < first.count(False) < 90
    assert fates(server, seed=5) == first
    assert fates(server, seed=6) != first


def test_only_the_chosen_paths_suffer(server: Server) -> None:
    upstream = ("127.0.0.1", server.port)
    with (
        FaultProxy(upstream=upstream, probability=1.0, paths=("/v1/exchange",)) as proxy,
        httpx2.Client(base_url=proxy.url, trust_env=False) as client,
    ):
        proxy.scripted(["drop_before"])
        assert client.get("/fixed").content == BODY
        with pytest.raises(httpx2.TransportError):
            client.post("/v1/exchange")
        with pytest.raises(httpx2.TransportError):
            client.post("/v1/exchange")
        proxy.set_probability(0)
        assert client.post("/v1/exchange").status_code == 200


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
def test_event_streams_pass_as_they_come_and_end_with_the_client(
    server: Server, proxy: FaultProxy, client: httpx2.Client, accept: str
) -> None:
    if accept == "*/*":
        proxy.scripted(["drop_after"])  # known for a stream only by its answer: spared too
    else:
        proxy.set_probability(1)
    with client.stream("GET", "/events", headers={"accept": accept}) as response:
        lines = [line for line, _ in zip(response.iter_lines(), range(9), strict=False) if line]
        assert lines == ["data: 0", "data: 1", "data: 2", "data: 3", "data: 4"]
    wait_until(lambda: server.streams_open == 0, what="the server to see the client leave")
    wait_until(lambda: proxy.open_connections == 0, what="the proxy to see the client leave")
    assert sum(proxy.faults.values()) == 0


def test_cut_ends_streams_and_refuses_until_healed(
    server: Server, proxy: FaultProxy, client: httpx2.Client
) -> None:
    assert client.get("/fixed").status_code == 200
    with client.stream("GET", "/events") as response:
        lines = response.iter_lines()
        assert next(lines) == "data: 0"
        proxy.cut()
        assert proxy.open_connections == 0
        with pytest.raises(httpx2.TransportError):
            list(lines)
    wait_until(lambda: server.streams_open == 0, what="the server to see the cut")
    for _ in range(3):
        with pytest.raises(httpx2.TransportError):
            client.get("/fixed")
    assert server.seen["/fixed"] == 1
    url = proxy.url
    proxy.heal()
    assert proxy.url == url
    assert client.get("/fixed").content == BODY


def test_captive_portal_answers_everything_itself(
    server: Server, proxy: FaultProxy, client: httpx2.Client
) -> None:
    proxy.captive_portal(True)
    proxy.set_probability(1)
    for response in (client.post("/v1/exchange", content=b"x" * 200_000), client.get("/events")):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/html")
        assert "Sign in" in response.text
    assert client.head("/fixed").content == b""
    assert not server.seen
    proxy.captive_portal(False)
    proxy.set_probability(0)
    assert client.get("/fixed").content == BODY


def test_an_upstream_that_is_down_shows_as_a_reset_and_may_come_back() -> None:
    port = free_port()
    with (
        FaultProxy(upstream=("127.0.0.1", port)) as proxy,
        httpx2.Client(base_url=proxy.url, timeout=5, trust_env=False) as client,
    ):
        for size in (0, 1_000_000):
            with pytest.raises(httpx2.TransportError) as caught:
                client.post("/v1/exchange", content=b"x" * size)
            assert not isinstance(caught.value, httpx2.TimeoutException)
        with Server(port):
            assert client.get("/fixed").content == BODY
        with pytest.raises(httpx2.TransportError):
            client.get("/fixed")
        with Server(port):
            assert client.get("/fixed").content == BODY
        with Server() as other:
            proxy.set_upstream("127.0.0.1", other.port)
            assert client.get("/fixed").content == BODY
            assert other.seen["/fixed"] == 1
        assert proxy.upstream_failures == 3
        assert sum(proxy.faults.values()) == 0


def test_an_upstream_that_dies_in_its_answer_shows_as_a_reset() -> None:
    def answer_half(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_half, args=(listener,))
        thread.start()
        with FaultProxy(upstream=listener.getsockname()[:2]) as proxy:
            received, was_reset = raw_get(proxy, "/")
        thread.join()
    assert was_reset
    assert not received.endswith(b"0123456789")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 9999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 300_000,
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_reset(
    server: Server, proxy: FaultProxy, client: httpx2.Client, request_bytes: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(request_bytes)
        with contextlib.suppress(ConnectionError):
            assert sock.recv(1000) == b""
    assert not server.seen
    assert client.get("/fixed").content == BODY


def test_delay(proxy: FaultProxy, client: httpx2.Client) -> None:
    proxy.delay_ms = 80
    started = time.monotonic()
    client.get("/fixed")
    assert time.monotonic() - started >= 0.08


def test_values_out_of_range_are_refused(proxy: FaultProxy) -> None:
    unknown: list[FaultKind | None] = ["melt"]  # type: ignore[list-item]
    with pytest.raises(ValueError, match="melt"):
        proxy.scripted(unknown)
    with pytest.raises(ValueError, match="probability"):
        proxy.set_probability(1.5)
    with pytest.raises(ValueError, match="delay_ms"):
        proxy.delay_ms = -1


def test_a_taken_port_and_a_second_start_are_errors(proxy: FaultProxy) -> None:
    with pytest.raises(OSError, match="address already in use"):
        FaultProxy(upstream=("127.0.0.1", 9), port=proxy.port).start()
    with pytest.raises(RuntimeError, match="already"):
        proxy.start()
    proxy.close()
    proxy.close()
    with pytest.raises(RuntimeError, match="not running"):
        proxy.cut()


@pytest.mark.slow
def test_many_clients_at_once_account_for_every_request(server: Server) -> None:
    upstream = ("127.0.0.1", server.port)

    def work(url: str) -> int:
        good = 0
        with httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
            for _ in range(60):
                with contextlib.suppress(httpx2.TransportError):
                    good += client.post("/v1/exchange", content=b"x").status_code == 200
        return good

    with (
        FaultProxy(upstream=upstream, probability=0.3, seed=3) as proxy,
        ThreadPoolExecutor(8) as pool,
    ):
        good = sum(pool.map(work, [proxy.url] * 8))
        assert good + sum(proxy.faults.values()) == proxy.requests == 480
        assert proxy.upstream_failures == 0


def package_env() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(testing.__file__).parents[2])}


@pytest.mark.slow
def test_in_its_own_process_it_is_a_server_that_restarts_at_its_address(
    server: Server, tmp_path: Path
) -> None:
    command = [*PROXY_COMMAND, "--upstream", f"127.0.0.1:{server.port}"]
    log_path = tmp_path / "proxy.log"
    with ServerProcess(command, env=package_env(), log_path=log_path) as process:
        url, pid = process.url, process.pid
        assert httpx2.get(f"{url}/fixed", trust_env=False).content == BODY
        process.kill()
        assert not process.running
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{url}/fixed", trust_env=False)
        process.start()
        assert process.restart().url == url
        assert process.pid != pid
        assert httpx2.get(f"{url}/fixed", trust_env=False).content == BODY
        assert process.terminate() == 0
        process.start()
    assert not process.running
    assert log_path.read_text() == ""
    assert (tmp_path / "proxy.out").read_text() == f"ready {url}\n" * 4


def test_in_its_own_process_it_obeys_its_stdin(server: Server) -> None:
    command = [word for word in PROXY_COMMAND if word not in ("--port", "{port}")]
    command += ["--upstream", f"127.0.0.1:{server.port}", "--control"]
    env = {**os.environ, **package_env()}
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        ) as process,
        contextlib.ExitStack() as ending,
    ):
        ending.callback(process.kill)
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("ready ").strip()

        def tell(line: str) -> dict[str, object]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            answer: dict[str, object] = json.loads(process.stdout.readline())
            return answer

        assert tell("script drop_before none")["ok"]
        for command_line in ("delay_ms 1", "captive off", "probability 0", "cut", "heal"):
            assert tell(command_line)["ok"]
        assert tell(f"upstream 127.0.0.1 {server.port}")["ok"]
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"{url}/fixed", trust_env=False)
        assert httpx2.get(f"{url}/fixed", trust_env=False).content == BODY
        assert tell("stats")["requests"] == 2
        assert not tell("melt")["ok"]
        assert not tell("script melt")["ok"]
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_a_server_that_does_not_start_says_why() -> None:
    script = "import sys; print('no disk', file=sys.stderr); sys.exit(3)"
    failing = ServerProcess([sys.executable, "-c", script])
    with pytest.raises(ServerStartError, match=r"exit code 3\nno disk"), failing:
        pass
    silent = ServerProcess(["sleep", "60"], ready_timeout_s=0.1)
    with pytest.raises(ServerStartError, match=r"not ready in 0\.1 s"), silent:
        pass
    assert not silent.running
    missing = ServerProcess(["/no/such/program"])
    with pytest.raises(FileNotFoundError), missing:
        pass
    assert not failing.log_path.parent.exists()


def test_wait_until_returns_the_answer_or_names_what_was_missing() -> None:
    answers = iter([0, 0, 5])
    assert wait_until(lambda: next(answers), what="a number", poll_s=0) == 5
    with pytest.raises(TimeoutError, match=r"0\.05 s in vain for the moon"):
        wait_until(lambda: False, 0.05, "the moon")
