"""A look at a live database before its schema changes: steps, rows in the way, devices.

Knows: both stores' tables, and what a new constraint asks of rows. Must not know: how a store
grows, or how the answer is shown. It reads in one transaction and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import SchemaError, UsageError
from holdfast.schema.difference import Difference
from holdfast.schema.lineage import Lineage, lineage, serves
from holdfast.schema.model import Schema
from holdfast.server.store.growth import growth
from holdfast.server.store.taken_names import not_a_server
from holdfast.sql.migration.in_the_way import (
    SQLITE,
    BrokenRows,
    ConstraintSql,
    Run,
    rows_in_the_way,
    stopped_by,
)
from holdfast.sqlite import OpenOptions, driver


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesSeen:
    """Devices that have synced with one generation of the schema; None: it is not known which."""

    generation: int | None
    devices: int
    last_seen_us: int | None = None
    """When the last of them was here."""
    served: bool = True
    """Whether they go on; else they have to be updated first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaCheck:
    """Answer to whether a database can be given another schema, and what hinders it."""

    lineage: Lineage
    broken: tuple[BrokenRows, ...]
    devices: tuple[DevicesSeen, ...]
    refusal: SchemaError | None
    """What a server that is started with the schema would say; None: it would start."""

    @property
    def old(self) -> Schema:
        """Return the schema that the database has."""
        return self.lineage.old

    @property
    def difference(self) -> Difference:
        """Return the steps."""
        return self.lineage.difference


def check_schema(database: str, new: Schema) -> SchemaCheck:
    """Compare a server's database with a schema. Raises ``SchemaError`` (``not_a_server``),
    ``UsageError`` or ``DatabaseError``."""
    with _opened(database) as (run, dialect, columns):
        ((stored,),) = run("SELECT schema FROM holdfast_state")
        old = Schema.from_json(stored)
        way = lineage(old, new)
        broken = tuple(rows_in_the_way(run, dialect, way))
        devices = tuple(_devices(run, columns, way))
    refusal: SchemaError | None = None
    if old.fingerprint != new.fingerprint:
        try:
            growth(database, old, new)
            refusal = stopped_by(database, broken)
        except SchemaError as error:
            refusal = error
    return SchemaCheck(lineage=way, broken=broken, devices=devices, refusal=refusal)


@contextmanager
def _opened(database: str) -> Iterator[tuple[Run, ConstraintSql, str]]:
    if database.startswith(("postgresql://", "postgres://")):
        with _postgres(database) as opened:
            yield opened
        return
    if not Path(database).is_file():
        raise UsageError(f"there is no database at {database}", code="no_database")
    options = OpenOptions(read_only=True, create=False)
    columns = "SELECT name FROM pragma_table_info('{table}')"
    with closing(driver().connect(database, options)) as db:
        db.execute("BEGIN")
        if not db.execute(
            "SELECT 1 FROM pragma_table_info('holdfast_state') WHERE name = 'seal_secret'"
        ):
            raise not_a_server(database)
        yield (lambda sql: list(db.execute(sql))), SQLITE, columns


@contextmanager
def _postgres(database: str) -> Iterator[tuple[Run, ConstraintSql, str]]:
    try:
        import psycopg

        from holdfast.server.store.postgres.errors import translated
        from holdfast.sql.postgres import tables
    except ImportError as error:
        raise UsageError(
            f"PostgreSQL needs the extra holdfast-sync[postgres]: {error}", code="no_driver"
        ) from None
    here = "current_schema()"
    dialect = ConstraintSql(tables.declared_check, tables.key_sql, None)
    columns = (
        "SELECT column_name FROM information_schema.columns WHERE table_name = '{table}' "
        f"AND table_schema = {here}"
    )
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
        yield run, dialect, columns


def _devices(run: Run, columns: str, way: Lineage) -> Iterator[DevicesSeen]:
    table = "holdfast_replica"
    there = {name for (name,) in run(columns.format(table=table))}
    if not there:
        table = "holdfast_device"
        there = {name for (name,) in run(columns.format(table=table))}
    known = "generation" in there
    what = "generation" if known else "NULL"
    cut = set() if serves(way.new, way.old) else {way.old.generation, 0, None}
    if known:
        schemas = run("SELECT schema FROM holdfast_generation")
        older = [Schema.from_json(text) for (text,) in schemas]
        cut |= {
            one.generation
            for one in older
            if one.generation < way.new.generation and not serves(way.new, one)
        }
    for generation, count, last in run(
        f"SELECT {what}, count(DISTINCT device), max(last_seen) FROM {table} "
        f"{'GROUP BY 1 ORDER BY 1' if known else ''}"
    ):
        if count:
            yield DevicesSeen(
                generation=generation, devices=count, last_seen_us=last,
                served=generation not in cut,
            )  # fmt: skip
