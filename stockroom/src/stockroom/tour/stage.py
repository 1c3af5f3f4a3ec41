"""The stage of the tour: a real server process, two devices, and a cable each that can be pulled.

Knows: what the story needs to exist. Must not know: the story.
Everything lives in one temporary folder and is ended and removed when the stage is left.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from holdfast import Replica
from holdfast.core.backoff import Backoff
from holdfast.core.session import SessionConfig
from holdfast.core.values import Value
from holdfast.replica.runner import RunnerOptions
from holdfast.sqlite import OpenOptions, Row, driver
from holdfast.testing import FaultProxy, ServerProcess
from stockroom.schema import schema
from stockroom.stock import Actor, Place, ensure_place

STORE: Final = "1"

BACKGROUND: Final = RunnerOptions(
    session=SessionConfig(
        backoff=Backoff(base_ms=100, cap_ms=1_000, spread_ms=200), poll_ms=500, hint_ms=100
    )
)
"""Background sync with waits short enough to watch; a real device waits 1 s to 5 min."""

_TOKENS: Final = """\
[tour-token-ana]
user = "Ana"
device = "tablet"
read = ["catalog", "store/1"]
write = ["catalog", "store/1"]
roles = ["manager"]

[tour-token-ben]
user = "Ben"
device = "phone"
read = ["catalog", "store/1"]
write = ["catalog", "store/1"]
roles = ["manager"]
"""


@dataclass(frozen=True, slots=True)
class TourDevice:
    """A device with a person, and the cable between it and the server."""

    path: Path
    replica: Replica
    cable: FaultProxy
    actor: Actor

    @property
    def place(self) -> Place:
        return ensure_place(self.replica, STORE)

    @property
    def settled(self) -> bool:
        """Return whether nothing of this device waits for the server."""
        status = self.replica.status
        return status.pending == 0 and status.sent == 0


class Stage:
    """Use as a context manager; then `ana`, `ben` and `server` are there."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="stockroom-tour-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.server_path = self.folder / "server.db"
        self.server: ServerProcess
        self.ana: TourDevice
        self.ben: TourDevice

    def __enter__(self) -> Self:
        try:
            tokens = self.folder / "tokens.toml"
            tokens.write_text(_TOKENS)
            self.server = self._stack.enter_context(
                ServerProcess(
                    [
                        sys.executable, "-m", "holdfast.cli", "serve",
                        "--schema", "stockroom.schema:schema",
                "--rules", "stockroom.rules:rules",
                "--database", str(self.server_path),
                        "--port", "{port}", "--tokens", str(tokens),
                    ],
                    log_path=self.folder / "server.log",
                )
            )  # fmt: skip
            self.ana = self._device("ana", "tablet", "Ana")
            self.ben = self._device("ben", "phone", "Ben")
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask_server(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Read the server's database file, past all of our own code."""
        return _read(self.server_path, sql, params)

    def ask_file(self, device: TourDevice, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Read a device's file as any other program would."""
        return _read(device.path, sql, params)

    def run_script(self, script: str, *arguments: str) -> int:
        """Run a Python script in a process of its own; its exit code (negative: the signal)."""
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(command, check=False, timeout=60).returncode  # noqa: S603 - our own

    def corrupt(self, device: TourDevice, sql: str, params: Sequence[Value] = ()) -> None:
        """Change a device's file behind the engine's back, as a failing disk would: untracked.

        What was written before is sealed: a cell that breaks sooner is taken for a local write.
        """
        device.replica.seal()
        connection = driver("apsw").connect(str(device.path), OpenOptions(foreign_keys=False))
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE holdfast_state SET applying = 1")
            connection.execute(sql, params)
            connection.execute("UPDATE holdfast_state SET applying = 0")
            connection.execute("COMMIT")
        finally:
            connection.close()

    def _device(self, token: str, name: str, person: str) -> TourDevice:
        address = urlsplit(self.server.url)
        assert address.hostname is not None
        assert address.port is not None
        cable = self._stack.enter_context(FaultProxy(upstream=(address.hostname, address.port)))
        token_file = self.folder / f"{name}.token"
        token_file.write_text(f"tour-token-{token}\n")
        path = self.folder / f"{name}.db"
        replica = self._stack.enter_context(
            Replica.open(path, schema, server=cable.url, token_file=token_file)
        )
        return TourDevice(path, replica, cable, Actor(person=person, device=name))


def _read(path: Path, sql: str, params: Sequence[Value]) -> list[Row]:
    connection = driver("apsw").connect(str(path), OpenOptions(read_only=True))
    try:
        return connection.execute(sql, params)
    finally:
        connection.close()
