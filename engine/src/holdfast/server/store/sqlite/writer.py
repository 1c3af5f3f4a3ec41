"""The write transaction of the embedded SQLite store.

Knows: the server's SQLite layout. Must not know: merging, rights, or messages.
All statements are set-based: one ``executemany`` or one look-up by a JSON array for a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from holdfast.core.errors import DatabaseError
from holdfast.core.keys import key_values
from holdfast.core.values import Row, Value
from holdfast.schema.model import ForeignKey, Table
from holdfast.schema.projection import Projection
from holdfast.server.store.contract import (
    NO_ROWS,
    DirectWriteNote,
    FeedEntry,
    JournalEntry,
    Recorded,
    ReplicaRecord,
    RowRecord,
    Scope,
)
from holdfast.server.store.older_notes import digests_text, pack_hashes
from holdfast.server.store.registry_rows import (
    MARK_REPLICAS,
    MARK_SENT,
    PUT_REPLICA,
    written,
)
from holdfast.server.store.sqlite.reads import NOTED, SqliteProgram, SqliteReads, json_text
from holdfast.server.store.sqlite.upkeep import SqliteUpkeep
from holdfast.sql.note_scopes import Ranges
from holdfast.sql.server import select_holder
from holdfast.sqlite.driver import Connection

_pack = msgspec.msgpack.Encoder().encode


class SqliteWriter(SqliteReads):
    """``store.Writer``. The store begins and commits."""

    def __init__(
        self, connection: Connection, program: SqliteProgram, counts_from: int = 0
    ) -> None:
        super().__init__(connection, program)
        self.counts_from = counts_from
        self._depth = 0

    def close(self) -> None:
        """The store ends the transaction."""

    def run(self, sql: str, params: Sequence[Value]) -> Sequence[Row]:
        """Run a statement of the store's own."""
        return self._db.execute(sql, params)

    @property
    def older(self) -> tuple[Projection, ...]:
        return self._program.older

    # Replicas and their transactions

    def hold(self, scopes: Iterable[str]) -> None:
        """Nobody else writes."""

    def known_scopes(self, names: Sequence[str]) -> set[str]:
        return set(self.scopes(names))

    def last_place(self, device: str) -> int:
        ((place,),) = self._db.execute(
            "SELECT coalesce(max(place), 0) FROM holdfast_replica WHERE device = ?", (device,)
        )
        assert isinstance(place, int)
        return place

    def put_replica(self, replica: ReplicaRecord) -> None:
        values = written(replica)
        self._db.execute(PUT_REPLICA.format(values=", ".join("?" * len(values))), values)

    def set_backed_up(self, highs: Mapping[str, int]) -> None:
        self._db.executemany(
            "UPDATE holdfast_replica SET backed_up = ?2 WHERE replica = ?1 AND backed_up < ?2",
            list(highs.items()),
        )

    def mark_copies(self, devices: Collection[str], first: int) -> None:
        names = json_text(sorted(devices))
        how = {"yes": "1", "among": "IN (SELECT value FROM json_each(?1))"}
        self._db.execute(MARK_REPLICAS.format(**how), (names,))
        self._db.execute(MARK_SENT.format(first="?2", **how), (names, first))

    def record(self, replica: str, entries: Sequence[Recorded], *, copied: bool = False) -> None:
        self._db.executemany(
            "INSERT INTO holdfast_applied "
            "(replica, number, id, body, outcome, settled, answer, copied) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (replica, e.number, e.id, e.body, e.outcome, int(e.settled), e.answer, int(copied))
                for e in entries
            ],
        )

    def settle(self, replica: str, number: int) -> None:
        self._db.execute(
            "UPDATE holdfast_applied SET settled = 1 WHERE replica = ? AND number = ?",
            (replica, number),
        )

    def forget_answers(self, replica: str, up_to: int) -> None:
        self._db.execute(
            "UPDATE holdfast_applied SET answer = NULL "
            "WHERE replica = ? AND number <= ? AND answer IS NOT NULL",
            (replica, up_to),
        )

    # Rows

    def existing(self, table: Table, keys: Sequence[str]) -> set[str]:
        return {str(row[0]) for row in self._by_keys(table, lambda sql: sql.exists, keys)}

    def children(
        self, child: Table, foreign: ForeignKey, parent: Sequence[Value], limit: int
    ) -> list[str]:
        sql = self._program.children[child.name, foreign.columns, foreign.table]
        return [str(key) for (key,) in self._db.execute(sql, (*parent, limit))]

    def holder(self, table: Table, columns: Sequence[str], values: Sequence[Value]) -> str | None:
        rows = self._db.execute(select_holder(table, columns), values)
        return str(rows[0][0]) if rows else None

    def write(self, table: Table, *, first_gone: Sequence[str], rows: Sequence[Row]) -> None:
        statements = self._program.tables[table.name]
        if first_gone:
            self._db.executemany(statements.delete, [key_values(table, key) for key in first_gone])
        size = statements.rows_at_once
        whole = len(rows) - len(rows) % size
        if whole:
            self._db.executemany(
                statements.upsert_some,
                (
                    [value for row in rows[start : start + size] for value in row]
                    for start in range(0, whole, size)
                ),
            )
        if rows[whole:]:
            self._db.executemany(statements.upsert, rows[whole:])

    def put_records(self, table: Table, records: Sequence[RowRecord]) -> None:
        names = table.column_names
        self._db.executemany(
            "INSERT INTO holdfast_row (tbl, key, rev, stamps, image) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (tbl, key) DO UPDATE SET rev = excluded.rev, stamps = excluded.stamps, "
            "image = excluded.image",
            [
                (
                    table.name, r.key, r.rev, r.stamps,
                    None if r.image is None else _pack(dict(zip(names, r.image, strict=True))),
                )
                for r in records
            ],
        )  # fmt: skip

    # Feeds and scopes

    def put_feed(self, entries: Sequence[FeedEntry]) -> None:
        self._db.executemany(
            "INSERT INTO holdfast_feed (scope, tbl, key, version, hash, removed, size, older, "
            "deviates) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (scope, tbl, key) DO UPDATE SET "
            "version = excluded.version, hash = excluded.hash, removed = excluded.removed, "
            "size = excluded.size, older = excluded.older, deviates = excluded.deviates",
            [
                (
                    e.scope,
                    e.table,
                    e.key,
                    e.version,
                    e.hash,
                    int(e.removed),
                    e.size,
                    pack_hashes(e.older),
                    e.deviates,
                )
                for e in entries
            ],
        )

    def put_scopes(self, scopes: Sequence[Scope]) -> None:
        self._db.executemany(
            "INSERT INTO holdfast_scope (scope, head, count, digest, key, bytes, older) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (scope) DO UPDATE SET head = excluded.head, "
            "count = excluded.count, digest = excluded.digest, bytes = excluded.bytes, "
            "older = excluded.older",
            [
                (
                    s.name, s.head, s.digest.count, s.digest.hex, s.key, s.size,
                    digests_text(s.older),
                )
                for s in scopes
            ],
        )  # fmt: skip
        generation = self._program.schema.generation
        self._db.executemany(
            "INSERT INTO holdfast_commit (scope, version, count, digest, generation, older) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [
                (
                    s.name, s.head, s.digest.count, s.digest.hex, generation,
                    digests_text(s.older),
                )
                for s in scopes
            ],
        )  # fmt: skip

    def restate_scopes(self, scopes: Sequence[Scope]) -> None:
        self._db.executemany(
            "UPDATE holdfast_scope SET count = ?, digest = ?, bytes = ?, older = ? WHERE scope = ?",
            [(s.digest.count, s.digest.hex, s.size, digests_text(s.older), s.name) for s in scopes],
        )
        self._db.executemany(
            "UPDATE holdfast_commit SET count = ?, digest = ?, older = json_patch(older, ?) "
            "WHERE scope = ? AND version = ?",
            [(s.digest.count, s.digest.hex, digests_text(s.older), s.name, s.head) for s in scopes],
        )

    def open_conflicts(self, table: str, keys: Sequence[str]) -> list[str]:
        return [
            str(key)
            for (key,) in self._db.execute(
                "SELECT c.id FROM json_each(?) AS j CROSS JOIN holdfast_conflict AS c "
                "ON c.table_name = ? AND c.row_key = j.value AND c.state = 'open' ORDER BY c.id",
                (json_text(list(keys)), table),
            )
        ]

    # Direct writes

    def take_notes(
        self,
        *,
        limit: int = 0,
        ranges: Ranges | None = None,
        rows: Mapping[str, Sequence[str]] = NO_ROWS,
    ) -> dict[str, list[DirectWriteNote]]:
        places = {name: dict.fromkeys(keys) for name, keys in rows.items()}
        found: list[Row] = []
        if limit and ranges is None:
            sql = "SELECT DISTINCT tbl, key FROM holdfast_noted LIMIT ?"
            found = self._db.execute(sql, (limit,))
        elif limit:
            sql = f"SELECT DISTINCT n.tbl, n.key {NOTED} LIMIT ?"
            found = self._db.execute(sql, (json_text(ranges), limit))
        for name, key in found:
            places.setdefault(str(name), {})[str(key)] = None
        return {name: notes for name, keys in places.items() if (notes := self._take(name, keys))}

    def _take(self, name: str, keys: Iterable[str]) -> list[DirectWriteNote]:
        table = self._program.schema.by_name.get(name)
        wanted = json_text(list(keys))
        notes: list[DirectWriteNote] = []
        if table is not None:
            statements = self._program.tables[name]
            for key, was, *old in self._db.execute(statements.notes, (wanted,)):
                assert isinstance(key, str)
                notes.append(DirectWriteNote(key, _whole(table, key, old) if was else None))
            if notes:
                self._db.execute(statements.forget_notes, (wanted,))
        self._db.execute(
            "DELETE FROM holdfast_noted WHERE tbl = ? AND key IN (SELECT value FROM json_each(?))",
            (name, wanted),
        )
        return notes

    # Journal, rules, savepoints

    def add_journal(self, entries: Sequence[JournalEntry]) -> None:
        if not entries:
            return
        ((last,),) = self._db.execute("SELECT coalesce(max(number), 0) FROM holdfast_journal")
        assert isinstance(last, int)
        numbered = list(enumerate(entries, start=last + 1))
        self._db.executemany(
            "INSERT INTO holdfast_journal (number, at, tbl, key, col, kind, entry) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (number, e.at, e.table, e.key, e.column, e.kind, msgspec.json.encode(e.entry))
                for number, e in numbered
            ],
        )
        self._db.executemany(
            "INSERT INTO holdfast_journal_scope (scope, number, tbl) VALUES (?, ?, ?)",
            [(scope, number, e.table) for number, e in numbered for scope in sorted(e.scopes)],
        )

    def follow_journal(self, moves: Sequence[tuple[str, str, str]]) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO holdfast_journal_scope (scope, number, tbl) "
            "SELECT ?3, number, tbl FROM holdfast_journal WHERE tbl = ?1 AND key = ?2",
            moves,
        )

    @property
    def upkeep(self) -> SqliteUpkeep:
        return SqliteUpkeep(self._db)

    def query(self, sql: str, params: Sequence[Value]) -> list[dict[str, Value]]:
        self._db.execute("PRAGMA query_only = 1")
        try:
            names, rows = self._db.columns(sql, params)
        finally:
            self._db.execute("PRAGMA query_only = 0")
        if not self._db.in_transaction:
            raise DatabaseError("a rule's query must not end the transaction", code="usage")
        return [dict(zip(names, row, strict=True)) for row in rows]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        name = f"holdfast_{self._depth}"
        self._depth += 1
        self._db.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk may have ended it
                self._db.execute(f"ROLLBACK TO {name}")
                self._db.execute(f"RELEASE {name}")
            raise
        else:
            self._db.execute(f"RELEASE {name}")
        finally:
            self._depth -= 1


def _whole(table: Table, key: str, data: Sequence[Value]) -> Row:
    """A row in column order from its key and its data columns."""
    values = dict(zip(table.key, key_values(table, key), strict=True))
    values.update(zip((c.name for c in table.data_columns), data, strict=True))
    return tuple(values[name] for name in table.column_names)
