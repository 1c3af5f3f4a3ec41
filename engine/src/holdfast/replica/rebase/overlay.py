"""The overlay: visible row = the server's row + unsettled changes replayed on it, in order.

Knows: change notes and shadows. Must not know: messages or the network.
Upholds I15 (a replica reads its own writes) and I32 (news leave pending work alone). Server truth
never fails to apply; a transaction whose replay breaks a constraint is set aside whole, see
``replica.rebase.replay``. Two sales from ten, while somebody else has added two:

                       at first     news: it is 12     7 is acknowledged
    server's row          10              12                  11           truth
                           │               │                   │
    unsettled            7: -1           7: -1                 │           replayed
                         8: -1           8: -1               8: -1         in order
                           ▼               ▼                   ▼
    visible row            8              10                  10           the app's table

The truth is the shadow where there is one, else what the earliest unsettled change has as old
values, else the visible row itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from holdfast.core.errors import ConstraintFailed
from holdfast.core.keys import key_text, key_values, row_key
from holdfast.core.merging.groups import differing
from holdfast.core.merging.policies import policy_of
from holdfast.core.values import Value
from holdfast.replica.storage.database import savepoint
from holdfast.schema.model import Table
from holdfast.sql.replica import Reference, TableProgram
from holdfast.sqlite import Connection, Row


@dataclass(frozen=True, slots=True)
class CapturedChange:
    """A captured change of one row: ``old`` and ``new`` are the data columns' values."""

    tx: int
    key: str
    was: bool
    now: bool
    base: int
    old: Row
    new: Row

    @classmethod
    def of(cls, table: Table, row: Row) -> CapturedChange:
        width = len(table.data_columns)
        return cls(
            int(str(row[0])), str(row[1]), bool(row[2]), bool(row[3]), int(str(row[4])),
            row[6 : 6 + width], row[6 + width : 6 + 2 * width],
        )  # fmt: skip

    def touched(self, table: Table) -> list[int]:
        """Positions, among the data columns, of the columns this change touches: of a group all,
        when one is another."""
        if self.was != self.now:
            return list(range(len(self.new)))
        return differing(table, self.old, self.new)


def assemble(table: Table, key: str, data: Sequence[Value]) -> Row:
    """A whole row in column order from its key's text and its data columns."""
    values = dict(zip(table.key, key_values(table, key), strict=True))
    values.update(zip((column.name for column in table.data_columns), data, strict=True))
    return tuple(values[name] for name in table.column_names)


def data_of(table: Table, row: Row) -> Row:
    """The data columns of a whole row."""
    return tuple(row[table.positions[column.name]] for column in table.data_columns)


def fold(table: Table, base: Row | None, note: CapturedChange) -> Row | None:
    """One change replayed on a row (data columns; None: absent). An insert of a row that is there
    writes what was chosen: what it has a default for stays as it is."""
    if not note.now:
        return None
    if base is None:
        return note.new
    result = list(base)
    touched = note.touched(table) if note.was else differing(table, table.default_data, note.new)
    for position in touched:
        policy = policy_of(table.data_columns[position])
        old = note.old[position] if note.was else None
        result[position] = policy.replay(result[position], old, note.new[position])
    return tuple(result)


def fold_all(
    table: Table,
    base: Row | None,
    notes: Sequence[CapturedChange],
    hidden: Collection[int] = (),
    *,
    stands: Callable[[CapturedChange], bool] = lambda _note: True,
) -> tuple[Row | None, CapturedChange | None]:
    """Changes of one row (all that are unsettled, in order) replayed on it, without those of
    transactions that are ``hidden``. With the row, the first change that has nothing to stand on.

    A row that news removed is revived by a change of it: as it was before the first of them, so
    that nothing of a hidden one comes back with it. ``stands``: whether it may be.
    """
    data = base
    for note in notes:
        if note.tx in hidden:
            continue
        if data is None and note.was and note.now:
            if not notes[0].was or not stands(note):
                return None, note
            data = notes[0].old
        data = fold(table, data, note)
    return data, None


class Overlay:
    """Rows of one table, as the server has them and as the person sees them."""

    def __init__(self, connection: Connection, table: Table, statements: TableProgram) -> None:
        self._db = connection
        self.table = table
        self._sql = statements

    @property
    def references(self) -> tuple[Reference, ...]:
        """The foreign keys that a replica enforces."""
        return self._sql.references

    def truth(self, key: str, decided: frozenset[int]) -> Row | None:
        """The server's version of a row as last applied; ``decided``: numbers being settled now."""
        shadow = self._db.execute(self._sql.select_shadow, (key,))
        if shadow:
            return assemble(self.table, key, shadow[0][1:]) if shadow[0][0] else None
        first = self._first(key, decided)
        if first is not None:
            return assemble(self.table, key, first.old) if first.was else None
        return self.visible(key)

    def _first(self, key: str, decided: frozenset[int]) -> CapturedChange | None:
        """The earliest change of a key among those unsettled or being settled now."""
        unsettled = {int(str(row[0])) for row in self._db.execute(self._sql.key_changes, (key,))}
        for row in self._db.execute(self._sql.all_key_changes, (key,)):
            if int(str(row[0])) in decided or int(str(row[0])) in unsettled:
                return CapturedChange.of(self.table, row)
        return None

    def visible(self, key: str) -> Row | None:
        """The row as the table holds it."""
        rows = self._db.execute(self._sql.select_row, key_values(self.table, key))
        return rows[0] if rows else None

    def visible_rows(self, keys: Collection[str]) -> Iterator[tuple[str, Row]]:
        """Rows as the table holds them, by key; those that are not there are left out."""
        if self._sql.select_rows:
            for row in self._db.execute(self._sql.select_rows, (json.dumps(list(keys)),)):
                yield row_key(self.table, row), row
            return
        for key in keys:
            found = self.visible(key)
            if found is not None:
                yield key, found

    def made(self, key: str, decided: frozenset[int], acked: frozenset[int]) -> Row | None:
        """Return what the server has made of a row that it knew as we did: our accepted changes
        on it.
        """
        row = self.truth(key, decided)
        data = None if row is None else data_of(self.table, row)
        for found in self._db.execute(self._sql.all_key_changes, (key,)):
            note = CapturedChange.of(self.table, found)
            if note.tx in acked:
                data = fold(self.table, data, note)
        return None if data is None else assemble(self.table, key, data)

    def put_shadow(self, key: str, truth: Row | None) -> None:
        data = data_of(self.table, truth) if truth else (None,) * len(self.table.data_columns)
        self._db.execute(self._sql.put_shadow, (key, int(truth is not None), *data))

    def write(self, key: str, row: Row | None) -> None:
        """Make the table hold this row (None: no row)."""
        if row is None:
            self._db.execute(self._sql.delete_row, key_values(self.table, key))
        else:
            self._db.execute(self._sql.upsert_row, row)

    def colliding(self, row: Row) -> list[str]:
        """Keys of other rows that hold a unique value of this one."""
        found: list[str] = []
        own = tuple(row[position] for position in self.table.key_positions)
        for unique, sql in zip(self.table.unique, self._sql.colliding, strict=True):
            values = [row[self.table.positions[name]] for name in unique]
            if all(value is not None for value in values):
                found += (
                    key_text(self.table, key) for key in self._db.execute(sql, (*values, *own))
                )
        return found

    def make_room(self, row: Row) -> list[str]:
        """Remove other rows that hold the unique values of server truth; returns their keys."""
        removed = self.colliding(row)
        for key in removed:
            self.write(key, None)
        return removed

    def notes(self, key: str) -> list[CapturedChange]:
        """The unsettled changes of a row, in order."""
        return [
            CapturedChange.of(self.table, row)
            for row in self._db.execute(self._sql.key_changes, (key,))
        ]

    def deleted_keys(self) -> list[str]:
        """Keys that unsettled transactions delete, as far as they are shown."""
        return [str(key) for (key,) in self._db.execute(self._sql.deleted_keys)]

    def touched(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Transactions from one number to another, with the keys that they change."""
        for tx, key in self._db.execute(self._sql.touched_keys, (first, last)):
            yield int(str(tx)), str(key)

    def children(self, place: int, parent: Row) -> list[str]:
        """Keys of the rows whose reference at this place is to that parent (its key's values)."""
        found = self._db.execute(self._sql.references[place].children, parent)
        return [key_text(self.table, key) for key in found]

    def attempt(self, key: str, row: Row | None) -> ConstraintFailed | None:
        """Make the table hold this row, if constraints allow; else nothing has changed."""
        try:
            with savepoint(self._db, "holdfast_replay"):
                self.write(key, row)
        except ConstraintFailed as error:
            return error
        return None
