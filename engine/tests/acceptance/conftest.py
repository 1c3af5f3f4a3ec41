"""Real processes, real HTTP on the loopback, real SQLite files: a server, devices, and a shell.

This process opens databases with APSW alone: two SQLite libraries in one process on one file would
break each other's locks. Foreign writers (the sqlite3 shell, Python's sqlite3) are other processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from holdfast import Replica, SyncReport
from holdfast.core.errors import SyncError
from holdfast.schema.load import load_schema
from holdfast.testing import FaultProxy, ServerProcess, free_port, launching

ROOT = Path(__file__).resolve().parents[3]
COUNTER = ROOT / "examples/counter/schema.json"
TOKENS = """\
[token-a]
user = "anna"
device = "device-a"
read = ["main"]
write = ["main"]

[token-b]
user = "ben"
device = "device-b"
read = ["main"]
write = ["main"]

[token-c]
user = "cleo"
device = "device-c"
read = ["main"]
write = ["main"]
"""
SQLITE_SHELL = shutil.which("sqlite3", path="/usr/bin:/bin:/usr/local/bin")
PYTHON_SHELL = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None);"
    "db.executescript(sys.stdin.read())"
)
HOLDFAST = (sys.executable, "-m", "holdfast.cli")


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document: the last line of stdout, and nothing else there is JSON."""
        lines = self.out.splitlines()
        assert lines, f"no output; stderr: {self.err}"
        assert not any(line.startswith("{") for line in lines[:-1]), self.out
        found = json.loads(lines[-1])
        assert isinstance(found, dict)
        return found


def holdfast(
    *arguments: object, env: Mapping[str, str] | None = None, timeout_s: float = 60
) -> Ran:
    """Run the `holdfast` command in a process of its own."""
    done = launching.run(
        [*HOLDFAST, *arguments], timeout=timeout_s, env={**os.environ, **(env or {})}
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def shell(path: Path, sql: str) -> str:
    """Plain SQL from a foreign process: the sqlite3 shell, or Python's sqlite3 without it."""
    command = (
        [SQLITE_SHELL, "-bail", "-cmd", ".timeout 10000", str(path)]
        if SQLITE_SHELL
        else [sys.executable, "-c", PYTHON_SHELL, str(path)]
    )
    done = subprocess.run(
        command, input=f"{sql};\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def query(path: Path, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Read a database file."""
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(10_000)
        return list(connection.execute(sql, params))
    finally:
        connection.close()


@dataclass
class Background:
    """A command that runs until it is told to stop."""

    process: launching.Process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=60)


@dataclass
class Device:
    """A replica's file, and what its owner does with it."""

    world: World
    name: str
    url: str
    token_file: Path
    file: Path

    def cli(self, command: str, *arguments: object, **options: Any) -> Ran:
        return holdfast(command, self.file, *arguments, **options)

    def shell(self, sql: str) -> str:
        return shell(self.file, sql)

    def query(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return query(self.file, sql, params)

    def opened(self, **options: Any) -> Replica:
        """The replica in this process; close it."""
        return Replica.open(self.file, **options)

    def sync(self) -> SyncReport:
        with self.opened() as replica:
            report = replica.sync()
        assert report.verified
        return report

    def try_sync(self) -> SyncError | None:
        """One attempt; what it failed with."""
        with self.opened() as replica:
            try:
                replica.sync()
            except SyncError as error:
                return error
        return None

    def status(self) -> dict[str, Any]:
        """Without asking the server."""
        with self.opened() as replica:
            return replica.status.to_dict()

    def session(self) -> dict[str, Any]:
        """What the process that syncs in the background says."""
        ((text,),) = self.query("SELECT session FROM holdfast_state")
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def run(self, *arguments: object, backoff_max: float = 2, poll: float = 15) -> Background:
        """`holdfast run`, until the test ends."""
        log = self.file.with_suffix(f".run-{len(self.world.background)}.log")
        with log.open("wb") as stderr:
            process = launching.start(
                [*HOLDFAST, "run", self.file, "--backoff-max", backoff_max, "--poll", poll,
                 *arguments],
                stdout=stderr, stderr=stderr,
            )  # fmt: skip
        started = Background(process)
        self.world.background.append(started)
        return started


@dataclass
class World:
    """One server and its devices."""

    path: Path
    server: ServerProcess
    schema: Path
    tokens: Path
    port: int
    background: list[Background] = field(default_factory=list)
    servers: list[ServerProcess] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.path / "server.db"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, *, env: Mapping[str, str] | None = None, start: bool = True) -> ServerProcess:
        """A server process on this world's port and database."""
        command = [
            *HOLDFAST, "serve", "--schema", str(self.schema), "--database", str(self.database),
            "--port", "{port}", "--tokens", str(self.tokens),
        ]  # fmt: skip
        made = ServerProcess(
            command, port=self.port, log_path=self.path / f"server-{len(self.servers)}.log", env=env
        )
        self.servers.append(made)
        self.server = made
        return made.start() if start else made

    def device(self, name: str, token: str, *, url: str | None = None, met: bool = True) -> Device:
        """A replica, made without a process of its own; `met`: it has talked to the server."""
        token_file = self.path / f"{name}.token"
        token_file.write_text(token + "\n")
        made = Device(self, name, url or self.url, token_file, self.path / f"{name}.db")
        with Replica.open(
            made.file, load_schema(str(self.schema)), server=made.url, token_file=token_file
        ) as replica:
            if met:
                replica.sync()
        return made

    def rows(self, sql: str = "SELECT * FROM stock ORDER BY 1") -> list[tuple[Any, ...]]:
        return query(self.database, sql)

    def check_equal(self, *devices: Device, table: str = "stock") -> None:
        """Nothing waits, both sides hold the same rows, both files are sound."""
        sql = f"SELECT * FROM {table} ORDER BY 1"
        for device in devices:
            status = device.status()
            assert (status["pending"], status["sent"]) == (0, 0), status
            assert device.query(sql) == self.rows(sql), device.name
            assert device.query("PRAGMA integrity_check") == [("ok",)], device.name
        assert query(self.database, "PRAGMA integrity_check") == [("ok",)]

    def applied(self, device: str) -> list[int]:
        """Numbers of the device's transactions that the server has decided as applied."""
        return [
            number
            for (number,) in query(
                self.database,
                "SELECT a.number FROM holdfast_applied AS a JOIN holdfast_replica AS r "
                "ON r.replica = a.replica WHERE r.device = ? AND a.outcome = 'applied' "
                "ORDER BY a.number",
                (device,),
            )
        ]

    @staticmethod
    def holdfast(*arguments: object, **options: Any) -> Ran:
        """The command, without a replica of ours."""
        return holdfast(*arguments, **options)

    @staticmethod
    def shell(path: Path, sql: str) -> str:
        return shell(path, sql)

    def close(self) -> None:
        for started in self.background:
            if started.process.poll() is None:
                started.kill()
        for server in self.servers:
            server.kill()


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes worlds: `schema` a JSON file, `tokens` the text of a token file."""
    with contextlib.ExitStack() as stack:

        def make(
            *,
            schema: Path = COUNTER,
            tokens: str = TOKENS,
            env: Mapping[str, str] | None = None,
            path: Path = tmp_path,
        ) -> World:
            token_file = tmp_path / "tokens.toml"
            token_file.write_text(tokens)
            port = free_port()
            world = World(path, None, schema, token_file, port)  # type: ignore[arg-type]
            stack.callback(world.close)
            world.serve(env=env)
            return world

        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """The counter example's server."""
    return make_world()


@pytest.fixture
def proxy(world: World) -> Iterator[FaultProxy]:
    """A network in front of the server."""
    with FaultProxy(upstream=("127.0.0.1", world.port)) as made:
        yield made
