"""Python answers the golden vectors as it did when they were made."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from golden import FOLDER
from golden.families import FAMILIES

LONG = {"files", "groups", "replica", "sets"}
"""Families of whole replicas and servers."""


def damaged_files(case: Any) -> int:
    """How many of the files that a case holds are not what their names say."""
    steps = case["in"].get("steps", ()) if isinstance(case["in"], dict) else ()
    return sum(
        hashlib.sha256(base64.b64decode(body)).hexdigest() != sha256
        for step in steps
        for sha256, body in step.get("files", {}).items()
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in sorted(FAMILIES)
    ],
)
def test_python_answers_as_stored(name: Any, caplog: pytest.LogCaptureFixture) -> None:
    """And no file is refused but the damaged ones."""
    family = FAMILIES[name]
    cases = family.stored()
    assert len(cases) >= 10
    differing = [
        (case["name"], answer, case["out"])
        for case in cases
        # Through JSON, as the stored answer went: tuples become lists.
        if (answer := json.loads(json.dumps(family.answer(case["in"])))) != case["out"]
    ]
    assert not differing, differing[:3]
    refused = [record for record in caplog.records if record.name == "holdfast.loading"]
    assert len(refused) == sum(map(damaged_files, cases))


def test_every_file_has_a_family_and_every_family_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(FAMILIES)


def test_hashes_are_those_that_others_have_published() -> None:
    published = {
        # RFC 7693, appendix B.
        "RFC 7693 blake2s-256 of abc": (
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
        ),
        # BLAKE2's authors, blake2s keyed test vectors, the first two.
        "keyed, empty": "48a8997da407876b3d79c0d92325ad3b89cbb754d86ab71aee047ad345fd2c49",
        "keyed, one zero byte": "40d15fee7c328830166ac3f918650f807e7e01e177258cdc0a39b11f598066f1",
    }
    stored = {case["name"]: case["out"] for case in FAMILIES["digests"].stored()}
    assert {name: stored[name] for name in published} == published


def test_encodings_are_those_worked_out_by_hand() -> None:
    by_hand = [
        "00",  # NULL
        "010000000000000001",  # 1
        "01ffffffffffffffff",  # -1, two's complement
        "023ff0000000000000",  # 1.0, IEEE 754
        "020000000000000000",  # -0.0 becomes 0.0
        "030000000161",  # "a"
        "0300000002c3a9",  # "é" in UTF-8
        "040000000200ff",
        "0300000000",
        "0400000000",
    ]  # fmt: skip
    stored = FAMILIES["encoding"].stored()
    assert [case["out"] for case in stored[: len(by_hand)]] == by_hand


def test_sessions_cover_every_event_in_every_state() -> None:
    covered = {
        tuple(case["name"].split(": "))
        for case in FAMILIES["session"].stored()
        if ": " in case["name"]
    }
    assert len(covered) == 10 * 18
