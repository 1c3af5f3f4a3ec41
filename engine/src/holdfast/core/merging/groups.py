"""Cells: what the merge decides as one, a column or a group of columns.

Knows: tables, values and stamps. Must not know: policies, SQL or messages.
A group's name is its columns' names joined by commas; its value is the JSON text of an object of
their wire values; both in declared order. As wire forms are canonical, two values of a group are
equal exactly when all columns are. So merge, conflicts and journal treat it as one column, which
``column_of`` makes up.

Upholds I18: what was written together stays together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdfast.core import values
from holdfast.core.errors import BadValue
from holdfast.core.merging.rows import ServerRow, Stamp, stamp_of
from holdfast.core.values import Value
from holdfast.schema.model import GROUP_SEPARATOR, Column, Table


def cell_of(table: Table, column: str) -> str:
    """The name of the cell that a column is in."""
    return GROUP_SEPARATOR.join(table.group_of.get(column, (column,)))


def columns_of(name: str) -> tuple[str, ...]:
    """The columns of a cell."""
    return tuple(name.split(GROUP_SEPARATOR))


def column_of(table: Table, name: str) -> Column | None:
    """A column; for a group one that stands for it. None when the table has neither."""
    return table.by_name.get(name) or table.group_columns.get(name)


def value_in(table: Table, name: str, row: Mapping[str, Value]) -> Value:
    """The value of a cell, from those of columns by name; None when one of a group is missing."""
    if name not in table.group_columns:
        return row.get(name)
    columns = columns_of(name)
    if any(one not in row for one in columns):
        return None
    wire = {one: values.to_wire(table.by_name[one].type, row[one]) for one in columns}
    return msgspec.json.encode(wire).decode()


def value_of(table: Table, name: str, row: Sequence[Value]) -> Value:
    """The value of a cell in a row: all columns in declared order."""
    if name not in table.group_columns:
        return row[table.positions[name]]
    return value_in(table, name, {one: row[table.positions[one]] for one in columns_of(name)})


def wire_of(table: Table, name: str, value: Value) -> Any:
    """The wire form of a cell's value: of a group an object. What is not of a cell stays."""
    if name in table.group_columns:
        return None if value is None else msgspec.json.decode(str(value))
    column = table.by_name.get(name)
    return value if column is None else values.to_wire(column.type, value)


def stored_of(table: Table, name: str, wire: Any) -> Value:
    """The inverse of ``wire_of``. Raises ``BadValue``."""
    if name not in table.group_columns:
        column = table.by_name[name]
        return values.from_wire(column.type, wire, scale=column.scale)
    return value_in(table, name, parts_of(table, name, wire))


def parts_of(table: Table, name: str, wire: Any) -> dict[str, Value]:
    """The values of a cell's columns, from its wire form. Raises ``BadValue``."""
    if name not in table.group_columns:
        return {name: stored_of(table, name, wire)}
    columns = columns_of(name)
    if not isinstance(wire, dict) or wire.keys() != set(columns):
        raise BadValue(f"an object with {', '.join(columns)} and nothing else is needed")
    return {one: stored_of(table, one, wire[one]) for one in columns}


def stamp_in(row: ServerRow, name: str) -> Stamp:
    """The stamp of a cell of a row that lives or is remembered as deleted: columns of a group are
    always stamped together."""
    return stamp_of(row, columns_of(name)[0])


def is_untouched(row: ServerRow, name: str) -> bool:
    """Return whether nobody has written a cell since the insert."""
    return columns_of(name)[0] not in row.columns


def seen_base(name: str, base: int, bases: Mapping[str, int]) -> int:
    """The base of a change of a cell: of several, the one that knew the least."""
    return min(bases.get(one, base) for one in columns_of(name)) if bases else base


def differing(table: Table, old: Sequence[Value], new: Sequence[Value]) -> list[int]:
    """Positions, among the data columns, of those that two rows have differently, and of all that
    are one decision with them."""
    found = [
        position
        for position, (before, after) in enumerate(zip(old, new, strict=True))
        if before != after or type(before) is not type(after)
    ]
    if table.groups:
        return sorted({one for position in found for one in table.partners[position]})
    return found
