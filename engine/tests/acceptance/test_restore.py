"""A backup is put back: the old database or the new one is there, whatever ends the restore."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
from engine.tests.acceptance.conftest import COUNTER, Ran, holdfast
from engine.tests.acceptance.test_backup import (
    change,
    code_of,
    copied,
    database,
    device,
    filled,
    quietly,
    served,
    templates,
    write,
)
from engine.tests.acceptance.test_disk_full import small_disk

from holdfast.core.errors import HoldfastError
from holdfast.server.backup import restore
from holdfast.testing.postgres import PostgresCluster

__all__ = ["database", "filled", "small_disk", "templates"]
pytestmark = pytest.mark.acceptance
LATER = "INSERT INTO stock (sku, name, on_hand) VALUES ('later', '', 1)"


def put_back(target: str, copy: Path, **more: Any) -> restore.Restore:
    return restore.restore(target, copy, progress=quietly, **more)


def put_back_by_command(target: str, copy: Path, **more: Any) -> Ran:
    return holdfast("server", "restore", copy, "--database", target, "--json", **more)


def skus(target: str, schema: str = "public") -> set[str]:
    """The rows, read by means of the database itself."""
    sql = "SELECT sku FROM stock"
    if "://" in target:
        with psycopg.connect(target) as db:
            db.execute(f'SET search_path = "{schema}"'.encode())
            return {str(sku) for (sku,) in db.execute(sql.encode()).fetchall()}
    file = apsw.Connection(target, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return {str(sku) for (sku,) in file.execute(sql)}
    finally:
        file.close()


def old_rows(target: str, aside: str | None) -> set[str]:
    """What stood there before."""
    assert aside is not None
    return skus(target, aside) if "://" in target else skus(aside)


def asides(target: str) -> list[str]:
    if "://" not in target:
        path = Path(target)
        found = path.parent.glob(f"{path.name}-aside-*Z")
        return [str(one) for one in found if not path.exists() or not one.samefile(path)]
    with psycopg.connect(target) as db:
        sql = "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%\\_aside\\_%'"
        return [str(name) for (name,) in db.execute(sql).fetchall()]


@pytest.fixture
def copy(filled: str, tmp_path: Path) -> Path:
    """A backup of the filled database, which then went on by a row."""
    to = tmp_path / "copy"
    copied(filled, to)
    change(filled, LATER)
    return to


def test_what_stood_there_is_set_aside(filled: str, copy: Path, tmp_path: Path) -> None:
    before = skus(filled)
    done = put_back(filled, copy)
    assert skus(filled) == before - {"later"}
    assert old_rows(filled, done.aside) == before
    assert done.record.devices == 1
    again = put_back_by_command(filled, copy)
    assert again.code == 0, again.err
    assert (again.document["ok"], again.document["devices"]) == (True, 1)
    assert "1 device " in again.document["text"]
    assert old_rows(filled, again.document["aside"]) == before - {"later"}
    if "://" not in filled:
        assert stat.S_IMODE(Path(filled).stat().st_mode) == 0o600
        assert not list(tmp_path.glob("*-restoring*"))
    assert holdfast("check", "--schema", COUNTER, "--database", filled).code == 0


def test_a_server_that_runs_is_not_restored(filled: str, copy: Path, tmp_path: Path) -> None:
    with served(filled, tmp_path) as server:
        before = skus(filled)
        told = put_back_by_command(filled, copy)
        assert (told.code, told.document["error"]["code"]) == (1, "served_elsewhere")
        assert "stop" in told.document["error"]["message"]
        with device(server, tmp_path / "late.db", "b") as replica:
            write(replica, 9)
        assert skus(filled) == before | {"left-9", "right-9"}
    put_back(filled, copy)
    assert "later" not in skus(filled)


def test_a_lost_database(filled: str, copy: Path, request: pytest.FixtureRequest) -> None:
    """Nothing is there, or but a log which must not be taken for the new file's."""
    kept = skus(filled) - {"later"}
    if "://" in filled:
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        target = cluster.make_database()
        assert put_back(target, copy).aside is None
        assert skus(target) == kept
        return
    path = Path(filled)
    db = apsw.Connection(filled)
    db.pragma("journal_mode", "wal")
    db.execute("UPDATE stock SET name = 'of the old log'")
    shutil.copy(f"{filled}-wal", f"{filled}-kept")
    db.close()
    path.unlink()
    Path(f"{filled}-kept").rename(f"{filled}-wal")
    put_back(filled, copy)
    assert skus(filled) == kept
    db = apsw.Connection(filled)
    assert db.execute("SELECT count(*) FROM stock WHERE name <> ''").fetchall() == [(0,)]
    db.close()
    assert len(list(path.parent.glob("*-aside-*-wal"))) == 1, "and the log is not deleted"


@pytest.mark.parametrize("point", ["restore.copied", "restore.before_put", "restore.put"])
def test_a_killed_restore_leaves_one_of_both(filled: str, copy: Path, point: str) -> None:
    before = skus(filled)
    killed = put_back_by_command(filled, copy, env={"HOLDFAST_FAILPOINT": point})
    assert killed.code == -signal.SIGKILL
    new = before - {"later"}
    assert skus(filled) == (new if point == "restore.put" else before)
    assert len(asides(filled)) == (point == "restore.put")
    put_back(filled, copy)
    assert skus(filled) == new
    found = [old_rows(filled, aside) for aside in asides(filled)]
    assert before in found, "what stood there first is not lost"


def _damaged(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(0)
        file.write(b"\xff" * 4096)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_damaged_database_is_set_aside_as_it_is(filled: str, copy: Path, tmp_path: Path) -> None:
    path = Path(filled)
    _damaged(path)
    Path(f"{filled}-wal").write_bytes(b"a log that says nothing")
    damaged = path.read_bytes()
    killed = put_back_by_command(filled, copy, env={"HOLDFAST_FAILPOINT": "restore.moved"})
    assert killed.code == -signal.SIGKILL
    assert not path.exists()
    for command in (
        ("serve", "--schema", COUNTER, "--tokens", tmp_path / "none", "--database", filled),
        ("check", "--schema", COUNTER, "--database", filled),
    ):
        assert holdfast(*command).code != 0, "nothing is begun anew meanwhile"
        assert not path.exists()
    put_back(filled, copy)
    assert "left-0" in skus(filled)
    (aside,) = asides(filled)
    assert Path(aside).read_bytes() == damaged
    assert Path(f"{aside}-wal").read_bytes() == b"a log that says nothing"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_another_program_that_has_the_file_open(filled: str, copy: Path) -> None:
    before = skus(filled)
    hold = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); "
        "db.execute('BEGIN IMMEDIATE'); print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, filled], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        assert code_of(put_back, filled, copy) == "database_in_use"
    process.communicate()
    assert skus(filled) == before
    assert asides(filled) == []


def test_what_is_no_backup_changes_nothing(filled: str, copy: Path, tmp_path: Path) -> None:
    before = skus(filled)
    garbage, empty, torn = tmp_path / "garbage", tmp_path / "empty", tmp_path / "torn"
    garbage.write_bytes(os.urandom(5000))
    empty.write_bytes(b"")
    torn.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    codes = {
        garbage: {"not_a_backup"},
        empty: {"not_a_backup"},
        tmp_path / "none": {"no_backup"},
        torn: {"not_a_backup", "database_corrupt"},
    }
    for path, expected in codes.items():
        assert code_of(put_back, filled, path) in expected, path
    if "://" not in filled:
        assert code_of(put_back, filled, Path(filled)) == "bad_choice"
        no_folder = str(tmp_path / "no" / "folder")
        assert code_of(put_back, no_folder, copy) == "target_not_writable"
    assert skus(filled) == before
    assert asides(filled) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_restore_that_fails_leaves_nothing_in_the_way(
    filled: str, copy: Path, tmp_path: Path, small_disk: Path
) -> None:
    """Neither of a lost database, so that a server may begin anew, nor of one that is there."""
    lost, there = small_disk / "lost.db", small_disk / "there.db"
    shutil.copy(filled, there)
    before = skus(str(there))
    room = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * (room.f_bavail * room.f_frsize - 16_384))
    for target in (lost, there):
        assert code_of(put_back, str(target), copy) == "target_full"
    assert not list(small_disk.glob("*-restoring*"))
    assert not lost.exists()
    filler.unlink()
    assert skus(str(there)) == before
    torn = tmp_path / "torn"
    torn.write_bytes(copy.read_bytes()[:20_000])
    assert code_of(put_back, str(lost), torn) == "database_corrupt"
    assert not list(small_disk.glob("*-restoring*"))
    put_back(str(lost), copy)
    assert skus(str(lost)) == before - {"later"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_root_puts_back_is_the_servers(filled: str, copy: Path, tmp_path: Path) -> None:
    assert filled
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, 12345)
    target = home / "shop.db"
    for _ in range(2):
        put_back(str(target), copy)
        assert {path.stat().st_uid for path in home.iterdir()} == {12345}
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_rights_and_other_tables_of_the_schema(
    filled: str, tmp_path: Path, postgres_cluster: PostgresCluster
) -> None:
    postgres_cluster.sql("CREATE ROLE back_office")
    try:
        change(filled, "GRANT SELECT ON stock TO back_office")
        change(filled, "CREATE TABLE reports (id integer PRIMARY KEY, words text)")
        change(filled, "INSERT INTO reports VALUES (1, E'tab\\there, line\\nthere, \\\\.')")
        copied(filled, copy := tmp_path / "copy")
        change(filled, "DROP TABLE reports")
        put_back(filled, copy)
        with psycopg.connect(filled) as db:
            granted = db.execute(
                "SELECT has_table_privilege('back_office', 'stock', 'SELECT')"
            ).fetchall()
            assert granted == [(True,)]
            words = db.execute("SELECT words FROM reports").fetchall()
            assert words == [("tab\there, line\nthere, \\.",)]
            triggers = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"
            (count,) = db.execute(triggers).fetchone() or (0,)
            assert count > 0, "and direct writes are still noted"
    finally:
        change(filled, "DROP OWNED BY back_office")
        postgres_cluster.sql("DROP ROLE back_office")
    before = skus(filled)
    with pytest.raises(HoldfastError, match="--no-privileges") as caught:
        put_back(filled, copy)
    assert caught.value.code == "no_role"
    assert skus(filled) == before
    put_back(filled, copy, privileges=False)
