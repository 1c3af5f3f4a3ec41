"""What a measurement is, and the stage it is taken on.

Knows: clocks, files, a server process and devices. Must not know: the workloads.
A workload is measured as a ratio to a limit that is taken in turns with it, in the same run: the
machine's mood of a moment then meets both.
"""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from rows import SCHEMA, STORE

from holdfast import Replica
from holdfast.testing import ServerProcess

DEVICES = ("one", "two")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One line of the table.

    ``value`` and ``limit`` are in ``unit``. ``ratio`` is how much of the limit's speed is reached.
    ``met``: whether the target is; None when there is none.
    """

    workload: str
    what: str
    value: float
    unit: str
    limit: float | None = None
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""
    runs: tuple[float, ...] = ()


@dataclass(slots=True)
class Rounds:
    """Seconds of what is measured and of its limit, taken in turns."""

    ours: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Median of limit by ours, pair by pair: 1.0 is as fast as the limit."""
        return statistics.median(a / b for a, b in zip(self.limit, self.ours, strict=True))


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """How long ``work`` takes."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def median(values: list[float]) -> float:
    return statistics.median(values)


class Stage:
    """A folder with a server in a process of its own, and its devices. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self.folder = folder
        self.database = folder / "server.db"
        folder.mkdir(parents=True)

    def prepare(self) -> None:
        """Make the server's database without serving it."""
        from holdfast.server.assembly import open_server
        from holdfast.server.auth import TokenFile

        self._files()
        with open_server(SCHEMA, self.database, TokenFile(self.folder / "tokens.toml")):
            pass

    def _files(self) -> None:
        (self.folder / "schema.json").write_bytes(SCHEMA.to_json())
        (self.folder / "tokens.toml").write_text(
            "\n".join(
                f'[token-{name}]\nuser = "{name}"\ndevice = "{name}"\n'
                f'read = ["store/{STORE}"]\nwrite = ["store/{STORE}"]\n'
                for name in DEVICES
            )
        )

    def serve(self) -> str:
        """Start the server; its address."""
        self._files()
        command = [
            sys.executable, "-m", "holdfast.cli", "serve", "--port", "{port}",
            "--schema", str(self.folder / "schema.json"), "--database", str(self.database),
            "--tokens", str(self.folder / "tokens.toml"), "--log-level", "warning",
        ]  # fmt: skip
        server = ServerProcess(command, log_path=self.folder / "server.log")
        return self._stack.enter_context(server).url

    def device(self, name: Literal["one", "two"], url: str) -> Replica:
        return self._stack.enter_context(
            Replica.open(self.folder / f"{name}.db", SCHEMA, server=url, token=f"token-{name}")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._stack.close()


class Wire:
    """Counts the bytes of one TCP connection after another on their way to the server."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._upstream = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        self.received = 0

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._upstream)
            for source, target, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, target, up), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        try:
            while data := source.recv(65536):
                if up:
                    self.sent += len(data)
                else:
                    self.received += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    @contextmanager
    def open(self) -> Iterator[Self]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._listener.close()
