"""One world of copied, restored and lost files, from its beginning to its rest."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from chance import heal
from copies import Copies, step
from device import Options
from exactly_once import after_step, at_rest


def run_copies(
    seed: int | str, *, steps: int = 40, options: Options | None = None, server: bool = False
) -> Counter[str]:
    """Raises at the first thing that is not as it must be; else what happened, counted."""
    with tempfile.TemporaryDirectory(prefix="holdfast-copies-") as folder:
        world = Copies(Path(folder), seed, options, server=server)
        try:
            for _ in range(steps):
                step(world)
                after_step(world)
            heal(world)
            at_rest(world)
            for file in world.devices:
                for event in file.replica.history():
                    world.count[f"told: {event.kind}"] += 1
                    world.count["already there"] += event.already_there
        except AssertionError as error:
            error.add_note(f"seed {seed!r}, {steps} steps: {', '.join(world.trace[-12:])}")
            raise
        finally:
            world.close()
        return world.count
