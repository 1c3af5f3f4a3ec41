"""What a device's look and its exchange cost, against how much there is: a table, no judgement.

Run as ``engine/benchmarks/growth.py [--largest N]``. Knows: a replica, and a server in memory. Must
not know: the other workloads. Figures are milliseconds of processor time, the least of several
tries: what should be flat is to look flat, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from holdfast import Column, Replica, Schema, Table
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server

TRIES = 5


def schema(tables: int) -> Schema:
    columns = (Column("id"), Column("name", default=""), Column("qty", "integer", merge="counter"))
    return Schema(
        name="growth",
        tables=tuple(
            Table(name=f"t{number}", key=("id",), scopes=("all",), columns=columns)
            for number in range(tables)
        ),
    )


def cost_ms(work: Callable[[], object], tries: int = TRIES) -> float:
    found = []
    for _ in range(tries):
        before = time.process_time()
        work()
        found.append((time.process_time() - before) * 1000)
    return min(found)


def pending(folder: Path, number: int) -> list[float]:
    """With so many transactions waiting: status, a row's state, a write, an exchange of 1,000."""
    made = schema(1)
    with (
        open_server(made, folder / "server.db", lambda _: None, maintain=False) as server,
        Replica.open(
            folder / "device.db",
            made,
            transport=MemoryTransport(server.service, Principal("a", "a", write=("all",))),
            synchronous="OFF",
        ) as replica,
    ):
        for key in range(number):
            with replica.transaction() as db:
                db.execute("INSERT INTO t0 (id) VALUES (?)", [str(key)])
        replica.seal()
        exchanger = replica._syncing._exchanger  # noqa: SLF001 - one exchange, and not all
        assert exchanger is not None
        keys = iter(range(10**9))

        def write() -> None:
            with replica.transaction() as db:
                db.execute("INSERT INTO t0 (id) VALUES (?)", [f"w{next(keys)}"])

        looks = [
            cost_ms(lambda: replica.status),
            cost_ms(lambda: replica.row_status("t0", "5")),
            cost_ms(write),
        ]
        return [*looks, cost_ms(exchanger.exchange, tries=min(3, max(1, number // 1000)))]


def tables(folder: Path, number: int) -> list[float]:
    """With so many tables: a write and its exchange, an exchange of nothing."""
    made = schema(number)
    with (
        open_server(made, folder / "server.db", lambda _: None, maintain=False) as server,
        Replica.open(
            folder / "device.db",
            made,
            transport=MemoryTransport(server.service, Principal("a", "a", write=("all",))),
            synchronous="OFF",
        ) as replica,
    ):
        replica.sync()
        keys = iter(range(10**9))

        def write() -> None:
            with replica.transaction() as db:
                db.execute("INSERT INTO t0 (id) VALUES (?)", [str(next(keys))])
            replica.sync()

        return [cost_ms(write), cost_ms(replica.sync)]


def row(folder: Path, number: int) -> list[float]:
    """With so many changes of one row waiting: a write of it with its sealing."""
    with Replica.open(folder / "device.db", schema(1), synchronous="OFF") as replica:

        def write() -> None:
            with replica.transaction() as db:
                db.execute(
                    "INSERT INTO t0 (id) VALUES ('a') ON CONFLICT (id) DO UPDATE SET qty = qty + 1"
                )

        for _ in range(number):
            write()
        replica.seal()

        def write_and_seal() -> None:
            write()
            replica.seal()

        return [cost_ms(write_and_seal)]


def show(
    what: str, columns: str, measure: Callable[[Path, int], list[float]], *counts: int
) -> None:
    sys.stdout.write(f"\n{what:>20}  {columns}\n")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            found = "  ".join(f"{ms:10.2f}" for ms in measure(Path(folder), count))
        sys.stdout.write(f"{count:>20,}  {found}\n")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Print what things cost against how much there is."
    )
    parser.add_argument("--largest", type=int, default=100_000, help="most waiting transactions")
    largest = parser.parse_args().largest
    waiting = [count for count in (1_000, 10_000, 100_000) if count <= largest]
    show("waiting", "    status  row_status       write    exchange", pending, *waiting)
    show("changes of a row", "write+seal", row, *(count // 20 for count in waiting))
    show("tables", "write+sync        idle", tables, 1, 20, 200)


if __name__ == "__main__":
    main()
