"""What one exchange costs, against how much the server holds: a table, no judgement.

Run as ``engine/benchmarks/server_growth.py [--largest N] [--only rows] [--postgres]``. Figures are
milliseconds, the least of several tries, of a device and the server in one process: an exchange
that brings one change of its own, and one that brings nothing. What should be flat is to look flat.
On SQLite it is processor time; on PostgreSQL, which works elsewhere, it is time by the clock.

Knows: how to fill a server. Must not know: the other workloads.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast import Column, Replica, Schema, Table
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server
from holdfast.server.assembly import Server
from holdfast.testing.postgres import PostgresCluster, scratch_schema

TRIES = 7
SCHEMA = Schema(
    name="server_growth",
    tables=(
        Table(
            name="item",
            key=("id",),
            scopes=("shop/{shop}",),
            columns=(
                Column("id"),
                Column("shop"),
                Column("name", default="", merge="manual"),
                Column("qty", "integer", merge="counter"),
            ),
        ),
    ),
)
Clock = Callable[[], float]


@dataclass(frozen=True)
class Lab:
    """A server with nothing in it, and devices for it."""

    folder: Path
    server: Server
    clock: Clock

    @contextmanager
    def device(self, name: str, *scopes: str) -> Iterator[Replica]:
        transport = MemoryTransport(self.server.service, Principal(name, name, write=scopes))
        with Replica.open(
            self.folder / f"{name}.db", SCHEMA, transport=transport, synchronous="OFF"
        ) as replica:
            replica.sync()
            yield replica

    def cost_ms(self, work: Callable[[], object]) -> float:
        found = []
        for _ in range(TRIES):
            before = self.clock()
            work()
            found.append((self.clock() - before) * 1000)
        return min(found)

    def costs(self, *scopes: str, shop: str = "a") -> list[float]:
        """An exchange with one change, and one without."""
        keys = iter(range(10**9))
        with self.device("asks", *scopes) as replica:

            def write() -> None:
                put(replica, shop, [f"new{next(keys)}"])
                replica.sync()

            return [self.cost_ms(write), self.cost_ms(replica.sync)]


def put(replica: Replica, shop: str, keys: list[str]) -> None:
    with replica.transaction() as db:
        db.executemany("INSERT INTO item (id, shop) VALUES (?, ?)", [(key, shop) for key in keys])


def scopes(lab: Lab, number: int) -> list[float]:
    """A device with so many scopes."""
    return lab.costs(*(f"shop/{n}" for n in range(number)), shop="0")


def others(lab: Lab, number: int) -> list[float]:
    """So many scopes of others, with a row each."""
    with lab.device("fills", "shop/*") as replica:
        for start in range(0, number, 1000):
            with replica.transaction() as db:
                db.executemany(
                    "INSERT INTO item (id, shop) VALUES (?, ?)",
                    [(f"{n}", f"{n}") for n in range(start, min(number, start + 1000))],
                )
        replica.sync()
    return lab.costs("shop/a")


def rows(lab: Lab, number: int) -> list[float]:
    """So many rows of the scope."""
    with lab.device("fills", "shop/a") as replica:
        for start in range(0, number, 10_000):
            put(replica, "a", [f"{n}" for n in range(start, min(number, start + 10_000))])
        replica.sync()
    return lab.costs("shop/a")


def conflicts(lab: Lab, number: int) -> list[float]:
    """So many open conflicts of the scope."""
    keys = [f"{n}" for n in range(number)]
    with lab.device("one", "shop/a") as one, lab.device("two", "shop/a") as two:
        put(one, "a", keys)
        one.sync()
        two.sync()
        for replica, name in ((one, "one"), (two, "two")):
            with replica.transaction() as db:
                db.execute("UPDATE item SET name = ?", (name,))
        one.sync()
        two.sync()
        if len(two.conflicts()) != number:
            raise RuntimeError("there are fewer conflicts than there were to be")
    return lab.costs("shop/a")


def streams(lab: Lab, number: int) -> list[float]:
    """So many open event streams of another scope."""

    async def measured() -> list[float]:
        open_streams = [
            lab.server.hub.subscribe(Principal(f"u{n}", f"d{n}", read=("shop/b",)))
            for n in range(number)
        ]
        found = await asyncio.to_thread(lab.costs, "shop/a")
        for stream in open_streams:
            stream.close()
        return found

    return asyncio.run(measured())


WORKLOADS: dict[str, tuple[Callable[[Lab, int], list[float]], tuple[int, ...]]] = {
    "scopes of the device": (scopes, (1, 10, 100, 1000)),
    "scopes of others": (others, (10, 100, 1000, 10_000)),
    "rows of the scope": (rows, (100, 1000, 10_000, 100_000)),
    "open conflicts": (conflicts, (10, 100, 1000)),
    "streams of others": (streams, (10, 100, 1000, 10_000)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what an exchange costs on a full server.")
    parser.add_argument("--largest", type=int, default=10_000)
    parser.add_argument("--only", default="", help="what has this in its name")
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        cluster = stack.enter_context(PostgresCluster()) if options.postgres else None
        for what, (measure, counts) in WORKLOADS.items():
            if options.only not in what:
                continue
            sys.stdout.write(f"\n{what:>22}  one change     nothing\n")
            for count in (count for count in counts if count <= options.largest):
                with ExitStack() as one:
                    folder = Path(one.enter_context(tempfile.TemporaryDirectory()))
                    database: Path | str = folder / "server.db"
                    if cluster is not None:
                        database = one.enter_context(scratch_schema(cluster))
                    server = one.enter_context(
                        open_server(SCHEMA, database, lambda _: None, maintain=False)
                    )
                    clock = time.process_time if cluster is None else time.perf_counter
                    found = measure(Lab(folder, server, clock), count)
                figures = "  ".join(f"{ms:10.2f}" for ms in found)
                sys.stdout.write(f"{count:>22,}  {figures}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
