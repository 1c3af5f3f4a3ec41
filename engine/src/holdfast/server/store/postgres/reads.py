"""Reads of the PostgreSQL store: one connection inside one transaction.

Knows: the server's layout in PostgreSQL. Must not know: merging, rights, or messages.
What may be long is read through a cursor on the server, piece by piece (I31). A snapshot is one
REPEATABLE READ transaction that writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.abc import QueryNoTemplate

from holdfast.core.digest import Digest
from holdfast.core.limits import (
    INTEGER_MAX,
    MIB,
    POSTGRES_FETCH_BYTES_SOFT,
    POSTGRES_FETCH_ROWS,
    POSTGRES_FETCH_ROWS_MIN,
    POSTGRES_MOVES_MAX,
    POSTGRES_MOVES_SCOPES_MAX,
    ROWS_PER_LINE,
)
from holdfast.core.values import Row, Value
from holdfast.schema.model import Table
from holdfast.server.store import registry_rows
from holdfast.server.store.contract import (
    ENGINE_TABLES,
    Expected,
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
from holdfast.server.store.epochs import READ_EPOCHS, READ_HEADS, Epochs, end_epoch
from holdfast.server.store.filling import whole_row
from holdfast.server.store.older_notes import read_digests, read_hashes
from holdfast.server.store.postgres.errors import translated
from holdfast.server.store.postgres.registry import PostgresRegistry
from holdfast.sql.names import SCOPE_STATS, names, quote
from holdfast.sql.note_scopes import Ranges
from holdfast.sql.postgres.statements import PostgresProgram, number_array, text_array
from holdfast.sql.postgres.tables import STORAGE

PostgresConnection = psycopg.Connection[tuple[Any, ...]]

SELECT_REPLICA = registry_rows.SELECT_REPLICA.format(replica="$1")
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
STATE = "SELECT EXISTS (SELECT FROM holdfast_dirty), fingerprint, epoch FROM holdfast_state"
_SCOPES = (
    "SELECT scope, head, count, digest, key, floor, bytes, older FROM holdfast_scope "
    "WHERE scope = ANY ($1::text[])"
)
_HELD = "unnest($1::text[], $2::bigint[]) AS j(scope, version), LATERAL"
_POSITIONS = (
    f"SELECT j.scope, c.generation, c.count, c.digest, c.older FROM {_HELD} "
    "(SELECT generation, count, digest, older FROM holdfast_commit "
    "WHERE scope = j.scope AND version = j.version LIMIT 1) AS c"
)
_MOVES = (
    f"SELECT j.scope, f.tbl, f.key, f.removed, f.version FROM {_HELD} (SELECT tbl, key, removed, "
    "version FROM holdfast_feed WHERE scope = j.scope AND version > j.version "
    f"ORDER BY version LIMIT {POSTGRES_MOVES_MAX}) AS f ORDER BY j.scope, f.version"
)

_unpack = msgspec.msgpack.Decoder(dict[str, Any]).decode


NOTED = (
    "FROM unnest($1::text[], $2::text[]) AS j(low, high), LATERAL (SELECT tbl, key FROM "
    "holdfast_dirty WHERE scope >= j.low AND scope <= j.high LIMIT $3) AS d"
)
"""Notes that concern given ranges of scopes, a number of each at most."""


def range_arrays(ranges: Ranges) -> tuple[str, str]:
    """Ranges of scopes as two arrays; no scope has NUL in its name."""
    lows, highs = zip(*ranges, strict=True) if ranges else ((), ())
    return text_array(list(map(without_nul, lows))), text_array(list(map(without_nul, highs)))


def without_nul(text: str) -> str:
    """A position in the order of texts that PostgreSQL can hold: no key lies between the two."""
    head, nul, _ = text.partition("\0")
    return head + "\x01" if nul else text


class PostgresReads:
    """The reads that a snapshot and a writer share."""

    def __init__(self, connection: PostgresConnection, program: PostgresProgram) -> None:
        self._db = connection
        self._program = program
        self._cursors = 0
        self._row_bytes = MIB // 64

    @property
    def registry(self) -> PostgresRegistry:
        return PostgresRegistry(self._run)

    def _run(self, sql: QueryNoTemplate, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return all of its rows."""
        with translated(self._program):
            cursor = self._db.execute(sql, params or None)
            return cursor.fetchall() if cursor.description else []

    def _stream(self, sql: str, params: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Run one query and yield its rows; a long result stays on the server."""
        first = self._run(f"{sql} LIMIT {POSTGRES_FETCH_ROWS + 1}", params)
        if len(first) <= POSTGRES_FETCH_ROWS:
            yield from first
            return
        del first
        self._cursors += 1
        with (
            translated(self._program),
            psycopg.RawServerCursor(self._db, f"holdfast_{self._cursors}") as cursor,
        ):
            cursor.itersize = POSTGRES_FETCH_ROWS
            cursor.execute(sql, params or None)
            yield from cursor

    def has_notes(self) -> bool:
        return bool(self._run("SELECT EXISTS (SELECT FROM holdfast_dirty)")[0][0])

    def noted(self, ranges: Ranges, limit: int) -> int:
        ((count,),) = self._run(
            f"SELECT count(*) FROM (SELECT {NOTED} LIMIT $3) AS n", (*range_arrays(ranges), limit)
        )
        return int(count)

    def replica(self, replica: str) -> ReplicaRecord | None:
        rows = self._run(SELECT_REPLICA, (replica,))
        return registry_rows.replica_of(rows[0]) if rows else None

    def origins(self, replica: ReplicaRecord, limit: int) -> list[ReplicaRecord]:
        if not replica.origin:
            return []
        sql = registry_rows.SELECT_ORIGINS.format(
            origin='$1::text COLLATE "C"', device="$2", user="$3", limit="$4"
        )
        rows = self._run(sql, (replica.origin, replica.device, replica.user, limit))
        return [registry_rows.replica_of(row) for row in rows]

    def sent_by(self, devices: Collection[str], ids: Sequence[bytes]) -> Sent:
        sql, asked = registry_rows.POSTGRES_SENT, (text_array(sorted(devices)), list(ids))
        return [registry_rows.sent_row(row) for row in self._run(sql, asked)]

    def owner(self, device: str) -> str | None:
        rows = self._run(registry_rows.SELECT_OWNER.format(device="$1"), (device,))
        return str(rows[0][0]) if rows else None

    def last_place(self, device: str) -> int:
        """Return the place of a device's newest replica; 0: it has none."""
        sql = "SELECT coalesce(max(place), 0) FROM holdfast_replica WHERE device = $1"
        return int(self._run(sql, (device,))[0][0])

    def recorded(self, replica: str, numbers: Sequence[int]) -> dict[int, Recorded]:
        rows = self._run(
            "SELECT number, id, body, outcome, settled, answer FROM holdfast_applied "
            "WHERE replica = $1 AND number = ANY ($2::bigint[])",
            (replica, number_array(numbers)),
        )
        return {row[0]: Recorded(*row) for row in rows}

    def heads_at_end(self, number: int) -> dict[str, int]:
        rows = self._run(READ_HEADS.format(number="$1"), (number,))
        return {str(scope): int(str(head)) for scope, head in rows}

    def scope_names(self) -> list[str]:
        return [name for (name,) in self._run("SELECT scope FROM holdfast_scope")]

    def scopes(self, names: Iterable[str]) -> dict[str, Scope]:
        rows = self._run(_SCOPES, (_known(names),))
        return {row[0]: scope_of(row) for row in rows}

    def positions(self, held: Mapping[str, int]) -> dict[str, Digest]:
        number = self._program.schema.generation
        found = self.digests(held)
        return {name: digests[number] for name, digests in found.items() if number in digests}

    def digests(self, held: Mapping[str, int]) -> dict[str, Mapping[int, Digest]]:
        rows = self._run(_POSITIONS, _held(held)) if held else []
        return {name: _digests(*digests) for name, *digests in rows}

    def lacking(self, scope: str, since: int, generation: int) -> Iterator[tuple[str, str]]:
        yield from self._stream(
            "SELECT tbl, key FROM holdfast_feed WHERE scope = $1 AND deviates >= $2 "
            "AND deviates > 0 AND version <= $3 AND NOT removed",
            (scope, generation, since),
        )

    def floors(self, names: Collection[str]) -> dict[str, int]:
        rows = self._run(
            "SELECT scope, floor FROM holdfast_scope WHERE scope = ANY ($1::text[])",
            (_known(names),),
        )
        return {name: int(floor) for name, floor in rows}

    def moved(self, held: Mapping[str, int]) -> Iterator[tuple[str, MovedRow]]:
        for part in _parts(held):
            for name, moves in self._moved_together(part).items():
                if len(moves) < POSTGRES_MOVES_MAX:
                    yield from ((name, moved) for moved in moves)
                    continue
                del moves  # what may go on is read again, piece by piece
                for row in self._stream(
                    "SELECT tbl, key, removed, version FROM holdfast_feed "
                    "WHERE scope = $1 AND version > $2 ORDER BY version",
                    (name, part[name]),
                ):
                    yield name, MovedRow(*row)

    def _moved_together(self, held: Mapping[str, int]) -> dict[str, list[MovedRow]]:
        """The first moves of a few scopes."""
        return _by_scope(held, self._run(_MOVES, _held(held)))

    def moved_count(self, held: Mapping[str, int], limit: int) -> int:
        rows = self._run(
            f"SELECT count(*) FROM (SELECT FROM {_HELD} (SELECT FROM holdfast_feed WHERE "
            "scope = j.scope AND version > j.version LIMIT $3) AS f LIMIT $3) AS n",
            (*_held(held), limit),
        )
        return int(rows[0][0])

    def versions(self, table: Table, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        rows = self._run(
            "SELECT j.scope, j.key, f.version "
            "FROM unnest($1::text[], $2::text[]) AS j(scope, key), LATERAL ("
            "SELECT version, removed FROM holdfast_feed "
            "WHERE scope = j.scope AND tbl = $3 AND key = j.key LIMIT 1) AS f WHERE NOT f.removed",
            (
                text_array([scope for scope, _ in keys]),
                text_array([key for _, key in keys]),
                table.name,
            ),
        )
        return {(scope, key): version for scope, key, version in rows}

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
        sql = f"SELECT tbl, key, hash FROM holdfast_feed WHERE {where} ORDER BY tbl, key"
        if skip:
            sql += f" OFFSET {skip:d}"
        if limit is None:
            yield from self._stream(sql, params)
        else:
            yield from self._run(f"{sql} LIMIT {limit:d}", params)

    def noted_live(
        self, scope: str, start: tuple[str, str], end: tuple[str, str] | None
    ) -> Iterator[tuple[str, str, bytes, Mapping[int, bytes]]]:
        where, params = _range(scope, start, end)
        for table, key, digest, older in self._stream(
            f"SELECT tbl, key, hash, older FROM holdfast_feed WHERE {where} ORDER BY tbl, key",
            params,
        ):
            yield table, key, digest, read_hashes(older)

    def count(
        self,
        scope: str,
        start: tuple[str, str],
        end: tuple[str, str] | None,
        limit: int | None = None,
    ) -> int:
        where, params = _range(scope, start, end)
        some = f"SELECT FROM holdfast_feed WHERE {where}"
        if limit is not None:
            some += f" LIMIT {limit:d}"
        return int(self._run(f"SELECT count(*) FROM ({some}) AS found", params)[0][0])

    def rows(self, table: Table, keys: Sequence[str]) -> Iterator[tuple[str, int, Row]]:
        statements = self._program.tables[table.name]
        place = 0
        while place < len(keys):
            share = POSTGRES_FETCH_BYTES_SOFT // self._row_bytes
            piece = keys[place : place + max(POSTGRES_FETCH_ROWS_MIN, min(share, ROWS_PER_LINE))]
            place += len(piece)
            found = self._run(statements.select_rev, statements.key_arrays(piece))
            sizes = [_size(row) for row in found]
            # Rows as large as the largest of this piece are expected next.
            self._row_bytes = max([*sizes, self._row_bytes // 2, 1])
            for key, rev, *row in found:
                yield key, rev, tuple(row)

    def stored(self, table: Table, keys: Sequence[str]) -> dict[str, StoredRow]:
        statements = self._program.tables[table.name]
        found: dict[str, StoredRow] = {}
        if not keys:
            return found
        for key, rev, stamps, image, there, *row in self._run(
            statements.stored, [text_array(keys), *statements.key_arrays(keys)]
        ):
            values = tuple(row) if there else None
            if rev is None:
                found[key] = StoredRow(0, b"", values, None)
            else:
                found[key] = StoredRow(rev, stamps, values, _image(table, image))
        return found

    def revs(self, table: Table, keys: Sequence[str]) -> dict[str, int]:
        return dict(
            self._run(
                "SELECT j.key, r.rev FROM unnest($2::text[]) AS j(key), LATERAL ("
                "SELECT rev FROM holdfast_row WHERE tbl = $1 AND key = j.key LIMIT 1) AS r",
                (table.name, text_array(keys)),
            )
        )

    def hashes(self, scope: str, table: Table, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: found.hash for key, found in self.weighed(scope, table, keys).items()}

    def weighed(self, scope: str, table: Table, keys: Sequence[str]) -> dict[str, LiveEntry]:
        rows = self._run(
            "SELECT j.key, f.hash, f.size, f.older, f.deviates, f.version "
            "FROM unnest($3::text[]) AS j(key), LATERAL ("
            "SELECT hash, size, removed, older, deviates, version FROM holdfast_feed "
            "WHERE scope = $1 AND tbl = $2 AND key = j.key LIMIT 1) AS f WHERE NOT f.removed",
            (scope, table.name, text_array(keys)),
        )
        return {
            key: LiveEntry(found, size, read_hashes(older), deviates, version)
            for key, found, size, older, deviates, version in rows
        }

    def page(
        self, table: Table, after: Sequence[Value] | None, limit: int
    ) -> list[tuple[str, Row]]:
        scan, order = self._program.tables[table.name].scan, names(table.key, "t.")
        where, params = "", list[object](after or ())
        if after is not None:
            types = [f"${n}::{STORAGE[c.type]}" for n, c in enumerate(table.key_columns, start=1)]
            where = f"WHERE ({order}) > ({', '.join(types)})"
        sql = f"{scan} {where} ORDER BY {order} LIMIT ${len(params) + 1}"
        return [(key, tuple(row)) for key, *row in self._run(sql, (*params, limit))]

    def entries(self, after: tuple[str, str, str], limit: int) -> list[tuple[str, str, str]]:
        rows = self._run(
            "SELECT scope, tbl, key FROM holdfast_feed WHERE (scope, tbl, key) > ($1, $2, $3) "
            "AND NOT removed ORDER BY scope, tbl, key LIMIT $4",
            (*after, limit),
        )
        return [(scope, table, key) for scope, table, key in rows]

    def devices_since(self, moments: Sequence[int]) -> list[int]:
        sql = "SELECT count(DISTINCT device) FROM holdfast_replica WHERE last_seen > $1"
        return [int(self._run(sql, (moment,))[0][0]) for moment in moments]

    def stats(self) -> Stats:
        def count(table: str) -> int:
            return int(self._run(f"SELECT count(*) FROM {quote(table)}")[0][0])

        names_ = [t.name for t in self._program.schema.all_tables]
        sizes = self._run(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
            "WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
        )
        return Stats(
            rows={name: count(name) for name in names_},
            entries={table: count(table) for table in ENGINE_TABLES},
            sizes={"": sum(size for _, size in sizes), **dict(sizes)},
            scopes=[ScopeStats(*row) for row in self._run(SCOPE_STATS)],
            notes=count("holdfast_dirty"),
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
        where, params = ["true"], list[object]()
        if scopes is not None:
            params += [text_array(list(scopes)), before or INTEGER_MAX, limit]
            of_table = ""
            if table and "\0" not in table:
                params.append(table)
                of_table = "AND tbl = $4 "
            where.append(
                "number IN (SELECT p.number FROM unnest($1::text[]) AS s(scope) CROSS JOIN LATERAL "
                "(SELECT number FROM holdfast_journal_scope WHERE scope = s.scope "
                f"{of_table}AND number < $2 ORDER BY number DESC LIMIT $3) AS p)"
            )
        for condition, value in (("tbl =", table), ("key =", key), ("number <", before)):
            if value:
                if isinstance(value, str) and "\0" in value:
                    return []
                params.append(value)
                where.append(f"{condition} ${len(params)}")
        rows = self._run(
            "SELECT number, at, tbl, key, col, kind, entry FROM holdfast_journal "
            f"WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ${len(params) + 1}",
            (*params, limit),
        )
        return [
            JournalEntry(at, name, row_key, column, kind, msgspec.json.decode(entry), number)
            for number, at, name, row_key, column, kind, entry in rows
        ]


class PostgresSnapshot(PostgresReads):
    """``store.Snapshot``: holds its read transaction until it is closed.

    It begins with one trip to the database, which brings what is expected to be asked for.
    """

    def __init__(
        self,
        connection: PostgresConnection,
        program: PostgresProgram,
        release: Callable[[PostgresConnection], None],
        expected: Expected | None,
    ) -> None:
        super().__init__(connection, program)
        self.connection = connection
        self._release = release
        self._open = True
        self._replicas: dict[str, ReplicaRecord | None] = {}
        self._scopes: dict[str, Scope | None] = {}
        self._positions: dict[tuple[str, int], Mapping[int, Digest] | None] = {}
        self._moves: dict[str, list[MovedRow]] = {}
        self._held: dict[str, int] = {}
        with translated(program):
            self._begin(expected)

    def _begin(self, expected: Expected | None) -> None:
        db = self._db
        if expected is None:
            cursor = db.execute(f"{_BEGIN}; {STATE}")
            cursor.nextset()
            self._start(cursor.fetchone())
            return
        held = {name: at for name, at in expected.scopes.items() if "\0" not in name}
        near = len(held) <= POSTGRES_MOVES_SCOPES_MAX
        pairs = _held(held)
        with db.pipeline():
            db.execute(_BEGIN)
            state = db.execute(STATE)
            replica = db.execute(SELECT_REPLICA, (expected.replica,)) if expected.replica else None
            scopes = db.execute(_SCOPES, pairs[:1])
            positions = db.execute(_POSITIONS, pairs)
            moves = db.execute(_MOVES, pairs) if near else None
        self._start(state.fetchone())
        if replica is not None:
            row = replica.fetchone()
            self._replicas[expected.replica] = (
                None if row is None else registry_rows.replica_of(row)
            )
        self._scopes = dict.fromkeys(expected.scopes)
        self._scopes.update((row[0], scope_of(row)) for row in scopes.fetchall())
        self._positions = dict.fromkeys(expected.scopes.items())
        for name, *digests in positions.fetchall():
            self._positions[name, held[name]] = _digests(*digests)
        if moves is not None:
            self._held, self._moves = held, _by_scope(held, moves.fetchall())

    def _start(self, row: tuple[Any, ...] | None) -> None:
        assert row is not None
        self._notes, fingerprint, self.epoch = row
        self._program.check_generation(fingerprint)

    def has_notes(self) -> bool:
        return bool(self._notes)

    def replica(self, replica: str) -> ReplicaRecord | None:
        if replica in self._replicas:
            return self._replicas[replica]
        return super().replica(replica)

    def scopes(self, names: Iterable[str]) -> dict[str, Scope]:
        wanted = list(dict.fromkeys(names))
        missing = [name for name in wanted if name not in self._scopes]
        if missing:
            self._scopes.update(dict.fromkeys(missing))
            self._scopes.update(super().scopes(missing))
        found = ((name, self._scopes[name]) for name in wanted)
        return {name: scope for name, scope in found if scope is not None}

    def digests(self, held: Mapping[str, int]) -> dict[str, Mapping[int, Digest]]:
        if not held.items() <= self._positions.keys():
            return super().digests(held)
        found = ((name, self._positions[name, at]) for name, at in held.items())
        return {name: digests for name, digests in found if digests is not None}

    def _moved_together(self, held: Mapping[str, int]) -> dict[str, list[MovedRow]]:
        if not self._knows_moves(held):
            return super()._moved_together(held)
        return {name: self._moves[name] for name in held}

    def moved_count(self, held: Mapping[str, int], limit: int) -> int:
        if self._knows_moves(held):
            counts = [len(self._moves[name]) for name in held]
            if max(counts, default=0) < POSTGRES_MOVES_MAX:
                return min(limit, sum(counts))
        return super().moved_count(held, limit)

    def _knows_moves(self, held: Mapping[str, int]) -> bool:
        return held.items() <= self._held.items()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._release(self._db)


def scope_of(row: Sequence[Any]) -> Scope:
    """A scope from its name, head, count, digest, key, floor, bytes and older digests."""
    name, head, count, digest, key, floor, size, older, *_ = row
    return Scope(name, head, Digest.of(count, digest), key, floor, size, read_digests(older))


def _digests(generation: int, count: int, digest: str, older: str) -> Mapping[int, Digest]:
    """The digests of a position, by generation."""
    return {**read_digests(older), generation: Digest.of(count, digest)}


def _held(held: Mapping[str, int]) -> tuple[str, str]:
    """Scopes and versions as two arrays; no scope has NUL in its name."""
    known = {name: at for name, at in held.items() if "\0" not in name}
    return text_array(list(known)), number_array(list(known.values()))


def _parts(held: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """As many scopes as are read together, and again."""
    items = list(held.items())
    for start in range(0, len(items), POSTGRES_MOVES_SCOPES_MAX):
        yield dict(items[start : start + POSTGRES_MOVES_SCOPES_MAX])


def _by_scope(names: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> dict[str, list[MovedRow]]:
    found: dict[str, list[MovedRow]] = {name: [] for name in names}
    for name, *moved in rows:
        found[name].append(MovedRow(*moved))
    return found


def _known(names: Iterable[str]) -> str:
    return text_array([name for name in names if "\0" not in name])


def _size(row: Sequence[Value]) -> int:
    return sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in row)


def _image(table: Table, packed: bytes | None) -> Row | None:
    """A removed row's last values; columns added since then are filled."""
    if packed is None:
        return None
    return whole_row(table, _unpack(packed))


def _range(
    scope: str, start: tuple[str, str], end: tuple[str, str] | None
) -> tuple[str, tuple[str, ...]]:
    where = "scope = $1 AND (tbl, key) >= ($2, $3) AND NOT removed"
    first = (scope, *map(without_nul, start))
    if end is None:
        return where, first
    return f"{where} AND (tbl, key) < ($4, $5)", (*first, *map(without_nul, end))


def read_epochs(db: PostgresConnection) -> Epochs:
    """The epoch of a database, and its own that have ended."""
    ((current,),) = db.execute("SELECT epoch FROM holdfast_state").fetchall()
    return Epochs(current, tuple(epoch for (epoch,) in db.execute(READ_EPOCHS).fetchall()))


def end_epoch_on(
    db: PostgresConnection, epoch: str | None, *, new: str, at: int, lost: str = ""
) -> bool:
    """``end_epoch`` in the transaction of a connection."""

    def run(sql: str, params: Sequence[object]) -> list[tuple[Any, ...]]:
        cursor = db.execute(sql.encode(), params or None)
        return cursor.fetchall() if cursor.description else []

    mark = "${}".format
    return end_epoch(run, epoch, new=new, at=at, lost=lost, mark=mark, locked=" FOR UPDATE")
