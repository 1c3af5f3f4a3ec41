"""A look at a live database before its schema changes: steps, rows in the way, devices.

Knows: both stores' tables, and what a new constraint asks of rows. Must not know: how a store
grows, or how the answer is shown. It reads in one transaction and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.core.errors import SchemaError, UsageError
from holdfast.core.limits import SCHEMA_CHECK_KEYS_MAX
from holdfast.schema.difference import Difference, Step, difference
from holdfast.schema.model import Check, Column, Schema, Table
from holdfast.server.store.growth import growth
from holdfast.server.store.taken_names import not_a_server
from holdfast.sql import names as sqlite_names
from holdfast.sql import tables as sqlite_tables
from holdfast.sql.names import names, quote
from holdfast.sqlite import OpenOptions, driver

Run = Callable[[str], list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRows:
    """Rows that are in the way of a step: how many, and the keys of the first."""

    step: Step
    count: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesSeen:
    """Devices that have synced with one generation of the schema; None: it is not known which."""

    generation: int | None
    devices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaCheck:
    """Answer to whether a database can be given another schema, and what hinders it."""

    old: Schema
    difference: Difference
    broken: tuple[BrokenRows, ...]
    devices: tuple[DevicesSeen, ...]
    refusal: SchemaError | None
    """What a server that is started with the schema would say; None: it would start."""


class _Dialect(NamedTuple):
    check: Callable[[Check, Column], str]
    key: Callable[[Table, str], str]
    columns: str
    """Names of the columns of the table of replicas, which was one of devices once."""


def check_schema(database: str, new: Schema) -> SchemaCheck:
    """Compare a server's database with a schema. Raises ``SchemaError`` (``not_a_server``),
    ``UsageError`` or ``DatabaseError``."""
    with _opened(database) as (run, dialect):
        ((stored,),) = run("SELECT schema FROM holdfast_state")
        old = Schema.from_json(stored)
        found = difference(old, new)
        broken = tuple(_broken(run, dialect, old, new, found))
        devices = tuple(_devices(run, dialect))
    refusal: SchemaError | None = None
    if old.fingerprint != new.fingerprint:
        try:
            growth(database, old, new)
        except SchemaError as error:
            refusal = error
    return SchemaCheck(old=old, difference=found, broken=broken, devices=devices, refusal=refusal)


@contextmanager
def _opened(database: str) -> Iterator[tuple[Run, _Dialect]]:
    if database.startswith(("postgresql://", "postgres://")):
        with _postgres(database) as opened:
            yield opened
        return
    if not Path(database).is_file():
        raise UsageError(f"there is no database at {database}", code="no_database")
    options = OpenOptions(read_only=True, create=False)
    dialect = _Dialect(
        sqlite_tables.declared_check, sqlite_names.key_sql,
        "SELECT name FROM pragma_table_info('{table}')",
    )  # fmt: skip
    with closing(driver().connect(database, options)) as db:
        db.execute("BEGIN")
        if not db.execute(
            "SELECT 1 FROM pragma_table_info('holdfast_state') WHERE name = 'seal_secret'"
        ):
            raise not_a_server(database)
        yield (lambda sql: list(db.execute(sql))), dialect


@contextmanager
def _postgres(database: str) -> Iterator[tuple[Run, _Dialect]]:
    try:
        import psycopg

        from holdfast.server.store.postgres.errors import translated
        from holdfast.sql.postgres import tables
    except ImportError as error:
        raise UsageError(
            f"PostgreSQL needs the extra holdfast[postgres]: {error}", code="no_driver"
        ) from None
    here = "current_schema()"
    dialect = _Dialect(
        tables.declared_check, tables.key_sql,
        "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' "
        f"AND table_schema = {here}",
    )  # fmt: skip
    with translated(), psycopg.connect(database, cursor_factory=psycopg.RawCursor) as db:
        db.read_only = True
        db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

        def run(sql: str) -> list[Any]:
            return db.execute(sql.encode()).fetchall()

        if not run(
            "SELECT 1 FROM information_schema.columns WHERE table_name = 'holdfast_state' "
            f"AND column_name = 'seal_secret' AND table_schema = {here}"
        ):
            raise not_a_server("the database")
        yield run, dialect


def _devices(run: Run, dialect: _Dialect) -> Iterator[DevicesSeen]:
    table = "holdfast_replica"
    columns = {name for (name,) in run(dialect.columns.format(table=table))}
    if not columns:
        table = "holdfast_device"
        columns = {name for (name,) in run(dialect.columns.format(table=table))}
    known = "generation" in columns
    what = "generation" if known else "NULL"
    for generation, count in run(
        f"SELECT {what}, count(DISTINCT device) FROM {table} "
        f"{'GROUP BY 1 ORDER BY 1' if known else ''}"
    ):
        if count:
            yield DevicesSeen(generation=generation, devices=count)


# Rows


def _broken(
    run: Run, dialect: _Dialect, old: Schema, new: Schema, found: Difference
) -> Iterator[BrokenRows]:
    """Steps that existing rows are in the way of, in the order of the steps."""
    for step in found.hindrances:
        before, after = old.by_name.get(step.table), new.by_name.get(step.table)
        if before is None or after is None or before.key != after.key:
            continue
        condition = " OR ".join(
            f"({one})" for one in _conditions(dialect, old, before, after, step)
        )
        if not condition:
            continue
        where = f"FROM {quote(before.name)} AS t WHERE {condition}"
        ((count,),) = run(f"SELECT count(*) {where}")
        key = dialect.key(before, "t.")
        keys = run(f"SELECT {key} {where} ORDER BY 1 LIMIT {SCHEMA_CHECK_KEYS_MAX}")
        if count:
            yield BrokenRows(step=step, count=count, keys=tuple(str(text) for (text,) in keys))


def _conditions(
    dialect: _Dialect, old: Schema, before: Table, after: Table, step: Step
) -> Iterator[str]:
    """Conditions that are true of the rows which a step cannot be made with."""
    columns = step.column.split(",")
    there = all(_alike(before, after, name) for name in columns)
    match step.kind:
        case "add_column":
            yield "true"  # each row lacks it, and nothing says what it would be
        case "change_nullable" if there and not after.by_name[step.column].nullable:
            yield f"t.{quote(step.column)} IS NULL"
        case "add_check" | "tighten_check" if there:
            for check in after.checks:
                if check.column == step.column and check not in before.checks:
                    yield f"NOT ({dialect.check(check, after.by_name[check.column])})"
        case "add_unique" if there:
            listed, several = names(columns, "t."), names(columns)
            yield (
                f"({listed}) IN (SELECT {several} FROM {quote(before.name)} "
                f"GROUP BY {several} HAVING count(*) > 1)"
            )
        case "add_foreign_key" if there:
            for key in after.foreign_keys:
                if key not in before.foreign_keys and key.columns == tuple(columns):
                    yield _without_parent(old.by_name.get(key.table), key.columns)


def _alike(before: Table, after: Table, name: str) -> bool:
    """Return whether a column is there on both sides, with values of one type."""
    one, other = before.by_name.get(name), after.by_name.get(name)
    return one is not None and other is not None and one.type == other.type


def _without_parent(parent: Table | None, columns: tuple[str, ...]) -> str:
    set_all = " AND ".join(f"t.{quote(name)} IS NOT NULL" for name in columns)
    if parent is None:
        return set_all  # the table is new, and nobody is in it
    match = " AND ".join(
        f"p.{quote(key)} = t.{quote(name)}" for key, name in zip(parent.key, columns, strict=True)
    )
    return f"{set_all} AND NOT EXISTS (SELECT 1 FROM {quote(parent.name)} AS p WHERE {match})"
