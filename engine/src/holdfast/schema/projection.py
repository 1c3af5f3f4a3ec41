"""A projection: what an older generation of a schema sees of the rows of a newer one.

Knows: two declarations, of which the newer one only adds to the older. Must not know: SQL, where
rows are, or how a row of the older generation is made into one of the newer. Pure.

Invariants: the key and the scopes of a row are the same in both generations; what a table that both
have alike says of a row is the same to the byte, but for conflicts about what the older generation
does not know, which it does not see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.values import Value
from holdfast.schema.model import CONFLICT_TABLE, GROUP_SEPARATOR, Column, Schema, Table

_ABOUT_TABLE = CONFLICT_TABLE.positions["table_name"]
_ABOUT_COLUMN = CONFLICT_TABLE.positions["column_name"]


@dataclass(frozen=True, slots=True, eq=False)
class TableProjection:
    """One table that both generations have. ``same``: with the same columns in the same order."""

    older: Table
    newer: Table
    same: bool
    places: tuple[int, ...]
    """Where the older one's columns are in a row of the newer."""
    added: tuple[Column, ...]
    """Columns that only the newer one has."""

    def row(self, row: Sequence[Value]) -> tuple[Value, ...]:
        """Return a row as the older generation has it."""
        return tuple(row) if self.same else tuple([row[place] for place in self.places])


class Projection:
    """View of one older generation on a newer one."""

    def __init__(self, older: Schema, newer: Schema) -> None:
        self.generation = older.generation
        self.schema = older
        self.newer = newer
        self.tables: Mapping[str, TableProjection] = {
            table.name: _table(table, newer.by_name[table.name]) for table in older.all_tables
        }
        self.alike = all(table.same for table in self.tables.values())

    def shows(self, table: str, row: Sequence[Value]) -> bool:
        """Return whether it sees a row of the newer generation."""
        if table != CONFLICT_TABLE.name:
            return table in self.tables
        about = self.tables.get(str(row[_ABOUT_TABLE]))
        if about is None:
            return False
        named = str(row[_ABOUT_COLUMN])
        return not named or all(c in about.older.by_name for c in named.split(GROUP_SEPARATOR))


def _table(older: Table, newer: Table) -> TableProjection:
    return TableProjection(
        older=older,
        newer=newer,
        same=older.column_names == newer.column_names,
        places=tuple(newer.positions[name] for name in older.column_names),
        added=tuple(column for column in newer.columns if column.name not in older.by_name),
    )
