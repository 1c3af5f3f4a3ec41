"""A projection: what an older generation of a schema sees of the rows of a newer one.

Knows: two declarations, of which the newer one serves devices of the older (``lineage.serves``).
Must not know: SQL, where rows are, or how a row of the older generation is made into one of the
newer. Pure.

Invariants: the key and the scopes of a row are the same in both generations; what a table that both
have alike says of a row is the same to the byte, but for conflicts: about what the older generation
does not know it sees none, and a column that has another name by now has its older one in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.core.values import Value
from holdfast.schema.lineage import TableLineage, lineage
from holdfast.schema.model import CONFLICT_TABLE, GROUP_SEPARATOR, Column, Schema, Table

_ABOUT_TABLE = CONFLICT_TABLE.positions["table_name"]
_ABOUT_COLUMN = CONFLICT_TABLE.positions["column_name"]


@dataclass(frozen=True, slots=True, eq=False)
class TableProjection:
    """One table that both generations have. ``same``: with the same columns in the same order,
    whatever their names."""

    older: Table
    newer: Table
    same: bool
    places: tuple[int, ...]
    """Where the older one's columns are in a row of the newer."""
    added: tuple[Column, ...]
    """Columns that only the newer one has."""
    names: Mapping[str, str]
    """The names of the older one's columns in the newer, where they are others."""
    about: Mapping[tuple[str, str], str]
    """Of conflicts: by table and name of a column, its older name, where it is another."""

    def row(self, row: Sequence[Value]) -> tuple[Value, ...]:
        """Return a row as the older generation has it."""
        if self.same:
            return tuple(row)
        seen = [row[place] for place in self.places]
        if self.about:
            where = str(row[_ABOUT_TABLE]), str(row[_ABOUT_COLUMN])
            seen[_ABOUT_COLUMN] = self.about.get(where, seen[_ABOUT_COLUMN])
        return tuple(seen)

    def renamed(self, name: str) -> str:
        """Return the newer name of a column of the older generation."""
        return self.names.get(name, name)


class Projection:
    """View of one older generation on a newer one."""

    def __init__(self, older: Schema, newer: Schema) -> None:
        self.generation = older.generation
        self.schema = older
        self.newer = newer
        way = lineage(older, newer).tables
        tables = {table.name: _table(way[table.name]) for table in older.all_tables}
        about = {
            (table.newer.name, new): old
            for table in tables.values()
            for old, new in table.names.items()
        }
        if about:
            conflicts = tables[CONFLICT_TABLE.name]
            tables[CONFLICT_TABLE.name] = replace(conflicts, same=False, about=about)
        self.tables: Mapping[str, TableProjection] = tables
        self.alike = all(table.same for table in self.tables.values())

    def shows(self, table: str, row: Sequence[Value]) -> bool:
        """Return whether it sees a row of the newer generation."""
        if table != CONFLICT_TABLE.name:
            return table in self.tables
        about = self.tables.get(str(row[_ABOUT_TABLE]))
        if about is None:
            return False
        named = str(row[_ABOUT_COLUMN])
        fresh = {column.name for column in about.added}
        return not named or fresh.isdisjoint(named.split(GROUP_SEPARATOR))


def _table(way: TableLineage) -> TableProjection:
    older, newer, names = way.old, way.new, way.renamed
    return TableProjection(
        older=older,
        newer=newer,
        same=tuple(names[name] for name in older.column_names) == newer.column_names,
        places=tuple(newer.positions[names[name]] for name in older.column_names),
        added=way.added,
        names={old: new for old, new in names.items() if old != new},
        about={},
    )
