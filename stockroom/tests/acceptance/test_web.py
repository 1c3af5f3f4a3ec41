"""The web app: its functions in Node, and its stories in the system's Chromium at a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"
TESTS = WEB / "tests"
# What needs no browser is one run: to start one costs more than most of those tests.
STORIES = sorted({"unit", *(f"e2e/{path.name}" for path in TESTS.glob("e2e/*.test.ts"))})

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("story", STORIES)
def test_in_a_browser(story: str) -> None:
    if shutil.which("node") is None or not (WEB / "node_modules" / "vitest").is_dir():
        pytest.skip("needs Node and the packages of stockroom/web (make setup)")
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium")
    if not (WEB / "dist" / "index.html").is_file():
        pytest.skip("the web app is not built (make web)")
    done = subprocess.run(
        ["node", "node_modules/vitest/vitest.mjs", "run", f"tests/{story}"],
        cwd=WEB, env={**os.environ, "NO_COLOR": "1", "STOCKROOM_PYTHON": sys.executable},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
