"""How much is done in a run.

Knows: numbers. Must not know: what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is done. Shrunk, the figures mean little; they show that everything works."""

    rounds: int = 3
    load: int = 100_000
    loads: int = 3
    batch: int = 10_000
    warm: int = 30_000
    single_full: int = 400
    single_normal: int = 4_000
    upload: int = 10_000
    live: int = 300
    changed: int = 25
    held: tuple[int, ...] = (10_000, 100_000)


QUICK: Final = Sizes(
    rounds=1,
    load=300,
    loads=1,
    batch=500,
    warm=10,
    single_full=16,
    single_normal=64,
    upload=200,
    live=5,
    held=(200,),
    changed=1,
)
