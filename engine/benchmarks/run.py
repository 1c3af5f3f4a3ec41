"""``make bench``: measure the workloads and print ratios.

    .venv/bin/python engine/benchmarks/run.py [--quick] [--only W4] [--json PATH] [--folder DIR]

Everything is made in a temporary folder on a real disk and removed afterwards.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from report import circumstances, show, write_json
from workloads import QUICK, Sizes, run

WORKLOADS = ("W2", "W4", "W5", "W6")


def main(words: list[str]) -> int:
    """Measure and report; 0 even when a target is missed: a figure is no test."""
    parser = argparse.ArgumentParser(prog="run.py", description="Measure the workloads.")
    parser.add_argument("--quick", action="store_true", help="few rows: shows that it works")
    parser.add_argument("--only", action="append", choices=WORKLOADS, default=[])
    parser.add_argument("--json", type=Path, help="also write the results here")
    parser.add_argument("--folder", type=Path, help="where databases are made (a real disk)")
    options = parser.parse_args(words)
    around = circumstances(Path(__file__).parent, quick=options.quick)
    results = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=options.folder) as folder:
        for result in run(
            Path(folder), QUICK if options.quick else Sizes(), frozenset(options.only)
        ):
            results.append(result)
            print(f"{result.workload}  {result.what}", file=sys.stderr)
    show(results, around)
    if options.json is not None:
        write_json(options.json, results, around)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
