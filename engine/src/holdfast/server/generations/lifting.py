"""A lift: rows and changes of an older generation made into ones of a newer.

Knows: what columns that were added hold in rows that do not say. Must not know: what is stored, or
who asks. Every side that makes a row of the older generation into one of the newer gets the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from holdfast.core.merging.cells import RowChange
from holdfast.core.values import Value
from holdfast.schema.projection import Projection, TableProjection


def lifts_back(table: TableProjection, row: Sequence[Value]) -> bool:
    """Return whether the projection of a row of the newer generation, lifted, is that row."""
    positions = table.newer.positions
    return all(row[positions[c.name]] == c.default_value() for c in table.added)


def lift_change(projection: Projection, change: RowChange) -> RowChange:
    """Return a change of the older generation as one of the newer: an insert has the columns that
    were added, an update says nothing of them."""
    table = projection.tables[change.table.name]
    new = change.new
    if change.op == "insert" and table.added:
        new = {**new, **{column.name: column.default_value() for column in table.added}}
    return replace(change, table=table.newer, new=new)
