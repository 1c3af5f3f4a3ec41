"""Twenty seconds of the soak: processes that are killed, stopped and cut off, on both databases."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

SOAK = Path(__file__).parents[2] / "soak" / "soak.py"


def test_a_short_soak_loses_doubles_and_halves_nothing(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    command = [
        sys.executable, str(SOAK), "--seconds", "20", "--seed", "3", "--devices", "2",
        "--folder", str(tmp_path / "soak"), "--json", str(told),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    body = json.loads(told.read_text())
    assert body["ok"] and not body["problems"]
    stands = {stand["database"]: stand for stand in body["stands"]}
    assert "SQLite" in stands
    assert "PostgreSQL" in stands or "without PostgreSQL" in done.stderr
    for stand in stands.values():
        assert stand["transactions"] > 0
        assert stand["sales_acknowledged"] > 0
        assert sum(stand["troubles"].values()) > 0
