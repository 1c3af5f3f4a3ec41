"""`make test` runs what failed once more, alone: what passes then is flaky, and told so."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[3] / "tools/run_tests.py"

pytestmark = pytest.mark.slow

PASSES_THE_SECOND_TIME = """
from pathlib import Path

def test_flickers():
    seen = Path(__file__).with_suffix(".seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""


def run(folder: Path, *tests: str, workers: int = 0) -> subprocess.CompletedProcess[str]:
    (folder / "tools").mkdir(exist_ok=True)
    shutil.copy(TOOL, folder / "tools")
    for number, text in enumerate(tests):
        (folder / f"test_{number}.py").write_text(text)
    return subprocess.run(
        [sys.executable, "tools/run_tests.py", "-n", str(workers)],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_what_passes_alone_is_told_as_flaky(tmp_path: Path) -> None:
    done = run(tmp_path, PASSES_THE_SECOND_TIME, "def test_good():\n    pass\n", workers=2)
    assert done.returncode == 0, done.stdout
    assert "\nflaky: test_0.py::test_flickers\n" in done.stdout


def test_what_fails_twice_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, PASSES_THE_SECOND_TIME, "def test_bad():\n    assert False\n")
    assert done.returncode == 1, done.stdout
    assert "flaky:" not in done.stdout


def test_failures_of_an_earlier_run_are_not_run_again(tmp_path: Path) -> None:
    bad = "def test_bad():\n    assert False\n"
    assert run(tmp_path, bad).returncode == 1
    (tmp_path / "test_0.py").write_text("def test_bad():\n    pass\n")
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "once more" not in done.stdout


def test_many_failures_are_not_run_again(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import pytest\n@pytest.mark.parametrize('n', range(21))\ndef test_bad(n): assert False\n",
    )
    assert done.returncode == 1, done.stdout
    assert "once more" not in done.stdout
