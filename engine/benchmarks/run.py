"""``make bench``: measure the workloads and print ratios.

    .venv/bin/python engine/benchmarks/run.py [--quick] [--only W2] [--on postgres] [--held 1000000]
                                              [--json PATH] [--folder DIR]

Everything is made in a temporary folder on a real disk and removed afterwards.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from databases import kinds
from report import circumstances, show, write_json
from sizes import QUICK, Sizes
from workloads import NAMES, run

STORES = ("sqlite", "postgres")


def main(words: list[str]) -> int:
    """Measure and report; 0 even when a target is missed: a figure is no test."""
    parser = argparse.ArgumentParser(prog="run.py", description="Measure the workloads.")
    parser.add_argument("--quick", action="store_true", help="few rows: shows that it works")
    parser.add_argument("--only", action="append", choices=NAMES, default=[])
    parser.add_argument("--on", action="append", choices=STORES, default=[], help="both, else")
    parser.add_argument("--held", action="append", type=int, help="rows held in W5")
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--folder", type=Path, help="where databases are made (a real disk)")
    options = parser.parse_args(words)
    around = circumstances(Path(__file__).parent, quick=options.quick)
    sizes = QUICK if options.quick else Sizes()
    if options.held:
        sizes = replace(sizes, held=tuple(options.held))
    results = []
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=options.folder) as folder,
        kinds(options.on or STORES) as on,
    ):
        for result in run(Path(folder), sizes, on, frozenset(options.only)):
            results.append(result)
            print(f"{result.workload}  {result.on}  {result.what}", file=sys.stderr)
    show(results, around)
    if options.json is not None:
        write_json(options.json, results, around)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
