"""What readers must never see, planted on purpose: each is found within a few seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from device import Options
from run import run

from holdfast.core.errors import HoldfastError
from holdfast.replica import apply, replay, status

pytestmark = pytest.mark.slow

SEEDS_MAX = 8
STEPS = 70

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]
PLANTS: dict[str, Plant] = {}


def plant(bug: Plant) -> Plant:
    PLANTS[bug.__name__] = bug
    return bug


@plant
def half_a_transaction_is_set_aside(patch: Patch) -> None:
    real = replay.Replay._of
    patch.setattr(replay.Replay, "_of", lambda self, number: real(self, number)[:1])


@plant
def status_misses_what_is_not_sealed(patch: Patch) -> None:
    patch.setattr(status, "open_groups", lambda _: 0)


@plant
def own_work_that_was_taken_flickers(patch: Patch) -> None:
    """Rows that are as this device has made them are not shown until somebody changes them."""
    real = apply.Applier._own

    def own(self: Any, table: Any, line: Any, decided: Any) -> None:
        real(self, table, line, decided)
        if table.name == "slip":
            for key in line.keys:
                self._db.execute("DELETE FROM slip WHERE id = ?", (key,))

    patch.setattr(apply.Applier, "_own", own)


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS[name](monkeypatch)
    for seed in range(SEEDS_MAX):
        try:
            run(f"power/{seed}", steps=STEPS, options=Options(devices=3))
        except (AssertionError, HoldfastError):
            return
    pytest.fail(f"{name} was not found within {SEEDS_MAX} seeds")
