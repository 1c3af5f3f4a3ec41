"""The benchmark command works; its figures are nobody's to judge here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow]

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


def test_quick_run_measures_every_workload(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, str(RUN), "--quick", "--json", str(out), "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    body = json.loads(out.read_text())
    results = body["results"]
    assert {result["workload"] for result in results} == {
        "W1",
        "W2",
        "W3",
        "W4",
        "W5",
        "W6",
        "WC",
    }
    assert all(result["value"] > 0 for result in results)
    counted = [result["value"] for result in results if result["workload"] == "W6"]
    assert set(counted) == {8}
    assert body["revision"]
    assert "ratio" in done.stdout
