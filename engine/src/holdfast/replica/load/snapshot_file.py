"""A snapshot file, looked at before anything of it is copied.

Knows: the layout of the file. Must not know: the replica's database, or how the file came.
Its bytes are those that the server offered, yet it is a database that somebody else has made: it is
opened for reading, with nothing in it trusted, and it has to be exactly what it should be: the
declared plain tables and no others, no view, trigger, index or computed column, each row under its
own key and with the hash of its values, and hashes whose sum is the digest of the position it
brings. All of it is looked at before the import begins, when nobody waits for it.

Upholds I12 and I36 (what does not add up is refused whole), I31 (it is read piece by piece, and no
value is larger than a line of an answer could be).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.digest import HASH_BYTES, Digest, RowHasher
from holdfast.core.errors import DatabaseError, DatabaseFull, FileRefused
from holdfast.core.limits import RESPONSE_LINE_BYTES_MAX
from holdfast.protocol.messages import Position
from holdfast.schema.model import Schema, Table
from holdfast.sql.load import ABOUT, OWN
from holdfast.sql.names import quote
from holdfast.sql.replica import compile_replica
from holdfast.sqlite import Connection, Driver, OpenOptions

SNAPSHOT_FORMAT = 1
_HEADER_BYTES = 20
Step = tuple[int, int, int]
_MODULUS = 1 << 128


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A file that was looked at: the rows of ``scope`` at ``position``.

    ``steps``: by table, pieces of it to be read at a time: rowids from and to, and how many rows.
    """

    path: Path
    scope: str
    position: Position
    rows: int
    steps: Mapping[str, Sequence[Step]]


def sum_of(hashes: bytes) -> int:
    """The sum of hashes laid end to end, as big-endian integers."""
    words: tuple[int, ...] = struct.unpack(f">{len(hashes) // 8}Q", hashes)
    return ((sum(words[0::2]) << 64) + sum(words[1::2])) % _MODULUS


class SnapshotReader:
    """Looks at one file. ``epoch``: of the server's history, as its last answer told it."""

    def __init__(self, path: Path, driver: Driver, schema: Schema, *, epoch: str) -> None:
        self._path = path
        self._driver = driver
        self._schema = schema
        self._program = compile_replica(schema)
        self._epoch = epoch

    def check(
        self, scope: str, position: Position, *, hash_key: bytes, on_rows: Callable[[int], None]
    ) -> SnapshotFile:
        """The file, as what it was offered. ``hash_key``: of the scope's rows. Raises
        ``FileRefused`` when it is not."""
        with self._path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if header[:16] != b"SQLite format 3\0" or header[18:20] != b"\x01\x01":
            raise FileRefused("it is not a plain SQLite file")
        try:
            with contextlib.closing(self._open()) as db:
                self._check_tables(db)
                self._check_about(db, scope, position)
                if db.execute("PRAGMA quick_check(1)") != [("ok",)]:
                    raise FileRefused("it is damaged")
                digest, steps = self._sum_up(db, hash_key, on_rows)
        except DatabaseFull:
            raise
        except (DatabaseError, ValueError, struct.error) as error:
            raise FileRefused(f"it cannot be read: {error}") from None
        if (digest.count, digest.hex) != (position.count, position.digest):
            raise FileRefused("its rows do not add up to the digest of its position")
        return SnapshotFile(self._path, scope, position, digest.count, steps)

    def _open(self) -> Connection:
        db = self._driver.connect(
            str(self._path),
            OpenOptions(read_only=True, create=False, value_bytes_max=RESPONSE_LINE_BYTES_MAX),
        )
        try:
            for setting in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON"):
                db.execute(f"PRAGMA {setting}")
        except BaseException:
            db.close()
            raise
        return db

    def _check_tables(self, db: Connection) -> None:
        """Nothing but the tables that have to be there, each with its columns and no more."""
        wanted = {"holdfast_snapshot": ABOUT} | {
            table.name: (*OWN, *table.column_names) for table in self._schema.all_tables
        }
        # Virtual tables have no page of their own; asking for their columns would run their code.
        found = db.execute("SELECT type, name, tbl_name, rootpage FROM sqlite_schema LIMIT 1000")
        for kind, name, table, page in found:
            plain = kind == "table" and name == table and isinstance(page, int) and page > 1
            if not plain or name not in wanted:
                raise FileRefused(f"it has a {kind!r} {name!r} that does not belong there")
        if len(found) != len(wanted):
            raise FileRefused("tables are missing")
        for name, columns in wanted.items():
            info = db.execute(f"PRAGMA table_xinfo({quote(name)})")
            if tuple(row[1] for row in info) != columns or any(row[6] for row in info):
                raise FileRefused(f"its table {name} has other columns")
            (listed,) = db.execute(f"PRAGMA table_list({quote(name)})")
            if listed[2] != "table" or listed[4]:
                raise FileRefused(f"its table {name} is no plain table")

    def _check_about(self, db: Connection, scope: str, position: Position) -> None:
        found = db.execute(self._program.load_about)
        expected = (
            SNAPSHOT_FORMAT, self._epoch, scope, position.version, position.count,
            position.digest, position.seal, self._schema.fingerprint, self._schema.generation,
        )  # fmt: skip
        if found != [expected]:
            raise FileRefused("it is of another scope, version, epoch or schema")

    def _sum_up(
        self, db: Connection, hash_key: bytes, on_rows: Callable[[int], None]
    ) -> tuple[Digest, dict[str, list[Step]]]:
        """Look at each row's key, revision, values and hash; the digest of all, and the steps it
        took."""
        count, total = 0, 0
        steps: dict[str, list[Step]] = {}
        for table in self._schema.all_tables:
            taken = steps[table.name] = []
            sql = self._program.tables[table.name].load.look
            hasher = RowHasher(hash_key, table.name)
            after = -(2**63)
            while True:
                ((last, rows, bad, hashes),) = db.execute(sql, (after,))
                if not rows:
                    break
                if bad or not (isinstance(last, int) and isinstance(rows, int)):
                    raise FileRefused(f"rows of {table.name} are not under their own keys")
                added = bytes.fromhex(str(hashes))
                if len(added) != rows * HASH_BYTES:
                    raise FileRefused(f"hashes of {table.name} have another length")
                self._check_values(db, table, hasher, (after, last))
                total += sum_of(added)
                count += rows
                taken.append((after + 1, last, rows))
                after = last
                on_rows(count)
                if last == 2**63 - 1:
                    break
        return Digest(count, total % _MODULUS), steps

    def _check_values(
        self, db: Connection, table: Table, hasher: RowHasher, among: tuple[int, int]
    ) -> None:
        """Hash the rows from behind a rowid to another anew."""
        sql = self._program.tables[table.name].load.hashed
        after, last = among
        while after < last:
            for rowid, told, *row in db.iterate(sql, (after, last)):
                if hasher.hash(row) != told:
                    raise FileRefused(f"a row of {table.name} is not what its hash says")
                after = int(str(rowid))
