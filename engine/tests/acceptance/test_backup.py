"""A live server is backed up: the copy is of one moment, whole, and for its owner alone."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
from engine.tests.acceptance.conftest import COUNTER, HOLDFAST, Ran, holdfast
from engine.tests.acceptance.test_disk_full import small_disk

from holdfast import HoldfastError, Replica
from holdfast.core.errors import UsageError
from holdfast.schema.load import load_schema
from holdfast.server.backup import backup
from holdfast.server.backup.dump_script import ScriptRows, read_script, records
from holdfast.testing import ServerProcess, wait_until
from holdfast.testing.postgres import PostgresCluster, find_programs

__all__ = ["small_disk"]
pytestmark = pytest.mark.acceptance

TOKENS = "".join(
    f'[token-{name}]\nuser = "{name}"\ndevice = "device-{name}"\nwrite = ["main"]\n'
    for name in ("a", "b")
)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "server.db")
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    return cluster.make_database()


@contextmanager
def served(database: str, path: Path) -> Iterator[ServerProcess]:
    tokens = path / "tokens.toml"
    tokens.write_text(TOKENS)
    command = [
        *HOLDFAST, "serve", "--schema", str(COUNTER), "--database", database,
        "--tokens", str(tokens), "--port", "{port}",
    ]  # fmt: skip
    with ServerProcess(command, log_path=path / "server.log") as made:
        yield made


def device(server: ServerProcess, file: Path, name: str = "a") -> Replica:
    return Replica.open(file, load_schema(str(COUNTER)), server=server.url, token=f"token-{name}")


def write(replica: Replica, number: int) -> None:
    """Two rows that belong together, and are acknowledged."""
    with replica.transaction() as db:
        db.execute("INSERT INTO stock (sku, on_hand) VALUES (?, 1)", [f"left-{number}"])
        db.execute("INSERT INTO stock (sku, on_hand) VALUES (?, 1)", [f"right-{number}"])
    replica.sync()


@pytest.fixture(scope="session")
def templates() -> dict[str, str]:
    return {}


@pytest.fixture
def filled(
    database: str,
    templates: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> str:
    """A database with some rows, that nobody serves; made once, and copied by other means."""
    kind = "postgres" if "://" in database else "sqlite"
    if kind not in templates:
        path = tmp_path_factory.mktemp("template")
        template = str(path / "server.db") if kind == "sqlite" else database
        with served(template, path) as server, device(server, path / "first.db") as replica:
            for number in range(3):
                write(replica, number)
        templates[kind] = template
        if kind == "postgres":
            database = request.getfixturevalue("postgres_cluster").make_database()
    if kind == "sqlite":
        shutil.copy(templates[kind], database)
    else:
        name = database.rpartition("/")[2]
        old = templates[kind].rpartition("/")[2]
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        cluster.sql(f"DROP DATABASE {name}")
        cluster.sql(f"CREATE DATABASE {name} TEMPLATE {old}")
    return database


def code_of(work: Callable[..., object], *arguments: Any, **more: Any) -> str:
    """What a call is refused with."""
    with pytest.raises(HoldfastError) as caught:
        work(*arguments, **more)
    return caught.value.code


def quietly(_what: str, _done: int, _total: int) -> None:
    """Nobody looks."""


copied = partial(backup.back_up, progress=quietly)
write_note = backup.write_note
marked = partial(backup.mark, progress=quietly)


def back_up(database: str, to: Path, *options: object, **more: Any) -> Ran:
    return holdfast("server", "backup", to, "--database", database, "--json", *options, **more)


def rows_of(copy: Path, table: str) -> list[dict[str, Any]]:
    """The rows of a table, read out of a copy by means of the database itself."""
    if copy.read_bytes().startswith(b"SQLite"):
        db = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            cursor = db.execute(f"SELECT * FROM {table}")
            names = [name for name, _ in cursor.get_description()]
            return [dict(zip(names, row, strict=True)) for row in cursor]
        except apsw.ExecutionCompleteError:
            return []
        finally:
            db.close()
    restore = find_programs() / "pg_restore"
    done = subprocess.run(
        [str(restore), "--data-only", f"--table={table}", "--file=-", str(copy)],
        check=True, capture_output=True,
    )  # fmt: skip
    parts = read_script(done.stdout.splitlines(keepends=True))
    return [
        dict(record) for part in parts if isinstance(part, ScriptRows) for record in records(part)
    ]


def change(database: str, sql: str) -> None:
    if "://" in database:
        with psycopg.connect(database, autocommit=True) as db:
            db.execute(sql.encode())
        return
    file = apsw.Connection(database)
    try:
        file.execute(sql)
    finally:
        file.close()


def test_a_copy_is_of_one_moment_while_devices_push(database: str, tmp_path: Path) -> None:
    stop, written = threading.Event(), [0]
    with served(database, tmp_path) as server, device(server, tmp_path / "a.db") as replica:

        def work() -> None:
            while not stop.is_set():
                write(replica, written[0])
                written[0] += 1

        writer = threading.Thread(target=work)
        writer.start()
        try:
            copies = []
            for number in range(2):
                before = written[0]
                wait_until(lambda seen=before: written[0] > seen + 2, what="some pushes")  # type: ignore[misc]
                before = written[0]
                told = back_up(database, to := tmp_path / f"copy-{number}")
                assert told.code == 0, told.err
                copies.append((to, before, told.document))
        finally:
            stop.set()
            writer.join()
    for to, before, document in copies:
        assert stat.S_IMODE(to.stat().st_mode) == 0o600
        skus = {row["sku"] for row in rows_of(to, "stock")}
        lefts = {sku.removeprefix("left-") for sku in skus if sku.startswith("left-")}
        rights = {sku.removeprefix("right-") for sku in skus if sku.startswith("right-")}
        assert lefts == rights == {str(n) for n in range(len(lefts))}, "no transaction is torn"
        assert before <= len(lefts) <= written[0]
        assert (document["ok"], document["differing"], document["devices"]) == (True, 0, 1)
        assert document["bytes"] == to.stat().st_size
    assert sorted(p.name for p in tmp_path.glob(".copy*")) == [], "nothing is left beside them"


def test_places_that_cannot_be_written(filled: str, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    tried = {
        taken: "target_exists",
        dangling: "target_exists",
        tmp_path / "no" / "folder": "target_not_writable",
        taken / "below-a-file": "target_not_writable",
    }
    if "://" not in filled:
        tried[Path(filled)] = "target_exists"
    for to, code in tried.items():
        assert code_of(copied, filled, to) == code, to
    assert taken.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_what_is_no_server_is_not_backed_up(
    filled: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    to = tmp_path / "copy"
    if "://" in filled:
        cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
        assert code_of(copied, cluster.make_database(), to) == "not_a_server"
    else:
        replica = tmp_path / "replica.db"
        Replica.open(replica, load_schema(str(COUNTER))).close()
        assert code_of(copied, str(replica), to) == "not_a_server"
        assert code_of(copied, str(tmp_path / "none.db"), to) == "no_database"
        assert not (tmp_path / "none.db").exists(), "and it is not made"
    assert not to.exists()


@pytest.mark.parametrize("point", ["backup.begun", "backup.copied", "backup.before_mark"])
def test_a_killed_backup_leaves_no_half_file(filled: str, tmp_path: Path, point: str) -> None:
    to = tmp_path / "copy"
    killed = back_up(filled, to, env={"HOLDFAST_FAILPOINT": point})
    assert killed.code == -signal.SIGKILL
    if point == "backup.before_mark":
        assert marked(filled, to).marked is not None
    else:
        assert not to.exists()
        copied(filled, to)
    assert len(rows_of(to, "stock")) == 6
    assert list(tmp_path.glob(".copy*")) == []


def test_an_interrupted_backup_tidies_up(filled: str, tmp_path: Path) -> None:
    """A lock that keeps the copy from beginning, so that the signal surely comes before its end."""
    to = tmp_path / "copy"
    for number in (signal.SIGINT, signal.SIGTERM):
        with _locked(filled):
            process = subprocess.Popen(
                [*HOLDFAST, "server", "backup", str(to), "--database", filled],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            wait_until(lambda: any(tmp_path.glob(".copy*")), what="a copy that has begun")
            process.send_signal(number)
            assert process.stderr is not None
            with process.stderr:
                words = process.stderr.read()
            assert process.wait() == 130, words
        assert list(tmp_path.glob("*copy*")) == []
    copied(filled, to)


@contextmanager
def _locked(database: str) -> Iterator[None]:
    """Somebody has the database for themselves."""
    if "://" in database:
        with psycopg.connect(database) as db:
            db.execute("LOCK TABLE stock, holdfast_migration IN ACCESS EXCLUSIVE MODE")
            yield
        return
    file = apsw.Connection(database)
    try:
        file.pragma("locking_mode", "exclusive")
        file.pragma("journal_mode", "delete")
        file.execute("BEGIN EXCLUSIVE; UPDATE holdfast_state SET applying = applying")
        yield
    finally:
        file.close()


def test_two_backups_to_one_place(filled: str, tmp_path: Path) -> None:
    to = tmp_path / "copy"
    with _locked(filled):
        first = subprocess.Popen(
            [*HOLDFAST, "server", "backup", str(to), "--database", filled],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: any(tmp_path.glob(".copy.partial")), what="a copy that has begun")
        assert code_of(copied, filled, to) == "backup_running"
    assert first.wait() == 0
    assert len(rows_of(to, "stock")) == 6


def test_a_row_that_is_not_what_its_hash_says(filled: str, tmp_path: Path) -> None:
    """The copy is kept, for there may be no better one, and devices keep what they have sent."""
    if "://" in filled:
        change(filled, "SET holdfast.applying = 'on'; UPDATE stock SET on_hand = 7 "
                       "WHERE sku = 'left-1'")  # fmt: skip
    else:
        change(filled, "UPDATE holdfast_state SET applying = 1; UPDATE stock SET on_hand = 7 "
                       "WHERE sku = 'left-1'; UPDATE holdfast_state SET applying = 0")  # fmt: skip
    told = back_up(filled, to := tmp_path / "copy")
    assert told.code == 1
    assert (told.document["ok"], told.document["differing"], told.document["marked"]) == (
        False, 1, None,
    )  # fmt: skip
    assert to.exists()
    assert marked(filled, to).marked is None or "://" in filled
    assert holdfast("check", "--schema", COUNTER, "--database", filled).code == 1
    assert copied(filled, tmp_path / "again").marked is not None


def test_direct_writes_that_were_not_taken_in_are_no_damage(filled: str, tmp_path: Path) -> None:
    change(filled, "UPDATE stock SET on_hand = 7; INSERT INTO stock (sku, name, on_hand) "
                   "VALUES ('new', '', 3); DELETE FROM stock WHERE sku = 'left-0'")  # fmt: skip
    assert copied(filled, tmp_path / "copy").contents.differing == 0


def test_a_folder_keeps_the_newest(filled: str, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    stem = str(copied(filled, folder).file).rpartition("-")[0]
    old = [Path(f"{stem}-2020010{n}T000000Z.backup") for n in range(1, 4)]
    others = [folder / "other-20200101T000000Z.backup", Path(f"{stem}-mine.backup")]
    for path in (*old, *others):
        path.write_text("an older one")
    wait_until(lambda: _kept(filled, folder), what="a moment with another name")
    left = sorted(folder.iterdir())
    assert set(others) <= set(left), "what has another name is nobody's business"
    assert [path for path in old if path.exists()] == old[2:]
    assert len(left) == 3 + len(others)
    assert code_of(copied, filled, tmp_path / "x", keep=3) == "bad_choice"


def _kept(database: str, folder: Path) -> bool:
    try:
        copied(database, folder, keep=3)
    except UsageError as error:
        if error.code == "target_exists":
            return False
        raise
    return True


def test_a_full_disk(filled: str, tmp_path: Path, small_disk: Path) -> None:
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"\0" * (room.f_bavail * room.f_frsize - 16_384))
    assert code_of(copied, filled, small_disk / "copy") == "target_full"
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    copied(filled, small_disk / "copy")


def test_a_copy_by_other_means_is_marked(filled: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    if "://" in filled:
        subprocess.run(
            [str(find_programs() / "pg_dump"), "-Fc", "-f", str(copy), "-d", filled], check=True
        )
    else:
        subprocess.run(["cp", filled, copy], check=True)
    assert marked(filled, copy).marked is not None
    garbage = tmp_path / "garbage"
    garbage.write_bytes(os.urandom(5000))
    assert code_of(marked, filled, garbage) == "not_a_backup"
    assert code_of(marked, filled, tmp_path / "none") == "no_backup"
    truncated = tmp_path / "truncated"
    truncated.write_bytes(copy.read_bytes()[: copy.stat().st_size * 2 // 3])
    assert code_of(marked, filled, truncated) in ("not_a_backup", "database_corrupt")
    if "://" not in filled:
        assert code_of(marked, filled, Path(filled)) == "bad_choice"


def watermarks(database: str) -> dict[str, tuple[int, int]]:
    """Of each device: what is in a backup, and what it has sent."""
    sql = "SELECT device, backed_up, high FROM holdfast_replica"
    if "://" in database:
        with psycopg.connect(database) as db:
            found: list[Any] = db.execute(sql.encode()).fetchall()
    else:
        file = apsw.Connection(database)
        found = file.execute(sql).fetchall()
        file.close()
    return {name: (backed_up, high) for name, backed_up, high in found}


def test_the_watermark_is_what_the_copy_has(filled: str, tmp_path: Path) -> None:
    """Not what the database has by then; and it is never lowered by an older copy."""
    copy, note = tmp_path / "copy", tmp_path / "note"
    assert watermarks(filled) == {"device-a": (0, 3)}
    write_note(filled, note)
    assert watermarks(filled) == {"device-a": (0, 3)}, "a note is a note"
    change(filled, "UPDATE holdfast_replica SET high = 4")
    copied(filled, copy)
    assert watermarks(filled) == {"device-a": (4, 4)}
    change(filled, "UPDATE holdfast_replica SET high = 9")
    assert marked(filled, copy).marked == 0, "nobody is told anything new"
    assert marked(filled, note).marked == 0
    assert watermarks(filled) == {"device-a": (4, 9)}
    change(filled, "UPDATE holdfast_replica SET backed_up = 0")
    assert marked(filled, note).marked == 1
    assert watermarks(filled) == {"device-a": (3, 9)}
    assert marked(filled, copy).marked == 1
    assert watermarks(filled) == {"device-a": (4, 9)}


def test_a_copy_of_another_history_marks_nothing(filled: str, tmp_path: Path) -> None:
    copy, note = tmp_path / "copy", tmp_path / "note"
    copied(filled, copy)
    assert back_up(filled, note, "--note").code == 0
    assert marked(filled, note).marked is not None
    change(filled, f"UPDATE holdfast_state SET epoch = '{'ab' * 16}'")
    for kind in (copy, note):
        assert code_of(marked, filled, kind) == "another_history"


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_programs_of_postgres_that_are_missing(filled: str, tmp_path: Path) -> None:
    told = back_up(filled, tmp_path / "copy", "--pg-bin", tmp_path)
    assert (told.code, told.document["error"]["code"]) == (2, "no_programs")
    assert "--pg-bin" in told.document["error"]["message"]
    old = tmp_path / "old"
    old.mkdir()
    for name in ("pg_dump", "pg_restore"):
        program = old / name
        program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.1'\n")
        program.chmod(0o755)
    with pytest.raises(UsageError, match="has 9") as caught:
        copied(filled, tmp_path / "copy", programs=old)
    assert caught.value.code == "no_programs"
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == []


def test_one_schema_of_many_in_a_database(
    postgres_cluster: PostgresCluster, tmp_path: Path
) -> None:
    address = postgres_cluster.make_database()
    postgres_cluster.sql("CREATE SCHEMA tenant_7; CREATE TABLE public.other (x int)", address)
    database = f"{address}?options=-csearch_path%3Dtenant_7"
    with served(database, tmp_path) as server, device(server, tmp_path / "first.db") as replica:
        write(replica, 0)
    contents = copied(database, copy := tmp_path / "copy").contents
    assert (contents.differing, contents.devices) == (0, 1)
    listed = subprocess.run(
        [str(find_programs() / "pg_restore"), "-l", str(copy)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "holdfast_applied" in listed
    assert "public other" not in listed
