"""A snapshot file has the rows of its scope, and nothing that does not add up.

Checks I31.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.digest import Digest, row_hash, seal
from holdfast.core.errors import DatabaseCorrupt, DatabaseFull
from holdfast.core.keys import row_key
from holdfast.server.files.snapshot import in_order, write_snapshot


def write(server: Any, path: Path, name: str = "store/1", **options: Any) -> Any:
    """Write a scope's file; the scope as it was."""
    with contextlib.closing(server.store.read()) as snapshot:
        scope = snapshot.scopes([name])[name]
        write_snapshot(
            path, snapshot, server.schema, scope,
            epoch=server.store.epoch, secret=server.store.seal_secret, **options,
        )  # fmt: skip
    return scope


def read(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """By Python's own SQLite, as a stranger would."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def fill(server: Any) -> Any:
    peer = server.peer()
    peer.insert("product", "p1", sku="a/b", note="€")
    for number in range(30):
        peer.insert("movement", number - 10, store_id="1", product_id="p1", quantity=number)
        code = bytes([number, 255])
        peer.insert("shelf", ("1", code), label=f"l'{number}", full=number % 2)
        peer.insert("task", f"t{number}", store_id=str(number % 2), text="x" * number)
    peer.sync()
    return peer


def test_it_has_what_a_pull_would_give(server: Any, tmp_path: Path) -> None:
    fill(server)
    other = server.peer("d2", read=("store/1",))
    other.sync()
    told: list[int] = []
    scope = write(server, tmp_path / "file", on_rows=told.append)
    held = {}
    digest = Digest()
    for table in server.schema.all_tables:
        keys = []
        for key, rev, hashed, *row in read(tmp_path / "file", f'SELECT * FROM "{table.name}"'):
            assert key == row_key(table, row)
            assert hashed == row_hash(scope.key, table.name, key, row)
            digest = digest.add(hashed)
            held[table.name, key] = (rev, tuple(row))
            keys.append(key.encode())
        assert keys == sorted(keys)
    assert held == other.rows
    assert digest == scope.digest
    assert told[-1] == len(held) == 75
    ((*about,),) = read(tmp_path / "file", "SELECT * FROM holdfast_snapshot")
    position = other.checkpoint["store/1"]
    assert about == [
        1, server.store.epoch, "store/1", position.version, position.count, position.digest,
        position.seal, server.schema.fingerprint, server.schema.generation,
    ]  # fmt: skip
    assert position.seal == seal(
        server.store.seal_secret, epoch=server.store.epoch, scope="store/1",
        version=scope.head, digest=scope.digest,
    )  # fmt: skip
    names = {name for (name,) in read(tmp_path / "file", "SELECT name FROM sqlite_schema")}
    assert names == {"holdfast_snapshot", *(table.name for table in server.schema.all_tables)}


def test_it_is_one_plain_file(server: Any, tmp_path: Path) -> None:
    fill(server)
    write(server, tmp_path / "file")
    assert [path.name for path in tmp_path.glob("file*")] == ["file"]
    assert (tmp_path / "file").read_bytes()[18:20] == b"\x01\x01"  # no write-ahead log


def test_writes_meanwhile_do_not_get_in(server: Any, tmp_path: Path) -> None:
    peer = fill(server)

    def on_rows(_rows: int) -> None:
        peer.update("task", "t1", text="later")
        peer.delete("task", "t3")
        peer.insert("task", f"t9-{len(peer.outcomes)}", store_id="1")
        peer.sync()

    before = {key: row for key, row in peer.rows.items() if key[0] == "task"}
    write(server, tmp_path / "file", on_rows=on_rows)
    rows = read(
        tmp_path / "file", "SELECT holdfast_key, holdfast_rev, id, store_id, text FROM task"
    )
    held = {("task", key): (rev, tuple(row)) for key, rev, *row in rows}
    assert held == {key: row for key, row in before.items() if row[1][1] == "1"}


def test_rows_that_differ_from_the_digest_are_found(server: Any, tmp_path: Path) -> None:
    fill(server)
    server.sql_unseen("UPDATE task SET text = 'forged' WHERE id = 't5'")
    with pytest.raises(DatabaseCorrupt):
        write(server, tmp_path / "file")


def test_it_ends_at_its_limit(server: Any, tmp_path: Path) -> None:
    peer = server.peer()
    for number in range(20):
        peer.insert("task", f"t{number}", store_id="1", text="x" * 10_000)
    peer.sync()
    with pytest.raises(DatabaseFull):
        write(server, tmp_path / "file", bytes_max=100_000)
    assert server.reads_are_free()


def test_large_rows_are_read_a_few_at_a_time(server: Any, monkeypatch: Any) -> None:
    peer = server.peer()
    keys = [f"t{number:02}" for number in range(60)]
    for key in keys:
        peer.insert("task", key, store_id="1", text=key * 1000)
    peer.sync()
    monkeypatch.setattr("holdfast.server.files.snapshot.FILE_FETCH_BYTES_SOFT", 30_000)
    table = server.schema.by_name["task"]
    with contextlib.closing(server.store.read()) as snapshot:
        asked: list[int] = []
        rows = snapshot.rows

        def noted(table: Any, keys: Any) -> Any:
            asked.append(len(keys))
            return rows(table, keys)

        snapshot.rows = noted
        found = [(key, row[2]) for key, _, row in in_order(snapshot, table, [*keys, "none"])]
    assert found == [(key, key * 1000) for key in keys]
    assert asked[0] == 61 and min(asked) < 10
