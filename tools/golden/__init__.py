"""Golden vectors: what every implementation of the protocol must do, as files of cases.

A file of `protocol/vectors/` is `{"about": ..., "cases": [{"name", "in", "out"}]}`. A *family*
makes the inputs once (`inputs`) and knows how Python answers them (`answer`); other languages have
their own `answer`. `python -m golden` writes the files; a test only runs what is stored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "protocol" / "vectors"

Case = tuple[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One file of cases."""

    name: str
    about: str
    inputs: Callable[[], Iterable[Case]]
    answer: Callable[[dict[str, Any]], Any]
    recorded: bool = False
    """Its inputs were recorded, and are kept: another recording would be another story."""

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.json"

    def stored(self) -> list[dict[str, Any]]:
        cases: list[dict[str, Any]] = json.loads(self.path.read_text(encoding="utf-8"))["cases"]
        return cases

    def document(self, *, anew: bool = False) -> str:
        """The file as it would be made now: one case a line, ASCII, so that no tool mends it.

        ``anew``: record anew what was recorded.
        """
        given_cases = self.inputs()
        if self.recorded and self.path.is_file() and not anew:
            given_cases = [(case["name"], case["in"]) for case in self.stored()]
        cases = [
            json.dumps({"name": name, "in": given, "out": self.answer(given)})
            for name, given in given_cases
        ]
        body = ",\n    ".join(cases)
        about = json.dumps(self.about)
        return f'{{\n  "about": {about},\n  "cases": [\n    {body}\n  ]\n}}\n'
