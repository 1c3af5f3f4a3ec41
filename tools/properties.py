"""How the property tests draw: the same each time, or something new each time.

The root ``conftest.py`` calls ``load``, before any test is read. There are two profiles:

- ``repeatable``, the default: the same code draws the same examples on every machine and in every
  run. A run of the tests must not fail, nor pass, by luck.
- ``search``, where ``HOLDFAST_SEARCH`` has a number: drawn by chance (``--hypothesis-seed`` repeats
  it), and that many times as many. ``make search`` sets it.

Where ``HOLDFAST_EXAMPLES`` has a number, each draws that part of its usual many: ``make test-fast``
sets it.

A test says how many it needs by ``@settings(max_examples=examples(60))``, and nothing else: all
else is the profile's to say. A property that is declared inside a test does not show: that test is
marked ``hypothesis`` by hand.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

VARIABLE = "HOLDFAST_SEARCH"
PART = "HOLDFAST_EXAMPLES"
USUAL = 100
"""For a property that does not say how many examples it needs."""


def examples(count: int) -> int:
    """How many examples to draw where ``count`` are enough for every run of the tests."""
    times = float(os.environ.get(VARIABLE) or 1) * float(os.environ.get(PART) or 1)
    return max(1, round(count * times))


def load() -> None:
    """Make one of the profiles the default of what is declared from here on."""
    common = settings(
        database=None,  # what an earlier run has found is nothing that this one may depend on
        deadline=None,  # how long an example takes says how busy the machine is
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],  # for the same reason
        max_examples=examples(USUAL),
    )
    settings.register_profile("repeatable", common, derandomize=True)
    settings.register_profile("search", common, derandomize=False)
    settings.load_profile("search" if os.environ.get(VARIABLE) else "repeatable")
