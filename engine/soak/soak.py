"""``make soak``: real servers and devices that write for ten minutes while everything goes wrong.

    .venv/bin/python engine/soak/soak.py [--seconds 600] [--seed 1] [--on sqlite] [--on postgres]
                                         [--devices 3] [--folder DIR] [--json PATH]

Servers and devices are processes: killed, ended, stopped for a while and cut off, while devices,
other programs on the devices and SQL on the server's database write. Then all is healed, everybody
syncs, settles what is in conflict and verifies to the last row; the server's database is checked;
and what every writer noted of its own commits must be there: nothing lost, doubled or in part.

The seed says what happens in which order; processes share a real machine, so a run is never the
same twice. Exit code 1 when something is wrong: the seed and the folder with everything are named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shop
from database import Database, PostgresDatabase, SqliteFile
from ledger import Told, read
from stand import Device, Stand
from troubles import Troubles
from verdict import problems

from holdfast.testing import PostgresCluster, PostgresMissing

PROGRESS_S = 10
TROUBLE_S = (0.3, 1.6)
"""Between two troubles of one stand."""
REST_S = 240
"""A device that has not come to rest after so long will not."""
STORES = ("sqlite", "postgres")


@dataclass
class Run:
    """A stand and its luck."""

    stand: Stand
    troubles: Troubles
    next_trouble: float = 0.0
    rss_kib: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def ledgers(self) -> list[Told]:
        files = [device.ledger for device in self.stand.devices]
        return [read(file) for file in (*files, self.office)]

    @property
    def office(self) -> Path:
        return self.stand.folder / "office.ledger"


def main(words: list[str]) -> int:
    """Soak, and say how it went."""
    parser = argparse.ArgumentParser(prog="soak.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="of work, before the rest")
    parser.add_argument("--seed", default="1", help="of the troubles")
    parser.add_argument("--on", action="append", choices=STORES, default=[], help="both, else")
    parser.add_argument("--devices", type=int, default=3, help="for each server database")
    parser.add_argument("--folder", type=Path, help="where it all lives, and stays")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(words)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="holdfast-soak-"))
    with contextlib.ExitStack() as stack:
        dice = random.Random(f"{options.seed}/troubles")
        runs = []
        for database, servers in _databases(folder, options.on or STORES, stack):
            at = folder / database.name.lower()
            stand = Stand(
                at, database, servers=servers, devices=options.devices,
                seed=f"{options.seed}/{database.name}",
            )  # fmt: skip
            stack.callback(stand.close)
            runs.append(Run(stand, Troubles(stand, dice, at / "office.ledger")))
        for run in runs:
            run.stand.start()
        _work(runs, dice, options.seconds)
        _rest(runs)
        figures = [_figures(run) for run in runs]
    wrong = [problem for run in runs for problem in run.wrong]
    told = {
        "ok": not wrong, "seed": options.seed, "seconds": options.seconds, "stands": figures,
        "problems": wrong,
    }  # fmt: skip
    if options.json is not None:
        options.json.write_text(json.dumps(told, indent=2) + "\n")
    _show(figures)
    for problem in wrong:
        print(f"WRONG: {problem}")
    if wrong:
        print(f"seed {options.seed}; everything is kept in {folder}")
        return 1
    print(f"nothing lost, nothing doubled, nothing in part (seed {options.seed})")
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _databases(
    folder: Path, on: list[str] | tuple[str, ...], stack: contextlib.ExitStack
) -> Iterator[tuple[Database, int]]:
    """Each database, and how many servers stand on it."""
    if "sqlite" in on:
        yield SqliteFile(folder / "sqlite" / "server.db"), 1
    if "postgres" in on:
        try:
            cluster = stack.enter_context(PostgresCluster(durable=True))
        except PostgresMissing as missing:
            print(f"without PostgreSQL: {missing}", file=sys.stderr)
        else:
            yield PostgresDatabase(cluster.make_database()), 2


def _work(runs: list[Run], dice: random.Random, seconds: float) -> None:
    """Everybody writes, and things happen."""
    for run in runs:
        run.rss_kib.append(run.stand.server_rss_kib())
    started = time.monotonic()
    told = started
    while (now := time.monotonic()) < started + seconds:
        for run in runs:
            run.troubles.heal_due(now)
            if now >= run.next_trouble:
                run.troubles.one(now)
                run.next_trouble = time.monotonic() + dice.uniform(*TROUBLE_S)
            for device in run.stand.devices:
                if not device.running:
                    run.wrong.append(f"{run.stand.name}: {_last_words(device)}")
                    device.start()
        if now >= told + PROGRESS_S:
            told = now
            for run in runs:
                run.rss_kib.append(run.stand.server_rss_kib())
                print(f"{now - started:5.0f} s  {_line(run)}", flush=True)
        time.sleep(0.02)


def _rest(runs: list[Run]) -> None:
    """The end of all troubles; who settles, settles; everybody verifies."""
    for run in runs:
        run.troubles.end()
        for word, who in (("rest", slice(None)), ("settle", slice(1)), ("end", slice(None))):
            run.wrong += _all_do(run.stand.devices[who], word)
        run.rss_kib.append(run.stand.server_rss_kib())
        for device in run.stand.devices:
            device.tell("close")
            device.end()
        for server in run.stand.servers:
            if server.terminate() != 0:
                run.wrong.append(f"{run.stand.name}: a server ended badly: {server.stderr_tail()}")
        run.wrong += problems(run.stand, run.ledgers())
        run.wrong += _server_check(run.stand.database)
        print(f"at rest  {_line(run)}", flush=True)


def _all_do(devices: list[Device], word: str) -> list[str]:
    """Tell all of them, then wait for each; what went wrong."""
    for device in devices:
        device.tell(word)
    wrong = []
    for device in devices:
        deadline = time.monotonic() + REST_S
        while device.running and time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                if device.words.get(timeout=1) == word:
                    break
        else:
            wrong.append(f"{_last_words(device)}: it did not come to {word!r}")
    return wrong


def _last_words(device: Device) -> str:
    code = device.process.poll() if device.process else None
    text = device.log.read_text(errors="replace")[-2000:]
    return f"{device.name} (exit code {code}): {text}"


def _server_check(database: Database) -> list[str]:
    command = [
        sys.executable, "-m", "holdfast.cli", "check", "--schema", str(shop.SCHEMA),
        "--database", database.address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=REST_S, check=False)
    return [] if done.returncode == 0 else [f"{database.name}: {done.stdout}{done.stderr}"]


def _line(run: Run) -> str:
    told = run.ledgers()
    happened = ", ".join(f"{name} {count}" for name, count in sorted(run.troubles.count.items()))
    return (
        f"{run.stand.name}: {_transactions(told)} transactions, "
        f"{sum(len(one.acknowledged) for one in told)} sales acknowledged, "
        f"faults {run.stand.faults}, {happened}"
    )


def _transactions(told: list[Told]) -> int:
    return sum(len(one.local_us) for one in told)


def _figures(run: Run) -> dict[str, Any]:
    told = run.ledgers()
    devices = told[:-1]
    local = sorted(us for one in devices for us in one.local_us)
    acknowledged = sorted(us for one in devices for us in one.acknowledged_us)
    happened = Counter(run.troubles.count)
    conflicts = run.stand.database.rows("SELECT count(*) FROM holdfast_conflict")[0][0]
    return {
        "database": run.stand.name,
        "transactions": _transactions(told),
        "sales_acknowledged": sum(len(one.acknowledged) for one in devices),
        "network_faults": run.stand.faults,
        "troubles": dict(sorted(happened.items())),
        "lives": sum(one.lives for one in devices),
        "conflicts": int(conflicts),
        "conflicts_settled": sum(one.settled for one in devices),
        "refusals": sum(len(one.refused) for one in devices),
        "local_write_ms": _percentiles(local),
        "acknowledged_ms": _percentiles(acknowledged),
        "server_rss_mib": [round(kib / 1024, 1) for kib in (run.rss_kib[0], run.rss_kib[-1])],
        "server_bytes": run.stand.database.size_bytes(),
        "replica_bytes": [device.file.size_bytes() for device in run.stand.devices],
    }


def _percentiles(sorted_us: list[int]) -> dict[str, float]:
    if not sorted_us:
        return {}
    return {
        name: round(sorted_us[min(len(sorted_us) - 1, int(len(sorted_us) * share))] / 1000, 2)
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def _show(figures: list[dict[str, Any]]) -> None:
    for figure in figures:
        print(f"\n{figure['database']}")
        for name, value in figure.items():
            if name != "database":
                print(f"  {name.replace('_', ' '):20} {value}")
    print()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
