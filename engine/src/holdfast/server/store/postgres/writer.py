"""The write transaction of the PostgreSQL store.

Knows: the server's layout in PostgreSQL, and how writers stay out of each other's way. Must not
know: merging, rights, or messages.

READ COMMITTED, and everything that was read holds until the commit, because:

- the scopes of the rows are locked, once and in sorted order (``hold``). When one of them has
  moved since the transaction began, what was read may be stale; when one is missing, it would have
  to be locked out of order. Both times everything is undone and begun again with all of them
  locked first;
- a row's record is written only if it is as it was read. That settles two inserts of one key into
  different scopes, which no lock keeps apart;
- a direct write that came in between has left a note, which is looked for last. The next attempt
  locks the rows as it reads them.

Locks are taken in one order, so that no two writers wait for each other: the device, the notes of
direct writes (one takes them at a time), the scopes by name, and then rows, which only programs
that write directly can hold as well. What would have to be waited for out of order is not:
everything is begun again. So are several rows of which a direct write holds one of them.

Upholds I7, I11, I14, I16, I22.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg
from psycopg.abc import QueryNoTemplate

from holdfast.core.errors import ConstraintFailed, DatabaseError
from holdfast.core.keys import row_key
from holdfast.core.values import Row, Value
from holdfast.schema.model import ForeignKey, Table
from holdfast.schema.projection import Projection
from holdfast.server.store import registry_rows
from holdfast.server.store.contract import (
    NO_ROWS,
    DirectWriteNote,
    FeedEntry,
    JournalEntry,
    Recorded,
    ReplicaRecord,
    RowRecord,
    Scope,
    Sent,
    StoredRow,
    TryAgain,
)
from holdfast.server.store.postgres.errors import translated
from holdfast.server.store.postgres.notes import (
    NOTED_ROWS,
    TAKE,
    TAKE_ALONE,
    fold,
    rule_sql,
    rule_value,
)
from holdfast.server.store.postgres.parameters import (
    WaitingStatement,
    feed_arrays,
    record_arrays,
    scope_arrays,
    text_columns,
)
from holdfast.server.store.postgres.reads import (
    NOTED,
    SELECT_REPLICA,
    STATE,
    PostgresConnection,
    PostgresReads,
    range_arrays,
    scope_of,
)
from holdfast.server.store.postgres.registry import PostgresRegistry
from holdfast.server.store.postgres.upkeep import PostgresUpkeep
from holdfast.sql.note_scopes import Ranges
from holdfast.sql.postgres.statements import (
    PostgresProgram,
    bytes_array,
    number_array,
    select_holder,
    text_array,
)

_HOLD_NAME = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"


class PostgresWriter(PostgresReads):
    """``store.Writer``. The store begins and commits.

    ``began``: the snapshot that the transaction began with. ``notes``: whether direct writes waited
    then; those that come later are looked for last, as far as it matters. ``wanted``: scopes to be
    locked before anything of them is read. ``careful``: rows are locked against direct writes as
    they are read.
    """

    def __init__(
        self,
        connection: PostgresConnection,
        program: PostgresProgram,
        *,
        began: str,
        notes: bool,
        wanted: frozenset[str],
        careful: bool,
        counts_from: int,
    ) -> None:
        super().__init__(connection, program)
        self._began = began
        self._notes = notes
        self._later: list[WaitingStatement] = []
        self._trips = 0
        self.counts_from = counts_from
        self._wanted = wanted
        self._careful = careful
        self._held: dict[str, Scope] = {}
        self._made: dict[str, Scope] = {}
        self._revs: dict[str, dict[str, int]] = {}
        self._written: dict[str, list[Sequence[str]]] = {}
        self._depth = 0

    @property
    def registry(self) -> PostgresRegistry:
        return PostgresRegistry(self._run, locks=True)

    @property
    def older(self) -> tuple[Projection, ...]:
        return self._program.older

    def close(self) -> None:
        """The store ends the transaction."""

    def finish(self) -> None:
        """Check what must be so before the commit. Raises ``TryAgain``."""
        self._defer("SET CONSTRAINTS ALL IMMEDIATE")
        ((notes, fingerprint, _epoch),) = self._run(STATE)
        # Looked at last: whoever makes the tables grow waits for those that we have written.
        self._program.check_generation(fingerprint)
        if not notes:
            return
        for name, batches in self._written.items():
            keys = [key for batch in batches for key in batch]
            (late,) = self._run(
                "SELECT EXISTS (SELECT FROM holdfast_dirty WHERE tbl = $1 "
                "AND key = ANY ($2::text[]))",
                (name, text_array(keys)),
            )
            if late[0]:
                raise TryAgain(f"rows of {name} were written directly", scopes=self._held)

    # Trips to the database

    def _defer(
        self, sql: str, params: Sequence[object] = (), *, rows: int | None = None, why: str = ""
    ) -> None:
        """Run a statement without a result, in order, together with the next that has one.

        What it raises comes then: at the latest before a savepoint is released, and before the
        commit. ``rows``: how many it must touch, else ``TryAgain`` with ``why``.
        """
        self._later.append(WaitingStatement(sql, params, rows, why))

    def _run(self, sql: QueryNoTemplate, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        if not self._later:
            self._trips += 1
            return super()._run(sql, params)
        later = self._forget_later()
        with translated(self._program):
            try:
                with self._db.pipeline():
                    sent = [self._db.execute(item.sql, item.params or None) for item in later]
                    cursor = self._db.execute(sql, params or None)
            except psycopg.Error:
                # What came after the statement that failed was not prepared, against the driver's
                # belief.
                self._db._prepared.clear()  # noqa: SLF001 - nothing public does it
                raise
            for item, done in zip(later, sent, strict=True):
                if item.rows not in (None, done.rowcount):
                    raise TryAgain(item.why, scopes=self._held)
            return cursor.fetchall() if cursor.description else []

    def _forget_later(self) -> list[WaitingStatement]:
        later, self._later = self._later, []
        self._trips += 1
        return later

    def _script(self, sql: str) -> None:
        """Several statements, after all that were deferred."""
        if self._later:
            last = self._later.pop()
            self._run(last.sql, last.params)
        super()._run(sql)

    # Locks

    def _lock_wanted(self) -> None:
        """Before anything of a scope is read: lock what an earlier attempt has missed."""
        if self._wanted:
            wanted, self._wanted = self._wanted, frozenset()
            self._lock(wanted)

    def _lock(self, names: Iterable[str]) -> bool:
        """Lock scopes that exist, in sorted order; whether none had moved since the beginning."""
        rows = self._run(
            "SELECT scope, head, count, digest, key, floor, bytes, older, "
            "pg_visible_in_snapshot(tx, $2::pg_snapshot) FROM holdfast_scope "
            "WHERE scope = ANY ($1::text[]) ORDER BY scope FOR UPDATE",
            (text_array(sorted(names)), self._began),
        )
        self._held.update((row[0], scope_of(row)) for row in rows)
        return all(row[-1] for row in rows)

    def hold(self, scopes: Iterable[str]) -> None:
        self._lock_wanted()
        missing = {name for name in scopes if name not in self._held and name not in self._made}
        if not missing:
            return
        if self._held:
            missing = self.known_scopes(sorted(missing))
            if missing:
                raise TryAgain("more scopes are touched", scopes={*self._held, *missing})
        elif not self._lock(missing):
            raise TryAgain("another writer was first", scopes=self._held)

    def known_scopes(self, names: Sequence[str]) -> set[str]:
        rows = self._run(
            "SELECT scope FROM holdfast_scope WHERE scope = ANY ($1::text[])", (text_array(names),)
        )
        return {name for (name,) in rows}

    def scopes(self, names: Iterable[str]) -> dict[str, Scope]:
        wanted = list(names)
        self.hold(wanted)
        ours = {**self._held, **self._made}
        return {name: ours[name] for name in wanted if name in ours}

    def put_scopes(self, scopes: Sequence[Scope]) -> None:
        if not scopes:
            return
        arrays = scope_arrays(scopes)
        sizes = number_array([s.size for s in scopes])
        source = "unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]"
        if all(scope.head == 0 for scope in scopes):
            made = self._run(
                "INSERT INTO holdfast_scope (scope, head, count, digest, older, key, bytes) "
                f"SELECT * FROM {source}, $6::bytea[], $7::bigint[]) AS s(scope) ORDER BY s.scope "
                "ON CONFLICT DO NOTHING RETURNING scope",
                (*arrays, bytes_array([s.key for s in scopes]), sizes),
            )
            if len(made) < len(scopes):
                raise TryAgain("another writer has made a scope")
            self._made.update((scope.name, scope) for scope in scopes)
        else:
            self._defer(
                "UPDATE holdfast_scope AS s SET head = n.head, count = n.count, "
                "digest = n.digest, older = n.older, bytes = n.bytes, tx = pg_current_xact_id() "
                f"FROM {source}, $6::bigint[]) AS n(scope, head, count, digest, older, bytes) "
                "WHERE s.scope = n.scope",
                (*arrays, sizes),
            )
            self._restated(scopes)
        self._defer(
            "INSERT INTO holdfast_commit (scope, version, count, digest, older, generation) "
            f"SELECT *, $6::bigint FROM {source})",
            (*arrays, self._program.schema.generation),
        )

    def _restated(self, scopes: Sequence[Scope]) -> None:
        for scope in scopes:
            assert scope.name in self._held or scope.name in self._made, "a scope is locked"
            (self._held if scope.name in self._held else self._made)[scope.name] = scope

    def restate_scopes(self, scopes: Sequence[Scope]) -> None:
        arrays = scope_arrays(scopes)
        source = (
            "unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[]{}) "
            "AS n(scope, head, count, digest, older{})"
        )
        self._defer(
            "UPDATE holdfast_scope AS s SET count = n.count, digest = n.digest, older = n.older, "
            "bytes = n.bytes, tx = pg_current_xact_id() "
            f"FROM {source.format(', $6::bigint[]', ', bytes')} WHERE s.scope = n.scope",
            (*arrays, number_array([s.size for s in scopes])),
        )
        self._defer(
            "UPDATE holdfast_commit AS c SET count = n.count, digest = n.digest, "
            "older = (c.older::jsonb || n.older::jsonb)::text "
            f"FROM {source.format('', '')} WHERE c.scope = n.scope AND c.version = n.head",
            arrays,
        )
        self._restated(scopes)

    # Devices and their transactions

    def replica(self, replica: str) -> ReplicaRecord | None:
        sql = f"{SELECT_REPLICA} FOR UPDATE"
        rows = self._run(sql, (replica,))
        if not rows:  # nothing to lock yet: its first exchanges queue up on its name
            self._run(_HOLD_NAME, (replica,))
            rows = self._run(sql, (replica,))
        return registry_rows.replica_of(rows[0]) if rows else None

    def sent_by(self, devices: Collection[str], ids: Sequence[bytes]) -> Sent:
        # A replica with relatives asks before it sends: what one is about to commit is waited for.
        for device in sorted(devices):
            self._run(_HOLD_NAME, (device,))
        return super().sent_by(devices, ids)

    def last_place(self, device: str) -> int:
        self._run(_HOLD_NAME, (device,))  # those that are made at once queue up
        return super().last_place(device)

    def put_replica(self, replica: ReplicaRecord) -> None:
        values = registry_rows.written(replica)
        places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
        self._defer(registry_rows.PUT_REPLICA.format(values=places), values)

    def set_backed_up(self, highs: Mapping[str, int]) -> None:
        self._defer(
            "UPDATE holdfast_replica AS r SET backed_up = n.high FROM "
            "unnest($1::text[], $2::bigint[]) AS n(replica, high) "
            "WHERE r.replica = n.replica AND r.backed_up < n.high",
            (text_array(list(highs)), number_array(list(highs.values()))),
        )

    def mark_copies(self, devices: Collection[str], first: int) -> None:
        names, how = text_array(sorted(devices)), {"yes": "true", "among": "= ANY ($1::text[])"}
        self._run(registry_rows.MARK_REPLICAS.format(**how), (names,))
        self._run(registry_rows.MARK_SENT.format(first="$2", **how), (names, first))

    def record(self, replica: str, entries: Sequence[Recorded], *, copied: bool = False) -> None:
        if entries:
            self._defer(
                "INSERT INTO holdfast_applied "
                "(replica, copied, number, id, body, outcome, settled, answer) "
                "SELECT $1, $8, * FROM "
                "unnest($2::bigint[], $3::bytea[], $4::bytea[], $5::text[], $6::boolean[], "
                "$7::bytea[])",
                (
                    replica,
                    number_array([e.number for e in entries]),
                    bytes_array([e.id for e in entries]),
                    bytes_array([e.body for e in entries]),
                    text_array([e.outcome for e in entries]),
                    number_array([e.settled for e in entries]),
                    bytes_array([e.answer for e in entries]),
                    copied,
                ),
            )

    def settle(self, replica: str, number: int) -> None:
        sql = "UPDATE holdfast_applied SET settled = true WHERE replica = $1 AND number = $2"
        self._defer(sql, (replica, number))

    def forget_answers(self, replica: str, up_to: int) -> None:
        self._defer(
            "UPDATE holdfast_applied SET answer = NULL "
            "WHERE replica = $1 AND number <= $2 AND answer IS NOT NULL",
            (replica, up_to),
        )

    # Rows

    def stored(self, table: Table, keys: Sequence[str]) -> dict[str, StoredRow]:
        self._lock_wanted()
        if self._careful and keys:
            statements = self._program.tables[table.name]
            self._run(statements.lock, statements.key_arrays(keys))
        found = super().stored(table, keys)
        revs = self._revs.setdefault(table.name, {})
        for key in keys:
            item = found.get(key)
            if item is not None and item.stamps:
                revs[key] = item.rev
            else:
                revs.pop(key, None)
        return found

    def existing(self, table: Table, keys: Sequence[str]) -> set[str]:
        if not keys:
            return set()
        statements = self._program.tables[table.name]
        return {key for (key,) in self._run(statements.exists, statements.key_arrays(keys))}

    def children(
        self, child: Table, foreign: ForeignKey, parent: Sequence[Value], limit: int
    ) -> list[str]:
        sql = self._program.children[child.name, foreign.columns, foreign.table]
        return [key for (key,) in self._run(sql, (*parent, limit))]

    def holder(self, table: Table, columns: Sequence[str], values: Sequence[Value]) -> str | None:
        rows = self._run(select_holder(table, columns), values)
        return rows[0][0] if rows else None

    def write(self, table: Table, *, first_gone: Sequence[str], rows: Sequence[Row]) -> None:
        statements = self._program.tables[table.name]
        first_gone = sorted(first_gone)
        rows = sorted(rows, key=lambda row: row_key(table, row))
        keys = [row_key(table, row) for row in rows]
        self._written.setdefault(table.name, []).append([*first_gone, *keys])
        if len(first_gone) + len(rows) > 1:  # who waits for one row holds none that others want
            if first_gone:
                self._defer(statements.lock_whole, statements.key_arrays(first_gone))
            if rows:
                self._defer(statements.lock, statements.keys_of(rows))
        if first_gone:
            self._defer(statements.delete, statements.key_arrays(first_gone))
        if rows:
            self._defer(statements.upsert, statements.row_arrays(rows))

    def put_records(self, table: Table, records: Sequence[RowRecord]) -> None:
        """Write records, if they are as they were read; ``TryAgain`` comes later."""
        if not records:
            return
        known = self._revs.setdefault(table.name, {})
        records = sorted(records, key=lambda record: record.key)
        # `prior` is the revision that was read (0: none); the row is written only if it stands.
        self._defer(
            "INSERT INTO holdfast_row AS r (tbl, key, rev, stamps, image, prior) SELECT $1, * FROM "
            "unnest($2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bigint[]) "
            "ON CONFLICT (tbl, key) DO UPDATE SET rev = excluded.rev, stamps = excluded.stamps, "
            "image = excluded.image, prior = excluded.prior WHERE r.rev = excluded.prior",
            (
                table.name, *record_arrays(table, records),
                number_array([known.get(r.key, 0) for r in records]),
            ),
            rows=len(records),
            why=f"another writer has changed rows of {table.name}",
        )  # fmt: skip
        known.update((r.key, r.rev) for r in records)

    def clear_stale(self) -> None:
        self._run("UPDATE holdfast_state SET stale = '[]'")

    # Feeds

    def put_feed(self, entries: Sequence[FeedEntry]) -> None:
        if entries:
            self._defer(
                "INSERT INTO holdfast_feed (scope, tbl, key, version, hash, removed, size, older, "
                "deviates) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], "
                "$5::bytea[], $6::boolean[], $7::bigint[], $8::bytea[], $9::bigint[]) "
                "ON CONFLICT (scope, tbl, key) DO UPDATE SET version = excluded.version, "
                "hash = excluded.hash, removed = excluded.removed, size = excluded.size, "
                "older = excluded.older, deviates = excluded.deviates",
                feed_arrays(entries),
            )

    def open_conflicts(self, table: str, keys: Sequence[str]) -> list[str]:
        return [
            key
            for (key,) in self._run(
                "SELECT id FROM holdfast_conflict WHERE table_name = $1 "
                "AND row_key = ANY ($2::text[]) AND state = 'open' ORDER BY id",
                (table, text_array(keys)),
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
        """WaitingStatement ones are not this commit's."""
        assert not self._held, "notes are taken before scopes are locked"
        found = self._noted_rows(limit, ranges, rows)
        if found:  # else nobody is waited for
            self._run(TAKE_ALONE)
            found = self._noted_rows(limit, ranges, rows)
        taken: dict[str, list[Any]] = defaultdict(list)
        if found:
            wanted = found
            for name, *note in self._run(
                TAKE, (text_array([t for t, _ in wanted]), text_array([k for _, k in wanted]))
            ):
                taken[name].append(note)
        self._lock_wanted()
        tables = self._program.schema.by_name
        return {name: fold(tables[name], notes) for name, notes in taken.items() if name in tables}

    def _noted_rows(
        self, limit: int, ranges: Ranges | None, rows: Mapping[str, Sequence[str]]
    ) -> list[tuple[str, str]]:
        """Table and key of rows that there are notes about."""
        found: list[tuple[Any, ...]] = []
        if limit and ranges is None:
            sql = "SELECT tbl, key FROM holdfast_dirty ORDER BY number LIMIT $1"
            found += self._run(sql, (limit,))
        elif limit:
            sql = f"SELECT tbl, key {NOTED} LIMIT $3"
            found += self._run(sql, (*range_arrays(ranges or ()), limit))
        for name, keys in rows.items():
            found += self._run(NOTED_ROWS, (name, text_array(keys)))
        return sorted({(name, key) for name, key in found})

    def has_notes(self) -> bool:
        return self._notes

    # Journal, rules, savepoints

    def add_journal(self, entries: Sequence[JournalEntry]) -> None:
        if entries:
            self._defer(
                "WITH added AS (INSERT INTO holdfast_journal (at, tbl, key, col, kind, entry) "
                "SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], "
                "$5::text[], $6::bytea[]) RETURNING number, tbl, key) "
                "INSERT INTO holdfast_journal_scope (scope, number, tbl) "
                "SELECT s.scope, a.number, a.tbl FROM added AS a JOIN "
                "unnest($7::text[], $8::text[], $9::text[]) AS s(tbl, key, scope) USING (tbl, key)",
                (
                    number_array([e.at for e in entries]),
                    text_array([e.table for e in entries]),
                    text_array([e.key for e in entries]),
                    text_array([e.column for e in entries]),
                    text_array([e.kind for e in entries]),
                    bytes_array([msgspec.json.encode(e.entry) for e in entries]),
                    *text_columns(sorted({(e.table, e.key, s) for e in entries for s in e.scopes})),
                ),
            )

    def follow_journal(self, moves: Sequence[tuple[str, str, str]]) -> None:
        if moves:
            self._defer(
                "INSERT INTO holdfast_journal_scope (scope, number, tbl) "
                "SELECT s.scope, j.number, j.tbl FROM "
                "unnest($1::text[], $2::text[], $3::text[]) AS s(tbl, key, scope) "
                "JOIN holdfast_journal AS j USING (tbl, key) ON CONFLICT DO NOTHING",
                text_columns(moves),
            )

    @property
    def upkeep(self) -> PostgresUpkeep:
        if self._later:
            last = self._later.pop()
            self._run(last.sql, last.params)
        return PostgresUpkeep(self._db, self._program)

    def query(self, sql: str, params: Sequence[Value]) -> list[dict[str, Value]]:
        """A cursor takes nothing but a query, and its savepoint is read-only."""
        self._depth += 1
        name = f"holdfast_rule_{self._depth}"
        try:
            self._script(f"SAVEPOINT {name}; SET LOCAL transaction_read_only = on")
            try:
                rows, names = self._rule_rows(name, sql, params)
            except ConstraintFailed as error:  # a value that does not fit the query
                raise DatabaseError(error.message) from error
            finally:
                if not self._db.broken:
                    self._script(f"ROLLBACK TO {name}; RELEASE {name}")
        finally:
            self._depth -= 1
        return [dict(zip(names, map(rule_value, row), strict=True)) for row in rows]

    def _rule_rows(
        self, name: str, sql: str, params: Sequence[Value]
    ) -> tuple[list[tuple[Any, ...]], list[str]]:
        with translated(self._program), psycopg.RawServerCursor(self._db, name) as cursor:
            cursor.execute(rule_sql(sql), params or None)
            rows = cursor.fetchall()
            return rows, [column.name for column in cursor.description or ()]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        name = f"holdfast_{self._depth}"
        self._depth += 1
        held = dict(self._held)
        trips = -1
        if self._later:  # what went before must not fail inside
            self._run(f"SAVEPOINT {name}")
        else:
            trips = self._trips
            self._defer(f"SAVEPOINT {name}")
        try:
            yield
            self._run(f"RELEASE {name}")
        except TryAgain:
            raise  # all of it is undone
        except BaseException:
            self._later.clear()
            # If nothing was sent since, not even the savepoint was.
            if trips != self._trips and not self._db.broken:
                super()._run(f"ROLLBACK TO {name}; RELEASE {name}")
                # Locks taken since then are gone too; they are taken again before the next read.
                self._wanted = frozenset(self._held.keys() - held.keys())
                self._held = held
            raise
        finally:
            self._depth -= 1
