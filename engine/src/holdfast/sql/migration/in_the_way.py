"""Rows that are in the way of a step: those that break a new constraint.

Knows: steps, and what a constraint asks of rows, in both databases' SQL. Must not know: how a store
takes the steps. It reads, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from holdfast.core.errors import SchemaError
from holdfast.core.limits import SCHEMA_CHECK_KEYS_MAX
from holdfast.schema.difference import Step
from holdfast.schema.lineage import Lineage, TableLineage
from holdfast.schema.model import Check, Column, Table
from holdfast.sql import names as sqlite_names
from holdfast.sql import tables as sqlite_tables
from holdfast.sql.migration.reshape import misfits, reshaped_sql
from holdfast.sql.names import names, quote

Run = Callable[[str], list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRows:
    """Rows that are in the way of a step: how many, and the keys of the first."""

    step: Step
    count: int
    keys: tuple[str, ...]


class ConstraintSql(NamedTuple):
    """Conditions on rows, as a database says them."""

    check: Callable[[Check, Column], str]
    key: Callable[[Table, str], str]
    misfits: Callable[[Column], str] | None
    """The condition that a converted value does not fit; None: it does not convert by itself."""


SQLITE = ConstraintSql(sqlite_tables.declared_check, sqlite_names.key_sql, misfits)


def rows_in_the_way(
    run: Run, dialect: ConstraintSql, lineage: Lineage, *, taken: bool = False
) -> Iterator[BrokenRows]:
    """Yield the steps that existing rows are in the way of. ``taken``: the tables have their new
    columns already, and only their constraints are to come."""
    for table in lineage.tables.values():
        if table.converted and not taken and dialect.misfits is None:
            continue
        for step in table.steps:
            if step.additive or table.old.key != _old_key(table):
                continue
            conditions = _conditions(dialect, lineage, table, step, taken)
            condition = " OR ".join(f"({one})" for one in conditions)
            if not condition:
                continue
            where = f"FROM {_source(table, taken)} AS t WHERE {condition}"
            ((count,),) = run(f"SELECT count(*) {where}")
            if count:
                key = dialect.key(table.new, "t.")
                keys = run(f"SELECT {key} {where} ORDER BY 1 LIMIT {SCHEMA_CHECK_KEYS_MAX}")
                yield BrokenRows(step=step, count=count, keys=tuple(str(text) for (text,) in keys))


def stopped_by(where: str, broken: Iterable[BrokenRows]) -> SchemaError | None:
    """Return the error of a start that rows are in the way of."""
    found = list(broken)
    if not found:
        return None
    told = "; ".join(
        f"{one.step.text}, and {one.count} rows are against it: {', '.join(one.keys)}"
        for one in found
    )
    return SchemaError(
        f"{where}: {told}. Change these rows with the schema that there is, and start again; "
        "nothing was changed",
        code="rows_in_the_way",
    )


def _old_key(table: TableLineage) -> tuple[str, ...]:
    """The key as it was called, where it is the same one."""
    return tuple(table.columns.get(name, "") for name in table.new.key)


def _source(table: TableLineage, taken: bool) -> str:
    if taken:
        return quote(table.new.name)
    if not table.reshaped:
        return quote(table.old.name)
    rows = f"SELECT {names(table.old.column_names)} FROM {quote(table.old.name)}"
    return f"({reshaped_sql(table, rows)})"


def _conditions(
    dialect: ConstraintSql, lineage: Lineage, table: TableLineage, step: Step, taken: bool
) -> Iterator[str]:
    """Conditions that are true of the rows which a step cannot be made with."""
    columns = step.column.split(",")
    if step.kind == "add_column":
        yield "true"  # each row lacks it, and nothing says what it would be
    elif step.kind == "change_type" and step.column in table.converted:
        yield from _unconverted(dialect, table.new, table.new.by_name[step.column])
    elif all(name in table.columns and _alike(table, name) for name in columns):
        yield from _of_constraint(dialect, lineage, table, step, taken)


def _unconverted(dialect: ConstraintSql, new: Table, column: Column) -> Iterator[str]:
    if dialect.misfits is not None:
        yield dialect.misfits(column)
    if not column.nullable:
        yield f"t.{quote(column.name)} IS NULL"
    for check in new.checks:
        if check.column == column.name:
            yield f"NOT ({dialect.check(check, column)})"


def _of_constraint(
    dialect: ConstraintSql, lineage: Lineage, table: TableLineage, step: Step, taken: bool
) -> Iterator[str]:
    new, columns = table.new, step.column.split(",")
    match step.kind:
        case "change_nullable" if not new.by_name[step.column].nullable:
            yield f"t.{quote(step.column)} IS NULL"
        case "add_check" | "tighten_check":
            for check in new.checks:
                if check.column == step.column:
                    yield f"NOT ({dialect.check(check, new.by_name[check.column])})"
        case "add_unique":
            listed, several = names(columns, "t."), names(columns)
            yield (
                f"({listed}) IN (SELECT {several} FROM {_source(table, taken)} AS u "
                f"GROUP BY {several} HAVING count(*) > 1)"
            )
        case "add_foreign_key":
            for key in new.foreign_keys:
                if key.columns == tuple(columns):
                    parent = lineage.tables.get(key.table)
                    yield _without_parent(parent, key.columns, taken)
        case _:
            pass


def _alike(table: TableLineage, name: str) -> bool:
    """Return whether a column has values of the type that it is to have."""
    old = table.old.by_name[table.columns[name]]
    return name in table.converted or old.type == table.new.by_name[name].type


def _without_parent(parent: TableLineage | None, columns: tuple[str, ...], taken: bool) -> str:
    set_all = " AND ".join(f"t.{quote(name)} IS NOT NULL" for name in columns)
    if parent is None:
        return set_all  # the table is new, and nobody is in it
    match = " AND ".join(
        f"p.{quote(key)} = t.{quote(name)}"
        for key, name in zip(parent.new.key, columns, strict=True)
    )
    return f"{set_all} AND NOT EXISTS (SELECT 1 FROM {_source(parent, taken)} AS p WHERE {match})"
