"""DDL of the user tables: ordinary STRICT tables, the same on every SQLite side.

Knows: how columns, constraints and defaults are written in SQLite's SQL. Must not know: sync.
Values that the wire could not carry exactly (NUL in text, infinity, a date that is none) are
stopped
by CHECK constraints, whoever writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.core.limits import (
    DECIMAL_DIGITS_MAX,
    KEY_BYTES_MAX,
    TEXT_BYTES_MAX,
    TIMESTAMP_US_MAX,
    TIMESTAMP_US_MIN,
)
from holdfast.core.values import STORAGE
from holdfast.schema.model import Check, Column, ForeignKey, Table
from holdfast.sql.names import key_sql, literal, names, quote
from holdfast.sql.policies import POLICIES

_HEX = "[0-9a-f]"
_DATE_GLOB = "-".join("[0-9]" * n for n in (4, 2, 2))
_UUID_GLOB = "-".join(_HEX * n for n in (8, 4, 4, 4, 12))


def type_check(column: Column) -> str | None:
    """The condition that a column's values fit their type, beyond SQLite's storage class."""
    name = quote(column.name)
    match column.type:
        case "text":
            return f"instr({name}, char(0)) = 0"
        case "real":
            return f"{name} BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308"
        case "boolean":
            return f"{name} IN (0, 1)"
        case "uuid":
            # GLOB and length() end at a NUL, as they do for decimals.
            return f"{name} GLOB '{_UUID_GLOB}' AND instr({name}, char(0)) = 0"
        case "timestamp":
            return f"{name} BETWEEN {TIMESTAMP_US_MIN} AND {TIMESTAMP_US_MAX}"
        case "date":
            # "+0 days": SQLite 3.40 gives 30 February back as it is unless it has to compute.
            real = f"{name} IS date({name}, '+0 days')"
            return f"{name} GLOB '{_DATE_GLOB}' AND {name} > '0001' AND {real}"
        case "decimal":
            return f"{_decimal_check(name, column.scale)} AND instr({name}, char(0)) = 0"
        case "json":
            # SQLite 3.40 says that NULL is not valid JSON; newer ones say NULL.
            return f"({name} IS NULL OR json_valid({name})) AND instr({name}, char(0)) = 0"
        case _:
            return None


def _decimal_check(name: str, scale: int) -> str:
    """Digits in one normal form: no leading zeros, no minus zero, ``scale`` after the point."""
    digits = f"ltrim({name}, '-')"
    minus = f"{name} NOT GLOB '?*-*'"
    if scale == 0:
        return (
            f"{minus} AND {digits} NOT GLOB '*[^0-9]*' "
            f"AND length({digits}) <= {DECIMAL_DIGITS_MAX} "
            f"AND ({digits} GLOB '[1-9]*' OR {name} = '0')"
        )
    return (
        f"{minus} AND ({digits} GLOB '[1-9]*' OR {digits} GLOB '0.*') "
        f"AND {digits} NOT GLOB '*[^0-9.]*' AND length({digits}) <= {DECIMAL_DIGITS_MAX + 1} "
        f"AND {name} GLOB '*.{'[0-9]' * scale}' AND instr({name}, '.') = length({name}) - {scale} "
        f"AND ({name} NOT GLOB '-*' OR {name} GLOB '*[1-9]*')"
    )


def declared_check(check: Check, column: Column) -> str:
    """A declared check as a condition; NULL passes."""
    name = quote(check.column)
    if check.kind == "not_empty":
        return f"length({name}) > 0"
    if check.kind == "one_of":
        options = ", ".join(
            literal(int(v)) if STORAGE[column.type] == "INTEGER" else literal(v)
            for v in check.values
        )
        return f"{name} IN ({options})"
    subject = f"length({name})" if check.kind == "length" else name
    if check.kind == "range" and column.type == "decimal":
        subject = f"CAST({name} AS NUMERIC)"
    bounds = []
    if check.min is not None:
        bounds.append(f"{subject} >= {check.min}")
    if check.max is not None:
        bounds.append(f"{subject} <= {check.max}")
    return " AND ".join(bounds) or "1"


def column_sql(table: Table, column: Column) -> str:
    """One column's definition."""
    parts = [quote(column.name), STORAGE[column.type]]
    if not column.nullable:
        parts.append("NOT NULL")
    default = column.default_value()
    if default is not None:
        parts.append(f"DEFAULT {literal(default)}")
    conditions = [type_check(column), POLICIES[column.merge].check(quote(column.name))]
    size = f"length(CAST({quote(column.name)} AS BLOB))"
    if column.name in table.key and column.type in ("text", "bytes"):
        conditions.append(f"{size} BETWEEN 1 AND {KEY_BYTES_MAX}")
    elif column.type in ("text", "bytes", "json"):
        conditions.append(f"{size} <= {TEXT_BYTES_MAX}")
    text = " AND ".join(condition for condition in conditions if condition)
    if text:
        parts.append(f"CHECK ({text})")
    return " ".join(parts)


def added_column_sql(table: Table, column: Column) -> str:
    """The same for a column that is added to a table that exists: with its declared checks."""
    checks = [
        f" CHECK ({declared_check(check, column)})"
        for check in table.checks
        if check.column == column.name
    ]
    return column_sql(table, column) + "".join(checks)


def create_table(
    table: Table, *, enforced: Callable[[ForeignKey], bool] = lambda _key: True
) -> str:
    """``CREATE TABLE`` of a user table, with those foreign keys that are enforced on this side.

    Foreign keys are deferred and take no action.
    """
    body = table_body(table, table.column_names, enforced)
    return f"CREATE TABLE IF NOT EXISTS {quote(table.name)} {body}"


def table_body(table: Table, columns: Sequence[str], enforced: Callable[[ForeignKey], bool]) -> str:
    """The part behind the name of a table that has some of its columns, in this order."""
    lines = [column_sql(table, table.by_name[name]) for name in columns]
    lines += keys_sql(table, enforced)
    lines += [check_sql(table, check) for check in table.checks if check.column in columns]
    body = ",\n  ".join(lines)
    return f"(\n  {body}\n) STRICT"


def keys_sql(table: Table, enforced: Callable[[ForeignKey], bool]) -> list[str]:
    """The parts of a table's definition that are about its keys."""
    lines = [f"PRIMARY KEY ({names(table.key)})"]
    lines += [f"UNIQUE ({names(unique)})" for unique in table.unique]
    for key in filter(enforced, table.foreign_keys):
        lines.append(
            f"FOREIGN KEY ({names(key.columns)}) REFERENCES {quote(key.table)} "
            "DEFERRABLE INITIALLY DEFERRED"
        )
    if any(column.type in ("text", "bytes") for column in table.key_columns):
        lines.append(f"CHECK (length(CAST({key_sql(table)} AS BLOB)) <= {KEY_BYTES_MAX})")
    return lines


def check_sql(table: Table, check: Check) -> str:
    """The part of a table's definition that is one declared check."""
    return f"CHECK ({declared_check(check, table.by_name[check.column])})"


def create_indexes(table: Table) -> list[str]:
    """Indexes on foreign keys, so that checks and look-ups from the parent are cheap."""
    return [
        f"CREATE INDEX IF NOT EXISTS {quote(f'holdfast_fk_{table.name}_{number}')} "
        f"ON {quote(table.name)} ({names(key.columns)})"
        for number, key in enumerate(table.foreign_keys)
    ]
