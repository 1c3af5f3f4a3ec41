"""Plays the tour: the eight steps in order, each with its evidence.

Knows: the steps' names and order. Must not know: how they are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from holdfast.core.errors import HoldfastError
from holdfast.testing import ServerStartError
from stockroom.tour import steps, troubles
from stockroom.tour.checks import CheckFailedError, Checks
from stockroom.tour.stage import Stage


@dataclass(frozen=True, slots=True)
class Step:
    """One promise: its name, what happens, and the function that plays and checks it."""

    name: str
    story: str
    play: Callable[[Stage, Checks], None]


STEPS: Final = (
    Step(
        "Local storage",
        "A shipment arrives. Ana opens the app on her tablet; the connection drops as she works.",
        steps.local_storage,
    ),
    Step(
        "Change tracking",
        "She goes on. Everything she typed is on the tablet, marked as not yet sent.",
        steps.change_tracking,
    ),
    Step(
        "Connection detection",
        "The connection returns, at first through a Wi-Fi that wants her to sign in.",
        steps.connection_detection,
    ),
    Step(
        "Synchronization",
        "The app sends what is pending; Ben's phone fetches it.",
        steps.synchronization,
    ),
    Step(
        "Conflict resolution",
        "Ana and Ben both sell, rename and reprice the same mug, both without a connection.",
        troubles.conflict_resolution,
    ),
    Step(
        "Acknowledgement",
        "Answers get lost, and two of Ana's changes cannot be accepted.",
        troubles.acknowledgement,
    ),
    Step(
        "Consistency check",
        "Does the tablet really hold what the server holds? Even after its disk has lied?",
        troubles.consistency_check,
    ),
    Step(
        "Errors and retry",
        "A bad afternoon: lost answers, a killed server, a captive portal.",
        troubles.errors_and_retry,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """Result of a step."""

    n: int
    name: str
    ok: bool
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TourReport:
    """`ok` is true only if all eight steps held."""

    ok: bool
    steps: tuple[StepResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


class Narrator(Protocol):
    """Hears the story as it happens."""

    def begin(self, number: int, step: Step) -> None: ...
    def show(self, what: str) -> None: ...
    def fail(self, what: str) -> None: ...


def play(narrator: Narrator) -> TourReport:
    """Play all eight steps; a step builds on those before, so after a failure none is played."""
    results: list[StepResult] = []
    try:
        with Stage() as stage:
            steps.seed(stage)
            for number, step in enumerate(STEPS, start=1):
                results.append(_play_step(stage, narrator, number, step))
                if not results[-1].ok:
                    break
    except (HoldfastError, ServerStartError, OSError) as error:
        narrator.fail(f"the stage could not be set: {error}")
    for number, step in enumerate(STEPS[len(results) :], start=len(results) + 1):
        evidence = ("not played, because an earlier step failed",)
        results.append(StepResult(n=number, name=step.name, ok=False, evidence=evidence))
    return TourReport(ok=all(result.ok for result in results), steps=tuple(results))


def _play_step(stage: Stage, narrator: Narrator, number: int, step: Step) -> StepResult:
    narrator.begin(number, step)
    checks = Checks(tell=narrator.show)
    failure = ""
    try:
        step.play(stage, checks)
    except (CheckFailedError, AssertionError) as error:
        failure = f"did not hold: {error}"
    except HoldfastError as error:
        failure = f"failed: {error}"
    if failure:
        narrator.fail(failure)
        checks.evidence.append(failure)
    return StepResult(n=number, name=step.name, ok=not failure, evidence=tuple(checks.evidence))
