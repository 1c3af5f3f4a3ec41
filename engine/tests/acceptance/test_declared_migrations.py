"""Servers and devices die as they take declared steps, or an old process still serves meanwhile:
nothing is lost, nothing is done twice, and who is to wait or to update is told so.

Checks I4, I8, I32, I35.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from holdfast import Replica
from holdfast.cli.app import app
from holdfast.core.errors import ServerTrouble, UpgradeNeeded
from holdfast.schema.migrations import Migration, MigrationStep
from holdfast.schema.model import Check, Column, Schema, Table
from holdfast.testing import ServerProcess, free_port
from holdfast.testing.postgres import PostgresCluster
from holdfast.testing.processes import ServerStartError

pytestmark = pytest.mark.acceptance

OLD = Schema(
    name="steps",
    tables=(
        Table(
            name="note", key=("id",), scopes=("main",),
            columns=(
                Column("id"), Column("text", default=""), Column("old", default="none"),
                Column("count", "integer", merge="counter"),
            ),
        ),
        Table(name="spare", key=("id",), scopes=("main",), columns=(Column("id"),)),
    ),
)  # fmt: skip
NEW = Schema(
    name="steps",
    generation=2,
    tables=(
        Table(
            name="remark", key=("id",), scopes=("main",),
            columns=(
                Column("id"), Column("words", default=""),
                Column("count", "integer", merge="counter"),
                Column("label", default="", fill="upper(words)"),
            ),
            checks=(Check("words", "length", max=19),),
        ),
    ),
    migrations=(
        Migration(2, (
            MigrationStep("rename_table", "note", to="remark"),
            MigrationStep("rename_column", "remark", "text", to="words"),
            MigrationStep("drop_column", "remark", "old"),
            MigrationStep("add_check", "remark", "words"),
            MigrationStep("drop_table", "spare"),
        )),
    ),
)  # fmt: skip

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


def write(replica: Replica, *statements: str) -> None:
    with replica.transaction() as db:
        for sql in statements:
            db.execute(sql)


@pytest.mark.parametrize("point", ["grow.reshaped", "store.before_commit"])
def test_a_server_that_dies_takes_the_steps_the_next_time(
    serve: Serve, database: str, tmp_path: Path, point: str
) -> None:
    if point == "store.before_commit" and database.startswith("postgresql"):
        pytest.skip("a point of SQLite's way")
    port = free_port()
    with serve(OLD, port), device(tmp_path, port, OLD) as old:
        write(
            old,
            "INSERT INTO note VALUES ('a', 'one', 'x', 1), ('b', 'two', 'y', 2)",
            "INSERT INTO spare VALUES ('s')",
        )
        old.sync()
        write(old, "UPDATE note SET count = count + 1, text = 'queued', old = 'z' WHERE id = 'a'")
    dying = serve(NEW, port, HOLDFAST_FAILPOINT=f"{point}:1")
    with pytest.raises(ServerStartError):
        dying.start()
    with serve(NEW, port):
        with device(tmp_path, port) as old, pytest.raises(UpgradeNeeded) as told:
            old.sync()
        assert told.value.code == "upgrade_needed"
        with device(tmp_path, port) as old:
            assert (old.status.error_code, old.status.pending) == ("upgrade_needed", 1)
        with device(tmp_path, port, NEW) as new:
            (gone,) = new.refused()
            assert (gone.code, gone.mine) == ("column_gone", "z")
            place = str(tmp_path / "device.db")
            done = CliRunner().invoke(app, ["retry", place, gone.id, "--json"])
            assert msgspec.json.decode(done.stdout)["error"]["code"] == "gone"
            done = CliRunner().invoke(app, ["discard", place, gone.id, "--json"])
            assert done.exit_code == 0, done.stdout
            assert not new.refused()
            assert new.sync().verified and new.verify(deep=True).ok
            assert new.query("SELECT id, words, count FROM remark ORDER BY id") == [
                ("a", "queued", 2), ("b", "two", 2),
            ]  # fmt: skip


OPENS = """
import sys
from holdfast import Replica, Schema
Replica.open(sys.argv[1], Schema.from_json(open(sys.argv[2]).read()), synchronous="OFF").close()
"""


def test_a_device_that_dies_has_the_old_file_or_the_new_one(
    serve: Serve, database: str, tmp_path: Path
) -> None:
    if database.startswith("postgresql"):
        pytest.skip("the server's database is not what this is about")
    port = free_port()
    with serve(OLD, port), device(tmp_path, port, OLD) as old:
        write(old, "INSERT INTO note VALUES ('a', 'one', 'x', 1)")
        old.sync()
        write(old, "UPDATE note SET count = count + 1, text = 'queued', old = 'z' WHERE id = 'a'")
    schema = tmp_path / "schema-2.json"
    schema.write_bytes(NEW.to_json())
    for point in ("sealed", "reshaped", "added", "filled", "before_commit", "after_commit"):
        killed = subprocess.run(
            [sys.executable, "-c", OPENS, str(tmp_path / "device.db"), str(schema)],
            env=os.environ | {"HOLDFAST_FAILPOINT": f"migrate.{point}:1"}, check=False,
        )  # fmt: skip
        assert killed.returncode == -signal.SIGKILL, point
        with device(tmp_path, port) as found:
            assert found.schema.generation == (2 if point == "after_commit" else 1)
            assert found.status.pending == 1
    with serve(NEW, port), device(tmp_path, port) as new:
        assert new.sync().verified and new.verify(deep=True).ok
        assert new.query("SELECT id, words, count FROM remark") == [("a", "queued", 2)]


def test_an_old_process_hands_over_while_a_device_pushes(
    serve: Serve, database: str, tmp_path: Path
) -> None:
    if not database.startswith("postgresql"):
        pytest.skip("one process serves a file")
    before, after = free_port(), free_port()
    written, codes = 0, []
    begun, over = threading.Event(), threading.Event()

    def push() -> None:
        nonlocal written
        with device(tmp_path, before, OLD) as old:
            write(old, "INSERT INTO note VALUES ('a', 'one', 'x', 0)")
            while not over.is_set():
                write(old, "UPDATE note SET count = count + 1")
                written += 1
                try:
                    old.sync()
                except ServerTrouble as error:
                    codes.append(error.code)
                    if error.code == "schema_moved":
                        return
                if written > 3:
                    begun.set()

    with serve(OLD, before):
        pushing = threading.Thread(target=push)
        pushing.start()
        try:
            assert begun.wait(120)
            with serve(NEW, after):
                pushing.join(120)
                assert set(codes) <= {"schema_moved", "database_busy"}, codes
                assert "schema_moved" in codes
                with device(tmp_path, after, NEW) as new:
                    assert new.sync().verified and new.verify(deep=True).ok
                    assert new.query("SELECT id, count FROM remark") == [("a", written)]
        finally:
            over.set()
            pushing.join(120)
