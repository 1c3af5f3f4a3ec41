"""The values of new columns, wherever a file has images of rows, and what is proven of them.

Knows: rows, notes, shadows, hashes. Must not know: which steps a schema takes, or local objects.

A row's fill is that of the server's row, before this device's changes: the changes do not name the
column, so the server gives the row its fill and then takes them. What this device inserted has the
fill of what it inserted. So a note of a change carries the fill of the row it was made on, and what
is shown has it, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from holdfast.core.digest import Digest, RowHasher
from holdfast.core.errors import BadValue, ConstraintFailed, SchemaError
from holdfast.core.keys import row_key, row_scopes
from holdfast.core.limits import ROWS_PER_LINE
from holdfast.core.values import Value, check
from holdfast.replica.rebase.overlay import Overlay, assemble, data_of, fold_all
from holdfast.replica.storage.aside import SetAside
from holdfast.schema.model import Column, Table
from holdfast.sql.bookkeeping.statements import MEMBERS, SCOPES
from holdfast.sql.replica import ReplicaProgram
from holdfast.sqlite import Connection, Row

Told = Callable[[int, int], None]
"""Hears how many rows are done, and of how many."""


class NewColumns:
    """The new columns of a file's tables, after they have been added with their defaults."""

    def __init__(self, connection: Connection, program: ReplicaProgram, told: Told) -> None:
        self._db = connection
        self._program = program
        self._tables = {t.name: t for t in (*program.schema.tables, *program.engine_tables)}
        self._told = told
        self._done = self._total = 0

    def put(self, added: Mapping[str, Sequence[str]]) -> None:
        """Set them everywhere; ``added``: by table, the columns that are new in it."""
        for name in added:
            ((rows,),) = self._db.execute(f'SELECT count(*) FROM "{name}"')
            self._total += int(str(rows))
        if added:
            self._told(0, self._total)
        hidden = SetAside(self._db).before
        for name, names in added.items():
            table = self._tables[name]
            columns = [column for column in table.columns if column.name in names]
            filler = _Filler(self._db, table, columns, self._program)
            filler.fill_rows()
            self._fill_images(table, filler)
            overlay = Overlay(self._db, table, self._program.tables[name])
            worked = self._worked(name)
            if any(column.fill is not None for column in columns):
                for key in worked:
                    _show(overlay, key, columns, hidden)
            self._hash(table, overlay, worked)
        if added:
            self._told(self._total, self._total)

    def _worked(self, name: str) -> set[str]:
        """Keys of rows that show more than the server's row."""
        sql = self._program.tables[name]
        found = (*self._db.execute(sql.unsettled_keys), *self._db.execute(sql.shadow_keys))
        return {str(key) for (key,) in found}

    def _fill_images(self, table: Table, filler: _Filler) -> None:
        """Shadows are the server's rows; notes carry what the row had when they were made."""
        sql = self._program.migration.tables[table.name]
        put = self._program.tables[table.name].put_shadow
        for key, *data in self._db.execute(sql.shadows):
            self._db.execute(put, (key, 1, *filler.filled(str(key), data)))
        width = len(table.data_columns)
        for key, notes in groupby(self._db.execute(sql.images), lambda note: str(note[1])):
            carried: list[Value] | None = None
            for note in notes:
                tx, _, was, now = note[:4]
                old, new = list(note[6 : 6 + width]), list(note[6 + width :])
                if was:
                    carried = carried or filler.of(filler.filled(key, old))
                    filler.put(old, carried)
                if now:
                    if not was or carried is None:
                        carried = filler.of(filler.filled(key, new))
                    filler.put(new, carried)
                else:
                    carried = None
                self._db.execute(sql.set_images, (*old, *new, key, tx))

    # --- proofs ---------------------------------------------------------------------------------

    def _hash(self, table: Table, overlay: Overlay, worked: set[str]) -> None:
        """Make the hashes of the server's rows anew, and the digests that are made of them."""
        before = self._sums(table.name)
        hashers = {
            str(scope): RowHasher(bytes(key), table.name)
            for scope, key, _, _ in self._db.execute(SCOPES.digests)
            if isinstance(key, bytes)
        }
        entries: list[tuple[Value, ...]] = []
        for key, row in self._truths(table, overlay, worked):
            for scope in row_scopes(table, row):
                hasher = hashers.get(scope)
                if hasher is not None:
                    entries.append((hasher.hash((key, *row)), scope, table.name, key))
            self._done += 1
            if len(entries) >= ROWS_PER_LINE:
                self._store(entries)
        self._store(entries)
        after = self._sums(table.name)
        for scope, count, text in [
            (str(s), int(str(c)), str(d)) for s, _, c, d in self._db.execute(SCOPES.digests)
        ]:
            if scope in before:
                digest = Digest.of(count, text).with_sum(0, after[scope] - before[scope])
                self._db.execute(SCOPES.set_digest, (digest.count, digest.hex, scope))

    def _truths(
        self, table: Table, overlay: Overlay, worked: set[str]
    ) -> Iterator[tuple[str, Row]]:
        for row in self._db.iterate(self._program.tables[table.name].all_rows):
            key = row_key(table, row)
            if key not in worked:
                yield key, row
        for key in sorted(worked):
            truth = overlay.truth(key, frozenset())
            if truth is not None:
                yield key, truth

    def _store(self, entries: list[tuple[Value, ...]]) -> None:
        self._db.executemany(self._program.migration.set_hash, entries)
        entries.clear()
        self._told(min(self._done, self._total), self._total)

    def _sums(self, name: str) -> dict[str, int]:
        sums: dict[str, int] = defaultdict(int)
        for scope, _, hashed in self._db.iterate(MEMBERS.of_table, (name,)):
            if isinstance(hashed, bytes):
                sums[str(scope)] += int.from_bytes(hashed, "big")
        return sums


class _Filler:
    """The values that rows of one table get in the columns that are new."""

    def __init__(
        self, connection: Connection, table: Table, columns: list[Column], program: ReplicaProgram
    ) -> None:
        self._db = connection
        self._table = table
        self._columns = columns
        self._sql = program.migration.tables[table.name].columns
        names = [column.name for column in table.data_columns]
        self._places = [names.index(column.name) for column in columns]

    def fill_rows(self) -> None:
        """Fill them in all rows of the table."""
        for column in self._columns:
            sql = self._sql[column.name].fill_rows
            if sql:
                try:
                    self._db.execute(sql)
                except ConstraintFailed as error:
                    raise self._unfit(column, error.message) from None

    def filled(self, key: str, data: Sequence[Value]) -> list[Value]:
        """An image of a row (its data columns), with the new ones set."""
        row = list(data)
        self.put(row, [column.default_value() for column in self._columns])
        for column, place in zip(self._columns, self._places, strict=True):
            sql = self._sql[column.name].fill_value
            if sql:
                try:
                    whole = assemble(self._table, key, row)
                except (BadValue, ValueError):
                    continue  # a key that nobody can read: what has it is refused anyway
                ((value,),) = self._db.execute(sql, whole)
                try:
                    row[place] = check(column.type, value, scale=column.scale)
                except BadValue as error:
                    raise self._unfit(column, error.message) from None
        return row

    def of(self, data: Sequence[Value]) -> list[Value]:
        """The new columns of an image."""
        return [data[place] for place in self._places]

    def put(self, data: list[Value], values: Sequence[Value]) -> None:
        """Set them in an image."""
        for place, value in zip(self._places, values, strict=True):
            data[place] = value

    def _unfit(self, column: Column, why: str) -> SchemaError:
        return SchemaError(
            f"the fill of {self._table.name}.{column.name} gives a value that does not fit: {why}; "
            "nothing was changed",
            code="bad_fill",
        )


def _show(overlay: Overlay, key: str, columns: list[Column], hidden: Mapping[int, int]) -> None:
    """Let a row with work on it show what its new columns are by that work."""
    table = overlay.table
    shown = overlay.visible(key)
    if shown is None:
        return
    truth = overlay.truth(key, frozenset())
    base = None if truth is None else data_of(table, truth)
    data, _ = fold_all(table, base, overlay.notes(key), hidden)
    if data is None:
        return
    row = list(shown)
    made = assemble(table, key, data)
    for column in columns:
        place = table.positions[column.name]
        row[place] = made[place]
    overlay.write(key, tuple(row))
