"""Run the tests; what fails runs once more, alone, and is told as flaky when it passes then.

`make test` calls this with pytest's own arguments. A test that passes only alone is a fault to be
found next, in the product first: it is printed as `flaky: NAME` and does not fail the run. More
failures than `RERUN_MAX` are no accident of a busy machine, and are not run again.

Bytecode is kept, whatever the environment says: the tests start hundreds of processes, and to
compile their modules anew costs each of them more than all else it does at its start.

Exit codes are pytest's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAST_FAILED = ROOT / ".pytest_cache/v/cache/lastfailed"
TESTS_FAILED = 1
RERUN_MAX = 20


def pytest(*arguments: str) -> int:
    """Run pytest from the root of the repository; return its exit code."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment, check=False
    ).returncode


def failed_tests() -> list[str]:
    """Return the node ids of what failed in the run that has just ended."""
    return (
        sorted(json.loads(LAST_FAILED.read_text(encoding="utf-8"))) if LAST_FAILED.is_file() else []
    )


def main(arguments: list[str]) -> int:
    """Run all, then what failed alone; return the exit code that counts."""
    # The cache of earlier runs goes first, or their failures would be taken for this run's.
    code = pytest("--cache-clear", *arguments)
    failed = failed_tests()
    if code != TESTS_FAILED or not 0 < len(failed) <= RERUN_MAX:
        return code
    print(f"\n{len(failed)} failed; once more, one after another:", flush=True)
    for name in failed:
        print(f"  {name}", flush=True)
    code = pytest("-p", "no:cacheprovider", "-n", "0", *failed)
    if code == 0:
        for name in failed:
            print(f"flaky: {name}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
