"""A server dies while its database grows, or an old one still runs beside the new one: nothing is
lost, nothing is done twice, and who is to wait is told so.

Checks I4, I32, I35.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.core.errors import ServerTrouble
from holdfast.schema.model import Check, Column, Schema, Table
from holdfast.testing import ServerProcess, free_port, launching
from holdfast.testing.postgres import PostgresCluster
from holdfast.testing.processes import ServerStartError

pytestmark = pytest.mark.acceptance

COLUMNS = (Column("id"), Column("text", default=""), Column("count", "integer", merge="counter"))


def schema(generation: int, *more: Column, longest: int) -> Schema:
    note = Table(
        name="note", key=("id",), scopes=("main",), columns=(*COLUMNS, *more),
        checks=(Check("text", "length", max=longest),),
    )  # fmt: skip
    return Schema(name="kills", generation=generation, tables=(note,))


OLD = schema(1, longest=9)
NEW = schema(2, Column("label", default="", fill="upper(text)"), longest=19)

Serve = Callable[..., ServerProcess]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "server.db")
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    return cluster.make_database()


@pytest.fixture
def serve(database: str, tmp_path: Path) -> Iterator[Serve]:
    """A server with a schema, on a port; it is not started."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('[t]\nuser = "a"\ndevice = "a"\nread = ["main"]\nwrite = ["main"]')
    (tmp_path / "token").write_text("t")
    with ExitStack() as stack:

        def make(served: Schema, port: int, **env: str) -> ServerProcess:
            file = tmp_path / f"schema-{served.generation}.json"
            file.write_bytes(served.to_json())
            command = [
                sys.executable, "-m", "holdfast.cli", "serve", "--schema", str(file),
                "--database", database, "--port", "{port}", "--tokens", str(tokens),
            ]  # fmt: skip
            log = tmp_path / f"server-{served.generation}-{len(env)}.log"
            process = ServerProcess(command, port=port, log_path=log, env=env)
            stack.callback(process.kill)
            return process

        yield make


def device(tmp_path: Path, port: int, made: Schema | None = None) -> Replica:
    return Replica.open(
        tmp_path / "device.db", made, server=f"http://127.0.0.1:{port}",
        token_file=tmp_path / "token", synchronous="OFF",
    )  # fmt: skip


def write(replica: Replica, sql: str) -> None:
    with replica.transaction() as db:
        db.execute(sql)


@pytest.mark.parametrize("point", ["grow.filled", "grow.loosened", "store.before_commit"])
def test_a_server_that_dies_as_it_grows_grows_the_next_time(
    serve: Serve, database: str, tmp_path: Path, point: str
) -> None:
    if point != "store.before_commit" and database.startswith("postgresql"):
        pytest.skip("a point of SQLite's way")
    port = free_port()
    with serve(OLD, port), device(tmp_path, port, OLD) as old:
        write(old, "INSERT INTO note VALUES ('a', 'one', 1), ('b', 'two', 2)")
        old.sync()
        write(old, "UPDATE note SET count = count + 1, text = 'queued' WHERE id = 'a'")
    dying = serve(NEW, port, HOLDFAST_FAILPOINT=f"{point}:1")
    with pytest.raises(ServerStartError):
        dying.start()
    with serve(NEW, port):
        with device(tmp_path, port) as old:
            assert old.sync().verified and old.verify(deep=True).ok
            write(old, "INSERT INTO note VALUES ('c', 'late', 0)")
        with device(tmp_path, port, NEW) as new:
            assert new.sync().verified and new.verify(deep=True).ok
            assert new.query("SELECT id, count, label FROM note ORDER BY id") == [
                ("a", 2, "ONE"), ("b", 2, "TWO"), ("c", 0, "LATE"),
            ]  # fmt: skip


def test_an_old_process_beside_a_new_one_asks_to_come_again(
    serve: Serve, database: str, tmp_path: Path
) -> None:
    if not database.startswith("postgresql"):
        pytest.skip("one process serves a file")
    before, after = free_port(), free_port()
    with serve(OLD, before):
        with device(tmp_path, before, OLD) as old:
            write(old, "INSERT INTO note VALUES ('a', 'one', 1)")
            assert old.sync().verified
        with serve(NEW, after):
            with device(tmp_path, before) as old:
                write(old, "UPDATE note SET count = count + 1")
                with pytest.raises(ServerTrouble) as told:
                    old.sync()
                assert told.value.code == "schema_moved"
                now = old.status
                assert now.pending + now.sent == 1
            with device(tmp_path, after) as old:  # as a proxy would lead it
                assert old.sync().verified and old.verify(deep=True).ok
                assert old.query("SELECT count FROM note") == [(2,)]
                write(old, "UPDATE note SET count = count + 1")
            with device(tmp_path, after, NEW) as new:
                assert new.sync().verified and new.verify(deep=True).ok
                assert new.query("SELECT count, label FROM note") == [(3, "ONE")]


def test_a_replica_that_is_newer_than_its_server_is_made_all_the_same(
    serve: Serve, database: str, tmp_path: Path
) -> None:
    if database.startswith("postgresql"):
        pytest.skip("the server's database is not what this is about")
    port = free_port()
    newer = tmp_path / "newer.json"
    newer.write_bytes(NEW.to_json())
    with serve(OLD, port):
        made = launching.run(
            [sys.executable, "-m", "holdfast.cli", "init", tmp_path / "device.db",
             "--schema", newer, "--server", f"http://127.0.0.1:{port}",
             "--token-file", tmp_path / "token", "--json"]
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout)["contact"] == "server_older"
        with device(tmp_path, port) as new:
            assert new.status.error_code == "server_older"
            write(new, "INSERT INTO note (id, text) VALUES ('a', 'one')")
    with serve(NEW, port), device(tmp_path, port) as new:
        assert new.sync().verified
