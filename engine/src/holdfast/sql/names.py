"""Names and small pieces of SQL, made from declared identifiers only.

Knows: how the engine's tables are called. Must not know: what is done with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.core.values import STORAGE, Value
from holdfast.schema.model import Table


def quote(name: str) -> str:
    """A declared identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def names(columns: Iterable[str], prefix: str = "") -> str:
    """A comma-separated list of quoted columns, each with a prefix such as ``NEW.``."""
    return ", ".join(prefix + quote(column) for column in columns)


SCOPE_STATS = (
    "SELECT s.scope, s.head, s.floor, s.count, "
    "(SELECT count(*) FROM holdfast_feed AS f WHERE f.scope = s.scope AND f.removed), "
    "(SELECT count(*) FROM holdfast_commit AS c WHERE c.scope = s.scope) "
    "FROM holdfast_scope AS s ORDER BY s.scope"
)
"""Name, head, floor, rows, tombstones and positions of all scopes; both databases take it."""


def marks(count: int) -> str:
    """``?, ?, ?``"""
    return ", ".join("?" * count)


def literal(value: Value) -> str:
    """A storage value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def change_table(table: Table) -> str:
    """Return where capture notes the changes of a table."""
    return quote(f"holdfast_change_{table.name}")


def shadow_table(table: Table) -> str:
    """Return where a replica keeps the server's version of rows with unsettled changes."""
    return quote(f"holdfast_shadow_{table.name}")


def shadow_names(table: Table) -> list[str]:
    """Data columns of a shadow, named apart from its own ``key`` and ``present``."""
    return [f"v_{column.name}" for column in table.data_columns]


def key_sql(table: Table, prefix: str = "", places: Sequence[str] | None = None) -> str:
    """An expression for a row's canonical key text (``core.keys.key_text``). ``places``: what the
    key's columns are called there."""
    parts = []
    for column, place in zip(table.key_columns, places or table.key, strict=True):
        value = prefix + quote(place)
        if STORAGE[column.type] == "INTEGER":
            value = f"CAST({value} AS TEXT)"
        elif STORAGE[column.type] == "BLOB":
            value = f"lower(hex({value}))"
        parts.append(value)
    if len(parts) == 1:
        return parts[0]
    return " || '/' || ".join(f"replace(replace({p}, '%', '%25'), '/', '%2F')" for p in parts)


def key_match(table: Table, left: str = "", right: str | None = None) -> str:
    """``k1 = ? AND k2 = ?``, or the key columns of two row names compared."""
    return " AND ".join(
        f"{left}{quote(name)} = {'?' if right is None else right + quote(name)}"
        for name in table.key
    )
