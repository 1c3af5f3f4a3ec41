"""Fills and conversions of single rows, worked out by SQLite in memory, whatever holds the rows.

Knows: a table's declared fills and steps, which values fit its columns, and the packed forms of
what is kept of rows by the names of their columns. Must not know: what is stored, or what becomes
of a value that does not fit. The same row gets the same values on every side.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.core.errors import BadValue, DatabaseError, SchemaError
from holdfast.core.keys import key_values
from holdfast.core.limits import FILLED_ROWS_KEPT_MAX, FILLS_KEPT_MAX
from holdfast.core.values import STORAGE, Row, Value, check
from holdfast.schema.lineage import TableLineage
from holdfast.schema.model import GROUP_SEPARATOR, Column, Table
from holdfast.sql.migration.fills import fill_sql
from holdfast.sql.migration.reshape import reshaped_value
from holdfast.sql.names import names, quote
from holdfast.sql.tables import declared_check
from holdfast.sqlite import Connection, OpenOptions, driver


class Fills:
    """The fills of some columns of a table."""

    def __init__(self, table: Table, columns: Sequence[Column]) -> None:
        self.table = table
        self.columns = tuple(column for column in columns if column.fill is not None)
        self._places = [table.positions[column.name] for column in self.columns]
        self._sql = _statement(table, self.columns)
        # Zeros of both signs are equal, and their fills may differ.
        self._keeps = all(column.type != "real" for column in table.columns)
        self._made: dict[Row, Row] = {}

    def of(self, row: Sequence[Value]) -> Row:
        """Return a row, which has the defaults in their place, with its fills.

        A commit asks for a row again to see whether it deviates, so the last ones are kept. Raises
        ``BadValue`` that says which column it is (``column``) and what does not fit it.
        """
        if not self.columns:
            return tuple(row)
        asked = tuple(row)
        known = self._made.get(asked)
        if known is None:
            known = self._of(asked)
            if self._keeps:
                if len(self._made) >= FILLED_ROWS_KEPT_MAX:
                    self._made.clear()
                self._made[asked] = known
        return known

    def _of(self, row: Row) -> Row:
        found = list(row)
        try:
            (made,) = _run(self._sql, row)
        except DatabaseError as error:
            column = self.columns[0]
            raise BadValue(
                f"the fill ({column.fill}) cannot be worked out: {error.message}",
                column=column.name,
            ) from None
        for place, column, value, fits in zip(
            self._places, self.columns, made[::2], made[1::2], strict=True
        ):
            found[place] = _fitting(column, value, fits)
        return tuple(found)

    def prove(self) -> None:
        """Raise ``SchemaError`` (``bad_fill``) unless SQLite can read the expressions."""
        for column in self.columns:
            try:
                _run(
                    f"EXPLAIN {_statement(self.table, (column,))}", [None] * len(self.table.columns)
                )
            except DatabaseError as error:
                raise bad_fill(self.table, column.name, error.message) from None


def prove_conversions(table: TableLineage) -> None:
    """Raise ``SchemaError`` (``bad_conversion``) unless SQLite can read what a table's columns are
    converted by."""
    try:
        _run(f"EXPLAIN {reshaped_value(table)}", [None] * len(table.old.columns))
    except DatabaseError as error:
        raise SchemaError(
            f"a conversion of {table.new.name} cannot be worked out: {error.message}. Change it in "
            "the schema's migrations, and start again; nothing was changed",
            code="bad_conversion",
        ) from None


def reshaped_row(table: TableLineage, row: Sequence[Value]) -> tuple[Value, ...]:
    """Return a row of an older table as one of the newer: columns that were not there have their
    defaults."""
    return _run(reshaped_value(table), row)[0]


def fills_of(table: Table, columns: Sequence[Column]) -> Fills:
    """Return the fills of columns of a table; they are made once."""
    key = id(table), tuple(column.name for column in columns)
    found = _known.get(key)
    if found is None or found.table is not table:
        if len(_known) >= FILLS_KEPT_MAX:
            _known.clear()
        found = _known[key] = Fills(table, columns)
    return found


def whole_row(table: Table, values: Mapping[str, Value]) -> tuple[Value, ...]:
    """Return a row that was noted when its table had fewer columns: the others have their fills, or
    their defaults where those do not fit."""
    absent = [column for column in table.columns if column.name not in values]
    row = tuple(values[c.name] if c.name in values else c.default_value() for c in table.columns)
    try:
        return fills_of(table, absent).of(row) if absent else row
    except BadValue:
        return row


def bad_fill(table: Table, column: str, why: str) -> SchemaError:
    """Return the error of a growth that a fill stops."""
    return SchemaError(
        f"the fill of {table.name}.{column} gives a value that does not fit: {why}. Change the "
        "fill, or the row, and start again; nothing was changed",
        code="bad_fill",
    )


def first_unfit(table: Table, columns: Sequence[Column], rows: Iterable[tuple[str, Sequence[Value]]]) -> SchemaError | None:  # fmt: skip # noqa: E501
    """Return the error about the first of some rows (each with its key) whose fills do not fit."""
    fills = fills_of(table, columns)
    for key, row in rows:
        try:
            fills.of(row)
        except BadValue as error:
            return bad_fill(table, str(error.detail["column"]), f"row {key!r}: {error.message}")
    return None


def reshaped_stamps(table: TableLineage, packed: bytes) -> bytes:
    """Return a row's stamps under the new names of its columns; those of what is gone go."""
    if not packed:
        return packed
    stamps, inserted, deleted, columns = _unpack_stamps(packed)
    if not columns:
        return packed
    named = {stamped_name(table, name): place for name, place in columns.items()}
    named.pop(None, None)
    return _pack((stamps, inserted, deleted, named))


def stamped_name(table: TableLineage, name: str) -> str | None:
    """Return under which name it is stamped that a cell, or a part of one, was written; None: it is
    gone. The row itself has an empty name."""
    cell, mark, part = name.partition(":")
    if not cell:
        return name
    renamed = table.renamed
    columns = cell.split(GROUP_SEPARATOR)
    if any(column not in renamed for column in columns):
        return None
    return GROUP_SEPARATOR.join(renamed[column] for column in columns) + mark + part


def reshaped_image(table: TableLineage, packed: bytes) -> bytes:
    """Return the last values of a removed row under the new names; what was not there stays out,
    so that it is filled when the row is read."""
    row = reshaped_row(table, whole_row(table.old, _unpack(packed)))
    return _pack({name: row[table.new.positions[name]] for name in table.columns})


def reshaped_note(table: TableLineage, key: str, data: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the noted data columns of a row as those of the new table."""
    values = dict(zip(table.old.key, key_values(table.old, key), strict=True))
    values |= dict(zip((c.name for c in table.old.data_columns), data, strict=True))
    row = reshaped_row(table, [values[name] for name in table.old.column_names])
    return tuple(row[table.new.positions[c.name]] for c in table.new.data_columns)


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[str, Any]).decode
_unpack_stamps = msgspec.msgpack.Decoder(list[Any]).decode
_known: dict[tuple[int, tuple[str, ...]], Fills] = {}
_lock = threading.Lock()
_opened: list[Connection] = []


def _run(sql: str, params: Sequence[Value]) -> list[tuple[Value, ...]]:
    with _lock:
        if not _opened:
            _opened.append(driver().connect(":memory:", OpenOptions(synchronous="OFF")))
        return _opened[0].execute(sql, params)


def _statement(table: Table, columns: Sequence[Column]) -> str:
    """Each fill, and whether it passes the column's checks, by a row's values in declared order."""
    source = "SELECT " + ", ".join(
        f"CAST(?{number} AS {STORAGE[one.type]}) AS {quote(one.name)}"
        for number, one in enumerate(table.columns, start=1)
    )
    for column in columns:  # each sees what those before it gave
        made = (
            f"{fill_sql(column)} AS {quote(one.name)}" if one is column else quote(one.name)
            for one in table.columns
        )
        source = f"SELECT {', '.join(made)} FROM ({source})"
    found = ", ".join(f"{names([column.name])}, {_fits(table, column)}" for column in columns)
    return f"SELECT {found} FROM ({source})"


def _fits(table: Table, column: Column) -> str:
    checks = [declared_check(one, column) for one in table.checks if one.column == column.name]
    return f"coalesce({' AND '.join(f'({one})' for one in checks)}, 1)" if checks else "1"


def _fitting(column: Column, value: Value, fits: Value) -> Value:
    if not fits:
        raise BadValue(f"{value!r} does not pass the checks of the column", column=column.name)
    try:
        return check(column.type, value, scale=column.scale)
    except BadValue as error:
        raise BadValue(f"{value!r}: {error.message}", column=column.name) from None
