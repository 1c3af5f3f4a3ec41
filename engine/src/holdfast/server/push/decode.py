"""Decoding of pushed transactions: checked, and made into changes that the merge understands.

Knows: schema, values and limits. Must not know: what is stored, or who may write it.
Every fault is a refusal of that one transaction, with a stable code and a message for a person; no
value is ever changed silently.

Upholds I27.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from holdfast.core import values
from holdfast.core.errors import BadValue, Refuse
from holdfast.core.keys import key_text
from holdfast.core.limits import TRANSACTION_CHANGES_MAX
from holdfast.core.merging.cells import RowChange
from holdfast.core.merging.policies import policy_of
from holdfast.core.values import Value
from holdfast.protocol.messages import Change, Transaction
from holdfast.schema.model import Column, Schema, Table

_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}\Z")

ClockShift = Callable[[int], int]
"""The server's version of a device's time stamp."""


def read_changes(schema: Schema, transaction: Transaction, shift: ClockShift) -> list[RowChange]:
    """The changes of a transaction in storage form. Raises ``Refuse``."""
    if transaction.void:
        code = transaction.void if _CODE.match(transaction.void) else "void"
        raise Refuse(code, "The device could not encode this change.")
    if len(transaction.changes) > TRANSACTION_CHANGES_MAX:
        raise Refuse(
            "too_many_changes",
            f"A transaction has at most {TRANSACTION_CHANGES_MAX} changes.",
        )
    seen: set[tuple[str, str]] = set()
    changes = []
    for change in transaction.changes:
        table = schema.by_name.get(change.table)
        if table is None:
            raise Refuse("unknown_table", f"There is no table {change.table!r}.")
        row_change = _read_change(table, change, shift)
        place = (table.name, row_change.key)
        if place in seen:
            raise Refuse(
                "duplicate_change", f"{table.name} {row_change.key!r} is changed twice.",
                table=table.name, key=row_change.key,
            )  # fmt: skip
        seen.add(place)
        changes.append(row_change)
    return changes


def _read_change(table: Table, change: Change, shift: ClockShift) -> RowChange:
    key_values, key = read_key(table, change.key)
    new = {} if change.op == "delete" else _read_new(table, change, shift)
    for name in change.bases:
        if name not in table.by_name:
            raise _unknown_column(table, name)
    return RowChange(
        table=table,
        key=key,
        key_values=key_values,
        op=change.op,
        base=change.base,
        bases=change.bases,
        new=new,
        old=_read_values(table, change.old, _stood) if change.old else {},
    )


def read_key(table: Table, wire: list[object]) -> tuple[tuple[Value, ...], str]:
    """The storage values of a key, and its text. Raises ``Refuse`` (``bad_key``)."""
    columns = table.key_columns
    if len(wire) == len(columns) == 1 and columns[0].type == "uuid":  # as most keys are
        (value,) = wire
        if isinstance(value, str) and values.is_uuid(value):
            return (value,), value
    if len(wire) != len(columns):
        raise Refuse(
            "bad_key", f"The key of {table.name} has {len(columns)} columns.", table=table.name
        )
    try:
        key = tuple(
            [
                values.from_wire(column.type, value, scale=column.scale)
                for column, value in zip(columns, wire, strict=True)
            ]
        )
        text = key_text(table, key)
    except BadValue as error:
        raise Refuse(
            "bad_key", f"The key of {table.name} does not fit: {error.message}.", table=table.name
        ) from None
    if None in key or "" in key or b"" in key:
        raise Refuse("bad_key", f"The key of {table.name} must not be empty.", table=table.name)
    return key, text


def _read_new(table: Table, change: Change, shift: ClockShift) -> dict[str, Value]:
    new = _read_values(table, change.new, _said_by[change.op])
    for name in table.key:
        if name in new:
            raise Refuse(
                "bad_key", f"{table.name}.{name} is part of the key and never changes.",
                table=table.name, field=name,
            )  # fmt: skip
    if None in new.values():
        for name, value in new.items():
            if value is None and not table.by_name[name].nullable:
                raise _empty(table, table.by_name[name])
    if table.has_corrected:
        for name, value in new.items():
            if table.by_name[name].corrected and isinstance(value, int):
                new[name] = shift(value)
    if change.op == "insert" and len(new) < len(table.data_columns):
        _fill(table, new)
    for group in table.groups if change.op == "update" else ():
        named = [name for name in group if name in new]
        if named and len(named) < len(group):
            raise Refuse(
                "group_incomplete", f"{', '.join(group)} of {table.name} are one decision; this "
                f"change has only {', '.join(named)}. Update the app on the device, or let it "
                "write all of them.", table=table.name, field=named[0],
            )  # fmt: skip
    return new


def _fill(table: Table, new: dict[str, Value]) -> None:
    """Give the columns that an insert leaves out their defaults, but for those that are filled when
    it is merged. Raises ``Refuse``."""
    for column in table.data_columns:
        if column.name not in new and column.fill is None:
            default = column.default_value()
            if default is None and not column.nullable:
                raise _empty(table, column)
            new[column.name] = default


def _stood(column: Column, wire: object) -> Value:
    return values.wire_reader(column.type)(wire, column.scale)


def _said_by_insert(column: Column, wire: object) -> Value:
    return policy_of(column).check(column, wire, False)


def _said_by_update(column: Column, wire: object) -> Value:
    return policy_of(column).check(column, wire, True)


_said_by = {"insert": _said_by_insert, "update": _said_by_update}


def _read_values(
    table: Table, wires: Mapping[str, object], read: Callable[[Column, object], Value]
) -> dict[str, Value]:
    """The storage values of columns, or what a change says of them, by name."""
    found: dict[str, Value] = {}
    name = ""
    try:
        for name, wire in wires.items():
            column = table.by_name.get(name)
            if column is None:
                raise _unknown_column(table, name)
            found[name] = None if wire is None else read(column, wire)
    except BadValue as error:
        raise Refuse(
            "bad_value", f"{table.name}.{name}: {error.message}.", field=name, table=table.name
        ) from None
    return found


def _unknown_column(table: Table, name: str) -> Refuse:
    return Refuse(
        "unknown_column", f"{table.name} has no column {name!r}.", field=name[:60],
        table=table.name,
    )  # fmt: skip


def _empty(table: Table, column: Column) -> Refuse:
    return Refuse(
        "not_null", f"{table.name}.{column.name} must have a value.", field=column.name,
        table=table.name,
    )  # fmt: skip
