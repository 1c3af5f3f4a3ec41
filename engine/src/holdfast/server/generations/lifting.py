"""A lift: rows and changes of an older generation made into ones of a newer.

Knows: what columns that were added hold in rows that do not say, and how columns are named now.
Must not know: what is stored, or who asks. Every side that makes a row of the older generation into
one of the newer gets the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from holdfast.core.errors import BadValue, Refuse
from holdfast.core.merging.cells import RowChange
from holdfast.core.values import Value
from holdfast.schema.projection import Projection, TableProjection
from holdfast.server.store.filling import fills_of


def lifts_back(table: TableProjection, row: Sequence[Value]) -> bool:
    """Return whether the projection of a row of the newer generation, lifted, is that row."""
    lifted = list(row)
    for column in table.added:
        lifted[table.newer.positions[column.name]] = column.default_value()
    try:
        return fills_of(table.newer, table.added).of(lifted) == tuple(row)
    except BadValue:
        return False


def lift_change(projection: Projection, change: RowChange) -> RowChange:
    """Return a change of the older generation as one of the newer: an insert has the columns that
    were added, but for those that are filled (``fill_change``); an update says nothing of them."""
    table = projection.tables[change.table.name]
    new, old, bases = change.new, change.old, change.bases
    if table.names:
        new, old = ({table.renamed(n): v for n, v in one.items()} for one in (new, old))
        bases = {table.renamed(name): base for name, base in bases.items()}
    if change.op == "insert" and table.added:
        added = {c.name: c.default_value() for c in table.added if c.fill is None}
        new = {**new, **added}
    return replace(change, table=table.newer, new=new, old=old, bases=bases)


def fill_change(change: RowChange, *, lives: bool) -> RowChange:
    """Return an insert with all columns: those that it leaves out have their fills, worked out from
    what it says; where the row lives already, their defaults, which nobody has chosen. Raises
    ``Refuse``."""
    table = change.table
    if change.op != "insert" or len(change.new) == len(table.data_columns):
        return change
    absent = [column for column in table.data_columns if column.name not in change.new]
    whole = {
        **dict(zip(table.key, change.key_values, strict=True)),
        **{column.name: column.default_value() for column in absent},
        **change.new,
    }
    if not lives:
        try:
            filled = fills_of(table, absent).of([whole[name] for name in table.column_names])
        except BadValue as error:
            raise Refuse(
                "bad_fill",
                f"{table.name}.{error.detail['column']} is filled by what this row says, and that "
                f"does not fit: {error.message}.",
                table=table.name, field=str(error.detail["column"]),
            ) from None  # fmt: skip
        whole = dict(zip(table.column_names, filled, strict=True))
    return replace(change, new={column.name: whole[column.name] for column in table.data_columns})
