"""Reads of the embedded SQLite store: one connection inside one read transaction.

Knows: the server's SQLite layout. Must not know: merging, rights, or messages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from holdfast.core.digest import Digest
from holdfast.core.keys import key_values
from holdfast.core.limits import INTEGER_MAX
from holdfast.core.values import Row, Value
from holdfast.schema.model import Schema, Table
from holdfast.schema.projection import Projection
from holdfast.server.store.contract import (
    ENGINE_TABLES,
    JournalEntry,
    LiveEntry,
    MovedRow,
    Recorded,
    ReplicaRecord,
    Scope,
    ScopeStats,
    Sent,
    Stats,
    StoredRow,
)
from holdfast.server.store.epochs import READ_HEADS
from holdfast.server.store.filling import whole_row
from holdfast.server.store.older_notes import read_digests, read_hashes
from holdfast.server.store.registry_rows import (
    SELECT_ORIGINS,
    SELECT_OWNER,
    SELECT_REPLICA,
    SELECT_SENT,
    replica_of,
    sent_row,
)
from holdfast.server.store.sqlite.registry import SqliteRegistry
from holdfast.sql.names import SCOPE_STATS, change_table, marks, names, quote
from holdfast.sql.note_scopes import Ranges
from holdfast.sql.server import SqliteTableSql, select_children, table_sql
from holdfast.sqlite.driver import Connection

_encode = msgspec.json.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[str, Any]).decode

NOTED = (
    "FROM json_each(?) AS j CROSS JOIN holdfast_noted AS n INDEXED BY holdfast_noted_scope ON "
    "n.scope >= json_extract(j.value, '$[0]') AND n.scope <= json_extract(j.value, '$[1]')"
)
"""The notes that concern given ranges of scopes."""

Statements = Mapping[str, SqliteTableSql]


@dataclass(frozen=True, slots=True)
class SqliteProgram:
    """The compiled statements of a schema."""

    schema: Schema
    tables: Statements
    children: Mapping[tuple[str, tuple[str, ...], str], str]
    older: tuple[Projection, ...] = ()
    """What the older generations see that are served, oldest first."""


def compile_program(schema: Schema) -> SqliteProgram:
    """Compile a schema's statements, once for a store."""
    return SqliteProgram(
        schema=schema,
        tables={table.name: table_sql(table) for table in schema.all_tables},
        children={
            (table.name, foreign.columns, foreign.table): select_children(table, foreign)
            for table in schema.tables
            for foreign in table.foreign_keys
        },
    )


def json_text(items: object) -> str:
    return _encode(items).decode()


class SqliteReads:
    """The reads that a snapshot and a writer share."""

    def __init__(self, connection: Connection, program: SqliteProgram) -> None:
        self._db = connection
        self._program = program

    @property
    def registry(self) -> SqliteRegistry:
        return SqliteRegistry(self._db)

    def has_notes(self) -> bool:
        return bool(self._db.execute("SELECT EXISTS (SELECT 1 FROM holdfast_noted)")[0][0])

    def noted(self, ranges: Ranges, limit: int) -> int:
        return _int(
            self._db.execute(
                f"SELECT count(*) FROM (SELECT 1 {NOTED} LIMIT ?)", (json_text(ranges), limit)
            )
        )

    def replica(self, replica: str) -> ReplicaRecord | None:
        rows = self._db.execute(SELECT_REPLICA.format(replica="?"), (replica,))
        return replica_of(rows[0]) if rows else None

    def origins(self, replica: ReplicaRecord, limit: int) -> list[ReplicaRecord]:
        if not replica.origin:
            return []
        sql = SELECT_ORIGINS.format(origin="?1", device="?2", user="?3", limit="?4")
        rows = self._db.execute(sql, (replica.origin, replica.device, replica.user, limit))
        return [replica_of(row) for row in rows]

    def sent_by(self, devices: Collection[str], ids: Sequence[bytes]) -> Sent:
        sql = SELECT_SENT.format(
            yes="= 1", ids=f"IN ({marks(len(ids))})",
            among="IN (SELECT value FROM json_each(?))",
        )  # fmt: skip
        return [sent_row(row) for row in self._db.execute(sql, (*ids, json_text(sorted(devices))))]

    def owner(self, device: str) -> str | None:
        rows = self._db.execute(SELECT_OWNER.format(device="?"), (device,))
        return str(rows[0][0]) if rows else None

    def recorded(self, replica: str, numbers: Sequence[int]) -> dict[int, Recorded]:
        found: dict[int, Recorded] = {}
        for number, identity, body, outcome, settled, answer in self._db.execute(
            "SELECT a.number, a.id, body, outcome, settled, answer FROM json_each(?) AS j "
            "CROSS JOIN holdfast_applied AS a ON a.replica = ? AND a.number = j.value",
            (json_text(list(numbers)), replica),
        ):
            assert isinstance(number, int) and isinstance(identity, bytes)
            assert isinstance(body, bytes) and not isinstance(answer, int | float | str)
            kind = cast("Literal['applied', 'refused', 'held']", outcome)
            found[number] = Recorded(number, identity, body, kind, bool(settled), answer)
        return found

    def heads_at_end(self, number: int) -> dict[str, int]:
        rows = self._db.execute(READ_HEADS.format(number="?"), (number,))
        return {str(scope): int(str(head)) for scope, head in rows}

    def scope_names(self) -> list[str]:
        return [str(name) for (name,) in self._db.execute("SELECT scope FROM holdfast_scope")]

    def scopes(self, names: Iterable[str]) -> dict[str, Scope]:
        found: dict[str, Scope] = {}
        for name, head, count, digest, key, floor, size, older in self._db.execute(
            "SELECT s.scope, head, count, digest, s.key, floor, bytes, older "
            "FROM json_each(?) AS j CROSS JOIN holdfast_scope AS s ON s.scope = j.value",
            (json_text(list(names)),),
        ):
            assert isinstance(name, str) and isinstance(head, int) and isinstance(count, int)
            assert isinstance(digest, str) and isinstance(key, bytes) and isinstance(floor, int)
            assert isinstance(size, int)
            now = Digest.of(count, digest)
            found[name] = Scope(name, head, now, key, floor, size, read_digests(older))
        return found

    def positions(self, held: Mapping[str, int]) -> dict[str, Digest]:
        number = self._program.schema.generation
        found = self.digests(held)
        return {name: digests[number] for name, digests in found.items() if number in digests}

    def digests(self, held: Mapping[str, int]) -> dict[str, Mapping[int, Digest]]:
        found: dict[str, Mapping[int, Digest]] = {}
        for name, generation, count, digest, older in self._db.execute(
            "SELECT c.scope, generation, count, digest, older "
            "FROM json_each(?) AS j CROSS JOIN holdfast_commit AS c "
            "ON c.scope = json_extract(j.value, '$[0]') "
            "AND c.version = json_extract(j.value, '$[1]')",
            (json_text(list(held.items())),),
        ):
            assert isinstance(name, str) and isinstance(count, int) and isinstance(digest, str)
            assert isinstance(generation, int)
            found[name] = {**read_digests(older), generation: Digest.of(count, digest)}
        return found

    def lacking(self, scope: str, since: int, generation: int) -> Iterator[tuple[str, str]]:
        for table, key in self._db.iterate(
            "SELECT tbl, key FROM holdfast_feed INDEXED BY holdfast_feed_deviates WHERE scope = ? "
            "AND deviates >= ? AND deviates > 0 AND version <= ? AND NOT removed",
            (scope, generation, since),
        ):
            yield str(table), str(key)

    def floors(self, names: Collection[str]) -> dict[str, int]:
        rows = self._db.execute(
            "SELECT s.scope, floor FROM json_each(?) AS j "
            "CROSS JOIN holdfast_scope AS s ON s.scope = j.value",
            (json_text(list(names)),),
        )
        return {str(name): int(str(floor)) for name, floor in rows}

    def moved(self, held: Mapping[str, int]) -> Iterator[tuple[str, MovedRow]]:
        for scope, since in held.items():
            for table, key, removed, version in self._db.iterate(
                "SELECT tbl, key, removed, version FROM holdfast_feed "
                "INDEXED BY holdfast_feed_version WHERE scope = ? AND version > ?",
                (scope, since),
            ):
                assert isinstance(table, str) and isinstance(key, str) and isinstance(version, int)
                yield scope, MovedRow(table, key, bool(removed), version)

    def moved_count(self, held: Mapping[str, int], limit: int) -> int:
        return _int(
            self._db.execute(
                "SELECT count(*) FROM (SELECT 1 FROM json_each(?) AS j CROSS JOIN holdfast_feed "
                "AS f INDEXED BY holdfast_feed_version ON f.scope = json_extract(j.value, '$[0]') "
                "AND f.version > json_extract(j.value, '$[1]') LIMIT ?)",
                (json_text(list(held.items())), limit),
            )
        )

    def versions(self, table: Table, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for scope, key, version in self._db.execute(
            "SELECT f.scope, f.key, f.version FROM json_each(?) AS j CROSS JOIN holdfast_feed AS f "
            "ON f.scope = json_extract(j.value, '$[0]') AND f.tbl = ? "
            "AND f.key = json_extract(j.value, '$[1]') WHERE NOT f.removed",
            (json_text(keys), table.name),
        ):
            assert isinstance(scope, str) and isinstance(key, str) and isinstance(version, int)
            found[scope, key] = version
        return found

    def live(
        self,
        scope: str,
        start: tuple[str, str],
        end: tuple[str, str] | None,
        *,
        limit: int | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[str, str, bytes]]:
        where, params = _range(scope, start, end)
        for table, key, digest in self._db.iterate(
            f"SELECT tbl, key, hash FROM holdfast_feed WHERE {where} ORDER BY tbl, key "
            "LIMIT ? OFFSET ?",
            (*params, -1 if limit is None else limit, skip),
        ):
            assert isinstance(table, str) and isinstance(key, str) and isinstance(digest, bytes)
            yield table, key, digest

    def noted_live(
        self, scope: str, start: tuple[str, str], end: tuple[str, str] | None
    ) -> Iterator[tuple[str, str, bytes, Mapping[int, bytes]]]:
        where, params = _range(scope, start, end)
        for table, key, digest, older in self._db.iterate(
            f"SELECT tbl, key, hash, older FROM holdfast_feed WHERE {where} ORDER BY tbl, key",
            params,
        ):
            assert isinstance(table, str) and isinstance(key, str) and isinstance(digest, bytes)
            yield table, key, digest, read_hashes(older)

    def count(
        self,
        scope: str,
        start: tuple[str, str],
        end: tuple[str, str] | None,
        limit: int | None = None,
    ) -> int:
        where, params = _range(scope, start, end)
        some = f"SELECT 1 FROM holdfast_feed WHERE {where} LIMIT ?"
        return _int(
            self._db.execute(
                f"SELECT count(*) FROM ({some})", (*params, -1 if limit is None else limit)
            )
        )

    def rows(self, table: Table, keys: Sequence[str]) -> Iterator[tuple[str, int, Row]]:
        for key, rev, *row in self._by_keys(table, lambda sql: sql.select_rev, keys):
            assert isinstance(key, str) and isinstance(rev, int)
            yield key, rev, tuple(row)

    def stored(self, table: Table, keys: Sequence[str]) -> dict[str, StoredRow]:
        values = {
            key: tuple(row) for key, *row in self._by_keys(table, lambda sql: sql.select, keys)
        }
        found: dict[str, StoredRow] = {}
        for key, rev, stamps, image in self._db.execute(
            "SELECT r.key, rev, stamps, image FROM json_each(?) AS j CROSS JOIN holdfast_row AS r "
            "ON r.tbl = ? AND r.key = j.value",
            (json_text(list(keys)), table.name),
        ):
            assert isinstance(key, str) and isinstance(rev, int) and isinstance(stamps, bytes)
            found[key] = StoredRow(rev, stamps, values.get(key), _image(table, image))
        for key, row in values.items():
            if isinstance(key, str) and key not in found:
                found[key] = StoredRow(0, b"", row, None)
        return found

    def revs(self, table: Table, keys: Sequence[str]) -> dict[str, int]:
        return {
            str(key): _int([(rev,)])
            for key, rev in self._db.execute(
                "SELECT r.key, r.rev FROM json_each(?) AS j CROSS JOIN holdfast_row AS r "
                "ON r.tbl = ? AND r.key = j.value",
                (json_text(list(keys)), table.name),
            )
        }

    def hashes(self, scope: str, table: Table, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: found.hash for key, found in self.weighed(scope, table, keys).items()}

    def weighed(self, scope: str, table: Table, keys: Sequence[str]) -> dict[str, LiveEntry]:
        found: dict[str, LiveEntry] = {}
        for key, digest, size, older, deviates, version in self._db.execute(
            "SELECT f.key, f.hash, f.size, f.older, f.deviates, f.version FROM json_each(?) AS j "
            "CROSS JOIN holdfast_feed AS f ON f.scope = ? AND f.tbl = ? AND f.key = j.value "
            "WHERE NOT f.removed",
            (json_text(list(keys)), scope, table.name),
        ):
            assert isinstance(key, str) and isinstance(digest, bytes) and isinstance(size, int)
            assert isinstance(deviates, int) and isinstance(version, int)
            found[key] = LiveEntry(digest, size, read_hashes(older), deviates, version)
        return found

    def page(
        self, table: Table, after: Sequence[Value] | None, limit: int
    ) -> list[tuple[str, Row]]:
        sql, params = page_sql(table, self._program.tables[table.name].scan, after, limit)
        return [(str(key), tuple(row)) for key, *row in self._db.execute(sql, params)]

    def entries(self, after: tuple[str, str, str], limit: int) -> list[tuple[str, str, str]]:
        rows = self._db.execute(
            "SELECT scope, tbl, key FROM holdfast_feed WHERE (scope, tbl, key) > (?, ?, ?) "
            "AND NOT removed ORDER BY scope, tbl, key LIMIT ?",
            (*after, limit),
        )
        return [(str(scope), str(table), str(key)) for scope, table, key in rows]

    def devices_since(self, moments: Sequence[int]) -> list[int]:
        return [
            _int(
                self._db.execute(
                    "SELECT count(DISTINCT device) FROM holdfast_replica WHERE last_seen > ?",
                    (moment,),
                )
            )
            for moment in moments
        ]

    def stats(self) -> Stats:
        def count(table: str) -> int:
            return _int(self._db.execute(f"SELECT count(*) FROM {quote(table)}"))

        size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        notes = sum(
            _int(self._db.execute(f"SELECT count(*) FROM {change_table(t)} WHERE tx = 0"))
            for t in self._program.schema.all_tables
        )
        return Stats(
            rows={t.name: count(t.name) for t in self._program.schema.all_tables},
            entries={table: count(table) for table in ENGINE_TABLES},
            sizes={"": _int(self._db.execute(size))},
            scopes=[ScopeStats(*row) for row in self._db.execute(SCOPE_STATS)],  # type: ignore[arg-type]
            notes=notes,
        )

    def journal(
        self,
        *,
        table: str,
        key: str,
        before: int,
        limit: int,
        scopes: Sequence[str] | None = None,
    ) -> list[JournalEntry]:
        where, params = ["1"], list[Value]()
        if scopes is not None:
            of_table = "AND tbl = ?2 " if table else ""
            where.append(
                "number IN (SELECT p.number FROM json_each(?1) AS s "
                "CROSS JOIN holdfast_journal_scope AS p ON p.scope = s.value AND p.number IN ("
                f"SELECT number FROM holdfast_journal_scope WHERE scope = s.value {of_table}"
                "AND number < ?3 ORDER BY number DESC LIMIT ?4))"
            )
            params += [json_text(list(scopes)), table, before or INTEGER_MAX, limit]
        for condition, value in (("tbl = ?", table), ("key = ?", key), ("number < ?", before)):
            if value:
                where.append(condition)
                params.append(value)
        entries = []
        for number, at, name, row_key, column, kind, entry in self._db.execute(
            "SELECT number, at, tbl, key, col, kind, entry FROM holdfast_journal "
            f"WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?",
            (*params, limit),
        ):
            assert isinstance(number, int) and isinstance(at, int) and isinstance(entry, bytes)
            entries.append(
                JournalEntry(
                    at, str(name), str(row_key), str(column), str(kind),
                    msgspec.json.decode(entry), number,
                )
            )  # fmt: skip
        return entries

    def _by_keys(
        self, table: Table, choose: Callable[[SqliteTableSql], str], keys: Sequence[str]
    ) -> Iterator[Row]:
        """Run a look-up for rows with given keys."""
        statements = self._program.tables[table.name]
        sql = choose(statements)
        if not keys:
            return
        if not statements.by_json:
            for key in keys:
                yield from self._db.iterate(sql, key_values(table, key))
            return
        if len(table.key) == 1:
            items: list[object] = [key_values(table, key)[0] for key in keys]
        else:
            items = [key_values(table, key) for key in keys]
        yield from self._db.iterate(sql, (json_text(items),))


class SqliteSnapshot(SqliteReads):
    """``store.Snapshot``: holds its read transaction until it is closed."""

    def __init__(
        self, connection: Connection, program: SqliteProgram, release: Callable[[Connection], None]
    ) -> None:
        super().__init__(connection, program)
        self.connection = connection
        self._release = release
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            self._release(self._db)


def page_sql(
    table: Table, scan: str, after: Sequence[Value] | None, limit: int
) -> tuple[str, tuple[Value, ...]]:
    """A look at the rows after a key, in the order of the primary key."""
    order = names(table.key, "t.")
    if after is None:
        return f"{scan} ORDER BY {order} LIMIT ?", (limit,)
    marks = ", ".join("?" * len(table.key))
    return f"{scan} WHERE ({order}) > ({marks}) ORDER BY {order} LIMIT ?", (*after, limit)


def _image(table: Table, packed: Value) -> Row | None:
    """A removed row's last values; columns added since then are filled."""
    if not isinstance(packed, bytes):
        return None
    return whole_row(table, _unpack(packed))


def _int(rows: list[Row]) -> int:
    value = rows[0][0]
    assert isinstance(value, int)
    return value


def _range(
    scope: str, start: tuple[str, str], end: tuple[str, str] | None
) -> tuple[str, tuple[Value, ...]]:
    where = "scope = ? AND (tbl, key) >= (?, ?) AND NOT removed"
    if end is None:
        return where, (scope, *start)
    return f"{where} AND (tbl, key) < (?, ?)", (scope, *start, *end)
