"""How much work one request may make, and how it is cut.

Knows: numbers; ``core.limits`` says what each one means. Must not know: what is counted.
Upholds I31: the time that others wait is bounded by configuration, not by a peer.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.limits import PUSH_BITE_CHANGES, PUSH_WORK_CHANGES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What is over a budget is not refused: the answer says how to go on."""

    bite_changes: int = PUSH_BITE_CHANGES
    push_changes_max: int = PUSH_WORK_CHANGES_MAX
