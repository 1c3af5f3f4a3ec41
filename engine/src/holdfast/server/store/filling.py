"""Fills of single rows, worked out by SQLite in memory, whatever database holds the rows.

Knows: a table's declared fills, and which values fit its columns. Must not know: what is stored, or
what becomes of a value that does not fit. The same row gets the same values on every side.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

from holdfast.core.errors import BadValue, DatabaseError, SchemaError
from holdfast.core.limits import FILLS_KEPT_MAX
from holdfast.core.values import STORAGE, Value, check
from holdfast.schema.model import Column, Table
from holdfast.sql.migration.fills import fill_sql
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

    def of(self, row: Sequence[Value]) -> tuple[Value, ...]:
        """Return a row, which has the defaults in their place, with its fills.

        Raises ``BadValue`` that says which column it is (``column``) and what does not fit it.
        """
        found = list(row)
        if not self.columns:
            return tuple(found)
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
