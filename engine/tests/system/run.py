"""One world, from its beginning to its rest."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from again import same_again
from chance import between, heal, step
from checks import after_step, at_rest
from device import Options
from world import World


def run(seed: int | str, *, steps: int = 60, options: Options | None = None) -> Counter[str]:
    """Raises at the first thing that is not as it must be; else what happened, counted."""
    with tempfile.TemporaryDirectory(prefix="holdfast-world-") as folder:
        world = World(Path(folder), seed, options)
        try:
            for _ in range(steps):
                step(world)
                between(world)
                after_step(world)
                for device in world.devices:
                    world.note_held(device)
            heal(world)
            at_rest(world)
            if world.options.growth:
                heal(world, newest=True)
                at_rest(world)
            same_again(world)
            world.count_what_happened()
        except AssertionError as error:
            error.add_note(f"seed {seed!r}, {steps} steps: {', '.join(world.trace[-8:])}")
            raise
        finally:
            world.close()
        return world.count
