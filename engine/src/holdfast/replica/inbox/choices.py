"""The sides of a conflict as people read them, and what a person chooses.

Knows: columns, groups of them, and values. Must not know: SQL, or where a conflict is kept.
A side about one column is its value. A side about a group (columns that are one decision) is a
mapping of the values of all its columns, and so is what is chosen; a part of it is no choice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from holdfast.core.errors import BadValue, UsageError
from holdfast.core.merging.groups import columns_of
from holdfast.core.values import Value, check, from_wire, to_wire
from holdfast.core.values import plain as plain_value
from holdfast.schema.model import Column, Table


def plain(column: Column | None, wire: Any) -> Any:
    """A wire value as people read it in JSON: integers as numbers."""
    return wire if column is None else plain_value(column.type, wire)


def parse(column: Column, text: str) -> Value:
    """A value typed by a person, for a column. Raises ``BadValue``."""
    value: Any = text
    try:
        if column.type in ("integer", "timestamp"):
            value = int(text)
        elif column.type == "real":
            value = float(text)
        elif column.type == "boolean":
            value = {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        elif column.type == "bytes":
            value = bytes.fromhex(text)
    except (ValueError, KeyError):
        raise BadValue(f"{text!r} is not a value for {column.name} ({column.type})") from None
    return check(column.type, value, scale=column.scale)


def shown(table: Table | None, cell: str, text: Value) -> Any:
    """A side as it is stored, JSON text, for people: of a group, values by column."""
    wire = json.loads(text) if isinstance(text, str) else None
    if table is None:
        return wire
    if cell in table.group_columns and isinstance(wire, dict):
        return {name: plain(table.by_name.get(name), value) for name, value in wire.items()}
    return plain(table.by_name.get(cell), wire)


def kept(table: Table, cell: str, side: Any) -> dict[str, Value]:
    """The columns of a side that ``shown`` has shown, to be written."""
    columns = columns_of(cell)
    values = side if len(columns) > 1 else {cell: side}
    result = {}
    for name in columns:
        column, value = table.by_name[name], values[name]
        wire = str(value) if type(value) is int else value  # what ``plain`` has made of it
        result[name] = from_wire(column.type, wire, scale=column.scale)
    return result


def given(table: Table, cell: str, value: Any) -> dict[str, Value]:
    """Return what a person gives instead of a side: a value, or its text; for a group a mapping
    of all its columns, or that as JSON text. Raises ``BadValue`` or ``UsageError``
    (``bad_choice``)."""
    columns = columns_of(cell)
    if len(columns) == 1:
        return {cell: _one(table.by_name[cell], value)}
    choice = value
    if isinstance(value, str):
        with suppress(ValueError):
            choice = json.loads(value)
    if not isinstance(choice, Mapping) or set(choice) != set(columns):
        example = json.dumps(dict.fromkeys(columns, "..."))
        raise UsageError(
            f"{', '.join(columns)} are one decision: give all of them, as {example}",
            code="bad_choice",
        )
    return {name: _one(table.by_name[name], choice[name]) for name in columns}


def _one(column: Column, value: Any) -> Value:
    if isinstance(value, str):
        return parse(column, value)
    return check(column.type, value, scale=column.scale)


def choice_text(table: Table, cell: str, values: Mapping[str, Value]) -> str:
    """Return what was chosen, as a conflict keeps it: JSON text of the wire form."""
    wire = {name: to_wire(table.by_name[name].type, value) for name, value in values.items()}
    return msgspec.json.encode(wire if len(wire) > 1 else wire[cell]).decode()
