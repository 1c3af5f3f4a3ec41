"""Checks of a step of the tour: each in words, and the first one that fails ends the step.

Knows: words and truth values. Must not know: the story or the stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.testing import wait_until

PATIENCE_S = 20.0
"""How long a step waits for what has to happen by itself."""


class CheckFailedError(AssertionError):
    """A promise did not hold; the message says which."""


@dataclass(slots=True)
class Checks:
    """Collects evidence; `tell` hears of every line as it comes."""

    tell: Callable[[str], None]
    evidence: list[str] = field(default_factory=list)

    def that(self, held: bool, what: str) -> None:
        """Note `what` as shown. Raises `CheckFailedError` if it did not hold."""
        if not held:
            raise CheckFailedError(what)
        self.evidence.append(what)
        self.tell(what)

    def equal(self, found: object, wanted: object, what: str) -> None:
        """Note `what` if both are equal."""
        if found != wanted:
            raise CheckFailedError(f"{what}: found {found!r}, wanted {wanted!r}")
        self.that(True, what)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, at most `PATIENCE_S` seconds, and note `what`."""
        try:
            wait_until(condition, PATIENCE_S, what)
        except TimeoutError as error:
            raise CheckFailedError(str(error)) from None
        self.that(True, what)
