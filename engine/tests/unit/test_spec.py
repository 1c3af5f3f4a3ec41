"""The specification and the code say the same: invariants with their tests, codes, states."""

from __future__ import annotations

import re
from pathlib import Path

from holdfast.core.connection.connectivity import State
from holdfast.protocol.version import PROTOCOL

ROOT = Path(__file__).parents[3]
SPEC = ROOT / "protocol" / "SPEC.md"
SOURCE = ROOT / "engine" / "src" / "holdfast"


def invariants() -> dict[int, str]:
    text = SPEC.read_text(encoding="utf-8")
    rows = re.findall(r"^\| I(\d+) \| (.+) \|$", text, re.MULTILINE)
    return {int(number): rest for number, rest in rows}


def test_all_37_invariants_are_listed_once():
    text = SPEC.read_text(encoding="utf-8")
    assert len(re.findall(r"^\| I\d+ \|", text, re.MULTILINE)) == 37
    assert sorted(invariants()) == list(range(1, 38))


def test_each_names_its_test_or_says_not_yet():
    for number, row in invariants().items():
        links = re.findall(r"\]\((\.\./[^)]+)\)", row)
        assert links or "not yet" in row, f"I{number} says neither"
        for link in links:
            path = (SPEC.parent / link).resolve()
            assert path.is_file(), f"I{number}: {link} is not there"
            test = r"^ *test(\.each)?\(" if path.suffix == ".ts" else "def test_"
            text = path.read_text(encoding="utf-8")
            assert re.search(test, text, re.MULTILINE), f"I{number}: {link} has no test"


def test_every_code_of_the_server_is_documented():
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


def test_states_and_version_are_those_of_the_code():
    text = SPEC.read_text(encoding="utf-8")
    assert f"protocol, version {PROTOCOL}" in text
    for state in State:
        assert f"`{state.value}`" in text, state
