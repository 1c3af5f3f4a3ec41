"""A large SQL statement on the server: what a device of another store feels while it is taken in.

    .venv/bin/python engine/benchmarks/bulk.py [--rows 100000] [--on sqlite]

One process holds the server and two devices, each of a store of its own; another program inserts
rows of one store. While they are taken in, the device of the other store pushes one row after the
other. Then the first store's device makes its first load. Nothing is judged.

Knows: who waits for what. Must not know: how direct writes are taken in.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from holdfast import Column, Replica, Schema, Table
from holdfast.replica.memory import MemoryTransport
from holdfast.server.assembly import open_server
from holdfast.server.identity.principal import Principal
from holdfast.server.open_store import open_store
from holdfast.server.store.contract import Store
from holdfast.testing import PostgresCluster

SCHEMA = Schema(
    name="bulk",
    tables=(
        Table(
            name="item",
            key=("id",),
            scopes=("store/{store}",),
            columns=(
                Column("id"),
                Column("store"),
                Column("price", "integer", default="0"),
                Column("name", default=""),
            ),
        ),
    ),
)
PEOPLE = {store: Principal(store, f"till-{store}", write=(f"store/{store}",)) for store in "12"}
SQLITE_ROWS = (
    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {}) "
    "INSERT INTO item (id, store, name) SELECT 'k' || i, '1', 'name of ' || i FROM c"
)
POSTGRES_ROWS = (
    "INSERT INTO item (id, store, name) "
    "SELECT 'k' || i, '1', 'name of ' || i FROM generate_series(1, {}) AS i"
)
_SHELL = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=600); "
    "db.execute(sys.argv[2]); db.commit()"
)


def rss_mib() -> int:
    """Of this process: the server and both devices."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


def waits(store: Store) -> bool:
    """Whether something is still to be taken in."""
    with contextlib.closing(store.read()) as snapshot:
        return snapshot.has_notes()


def measure(folder: Path, database: str, write: Callable[[], object], rows: int) -> None:
    """Run it once and print the figures."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(open_server(SCHEMA, database, lambda _: PEOPLE["1"]))
        store = open_store(SCHEMA, database, random_bytes=secrets.token_bytes)
        stack.callback(store.close)
        devices = {}
        for name, principal in PEOPLE.items():
            devices[name] = stack.enter_context(
                Replica.open(
                    folder / f"{name}.db", SCHEMA, synchronous="OFF",
                    transport=MemoryTransport(server.service, principal),
                )
            )  # fmt: skip
            devices[name].sync()

        def push() -> float:
            began = time.monotonic()
            with devices["2"].transaction() as db:
                db.execute("INSERT INTO item (id, store) VALUES (?, '2')", [str(uuid.uuid4())])
            devices["2"].sync()
            return (time.monotonic() - began) * 1000

        alone = [push() for _ in range(30)]
        print(f"  alone: p50 {statistics.median(alone):.0f} ms, worst {max(alone):.0f} ms; "
              f"{rss_mib()} MiB")  # fmt: skip
        began = time.monotonic()
        write()
        print(f"  {rows} rows written by SQL in {time.monotonic() - began:.1f} s")
        beside, most, began = [push()], 0, time.monotonic()
        while waits(store):
            beside.append(push())
            most = max(most, rss_mib())
        took = time.monotonic() - began
        print(f"  taken in in {took:.1f} s, {took / rows * 1e6:.0f} us a row; beside it "
              f"{len(beside)} pushes of the other store: p50 {statistics.median(beside):.0f} ms, "
              f"worst {max(beside):.0f} ms; {most} MiB")  # fmt: skip
        began = time.monotonic()
        devices["1"].sync()
        ((count,),) = devices["1"].query("SELECT count(*) FROM item")
        print(f"  first load of {count} rows: {time.monotonic() - began:.1f} s")


def main(words: list[str]) -> int:
    """Measure on each database asked for."""
    parser = argparse.ArgumentParser(prog="bulk.py", description="A large SQL statement.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--on", choices=("sqlite", "postgres"), action="append")
    options = parser.parse_args(words)
    for kind in options.on or ("sqlite", "postgres"):
        print(kind)
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulk-")))
            if kind == "sqlite":
                database = str(folder / "server.db")
                sql = SQLITE_ROWS.format(options.rows)
                argv = [sys.executable, "-c", _SHELL, database, sql]
                measure(
                    folder, database, lambda a=argv: subprocess.run(a, check=True), options.rows
                )
            else:
                cluster = stack.enter_context(PostgresCluster())
                url, sql = cluster.make_database(), POSTGRES_ROWS.format(options.rows)
                measure(folder, url, functools.partial(cluster.sql, sql, url), options.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
