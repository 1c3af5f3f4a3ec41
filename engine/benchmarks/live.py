"""Many live devices on one server process: how soon all of them hear of a change, and hold it.

    .venv/bin/python engine/benchmarks/live.py [--devices 2000] [--changes 20] [--database URL]

Knows: the server process, the processes of the crowd, and one replica that writes. Must not know:
sockets. Two figures: from the moment the writer begins to sync to the moment a device reads the
event from its stream; and, with ``--fetch``, to the moment it has read the whole answer of the
exchange that it then makes. The crowd shares this machine's cores with the server.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from report import circumstances
from rows import INSERT, SCHEMA, STORE, item

from holdfast import Replica
from holdfast.core.enrolment_codes import new_token, secret_hash
from holdfast.server.open_store import open_store
from holdfast.server.store.contract import Writer
from holdfast.server.store.registry import Registration, TokenRecord, User
from holdfast.testing import ServerProcess, wait_until

TIMEOUT_S = 120.0
DEVICES_MAX = 4000
SCOPE = f"store/{STORE}"


class Crowd:
    """One process of many devices."""

    def __init__(self, plan: dict[str, Any], path: Path) -> None:
        path.write_text(json.dumps(plan))
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("crowd.py")), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(self) -> dict[str, Any]:
        """Its next event."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the crowd ended with {self._process.wait()}")
        event: dict[str, Any] = json.loads(line)
        return event

    def ask(self, words: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        return self.told()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._process.kill()
        self._process.wait(timeout=10)


def measure(
    folder: Path, *, devices: int, changes: int, database: str, processes: int, fetch: bool
) -> dict[str, Any]:
    """Open the crowd, make the changes one by one, wait each time until all have heard of it."""
    with ExitStack() as stack:
        server, tokens = _server(folder, database, ["writer", *map(str, range(devices))])
        url = stack.enter_context(server).url
        address = urlsplit(url)
        plan = {
            "host": address.hostname, "port": address.port, "schema": SCHEMA.fingerprint,
            "scope": SCOPE, "fetches": fetch,
        }  # fmt: skip
        writer = stack.enter_context(
            Replica.open(folder / "writer.db", SCHEMA, server=url, token=tokens[0])
        )
        _write(writer, 0)
        crowds = [
            stack.enter_context(
                Crowd(
                    plan | {"tokens": tokens[1 + number :: processes]},
                    folder / f"crowd-{number}.json",
                )
            )
            for number in range(processes)
        ]
        opened = [crowd.told()["seconds"] for crowd in crowds]
        begun: dict[int, int] = {}
        for number in range(1, changes + 1):
            start = time.monotonic_ns()
            version = _write(writer, number)
            begun[version] = start
            wait_until(
                lambda v=version: _reached(crowds, v, devices, fetch=fetch),  # type: ignore[misc]
                TIMEOUT_S,
                f"all devices and version {version}",
                poll_s=0.1,
            )
        done = [crowd.ask("done") for crowd in crowds]
    return {
        "devices": devices,
        "changes": changes,
        "opened_s": max(opened),
        "heard_ms": _spread(_times(done, "heard", begun)),
        "fetched_ms": _spread(_times(done, "fetched", begun)) if fetch else None,
        "told_to_come_again": sum(event["retries"] for event in done),
    }


def _server(folder: Path, database: str, names: list[str]) -> tuple[ServerProcess, list[str]]:
    """A server that knows a device of each name, and their tokens."""
    (folder / "schema.json").write_bytes(SCHEMA.to_json())
    where = database or str(folder / "s.db")
    tokens = [new_token(secrets.token_bytes) for _ in names]
    store = open_store(SCHEMA, where, random_bytes=secrets.token_bytes)
    store.transact(lambda writer: _register(writer, names, tokens))
    store.close()
    command = [
        sys.executable, "-m", "holdfast.cli", "serve", "--port", "{port}",
        "--schema", str(folder / "schema.json"), "--database", where, "--log-level", "warning",
    ]  # fmt: skip
    return ServerProcess(command, log_path=folder / "server.log"), tokens


def _register(writer: Writer, names: list[str], tokens: list[str]) -> None:
    """All devices at once; one by one they would enrol with codes."""
    registry = writer.registry
    registry.put_user(User("staff", read=(SCOPE,), write=(SCOPE,)))
    ends = time.time_ns() // 1000 + 86_400_000_000
    for name, token in zip(names, tokens, strict=True):
        registry.put_registration(Registration(name, "staff"))
        registry.put_token(TokenRecord(secret_hash("token", token), name, 1, ends, used=True))


def _write(writer: Replica, number: int) -> int:
    """One row, written and sent; the version of the scope that has it."""
    with writer.transaction() as db:
        db.execute(INSERT, item(number))
    writer.sync()
    ((version,),) = writer.query("SELECT version FROM holdfast_scope WHERE scope = ?", (SCOPE,))
    return int(str(version))


def _reached(crowds: list[Crowd], version: int, devices: int, *, fetch: bool) -> bool:
    counts = [crowd.ask(f"count {version}") for crowd in crowds]
    assert not sum(count["ended"] for count in counts), "a device has ended"
    return sum(count["fetched" if fetch else "heard"] for count in counts) == devices


def _times(done: list[dict[str, Any]], what: str, begun: dict[int, int]) -> list[float]:
    """Milliseconds from the start of each change to the first sign of it, of every device."""
    found = []
    for crowd in done:
        for events in crowd[what]:
            for version, start in begun.items():
                found.append(min(at for seen, at in events if seen >= version) - start)
    return [nanoseconds / 1e6 for nanoseconds in found]


def _spread(times: list[float]) -> dict[str, float]:
    times.sort()
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        name: round(times[min(len(times) - 1, int(share * len(times)))], 1)
        for name, share in at.items()
    }


def main(words: list[str]) -> int:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(prog="live.py", description="Many live devices.")
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2, help="that the devices share")
    parser.add_argument("--database", default="", help="postgresql://..., empty; else SQLite")
    parser.add_argument("--fetch", action="store_true", help="devices fetch what they hear of")
    options = parser.parse_args(words)
    if not 1 <= options.devices <= DEVICES_MAX:
        parser.error(f"--devices is 1 to {DEVICES_MAX}")
    around = circumstances(Path(__file__).parent, quick=False)
    with tempfile.TemporaryDirectory(prefix="holdfast-live-") as folder:
        result = measure(
            Path(folder),
            devices=options.devices,
            changes=options.changes,
            database=options.database,
            processes=min(options.processes, options.devices),
            fetch=options.fetch,
        )
    print(json.dumps({**around, **result}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
