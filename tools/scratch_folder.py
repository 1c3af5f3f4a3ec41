"""The folder in which tests keep their files: in memory, where this machine has room for it.

A commit waits for the disk, and the tests make hundreds of thousands. What they prove needs no
disk: they kill processes, and the files of a killed process are as whole in memory. No test cuts
the power.

The root ``conftest.py`` calls ``choose`` before anything asks for a temporary folder, and the
processes that tests start (browsers, PostgreSQL, servers) inherit ``TMPDIR``. Who sets it chooses
another folder: ``TMPDIR=/tmp make test``. A run in which something failed leaves its folder until
the next run begins.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - asked for its size, and a folder of our own is made in it
PREFIX = "holdfast-tests-"
ROOM_BYTES_MIN = 4 * 2**30
"""A run of all tests needs a tenth of it."""
MEMORY_BYTES_MIN = 2 * ROOM_BYTES_MIN
"""Free in the machine: the folder's size is a promise that nobody has put memory aside for."""


def choose() -> Path | None:
    """Make the folder and let everything use it; None where it is not for this process to do."""
    if "TMPDIR" in os.environ or not _has_room():
        return None
    _remove_left()
    made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=MEMORY))
    made.chmod(0o711)  # PostgreSQL runs as another user, in a folder of its own below
    os.environ["TMPDIR"] = str(made)
    tempfile.tempdir = None  # asked for anew
    return made


def remove(folder: Path) -> None:
    """Give the memory back."""
    shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    if not os.access(MEMORY, os.W_OK):
        return False
    there = os.statvfs(MEMORY)
    with contextlib.suppress(OSError):
        told = Path("/proc/meminfo").read_text()
        free = re.search(r"^MemAvailable: +(\d+) kB", told, re.MULTILINE)
        return (
            there.f_bavail * there.f_frsize >= ROOM_BYTES_MIN
            and free is not None
            and int(free[1]) * 1024 >= MEMORY_BYTES_MIN
        )
    return False


def _remove_left() -> None:
    """Remove the folders of runs that are over."""
    for folder in MEMORY.glob(f"{PREFIX}*"):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdigit() and not Path("/proc", number).exists():
            remove(folder)
