"""The declared steps of a migration: tables of a file that get another shape, or go, with all work.

Knows: the old program and the new one, and what has become of each table and column. Must not know:
additive steps, local objects, or who opens the file. All is within the caller's write transaction,
with capture quiet and no trigger or view of the engine's in the file.

    the table     made anew from the server's rows: the work on them is taken off first
    the work      noted changes, shadows and conflicts under the new names, values converted
    what is gone  what somebody wrote there goes to the inbox, with its value
    the rest      is replayed when all tables stand: what does not fit any more is set aside

Rows that do not fit the new shape (the server has changed them meanwhile) are left out; the digests
say so, and they come with the next answer or its verification.

Upholds I4, I15, I16 and I32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from holdfast.core.digest import Digest
from holdfast.core.errors import BadValue, DatabaseError
from holdfast.core.ids import transaction_id
from holdfast.core.keys import row_key
from holdfast.core.merging.groups import differing
from holdfast.core.values import Value, to_wire
from holdfast.protocol.first_sent import first_hash
from holdfast.replica.changes.outbox import sent_messages
from holdfast.replica.migration.kept_work import renamed_bases, translate_kept
from holdfast.replica.rebase.overlay import Overlay, assemble
from holdfast.replica.rebase.replay import Replay
from holdfast.replica.storage.database import unchecked
from holdfast.schema.lineage import Lineage, TableLineage
from holdfast.schema.model import CONFLICT_TABLE, Column, Table
from holdfast.sql.bookkeeping.statements import GONE, MEMBERS, ROWS, SCOPES
from holdfast.sql.migration.conflicts import concerns, conflict_of
from holdfast.sql.migration.reshape import misfits, reshaped_table, reshaped_value
from holdfast.sql.names import change_table, marks, names, quote, shadow_table
from holdfast.sql.replica import ReplicaProgram
from holdfast.sqlite import Connection, Row
from holdfast.sqlite.failpoints import failpoint

_NOTE = ("tx", "key", "was", "now", "base", "bases")
"""Columns of a note before its values."""


@dataclass(slots=True)
class _Kept:
    """Parts of a table that is being made anew."""

    made: str
    objects: list[str]
    notes: list[Row]
    worked: dict[str, bool]
    """Keys of rows with work on them, and whether the server has the row."""


@dataclass(slots=True)
class Reshaping:
    """The declared steps of one file."""

    db: Connection
    way: Lineage
    before: ReplicaProgram
    program: ReplicaProgram
    now_us: int
    random_bytes: Callable[[int], bytes]
    worked: dict[str, set[str]] = field(default_factory=dict)
    """By new table, the keys of rows that are replayed."""

    def run(self) -> dict[str, list[str]]:
        """Take the declared steps; by table, the columns that are new in it. All of these tables
        are to be hashed anew."""
        if not self.way.declared:
            return {}
        for message in list(sent_messages(self.db, self.way.old, self.before)):
            place = (first_hash(message).hex(), message.number)
            self.db.execute(GONE.set_first, place)
        translate_kept(
            self.db, self.way, visible=self._visible,
            reshape=lambda table, key, data: self._image(table, key, data, there=True),
        )  # fmt: skip
        kept = {
            one.new.name: self._make(one, number) for number, one in enumerate(self.way.reshaped)
        }
        failpoint("migrate.reshaped")
        changed = self._conflicts()
        for table in self.way.gone:
            self._inbox(table, self._notes(table))
            self._forget(table.name)
        self.db.execute("PRAGMA legacy_alter_table = ON")
        try:
            for old in (*self.way.gone, *(one.old for one in self.way.reshaped)):
                for name in (quote(old.name), change_table(old), shadow_table(old)):
                    self.db.execute(f"DROP TABLE {name}")
            self._rename_books()
            for one in self.way.reshaped:
                self._put(one, kept[one.new.name])
        finally:
            self.db.execute("PRAGMA legacy_alter_table = OFF")
        added = {one.new.name: [c.name for c in one.added] for one in self.way.reshaped}
        for table_name, columns in added.items():
            for column in columns:
                self.db.execute(
                    self.program.migration.put_added,
                    (table_name, column, self.way.new.generation),
                )
        return added | {name: [] for name in changed}

    def replay(self) -> None:
        """Show the work again on the rows of tables that were made anew, as far as it fits."""
        again = {name: keys for name, keys in self.worked.items() if keys}
        if not again:
            return
        overlays = {
            table.name: Overlay(self.db, table, self.program.tables[table.name])
            for table in self.way.new.all_tables
        }
        nothing: dict[str, set[str]] = {name: set() for name in overlays}
        Replay(self.db, overlays).run(nothing | again, nothing)

    # --- tables ---------------------------------------------------------------------------------

    def _make(self, table: TableLineage, number: int) -> _Kept:
        """Make the new table under a name of its own, with the server's rows."""
        old, new = table.old, table.new
        kept = _Kept(f"holdfast_made_{number}", self._objects(old), self._notes(old), {})
        sql = self.before.tables[old.name]
        overlay = Overlay(self.db, old, sql)
        for (key,) in (*self.db.execute(sql.unsettled_keys), *self.db.execute(sql.shadow_keys)):
            kept.worked[str(key)] = False
        truths = {key: overlay.truth(key, frozenset()) for key in kept.worked}
        with unchecked(self.db):
            for key in truths:
                overlay.write(key, None)
            for key, row in truths.items():
                if row is not None:
                    overlay.write(key, row)
                    kept.worked[key] = True
        create = self.program.migration.tables[new.name].create[0]
        head = f"CREATE TABLE IF NOT EXISTS {quote(new.name)} "
        assert create.startswith(head)
        self.db.execute(f"CREATE TABLE {kept.made} {create.removeprefix(head)}")
        fits = " AND ".join(
            f"NOT coalesce({misfits(new.by_name[name])}, 0)" for name in sorted(table.converted)
        )
        with unchecked(self.db):
            self.db.execute(
                f"INSERT OR IGNORE INTO {kept.made} ({names(new.column_names)}) "
                f"SELECT * FROM ({reshaped_table(table)}) WHERE {fits or '1'}"
            )
        return kept

    def _objects(self, table: Table) -> list[str]:
        """Indexes and triggers that others have made on a table."""
        found = self.db.execute(self.program.migration.attached, (table.name,))
        return [str(sql) for (sql,) in found]

    def _put(self, table: TableLineage, kept: _Kept) -> None:
        """Give the new table its name, and what belongs to it."""
        new = table.new
        self.db.execute(f"ALTER TABLE {kept.made} RENAME TO {quote(new.name)}")
        for sql in self.program.migration.tables[new.name].create:
            self.db.execute(sql)
        for sql in kept.objects:
            try:
                self.db.execute(sql)
            except DatabaseError:
                continue  # it was about what is no longer there
        self._leave_out(new)
        self._put_notes(table, kept.notes)
        overlay = Overlay(self.db, new, self.program.tables[new.name])
        for key, there in kept.worked.items():
            overlay.put_shadow(key, overlay.visible(key) if there else None)
        self.worked[new.name] = set(kept.worked)

    def _leave_out(self, table: Table) -> None:
        """Forget what is known of rows that did not fit."""
        there = {
            row_key(table, row) for row in self.db.iterate(self.program.tables[table.name].all_rows)
        }
        missing = {
            str(key) for _, key, _ in self.db.iterate(MEMBERS.of_table, (table.name,))
            if str(key) not in there
        }  # fmt: skip
        if missing:
            self._forget(table.name, missing)

    def _forget(self, table: str, keys: set[str] | None = None) -> None:
        """Let rows (None: all) of a table leave their scopes' digests."""
        gone: dict[str, list[int]] = {}
        for scope, key, hashed in self.db.execute(MEMBERS.of_table, (table,)):
            if keys is None or str(key) in keys:
                found = gone.setdefault(str(scope), [0, 0])
                found[0] += 1
                found[1] += int.from_bytes(hashed, "big") if isinstance(hashed, bytes) else 0
        for scope, _, count, text in self.db.execute(SCOPES.digests):
            if str(scope) in gone:
                less, total = gone[str(scope)]
                digest = Digest.of(int(str(count)), str(text)).with_sum(-less, -total)
                self.db.execute(SCOPES.set_digest, (digest.count, digest.hex, scope))
        if keys is None:
            for name in self.program.migration.books:
                self.db.execute(f"DELETE FROM {name} WHERE tbl = ?", (table,))
            return
        for key in keys:
            self.db.execute(MEMBERS.remove_row, (table, key))
            self.db.execute(ROWS.remove, (table, key))

    def _rename_books(self) -> None:
        """Give what is kept by the names of tables and columns the new ones."""
        moved = [one for one in self.way.reshaped if one.old.name != one.new.name]
        for was, now in (
            *((one.old.name, f":{one.new.name}") for one in moved),  # two may swap their names
            *((f":{one.new.name}", one.new.name) for one in moved),
        ):
            for name in self.program.migration.books:
                self.db.execute(f"UPDATE {name} SET tbl = ? WHERE tbl = ?", (now, was))
        for one in self.way.reshaped:
            if not one.names_differ:
                continue
            migration = self.program.migration
            for column_name, since in self.db.execute(migration.added_of, (one.new.name,)):
                self.db.execute(migration.drop_added, (one.new.name, column_name))
                column = one.renamed.get(str(column_name))
                if column is not None:
                    self.db.execute(self.program.migration.put_added, (one.new.name, column, since))

    # --- work -----------------------------------------------------------------------------------

    def _notes(self, table: Table) -> list[Row]:
        """The noted changes of a table, in the order in which they were noted."""
        values = names([f"{side}_{column.name}" for side in "on" for column in table.data_columns])
        comma = ", " if values else ""
        return self.db.execute(
            f"SELECT {names(_NOTE)}{comma}{values} FROM {change_table(table)} ORDER BY tx, rowid"
        )

    def _put_notes(self, table: TableLineage, notes: Sequence[Row]) -> None:
        """Note the changes of the old table as ones of the new; what is gone goes to the inbox."""
        new, width = table.new, len(table.old.data_columns)
        self._inbox(table.old, notes, table.gone)
        rows = []
        for note in notes:
            tx, key, was, now, base, bases = note[: len(_NOTE)]
            old, made = (
                self._image(table, str(key), note[at : at + width], there=bool(there))
                for at, there in ((len(_NOTE), was), (len(_NOTE) + width, now))
            )
            if was and now and table.gone and not differing(new, old, made):
                continue  # it changed nothing that is still there
            rows.append((tx, key, was, now, base, _renamed_bases(table, bases), *old, *made))
        if rows:
            self.db.executemany(
                f"INSERT INTO {change_table(new)} VALUES ({marks(len(rows[0]))})", rows
            )

    def _image(self, table: TableLineage, key: str, data: Row, *, there: bool) -> Row:
        width = len(table.new.data_columns)
        if not there:
            return (None,) * width
        try:
            row = assemble(table.old, key, data)
        except (BadValue, ValueError):
            row = (*(None for _ in table.old.key), *data)  # a key that nobody can read
        (made,) = self.db.execute(reshaped_value(table), row)
        return tuple(made[table.new.positions[c.name]] for c in table.new.data_columns)

    def _conflicts(self) -> list[str]:
        """Make of conflicts what they are now, with the work on them; their table, if any."""
        concerned = set(concerns(self.way))
        overlay = Overlay(self.db, CONFLICT_TABLE, self.program.tables[CONFLICT_TABLE.name])
        place = CONFLICT_TABLE.positions["table_name"]

        def now(row: Row) -> Row:
            return conflict_of(self.way, row) if str(row[place]) in concerned else row

        changed = False
        for row in self.db.execute(self.program.tables[CONFLICT_TABLE.name].all_rows):
            made = now(row)
            if made != row:
                overlay.write(row_key(CONFLICT_TABLE, row), made)
                changed = True
        pieces = self.program.migration.tables[CONFLICT_TABLE.name]
        for key, *data in self.db.execute(pieces.shadows):
            made = now(assemble(CONFLICT_TABLE, str(key), data))
            overlay.put_shadow(str(key), made)
        for note in self._notes(CONFLICT_TABLE):
            width = len(CONFLICT_TABLE.data_columns)
            images: list[Value] = []
            for at, there in ((len(_NOTE), note[2]), (len(_NOTE) + width, note[3])):
                image = note[at : at + width]
                if there:
                    image = now(assemble(CONFLICT_TABLE, str(note[1]), image))[1:]
                images += image
            self.db.execute(pieces.set_images, (*images, note[1], note[0]))
        return [CONFLICT_TABLE.name] if changed else []

    def _visible(self, table: TableLineage, key: str) -> Row | None:
        return Overlay(self.db, table.old, self.before.tables[table.old.name]).visible(key)

    # --- what is gone -----------------------------------------------------------------------------

    def _inbox(
        self, table: Table, notes: Sequence[Row], columns: Sequence[Column] | None = None
    ) -> None:
        """Put what was written into columns that are gone (None: into all) into the inbox, but for
        what the server has acknowledged."""
        wanted = table.data_columns if columns is None else columns
        if not notes or not wanted:
            return
        acked = {number for (number,) in self.db.execute(GONE.acked)}
        width, default = len(table.data_columns), table.default_data
        code = "table_gone" if columns is None else "column_gone"
        for note in notes:
            tx, key, was, now = note[:4]
            old, new = note[len(_NOTE) : len(_NOTE) + width], note[len(_NOTE) + width :]
            if tx in acked or not now:
                continue
            for place in differing(table, old if was else default, new):
                column = table.data_columns[place]
                if column in wanted:
                    self._gone(code, table, str(key), column, new[place])

    def _gone(self, code: str, table: Table, key: str, column: Column, value: Value) -> None:
        try:
            told = json.dumps(to_wire(column.type, value), ensure_ascii=False)
        except (BadValue, TypeError, ValueError):
            told = "null"
        what = f"table {table.name}" if code == "table_gone" else f"{table.name}.{column.name}"
        at = self.now_us
        self.db.execute(GONE.put, (at, table.name, key, column.name, told))
        message = f"{what} is gone with a new version of the app; {column.name} was to be {told}"
        self.db.execute(
            GONE.show, (transaction_id(self.random_bytes), at, code, message, column.name)
        )


def _renamed_bases(table: TableLineage, bases: Value) -> Value:
    """Return the base revisions of columns, as a note has them, under their new names."""
    if not isinstance(bases, str):
        return bases
    return json.dumps(renamed_bases(table, json.loads(bases)), separators=(",", ":"))
