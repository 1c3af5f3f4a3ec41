"""`docs/shop.md`: every command in it runs as it stands there, and together they open a shop."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from holdfast.testing import ServerProcess
from tests.acceptance.conftest import ROOT

pytestmark = pytest.mark.acceptance

GUIDE = ROOT / "docs/shop.md"
FENCE = re.compile(r"^```(sh|csv (?P<name>\S+))\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]+\]\((?P<file>[^)]+)\)")
PICTURE_BYTES_MAX = 600_000
PORT = "8040"
PASSWORD = "quay lantern 4711"


def commands() -> list[str]:
    found = [one["text"] for one in FENCE.finditer(GUIDE.read_text()) if one[1] == "sh"]
    return [line for text in found for line in text.splitlines()]


def test_its_commands_open_a_shop_and_let_a_till_in(tmp_path: Path) -> None:
    for one in FENCE.finditer(GUIDE.read_text()):
        if one["name"]:
            (tmp_path / one["name"]).write_text(one["text"])
    (tmp_path / "password.txt").write_text(PASSWORD + "\n")
    serve, *others = commands()
    assert len(others) >= 8  # they were found
    words = serve.replace("shop.db", str(tmp_path / "shop.db")).replace(PORT, "{port}")
    begin = [sys.executable, "-m", "stockroom.cli", *shlex.split(words)[1:]]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    last = ""
    with ServerProcess(begin, log_path=tmp_path / "server.log") as server:
        assert "set up at " in (tmp_path / "server.out").read_text()
        port = str(urlsplit(server.url).port)
        for line in others:
            ran = subprocess.run(
                ["bash", "-c", line.replace(PORT, port)],
                cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert ran.returncode == 0, f"{line}\n{ran.stdout}\n{ran.stderr}"
            last = ran.stdout
        assert server.terminate() == 0
    assert "24" in last and "Enamel mug" in last  # what came in from the file is at the till


def test_its_pictures_are_there_and_small() -> None:
    named = {(GUIDE.parent / one["file"]) for one in PICTURE.finditer(GUIDE.read_text())}
    kept = set((GUIDE.parent / "pictures").iterdir())
    assert named == kept and len(kept) >= 5
    assert sum(one.stat().st_size for one in kept) < PICTURE_BYTES_MAX
