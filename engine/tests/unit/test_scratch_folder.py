"""Tests keep their files in memory where there is room, and give it back."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import scratch_folder

NOBODYS_PID = 2**30  # above what Linux gives away


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scratch_folder, "MEMORY", tmp_path)
    monkeypatch.setattr(scratch_folder, "ROOM_BYTES_MIN", 0)
    monkeypatch.setattr(scratch_folder, "MEMORY_BYTES_MIN", 0)
    # `choose` sets it; noted here, it is as before afterwards.
    monkeypatch.setenv("TMPDIR", os.environ.get("TMPDIR", "/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)
    del os.environ["TMPDIR"]
    return tmp_path


def test_a_folder_is_made_and_everything_uses_it(memory: Path) -> None:
    made = scratch_folder.choose()
    assert made is not None and made.parent == memory
    assert Path(tempfile.mkdtemp()).parent == made
    scratch_folder.remove(made)
    assert not made.exists()


def test_who_has_chosen_a_folder_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert scratch_folder.choose() is None
    assert os.environ["TMPDIR"] == "/elsewhere"


@pytest.mark.parametrize("limit", ["ROOM_BYTES_MIN", "MEMORY_BYTES_MIN"])
def test_a_small_machine_has_its_files_on_its_disk(
    limit: str, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch_folder, limit, 2**60)
    assert scratch_folder.choose() is None
    assert "TMPDIR" not in os.environ and list(memory.iterdir()) == []


def test_what_a_run_has_left_goes_when_it_is_over(memory: Path) -> None:
    over = memory / f"{scratch_folder.PREFIX}{NOBODYS_PID}-x"
    goes_on = memory / f"{scratch_folder.PREFIX}{os.getpid()}-x"
    others = memory / "somebody's"
    for folder in (over, goes_on, others):
        folder.mkdir()
    assert scratch_folder.choose() is not None
    assert not over.exists()
    assert goes_on.exists() and others.exists()
