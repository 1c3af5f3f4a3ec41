"""A device without a network: a replica's file, its clock, and a look at what is in it."""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.core.keys import row_key
from holdfast.replica.changes.seal import mark, seal
from holdfast.replica.storage.database import LocalDatabase, transaction
from holdfast.schema import Column, ForeignKey, Schema, Table
from holdfast.sql.names import change_table
from holdfast.sqlite import Connection, Row, driver

LIBRARIES = ("apsw", "stdlib")
START_US = 1_700_000_000_000_000

SCHEMA = Schema(
    name="lab",
    tables=(
        Table(
            name="item",
            key=("id",),
            columns=(
                Column("id"),
                Column("store_id", default="s"),
                Column("sku", nullable=True),
                Column("slot", "integer", default="0"),
                Column("name", default="new"),
                Column("qty", "integer", merge="counter"),
                Column("price", "decimal", scale=2, default="0.00"),
                Column("ratio", "real", nullable=True),
                Column("raw", "bytes", nullable=True),
                Column("facts", "json", nullable=True),
            ),
            scopes=("store/{store_id}",),
            unique=(("store_id", "sku"), ("store_id", "slot")),
        ),
        Table(
            name="part",
            key=("id",),
            columns=(
                Column("id"),
                Column("store_id", default="s"),
                Column("item_id", nullable=True),
            ),
            scopes=("store/{store_id}",),
            foreign_keys=(ForeignKey(("item_id",), "item"),),
        ),
        Table(
            name="pair",
            key=("a", "b"),
            columns=(Column("note", nullable=True), Column("a"), Column("b", "integer")),
            scopes=("all",),
        ),
        Table(
            name="tag",
            key=("item", "word"),
            columns=(Column("item"), Column("word")),
            scopes=("all",),
        ),
        Table(
            name="num",
            key=("id",),
            columns=(
                Column("id", "integer"),
                Column("code", default="d"),
                Column("v", nullable=True),
            ),
            scopes=("all",),
            unique=(("code",),),
            existence_public=True,
        ),
    ),
    local=(
        "CREATE TABLE log (tbl TEXT, n INTEGER)",
        (
            "CREATE TRIGGER app_log AFTER INSERT ON item BEGIN "
            "INSERT INTO log VALUES ('item', NEW.qty); END"
        ),
        (
            "CREATE TRIGGER app_unlog AFTER DELETE ON item BEGIN "
            "DELETE FROM log WHERE n = OLD.qty; END"
        ),
    ),
)

Dump = dict[str, dict[str, Row]]
"""Table to key text to the data columns of the row."""

Net = dict[str, dict[str, tuple[bool, bool, Row, Row]]]
"""Table to key text to: whether it was, whether it is, data before, data after."""


class Device:
    """An open replica file, with a clock and randomness that repeat."""

    def __init__(
        self,
        path: Path,
        *,
        library: str = "apsw",
        schema: Schema | None = SCHEMA,
        fast: bool = True,
    ) -> None:
        self.path = path
        self.library = library
        self._numbers = itertools.count(1)
        self.now_us = START_US
        self.db = LocalDatabase.open(
            str(path),
            driver=driver(library),
            schema=schema,
            synchronous="OFF" if fast else "FULL",
            busy_timeout_ms=5000,
        )
        self.schema = self.db.schema
        self.sealed: int | None = None

    def random_bytes(self, count: int) -> bytes:
        return next(self._numbers).to_bytes(count, "big")

    def seal(self, connection: Connection | None = None, *, own: bool = False) -> int | None:
        self.now_us += 1000
        return seal(
            connection or self.db.app,
            self.schema,
            self.db.program,
            now_us=self.now_us,
            random_bytes=self.random_bytes,
            own=own,
        )

    def seal_now(self) -> int | None:
        """Seal what others wrote, in a transaction of its own."""
        with transaction(self.db.app):
            return self.seal()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A local transaction, sealed as `Replica.transaction` does; its number is in `sealed`."""
        self.sealed = None
        with transaction(self.db.app):
            self.seal()
            yield self.db.app
            number = self.seal(own=True)
        self.sealed = number

    def end_group(self) -> None:
        """As `Replica.transaction` does before and after the app's work."""
        self.now_us += 1000
        mark(self.db.app, self.db.program, now_us=self.now_us)

    @contextmanager
    def commit(self) -> Iterator[Connection]:
        """A local transaction that is sealed later, as `Replica.transaction` leaves it."""
        with transaction(self.db.app):
            self.end_group()
            yield self.db.app
            self.end_group()

    def run(self, *statements: str) -> int | None:
        """One local transaction of these statements; its number."""
        with self.write() as db:
            for sql in statements:
                db.execute(sql)
        return self.sealed

    def rows(self, sql: str, *params: object) -> list[Row]:
        return self.db.app.execute(sql, params)  # type: ignore[arg-type]

    def close(self) -> None:
        self.db.close()


_TEMPLATES = Path(tempfile.mkdtemp(prefix="holdfast-lab-"))
atexit.register(shutil.rmtree, _TEMPLATES, ignore_errors=True)


@contextmanager
def device(library: str = "apsw", schema: Schema = SCHEMA) -> Iterator[Device]:
    """A fresh device: a copy of a file made once."""
    template = _TEMPLATES / f"{library}-{schema.fingerprint}.db"
    if not template.exists():
        Device(template, library=library, schema=schema).close()
    with tempfile.TemporaryDirectory(prefix="holdfast-lab-") as folder:
        path = Path(folder) / "r.db"
        shutil.copy(template, path)
        found = (
            Device(path, library=library)
            if schema is SCHEMA
            else Device(path, library=library, schema=schema)
        )
        try:
            yield found
        finally:
            found.close()


def data_of(table: Table, row: Row) -> Row:
    return tuple(
        row[table.column_names.index(c.name)] for c in table.columns if c.name not in table.key
    )


def dump(connection: Connection, schema: Schema = SCHEMA) -> Dump:
    """All synced rows."""
    return {
        table.name: {
            row_key(table, row): data_of(table, row)
            for row in connection.execute(f'SELECT * FROM "{table.name}"')
        }
        for table in schema.tables
    }


def difference(before: Dump, after: Dump, schema: Schema = SCHEMA) -> Net:
    """What must have been captured, from two dumps alone."""
    result: Net = {}
    for table in schema.tables:
        old, new = before[table.name], after[table.name]
        nothing = (None,) * (len(table.columns) - len(table.key))
        changes = {
            key: (key in old, key in new, old.get(key, nothing), new.get(key, nothing))
            for key in old.keys() | new.keys()
            if (key in old) != (key in new) or old.get(key) != new.get(key)
        }
        if changes:
            result[table.name] = changes
    return result


def captured(connection: Connection, number: int | None, schema: Schema = SCHEMA) -> Net:
    """What the outbox says a transaction changed (None: nothing was sealed)."""
    result: Net = {}
    for table in schema.tables:
        width = len(table.columns) - len(table.key)
        for row in connection.execute(
            f"SELECT * FROM {change_table(table)} WHERE tx = ?", (number,)
        ):
            columns = list(row)
            _tx, key, was, now, _base, _bases = columns[:6]
            assert now is not None
            old, new = tuple(columns[6 : 6 + width]), tuple(columns[6 + width :])
            result.setdefault(table.name, {})[str(key)] = (bool(was), bool(now), old, new)
    return result


def kinds(net: Net) -> object:
    """The same with the type of every value, so that 1, 1.0 and '1' differ."""
    return {
        name: {
            key: (was, now, [(type(v), v) for v in old], [(type(v), v) for v in new])
            for key, (was, now, old, new) in changes.items()
        }
        for name, changes in net.items()
    }
