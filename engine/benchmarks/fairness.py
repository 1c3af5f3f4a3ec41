"""A good neighbour beside one device that does its worst: does it still get through?

    .venv/bin/python engine/benchmarks/fairness.py [--seconds 10] [--only verifies] [--postgres]

A server process on embedded SQLite (or a PostgreSQL of its own), one device that pushes one row
every 100 ms, and one attacker, which is another device of another store. First the neighbour is
alone, then beside each attack. The figures are the neighbour's: from the request to the last byte
of its answer, p50, p99 and the longest, in milliseconds, and how much longer the p50 is than alone.
Nothing is judged.

Knows: the attacks. Must not know: how the server defends itself.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast import Column, Schema, Table
from holdfast.protocol.version import PROTOCOL
from holdfast.testing import ServerProcess
from holdfast.testing.postgres import PostgresCluster, scratch_schema

SCHEMA = Schema(
    name="fairness",
    tables=(
        Table(
            name="box",
            key=("id",),
            scopes=("store/{store}",),
            unique=(("store", "serial"),),
            columns=(
                Column("id", "uuid"),
                Column("store"),
                Column("serial", nullable=True),
                Column("count", "integer", merge="counter"),
            ),
        ),
    ),
)
HELD = 20_000
EVERY_S = 0.1
TOKENS = """
[good]
user = "good"
device = "good"
write = ["store/good"]
[bad]
user = "bad"
device = "bad"
write = ["store/bad"]
"""


@dataclass
class Device:
    """Speaks the protocol on a kept connection; keeps no rows."""

    name: str
    host: str
    port: int
    number: int = 0
    nonce: str = ""
    checkpoint: dict[str, Any] = field(default_factory=dict)
    link: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """A request; its status and body."""
        if self.link is None:
            self.link = http.client.HTTPConnection(self.host, self.port, timeout=120)
        headers = {"authorization": f"Bearer {self.name}", "content-type": "application/json"}
        if body[:2] == b"\x1f\x8b":
            headers["content-encoding"] = "gzip"
        try:
            self.link.request("POST", path, body, headers)
            answer = self.link.getresponse()
            text = answer.read()
        except BaseException:
            self.link.close()
            self.link = None
            raise
        if answer.headers.get("connection") == "close":
            self.link.close()
            self.link = None
        return answer.status, text

    def request(self, **more: Any) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL, "schema": SCHEMA.fingerprint, "device": self.name,
            "now": time.time_ns() // 1000, "checkpoint": self.checkpoint, **more,
        }  # fmt: skip

    def push(self, transactions: list[list[dict[str, Any]]]) -> int:
        """Send transactions until all have an outcome; how many requests that were."""
        waiting = []
        for changes in transactions:
            self.number += 1
            waiting.append(
                {"number": self.number, "id": secrets.token_hex(16),
                 "at": time.time_ns() // 1000, "changes": changes}
            )  # fmt: skip
        requests = 0
        proposed = ""
        while waiting:
            proposed = proposed or secrets.token_hex(8)
            body = self.request(
                nonce={"since": self.nonce, "to": proposed}, confirmed=waiting[0]["number"] - 1,
                brief=True, transactions=waiting,
            )  # fmt: skip
            status, text = self.post("/v1/exchange", packed(body))
            requests += 1
            if status in (429, 503):
                time.sleep(0.2)
                continue
            assert status == 200, text[:500]
            lines = [json.loads(line) for line in text.splitlines()]
            self.nonce, proposed = proposed, ""
            self.checkpoint = lines[-1]["scopes"]
            waiting = waiting[len(lines[0].get("outcomes", ())) :]
        return requests


def packed(body: dict[str, Any]) -> bytes:
    text = json.dumps(body).encode()
    return gzip.compress(text, 1) if len(text) > 2_000 else text


def insert(store: str, serial: str | None = None) -> dict[str, Any]:
    new = {"store": store, "serial": serial, "count": "1"}
    return {"table": "box", "key": [str(uuid.uuid4())], "op": "insert", "new": new}


def verifies(bad: Device, stopped: threading.Event, place: int) -> None:
    """A scope is compared whole, again and again."""
    ranges = [{"scope": "store/bad", "start": f"box/{place}{n}"} for n in range(16)]
    while not stopped.is_set():
        bad.post("/v1/verify", packed(bad.request(ranges=ranges)))


def first_loads(bad: Device, stopped: threading.Event, _place: int) -> None:
    """Everything is asked for as by a device that has nothing."""
    while not stopped.is_set():
        bad.checkpoint = {}
        body = bad.request(nonce={"since": bad.nonce, "to": bad.nonce})
        bad.post("/v1/exchange", packed(body))


def poison(bad: Device, stopped: threading.Event, _place: int) -> None:
    """Batches of which each second transaction takes a serial that is taken."""
    while not stopped.is_set():
        batch = []
        for n in range(1000):
            rows = [insert("bad") for _ in range(9)]
            batch.append([*rows, insert("bad", f"taken{n}" if n % 2 else None)])
        bad.push(batch)


def batches(bad: Device, stopped: threading.Event, _place: int) -> None:
    """As many transactions at once as there may be, all of them good."""
    while not stopped.is_set():
        bad.push([[insert("bad") for _ in range(10)] for _ in range(1000)])


def large_poison(bad: Device, stopped: threading.Event, _place: int) -> None:
    """Transactions as large as they may be, of which the last change takes a serial."""
    while not stopped.is_set():
        bad.push([[*(insert("bad") for _ in range(49_999)), insert("bad", "taken1")]])


def large(bad: Device, stopped: threading.Event, _place: int) -> None:
    """Transactions as large as they may be."""
    while not stopped.is_set():
        bad.push([[insert("bad") for _ in range(50_000)]])


ATTACKS: dict[str, tuple[Callable[[Device, threading.Event, int], None], int]] = {
    "12 verifies at once": (verifies, 12),
    "12 first loads at once": (first_loads, 12),
    "batches of 1,000 transactions": (batches, 1),
    "poison batches": (poison, 1),
    "refused transactions of 50,000": (large_poison, 1),
    "transactions of 50,000 changes": (large, 1),
}


def attack(name: str, host: str, port: int, number: int, nonce: str) -> None:
    """The process of the attacker: until it is ended."""
    act, at_once = ATTACKS[name]
    bad = [Device("bad", host, port, number=number, nonce=nonce) for _ in range(at_once)]
    stopped = threading.Event()
    for place, device in enumerate(bad):
        threading.Thread(target=act, args=(device, stopped, place), daemon=True).start()
    stopped.wait()


@contextmanager
def attacker(name: str, bad: Device) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--attack", name, bad.host, str(bad.port), str(bad.number),
         bad.nonce]
    )  # fmt: skip
    try:
        time.sleep(1)
        yield
        assert process.poll() is None, "the attacker has given up"
    finally:
        process.kill()
        process.wait()


def neighbour(good: Device, seconds: float) -> list[float]:
    """How long each push of one row took, in milliseconds."""
    took = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.monotonic()
        good.push([[insert("good")]])
        spent = time.monotonic() - began
        took.append(spent * 1000)
        time.sleep(max(0.0, EVERY_S - spent))
    return sorted(took)


def show(what: str, took: list[float], alone: float = 0) -> float:
    """Print a row; the median."""
    p50 = statistics.median(took)
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    ratio = f"   {p50 / alone:6.1f} times alone" if alone else ""
    print(
        f"{what:40} {len(took):5} pushes   p50 {p50:8.1f}   p99 {p99:8.1f}   "
        f"longest {took[-1]:8.1f}{ratio}",
        flush=True,
    )
    return p50


def measure(name: str, folder: Path, database: str, seconds: float) -> None:
    """One attack on a server of its own."""
    command = [
        sys.executable, "-m", "holdfast.cli", "serve", "--port", "{port}",
        "--schema", str(folder / "schema.json"), "--database", database,
        "--tokens", str(folder / "tokens.toml"), "--log-level", "warning",
    ]  # fmt: skip
    with ServerProcess(command, log_path=folder / "server.log") as server:
        place = urlsplit(server.url)
        good = Device("good", str(place.hostname), int(place.port or 0))
        bad = Device("bad", str(place.hostname), int(place.port or 0))
        batch = [insert("bad", f"taken{n}" if n < 1000 else None) for n in range(HELD)]
        bad.push([batch[n : n + 1000] for n in range(0, HELD, 1000)])
        good.push([[insert("good")]])
        alone = show("alone", neighbour(good, seconds / 2))
        with attacker(name, bad):
            show(f"beside {name}", neighbour(good, seconds), alone)


def main() -> None:
    parser = argparse.ArgumentParser(prog="fairness.py", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", default="", help="attacks whose name has this")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-fair-")))
        (folder / "schema.json").write_bytes(SCHEMA.to_json())
        (folder / "tokens.toml").write_text(TOKENS)
        cluster = stack.enter_context(PostgresCluster(durable=True)) if options.postgres else None
        for name in ATTACKS:
            if options.only not in name:
                continue
            if cluster is not None:
                with scratch_schema(cluster) as address:
                    measure(name, folder, address, options.seconds)
                continue
            measure(name, folder, str(folder / "server.db"), options.seconds)
            for left in folder.glob("server.db*"):
                left.unlink() if left.is_file() else shutil.rmtree(left)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--attack"]:
        attack(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
    else:
        main()
