"""A world that is wrong is told by the seed that makes it again; the others go on."""

from __future__ import annotations

import pytest
import sweep
from test_power import PLANTS

pytestmark = pytest.mark.slow


def test_a_wrong_world_is_told_with_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bug, first = PLANTS.bugs["retried_work_keeps_its_refused_twin"]
    bug(monkeypatch)
    seeds = [f"power/{number}" for number in range(first, first + 3)]
    assert sweep.main(["--steps", "70", *seeds]) == 1
    again = [line for line in capsys.readouterr().out.splitlines() if line.startswith("again: ")]
    commands = {f"again: {sweep.COMMAND} --steps 70 --devices 3 {seed}" for seed in seeds}
    assert again and commands.issuperset(again)


def test_worlds_that_are_right_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["--steps", "10", "sweep/1"]) == 0
    assert capsys.readouterr().out == ""
