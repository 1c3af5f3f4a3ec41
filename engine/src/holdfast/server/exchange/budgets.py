"""Budgets: how much work one request may make, and how it is cut.

Knows: numbers; ``core.limits`` says what each one means. Must not know: what is counted.
Upholds I31: the time that others wait is bounded by configuration, not by a peer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.core.limits import (
    ANSWERS_PER_DEVICE_MAX,
    DEVICE_REQUEST_EVERY_MS,
    DEVICE_REQUESTS_BURST,
    PUSH_BITE_CHANGES,
    PUSH_WORK_CHANGES_MAX,
    THREADS_PER_DEVICE_MAX,
    VERIFY_SCAN_ROWS_MAX,
    WAITING_PER_DEVICE_MAX,
)
from holdfast.server.push.quotas import Quotas


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Budgets and quotas. Over a budget a request waits, or its answer says how to go on; over a
    quota it is refused."""

    quotas: Quotas = field(default_factory=Quotas)
    threads_per_device_max: int = THREADS_PER_DEVICE_MAX
    answers_per_device_max: int = ANSWERS_PER_DEVICE_MAX
    waiting_per_device_max: int = WAITING_PER_DEVICE_MAX
    bite_changes: int = PUSH_BITE_CHANGES
    push_changes_max: int = PUSH_WORK_CHANGES_MAX
    verify_rows_max: int = VERIFY_SCAN_ROWS_MAX
    device_requests_burst: int = DEVICE_REQUESTS_BURST
    device_request_every_ms: float = DEVICE_REQUEST_EVERY_MS
