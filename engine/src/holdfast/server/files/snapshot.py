"""A snapshot file: the rows of one scope at one version, as a SQLite database.

Knows: the layout of the file. Must not know: which database the rows come from, where the file is
kept, or who fetches it.
One table ``holdfast_snapshot`` with one row says what it is; each synced table is a plain table of
the same name: the row's key text, revision and hash, then its columns in storage form, in order of
the key. There are no indexes and no constraints: it is made to be copied from, not to be asked.
Every row is hashed anew from its values, and the sum has to be the scope's digest: what a replica
imports from a whole file needs no further look.

Upholds I12 and I36 (rows that do not add up to the digest never leave), I31 (rows are read and
written piece by piece).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from holdfast.core.digest import Digest, row_hash, seal
from holdfast.core.errors import DatabaseCorrupt, DatabaseFull
from holdfast.core.limits import (
    FILE_FETCH_BYTES_SOFT,
    FILE_UNPACKED_BYTES_MAX,
    ROWS_PER_LINE,
    SNAPSHOT_SPLIT_ROWS_MIN,
)
from holdfast.core.values import STORAGE, Row, Value
from holdfast.schema.model import Schema, Table
from holdfast.server.store.contract import Scope, Snapshot
from holdfast.sql.names import marks, quote
from holdfast.sqlite import Connection, OpenOptions, driver
from holdfast.sqlite.failpoints import failpoint

SNAPSHOT_FORMAT = 1
_PAGE_BYTES = 4096
_ABOUT = (
    "CREATE TABLE holdfast_snapshot (format INTEGER, epoch TEXT, scope TEXT, version INTEGER, "
    "count INTEGER, digest TEXT, seal TEXT, fingerprint TEXT, generation INTEGER)"
)


def write_snapshot(
    path: Path,
    snapshot: Snapshot,
    schema: Schema,
    scope: Scope,
    *,
    epoch: str,
    secret: bytes,
    on_rows: Callable[[int], None] = lambda _rows: None,
    bytes_max: int = FILE_UNPACKED_BYTES_MAX,
) -> None:
    """Write the file of ``scope``, as ``snapshot`` sees it, to a path where nothing is yet.

    ``secret``: what the server seals with. ``on_rows`` is told now and then how many rows are in
    it; what it raises ends the work. Raises ``DatabaseCorrupt`` when the stored rows are not those
    of the scope's digest, ``DatabaseFull`` above ``bytes_max``, and ``DatabaseError``. What is at
    ``path`` then is of no use.
    """
    options = OpenOptions(synchronous="OFF", scratch=True)  # nobody looks at what a crash leaves
    with contextlib.closing(driver().connect(str(path), options)) as db:
        for pragma in (f"page_size = {_PAGE_BYTES}", "locking_mode = EXCLUSIVE"):
            db.execute(f"PRAGMA {pragma}")
        db.execute(f"PRAGMA max_page_count = {max(8, bytes_max // _PAGE_BYTES)}")
        db.execute("BEGIN")
        version, digest = scope.head, scope.digest
        db.execute(_ABOUT)
        db.execute(
            f"INSERT INTO holdfast_snapshot VALUES ({marks(9)})",
            (
                SNAPSHOT_FORMAT, epoch, scope.name, version, digest.count, digest.hex,
                seal(secret, epoch=epoch, scope=scope.name, version=version, digest=digest),
                schema.fingerprint, schema.generation,
            ),
        )  # fmt: skip
        found = _Rows(snapshot, schema, scope).write(db, on_rows)
        if found != digest:
            raise DatabaseCorrupt(
                f"the stored rows of {scope.name!r} are not those of its digest; "
                "`holdfast server` checks them daily and logs which"
            )
        db.execute("COMMIT")


def _create(table: Table) -> str:
    columns = "".join(f", {quote(c.name)} {STORAGE[c.type]}" for c in table.columns)
    return (
        f"CREATE TABLE {quote(table.name)} "
        f"(holdfast_key TEXT, holdfast_rev INTEGER, holdfast_hash BLOB{columns})"
    )


class _Rows:
    """Writes the rows of a scope, and sums up their hashes."""

    def __init__(self, snapshot: Snapshot, schema: Schema, scope: Scope) -> None:
        self._snapshot = snapshot
        self._schema = schema
        self._scope = scope
        self._digest = Digest()

    def write(self, db: Connection, on_rows: Callable[[int], None]) -> Digest:
        inserts = {}
        for table in self._schema.all_tables:
            db.execute(_create(table))
            inserts[table.name] = (
                f"INSERT INTO {quote(table.name)} VALUES ({marks(3 + len(table.columns))})"
            )
        for name, keys in self._pieces():
            table = self._schema.by_name[name]
            try:
                db.executemany(inserts[name], self._rows(table, keys))
            except DatabaseFull:
                raise DatabaseFull(
                    f"no space left for a snapshot file of {self._scope.name!r}"
                ) from None
            failpoint("snapshot.mid")
            on_rows(self._digest.count)
        return self._digest

    def _pieces(self) -> Iterator[tuple[str, list[str]]]:
        """Keys of one table each, in order of table and key."""
        name, keys = "", list[str]()
        for table, key, _ in self._snapshot.live(self._scope.name, ("", ""), None):
            if keys and (table != name or len(keys) >= ROWS_PER_LINE):
                yield name, keys
                keys = []
            name = table
            keys.append(key)
        if keys:
            yield name, keys

    def _rows(self, table: Table, keys: Sequence[str]) -> Iterator[Sequence[Value]]:
        hashes = []
        for key, rev, row in in_order(self._snapshot, table, keys):
            hashed = row_hash(self._scope.key, table.name, key, row)
            hashes.append(hashed)
            yield (key, rev, hashed, *row)
        self._digest = self._digest.replace(removed=(), added=hashes)


def in_order(
    snapshot: Snapshot, table: Table, keys: Sequence[str]
) -> Iterator[tuple[str, int, Row]]:
    """Rows in the order of ``keys``; many large ones are read in smaller pieces."""
    found: dict[str, tuple[str, int, Row]] = {}
    size = 0
    for item in snapshot.rows(table, keys):
        found[item[0]] = item
        size += sum(len(value) for value in item[2] if isinstance(value, (str, bytes)))
        if size > FILE_FETCH_BYTES_SOFT and len(keys) > SNAPSHOT_SPLIT_ROWS_MIN:
            break
    else:
        yield from (found[key] for key in keys if key in found)
        return
    del found
    middle = len(keys) // 2
    yield from in_order(snapshot, table, keys[:middle])
    yield from in_order(snapshot, table, keys[middle:])
