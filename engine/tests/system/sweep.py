"""Worlds of seeds that nobody has chosen; ``make search`` lets them run.

    sweep.py [--steps 80] [--devices 3] [--sets] [--growth] [--copies | --restores] [--postgres]
             SEED...

The same seed is the same world (I37): what is printed of one that was wrong repeats it. Exit code 1
when one was.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from dataclasses import replace

from copies_run import run_copies
from device import Options
from run import run
from servers import PostgresSchema
from shell import stop_shell

from holdfast.testing.postgres import PostgresCluster, PostgresMissing, scratch_schema

COMMAND = ".venv/bin/python engine/tests/system/sweep.py"


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sweep.py")
    parser.add_argument("--steps", type=int, default=80, help="in each world")
    parser.add_argument("--devices", type=int, default=3, help="in each world")
    parser.add_argument("--sets", action="store_true", help="with sets that many hands fill")
    parser.add_argument("--growth", action="store_true", help="with a schema that grows")
    parser.add_argument("--copies", action="store_true", help="with files copied, put back, lost")
    parser.add_argument("--restores", action="store_true", help="and the server put back, too")
    parser.add_argument("--postgres", action="store_true", help="with the server on PostgreSQL")
    parser.add_argument("seeds", nargs="+", metavar="SEED", help="of a world")
    options = parser.parse_args(words)
    wrong = 0
    with contextlib.ExitStack() as stack:
        stack.callback(stop_shell)
        cluster: PostgresCluster | None = None
        if options.postgres:
            try:
                cluster = stack.enter_context(PostgresCluster())
            except PostgresMissing as missing:
                sys.stderr.write(f"no worlds on PostgreSQL: {missing}\n")
                return 0
        for seed in options.seeds:
            try:
                _one(seed, options, cluster)
            except Exception:  # noqa: BLE001 - whatever it is, this seed has found it
                wrong += 1
                how = f"--steps {options.steps} --devices {options.devices}"
                how += " --sets" if options.sets else ""
                how += " --growth" if options.growth else ""
                how += " --copies" if options.copies else ""
                how += " --restores" if options.restores else ""
                how += " --postgres" if options.postgres else ""
                sys.stdout.write(f"{traceback.format_exc()}\nagain: {COMMAND} {how} {seed}\n")
                sys.stdout.flush()
    return min(wrong, 1)


def _one(seed: str, options: argparse.Namespace, cluster: PostgresCluster | None) -> None:
    if options.copies or options.restores:
        how = Options(devices=options.devices)
        run_copies(seed, steps=options.steps, options=how, server=options.restores)
        return
    what = Options(devices=options.devices, sets=options.sets, growth=options.growth)
    if cluster is None:
        run(seed, steps=options.steps, options=what)
        return
    with scratch_schema(cluster) as url:
        run(seed, steps=options.steps, options=replace(what, database=PostgresSchema(url)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
