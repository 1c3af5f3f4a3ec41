"""A command that is told to end says so by its exit code, whatever it was at in that moment."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

BOTH = (signal.SIGINT, signal.SIGTERM)
ENDS_S = 120
AT_A_DEFINITION = """
import typer
from holdfast.cli.ending import interruptible
from holdfast.cli.output import reported

def command(number: int):
    with reported(as_json=False), interruptible():
        # Each dataclass and named tuple that is being defined passes through such a text.
        text = f"import os; os.kill(os.getpid(), {number}); [None for _ in range(99)]"
        exec(text)

typer.run(command)
"""
AGAIN_AND_AGAIN = """
import os, random, signal, sys, threading, time
from contextlib import nullcontext
from holdfast.cli import ending
from holdfast.cli.ending import Interrupted, interruptible, told_to_end

ending.END_WAKE_S = 0.0002  # wakes as often as it can: just then when something ends
sys.setswitchinterval(1e-6)
number = signal.Signals(int(sys.argv[1]))
rng = random.Random(number)
passed_on = []

def outside(number, _frame):
    passed_on.append(number)

# What is raised inside a destructor goes no further; the thread's grace is for such commands.
swallowed = []
sys.unraisablehook = lambda what: swallowed.append(what.exc_type)
signal.signal(number, outside)
before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
for turn in range(200):
    raised, asked = [], []
    send = threading.Timer(rng.uniform(0, 0.003), os.kill, (os.getpid(), number))
    passed_on.clear()
    swallowed.clear()
    nested = turn % 3 != 0
    until = time.monotonic() + rng.uniform(0.0005, 0.004)
    send.start()
    try:
        with interruptible() if nested else nullcontext():
            try:
                with told_to_end() if turn % 5 == 0 else interruptible() as told:
                    while time.monotonic() < until and not (told and told.told):
                        pass
                    if told and told.told:
                        asked.append("inner")
            except Interrupted:
                raised.append("inner")
            for _ in range(rng.choice([0, 500, 5000])):
                pass
    except Interrupted:
        raised.append("outer")
    send.join()
    for _ in range(100):
        pass
    heard = raised + asked + ["outside"] * len(passed_on) + swallowed
    if len(heard) == 0 and turn % 5 == 0:
        heard = ["told at the end of a block that asks"]
    assert len(heard) == 1, (turn, heard)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before, turn
    assert threading.active_count() == 1, (turn, threading.enumerate())
    assert signal.set_wakeup_fd(-1) == -1, turn
"""


def _run(folder: Path, program: str, number: int) -> subprocess.CompletedProcess[str]:
    (folder / "told.py").write_text(program)
    return subprocess.run(
        [sys.executable, "-m", "told", str(number)],
        cwd=folder, capture_output=True, text=True, timeout=ENDS_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_while_a_class_is_being_defined(tmp_path: Path, number: int) -> None:
    done = _run(tmp_path, AT_A_DEFINITION, number)
    assert "interrupted; nothing is lost" in done.stderr
    assert done.returncode == 130, done.stderr


@pytest.mark.parametrize("number", BOTH)
def test_one_signal_is_heard_once_at_any_moment(tmp_path: Path, number: int) -> None:
    done = _run(tmp_path, AGAIN_AND_AGAIN, number)
    assert done.returncode == 0, done.stderr
