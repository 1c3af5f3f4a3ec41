"""A server on a real database, and devices that speak its messages and check what they get."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import argon2
import psycopg
import pytest

from holdfast.core.digest import Digest, row_hash
from holdfast.core.keys import key_text, row_key, row_scopes
from holdfast.core.values import from_wire, to_wire
from holdfast.protocol.messages import (
    Change,
    Checkpoint,
    ExchangeRequest,
    Gone,
    Head,
    Nonces,
    Offset,
    Origin,
    Outcome,
    Position,
    RangeAnswer,
    RangeQuery,
    RowQuery,
    Rows,
    Transaction,
    VerifyRequest,
)
from holdfast.schema.model import Check, Column, ForeignKey, Schema, Table
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.identity import passwords
from holdfast.server.identity.principal import Principal
from holdfast.server.open_store import open_store
from holdfast.server.service import Service
from holdfast.server.store.postgres.store import PostgresStore
from holdfast.server.store.sqlite.store import SqliteStore
from holdfast.sql.migration.fills import fill_value
from holdfast.sqlite import OpenOptions, driver
from holdfast.testing.postgres import PostgresCluster, scratch_schema

STORE = ("store/{store_id}",)

SCHEMA = Schema(
    name="shop",
    tables=(
        Table(
            name="product",
            key=("id",),
            columns=(
                Column("id"),
                Column("sku"),
                Column("name", default=""),
                Column("price", "decimal", merge="manual", scale=2, default="0.00"),
                Column("on_hand", "integer", merge="counter"),
                Column("rank", "integer", merge="largest", default="0"),
                Column("note", nullable=True),
            ),
            scopes=("catalog",),
            unique=(("sku",),),
            existence_public=True,
            checks=(Check("rank", "range", min=0, max=100), Check("sku", "not_empty")),
        ),
        Table(
            name="movement",
            key=("id",),
            columns=(
                Column("id", "integer"),
                Column("store_id"),
                Column("product_id"),
                Column("quantity", "integer", default="0"),
                Column("at", "timestamp", corrected=True, default="0"),
            ),
            scopes=STORE,
            foreign_keys=(ForeignKey(("product_id",), "product"),),
        ),
        Table(
            name="shelf",
            key=("store_id", "code"),
            columns=(
                Column("store_id"),
                Column("code", "bytes"),
                Column("label", merge="manual", default=""),
                Column("full", "boolean", default=False),
            ),
            scopes=STORE,
            on_delete="manual",
        ),
        Table(
            name="task",
            key=("id",),
            columns=(Column("id"), Column("store_id"), Column("text", merge="manual", default="")),
            scopes=(*STORE, "tasks"),
            on_delete="manual",
        ),
        Table(
            name="parcel",
            key=("id",),
            columns=(
                Column("id"),
                Column("weight", "real", merge="manual", nullable=True),
                Column("note", default=""),
                Column("unit", merge="manual", default="kg"),
                Column("price", "decimal", scale=2, default="0.00"),
                Column("currency", default="EUR"),
            ),
            scopes=("catalog",),
            groups=(("weight", "unit"), ("price", "currency")),
        ),
    ),
)


@dataclass
class Peer:
    """A device: pushes transactions, applies what comes down, and checks digests each time."""

    server: Server
    principal: Principal
    number: int = 0
    nonce: str = ""
    confirmed: int = 0
    now: int | None = None
    offset: Offset | None = None
    epoch: str = ""
    pending: list[Transaction] = field(default_factory=list)
    rows: dict[tuple[str, str], tuple[int, tuple[Any, ...]]] = field(default_factory=dict)
    checkpoint: dict[str, Position] = field(default_factory=dict)
    grants: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    last_rows: list[tuple[str, str]] = field(default_factory=list)
    last_gone: list[tuple[str, str]] = field(default_factory=list)
    speaks: Schema | None = None
    """The generation that it stays at; None: it is of the server's, whatever that is."""
    replica: str = ""
    origin: Origin | None = None
    proposed: str = ""
    """A nonce that was sent and not answered."""
    heads: list[Head] = field(default_factory=list)

    @property
    def schema(self) -> Schema:
        return self.speaks or self.server.schema

    def move_to(self, newer: Schema) -> None:
        """Open what it has with a newer schema, as a replica does: without a word to the server."""
        older = self.schema
        for (name, key), (rev, row) in list(self.rows.items()):
            held = dict(zip(older.by_name[name].column_names, row, strict=True))
            columns = newer.by_name[name].columns
            now = [held[c.name] if c.name in held else c.default_value() for c in columns]
            for place, column in enumerate(columns):
                if column.name not in held and column.fill is not None:
                    with contextlib.closing(driver().connect(":memory:", OpenOptions())) as db:
                        sql = fill_value(newer.by_name[name], column)
                        ((now[place],),) = db.execute(sql, now)
            self.rows[name, key] = (rev, tuple(now))
        self.speaks = newer

    # What it writes

    def change(
        self, op: str, table: str, key: Any, new: dict[str, Any] | None = None, **options: Any
    ) -> Change:
        """A change on top of what this peer holds; ``new`` in storage form."""
        target = self.schema.by_name[table]
        keys = key if isinstance(key, tuple) else (key,)
        text = key_text(target, keys)
        held = self.rows.get((table, text))
        old = {}
        if held is not None and new:
            old = {
                name: self._wire(table, name, held[1][target.positions[name]])
                for name in new
                if name in target.by_name and target.by_name[name].merge != "counter"
            }
        options.setdefault("base", held[0] if held else 0)
        return Change(
            table=table,
            key=[
                to_wire(column.type, value)
                for column, value in zip(target.key_columns, keys, strict=True)
            ],
            op=op,  # type: ignore[arg-type]
            new={name: self._wire(table, name, value) for name, value in (new or {}).items()},
            **{"old": old, **options},
        )

    def _wire(self, table: str, name: str, value: Any) -> Any:
        column = self.schema.by_name[table].by_name.get(name)
        return value if column is None else to_wire(column.type, value)

    def insert(self, table: str, key: Any, **new: Any) -> int:
        return self.commit(self.change("insert", table, key, new))

    def update(self, table: str, key: Any, **new: Any) -> int:
        return self.commit(self.change("update", table, key, new))

    def delete(self, table: str, key: Any) -> int:
        return self.commit(self.change("delete", table, key))

    def commit(self, *changes: Change, **options: Any) -> int:
        """Queue one transaction; its number."""
        self.number += 1
        options.setdefault("at", self.clock())
        self.pending.append(
            Transaction(
                number=self.number,
                id=self.server.random(16).hex(),
                changes=list(changes),
                **options,
            )
        )
        return self.number

    def clock(self) -> int:
        return self.server.now if self.now is None else self.now

    # Exchange

    def request(self, **options: Any) -> ExchangeRequest:
        body: dict[str, Any] = {
            "protocol": 1,
            "schema": self.schema.fingerprint,
            "device": self.principal.device if self.epoch else "",
            "epoch": self.epoch,
            "now": self.clock(),
            "checkpoint": self.checkpoint,
            "nonce": Nonces(self.nonce, self._proposed()),
            "offset": self.offset,
            "confirmed": self.confirmed,
            "transactions": self.pending,
            "replica": self.replica,
            "origin": self.origin,
        }
        return ExchangeRequest(**{**body, **options})

    def _proposed(self) -> str:
        """As a device does: a new nonce only with something to send, and at first contact."""
        if self.proposed:
            return self.proposed
        return self.server.random(8).hex() if self.pending or not self.nonce else self.nonce

    def sync(self, **options: Any) -> list[Outcome]:
        request = self.request(**options)
        if "nonce" not in options:  # what was sent and not answered is sent again as it was
            self.proposed = request.nonce.to
        lines = list(self.server.service.exchange(self.principal, request, echo="e"))
        outcomes = self.apply(lines)
        self.nonce, self.proposed = request.nonce.to, ""
        self.pending = self.pending[len(outcomes) :]
        if outcomes:
            self.confirmed = max(o.number for o in outcomes)
            self.outcomes.update((o.number, o) for o in outcomes)
        return outcomes + (self.sync() if self.pending else [])

    def verify(
        self, ranges: list[RangeQuery] | None = None, rows: list[RowQuery] | None = None
    ) -> list[Any]:
        request = VerifyRequest(
            protocol=1, schema=self.schema.fingerprint, device=self.principal.device,
            epoch=self.epoch, now=self.clock(), checkpoint=self.checkpoint,
            ranges=ranges or [], rows=rows or [],
        )  # fmt: skip
        lines = list(self.server.service.verify(self.principal, request, echo="v"))
        self.apply(lines)
        return lines

    def apply(self, lines: list[Any]) -> list[Outcome]:
        head, last = lines[0], lines[-1]
        assert isinstance(head, Head)
        assert isinstance(last, Checkpoint)
        assert last.lines == len(lines) - 1
        assert set(last.scopes) == set(head.scopes)
        for lost in set(self.checkpoint) - set(head.scopes):
            del self.checkpoint[lost]
        self.epoch = head.epoch
        self.heads.append(head)
        self.grants = head.scopes
        self.last_rows, self.last_gone = [], []
        for line in lines[1:-1]:
            if isinstance(line, Rows):
                table = self.schema.by_name[line.table]
                for rev, *wires in line.rows:
                    row = tuple(
                        from_wire(c.type, wire, scale=c.scale)
                        for c, wire in zip(table.columns, wires, strict=True)
                    )
                    key = row_key(table, row)
                    self.rows[line.table, key] = (rev, row)
                    self.last_rows.append((line.table, key))
            elif isinstance(line, Gone):
                for key in line.keys:
                    self.rows.pop((line.table, key), None)
                    self.last_gone.append((line.table, key))
            else:
                assert isinstance(line, RangeAnswer)
        self.checkpoint = dict(last.scopes)
        self.drop_lost()
        self.check_digests()
        return head.outcomes

    def drop_lost(self) -> None:
        for (name, key), (_, row) in list(self.rows.items()):
            scopes = row_scopes(self.schema.by_name[name], row)
            if not any(scope in self.grants for scope in scopes):
                del self.rows[name, key]

    def check_digests(self) -> None:
        digests = {scope: Digest() for scope in self.grants}
        for (name, key), (_, row) in self.rows.items():
            for scope in row_scopes(self.schema.by_name[name], row):
                if scope in digests:
                    secret = bytes.fromhex(self.grants[scope].key)
                    digests[scope] = digests[scope].add(row_hash(secret, name, key, row))
        for scope, position in self.checkpoint.items():
            assert (position.count, position.digest) == (
                digests[scope].count,
                digests[scope].hex,
            ), f"digest of {scope}"

    # What it holds

    def row(self, table: str, key: Any) -> dict[str, Any] | None:
        target = self.schema.by_name[table]
        keys = key if isinstance(key, tuple) else (key,)
        held = self.rows.get((table, key_text(target, keys)))
        return None if held is None else dict(zip(target.column_names, held[1], strict=True))

    def conflicts(self, state: str = "open") -> list[dict[str, Any]]:
        found = [self.row("holdfast_conflict", key) for t, key in self.rows if "conflict" in t]
        return sorted(
            (c for c in found if c is not None and c["state"] == state), key=lambda c: c["id"]
        )

    def settling(self, conflict: dict[str, Any], chosen: Any) -> Change:
        return self.change(
            "update", "holdfast_conflict", conflict["id"],
            {"state": "settled", "chosen": json.dumps(chosen), "settled_by": "me",
             "settled_at": self.clock()},
        )  # fmt: skip


INCARNATION_BYTES = 3


class Server:
    """A service on a file, or a schema of PostgreSQL, with a clock and random bytes of the test."""

    def __init__(
        self,
        path: Path | str,
        *,
        schema: Schema = SCHEMA,
        rules: Any = (),
        seed: int = 1,
        files: Any = None,
        budgets: Budgets | None = None,
        even: bool = False,
    ) -> None:
        """``even``: what is drawn does not hang on how many transactions there were before, nor
        the random part of a revision on when a row is taken in, nor the time on how often it was
        asked: only ``pass_time`` moves it."""
        self.files = files
        self._even: dict[int, random.Random] | None = {} if even else None
        self.budgets = budgets
        self.path = path
        self.postgres = str(path).startswith("postgresql://")
        self.schema = schema
        self.rules = rules
        self.now = 1_700_000_000_000_000
        self.moved: list[dict[str, int]] = []
        self._random = random.Random(seed)
        self.reader = connect(str(path)) if self.postgres else None
        self.open()

    def open(self) -> None:
        self.store = open_store(self.schema, self.path, random_bytes=self.random)
        transact = self.store.transact
        # A store that begins a transaction again draws the same random bytes again.
        self.store.transact = lambda work, *, turn="": transact(self._seeded(work), turn=turn)  # type: ignore[method-assign]
        self.service = Service(
            self.schema, self.store, rules=self.rules, now_us=self.tick,
            random_bytes=self.random, on_commit=lambda moved: self.moved.append(dict(moved)),
            files=self.files, budgets=self.budgets,
        ).begin()  # fmt: skip

    def close(self) -> None:
        self.service.close()
        if self.reader is not None:
            self.reader.close()

    def reopen(self, schema: Schema | None = None) -> None:
        self.service.close()
        self.schema = schema or self.schema
        self.open()

    def _seeded(self, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if self._even is not None:
            return self._from_here(work, self._even)
        seed = self.random(8)

        def seeded(writer: Any) -> Any:
            self._random.seed(seed)
            return work(writer)

        return seeded

    @staticmethod
    def _from_here(
        work: Callable[[Any], Any], streams: dict[int, random.Random]
    ) -> Callable[[Any], Any]:
        begun: list[dict[int, Any]] = []

        def again(writer: Any) -> Any:
            if not begun:
                begun.append({count: stream.getstate() for count, stream in streams.items()})
            for count in list(streams):
                if count in begun[0]:
                    streams[count].setstate(begun[0][count])
                else:
                    del streams[count]
            return work(writer)

        return again

    def random(self, count: int) -> bytes:
        if self._even is None:
            return self._random.randbytes(count)
        if count == INCARNATION_BYTES:
            return bytes(count)
        stream = self._even.setdefault(count, random.Random(count))
        return stream.randbytes(count)

    def tick(self) -> int:
        self.now += self._even is None
        return self.now

    def pass_time(self, seconds: float = 1) -> None:
        self.now += int(seconds * 1_000_000)

    def peer(
        self,
        device: str = "d1",
        *,
        user: str = "",
        read: tuple[str, ...] = (),
        write: tuple[str, ...] | None = None,
    ) -> Peer:
        """A device; it may do everything unless its grants are given."""
        if write is None:
            write = () if read else ("*",)
        return Peer(self, Principal(user or f"user-{device}", device, read, write))

    def sql(self, script: str) -> None:
        """Run SQL beside the server: by the stdlib's sqlite3 in another process, or by psycopg."""
        if self.postgres:
            with connect(str(self.path)) as db:
                db.execute(script)
            return
        code = (
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=60); "
            "db.execute('PRAGMA foreign_keys = on'); db.executescript(sys.argv[2]); db.close()"
        )
        subprocess.run([sys.executable, "-c", code, str(self.path), script], check=True)

    @contextlib.contextmanager
    def writer(self) -> Iterator[Callable[..., object]]:
        """Another program that writes directly: call it with SQL, ``?`` and parameters."""
        if self.postgres:
            with connect(str(self.path)) as db:
                yield lambda sql, *params: db.execute(sql.replace("?", "%s"), params)
            return
        other = driver().connect(str(self.path), OpenOptions(synchronous="OFF"))
        yield lambda sql, *params: other.execute(sql, params)
        other.close()

    def query(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Read the server's database."""
        if self.reader is not None:
            return self.reader.execute(sql, params or None).fetchall()
        assert isinstance(self.store, SqliteStore)
        return list(self.store._db.execute(sql, params))

    def notes(self) -> int:
        """How many notes of direct writes to products there are."""
        table = "holdfast_dirty" if self.postgres else "holdfast_change_product"
        ((count,),) = self.query(f"SELECT count(*) FROM {table}")
        return int(count)

    def reads_are_free(self) -> bool:
        """Whether every connection for reads waits for use, and there is one."""
        if isinstance(self.store, SqliteStore):
            return len(self.store._idle) == 1
        assert isinstance(self.store, PostgresStore)
        stats = self.store._readers.get_stats()
        return bool(stats["pool_available"] == stats["pool_size"] > 0)

    def sql_unseen(self, script: str) -> None:
        """Run SQL beside the server, past the capture triggers."""
        quiet = "UPDATE holdfast_state SET applying = {};"
        if self.postgres:
            self.sql(f"SET holdfast.applying = 'on'; {script}")
        else:
            self.sql(f"{quiet.format(1)} {script}; {quiet.format(0)}")

    def check(self) -> None:
        """The feeds, digests and foreign keys are what the stored rows say."""
        if not self.postgres:
            assert self.query("PRAGMA foreign_key_check") == []
        assert self.service.deep_check() == 0
        for scope, count, digest, key in self.query(
            "SELECT scope, count, digest, key FROM holdfast_scope"
        ):
            total = Digest()
            for table in self.schema.all_tables:
                names = ", ".join(f'"{name}"' for name in table.column_names)
                for row in self.query(f'SELECT {names} FROM "{table.name}"'):
                    if scope in row_scopes(table, row):
                        total = total.add(row_hash(key, table.name, row_key(table, row), row))
            assert (count, digest) == (total.count, total.hex), scope
        self.check_older()

    def check_older(self) -> None:
        """What is kept for older generations is what they see of the stored rows."""
        for projection in self.store.older:
            for scope, key, older in self.query("SELECT scope, key, older FROM holdfast_scope"):
                total = Digest()
                for name, view in projection.tables.items():
                    names = ", ".join(f'"{column}"' for column in view.newer.column_names)
                    for row in self.query(f'SELECT {names} FROM "{name}"'):
                        if scope in row_scopes(view.newer, row) and projection.shows(name, row):
                            seen = view.row(row)
                            hashed = row_hash(key, name, row_key(view.older, seen), seen)
                            total = total.add(hashed)
                kept = json.loads(older).get(str(projection.generation))
                assert kept == [total.count, total.hex], (projection.generation, scope)


def connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True)


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """The same hashes for a hundredth of the work: what they cost in earnest is for those who
    guess, and the tests with processes of their own pay it."""
    with pytest.MonkeyPatch.context() as patch:
        quick = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        patch.setattr(passwords, "_HASHER", quick)
        passwords._nobodys.cache_clear()
        yield
    passwords._nobodys.cache_clear()


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def cluster(request: pytest.FixtureRequest) -> PostgresCluster | None:
    """Where servers have their databases: None stands for files of SQLite."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgres_cluster")  # type: ignore[no-any-return]


@pytest.fixture
def make_server(cluster: PostgresCluster | None, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []
    with contextlib.ExitStack() as stack:

        def make(path: Path | str | None = None, **options: Any) -> Server:
            if path is None:
                path = tmp_path / f"server-{len(made)}.db"
                if cluster is not None:
                    path = stack.enter_context(scratch_schema(cluster))
            server = Server(path, **options)
            made.append(server)
            return server

        yield make
        for server in made:
            server.close()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()


@pytest.fixture(scope="session")
def usual(cluster: PostgresCluster | None) -> int:
    """How many examples a property draws: PostgreSQL costs many times what a file does, and which
    store it is changes no decision (I17). `make search` draws more."""
    return 60 if cluster is None else 12


@pytest.fixture(scope="session")
def scratch_server(
    cluster: PostgresCluster | None,
) -> Callable[[], contextlib.AbstractContextManager[Server]]:
    """A server for one example of a property, in memory where the system has such a folder."""

    @contextlib.contextmanager
    def scratch() -> Iterator[Server]:
        with contextlib.ExitStack() as stack:
            if cluster is None:
                shm = Path("/dev/shm")
                folder = str(shm) if os.access(shm, os.W_OK) else None
                name = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
                place: Path | str = Path(name) / "server.db"
            else:
                place = stack.enter_context(scratch_schema(cluster))
            server = Server(place)
            stack.callback(server.close)
            yield server

    return scratch


@pytest.fixture(scope="session")
def pair_of_servers(
    postgres_cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., contextlib.AbstractContextManager[tuple[Server, Server]]]:
    """Two servers with the same random bytes, on SQLite and on PostgreSQL."""

    @contextlib.contextmanager
    def pair(**options: Any) -> Iterator[tuple[Server, Server]]:
        with contextlib.ExitStack() as stack:
            one = Server(tmp_path_factory.mktemp("pair") / "server.db", **options)
            stack.callback(one.close)
            other = Server(stack.enter_context(scratch_schema(postgres_cluster)), **options)
            stack.callback(other.close)
            yield one, other

    return pair
