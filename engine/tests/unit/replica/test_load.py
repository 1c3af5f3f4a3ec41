"""Files of different moments disagree about a unique value: nobody's row is lost over it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from replica_lab import START_US, device

from holdfast.core.digest import Digest, row_hash
from holdfast.core.errors import FileRefused, Offline
from holdfast.protocol.messages import Checkpoint, Gone, Head, Position, Rows, ScopeGrant
from holdfast.replica.load.import_files import attached
from holdfast.replica.load.snapshot_file import SnapshotFile
from holdfast.replica.rebase.apply import Applier
from holdfast.replica.storage.database import transaction
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


Code = tuple[str, str, str]


def snapshot(path: Path, scope: str, *rows: tuple[int, Code]) -> SnapshotFile:
    """A file of rows, each with its revision."""
    digest = Digest()
    with contextlib.closing(sqlite3.connect(path)) as db:
        for table in SCHEMA.all_tables:
            columns = "".join(f", {quote(column.name)}" for column in table.columns)
            db.execute(
                f"CREATE TABLE {quote(table.name)} "
                f"(holdfast_key, holdfast_rev, holdfast_hash{columns})"
            )
        for rev, row in rows:
            hashed = row_hash(KEYS[scope], "code", row[0], row)
            digest = digest.add(hashed)
            db.execute("INSERT INTO code VALUES (?, ?, ?, ?, ?, ?)", (row[0], rev, hashed, *row))
        db.commit()
    count = len(rows)
    steps: dict[str, Any] = {table.name: [] for table in SCHEMA.all_tables} | {
        "code": [(1, count, count)]
    }
    return SnapshotFile(path, scope, Position(1, count, digest.hex, "s"), count, steps)


def position(scope: str, *rows: Code) -> Position:
    digest = Digest()
    for row in rows:
        digest = digest.add(row_hash(KEYS[scope], "code", row[0], row))
    return Position(2, len(rows), digest.hex, "s")


def test_a_row_that_made_room_for_a_stale_one_comes_back(tmp_path: Path) -> None:
    taker, giver = ("p", "1", "u"), ("x", "2", "u")  # x gave its code up before p took it
    later = ("x", "2", "v")
    files = [
        snapshot(tmp_path / "1", "store/1", (1, taker)),
        snapshot(tmp_path / "2", "store/2", (1, giver)),
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


@pytest.mark.parametrize("forgets", [False, True])
def test_rows_that_the_file_does_not_have_leave_and_rows_that_nobody_knows_are_written(
    tmp_path: Path, *, forgets: bool
) -> None:
    before, heir = ("a", "1", "u"), ("b", "1", "u")
    if forgets:  # the replica shows a row, and knows nothing of it any more
        heir = ("a", "1", "v")
    file = snapshot(tmp_path / "1", "store/1", (1, heir))
    head = Head(
        protocol=1, epoch="e", device="d", user="u", echo="", time=0, schema="",
        scopes={"store/1": ScopeGrant(KEYS["store/1"].hex())},
    )  # fmt: skip

    with device(schema=SCHEMA) as lab, attached(lab.db.sync, [file]) as aliases:

        def apply(row: tuple[str, str, str], lines: list[Rows | Gone], files: Any) -> Any:
            final = Checkpoint({"store/1": position("store/1", row)}, 1)
            with transaction(lab.db.sync):
                return Applier(
                    lab.db.sync, SCHEMA, lab.db.program,
                    now_us=START_US, random_bytes=lab.random_bytes,
                ).apply(head, lines, final, files=files)  # fmt: skip

        apply(before, [Rows("code", [[1, *before]])], [])
        if forgets:
            with transaction(lab.db.sync):
                for sql in ("DELETE FROM holdfast_row", "DELETE FROM holdfast_member"):
                    lab.db.sync.execute(sql)
                lab.db.sync.execute("UPDATE holdfast_scope SET count = 0, digest = ?", ["0" * 32])
        applied = apply(heir, [], list(zip([file], aliases, strict=True)))
        assert applied.differing == []
        assert lab.rows("SELECT * FROM code") == [heir]
        assert lab.rows("SELECT key FROM holdfast_row") == [heir[:1]]


def test_each_row_of_a_file_is_counted_once(tmp_path: Path) -> None:
    """However it comes in: copied, in place of an older one, known already, or as a line."""
    held = [(4, ("same", "1", "a")), (9, ("newer", "1", "b")), (2, ("older", "1", "c"))]
    moved = [(3, ("older", "1", "d")), (1, ("taker", "1", "c"))]
    fresh = [(1, (f"fresh{number}", "1", f"f{number}")) for number in range(3)]
    file = snapshot(
        tmp_path / "1", "store/1", held[0], (8, ("newer", "1", "stale")), *moved, *fresh
    )
    filed = [Rows("code", [[1, "x", "1", "x"], [1, "y", "1", "y"]]), Gone("code", ["x"])]
    head = Head(
        protocol=1, epoch="e", device="d", user="u", echo="", time=0, schema="",
        scopes={"store/1": ScopeGrant(KEYS["store/1"].hex())},
    )  # fmt: skip
    told: list[int] = []
    with device(schema=SCHEMA) as lab, attached(lab.db.sync, [file]) as aliases:

        def take(rows: list[tuple[int, Code]], now: list[Code], **files: Any) -> list[str]:
            with transaction(lab.db.sync):
                lines = [Rows("code", [[rev, *row] for rev, row in rows])]
                final = Checkpoint({"store/1": position("store/1", *now)}, 2)
                return (
                    Applier(
                        lab.db.sync, SCHEMA, lab.db.program,
                        now_us=START_US, random_bytes=lab.random_bytes,
                    )
                    .apply(head, lines, final, **files)
                    .differing
                )  # fmt: skip

        take(held, [row for _, row in held])
        rows = [row for _, row in (*held[:2], *moved, *fresh)]
        assert not take(
            held[1:2], [*rows, ("y", "1", "y")],
            files=[(file, *aliases)], filed=filed, on_rows=told.append,
        )  # fmt: skip
        assert lab.rows("SELECT count(*) FROM code") == [(8,)]
    assert told == sorted(told), "it went back"
    assert len(set(told)) > 2, "nothing is told on the way"
    assert told[-1] == file.rows + 3


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
