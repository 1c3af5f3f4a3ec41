"""Random worlds in which rows come as files: the same promises hold as without.

Checks I32.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from device import Options
from properties import examples
from run import run
from shipping import ShippingLine

pytestmark = pytest.mark.slow

SEEDS = range(100, 100 + examples(14))
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


@cache
def world(seed: int) -> Counter[str]:
    """What happened in it. Each process of the tests makes those of the worlds that it needs."""
    return run(seed, steps=80, options=options(seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_of_files_comes_to_rest_and_is_right(seed: int) -> None:
    assert world(seed)


def test_everything_that_should_happen_sometimes_has_happened() -> None:
    happened = {name for seed in SEEDS for name in +world(seed)}
    never = [name for name in SOMETIMES if name not in happened]
    assert not never, f"blind spots: {never}"
