"""A file that this device cannot keep: a stable code says so, nothing is lost, it goes on later.

The server, its files and the folder are real; what is in the way is put there while it works.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import Column, Replica, Schema, SyncError, Table
from holdfast.replica.memory import MemoryTransport
from holdfast.server.files.offers import FilePolicy
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore

SCHEMA = Schema(
    name="kept",
    tables=(
        Table(
            name="item", key=("id",), columns=(Column("id"), Column("name")), scopes=("all",),
        ),
    ),
)  # fmt: skip
ROWS = 300
Hindrance = Callable[[Path], None]


class World:
    """A server that gives files from a few rows on, and a device that shall have one."""

    def __init__(self, folder: Path) -> None:
        self.service = Service(
            SCHEMA,
            SqliteStore.open(str(folder / "s.db"), SCHEMA, random_bytes=secrets.token_bytes),
            now_us=lambda: time.time_ns() // 1000,
            random_bytes=secrets.token_bytes,
            files=FilePolicy(snapshot_rows_min=100, catchup_rows_min=100),
        ).begin()
        self.busy = self.device(folder / "busy.db")
        self.device_path = folder / "ours.db"
        self.ours = self.device(self.device_path)
        self.folder = folder / "ours.db-files"

    def device(self, path: Path) -> Replica:
        who = Principal("u", path.stem, read=("all",), write=("all",))
        return Replica.open(path, SCHEMA, transport=MemoryTransport(self.service, who))

    def fill(self, word: str) -> None:
        """Everybody else writes."""
        with self.busy.transaction() as db:
            db.executemany(
                "INSERT INTO item VALUES (?, ?)",
                [(f"{word}{number:04}", secrets.token_hex(8)) for number in range(ROWS)],
            )
        self.busy.sync()

    def sync_with(self, stage: str, hinder: Hindrance) -> None:
        """Sync; when a stage is at its end, something is done to the folder."""

        def progress(what: str, done: int, total: int) -> None:
            if what == stage and done == total:
                hinder(self.folder)

        self.ours.sync(progress=progress)

    def is_whole(self) -> None:
        """The next sync brings everything."""
        assert self.ours.sync().verified
        count = "SELECT count(*) FROM item"
        assert self.ours.query(count) == self.busy.query(count) or self.busy.sync().verified
        assert self.ours.query("SELECT * FROM item ORDER BY id") == self.busy.query(
            "SELECT * FROM item ORDER BY id"
        )
        assert not self.folder.exists()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.ours.close()
    world.busy.close()
    world.service.close()


def is_kept_and_told(world: World, rows: int) -> None:
    """Nothing of it is in, what was written is still there, and the status says whose it is."""
    status = world.ours.status
    assert (status.error_kind, status.error_code) == ("local", "file_not_kept")
    assert (status.state, status.loading) == ("waiting", None)
    assert status.pending + status.sent == 1
    assert world.ours.query("SELECT count(*) FROM item") == [(rows,)]


def write(world: World) -> None:
    with world.ours.transaction() as db:
        db.execute("INSERT INTO item VALUES ('mine', 'of this device')")


def test_a_place_that_is_no_folder(world: World) -> None:
    world.fill("a")
    write(world)
    world.folder.write_text("somebody's notes")
    with pytest.raises(SyncError) as failed:
        world.ours.sync()
    assert failed.value.code == "file_not_kept"
    is_kept_and_told(world, 1)
    assert world.folder.read_text() == "somebody's notes", "it was not ours to remove"
    world.folder.unlink()
    world.is_whole()


def test_a_file_that_cannot_be_opened(world: World) -> None:
    world.fill("a")
    write(world)

    def stop(_folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.sync_with("downloading", stop)
    (part,) = world.folder.glob("*.part")
    part.unlink()
    part.mkdir()
    with pytest.raises(SyncError) as failed:
        world.ours.sync()
    assert failed.value.code == "file_not_kept"
    is_kept_and_told(world, 1)
    part.rmdir()
    world.is_whole()


@pytest.mark.parametrize(("kind", "stage"), [("snapshot", "checking"), ("catchup", "downloading")])
def test_a_file_that_vanishes_before_it_is_imported(world: World, kind: str, stage: str) -> None:
    held = 0
    if kind == "catchup":
        world.fill("b")
        world.is_whole()
        held = ROWS
    world.fill("a")
    write(world)
    gone: list[str] = []

    def vanish(folder: Path) -> None:
        for path in folder.glob(f"*.{kind}"):
            path.unlink()
            gone.append(path.name)

    with pytest.raises(SyncError) as failed:
        world.sync_with(stage, vanish)
    assert gone, f"there was no {kind}"
    assert failed.value.code == "file_not_kept"
    is_kept_and_told(world, held + 1)
    world.is_whole()
