"""A server process that may open few files: it says so, refuses politely, and recovers."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast import Replica
from holdfast.core.errors import SyncError
from holdfast.schema.load import load_schema
from holdfast.testing import ServerProcess, wait_until

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).resolve().parents[3]
COUNTER = ROOT / "examples/counter/schema.json"
TOKENS = '[token-a]\nuser = "anna"\ndevice = "device-a"\nread = ["main"]\nwrite = ["main"]\n'
DESCRIPTORS = 96
STRANGERS = 150
HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _served(folder: Path, *more: str) -> ServerProcess:
    tokens = folder / "tokens.toml"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    command = [
        "sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh",
        sys.executable, "-m", "holdfast.cli", "serve", "--port", "{port}",
        "--schema", str(COUNTER), "--database", str(folder / "server.db"),
        "--tokens", str(tokens), *more,
    ]  # fmt: skip
    return ServerProcess(command, log_path=folder / "server.log")


def _told(server: ServerProcess, event: str) -> list[dict[str, Any]]:
    lines = [
        json.loads(line)
        for line in server.log_path.read_text().splitlines()
        if line.startswith("{")
    ]
    return [line for line in lines if line.get("event") == event]


def _answer(connection: socket.socket) -> bytes:
    with contextlib.suppress(ConnectionError):
        connection.sendall(HEALTH)
        return connection.recv(2000)
    return b""


def _is_served(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as late:
        return _answer(late).startswith(b"HTTP/1.1 200")


def test_it_says_so_refuses_and_recovers(tmp_path: Path) -> None:
    # More connections than files, as somebody configures who does not know of the other limit.
    many = ("--connections", "1000", "--connections-per-address", "1000")
    with (
        _served(tmp_path, *many) as server,
        Replica.open(
            tmp_path / "a.db", load_schema(str(COUNTER)), server=server.url, token="token-a"
        ) as device,
    ):
        (few,) = _told(server, "few_descriptors")
        assert few["descriptors"] == DESCRIPTORS
        device.sync()
        port = int(server.url.rpartition(":")[2])
        with contextlib.ExitStack() as stack:
            dialled = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
                for _ in range(STRANGERS)
            ]
            answers = [_answer(one) for one in dialled]
            refused = [one for one in answers if one.startswith(b"HTTP/1.1 503")]
            assert refused
            assert all(b"busy" in one and b"etry-" in one.lower() for one in refused)
            full = _told(server, "descriptors_full")
            assert full, server.log_path.read_text()
            assert full[0]["descriptors"] == DESCRIPTORS
            # Whoever works is let in meanwhile: those that ask nothing give way.
            with device.transaction() as db:
                db.execute("INSERT INTO stock (sku, on_hand) VALUES ('screw', 3)")
            wait_until(lambda: _synced(device), what="the device's work to arrive")
        # It learns of each that hangs up, one after the other.
        wait_until(lambda: _is_served(port), what="room for the next")
        assert device.sync().verified
        assert server.running
        assert "Traceback" not in server.log_path.read_text()


def _synced(device: Replica) -> bool:
    with contextlib.suppress(SyncError):
        device.sync()
    return device.status.pending + device.status.sent == 0


def test_a_server_with_fewer_files_than_it_keeps_for_itself_still_serves(tmp_path: Path) -> None:
    with (
        _served(tmp_path) as server,
        Replica.open(
            tmp_path / "a.db", load_schema(str(COUNTER)), server=server.url, token="token-a"
        ) as device,
    ):
        (few,) = _told(server, "few_descriptors")
        assert 1 <= few["connections"] < DESCRIPTORS
        assert device.sync().verified
