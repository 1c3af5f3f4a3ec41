"""The declared steps of a growth in a SQLite server: tables that get another shape, or go.

Knows: tables of a file, within the write transaction that makes it grow. Must not know: which steps
a schema takes. A table of another shape is made anew from its rows. When a step raises, the
transaction is undone: nothing was changed.

Upholds I12: the digests of scopes lose what a table that goes had in them; what has another hash is
hashed page by page after this, as after any growth.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from msgspec.structs import replace

from holdfast.core.digest import Digest
from holdfast.core.errors import DatabaseError, SchemaError
from holdfast.core.values import Value
from holdfast.schema.lineage import Lineage, TableLineage
from holdfast.schema.model import CONFLICT_TABLE, Table
from holdfast.server.store.filling import reshaped_image, reshaped_note, reshaped_stamps
from holdfast.sql.changes import create_change_table
from holdfast.sql.migration.conflicts import concerns, conflict_of
from holdfast.sql.migration.in_the_way import SQLITE, rows_in_the_way, stopped_by
from holdfast.sql.migration.reshape import reshaped_table
from holdfast.sql.names import change_table, literal, marks, names, quote
from holdfast.sql.tables import create_indexes, create_table
from holdfast.sqlite import Connection
from holdfast.sqlite.failpoints import failpoint

_OF_TABLES = (
    "holdfast_row", "holdfast_feed", "holdfast_journal", "holdfast_journal_scope", "holdfast_noted",
)  # fmt: skip


@dataclass(slots=True)
class _Kept:
    """Parts of a table that is being made anew."""

    made: str
    objects: list[str] = field(default_factory=list)
    notes: list[tuple[Value, ...]] = field(default_factory=list)


def reshape(db: Connection, path: str, way: Lineage) -> list[str]:
    """Take the declared steps; the tables whose rows are to be hashed anew. Raises ``SchemaError``
    (``rows_in_the_way``, ``schema_mismatch``), and then nothing may be committed."""
    if not way.declared:
        return []
    stopped = stopped_by(path, rows_in_the_way(lambda sql: list(db.execute(sql)), SQLITE, way))
    if stopped is not None:
        raise stopped
    db.execute("PRAGMA legacy_alter_table = ON")
    try:
        kept = {one.new.name: _make(db, path, one, n) for n, one in enumerate(way.reshaped)}
        failpoint("grow.reshaped")
        changed = _conflicts(db, way)
        for table in way.gone:
            _forget(db, table)
        for old in (*way.gone, *(one.old for one in way.reshaped)):
            db.execute(f"DROP TABLE {quote(old.name)}")
            db.execute(f"DROP TABLE {change_table(old)}")
        _rename_books(db, way)
        for one in way.reshaped:
            _put(db, path, one, kept[one.new.name])
    finally:
        db.execute("PRAGMA legacy_alter_table = OFF")
    return [*changed, *(one.new.name for one in way.reshaped)]


def _make(db: Connection, path: str, table: TableLineage, number: int) -> _Kept:
    """Make the new table under a name of its own, with the rows of the old one."""
    old, new = table.old, table.new
    there = {str(n) for (n,) in db.execute("SELECT name FROM pragma_table_xinfo(?)", (old.name,))}
    strange = sorted(there - set(old.column_names))
    if strange:
        raise SchemaError(
            f"{path}: table {old.name} has a column of somebody else, {strange[0]}, which would be "
            "lost with its old form: move it to a table of its own; nothing was changed",
            code="schema_mismatch",
        )
    kept = _Kept(f"holdfast_made_{number}")
    kept.objects = [
        str(sql)
        for (sql,) in db.execute(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND type IN ('index', 'trigger') "
            "AND sql IS NOT NULL AND name NOT GLOB 'holdfast_*'",
            (old.name,),
        )
    ]
    for tx, key, was, now, base, bases, *data in db.execute(f"SELECT * FROM {change_table(old)}"):
        width = len(old.data_columns)
        images = [reshaped_note(table, str(key), tuple(data[at : at + width])) for at in (0, width)]
        kept.notes.append((tx, key, was, now, base, bases, *images[0], *images[1]))
    db.execute(create_table(replace(new, name=kept.made)))
    try:
        db.execute(
            f"INSERT INTO {quote(kept.made)} ({names(new.column_names)}) {reshaped_table(table)}"
        )
    except DatabaseError as error:
        raise SchemaError(
            f"{path}: the rows of {old.name} do not fit its new form: {error.message}; nothing was "
            "changed",
            code="rows_in_the_way",
        ) from None
    return kept


def _put(db: Connection, path: str, table: TableLineage, kept: _Kept) -> None:
    """Give the new table its name, and what belongs to it."""
    new = table.new
    db.execute(f"ALTER TABLE {quote(kept.made)} RENAME TO {quote(new.name)}")
    for sql in (*create_indexes(new), *create_change_table(new)):
        db.execute(sql)
    if kept.notes:
        into = f"INSERT INTO {change_table(new)} VALUES ({marks(len(kept.notes[0]))})"
        db.executemany(into, kept.notes)
    for sql in kept.objects:
        try:
            db.execute(sql)
        except DatabaseError as error:
            raise SchemaError(
                f"{path}: {sql.splitlines()[0][:80]} does not fit the new form of {new.name}: "
                f"{error.message}. Drop it, start again, and create it "
                "afterwards; nothing was changed",
                code="schema_mismatch",
            ) from None


# What is kept about rows


def _forget(db: Connection, table: Table) -> None:
    """Forget a table that goes: its rows leave the digests of their scopes."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for scope, hashed, size in db.iterate(
        "SELECT scope, hash, size FROM holdfast_feed WHERE tbl = ? AND removed = 0", (table.name,)
    ):
        assert isinstance(hashed, bytes)
        found = sums[str(scope)]
        found[0] += 1
        found[1] += int.from_bytes(hashed, "big")
        found[2] += int(str(size))
    for scope, (count, total, size) in sums.items():
        ((rows, digest),) = db.execute(
            "SELECT count, digest FROM holdfast_scope WHERE scope = ?", (scope,)
        )
        now = Digest.of(int(str(rows)), str(digest)).with_sum(-count, -total)
        db.execute(
            "UPDATE holdfast_scope SET count = ?, digest = ?, bytes = bytes - ? WHERE scope = ?",
            (now.count, now.hex, size, scope),
        )
        db.execute(
            "UPDATE holdfast_commit SET count = ?1, digest = ?2 WHERE scope = ?3 AND version = "
            "(SELECT head FROM holdfast_scope WHERE scope = ?3)",
            (now.count, now.hex, scope),
        )
    for name in _OF_TABLES:
        db.execute(f"DELETE FROM {name} WHERE tbl = ?", (table.name,))


def _rename_books(db: Connection, way: Lineage) -> None:
    """Give all that is kept by the names of tables and columns the new ones."""
    moved = [one for one in way.reshaped if one.old.name != one.new.name]
    for one in moved:  # by way of names that nobody has: two may have changed theirs
        for name in _OF_TABLES:
            db.execute(
                f"UPDATE {name} SET tbl = ':' || ? WHERE tbl = ?", (one.new.name, one.old.name)
            )
    for one in moved:
        for name in _OF_TABLES:
            db.execute(
                f"UPDATE {name} SET tbl = ? WHERE tbl = ':' || ?", (one.new.name, one.new.name)
            )
    for one in way.reshaped:
        if one.names_differ or one.converted:
            _rename_columns(db, one)


def _rename_columns(db: Connection, table: TableLineage) -> None:
    name = table.new.name
    for key, stamps, image in list(
        db.iterate("SELECT key, stamps, image FROM holdfast_row WHERE tbl = ?", (name,))
    ):
        assert isinstance(stamps, bytes)
        now = reshaped_stamps(table, stamps)
        last = reshaped_image(table, image) if isinstance(image, bytes) else image
        if (now, last) != (stamps, image):
            db.execute(
                "UPDATE holdfast_row SET stamps = ?, image = ? WHERE tbl = ? AND key = ?",
                (now, last, name, key),
            )
    cases = " ".join(
        f"WHEN {literal(old)} THEN {literal(new)}" for new, old in table.columns.items()
    )
    db.execute(
        f"UPDATE holdfast_journal SET col = CASE col {cases} ELSE col END WHERE tbl = ?", (name,)
    )


def _conflicts(db: Connection, way: Lineage) -> list[str]:
    """Make of conflicts what they are now; the name of their table, when there are any."""
    concerned = concerns(way)
    columns = names(CONFLICT_TABLE.column_names)
    rows = db.execute(
        f"SELECT {columns} FROM holdfast_conflict WHERE table_name IN ({marks(len(concerned))})",
        concerned,
    )
    if not rows:
        return []
    db.executemany(
        f"INSERT OR REPLACE INTO holdfast_conflict ({columns}) "
        f"VALUES ({marks(len(CONFLICT_TABLE.columns))})",
        [conflict_of(way, row) for row in rows],
    )
    return [CONFLICT_TABLE.name]
