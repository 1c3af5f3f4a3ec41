"""The stage a measurement is taken on: a server process, its devices, and a counter of bytes.

Knows: files, processes and sockets. Must not know: the workloads.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from databases import Database, Kind
from rows import SCHEMA, STORE, Item

from holdfast import Replica, Schema
from holdfast.testing import ServerProcess

DEVICES = ("one", "two", "three", "four", "five", "six")


class Stage:
    """A folder with a server in a process of its own, and its devices. Use as a context manager."""

    def __init__(self, folder: Path, kind: Kind, schema: Schema = SCHEMA) -> None:
        self._stack = ExitStack()
        self._schema = schema
        self.folder = folder
        folder.mkdir(parents=True)
        self.database: Database = kind.database(folder)

    def prepare(self) -> None:
        """Make the server's database without serving it."""
        from holdfast.server.assembly import open_server
        from holdfast.server.identity.token_file import TokenFile

        self._files()
        tokens = TokenFile(self.folder / "tokens.toml")
        with open_server(self._schema, self.database.address, tokens):
            pass

    def _files(self) -> None:
        (self.folder / "schema.json").write_bytes(self._schema.to_json())
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
            "--schema", str(self.folder / "schema.json"), "--database", self.database.address,
            "--tokens", str(self.folder / "tokens.toml"), "--log-level", "warning",
        ]  # fmt: skip
        server = ServerProcess(command, log_path=self.folder / "server.log")
        return self._stack.enter_context(server).url

    def device(self, name: str, url: str) -> Replica:
        return self._stack.enter_context(
            Replica.open(
                self.folder / f"{name}.db", self._schema, server=url, token=f"token-{name}"
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._stack.close()


def write(replica: Replica, sql: str, rows: list[Item] | list[tuple[object, ...]]) -> None:
    """Many rows in one local transaction."""
    with replica.transaction() as db:
        db.executemany(sql, rows)  # type: ignore[arg-type]


def settled(replica: Replica) -> None:
    """Raises unless the server has applied everything."""
    status = replica.status
    if status.pending or status.sent or status.refused:
        raise RuntimeError(f"not everything was applied: {status}")


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
