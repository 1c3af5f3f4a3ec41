"""The steps of a growth that touch what PostgreSQL holds already: fills, and looser checks.

Knows: tables of a database, within the transaction that makes it grow. Must not know: which steps a
schema takes. The table is locked by then: nobody writes a row that a fill would overwrite. When one
raises, the transaction is undone: nothing was changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.errors import BadValue
from holdfast.core.keys import row_key
from holdfast.core.limits import CHECK_BITE_ROWS
from holdfast.core.values import Value
from holdfast.schema.model import Check, Column, Table
from holdfast.server.store.filling import Fills, bad_fill, fills_of
from holdfast.server.store.postgres.reads import PostgresConnection
from holdfast.sql.names import names, quote
from holdfast.sql.postgres.statements import column_array
from holdfast.sql.postgres.tables import STORAGE, check_name, check_sql


def set_checks(
    db: PostgresConnection, table: Table, gone: Sequence[Check], come: Sequence[Check]
) -> None:
    """Take away checks of a table, and give it looser ones."""
    steps = [f"DROP CONSTRAINT {quote(check_name(table, check))}" for check in gone]
    steps += [f"ADD {check_sql(table, check)}" for check in come]
    if steps:
        db.execute(f"ALTER TABLE {quote(table.name)} {', '.join(steps)}")


def fill(db: PostgresConnection, table: Table, added: Sequence[Column]) -> None:
    """Give all rows of a table their fills, page by page; the columns have their defaults. Raises
    ``SchemaError`` (``bad_fill``) that names the row."""
    fills = fills_of(table, added)
    if not fills.columns:
        return
    order, values = names(table.key), names(table.column_names)
    after: list[Value] = []
    marks = ", ".join(f"${number}" for number in range(1, len(table.key) + 1))
    while True:
        where = f"WHERE ({order}) > ({marks})" if after else ""
        page = db.execute(
            f"SELECT {values} FROM {quote(table.name)} {where} ORDER BY {order} "
            f"LIMIT {CHECK_BITE_ROWS}",
            after,
        ).fetchall()
        if page:
            _put(db, fills, page)
            after = [page[-1][place] for place in table.key_positions]
        if len(page) < CHECK_BITE_ROWS:
            db.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
            return  # nothing is left that would be in the way of another step


def _put(db: PostgresConnection, fills: Fills, page: Sequence[tuple[Value, ...]]) -> None:
    table = fills.table
    rows = []
    for row in page:
        try:
            rows.append(fills.of(row))
        except BadValue as error:
            why = f"row {row_key(table, row)!r}: {error.message}"
            raise bad_fill(table, str(error.detail["column"]), why) from None
    columns = [*table.key_columns, *fills.columns]
    arrays = ", ".join(f"${n}::{STORAGE[c.type]}[]" for n, c in enumerate(columns, start=1))
    label = names(f"c{number}" for number in range(len(columns)))
    keys = len(table.key)
    on = " AND ".join(f't.{quote(name)} = j."c{n}"' for n, name in enumerate(table.key))
    sets = ", ".join(
        f'{quote(column.name)} = j."c{n}"' for n, column in enumerate(fills.columns, start=keys)
    )
    source = f"unnest({arrays}) AS j({label})"
    db.execute(
        f"UPDATE {quote(table.name)} AS t SET {sets} FROM {source} WHERE {on}",
        [column_array(c, [row[table.positions[c.name]] for row in rows]) for c in columns],
    )
