"""Fills: the values that rows get in a column which is new to them.

Knows: how a declared expression becomes a statement of SQLite. Must not know: where rows come from.
There is one evaluator, SQLite, whatever holds the rows: the same row has the same fill everywhere.

An expression sees the row's columns under their names, those that are new as well: fills are made
in declared order, so a later one sees what an earlier one gave, and the default of those behind it.
The value is cast to the column's storage class, and NULL, where the column takes none, stands for
the default.
"""

from __future__ import annotations

from holdfast.core.values import STORAGE
from holdfast.schema.model import Column, Table
from holdfast.sql.names import literal, quote


def fill_sql(column: Column) -> str:
    """The expression, over columns of the row that are in reach under their names."""
    default = column.default_value()
    if column.fill is None:
        return literal(default)
    made = f"CAST(({column.fill}) AS {STORAGE[column.type]})"
    if column.nullable or default is None:
        return made
    return f"coalesce({made}, {literal(default)})"


def fill_value(table: Table, column: Column) -> str:
    """A statement that gives the fill of one row: the parameters are its columns in declared order,
    in storage values."""
    row = ", ".join(
        f"CAST(?{number} AS {STORAGE[one.type]}) AS {quote(one.name)}"
        for number, one in enumerate(table.columns, start=1)
    )
    return f"SELECT {fill_sql(column)} FROM (SELECT {row})"


def fill_rows(table: Table, column: Column) -> str:
    """A statement that fills the column of all rows that a table of SQLite holds."""
    return f"UPDATE {quote(table.name)} SET {quote(column.name)} = {fill_sql(column)}"
