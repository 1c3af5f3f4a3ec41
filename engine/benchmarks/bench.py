"""What a measurement is.

Knows: clocks and medians. Must not know: the workloads, or what they run on.
A workload is measured as a ratio to a limit that is taken in turns with it, in the same run: the
machine's mood of a moment then meets both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One line of the table.

    ``value`` and ``limit`` are in ``unit``. ``ratio`` is how much of the limit's speed is reached.
    ``met``: whether the target is; None when there is none. ``on``: the server's database.
    """

    workload: str
    what: str
    value: float
    unit: str
    on: str = ""
    limit: float | None = None
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""
    runs: tuple[float, ...] = ()


@dataclass(slots=True)
class Rounds:
    """Seconds of what is measured and of its limit, taken in turns."""

    ours: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Median of limit by ours, pair by pair: 1.0 is as fast as the limit."""
        return statistics.median(a / b for a, b in zip(self.limit, self.ours, strict=True))


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """How long ``work`` takes."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def median(values: list[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def speed(
    workload: str,
    what: str,
    count: int,
    rounds: Rounds,
    *,
    least: float,
    at_least: float = 0,
    on: str = "",
    note: str = "",
) -> Measured:
    """``count`` things a round, as a rate. ``least``: of the limit's; ``at_least``: a second."""
    value = count / median(rounds.ours)
    target = f"at least {least:g} of the limit"
    if at_least:
        target += f", {at_least:,.0f} /s"
    return Measured(
        workload=workload,
        what=what,
        on=on,
        value=value,
        unit="/s",
        limit=count / median(rounds.limit),
        ratio=rounds.ratio,
        target=target,
        met=rounds.ratio >= least and value >= at_least,
        note=note,
        runs=tuple(count / taken for taken in rounds.ours),
    )
