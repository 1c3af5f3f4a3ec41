"""What the launcher starts is a process like any other: killed, stopped, waited for, alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.testing import launching, wait_until

ECHO = """
import os, pathlib, random, sys
import {package}.loaded
print(sys.argv[1:], sys.stdin.read(), os.environ.get("WORD"), pathlib.Path.cwd().name,
      {package}.loaded.BY, random.random(), sep="|")
print("aside", file=sys.stderr)
pathlib.Path("made").touch()
sys.exit(7)
"""
WAIT = "import sys, time; print('begun', flush=True); time.sleep(600)"
LOADED = "import os; BY = os.getpid()"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A package with two commands, which this test's launcher has loaded."""
    name = "commands_of_a_test"
    folder = tmp_path_factory.mktemp("packages") / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "loaded.py").write_text(LOADED)
    for command, text in (("echo", ECHO.format(package=name)), ("wait", WAIT)):
        (folder / command).mkdir()
        (folder / command / "__init__.py").touch()
        (folder / command / "__main__.py").write_text(text)
    before, launching._launcher = launching._launcher, None
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(folder.parent)
    try:
        with launching.launching(name):
            yield name
    finally:
        launching._launcher = before
        os.environ.pop("PYTHONPATH")
        if path is not None:
            os.environ["PYTHONPATH"] = path


def test_a_command_has_a_world_of_its_own(package: str, tmp_path: Path) -> None:
    found = set()
    for word in ("one", "two"):
        mask = os.umask(0o077 if word == "one" else 0o027)
        try:
            done = launching.run(
                [sys.executable, "-m", f"{package}.echo", "a b", word],
                input="typed", env={**os.environ, "WORD": word}, cwd=tmp_path,
            )  # fmt: skip
        finally:
            os.umask(mask)
        assert (done.returncode, done.stderr) == (7, "aside\n")
        *said, loaded_by, drawn = done.stdout.strip().split("|")
        assert said == [str(["a b", word]), "typed", word, tmp_path.name]
        made = tmp_path / "made"
        assert made.stat().st_mode & 0o777 == (0o600 if word == "one" else 0o640)
        made.unlink()
        found.add((loaded_by, drawn))
    assert len({loaded_by for loaded_by, _ in found}) == 1, "loaded once, for both"
    assert str(os.getpid()) not in {loaded_by for loaded_by, _ in found}
    assert len({drawn for _, drawn in found}) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_is_killed_alone(package: str, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        first, second = (
            launching.start([sys.executable, "-m", f"{package}.wait"], stdout=stdout)
            for _ in range(2)
        )
    wait_until(lambda: out.read_text() == "begun\n" * 2, what="both")
    assert first.poll() is None
    first.send_signal(number)
    assert first.wait(60) == -number
    with pytest.raises(ProcessLookupError):
        os.kill(first.pid, 0)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.05)
    second.kill()
    assert (second.wait(60), second.poll(), second.returncode) == (-9, -9, -9)
    second.kill()  # harmless when it has ended


def test_what_takes_too_long_is_killed(package: str, tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        launching.run([sys.executable, "-m", f"{package}.wait"], timeout=0.5, cwd=tmp_path)


def test_many_are_started_at_once(package: str, tmp_path: Path) -> None:
    def run(number: int) -> str:
        command = [sys.executable, "-m", f"{package}.echo", number]
        return launching.run(command, cwd=tmp_path, merged=True).stdout

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(run, range(16)))
    assert [text.partition("|")[0] for text in said] == [str([str(n)]) for n in range(16)]
    assert all("aside" in text for text in said)


def test_any_other_command_is_started_as_ever(package: str) -> None:
    assert launching.run([sys.executable, "-c", "import sys; sys.exit(3)"]).returncode == 3
    other = {**os.environ, "PYTHONHASHSEED": "1"}
    done = launching.run([sys.executable, "-m", f"{package}.loaded"], env=other)
    assert (done.returncode, done.stderr) == (0, "")
