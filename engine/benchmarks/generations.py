"""What a schema that grows costs: a table, no judgement.

Run as ``engine/benchmarks/generations.py [--rows 100000] [--queued 10000] [--only file|server]
[--postgres]``. Knows: a replica's file, and a server in this process. Must not know: the other
workloads.

``file``: the migration of a replica's file in a process of its own, against copying that file: time
by the clock and of the processor, bytes that are written (as the system counts them at its calls),
and the peak of memory above that of a process which opens the migrated file. ``server``: a push of
100 new rows, and an exchange that brings nothing, on a database that has an older generation,
against one that has not: of the whole exchange, and of the server with its line alone; the least of
several tries, interleaved. On SQLite it is processor time; on PostgreSQL, which works elsewhere, by
the clock.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from holdfast import Column, Replica, Schema, Table
from holdfast.replica.memory import MemoryTransport
from holdfast.server import Principal, open_server
from holdfast.testing.postgres import PostgresCluster, scratch_schema

TRIES = 40
CHANGES = 100
ITEM = (
    Column("id"),
    Column("name", default="", merge="manual"),
    Column("price", "integer", default=0),
    Column("qty", "integer", merge="counter"),
)
TAG = Table(name="tag", key=("id",), scopes=("all",), columns=(Column("id"),))


def schema(generation: int, *more: Column, tables: tuple[Table, ...] = ()) -> Schema:
    item = Table(name="item", key=("id",), scopes=("all",), columns=(*ITEM, *more))
    return Schema(name="generations", generation=generation, tables=(item, *tables))


FIRST = schema(1)
STEPS = {
    "a new table": schema(2, tables=(TAG,)),
    "a column with a default": schema(2, Column("vat", "integer", default=20)),
    "a column with a fill": schema(2, Column("label", default="", fill="upper(name)")),
}
GROWN = schema(2, Column("vat", "integer", default=20), tables=(TAG,))
FILLED = schema(2, Column("label", default="", fill="upper(name)"), tables=(TAG,))

MIGRATE = """
import resource, sys, time
from holdfast import Replica, Schema
def written():
    return int(open("/proc/self/io").read().split("wchar: ")[1].split()[0])
made = Schema.from_json(open(sys.argv[2]).read())
began, before, worked = time.perf_counter(), written(), time.process_time()
with Replica.open(sys.argv[1], made):
    took, worked = time.perf_counter() - began, time.process_time() - worked
print(took, worked, written() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--only", choices=("file", "server"))
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdfast-generations-") as folder:
        if options.only != "server":
            files(Path(folder), options.rows, options.queued)
        if options.only != "file":
            with ExitStack() as stack:
                cluster = stack.enter_context(PostgresCluster()) if options.postgres else None
                servers(Path(folder), cluster)
    return 0


# --- files --------------------------------------------------------------------------------------


def files(folder: Path, rows: int, queued: int) -> None:
    path = folder / "device.db"
    with (
        open_server(FIRST, folder / "server.db", lambda _: None, maintain=False) as server,
        Replica.open(
            path,
            FIRST,
            transport=MemoryTransport(server.service, Principal("a", "a", write=("all",))),
            synchronous="OFF",
        ) as replica,
    ):
        for first in range(0, rows, 10_000):
            numbers = [(str(n), f"thing {n}") for n in range(first, min(first + 10_000, rows))]
            with replica.transaction() as db:
                for one in numbers:
                    db.execute("INSERT INTO item (id, name) VALUES (?, ?)", list(one))
            replica.sync()
        for number in range(queued):
            with replica.transaction() as db:
                db.execute("UPDATE item SET qty = qty + 1 WHERE id = ?", [str(number)])
        replica.seal()
    size = path.stat().st_size
    copy_s = min(_timed(lambda: _copied(path, folder / "copy.db")) for _ in range(5))
    print(f"{rows:,} rows, {queued:,} queued: {size / 1e6:.0f} MB, a copy takes {copy_s:.2f} s")
    for name, made in STEPS.items():
        target = folder / "migrated.db"
        shutil.copyfile(path, target)
        took, worked, wrote, peak = _migrated(target, made)
        *_, opened = _migrated(target, made)
        print(
            f"  {name}: {took:.2f} s, of which {worked:.2f} of the processor "
            f"({worked / copy_s:.1f} x a copy), writes "
            f"{wrote / size:.2f} x the file, {max(0, peak - opened) / 2**20:.0f} MiB more memory"
        )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _copied(path: Path, target: Path) -> None:
    """A copy that is on the disk, as a migration is."""
    shutil.copyfile(path, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _migrated(path: Path, made: Schema) -> list[float]:
    document = path.with_suffix(".json")
    document.write_bytes(made.to_json())
    told = subprocess.run(
        [sys.executable, "-c", MIGRATE, str(path), str(document)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [float(word) for word in told.stdout.split()]


# --- servers ------------------------------------------------------------------------------------


class Line(MemoryTransport):
    """A line that knows how long the server has taken."""

    clock: Callable[[], float] = time.process_time
    took_ms = 0.0

    def _call(self, *more: Any, **named: Any) -> Any:
        began = self.clock()
        try:
            return super()._call(*more, **named)
        finally:
            self.took_ms += (self.clock() - began) * 1000


def servers(folder: Path, cluster: PostgresCluster | None) -> None:
    clock = time.process_time if cluster is None else time.perf_counter
    with ExitStack() as stack:

        def device(name: str, *, grown: Schema | None, speaks: Schema) -> tuple[Replica, Line]:
            where: Path | str = folder / f"{name}-server.db"
            if cluster is not None:
                where = stack.enter_context(scratch_schema(cluster))
            if grown is not None:
                open_server(FIRST, where, lambda _: None, maintain=False).close()
            served = grown or speaks
            server = stack.enter_context(open_server(served, where, lambda _: None, maintain=False))
            line = Line(server.service, Principal(name, name, write=("all",)))
            line.clock = clock
            path = folder / f"{name}.db"
            replica = Replica.open(path, speaks, transport=line, synchronous="OFF")
            return stack.enter_context(replica), line

        pairs = {
            "an older device": (
                device("old-alone", grown=None, speaks=FIRST),
                device("old", grown=GROWN, speaks=FIRST),
            ),
            "an older device, with a fill": (
                device("fill-alone", grown=None, speaks=FIRST),
                device("fill", grown=FILLED, speaks=FIRST),
            ),
            "a device of the current generation": (
                device("new-alone", grown=None, speaks=GROWN),
                device("new", grown=GROWN, speaks=GROWN),
            ),
        }
        print(
            f"on {'SQLite' if cluster is None else 'PostgreSQL'}, ms, alone and with an older one:"
        )
        for name, pair in pairs.items():
            for what, prepare in (("push", _write), ("idle exchange", _nothing)):
                (alone, served), (both, beside) = _least(pair, prepare, clock)
                print(
                    f"  {name}, {what}: {alone:.1f} and {both:.1f}, x {both / alone:.2f}; "
                    f"the server {served:.2f} and {beside:.2f}, x {beside / served:.2f}"
                )


_numbers: Iterator[int] = iter(range(10**9))


def _write(replica: Replica) -> None:
    with replica.transaction() as db:
        for _ in range(CHANGES):
            number = next(_numbers)
            db.execute("INSERT INTO item (id, name) VALUES (?, 'new')", [f"w{number}"])
    replica.seal()


def _nothing(replica: Replica) -> None:
    del replica


def _least(
    pair: tuple[tuple[Replica, Line], tuple[Replica, Line]],
    prepare: Callable[[Replica], None],
    clock: Callable[[], float],
) -> list[tuple[float, float]]:
    """Of each of both: the whole of it, and the server's part."""
    found: list[list[tuple[float, float]]] = [[], []]
    for replica, _ in pair:
        replica.sync()
    for _ in range(TRIES):
        for times, (replica, line) in zip(found, pair, strict=True):
            prepare(replica)
            line.took_ms, began = 0, clock()
            replica.sync()
            times.append(((clock() - began) * 1000, line.took_ms))
    return [(min(w for w, _ in times), min(s for _, s in times)) for times in found]


if __name__ == "__main__":
    sys.exit(main())
