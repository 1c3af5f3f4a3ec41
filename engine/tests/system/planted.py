"""Bugs that are planted on purpose, and how soon a family of worlds finds them.

Knows: worlds and their seeds. Must not know: what a bug does. A bug may name the world to begin
with: one that finds it, so that finding is cheap; the next follow when that one does no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from device import Options
from run import run

from holdfast.core.errors import HoldfastError

Patch = pytest.MonkeyPatch
Plant = Callable[[Patch], None]


@dataclass
class Plants:
    """The bugs of one family. ``options`` makes those of each world anew: worlds change them."""

    worlds: str
    seeds_max: int
    steps: int
    options: Callable[[], Options] = lambda: Options(devices=3)
    world: Callable[..., object] = run
    """How one of them is run."""
    bugs: dict[str, tuple[Plant, int]] = field(default_factory=dict)

    def plant(self, bug: Plant) -> Plant:
        return self.plant_in(0)(bug)

    def plant_in(self, first: int) -> Callable[[Plant], Plant]:
        """``first``: the world to begin with."""

        def put(bug: Plant) -> Plant:
            self.bugs[bug.__name__] = bug, first
            return bug

        return put

    def find(self, name: str, patch: Patch) -> None:
        """Fails when no world finds it."""
        bug, first = self.bugs[name]
        bug(patch)
        for seed in range(first, first + self.seeds_max):
            try:
                self.world(f"{self.worlds}/{seed}", steps=self.steps, options=self.options())
            except (AssertionError, HoldfastError):
                return
        pytest.fail(f"{name} was not found within {self.seeds_max} worlds")
