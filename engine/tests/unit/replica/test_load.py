"""Files of different moments disagree about a unique value: nobody's row is lost over it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from replica_lab import START_US, device

from holdfast.core.digest import Digest, row_hash
from holdfast.core.errors import FileRefused, Offline
from holdfast.protocol.messages import Checkpoint, Gone, Head, Position, Rows, ScopeGrant
from holdfast.replica.apply import Applier
from holdfast.replica.database import transaction
from holdfast.replica.load import attached
from holdfast.replica.snapshot import SnapshotFile
from holdfast.schema import Column, Schema, Table
from holdfast.sql.names import quote

SCHEMA = Schema(
    name="codes",
    tables=(
        Table(
            name="code",
            key=("id",),
            columns=(Column("id"), Column("store"), Column("code")),
            scopes=("store/{store}",),
            unique=(("code",),),
            existence_public=True,
        ),
    ),
)
KEYS = {"store/1": b"1" * 32, "store/2": b"2" * 32}


def snapshot(path: Path, scope: str, row: tuple[str, str, str]) -> SnapshotFile:
    """A file of one row."""
    hashed = row_hash(KEYS[scope], "code", row[0], row)
    digest = Digest().add(hashed)
    with contextlib.closing(sqlite3.connect(path)) as db:
        for table in SCHEMA.all_tables:
            columns = "".join(f", {quote(column.name)}" for column in table.columns)
            db.execute(
                f"CREATE TABLE {quote(table.name)} "
                f"(holdfast_key, holdfast_rev, holdfast_hash{columns})"
            )
        db.execute("INSERT INTO code VALUES (?, 1, ?, ?, ?, ?)", (row[0], hashed, *row))
        db.commit()
    steps = {table.name: [(1, 1, 1)] if table.name == "code" else [] for table in SCHEMA.all_tables}
    return SnapshotFile(path, scope, Position(1, 1, digest.hex, "s"), 1, steps)


def position(scope: str, row: tuple[str, str, str]) -> Position:
    hashed = row_hash(KEYS[scope], "code", row[0], row)
    return Position(2, 1, Digest().add(hashed).hex, "s")


def test_a_row_that_made_room_for_a_stale_one_comes_back(tmp_path: Path) -> None:
    taker, giver = ("p", "1", "u"), ("x", "2", "u")  # x gave its code up before p took it
    later = ("x", "2", "v")
    files = [
        snapshot(tmp_path / "1", "store/1", taker),
        snapshot(tmp_path / "2", "store/2", giver),
    ]
    head = Head(
        protocol=1, epoch="e", device="d", user="u", echo="", time=0, schema="",
        scopes={scope: ScopeGrant(key.hex()) for scope, key in KEYS.items()},
    )  # fmt: skip
    final = Checkpoint(
        {"store/1": position("store/1", taker), "store/2": position("store/2", later)}, 2
    )
    for order in (files, files[::-1]):
        with device(schema=SCHEMA) as lab, attached(lab.db.sync, order) as aliases:
            with transaction(lab.db.sync):
                applier = Applier(
                    lab.db.sync, SCHEMA, lab.db.program,
                    now_us=START_US, random_bytes=lab.random_bytes,
                )  # fmt: skip
                applied = applier.apply(
                    head,
                    [Rows("code", [[2, *later]])],
                    final,
                    files=list(zip(order, aliases, strict=True)),
                )
            assert lab.rows("SELECT * FROM code ORDER BY id") == [taker, later]
            assert applied.differing == []


@pytest.mark.parametrize(
    "line", [Rows("nowhere", [[1, "x"]]), Rows("code", [[1, "too few"]]), Gone("nowhere", ["x"])]
)
def test_a_line_that_cannot_be_used_is_its_files_fault(line: Rows | Gone) -> None:
    head = Head(
        protocol=1, epoch="e", device="d", user="u", echo="", time=0, schema="",
        scopes={"store/1": ScopeGrant(KEYS["store/1"].hex())},
    )  # fmt: skip
    final = Checkpoint({"store/1": position("store/1", ("p", "1", "u"))}, 1)

    def apply(lines: list[Rows | Gone], filed: list[Rows | Gone]) -> None:
        with device(schema=SCHEMA) as lab, transaction(lab.db.sync):
            Applier(
                lab.db.sync, SCHEMA, lab.db.program,
                now_us=START_US, random_bytes=lab.random_bytes,
            ).apply(head, lines, final, filed=filed)  # fmt: skip

    with pytest.raises(FileRefused):
        apply([], [line])
    with pytest.raises(Offline):
        apply([line], [])
