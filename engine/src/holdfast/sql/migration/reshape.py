"""Statements that make rows of an older table into rows of a newer one, by declared steps.

Knows: lineages of tables, and SQLite's SQL. Must not know: which rows, or who asks. Conversions are
worked out by SQLite, whatever holds the rows: the same row becomes the same row everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.values import STORAGE
from holdfast.schema.lineage import TableLineage
from holdfast.schema.model import Column
from holdfast.sql.names import literal, names, quote
from holdfast.sql.tables import type_check

_COERCED = {
    "INTEGER": "CASE WHEN typeof({0}) = 'text' AND CAST(CAST({0} AS INTEGER) AS TEXT) = {0} OR "
    "typeof({0}) = 'real' AND {0} = CAST({0} AS INTEGER) THEN CAST({0} AS INTEGER) ELSE {0} END",
    "REAL": "CASE WHEN typeof({0}) = 'integer' THEN CAST({0} AS REAL) ELSE {0} END",
    "TEXT": "CASE WHEN typeof({0}) IN ('integer', 'real') THEN CAST({0} AS TEXT) ELSE {0} END",
    "BLOB": "{0}",
}
"""A value in the storage class of its column, where it loses nothing by that."""


def reshaped_sql(lineage: TableLineage, source: str) -> str:
    """Select the rows of the new table, all columns in declared order, from those of the old one;
    columns that were not there have their defaults."""
    for layer in lineage.layers:
        columns = ", ".join(
            f"{quote(one.source) if one.convert is None else f'({one.convert})'} AS "
            f"{quote(one.name)}"
            for one in layer
        )
        source = f"SELECT {columns} FROM ({source}) AS s"
    whole = []
    for column in lineage.new.columns:
        name = quote(column.name)
        if column.name not in lineage.columns:
            whole.append(f"{literal(column.default_value())} AS {name}")
        elif column.name in lineage.converted:
            whole.append(f"{coerced(column)} AS {name}")
        else:
            whole.append(name)
    return f"SELECT {', '.join(whole)} FROM ({source}) AS s"


def coerced(column: Column) -> str:
    """A converted value in the storage class of its column, where it loses nothing by that."""
    return _COERCED[STORAGE[column.type]].format(quote(column.name))


def misfits(column: Column) -> str:
    """The condition that a converted value is none of its column."""
    name = quote(column.name)
    return (
        f"{name} IS NOT NULL AND (typeof({name}) <> '{STORAGE[column.type].lower()}' OR "
        f"NOT ({type_check(column) or '1'}))"
    )


def reshaped_table(lineage: TableLineage) -> str:
    """The same from the old table itself."""
    old = lineage.old
    return reshaped_sql(lineage, f"SELECT {names(old.column_names)} FROM {quote(old.name)}")


def reshaped_value(lineage: TableLineage) -> str:
    """The same of one row: the parameters are its columns in declared order, in storage values."""
    row = ", ".join(
        f"CAST(?{number} AS {STORAGE[one.type]}) AS {quote(one.name)}"
        for number, one in enumerate(lineage.old.columns, start=1)
    )
    return reshaped_sql(lineage, f"SELECT {row}")


def renamed_places(lineage: TableLineage) -> Sequence[tuple[str, str]]:
    """The data columns that are still there: their old names and their new ones."""
    keys = set(lineage.new.key)
    return [(old, new) for new, old in lineage.columns.items() if new not in keys]
