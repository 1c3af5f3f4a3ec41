"""The disk is full: the write fails loudly, nothing is half done, and sync goes on later.

Checks I33.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast import DatabaseError, Replica

if TYPE_CHECKING:
    from engine.tests.acceptance.conftest import MakeWorld, World

pytestmark = pytest.mark.acceptance

SIZE_KIB = 2048
WRITES_MAX = 400
TEXT = "x" * 20_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    where = tmp_path / "small"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "tmpfs", str(where)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def _fill(where: Path, *, leave_kib: int) -> Path:
    """Take the space, but for a little."""
    free = os.statvfs(where)
    filler = where / "filler"
    filler.write_bytes(b"\0" * max(0, free.f_bavail * free.f_frsize - leave_kib * 1024))
    return filler


def _write(replica: Replica, number: int) -> DatabaseError | None:
    """A transaction of two writes; what it failed with."""
    try:
        with replica.transaction() as db:
            db.execute("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'screw'")
            db.execute("INSERT INTO stock (sku, name) VALUES (?, ?)", [f"p{number:03}", TEXT])
    except DatabaseError as error:
        return error
    return None


def test_a_device_without_space(world: World, small_disk: Path) -> None:
    b = world.device("b", "token-b")
    a = world.device("a", "token-a")
    moved = small_disk / "a.db"
    subprocess.run(["cp", a.file, moved], check=True)
    a.file = moved
    with a.opened() as replica:
        with replica.transaction() as db:
            db.execute("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
        replica.sync()
        filler = _fill(small_disk, leave_kib=300)
        written = 0
        full: DatabaseError | None = None
        for number in range(WRITES_MAX):
            full = _write(replica, number)
            if full is not None:
                break
            written += 1
        assert full is not None
        assert full.code == "database_full"
        assert 0 < written < WRITES_MAX
        # Whole writes only, and reading goes on.
        assert replica.query("SELECT on_hand FROM stock WHERE sku = 'screw'") == [(10 - written,)]
        assert replica.query("SELECT count(*) FROM stock") == [(1 + written,)]
        status = replica.status
        assert status.pending + status.sent == written

    # News that do not fit: the checkpoint stays, nothing is lost on either side.
    b.shell(f"INSERT INTO stock (sku, name) VALUES ('news', '{TEXT * 20}')")
    b.sync()
    checkpoint = a.query("SELECT * FROM holdfast_scope")
    failed = a.cli("sync", "--json")
    assert failed.code == 1
    assert failed.document["error"]["code"] == "database_full"
    assert a.query("SELECT * FROM holdfast_scope") == checkpoint

    filler.unlink()
    for device in (a, b):
        device.sync()
    on_server = world.rows("SELECT on_hand FROM stock WHERE sku = 'screw'")
    assert on_server == [(10 - written,)]
    world.check_equal(a, b)


def test_a_server_without_space(make_world: MakeWorld, small_disk: Path) -> None:
    world = make_world(path=small_disk)
    a = world.device("a", "token-a")
    a.shell("INSERT INTO stock (sku, on_hand) VALUES ('screw', 10)")
    a.sync()
    elsewhere = world.path.parent / "a.db"
    subprocess.run(["cp", a.file, elsewhere], check=True)
    a.file = elsewhere
    filler = _fill(small_disk, leave_kib=64)
    a.shell(f"INSERT INTO stock (sku, name) VALUES ('large', '{TEXT * 20}')")
    a.shell("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'screw'")
    for _ in range(3):
        failed = a.cli("sync", "--json")
        assert (failed.code, failed.document["error"]["code"]) == (1, "database_full")
        status = a.status()
        assert status["pending"] + status["sent"] == 2  # two shells, two transactions
        assert world.rows("SELECT sku, on_hand FROM stock") == [("screw", 10)]
        assert world.server.running
    filler.unlink()
    a.sync()
    assert world.rows("SELECT on_hand FROM stock WHERE sku = 'screw'") == [(9,)]
    world.check_equal(a)
