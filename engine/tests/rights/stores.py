"""A server on real HTTP that keeps every byte it sends, and replicas whose rights change.

Scope names, keys, texts, numbers and bytes are all canaries: values that occur nowhere else.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast import Replica
from holdfast.core.errors import HoldfastError, ProtocolError
from holdfast.core.limits import RESPONSE_BYTES_MAX
from holdfast.protocol.compression import ENCODINGS, Encoding, unpack_bounded
from holdfast.schema.model import Column, ForeignKey, Schema, Table
from holdfast.server.assembly import open_server
from holdfast.server.files.offers import FilePolicy
from holdfast.server.identity.principal import Principal
from holdfast.server.run import Stopper, serve
from holdfast.sqlite import OpenOptions, driver

STORE = ("store/{store_id}",)
SCHEMA = Schema(
    name="canaries",
    tables=(
        Table("brand", ("id",), (Column("id"), Column("name", default="")), ("catalog",)),
        Table(
            "box", ("id",),
            (
                Column("id"), Column("store_id"),
                Column("note", merge="manual", default=""), Column("text", default=""),
                Column("number", "integer", default="0"), Column("raw", "bytes", nullable=True),
                Column("serial", "uuid", nullable=True), Column("inside", nullable=True),
                Column("brand_id", nullable=True),
            ),
            STORE, on_delete="manual", unique=(("serial",),),
            foreign_keys=(ForeignKey(("inside",), "box"), ForeignKey(("brand_id",), "brand")),
        ),
        Table(
            "task", ("id",),
            (Column("id"), Column("store_id"), Column("kind"), Column("text", default="")),
            (*STORE, "kind/{kind}"),
        ),
        Table("audit", ("id",), (Column("id"), Column("room"), Column("text")), ("audit/{room}",)),
    ),
)  # fmt: skip


_FILES = "/v1/files/"
_MARKS: dict[Encoding, bytes] = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}


class Recorder:
    """Keeps what the app sends, by token: headers and bodies, uncompressed.

    Files are fetched without a token; they count as sent to every device that one was offered to.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.state = getattr(app, "state", None)
        self.sent: dict[str, list[bytes]] = defaultdict(list)
        self.files = 0

    def _keep_file(self, path: str, pieces: list[bytes]) -> None:
        raw = b"".join(pieces)
        packed = next((name for name, mark in _MARKS.items() if raw.startswith(mark)), None)
        assert packed is not None, "what cannot be read cannot be searched"
        whole = unpack_bounded([raw], packed, bytes_max=RESPONSE_BYTES_MAX, ratio_max=None)
        offered = [token for token, sent in self.sent.items() if path.encode() in b"".join(sent)]
        assert offered, "a file that nobody was offered"
        for token in offered:
            self.sent[token].append(whole)
        self.files += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        names = dict(scope["headers"])
        path = scope["path"]
        token = names.get(b"authorization", b"").decode().removeprefix("Bearer ")
        pieces: list[bytes] = []
        packed: Encoding | None = None

        async def keep(message: Message) -> None:
            nonlocal packed
            if message["type"] == "http.response.start":
                headers = [b": ".join(pair) for pair in message["headers"]]
                named = dict(message["headers"]).get(b"content-encoding", b"").decode()
                assert named in ("", *ENCODINGS), "what cannot be read cannot be searched"
                packed = next((name for name in ENCODINGS if name == named), None)
                self.sent[token].append(b"\n".join([str(message["status"]).encode(), *headers]))
            else:
                pieces.append(message.get("body", b""))
                if packed is None and not path.startswith(_FILES):
                    self.sent[token].append(pieces[-1])
            await send(message)

        try:
            await self._app(scope, receive, keep)
        finally:
            if path.startswith(_FILES):
                self._keep_file(path, pieces)
            if packed is not None:
                self.sent[token].append(
                    unpack_bounded(pieces, packed, bytes_max=RESPONSE_BYTES_MAX, ratio_max=None)
                )


class Told(logging.Handler):
    """What the replica's own code logs in this process, and what it raises."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.device = ""
        self.texts: dict[str, list[str]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("holdfast.server"):
            self.texts[self.device].append(self.format(record))


class Stores:
    """One server and its devices. ``rights`` may change at any time."""

    def __init__(self, folder: Path, database: str | Path, *, files: FilePolicy) -> None:
        self.folder = folder
        self.database = database
        self._files = files
        self.rights: dict[str, Principal] = {}
        self.devices: dict[str, Replica] = {}
        self.told = Told()
        self.rule: Any = None
        self._stack = contextlib.ExitStack()
        self._other: Callable[..., list[tuple[Any, ...]]] | None = None

    def __enter__(self) -> Self:
        log = logging.getLogger("holdfast")
        log.addHandler(self.told)
        self._stack.callback(log.removeHandler, self.told)
        server = open_server(
            SCHEMA, self.database, self._authenticate, rules=[self._rules], files=self._files
        )
        self.service = server.service
        self._stack.callback(server.close)
        self.recorder = Recorder(server.app)
        ready, stopper = threading.Event(), Stopper()

        def listening(url: str) -> None:
            self.url = url
            ready.set()

        thread = threading.Thread(
            target=serve, args=(self.recorder, "127.0.0.1", 0, listening), daemon=True,
            kwargs={"stopper": stopper, "on_stop": server.hub.close},
        )  # fmt: skip
        thread.start()
        assert ready.wait(30)
        self._stack.callback(thread.join, 30)
        self._stack.callback(stopper.stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for replica in self.devices.values():
            replica.close()
        self._stack.close()

    def _authenticate(self, headers: Mapping[str, str]) -> Principal:
        found = self.rights.get(headers.get("authorization", "").removeprefix("Bearer "))
        if found is None:
            raise ProtocolError("sign in", code="sign_in", status=401)
        return found

    def _rules(self, context: Any) -> None:
        if self.rule is not None:
            self.rule(context)

    def grant(self, name: str, *, read: tuple[str, ...] = (), write: tuple[str, ...] = ()) -> None:
        self.rights[name] = Principal(f"user-{name}", name, read, write)

    def device(self, name: str) -> Replica:
        """The replica of a device, made at the first call."""
        if name not in self.devices:
            (self.folder / name).mkdir()
            self.devices[name] = Replica.open(
                self.folder / name / "replica.db", SCHEMA, server=self.url, token=name,
                synchronous="OFF",
            )  # fmt: skip
        return self.devices[name]

    def write(self, name: str, *statements: tuple[str, tuple[Any, ...]]) -> bool:
        """One local transaction; False when the device itself refuses it."""
        written: list[bool] = []
        with self._as(name):
            with self.device(name).transaction() as db:
                for sql, params in statements:
                    db.execute(sql, params)
            written.append(True)
        return bool(written)

    def sync(self, name: str) -> None:
        with self._as(name):
            assert self.device(name).sync().verified

    @contextlib.contextmanager
    def _as(self, name: str) -> Iterator[None]:
        """Whatever is raised is what the device's owner reads."""
        self.told.device = name
        try:
            yield
        except HoldfastError as error:
            self.told.texts[name].append(f"{error} {error.detail}")

    def ask(
        self, name: str, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """A request made by hand: status, headers and body."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        headers = {"authorization": f"Bearer {name}", "holdfast-echo": "e"}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def server_rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Read the server's database from beside it."""
        return self._beside(sql, *params)

    def write_directly(self, sql: str, *params: Any) -> None:
        self._beside(sql, *params)
        self.service.poll_foreign_writes()

    def _beside(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run SQL as another program does: on one connection, for each look asks eight times."""
        if self._other is None:
            self._other = self._connect_beside()
        return self._other(sql, *params)

    def _connect_beside(self) -> Callable[..., list[tuple[Any, ...]]]:
        if isinstance(self.database, Path):
            file = driver().connect(str(self.database), OpenOptions(synchronous="OFF"))
            self._stack.callback(file.close)
            return lambda sql, *params: list(file.execute(sql, params))
        server = self._stack.enter_context(psycopg.connect(self.database, autocommit=True))

        def run(sql: str, *params: Any) -> list[tuple[Any, ...]]:
            cursor = server.execute(sql.replace("?", "%s"), params or None)
            return cursor.fetchall() if cursor.description else []

        return run

    def bytes_of(self, name: str) -> dict[str, bytes]:
        """Everything that was sent to a device, and that is stored or said there."""
        replica = self.folder / name
        found = {str(path.name): path.read_bytes() for path in replica.iterdir() if path.is_file()}
        found["http"] = b"\n".join(self.recorder.sent[name])
        found["said"] = "\n".join(self.told.texts[name]).encode()
        return found


def canary(rng: random.Random) -> str:
    """A text that occurs nowhere else."""
    return f"cn{rng.getrandbits(56):014x}"
