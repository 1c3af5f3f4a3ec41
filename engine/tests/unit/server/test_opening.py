"""What a server opens: a database of its own, made by it, and served by nobody else."""

from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from holdfast import Replica
from holdfast.core.errors import DatabaseError, ReplicaError, SchemaError
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.assembly import open_server
from holdfast.server.identity.principal import Principal
from holdfast.server.open_store import open_store
from holdfast.testing.postgres import PostgresCluster, scratch_schema

NOTE = Table(name="note", key=("id",), columns=(Column("id"),), scopes=("main",))
SCHEMA = Schema(name="notes", tables=(NOTE,))
GROWN = Schema(
    name="notes",
    generation=2,
    tables=(NOTE, Table(name="extra", key=("id",), columns=(Column("id"),), scopes=("main",))),
)
STANDS = [
    "CREATE TABLE note (id TEXT PRIMARY KEY)",
    "CREATE VIEW note AS SELECT 1 AS id",
    "CREATE TABLE other (id TEXT); CREATE INDEX note ON other (id)",
    "CREATE TABLE holdfast_row (id TEXT)",
    "CREATE TABLE holdfast_migration (number INTEGER)",
    "CREATE TABLE holdfast_state (id INTEGER)",
]


def opened(database: str | Path, schema: Schema = SCHEMA) -> None:
    open_store(schema, database, random_bytes=secrets.token_bytes).close()


def run(path: Path, script: str) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(script)
    db.close()


def contents(path: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT type, name FROM sqlite_schema ORDER BY 1, 2").fetchall()
    db.close()
    return found


@pytest.mark.parametrize(
    "stands", [*STANDS, "CREATE TABLE Note (id TEXT)", ("CREATE TABLE o (id); CREATE TRIGGER "
    "holdfast_note_key AFTER INSERT ON o BEGIN SELECT 1; END")],
)  # fmt: skip
def test_what_somebody_else_has_made_in_a_file_is_refused(tmp_path: Path, stands: str) -> None:
    path = tmp_path / "legacy.db"
    run(path, stands)
    before = contents(path)
    with pytest.raises(SchemaError) as caught:
        opened(path)
    assert caught.value.code in ("tables_exist", "not_a_server")
    assert contents(path) == before


@pytest.mark.parametrize("stands", [*STANDS, "CREATE TYPE note AS ENUM ('a')"])
def test_what_somebody_else_has_made_in_postgresql_is_refused(
    postgres_cluster: PostgresCluster, stands: str
) -> None:
    with scratch_schema(postgres_cluster) as url:
        postgres_cluster.sql(stands, url)
        with pytest.raises(SchemaError) as caught:
            opened(url)
        assert caught.value.code == "tables_exist"


def test_a_table_that_is_there_stops_growth(tmp_path: Path, postgres_url: str) -> None:
    path = tmp_path / "server.db"
    opened(path)
    run(path, "CREATE TABLE extra (id TEXT)")
    opened(postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("CREATE TABLE extra (id text)")
    for database in (path, postgres_url):
        with pytest.raises(SchemaError) as caught:
            opened(database, GROWN)
        assert caught.value.code == "tables_exist"
        opened(database)


def test_other_tables_may_stand_beside(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    run(path, "CREATE TABLE invoice (id INTEGER PRIMARY KEY)")
    opened(path)
    opened(path)


def test_a_replica_and_a_server_are_told_apart(tmp_path: Path) -> None:
    replica, server = tmp_path / "replica.db", tmp_path / "server.db"
    Replica.open(replica, SCHEMA).close()
    with pytest.raises(SchemaError) as refused:
        opened(replica)
    assert refused.value.code == "not_a_server"
    Replica.open(replica, SCHEMA).close()
    opened(server)
    with pytest.raises(ReplicaError) as caught:
        Replica.open(server, SCHEMA)
    assert caught.value.code == "no_replica"
    opened(server)


SERVING = """
import sys, time
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.assembly import open_server
note = Table(name="note", key=("id",), columns=(Column("id"),), scopes=("main",))
server = open_server(Schema(name="notes", tables=(note,)), sys.argv[1], lambda headers: None)
print("serves", flush=True)
time.sleep(600)
"""


def nobody(_headers: object) -> Principal:
    raise AssertionError("nobody asks")


def test_one_process_serves_a_file_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    other = subprocess.Popen(
        [sys.executable, "-c", SERVING, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "serves\n"
        (tmp_path / "alias.db").symlink_to(path)
        for name in ("server.db", "alias.db"):
            with pytest.raises(DatabaseError) as caught:
                open_server(SCHEMA, tmp_path / name, nobody)
            assert caught.value.code == "served_elsewhere"
        with open_server(SCHEMA, path, nobody, maintain=False) as beside:  # as commands do
            assert beside.service.deep_check() == 0
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.communicate()
    with open_server(SCHEMA, path, nobody), pytest.raises(DatabaseError):
        open_server(SCHEMA, path, nobody)


FORKS = """
import os, sys, time
from holdfast.server.store.sqlite.owner import ServingLock
lock = ServingLock(sys.argv[1])
child = os.fork()
if child == 0:
    time.sleep(600)
print(child, flush=True)
"""


def test_a_forked_child_does_not_keep_the_file(tmp_path: Path) -> None:
    path = tmp_path / "server.db"
    parent = subprocess.Popen(
        [sys.executable, "-c", FORKS, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.wait()
    try:
        with open_server(SCHEMA, path, nobody):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()
