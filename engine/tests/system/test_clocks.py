"""Constant skews of clocks change nothing, down to the last cell.

Checks I20.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from chance import heal, step
from checks import after_step, at_rest
from device import YEAR_US, Options
from properties import examples
from world import World

pytestmark = pytest.mark.slow

SKEWS = ((0, 0, 0, 0), (10 * YEAR_US, -10 * YEAR_US, 3_600_000_000, -1))


def outcome(seed: int, skews: tuple[int, ...]) -> dict[str, Any]:
    """What a world comes to: the server's rows, conflicts and journal."""
    options = Options(devices=4, jumps=False, latency=False, skews=skews)
    with tempfile.TemporaryDirectory(prefix="holdfast-clocks-") as folder:
        world = World(Path(folder), f"clocks/{seed}", options)
        try:
            for _ in range(70):
                step(world)
                after_step(world)
            heal(world)
            at_rest(world)
            journal = world.server_rows(
                "SELECT at, tbl, key, col, kind, entry FROM holdfast_journal"
            )
            return {**world.latest, "journal": journal}
        finally:
            world.close()


def skews_change_nothing(seed: int) -> None:
    straight, skewed = (outcome(seed, skews) for skews in SKEWS)
    for name in straight:
        assert straight[name] == skewed[name], f"I20: {name}"


@pytest.mark.parametrize("seed", range(examples(4)))
def test_constant_skews_of_ten_years_change_nothing(seed: int) -> None:
    skews_change_nothing(seed)
