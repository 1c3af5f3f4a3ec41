"""Named points at which a test may kill the process, to prove that nothing is half done.

Knows: names and counts. Must not know: what happens at a point.
``HOLDFAST_FAILPOINT="name:count"`` sends SIGKILL to the own process when it passes the point for
the ``count``-th time; without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "HOLDFAST_FAILPOINT"

_name, _, _count = os.environ.get(VARIABLE, "").partition(":")
_target = int(_count or "1")
_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Pass a named point; the last one, if the environment says so."""
    if name == _name:
        _passed[name] += 1
        if _passed[name] == _target:
            os.kill(os.getpid(), signal.SIGKILL)
