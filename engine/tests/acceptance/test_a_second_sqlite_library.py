"""The process that has a file open opens it with another SQLite library too, and is killed.

What was said to be committed, or acknowledged, is in the file, whichever library wrote it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

_CHILD = """
import os, sqlite3, sys
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from holdfast import Column, DatabaseError, Replica, Schema, Table
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server

path, side, driver = sys.argv[1:]
table = Table(name="note", key=("id",), scopes=("all",), columns=(Column("id", "text"),))
schema = Schema(name="notes", tables=(table,))


def say(*words):
    print(*words, flush=True)


def plain(sql):
    db = sqlite3.connect(path)
    try:
        db.execute(sql).fetchall()
        db.commit()
    finally:
        db.close()


def orm(sql):
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(text(sql))
    finally:
        engine.dispose()


def through(library, name):
    read, write = "SELECT count(*) FROM note", f"INSERT INTO note VALUES ('{name}')"
    for key, sql in (("", read), (name, write)):
        try:
            library(sql)
        except (sqlite3.Error, SQLAlchemyError) as error:
            say("refused", "mixed_sqlite_libraries" in str(error))
        else:
            say("let in", key)


def ours(key):
    with replica.transaction() as db:
        db.execute("INSERT INTO note VALUES (?)", [key])
    if side == "server":
        report = replica.sync()
        assert report.verified and not report.refused
    say("committed", key)


if side == "server":
    server = open_server(schema, path, lambda headers: None, driver_name=driver)
    principal = Principal("ann", "device", write=("all",))
    transport = MemoryTransport(server.service, principal)
    replica = Replica.open(path + "-device", schema, transport=transport)
else:
    replica = Replica.open(path, schema, driver_name=driver)
ours("first")
for number, library in enumerate((plain, orm)):
    through(library, f"other-{number}")
    ours(f"own-{number}")
    with replica.transaction() as db:  # while a transaction of ours is open
        db.execute("INSERT INTO note VALUES (?)", [f"within-{number}"])
        try:
            library("SELECT count(*) FROM note")
        except (sqlite3.Error, SQLAlchemyError):
            pass
    if side == "server":
        replica.sync()
    say("committed", f"within-{number}")
held = None
try:
    held = sqlite3.connect(path)
    held.execute("SELECT count(*) FROM note").fetchall()
except sqlite3.Error:
    say("refused", True)
ours("while held")
os.kill(os.getpid(), 9)
"""


def killed(path: Path, side: str, driver: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, path, side, driver],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    return done.stdout.splitlines()


def found(path: Path) -> set[str]:
    code = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
        "assert db.execute('PRAGMA integrity_check').fetchall() == [('ok',)]; "
        "[print(row[0]) for row in db.execute('SELECT id FROM note')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines())


@pytest.mark.parametrize("driver", ["apsw", "stdlib"])
@pytest.mark.parametrize("side", ["replica", "server"])
def test_what_was_promised_is_there(tmp_path: Path, side: str, driver: str) -> None:
    said = killed(tmp_path / "a.db", side, driver)
    promised = {line.split(" ", 1)[1] for line in said if line.startswith("committed")}
    assert {"first", "own-0", "within-0", "own-1", "within-1", "while held"} == promised
    let_in = [line for line in said if line.startswith("let in")]
    refused = [line for line in said if line.startswith("refused")]
    if driver == "apsw":
        assert (let_in, refused) == ([], ["refused True"] * 5)
        assert found(tmp_path / "a.db") == promised
    else:
        assert (len(let_in), refused) == (4, [])
        assert found(tmp_path / "a.db") == promised | {"other-0", "other-1"}
