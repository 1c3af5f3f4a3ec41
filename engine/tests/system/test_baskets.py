"""Worlds with sets that many hands fill and empty, and planted bugs of sets.

Checks I18, I19.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from device import Options
from planted import Patch, Plants
from run import run

from holdfast.core.merging import policies, sets

pytestmark = pytest.mark.slow

WORLDS = (0, 1, 3)
SOMETIMES = ("addition beat a removal", "basket filled", "basket filled directly")


def options() -> Options:
    return Options(devices=3, sets=True)


PLANTS = Plants("sets", seeds_max=8, steps=70, options=options)


@PLANTS.plant_in(5)
def an_addition_loses_to_a_removal_that_has_not_seen_it(patch: Patch) -> None:
    real = sets._Stamps.remove

    def remove(self: Any, element: str, author: Any, *, settled: bool) -> bool:
        return real(self, element, author, settled=True)

    patch.setattr(sets._Stamps, "remove", remove)


@PLANTS.plant
def a_replica_takes_the_whole_set_for_what_was_changed(patch: Patch) -> None:
    table: dict[str, Any] = policies.POLICIES  # type: ignore[assignment]
    whole = table["set"]._replace(replay=lambda _current, _before, after: after)
    patch.setitem(table, "set", whole)


def test_nothing_is_lost_from_a_set_and_nothing_comes_back() -> None:
    happened: Counter[str] = Counter()
    for seed in WORLDS:
        happened += run(f"sets/{seed}", steps=70, options=options())
    assert not [name for name in SOMETIMES if not happened[name]]


@pytest.mark.parametrize("name", PLANTS.bugs)
def test_a_planted_bug_of_sets_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS.find(name, monkeypatch)
