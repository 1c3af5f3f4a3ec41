"""Files that are moved, replaced or deleted while they are open, and logs that are taken away."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast import Column, Replica, Schema, Table
from holdfast.core.errors import DatabaseMoved
from holdfast.sqlite import Connection, OpenOptions, driver
from holdfast.sqlite.guard import FileGuard

SCHEMA = Schema(
    name="notes",
    tables=(Table(name="note", key=("id",), scopes=("all",), columns=(Column("id", "text"),)),),
)
ROWS = "SELECT id FROM note ORDER BY 1"


def add(replica: Replica, *keys: str) -> None:
    for key in keys:
        with replica.transaction() as db:
            db.execute("INSERT INTO note VALUES (?)", [key])


def elsewhere(path: Path, *statements: str) -> list[str]:
    """What another process finds, with a library of its own."""
    code = (
        "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for sql in sys.argv[2:]:\n    rows = db.execute(sql).fetchall()\n"
        "print(*(row[0] for row in rows))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, *statements], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def replica(path: Path) -> Iterator[Replica]:
    with closing(Replica.open(path, SCHEMA)) as opened:
        add(opened, "before")
        yield opened


def attach(path: Path, tmp_path: Path, *statements: str) -> None:
    """Python's own library opens and closes the file, in a way that nothing hears of."""
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as db:
        db.execute("ATTACH ? AS replica", [str(path)])
        for sql in statements or (ROWS,):
            db.execute(sql).fetchall()


def delete_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def delete_index(path: Path) -> None:
    Path(f"{path}-shm").unlink()


def delete_all(path: Path) -> None:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def replace(path: Path) -> None:
    """What ``mv backup.db a.db`` does."""
    backup = path.with_name("backup.db")
    with closing(Replica.open(backup, SCHEMA)) as other:
        add(other, "of the backup")
    backup.rename(path)


@pytest.mark.parametrize("harm", [delete_log, delete_index, delete_all, move, replace])
def test_nothing_is_promised_that_is_not_in_its_place(
    replica: Replica, path: Path, harm: Callable[[Path], None]
) -> None:
    harm(path)
    for _ in range(2):  # and it stays so
        with pytest.raises(DatabaseMoved) as caught:
            add(replica, "after")
        assert caught.value.code == "database_moved"
        with pytest.raises(DatabaseMoved):
            replica.query("DELETE FROM note")
    replica.close()
    if path.exists():
        assert "after" not in elsewhere(path, ROWS)


@pytest.mark.parametrize("harm", [delete_log, delete_index])
def test_what_was_committed_stays_in_the_file(
    replica: Replica, path: Path, harm: Callable[[Path], None]
) -> None:
    harm(path)
    with pytest.raises(DatabaseMoved):
        add(replica, "after")
    assert elsewhere(path, ROWS) == ["before"]  # at once: a kill may follow
    replica.close()
    assert elsewhere(path, ROWS) == ["before"]
    with closing(Replica.open(path, SCHEMA)) as again:
        add(again, "again")
        assert again.status.pending == 2
    assert elsewhere(path, ROWS) == ["again", "before"]


def test_what_was_committed_goes_with_a_file_that_is_moved(replica: Replica, path: Path) -> None:
    move(path)
    with pytest.raises(DatabaseMoved):
        add(replica, "after")
    assert elsewhere(path.with_name("moved.db"), ROWS) == ["before"]


def test_a_file_that_takes_the_place_is_left_alone(replica: Replica, path: Path) -> None:
    """The old log would be taken for its own; what was only in the old file is kept as a copy."""
    replace(path)
    with pytest.raises(DatabaseMoved, match="copy") as caught:
        add(replica, "after")
    replica.close()
    copy = path.with_name("a.db-saved-1")
    assert str(copy) in caught.value.message
    assert copy.stat().st_mode & 0o077 == 0
    assert elsewhere(copy, ROWS) == ["before"]
    assert elsewhere(path, ROWS, "PRAGMA integrity_check", ROWS) == ["of", "the", "backup"]


def test_what_others_wrote_after_the_log_was_gone_is_not_overwritten(
    replica: Replica, path: Path
) -> None:
    elsewhere(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    add(replica, "in the log")
    delete_log(path)
    delete_index(path)
    elsewhere(path, "INSERT INTO note VALUES ('of another')")
    with pytest.raises(DatabaseMoved, match="copy"):
        add(replica, "after")
    replica.close()
    assert elsewhere(path, ROWS) == ["before", "of", "another"]
    assert elsewhere(path, "PRAGMA integrity_check") == ["ok"]
    assert elsewhere(path.with_name("a.db-saved-1"), ROWS) == ["before", "in", "the", "log"]


def test_a_library_that_cannot_be_refused_deletes_nothing(
    replica: Replica, path: Path, tmp_path: Path
) -> None:
    if FileGuard.on(str(path)) is None:
        pytest.skip("this system has no locks that would keep it from it")
    add(replica, "second")
    attach(path, tmp_path)
    attach(path, tmp_path, "INSERT INTO note VALUES ('attached')")
    add(replica, "third")
    assert elsewhere(path, ROWS) == ["attached", "before", "second", "third"]
    assert replica.query(ROWS) == [("attached",), ("before",), ("second",), ("third",)]


@pytest.mark.parametrize("statement", [ROWS, "INSERT INTO note VALUES ('attached')"])
def test_where_nothing_keeps_it_from_it_nothing_is_lost(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Systems without locks of open file descriptions."""
    monkeypatch.setattr(FileGuard, "on", lambda _path: None)
    with closing(Replica.open(path, SCHEMA)) as replica:
        add(replica, "before")
        attach(path, tmp_path, statement)
        assert not Path(f"{path}-wal").exists(), "the second library has left the log in its place"
        with pytest.raises(DatabaseMoved):
            add(replica, "after")
        found = elsewhere(path, ROWS)
    assert found == elsewhere(path, ROWS) == (["attached"] * ("INSERT" in statement)) + ["before"]


def test_a_log_that_goes_within_a_transaction(replica: Replica, path: Path) -> None:
    with pytest.raises(DatabaseMoved), replica.transaction() as db:  # noqa: PT012
        db.execute("INSERT INTO note VALUES ('after')")
        delete_log(path)
    assert elsewhere(path, ROWS) == ["before"]


def test_a_log_that_goes_while_it_is_committed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last moment at which it can be noticed: the commit has been made, but for nobody."""
    with closing(driver().connect(str(path), OpenOptions())) as db:
        db.execute("CREATE TABLE note (id TEXT)")
        raw = db._raw  # type: ignore[attr-defined]

        def committed_elsewhere(sql: str, params: object) -> object:
            rows = raw(sql, params)
            if sql == "COMMIT":
                delete_log(path)
            return rows

        monkeypatch.setattr(db, "_raw", committed_elsewhere)
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO note VALUES ('x')")
        with pytest.raises(DatabaseMoved):
            db.execute("COMMIT")


@pytest.mark.parametrize("name", ["apsw", "stdlib"])
def test_a_file_that_is_moved_or_replaced_with_either_library(path: Path, name: str) -> None:
    def opened(where: Path) -> Connection:
        return driver(name).connect(str(where), OpenOptions())

    with closing(opened(path)) as db:
        db.execute("CREATE TABLE note (id TEXT)")
        path.rename(path.with_name("b.db"))
        with pytest.raises(DatabaseMoved):
            db.execute("INSERT INTO note VALUES ('x')")
        with closing(opened(path)) as new:
            new.execute("CREATE TABLE other (id TEXT)")
            with pytest.raises(DatabaseMoved):
                db.execute("INSERT INTO note VALUES ('x')")
    with closing(opened(path)) as new:
        assert new.execute("SELECT name FROM sqlite_schema") == [("other",)]


def test_the_working_folder_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.db").symlink_to("real.db")
    with closing(driver().connect("link.db", OpenOptions())) as db:
        monkeypatch.chdir(tmp_path / "folder")
        db.execute("CREATE TABLE note (id TEXT)")
        db.execute("BEGIN")
        db.execute("INSERT INTO note VALUES ('x')")
        db.execute("COMMIT")


def test_a_copy_made_in_the_process_takes_no_locks_along(replica: Replica, path: Path) -> None:
    """A backup by ``shutil.copy`` closes a descriptor of the file, and with it all of its locks."""
    if FileGuard.on(str(path)) is None:
        pytest.skip("this system has no locks that would stay")
    shutil.copy(path, path.with_name("copy.db"))
    assert elsewhere(path, ROWS) == ["before"]  # as the last one, it would delete the log
    add(replica, "after")
    assert elsewhere(path, ROWS) == ["after", "before"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_may_open_the_file_anew(replica: Replica, path: Path) -> None:
    child = os.fork()
    if child == 0:  # pragma: no cover - ends without leaving anything to the parent's tools
        code = 1
        try:
            with closing(sqlite3.connect(path)) as db:
                db.execute("INSERT INTO note VALUES ('of the child')")
                db.commit()
            with closing(driver().connect(str(path), OpenOptions())) as own:
                assert len(own.execute(ROWS)) == 2
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    add(replica, "after")
    assert elsewhere(path, "SELECT count(*) FROM note") == ["3"]


def test_the_last_connection_tidies_up(path: Path) -> None:
    for _ in range(2):
        with closing(Replica.open(path, SCHEMA)):
            assert Path(f"{path}-wal").exists()
        assert sorted(name.name for name in path.parent.iterdir()) == ["a.db"]
