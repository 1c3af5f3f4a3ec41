"""A server that cannot open its database says what its operator can do, and leaves files alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.testing import free_port, launching

pytestmark = pytest.mark.acceptance

COUNTER = Path(__file__).resolve().parents[3] / "examples/counter/schema.json"
OF_A_DEVICE = ("replica", "device", "what waits", "ync goes on")


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_file_that_is_no_database_stays_as_it_is(command: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but somebody's notes\n")
    file.chmod(0o644)
    done = _run(command, str(file))
    assert done.returncode == 1, done.stderr
    assert "database_corrupt" in done.stderr
    assert "right file" in done.stderr
    assert not [word for word in OF_A_DEVICE if word in done.stderr], done.stderr
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.read_text() == "not a database, but somebody's notes\n"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "database", ["missing/folder/server.db", "postgresql://nobody@127.0.0.1:{port}/none"]
)
def test_the_way_out_is_the_operators(database: str, tmp_path: Path) -> None:
    database = database.format(port=free_port())
    done = _run("serve", database if "://" in database else str(tmp_path / database))
    assert done.returncode == 1, done.stderr
    words = " ".join(done.stderr.split())
    assert ("be reached" if "://" in database else "has to be made first") in words
    assert not [word for word in OF_A_DEVICE if word in words], words


def test_a_document_has_it_too(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but somebody's notes\n")
    error = json.loads(_run("check", str(file), "--json").stdout.splitlines()[-1])["error"]
    assert error["code"] == "database_corrupt"
    assert "right file" in error["way_out"]


def _run(command: str, database: str, *more: str) -> subprocess.CompletedProcess[str]:
    return launching.run(
        [sys.executable, "-m", "holdfast.cli", command, "--schema", COUNTER, "--database",
         database, *more], timeout=120,
    )  # fmt: skip
