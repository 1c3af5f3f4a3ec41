"""Locks on files, and a package that can be used where there are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.sqlite.locks import LOCK_EX, LOCK_NB, LOCK_UN, flock

_WITHOUT = """
import sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
import os
for name in ("O_CLOEXEC", "register_at_fork", "fork", "geteuid", "getuid"):
    if hasattr(os, name):
        delattr(os, name)
from holdfast import Column, Replica, Schema, Table
s = Schema(name="n", tables=(Table(name="t", key=("id",), scopes=("a",), columns=(Column("id"),)),))
with Replica.open(sys.argv[1], s) as replica:
    with replica.transaction() as db:
        db.execute("INSERT INTO t VALUES ('1')")
    replica.seal()
    print(replica.status.pending, replica.query("SELECT id FROM t"))
"""


def test_a_replica_is_used_where_the_system_has_no_such_locks(tmp_path: Path) -> None:
    """What Windows does not have is hidden; there, its own locks take their place."""
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, tmp_path / "a.db"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1 [('1',)]"


def test_one_has_it_until_it_is_let_go_or_closed(tmp_path: Path) -> None:
    one, other = (os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR) for _ in range(2))
    flock(one, LOCK_EX | LOCK_NB)
    with pytest.raises(BlockingIOError):
        flock(other, LOCK_EX | LOCK_NB)
    flock(one, LOCK_UN)
    flock(other, LOCK_EX | LOCK_NB)
    os.close(other)
    flock(one, LOCK_EX | LOCK_NB)
    os.close(one)
