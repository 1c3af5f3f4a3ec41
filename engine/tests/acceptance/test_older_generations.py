"""A server's schema grows while devices are at work: the old ones go on, and follow when they may.

Checks I12, I32.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.schema.model import Check, Column, Schema, Table
from holdfast.testing import ServerProcess, free_port
from holdfast.testing.postgres import PostgresCluster

pytestmark = pytest.mark.acceptance

NOTE = (
    Column("id"),
    Column("text", merge="manual", default=""),
    Column("count", "integer", merge="counter"),
)
FIRST = Schema(
    name="growing", tables=(Table(name="note", key=("id",), scopes=("main",), columns=NOTE),)
)
SECOND = Schema(
    name="growing",
    generation=2,
    tables=(
        Table(
            name="note",
            key=("id",),
            scopes=("main",),
            columns=(*NOTE, Column("vat", "integer", default="20"), Column("hint", nullable=True)),
        ),
        Table(name="tag", key=("id",), scopes=("main",), columns=(Column("id"),)),
    ),
)
TIGHT = Schema(
    name="growing",
    tables=(
        Table(
            name="note", key=("id",), scopes=("main",), columns=NOTE,
            checks=(Check("text", "length", max=9), Check("count", "range", max=100)),
        ),
    ),
)  # fmt: skip
LOOSE = Schema(
    name="growing",
    generation=2,
    tables=(
        Table(
            name="note",
            key=("id",),
            scopes=("main",),
            columns=(*NOTE, Column("label", default="", fill="upper(text) || ':' || count")),
            checks=(Check("text", "length", max=19),),
        ),
    ),
)
KNOWN = "SELECT id, text, count FROM note ORDER BY id"
WHOLE = "SELECT id, text, count, vat, hint FROM note ORDER BY id"
TABLES = (WHOLE, "SELECT id FROM tag ORDER BY id", "SELECT id FROM holdfast_conflict ORDER BY id")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "server.db")
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    return cluster.make_database()


Serve = Callable[[Schema], str]


@pytest.fixture
def serve(database: str, tmp_path: Path) -> Iterator[Serve]:
    """Start the server with a schema, at one URL; what server was there ends first."""
    port = free_port()
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(
        "\n".join(
            f'[{name}]\nuser = "{name}"\ndevice = "{name}"\nread = ["main"]\nwrite = ["main"]'
            for name in ("old", "new")
        )
    )
    with contextlib.ExitStack() as stack:

        def start(schema: Schema) -> str:
            stack.close()
            file = tmp_path / f"schema-{schema.generation}.json"
            file.write_bytes(schema.to_json())
            command = [
                sys.executable, "-m", "holdfast.cli", "serve", "--schema", str(file),
                "--database", database, "--port", "{port}", "--tokens", str(tokens),
            ]  # fmt: skip
            log = tmp_path / f"server-{schema.generation}.log"
            process = ServerProcess(command, port=port, log_path=log).start()
            stack.callback(process.kill)
            return f"http://127.0.0.1:{port}"

        yield start


def device(tmp_path: Path, url: str, name: str, schema: Schema | None) -> Replica:
    token = tmp_path / f"{name}.token"
    token.write_text(name)
    return Replica.open(tmp_path / f"{name}.db", schema, server=url, token_file=token)


def write(replica: Replica, *statements: str) -> None:
    with replica.transaction() as db:
        for sql in statements:
            db.execute(sql)


def check(replica: Replica, *, deep: bool) -> None:
    """It is sound, and what the server says."""
    report = replica.verify(deep=deep)
    assert report.ok and (report.damaged, report.repaired, report.mismatched) == ((), 0, ())


def test_an_old_device_goes_on_and_follows(serve: Serve, tmp_path: Path) -> None:
    url = serve(FIRST)
    with device(tmp_path, url, "old", FIRST) as old:
        rows = ", ".join(f"('n{number:03}', 't', 1)" for number in range(150))
        write(old, f"INSERT INTO note VALUES {rows}")
        old.sync()
        write(old, "UPDATE note SET text = 'queued', count = count + 1 WHERE id = 'n001'")
    url = serve(SECOND)
    with (
        device(tmp_path, url, "old", None) as old,
        device(tmp_path, url, "new", SECOND) as new,
    ):
        new.sync()
        write(
            new,
            "UPDATE note SET text = 'other', count = count + 5, vat = 7 WHERE id = 'n001'",
            "UPDATE note SET hint = 'h' WHERE id > 'n140'",
            "DELETE FROM note WHERE id = 'n002'",
            "INSERT INTO tag VALUES ('t')",
        )
        new.sync()
        write(old, "INSERT INTO note VALUES ('made', 'by the old one', 1)")
        assert old.sync().verified
        check(old, deep=True)
        check(old, deep=False)
        assert old.query("SELECT column_name FROM holdfast_conflict") == [("text",)]
        new.sync()
        assert old.query(KNOWN) == new.query(KNOWN)
        assert new.query("SELECT count, vat FROM note WHERE id = 'n001'") == [(7, 7)]
        assert new.query("SELECT vat FROM note WHERE id = 'made'") == [(20,)]
        write(old, "UPDATE note SET text = 'queued again' WHERE id = 'n100'")
    with (
        device(tmp_path, url, "old", SECOND) as old,
        device(tmp_path, url, "new", None) as new,
    ):
        first = old.sync()
        assert first.verified and first.received_rows < 40  # what it lacked, not what it had
        check(old, deep=True)
        new.sync()
        assert [old.query(sql) for sql in TABLES] == [new.query(sql) for sql in TABLES]
        assert old.query("SELECT text FROM note WHERE id = 'n100'") == [("queued again",)]


def test_devices_of_both_generations_with_a_fill_and_looser_checks(
    serve: Serve, tmp_path: Path
) -> None:
    labels = "SELECT id, text, count, label FROM note ORDER BY id"
    url = serve(TIGHT)
    with device(tmp_path, url, "old", TIGHT) as old, device(tmp_path, url, "new", TIGHT) as new:
        rows = ", ".join(f"('n{number:03}', 't{number}', {number % 7})" for number in range(150))
        write(old, f"INSERT INTO note VALUES {rows}")
        old.sync()
        new.sync()
        write(old, "UPDATE note SET text = 'queued', count = count + 1 WHERE id = 'n001'")
        write(new, "INSERT INTO note VALUES ('was', 'queued', 3)")
    url = serve(LOOSE)
    with (
        device(tmp_path, url, "old", None) as old,
        device(tmp_path, url, "new", LOOSE) as new,
    ):
        assert new.query("SELECT label FROM note WHERE id = 'was'") == [("QUEUED:3",)]
        assert new.sync().verified
        assert new.query("SELECT label FROM note WHERE id = 'was'") == [("QUEUED:3",)]
        check(new, deep=True)
        write(
            new,
            "UPDATE note SET text = 'longer than ten', count = count + 200 WHERE id = 'n002'",
            "UPDATE note SET label = 'mine' WHERE id = 'n003'",
        )
        assert new.sync().verified
        write(old, "INSERT INTO note VALUES ('made', 'by old', 1)")
        assert old.sync().verified
        check(old, deep=True)
        new.sync()
        assert old.query(KNOWN) == new.query(KNOWN)
        assert old.query("SELECT text, count FROM note WHERE id = 'n002'") == [
            ("longer than ten", 202)
        ]
        assert new.query("SELECT label FROM note WHERE id IN ('made', 'n001') ORDER BY id") == [
            ("BY OLD:1",), ("T1:1",),
        ]  # fmt: skip
        write(old, "INSERT INTO note VALUES ('late', 'queue', 0)")
    with (
        device(tmp_path, url, "old", LOOSE) as old,
        device(tmp_path, url, "new", None) as new,
    ):
        first = old.sync()
        assert first.verified and first.received_rows < 10  # what it lacked, not what it had
        check(old, deep=True)
        new.sync()
        check(new, deep=True)
        assert old.query(labels) == new.query(labels)
        assert old.query("SELECT label FROM note WHERE id = 'late'") == [("QUEUE:0",)]
