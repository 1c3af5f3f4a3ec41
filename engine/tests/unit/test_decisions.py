"""Decisions have the form that the first of them prescribes, alternatives included."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[3] / "docs" / "decisions"
PARTS = ("Status", "Context", "Decision", "Consequences", "Alternatives")


def pages() -> list[Path]:
    return sorted(FOLDER.glob("*.md"))


def test_each_has_a_number_of_its_own() -> None:
    assert [int(page.name[:4]) for page in pages()] == list(range(len(pages())))


def test_each_says_what_it_was_weighed_against() -> None:
    prescribed = re.findall(r"^- \*\*(\w+)\*\*:", pages()[0].read_text("utf-8"), re.MULTILINE)
    assert tuple(prescribed) == PARTS
    for page in pages()[1:]:
        text = page.read_text(encoding="utf-8")
        parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
        assert tuple(parts) == PARTS, page.name
        weighed = text.partition("**Alternatives.**")[2]
        assert len(weighed.split()) > 20, f"{page.name} names no alternative"
