"""``make search``: look for new counterexamples, for a while.

    .venv/bin/python tools/search.py [--minutes 10] [--seed N] [--times 4] [--tests PATH...]

What `make test` draws is the same in each run. Here it is new: in turn the property tests of one
file, drawn by chance and ``--times`` as many, and random worlds of several devices and a server,
each with a seed of its own, now and then with monkeys in the app; again and again until the time is
over. What is found is printed with the command that repeats it, and the search goes on. Exit code 1
when something was found.

The time is a bound: what still runs then is interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from properties import VARIABLE

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "stockroom/web"
BUILT = WEB / "dist/index.html"
WHERE = ("engine/tests", "stockroom/tests")
WORLDS = 4
"""Worlds in one turn: about as long as the properties of one file."""
MONKEYS_EVERY = 8
"""One turn of worlds in so many is one of monkeys, where the app is built."""
POSTGRES_EVERY = 4
"""One turn of worlds in so many has its server on PostgreSQL."""
GROWTH_EVERY = 3
"""One turn of worlds in so many has a schema that grows."""
COPIES_EVERY = 3
"""One turn of worlds in so many copies, puts back and loses files, every other one of these the
server, too."""
MONKEY_STEPS = 20
MONKEY_ENDS_S = 300
"""Longer than the test lets it go on."""
SAYS_SO = re.compile(r"^(FAILED |ERROR |again: )", re.MULTILINE)
"""What an interrupted run has printed when it had found something before."""
DRAWS = re.compile(r"^ *@given\(", re.MULTILINE)
TO_END_S = 20
"""For an interrupted run to end what it has started (a PostgreSQL, for example)."""


@dataclass(frozen=True)
class Turn:
    """One command, and how a person repeats it."""

    what: str
    command: tuple[str, ...]
    again: str
    needs_s: int = 0
    """Begun only where so much time is left: it must not be interrupted, and ends by itself."""


def main(words: list[str]) -> int:
    """Search, and say what was found."""
    parser = argparse.ArgumentParser(prog="search.py")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="of all that is drawn; else new")
    parser.add_argument("--times", type=float, default=4, help="as many examples as in `make test`")
    parser.add_argument("--tests", nargs="+", type=Path, help="files or folders of properties")
    parser.add_argument("--turns", type=int, default=None, help="at most; else as time allows")
    parser.add_argument("--no-monkeys", action="store_true", help="none in the app")
    parser.add_argument("--worlds", type=int, default=WORLDS, help="in one turn; 0: none")
    options = parser.parse_args(words)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    deadline = time.monotonic() + 60 * options.minutes
    files = property_files(options.tests or [ROOT / where for where in WHERE])
    print(f"seed {seed}: {len(files)} files of properties, {options.minutes:g} minutes", flush=True)
    os.environ[VARIABLE] = f"{options.times:g}"
    done = found = 0
    monkeys = not options.no_monkeys and BUILT.is_file() and shutil.which("chromium") is not None
    endless = turns(files, seed, options.times, worlds=options.worlds, monkeys=monkeys)
    for turn in itertools.islice(endless, options.turns):
        if time.monotonic() >= deadline:
            break
        if time.monotonic() + turn.needs_s > deadline:
            continue
        code, output = within(deadline, turn.command)
        bad = SAYS_SO.search(output) is not None if code is None else code != 0
        how = "FOUND" if bad else "ends" if code is None else "ok"
        print(f"{how:5}  {turn.what}", flush=True)
        if bad:
            found += 1
            print(f"{output}\nagain: {turn.again}\n", flush=True)
        if code is None:
            break
        done += 1
    print(f"seed {seed}: {done} turns, {found} with something found")
    return min(found, 1)


def property_files(places: list[Path]) -> list[Path]:
    """Of each folder the files of tests in which something is drawn; a file that is named."""
    found = set()
    for place in places:
        if place.is_dir():
            tests = place.rglob("test_*.py")
            found |= {file for file in tests if DRAWS.search(file.read_text(encoding="utf-8"))}
        else:
            found.add(place)
    return sorted(found)


def turns(
    files: list[Path], seed: int, times: float, *, worlds: int, monkeys: bool
) -> Iterator[Turn]:
    """Without end: all files in a new order, worlds in between."""
    dice = random.Random(seed)
    numbers = itertools.count()
    until_monkeys = itertools.cycle(reversed(range(MONKEYS_EVERY)))
    until_postgres = itertools.cycle(reversed(range(POSTGRES_EVERY)))
    until_growth = itertools.cycle(reversed(range(GROWTH_EVERY)))
    until_copies = itertools.cycle(reversed(range(COPIES_EVERY)))
    until_restores = itertools.cycle((False, True))
    while files or worlds:
        order: list[Path | None] = [*dice.sample(files, len(files))]
        for file in order or [None]:
            if file is not None:
                yield properties_of(file, dice.randrange(2**32), times)
            if worlds and monkeys and next(until_monkeys) == 0:
                yield monkey_of(dice.randrange(2**31))
            elif worlds:
                seeds = [f"search/{seed}/{next(numbers)}" for _ in range(worlds)]
                if next(until_copies) == 0:
                    yield copies_of(seeds, restoring=next(until_restores))
                    continue
                yield worlds_of(
                    seeds,
                    on_postgres=next(until_postgres) == 0,
                    growing=next(until_growth) == 0,
                )


def properties_of(file: Path, seed: int, times: float) -> Turn:
    name = str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)
    pytest = ("-m", "pytest", "-q", "-c", "pyproject.toml", "-m", "hypothesis", "--tb=short")
    # A run of many examples is long and honest; that none hangs is what the bound of all is for.
    arguments = ("-o", "timeout=0", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}", name)
    return Turn(
        f"{name}, seed {seed}",
        (sys.executable, *pytest, *arguments),
        f"{VARIABLE}={times:g} .venv/bin/pytest -m hypothesis --hypothesis-seed={seed} {name}",
    )


def worlds_of(seeds: list[str], *, on_postgres: bool, growing: bool) -> Turn:
    where = ("--postgres",) if on_postgres else ()
    how = ("--growth",) if growing else ()
    script = ("engine/tests/system/sweep.py", "--sets", *how, *where)
    return Turn(
        f"worlds {seeds[0]} to {seeds[-1].rpartition('/')[2]}{' on PostgreSQL' if where else ''}",
        (sys.executable, *script, *seeds),
        f".venv/bin/python {' '.join((*script, *seeds))}",
    )


def copies_of(seeds: list[str], *, restoring: bool) -> Turn:
    how = "--restores" if restoring else "--copies"
    script = ("engine/tests/system/sweep.py", "--steps", "60", how)
    return Turn(
        f"worlds {seeds[0]} to {seeds[-1].rpartition('/')[2]}, {how[2:]}",
        (sys.executable, *script, *seeds),
        f".venv/bin/python {' '.join((*script, *seeds))}",
    )


def monkey_of(seed: int) -> Turn:
    """By what the app's own tests ask for; what the seed cannot say is up to the machine."""
    chosen = {
        "STOCKROOM_SEEDS": "1",
        "STOCKROOM_FIRST_SEED": str(seed),
        "STOCKROOM_STEPS": str(MONKEY_STEPS),
    }
    words = [f"{name}={value}" for name, value in chosen.items()]
    test = ("node", "node_modules/vitest/vitest.mjs", "run", "tests/e2e/monkey.test.ts")
    return Turn(
        f"monkeys, seed {seed}",
        ("env", "-C", str(WEB), *words, *test),
        f"cd stockroom/web && {' '.join(words)} {' '.join(test)}",
        needs_s=MONKEY_ENDS_S,
    )


def within(deadline: float, command: tuple[str, ...]) -> tuple[int | None, str]:
    """Run a command to its end, or to the deadline: exit code (None: interrupted) and output."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as why:
            end(process)
            if isinstance(why, KeyboardInterrupt):
                raise
            code = None
        output.seek(0)
        return code, output.read().decode(errors="replace")


def end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt it, so that it ends what it has started; then by force."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(TO_END_S)
        return
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
