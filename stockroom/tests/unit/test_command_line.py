from __future__ import annotations

import json

import pytest

from stockroom.cli import main
from stockroom.cli.device import hoisted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["device", "stock", "--json", "--db", "x"], ["device", "--json", "--db", "x", "stock"]),
        (["device", "--db=x", "find", "--json"], ["device", "--db=x", "--json", "find"]),
        (["device", "find", "--", "--json"], ["device", "find", "--", "--json"]),
        (["device", "stock", "--db"], ["device", "--db", "stock"]),
        (["replay", "f", "--json"], ["replay", "f", "--json"]),
        ([], []),
    ],
)  # fmt: skip
def test_shared_options_may_stand_anywhere(given: list[str], wanted: list[str]) -> None:
    assert hoisted(given) == wanted


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense", "--json"],
        ["device", "--db", "x", "nonsense", "--json"],
        ["device", "stock", "--json"],
        ["replay", "--json"],
        ["replay", "missing.csv", "--json"],
        ["replay", "missing.csv", "--cut", "2", "--json"],
        ["replay", "missing.csv", "--devices", "0", "--json"],
        ["replay", "missing.csv", "--stores", "0", "--json"],
    ],
)
def test_wrong_use_ends_with_2_and_a_message(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["ok"] is False
    assert len(err) > 10
