"""A snapshot file is exactly what it should be, or refused before anything of it is copied.

Checks I36.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from replica_lab import SCHEMA

from holdfast.core.digest import Digest, RowHasher, row_hash
from holdfast.core.errors import FileRefused
from holdfast.core.keys import row_key
from holdfast.core.values import STORAGE
from holdfast.protocol.messages import Position
from holdfast.replica.load.snapshot_file import SnapshotFile, SnapshotReader, sum_of
from holdfast.sqlite import driver

KEY = b"k" * 32
ITEMS = [(f"i{n}", "s", f"sku{n}", n, "name", 5, "1.00", 0.5, b"\0\1", "{}") for n in range(20)]


def layout() -> list[str]:
    return [
        (
            "CREATE TABLE holdfast_snapshot (format INTEGER, epoch TEXT, scope TEXT, "
            "version INTEGER, count INTEGER, digest TEXT, seal TEXT, fingerprint TEXT, "
            "generation INTEGER)"
        ),
        *(
            f'CREATE TABLE "{table.name}" (holdfast_key TEXT, holdfast_rev INTEGER, '
            "holdfast_hash BLOB"
            + "".join(f', "{c.name}" {STORAGE[c.type]}' for c in table.columns)
            + ")"
            for table in SCHEMA.all_tables
        ),
    ]


def make(path: Path, *, tables: list[str] | None = None) -> Position:
    """A file by hand, with Python's SQLite: another implementation might have made it."""
    table = SCHEMA.by_name["item"]
    digest = Digest()
    with contextlib.closing(sqlite3.connect(path)) as db:
        for sql in tables or layout():
            db.execute(sql)
        for row in ITEMS:
            key = row_key(table, row)
            hashed = row_hash(KEY, "item", key, row)
            digest = digest.add(hashed)
            db.execute(f"INSERT INTO item VALUES ({', '.join('?' * 13)})", (key, 7, hashed, *row))
        position = Position(3, digest.count, digest.hex, "seal")
        db.execute(
            "INSERT INTO holdfast_snapshot VALUES (1, 'e', 'store/s', 3, ?, ?, 'seal', ?, ?)",
            (digest.count, digest.hex, SCHEMA.fingerprint, SCHEMA.generation),
        )
        db.commit()
    return position


def check(
    path: Path, position: Position, *, scope: str = "store/s", hash_key: bytes = KEY
) -> SnapshotFile:
    reader = SnapshotReader(path, driver(), SCHEMA, epoch="e")
    return reader.check(scope, position, hash_key=hash_key, on_rows=lambda _rows: None)


def test_a_file_as_it_should_be(tmp_path: Path) -> None:
    position = make(tmp_path / "f")
    assert check(tmp_path / "f", position).rows == 20


def test_another_key_is_refused(tmp_path: Path) -> None:
    position = make(tmp_path / "f")
    with pytest.raises(FileRefused, match="hash"):
        check(tmp_path / "f", position, hash_key=b"j" * 32)


def test_many_rows_are_hashed_as_one_by_one() -> None:
    hasher = RowHasher(KEY, "item")
    for row in ITEMS:
        assert hasher.hash((row[0], *row)) == row_hash(KEY, "item", row[0], row)


def test_sums_are_those_of_digests() -> None:
    hashes = [row_hash(KEY, "t", str(n), (n,)) for n in range(1000)]
    digest = Digest().replace(removed=(), added=hashes)
    assert sum_of(b"".join(hashes)) == digest.total
    assert sum_of(b"") == 0


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER INSERT ON item BEGIN DELETE FROM item; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE INDEX i ON item (id)",
        "CREATE TABLE more (a)",
        "CREATE VIRTUAL TABLE more USING fts5(a)",
        "DROP TABLE part",
        "ALTER TABLE part ADD COLUMN more",
        "ALTER TABLE part ADD COLUMN more AS (1)",
        "DROP TABLE part; CREATE VIEW part AS SELECT 1",
        ("DROP TABLE tag; CREATE TABLE tag (holdfast_key TEXT, holdfast_rev INTEGER, "
        "holdfast_hash BLOB, item TEXT, word AS (holdfast_key))"),
        ("DROP TABLE tag; CREATE TABLE tag (holdfast_key TEXT PRIMARY KEY, holdfast_rev INTEGER, "
        "holdfast_hash BLOB, item TEXT, word TEXT) WITHOUT ROWID"),
        "UPDATE holdfast_snapshot SET scope = 'store/t'",
        "UPDATE holdfast_snapshot SET epoch = 'f'",
        "UPDATE holdfast_snapshot SET version = 4",
        "UPDATE holdfast_snapshot SET format = 2",
        "UPDATE holdfast_snapshot SET fingerprint = ''",
        "UPDATE holdfast_snapshot SET generation = generation + 1",
        "INSERT INTO holdfast_snapshot SELECT * FROM holdfast_snapshot",
        "DELETE FROM holdfast_snapshot",
        "DELETE FROM item WHERE id = 'i1'",
        "INSERT INTO item SELECT * FROM item WHERE id = 'i1'",
        "UPDATE item SET holdfast_key = 'other' WHERE id = 'i1'",
        "UPDATE item SET holdfast_key = NULL WHERE id = 'i1'",
        "UPDATE item SET holdfast_key = CAST('i1' AS BLOB) WHERE id = 'i1'",
        "UPDATE item SET id = 'other' WHERE id = 'i1'",
        "UPDATE item SET holdfast_rev = 0 WHERE id = 'i1'",
        "UPDATE item SET holdfast_rev = 'x' WHERE id = 'i1'",
        "UPDATE item SET holdfast_rev = 9007199254740992 WHERE id = 'i1'",
        "UPDATE item SET holdfast_hash = zeroblob(16) WHERE id = 'i1'",
        "UPDATE item SET name = 'changed' WHERE id = 'i19'",
        "UPDATE item SET price = NULL WHERE id = 'i1'",
        "UPDATE item SET raw = x'01' WHERE id = 'i1'",
        # The hashes still add up.
        ("CREATE TEMP TABLE two AS SELECT id, holdfast_hash AS h FROM item WHERE id < 'i10';"
        "UPDATE item SET holdfast_hash = (SELECT h FROM two WHERE two.id <> item.id) "
        "WHERE id < 'i10'"),
        "UPDATE item SET holdfast_hash = zeroblob(32) WHERE id = 'i1'",
        "UPDATE item SET holdfast_hash = 'abcdefghijklmnop' WHERE id = 'i1'",
        "PRAGMA journal_mode = wal",
    ],
)  # fmt: skip
def test_anything_else_is_refused(tmp_path: Path, sql: str) -> None:
    position = make(tmp_path / "f")
    with contextlib.closing(sqlite3.connect(tmp_path / "f")) as db:
        db.executescript(sql)
    with pytest.raises(FileRefused):
        check(tmp_path / "f", position)


def test_another_scope_or_position_is_refused(tmp_path: Path) -> None:
    position = make(tmp_path / "f")
    with pytest.raises(FileRefused):
        check(tmp_path / "f", position, scope="store/t")
    with pytest.raises(FileRefused):
        check(tmp_path / "f", Position(3, 20, "0" * 32, "seal"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: raw[:100],
        lambda raw: b"\0" * len(raw),
        lambda raw: raw[:4096] + b"\xff" * (len(raw) - 4096),
        lambda raw: raw[:105] + b"\xff\xff" + raw[107:],
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    position = make(tmp_path / "f")
    (tmp_path / "f").write_bytes(damage((tmp_path / "f").read_bytes()))
    with pytest.raises(FileRefused):
        check(tmp_path / "f", position)


def test_every_page_of_a_damaged_file(tmp_path: Path) -> None:
    """Zeroing any page, or turning over its head, is seen."""
    position = make(tmp_path / "whole")
    raw = (tmp_path / "whole").read_bytes()
    for page in range(len(raw) // 4096):
        for damage in (b"\0" * 4096, bytes(255 - b for b in raw[page * 4096 :][:8])):
            start = page * 4096
            (tmp_path / "f").write_bytes(raw[:start] + damage + raw[start + len(damage) :])
            if raw[start : start + len(damage)] != damage:
                with pytest.raises(FileRefused):
                    check(tmp_path / "f", position)
