from __future__ import annotations

import pytest

from tests.acceptance.conftest import Run

pytestmark = pytest.mark.acceptance

NAMES = [
    "Local storage",
    "Change tracking",
    "Connection detection",
    "Synchronization",
    "Conflict resolution",
    "Acknowledgement",
    "Consistency check",
    "Errors and retry",
]


def test_the_tour_shows_all_eight_steps(run: Run) -> None:
    ran = run("tour", "--json")
    report = ran.document
    failed = [step for step in report["steps"] if not step["ok"]]
    assert not failed, ran.err
    assert (ran.code, report["ok"]) == (0, True)
    assert set(report) == {"ok", "steps"}
    assert [(step["n"], step["name"]) for step in report["steps"]] == list(enumerate(NAMES, 1))
    for step in report["steps"]:
        assert set(step) == {"n", "name", "ok", "evidence"}
        assert len(step["evidence"]) >= 3
    assert len(ran.out.splitlines()) == 1
    assert "Wi-Fi" in ran.err
