"""Worlds of seeds that nobody has chosen; ``make search`` lets them run.

    .venv/bin/python engine/tests/system/sweep.py [--steps 80] [--devices 3] [--sets] SEED...

The same seed is the same world (I37): what is printed of one that was wrong repeats it. Exit code 1
when one was.
"""

from __future__ import annotations

import argparse
import sys
import traceback

from device import Options
from run import run
from shell import stop_shell

COMMAND = ".venv/bin/python engine/tests/system/sweep.py"


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sweep.py")
    parser.add_argument("--steps", type=int, default=80, help="in each world")
    parser.add_argument("--devices", type=int, default=3, help="in each world")
    parser.add_argument("--sets", action="store_true", help="with sets that many hands fill")
    parser.add_argument("seeds", nargs="+", metavar="SEED", help="of a world")
    options = parser.parse_args(words)
    wrong = 0
    try:
        for seed in options.seeds:
            what = Options(devices=options.devices, sets=options.sets)
            try:
                run(seed, steps=options.steps, options=what)
            except Exception:  # noqa: BLE001 - whatever it is, this seed has found it
                wrong += 1
                how = f"--steps {options.steps} --devices {options.devices}"
                how += " --sets" if options.sets else ""
                sys.stdout.write(f"{traceback.format_exc()}\nagain: {COMMAND} {how} {seed}\n")
                sys.stdout.flush()
    finally:
        stop_shell()
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
