"""DDL of the user tables in PostgreSQL: the same types and constraints as on SQLite.

Knows: how columns, constraints and defaults are written in PostgreSQL's SQL. Must not know: sync.
Every value has the storage form it has in SQLite, so that rows read from either are equal to the
byte: booleans are 0 and 1, timestamps are microseconds, and uuid, date, decimal and json are text.
Text is compared as bytes (COLLATE "C"). What the wire could not carry exactly is stopped by CHECK
constraints, whoever writes; PostgreSQL itself never stores NUL in text.

Upholds I17 (as far as types go) and I22.
"""

from __future__ import annotations

import hashlib

from holdfast.core.limits import (
    DECIMAL_DIGITS_MAX,
    KEY_BYTES_MAX,
    TEXT_BYTES_MAX,
    TIMESTAMP_US_MAX,
    TIMESTAMP_US_MIN,
)
from holdfast.core.values import Value
from holdfast.schema.model import CONFLICT_TABLE, Check, Column, Table
from holdfast.sql.names import names, quote
from holdfast.sql.postgres.policies import CHECKS

STORAGE = {
    "text": "text", "integer": "bigint", "real": "double precision", "boolean": "smallint",
    "bytes": "bytea", "uuid": "text", "timestamp": "bigint", "date": "text", "decimal": "text",
    "json": "text",
}  # fmt: skip
"""PostgreSQL's type of each column type."""

_NAME_BYTES_MAX = 63
_REAL_MAX = "1.7976931348623157e308"


def short_name(name: str) -> str:
    """A name that PostgreSQL keeps as it is: a long one is cut, and told apart by a hash."""
    if len(name) <= _NAME_BYTES_MAX:
        return name
    return f"{name[:52]}_{hashlib.blake2s(name.encode(), digest_size=5).hexdigest()}"


def literal(value: Value) -> str:
    """A storage value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'::bytea"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"'{value!r}'::double precision" if isinstance(value, float) else repr(value)


def key_sql(table: Table, prefix: str = "") -> str:
    """An expression for a row's canonical key text (``core.keys.key_text``)."""
    parts = []
    for column in table.key_columns:
        value = prefix + quote(column.name)
        if STORAGE[column.type] == "bigint":
            value = f'{value}::text COLLATE "C"'
        elif STORAGE[column.type] == "bytea":
            value = f"""encode({value}, 'hex') COLLATE "C\""""
        parts.append(value)
    if len(parts) == 1:
        return parts[0]
    return " || '/' || ".join(f"replace(replace({p}, '%', '%25'), '/', '%2F')" for p in parts)


def type_check(column: Column) -> str | None:
    """The condition that a column's values fit their type, beyond PostgreSQL's own type."""
    name = quote(column.name)
    match column.type:
        case "real":
            return f"{name} BETWEEN -{_REAL_MAX} AND {_REAL_MAX}"
        case "boolean":
            return f"{name} IN (0, 1)"
        case "uuid":
            part = "[0-9a-f]"
            pattern = "-".join(f"{part}{{{n}}}" for n in (8, 4, 4, 4, 12))
            return f"{name} ~ '^{pattern}$'"
        case "timestamp":
            return f"{name} BETWEEN {TIMESTAMP_US_MIN} AND {TIMESTAMP_US_MAX}"
        case "date":
            digits = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
            real = f"to_char({name}::date, 'YYYY-MM-DD') = {name}"
            shape = f"{name} ~ '{digits}' AND {name} > '0001'"
            return f"CASE WHEN {shape} THEN {real} ELSE {name} IS NULL END"
        case "decimal":
            fraction = f"\\.[0-9]{{{column.scale}}}" if column.scale else ""
            size = f"length(ltrim({name}, '-')) <= {DECIMAL_DIGITS_MAX + bool(column.scale)}"
            return f"{name} ~ '^-?(0|[1-9][0-9]*){fraction}$' AND {name} !~ '^-[0.]*$' AND {size}"
        case "json":
            return f"({name}::json) IS NOT NULL OR {name} IS NULL"
        case _:
            return None


def declared_check(check: Check, column: Column) -> str:
    """A declared check as a condition; NULL passes."""
    name = quote(check.column)
    storage = STORAGE[column.type]
    length = f"octet_length({name})" if storage == "bytea" else f"char_length({name}::text)"
    if check.kind == "not_empty":
        return f"{length} > 0"
    if check.kind == "one_of":
        numbers = storage in ("bigint", "smallint")
        options = ", ".join(literal(int(v)) if numbers else literal(v) for v in check.values)
        return f"{name} IN ({options})"
    subject = length if check.kind == "length" else name
    if check.kind == "range" and column.type == "decimal":
        subject = f"{name}::numeric"
    bounds = []
    for sign, bound in ((">=", check.min), ("<=", check.max)):
        if bound is not None:
            text = storage == "text" and check.kind == "range" and column.type != "decimal"
            bounds.append(f"{subject} {sign} {literal(str(bound)) if text else bound}")
    return " AND ".join(bounds) or "true"


def column_sql(table: Table, column: Column) -> str:
    """One column's definition."""
    storage = STORAGE[column.type]
    parts = [quote(column.name), storage]
    if storage == "text":
        parts.append('COLLATE "C"')
    if not column.nullable:
        parts.append("NOT NULL")
    default = column.default_value()
    if default is not None:
        parts.append(f"DEFAULT {literal(default)}")
    text = column_condition(table, column)
    if text:
        parts.append(f"CHECK ({text})")
    return " ".join(parts)


def column_condition(table: Table, column: Column) -> str:
    """Return what a column asks of its values by its type and policy; empty: nothing."""
    conditions = [type_check(column), CHECKS[column.merge](quote(column.name))]
    size = f"octet_length({quote(column.name)})"
    if column.name in table.key and column.type in ("text", "bytes"):
        conditions.append(f"{size} BETWEEN 1 AND {KEY_BYTES_MAX}")
    elif column.type in ("text", "bytes", "json"):
        conditions.append(f"{size} <= {TEXT_BYTES_MAX}")
    return " AND ".join(f"({condition})" for condition in conditions if condition)


def key_size(table: Table) -> str:
    """The condition that a row's key is not too long."""
    return f"octet_length({key_sql(table)}) <= {KEY_BYTES_MAX}"


def added_column_sql(table: Table, column: Column) -> str:
    """The same for a column that is added to a table that exists: with its declared checks."""
    checks = [
        f" {check_sql(table, check)}" for check in table.checks if check.column == column.name
    ]
    return column_sql(table, column) + "".join(checks)


def check_name(table: Table, check: Check) -> str:
    """The name of a declared check's constraint, whatever other checks stand before it."""
    text = declared_check(check, table.by_name[check.column])
    place = hashlib.blake2s(text.encode(), digest_size=5).hexdigest()
    return short_name(f"holdfast_check_{place}_{table.name}")


def check_sql(table: Table, check: Check) -> str:
    """A declared check as a constraint."""
    condition = declared_check(check, table.by_name[check.column])
    return f"CONSTRAINT {quote(check_name(table, check))} CHECK ({condition})"


def unique_name(table: Table, number: int) -> str:
    """The name of a unique key, by which its failure is told."""
    return short_name(f"holdfast_unique_{number}_{table.name}")


def create_table(table: Table) -> str:
    """``CREATE TABLE`` of a user table, without its foreign keys."""
    lines = [column_sql(table, column) for column in table.columns]
    lines.append(f"PRIMARY KEY ({names(table.key)})")
    lines += [
        f"CONSTRAINT {quote(unique_name(table, number))} UNIQUE ({names(unique)})"
        for number, unique in enumerate(table.unique)
    ]
    if any(column.type in ("text", "bytes") for column in table.key_columns):
        lines.append(f"CHECK ({key_size(table)})")
    for check in table.checks:
        lines.append(check_sql(table, check))
    body = ",\n  ".join(lines)
    return f"CREATE TABLE {quote(table.name)} (\n  {body}\n)"


def create_keys(table: Table) -> list[str]:
    """Foreign keys and their indexes; all tables must exist. They are checked at the commit."""
    statements = []
    for number, key in enumerate(table.foreign_keys):
        index = quote(short_name(f"holdfast_fk_{number}_{table.name}"))
        statements.append(f"CREATE INDEX {index} ON {quote(table.name)} ({names(key.columns)})")
        statements.append(
            f"ALTER TABLE {quote(table.name)} ADD CONSTRAINT {index} "
            f"FOREIGN KEY ({names(key.columns)}) REFERENCES {quote(key.table)} "
            "DEFERRABLE INITIALLY DEFERRED"
        )
    if table is CONFLICT_TABLE:
        statements.append(
            "CREATE INDEX holdfast_conflict_open ON holdfast_conflict (table_name, row_key) "
            "WHERE state = 'open'"
        )
    return statements
