"""The examples of the guide run, in order, as they are printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

GUIDE = Path(__file__).parents[3] / "docs" / "guide.md"

pytestmark = pytest.mark.acceptance


def test_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, Any] = {}
    try:
        for number, block in enumerate(blocks):
            exec(compile(block, f"guide block {number}", "exec"), names)
    finally:
        for closing in ("till_1", "till_2", "server"):
            if closing in names:
                names[closing].close()
