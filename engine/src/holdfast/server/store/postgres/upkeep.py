"""Marks and forgetting in the PostgreSQL store.

Knows: the server's layout in PostgreSQL. Must not know: for how long anything is kept.
Rows that another transaction has locked are left for the next bite, so that nobody waits for this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.schema.model import Table
from holdfast.server.store.older_notes import pack_hashes, without
from holdfast.server.store.postgres.errors import translated
from holdfast.server.store.postgres.reads import PostgresConnection
from holdfast.server.store.upkeep import FeedPlace
from holdfast.sql.postgres.statements import PostgresProgram, bytes_array, number_array, text_array

_SETTLED = "(a.outcome = 'applied' OR a.settled)"


class PostgresUpkeep:
    """``upkeep.Upkeep`` inside a write transaction."""

    def __init__(self, connection: PostgresConnection, program: PostgresProgram) -> None:
        self._db = connection
        self._program = program

    def _change(self, sql: str, *params: object) -> int:
        with translated(self._program):
            return self._db.execute(sql, params).rowcount

    def _rows(self, sql: str, *params: object) -> list[tuple[str, str]]:
        with translated(self._program):
            return [(first, second) for first, second in self._db.execute(sql, params).fetchall()]

    def last_run(self, job: str) -> int:
        with translated(self._program):
            rows = self._db.execute(
                "SELECT at FROM holdfast_job WHERE name = $1", (job,)
            ).fetchall()
        return int(rows[0][0]) if rows else 0

    def ran(self, job: str, at: int) -> None:
        self._change(
            "INSERT INTO holdfast_job (name, at) VALUES ($1, $2) "
            "ON CONFLICT (name) DO UPDATE SET at = excluded.at",
            job, at,
        )  # fmt: skip

    def mark_scopes(self, at: int, limit: int) -> int:
        return self._change(
            "UPDATE holdfast_commit AS c SET at = $1 FROM (SELECT s.scope, s.head "
            "FROM holdfast_scope AS s JOIN holdfast_commit AS h ON h.scope = s.scope "
            "AND h.version = s.head WHERE h.at IS NULL LIMIT $2) AS n "
            "WHERE c.scope = n.scope AND c.version = n.head",
            at, limit,
        )  # fmt: skip

    def mark_replicas(self, at: int, limit: int) -> int:
        return self._change(
            "UPDATE holdfast_applied AS a SET at = $1 FROM (SELECT r.replica, r.high "
            "FROM holdfast_replica AS r JOIN holdfast_applied AS h ON h.replica = r.replica "
            "AND h.number = r.high WHERE h.at IS NULL LIMIT $2 FOR UPDATE OF h SKIP LOCKED) AS n "
            "WHERE a.replica = n.replica AND a.number = n.high",
            at, limit,
        )  # fmt: skip

    def due(self, before: int) -> dict[str, int]:
        with translated(self._program):
            rows = self._db.execute(
                "SELECT s.scope, max(c.version) FROM holdfast_scope AS s JOIN holdfast_commit AS c "
                "ON c.scope = s.scope AND c.version > s.floor AND c.at IS NOT NULL "
                "WHERE c.at < $1 GROUP BY s.scope ORDER BY s.scope",
                (before,),
            ).fetchall()
        return dict(rows)

    def raise_floor(self, scope: str, version: int) -> None:
        self._change(
            "UPDATE holdfast_scope SET floor = greatest(floor, $2) WHERE scope = $1", scope, version
        )

    def forget_removals(self, scope: str, limit: int) -> int:
        return self._change(
            "DELETE FROM holdfast_feed AS f USING (SELECT e.scope, e.tbl, e.key "
            "FROM holdfast_feed AS e WHERE e.scope = $1 AND e.removed AND e.version <= "
            "(SELECT floor FROM holdfast_scope WHERE scope = $1) ORDER BY e.version LIMIT $2 "
            "FOR UPDATE SKIP LOCKED) AS n "
            "WHERE f.scope = n.scope AND f.tbl = n.tbl AND f.key = n.key AND f.removed",
            scope, limit,
        )  # fmt: skip

    def forget_positions(self, scope: str, limit: int) -> int:
        return self._change(
            "DELETE FROM holdfast_commit AS c USING (SELECT p.scope, p.version "
            "FROM holdfast_commit AS p WHERE p.scope = $1 AND p.version < "
            "(SELECT floor FROM holdfast_scope WHERE scope = $1) ORDER BY p.version LIMIT $2) AS n "
            "WHERE c.scope = n.scope AND c.version = n.version",
            scope, limit,
        )  # fmt: skip

    def gone(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        return self._rows(
            "SELECT tbl, key FROM holdfast_row WHERE image IS NOT NULL AND (tbl, key) > ($1, $2) "
            "ORDER BY tbl, key LIMIT $3",
            *after, limit,
        )  # fmt: skip

    def removals(self, table: Table, places: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        return set(
            self._rows(
                "SELECT f.scope, f.key FROM unnest($1::text[], $2::text[]) AS j(scope, key) "
                "JOIN holdfast_feed AS f ON f.scope = j.scope AND f.tbl = $3 AND f.key = j.key "
                "WHERE f.removed",
                text_array([scope for scope, _ in places]),
                text_array([key for _, key in places]),
                table.name,
            )
        )

    def forget_rows(self, table: Table, revs: Mapping[str, int]) -> int:
        return self._change(
            "DELETE FROM holdfast_row AS r USING (SELECT o.tbl, o.key FROM holdfast_row AS o "
            "JOIN unnest($2::text[], $3::bigint[]) AS n(key, rev) ON o.key = n.key "
            "AND o.rev = n.rev WHERE o.tbl = $1 AND o.image IS NOT NULL "
            "FOR UPDATE OF o SKIP LOCKED) AS g WHERE r.tbl = g.tbl AND r.key = g.key",
            table.name, text_array(list(revs)), number_array(list(revs.values())),
        )  # fmt: skip

    def raise_forgotten(self, before: int, limit: int) -> int:
        return self._change(
            "UPDATE holdfast_replica AS r SET forgotten = n.last FROM (SELECT o.replica, l.last "
            "FROM (SELECT d.replica, least(max(m.number), d.confirmed) AS last "
            "FROM holdfast_replica AS d JOIN holdfast_applied AS m ON m.replica = d.replica "
            "AND m.at IS NOT NULL WHERE m.at < $1 GROUP BY d.replica, d.confirmed) AS l "
            "JOIN holdfast_replica AS o ON o.replica = l.replica WHERE l.last > o.forgotten "
            "LIMIT $2 FOR UPDATE OF o SKIP LOCKED) AS n WHERE r.replica = n.replica",
            before, limit,
        )  # fmt: skip

    def forget_numbers(self, limit: int) -> int:
        return self._change(
            "DELETE FROM holdfast_applied AS o USING (SELECT a.replica, a.number "
            "FROM holdfast_replica AS r JOIN holdfast_applied AS a ON a.replica = r.replica "
            f"AND a.number <= r.forgotten WHERE r.forgotten > 0 AND {_SETTLED} LIMIT $1) AS n "
            "WHERE o.replica = n.replica AND o.number = n.number",
            limit,
        )

    def forget_journal(self, before: int, limit: int) -> int:
        return self._change(
            "DELETE FROM holdfast_journal WHERE number IN (SELECT number FROM holdfast_journal "
            "WHERE at < $1 ORDER BY at LIMIT $2)",
            before, limit,
        )  # fmt: skip

    def cease(self, current: int, at: int) -> None:
        self._change(
            "UPDATE holdfast_generation SET ceased = $2 "
            "WHERE kept AND ceased IS NULL AND generation < $1",
            current, at,
        )  # fmt: skip

    def drop_generations(self, current: int, before: int) -> int:
        return self._change(
            "UPDATE holdfast_generation AS g SET kept = false "
            "WHERE g.kept AND g.generation < $1 AND g.ceased < $2 "
            "AND NOT EXISTS (SELECT FROM holdfast_replica AS d "
            "WHERE d.generation IN (0, g.generation) AND d.last_seen >= $2)",
            current, before,
        )  # fmt: skip

    def dropped(self) -> list[int]:
        with translated(self._program):
            rows = self._db.execute(
                "SELECT generation FROM holdfast_generation WHERE NOT kept AND ceased IS NOT NULL"
            ).fetchall()
        return [number for (number,) in rows]

    def forget_digests(self, generation: int, limit: int) -> int:
        return self._change(
            "UPDATE holdfast_scope AS s SET older = (s.older::jsonb - $1::text)::text "
            "FROM (SELECT scope FROM holdfast_scope WHERE jsonb_exists(older::jsonb, $1::text) "
            "LIMIT $2 FOR UPDATE SKIP LOCKED) AS n WHERE s.scope = n.scope",
            str(generation), limit,
        )  # fmt: skip

    def forget_hashes(
        self, generation: int, oldest: int, after: FeedPlace, limit: int
    ) -> FeedPlace | None:
        with translated(self._program):
            found = self._db.execute(
                "SELECT scope, tbl, key, older FROM holdfast_feed "
                "WHERE (scope, tbl, key) > ($1, $2, $3) ORDER BY scope, tbl, key LIMIT $4",
                (*after, limit),
            ).fetchall()
        changed = [
            (*place, older, pack_hashes(left))
            for *place, older in found
            if (left := without(older, generation)) is not None
        ]
        if changed:
            scopes, tables, keys, before, now = zip(*changed, strict=True)
            self._change(
                "UPDATE holdfast_feed AS f SET older = n.now FROM (SELECT e.scope, e.tbl, e.key, "
                "p.now FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[]) "
                "AS p(scope, tbl, key, before, now) JOIN holdfast_feed AS e ON e.scope = p.scope "
                "AND e.tbl = p.tbl AND e.key = p.key AND e.older = p.before "
                "FOR UPDATE OF e SKIP LOCKED) AS n "
                "WHERE f.scope = n.scope AND f.tbl = n.tbl AND f.key = n.key",
                text_array(scopes), text_array(tables), text_array(keys),
                bytes_array(before), bytes_array(now),
            )  # fmt: skip
        last = None if len(found) < limit else tuple(found[-1][:3])
        self._change(
            "UPDATE holdfast_feed AS f SET deviates = 0 FROM (SELECT scope, tbl, key "
            "FROM holdfast_feed WHERE (scope, tbl, key) > ($1, $2, $3) "
            "AND ($4::text IS NULL OR (scope, tbl, key) <= ($4, $5, $6)) "
            "AND deviates > 0 AND deviates < $7 FOR UPDATE SKIP LOCKED) AS n "
            "WHERE f.scope = n.scope AND f.tbl = n.tbl AND f.key = n.key",
            *after, *(last or (None, None, None)), oldest,
        )  # fmt: skip
        return last

    def forgotten(self, generation: int) -> None:
        self._change(
            "UPDATE holdfast_generation SET ceased = NULL WHERE generation = $1 AND NOT kept",
            generation,
        )
