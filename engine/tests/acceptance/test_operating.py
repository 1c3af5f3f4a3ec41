"""A server watched and stopped as in production: readiness, logs, metrics, an orderly end."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from holdfast import Replica
from holdfast.protocol.messages import Change, ExchangeRequest, Nonces, Transaction
from holdfast.schema.load import load_schema
from holdfast.testing import ServerProcess, launching, wait_until
from holdfast.testing.postgres import PostgresCluster

pytestmark = pytest.mark.acceptance

COUNTER = Path(__file__).parents[3] / "examples" / "counter"
SCHEMA = load_schema(str(COUNTER / "schema.json"))
TOKENS = '[token-a]\nuser = "anna"\ndevice = "device-a"\nwrite = ["main"]\n'
CLI = (sys.executable, "-m", "holdfast.cli")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "server.db")
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    return cluster.make_database()


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[ServerProcess]:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    command = [
        *CLI, "serve", "--schema", str(COUNTER / "schema.json"), "--database", database,
        "--tokens", str(tokens), "--port", "{port}", "--metrics", "127.0.0.1:0", "--drain", "2",
        "--log-level", "debug",
    ]  # fmt: skip
    with ServerProcess(command, log_path=tmp_path / "server.log") as made:
        yield made


def push_body() -> bytes:
    change = Change(
        table="stock", key=["mug"], op="insert",
        new={"name": "secret-name", "price": "1", "on_hand": "5"},
    )  # fmt: skip
    return msgspec.json.encode(
        ExchangeRequest(
            protocol=1, schema=SCHEMA.fingerprint, now=0, nonce=Nonces("", "nonce-000001"),
            transactions=[Transaction(1, "ab" * 16, 0, [change])],
        )
    )  # fmt: skip


def logged(server: ServerProcess) -> list[dict[str, Any]]:
    lines = server.log_path.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def scrape(server: ServerProcess) -> dict[str, float]:
    out = server.log_path.with_suffix(".out").read_text().splitlines()
    url = next(line.split()[1] for line in out if line.startswith("metrics "))
    text = httpx2.get(url).text
    samples = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


def test_a_slow_push_is_acknowledged_after_the_signal(server: ServerProcess) -> None:
    body = push_body()
    head = (
        f"POST /v1/exchange HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer token-a\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    port = int(server.url.rpartition(":")[2])
    with (
        httpx2.Client(base_url=server.url) as probe,
        socket.create_connection(("127.0.0.1", port), timeout=60) as slow,
        httpx2.stream(
            "GET", f"{server.url}/v1/events", headers={"Authorization": "Bearer token-a"}
        ) as events,
    ):
        assert probe.get("/v1/ready").json() == {"holdfast": 1, "ready": True}
        stream = events.iter_lines()
        assert next(stream) == "event: hello"
        slow.sendall(head + body[: len(body) // 2])
        assert server._process is not None
        server._process.terminate()
        wait_until(lambda: probe.get("/v1/ready").status_code == 503, what="not to be ready")
        refused = probe.get("/v1/ready")
        assert refused.json()["error"]["code"] == "stopping"
        assert "retry-after" in refused.headers
        assert probe.get("/v1/health").status_code == 200
        for _ in stream:
            pass  # it ends
        slow.sendall(body[len(body) // 2 :])
        answer = slow.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b'"outcome":"applied"' in answer and b'"type":"checkpoint"' in answer
    assert server._process.wait(timeout=60) == 0
    assert not [line for line in logged(server) if line["level"] == "error"]


def test_each_request_is_one_line_without_secrets(server: ServerProcess) -> None:
    headers = {"Authorization": "Bearer token-a", "Content-Type": "application/json"}
    with httpx2.Client(base_url=server.url) as client:
        first = client.post(
            "/v1/exchange", content=push_body(), headers={**headers, "X-Request-Id": "abc-1"}
        )
        assert first.headers["x-request-id"] == "abc-1"
        echoed = client.get("/v1/session", headers={"Holdfast-Echo": "e1-x", **headers})
        assert "x-request-id" not in echoed.headers and echoed.headers["holdfast-echo"] == "e1-x"
        other = client.get("/v1/session", headers={"X-Request-Id": "not one!", **headers})
        assert other.headers["x-request-id"] not in ("", "not one!")
        assert client.get("/nowhere/secret-path").status_code == 404
        assert client.post("/v1/exchange", headers=headers, content=b"{").status_code == 400
    lines = wait_until(
        lambda: (found := [x for x in logged(server) if x["event"] == "request"])[4:] and found,
        what="five lines",
    )  # fmt: skip
    assert (lines.pop(1)["id"]) == "e1-x"
    done = lines[0]
    assert (done["id"], done["route"], done["status"]) == ("abc-1", "/v1/exchange", 200)
    assert (done["device"], done["user"]) == ("device-a", "anna")
    assert (done["transactions"], done["rows"]) == (1, 1)
    assert done["received_bytes"] == len(push_body()) and done["sent_bytes"] > 100
    assert (lines[2]["route"], lines[2]["status"]) == ("other", 404)
    assert (lines[3]["status"], lines[3]["code"]) == (400, "bad_json")
    text = server.log_path.read_text()
    for secret in ("token-a", "secret-name", "secret-path", "ab" * 16):
        assert secret not in text


def test_metrics_on_a_listener_of_their_own(server: ServerProcess, tmp_path: Path) -> None:
    with Replica.open(
        tmp_path / "a.db",
        SCHEMA,
        server=server.url,
        token="token-a",
    ) as replica:
        replica.sync()
        with replica.transaction() as db:
            db.execute("INSERT INTO stock (sku) VALUES ('mug')")
        replica.sync()
        with replica.transaction() as db:
            db.execute("UPDATE stock SET price = -5 WHERE sku = 'mug'")
        replica.start()
        wait_until(lambda: scrape(server)["holdfast_open_streams"] == 1, what="a stream")
    assert httpx2.get(f"{server.url}/metrics").status_code == 404
    found = scrape(server)
    ok = 'holdfast_requests_total{code="",route="/v1/exchange",status="200"}'
    assert found[ok] >= 2
    assert found['holdfast_transactions_total{outcome="applied"}'] >= 1
    assert found['holdfast_request_seconds_count{route="/v1/exchange"}'] == found[ok]
    assert found['holdfast_devices{within="60"}'] == 1
    assert found['holdfast_devices{within="+Inf"}'] == 1
    assert found["holdfast_waiting_requests"] == 0
    assert "device-a" not in str(found) and "anna" not in str(found)


def test_what_the_database_holds_is_told(
    server: ServerProcess, database: str, tmp_path: Path
) -> None:

    with Replica.open(
        tmp_path / "a.db",
        SCHEMA,
        server=server.url,
        token="token-a",
    ) as replica:
        for sql in (
            "INSERT INTO stock (sku) VALUES ('a'), ('b')",
            "DELETE FROM stock WHERE sku='a'",
        ):
            with replica.transaction() as db:
                db.execute(sql)
            replica.sync()

    def run(command: str) -> dict[str, Any]:
        arguments = ["--schema", str(COUNTER / "schema.json"), "--database", database, "--json"]
        done = launching.run([*CLI, "server", command, *arguments])
        done.check_returncode()
        return dict(json.loads(done.stdout.splitlines()[-1]))

    (scope,) = run("scopes")["scopes"]
    assert scope == {
        "name": "main", "head": 2, "floor": 0, "rows": 1, "tombstones": 1, "positions": 3,
    }  # fmt: skip
    stats = run("stats")
    assert stats["rows"]["stock"] == 1 and stats["entries"]["holdfast_replica"] == 1
    assert (stats["tombstones"], stats["notes"]) == (1, 0) and stats["size_bytes"] > 4096
    done = run("purge")
    assert done["whole"] and done["removals"] == 0
    missing = launching.run(
        [*CLI, "server", "stats", "--schema", COUNTER / "schema.json", "--database", "no.db"]
    )
    assert missing.returncode != 0 and not Path("no.db").exists()
