"""The browser replica's own tests: in Node, at a real server, and in the system's Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEADLINE_S = 550
BROWSER = Path(__file__).resolve().parents[1]


def vitest(folder: str) -> dict[str, str]:
    """Run the tests of a folder; each test's outcome by its name."""
    if shutil.which("node") is None or not (BROWSER / "node_modules" / "vitest").is_dir():
        pytest.skip("needs Node and the packages of browser/ (make setup)")
    report = BROWSER / "tests" / ".build" / f"{folder.replace('/', '-')}.json"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    done = subprocess.run(
        ["node", "node_modules/vitest/vitest.mjs", "run", folder, "--reporter=default",
         "--reporter=json", f"--outputFile.json={report}"],
        cwd=BROWSER, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    output = done.stdout[-8000:] + done.stderr[-4000:]
    assert report.is_file(), output
    outcomes = {
        test["fullName"]: test["status"]
        for file in json.loads(report.read_text(encoding="utf-8"))["testResults"]
        for test in file["assertionResults"]
    }
    assert done.returncode == 0, output
    return outcomes


def all_passed(folder: str) -> None:
    outcomes = vitest(folder)
    assert outcomes
    assert set(outcomes.values()) == {"passed"}, outcomes


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["tests/vectors", "tests/unit"])
def test_in_node(folder: str) -> None:
    all_passed(folder)


@pytest.mark.acceptance
@pytest.mark.timeout(DEADLINE_S + 30)
def test_a_replica_in_node_at_a_real_server() -> None:
    all_passed("tests/replica")


@pytest.mark.acceptance
@pytest.mark.timeout(DEADLINE_S + 30)
def test_in_chromium() -> None:
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    all_passed("tests/chromium")
