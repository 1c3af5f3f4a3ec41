"""Other hands on a replica's file: a connection, and a process with an SQLite of its own.

Knows: SQL. Must not know: the world, or what a replica makes of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bazaar import (
    Statement,
)

from holdfast.core.errors import (
    DatabaseError,
)
from holdfast.sqlite import Connection, OpenOptions, driver


class FastDriver:
    """APSW that does not wait for the disk: no test here cuts the power."""

    name = "apsw"

    def __init__(self) -> None:
        self._driver = driver()

    @property
    def sqlite_version(self) -> tuple[int, int, int]:
        return self._driver.sqlite_version

    def connect(self, path: str, options: OpenOptions) -> Connection:
        return self._driver.connect(path, replace(options, synchronous="OFF"))


def run_foreign(connection: Connection, statements: list[Statement]) -> None:
    """Write through a connection that the replica does not know of."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for sql, params in statements:
            connection.execute(sql, params)
        connection.execute("COMMIT")
    except DatabaseError:
        connection.execute("ROLLBACK")


def keep_time(connection: Connection, now_us: Callable[[], int]) -> None:
    """Let the SQLite of a connection tell the time of a world."""
    database: Any = connection._db  # type: ignore[attr-defined]
    made = getattr(database, "create_scalar_function", None) or database.create_function
    if database.__class__.__module__ == "sqlite3":
        made("julianday", 1, lambda _: _julian_day(now_us()))
    else:
        made("julianday", lambda _: _julian_day(now_us()), 1)


def _julian_day(now_us: int) -> float:
    return 2440587.5 + now_us // 1000 / 86_400_000


_SHELL = """
import json, sqlite3, sys
for line in sys.stdin:
    path, moment, statements = json.loads(line)
    db = sqlite3.connect(path, isolation_level=None)
    db.create_function("julianday", 1, lambda _: moment)
    try:
        db.execute("BEGIN IMMEDIATE")
        for sql, params in statements:
            db.execute(sql, [bytes.fromhex(p["x"]) if isinstance(p, dict) else p for p in params])
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
    db.close()
    print("done", flush=True)
"""
_shell: list[subprocess.Popen[str]] = []


def shell(path: Path, statements: list[Statement], now_us: int) -> None:
    """Write with Python's own sqlite3 in another process, at a moment of the world."""
    if not _shell:
        _shell.append(
            subprocess.Popen(
                [sys.executable, "-c", _SHELL],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    process = _shell[0]
    assert process.stdin is not None and process.stdout is not None
    packed = [
        (sql, [{"x": p.hex()} if isinstance(p, bytes) else p for p in params])
        for sql, params in statements
    ]
    process.stdin.write(json.dumps([str(path), _julian_day(now_us), packed]) + "\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def stop_shell() -> None:
    """End the other process."""
    while _shell:
        process = _shell.pop()
        process.communicate()


@pytest.fixture(scope="session", autouse=True)
def other_process() -> Iterator[None]:
    """The process that writes into replicas with its own SQLite ends with the tests."""
    yield
    stop_shell()
