"""The specification and the code say the same: invariants with their tests, codes, states."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from holdfast.core.connection.connectivity import State
from holdfast.protocol.version import PROTOCOL

ROOT = Path(__file__).parents[3]
SPEC = ROOT / "protocol" / "SPEC.md"
SOURCE = ROOT / "engine" / "src" / "holdfast"
TESTS = ("engine/tests", "browser/tests", "stockroom/tests", "stockroom/web/tests")
A_TEST = r"^ *(?:test(?:\.each)?\(|(?:async )?def test_)"


def invariants() -> dict[int, str]:
    text = SPEC.read_text(encoding="utf-8")
    rows = re.findall(r"^\| I(\d+) \| (.+) \|$", text, re.MULTILINE)
    return {int(number): rest for number, rest in rows}


def test_all_37_invariants_are_listed_once() -> None:
    text = SPEC.read_text(encoding="utf-8")
    assert len(re.findall(r"^\| I\d+ \|", text, re.MULTILINE)) == 37
    assert sorted(invariants()) == list(range(1, 38))


def held_by() -> dict[Path, set[int]]:
    """What SPEC.md says: the invariants that each file of tests holds."""
    held: dict[Path, set[int]] = defaultdict(set)
    for number, row in invariants().items():
        for link in re.findall(r"\]\((\.\./[^)]+)\)", row):
            held[(SPEC.parent / link).resolve()].add(number)
    return held


def said(text: str) -> set[int]:
    """What a file says at its head that it checks."""
    head = re.match(r'\s*(?:"""(.*?)"""|/\*\*(.*?)\*/)', text, re.DOTALL)
    sentence = r"^[ *]*Checks (I\d+(?:,[\s*]+I\d+)*)\.$"
    found = re.findall(sentence, head[0] if head else "", re.MULTILINE)
    return {int(number) for listed in found for number in re.findall(r"I(\d+)", listed)}


def named(text: str) -> set[int]:
    """The invariants that are named anywhere in it."""
    return {int(found) for found in re.findall(r"\bI(\d+)\b", text) if 1 <= int(found) <= 37}


def files_of_tests() -> list[Path]:
    here = Path(__file__).resolve()
    found = (path for place in TESTS for path in (ROOT / place).rglob("*.*"))
    return [
        path
        for path in sorted(found)
        if path.suffix in (".py", ".ts") and "node_modules" not in path.parts and path != here
    ]


def test_each_names_its_test_or_says_not_yet() -> None:
    for number, row in invariants().items():
        links = re.findall(r"\]\((\.\./[^)]+)\)", row)
        assert links or "not yet" in row, f"I{number} says neither"
        for link in links:
            path = (SPEC.parent / link).resolve()
            assert path.is_file(), f"I{number}: {link} is not there"
            text = path.read_text(encoding="utf-8")
            assert re.search(A_TEST, text, re.MULTILINE), f"I{number}: {link} has no test"


def test_each_test_names_the_invariants_that_it_holds() -> None:
    held = held_by()
    assert len(held) > 60
    for path in sorted({*files_of_tests(), *held}):
        text = path.read_text(encoding="utf-8")
        if not re.search(A_TEST, text, re.MULTILINE):
            continue
        place = path.relative_to(ROOT)
        assert said(text) == held.get(path, set()), f"{place} and SPEC.md do not say the same"
        assert named(text) <= said(text), f"{place} names more than it says at its head"


def test_what_helpers_of_tests_look_at_is_held_by_a_test_beside_them() -> None:
    beside: dict[Path, set[int]] = defaultdict(set)
    for path in files_of_tests():
        beside[path.parent] |= said(path.read_text(encoding="utf-8"))
    for path in files_of_tests():
        text = path.read_text(encoding="utf-8")
        if not re.search(A_TEST, text, re.MULTILINE):
            assert named(text) <= beside[path.parent], path.relative_to(ROOT)


def test_every_code_of_the_server_is_documented() -> None:
    text = SPEC.read_text(encoding="utf-8")
    used: set[str] = set()
    for module in [*(SOURCE / "server").rglob("*.py"), *(SOURCE / "protocol").glob("*.py")]:
        source = module.read_text(encoding="utf-8")
        for call in re.findall(r"(?:ProtocolError|Refuse)\((.*?)\)\n", source, re.DOTALL):
            used |= set(re.findall(r'code="([a-z_]+)"', call))
            used |= set(re.findall(r'^\s*"([a-z_]+)",', call))
    assert len(used) > 15
    missing = sorted(code for code in used if f"`{code}`" not in text)
    assert not missing, f"not in SPEC.md: {missing}"


def test_states_and_version_are_those_of_the_code() -> None:
    text = SPEC.read_text(encoding="utf-8")
    assert f"protocol, version {PROTOCOL}" in text
    for state in State:
        assert f"`{state.value}`" in text, state
