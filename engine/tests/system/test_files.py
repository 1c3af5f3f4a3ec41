"""Random worlds in which rows come as files: the same promises hold as without."""

from __future__ import annotations

from collections import Counter

import pytest
from device import Options
from run import examples, run
from shipping import ShippingLine

pytestmark = pytest.mark.slow

SEEDS = range(100, 100 + examples(14))
HAPPENED: Counter[str] = Counter()
SOMETIMES = (
    "snapshot offered", "catch-up offered", "file of an earlier moment", "file still building",
    "file gone", "file damaged", "range not honoured", "download resumed", "download cut",
)  # fmt: skip


def options(seed: int) -> Options:
    return Options(
        devices=2 + seed % 3,
        faults=seed % 4 != 3,
        direct=True,
        purges=seed % 3 == 0,
        drivers=("apsw", "stdlib", "apsw", "stdlib") if seed % 5 == 0 else ("apsw",) * 4,
        line=ShippingLine,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_of_files_comes_to_rest_and_is_right(seed: int) -> None:
    HAPPENED.update(run(seed, steps=80, options=options(seed)))


def test_everything_that_should_happen_sometimes_has_happened() -> None:
    if not HAPPENED:
        for seed in SEEDS:
            HAPPENED.update(run(seed, steps=80, options=options(seed)))
    never = [name for name in SOMETIMES if not HAPPENED[name]]
    assert not never, f"blind spots: {never}"
