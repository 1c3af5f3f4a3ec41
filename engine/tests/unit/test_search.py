"""`make test` draws the same each time; `make search` draws anew, says what it finds, and ends."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import search
from hypothesis import settings
from properties import examples

ROOT = Path(__file__).resolve().parents[3]
SEARCH = "tools/search.py"

FOUND_BY_CHANCE = """
import hypothesis as h
from hypothesis import strategies as st

@h.given(st.lists(st.integers(0, 9), max_size=20))
def test_no_list_is_long(numbers):
    assert len(numbers) < 5
"""
NEVER_ENDS = """
import time
import hypothesis as h
from hypothesis import strategies as st

@h.given(st.integers())
def test_never_ends(number):
    while True:
        time.sleep(1)
"""
DRAWS = """
import hypothesis as h
from hypothesis import strategies as st

@h.given(st.integers(), st.sets(st.text()))
def test_says_what_it_draws(number, texts):
    print("drawn", number, sorted(texts))
"""


def planted(folder: Path, text: str) -> Path:
    """A file of tests in a house of its own, which draws as this one does."""
    shutil.copy(ROOT / "conftest.py", folder)
    test = folder / "test_planted.py"
    test.write_text(text)
    return test


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def drawn(test: Path) -> list[str]:
    words = ("-m", "pytest", "-q", "-s", "-c", "pyproject.toml", "-p", "no:cacheprovider")
    done = run(*words, test)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"drawn .*", done.stdout)


def test_these_very_tests_are_repeatable() -> None:
    found = settings.default
    assert found is not None and found.derandomize and found.database is None
    assert found.deadline is None, "how busy a machine is must not fail a test"


def test_a_search_draws_more_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOLDFAST_EXAMPLES", raising=False)  # `make test-fast` sets it
    assert examples(60) == 60
    monkeypatch.setenv("HOLDFAST_SEARCH", "2.5")
    assert examples(60) == 150


@pytest.mark.slow
def test_the_same_is_drawn_in_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = planted(tmp_path, DRAWS)
    first = drawn(test)
    assert len(first) == 100
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert drawn(test) == first


@pytest.mark.slow
def test_a_counterexample_is_told_with_what_repeats_it(tmp_path: Path) -> None:
    test = planted(tmp_path, FOUND_BY_CHANCE)
    done = run(SEARCH, "--seed", "3", "--turns", "1", "--worlds", "0", "--tests", test)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 turns, 1 with something found" in done.stdout
    assert "@reproduce_failure" in done.stdout
    again = re.search(r"^again: HOLDFAST_SEARCH=4 .venv/bin/(pytest .*)", done.stdout, re.MULTILINE)
    assert again is not None
    repeated = run("-m", *again[1].split(), "-c", "pyproject.toml", "-p", "no:cacheprovider")
    assert repeated.returncode == 1, repeated.stdout


@pytest.mark.slow
def test_a_search_ends_when_its_time_is_over(tmp_path: Path) -> None:
    test = planted(tmp_path, NEVER_ENDS)
    done = run(SEARCH, "--minutes", "0.05", "--worlds", "0", "--tests", test)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(
        r"^ends .*\nseed \d+: 0 turns, 0 with something found$", done.stdout, re.MULTILINE
    )


def test_a_search_whose_time_is_over_between_two_turns_begins_none(tmp_path: Path) -> None:
    done = run(SEARCH, "--minutes", "0", "--worlds", "0", "--tests", planted(tmp_path, DRAWS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 turns, 0 with something found" in done.stdout


def test_every_family_of_worlds_has_its_turns() -> None:
    drawn = itertools.islice(search.turns([], 3, 4, worlds=2, monkeys=True), 24)
    families = Counter(
        next((how for how in ("--copies", "--restores", "monkey") if how in turn.again), "worlds")
        for turn in drawn
    )
    assert families == {"--copies": 4, "--restores": 3, "monkey": 3, "worlds": 14}


@pytest.mark.slow
def test_worlds_are_let_run_too(tmp_path: Path) -> None:
    done = run(SEARCH, "--seed", "3", "--turns", "1", "--worlds", "1", "--tests", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok     worlds search/3/0" in done.stdout
