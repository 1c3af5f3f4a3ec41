"""Marks and forgetting in the embedded SQLite store.

Knows: the server's SQLite layout. Must not know: for how long anything is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.core.values import Value
from holdfast.schema.model import Table
from holdfast.server.store.older_notes import pack_hashes, without
from holdfast.server.store.sqlite.reads import json_text
from holdfast.server.store.upkeep import FeedPlace
from holdfast.sqlite.driver import Connection

_SETTLED = "(outcome = 'applied' OR settled)"


class SqliteUpkeep:
    """``upkeep.Upkeep`` inside a write transaction."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    def _change(self, sql: str, *params: Value) -> int:
        self._db.execute(sql, params)
        ((count,),) = self._db.execute("SELECT changes()")
        assert isinstance(count, int)
        return count

    def last_run(self, job: str) -> int:
        rows = self._db.execute("SELECT at FROM holdfast_job WHERE name = ?", (job,))
        return int(str(rows[0][0])) if rows else 0

    def ran(self, job: str, at: int) -> None:
        self._db.execute(
            "INSERT INTO holdfast_job (name, at) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET at = excluded.at",
            (job, at),
        )

    def mark_scopes(self, at: int, limit: int) -> int:
        return self._change(
            "UPDATE holdfast_commit SET at = ? WHERE (scope, version) IN "
            "(SELECT c.scope, c.version FROM holdfast_scope AS s CROSS JOIN holdfast_commit AS c "
            "ON c.scope = s.scope AND c.version = s.head WHERE c.at IS NULL LIMIT ?)",
            at, limit,
        )  # fmt: skip

    def mark_replicas(self, at: int, limit: int) -> int:
        return self._change(
            "UPDATE holdfast_applied SET at = ? WHERE (replica, number) IN (SELECT a.replica, "
            "a.number FROM holdfast_replica AS r CROSS JOIN holdfast_applied AS a "
            "ON a.replica = r.replica AND a.number = r.high WHERE a.at IS NULL LIMIT ?)",
            at, limit,
        )  # fmt: skip

    def due(self, before: int) -> dict[str, int]:
        rows = self._db.execute(
            "SELECT s.scope, max(c.version) FROM holdfast_scope AS s CROSS JOIN holdfast_commit "
            "AS c INDEXED BY holdfast_commit_mark ON c.scope = s.scope AND c.version > s.floor "
            "AND c.at IS NOT NULL WHERE c.at < ? GROUP BY s.scope ORDER BY s.scope",
            (before,),
        )
        return {str(scope): int(str(version)) for scope, version in rows}

    def raise_floor(self, scope: str, version: int) -> None:
        self._db.execute(
            "UPDATE holdfast_scope SET floor = max(floor, ?) WHERE scope = ?", (version, scope)
        )

    def forget_removals(self, scope: str, limit: int) -> int:
        return self._change(
            "DELETE FROM holdfast_feed WHERE (scope, tbl, key) IN (SELECT f.scope, f.tbl, f.key "
            "FROM holdfast_scope AS s CROSS JOIN holdfast_feed AS f "
            "INDEXED BY holdfast_feed_removed ON f.scope = s.scope AND f.version <= s.floor "
            "AND f.removed = 1 WHERE s.scope = ? ORDER BY f.version LIMIT ?)",
            scope, limit,
        )  # fmt: skip

    def forget_positions(self, scope: str, limit: int) -> int:
        return self._change(
            "DELETE FROM holdfast_commit WHERE (scope, version) IN (SELECT c.scope, c.version "
            "FROM holdfast_scope AS s CROSS JOIN holdfast_commit AS c ON c.scope = s.scope "
            "AND c.version < s.floor WHERE s.scope = ? ORDER BY c.version LIMIT ?)",
            scope, limit,
        )  # fmt: skip

    def gone(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        rows = self._db.execute(
            "SELECT tbl, key FROM holdfast_row INDEXED BY holdfast_row_gone "
            "WHERE image IS NOT NULL AND (tbl, key) > (?, ?) ORDER BY tbl, key LIMIT ?",
            (*after, limit),
        )
        return [(str(table), str(key)) for table, key in rows]

    def removals(self, table: Table, places: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        rows = self._db.execute(
            "SELECT f.scope, f.key FROM json_each(?) AS j CROSS JOIN holdfast_feed AS f "
            "ON f.scope = json_extract(j.value, '$[0]') AND f.tbl = ? "
            "AND f.key = json_extract(j.value, '$[1]') WHERE f.removed = 1",
            (json_text(places), table.name),
        )
        return {(str(scope), str(key)) for scope, key in rows}

    def forget_rows(self, table: Table, revs: Mapping[str, int]) -> int:
        return self._change(
            "DELETE FROM holdfast_row WHERE tbl = ? AND image IS NOT NULL AND (key, rev) IN "
            "(SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))",
            table.name, json_text(list(revs.items())),
        )  # fmt: skip

    def raise_forgotten(self, before: int, limit: int) -> int:
        return self._change(
            "UPDATE holdfast_replica SET forgotten = l.last FROM (SELECT r.replica, "
            "min(max(m.number), r.confirmed) AS last FROM holdfast_replica AS r "
            "CROSS JOIN holdfast_applied AS m INDEXED BY holdfast_applied_mark "
            "ON m.replica = r.replica AND m.at IS NOT NULL WHERE m.at < ? "
            "GROUP BY r.replica, r.confirmed HAVING last > r.forgotten LIMIT ?) AS l "
            "WHERE l.replica = holdfast_replica.replica",
            before, limit,
        )  # fmt: skip

    def forget_numbers(self, limit: int) -> int:
        return self._change(
            "DELETE FROM holdfast_applied WHERE (replica, number) IN (SELECT a.replica, a.number "
            "FROM holdfast_replica AS r CROSS JOIN holdfast_applied AS a "
            "ON a.replica = r.replica AND a.number <= r.forgotten "
            f"WHERE r.forgotten > 0 AND {_SETTLED} LIMIT ?)",
            limit,
        )

    def forget_journal(self, before: int, limit: int) -> int:
        self._change(
            "DELETE FROM holdfast_journal_scope WHERE number IN (SELECT number "
            "FROM holdfast_journal WHERE at < ? ORDER BY at LIMIT ?)",
            before, limit,
        )  # fmt: skip
        return self._change(
            "DELETE FROM holdfast_journal WHERE number IN (SELECT number FROM holdfast_journal "
            "WHERE at < ? ORDER BY at LIMIT ?)",
            before, limit,
        )  # fmt: skip

    def cease(self, current: int, at: int) -> None:
        self._db.execute(
            "UPDATE holdfast_generation SET ceased = ? "
            "WHERE kept AND ceased IS NULL AND generation < ?",
            (at, current),
        )

    def drop_generations(self, current: int, before: int) -> int:
        return self._change(
            "UPDATE holdfast_generation SET kept = 0 WHERE kept AND generation < ? AND ceased < ? "
            "AND NOT EXISTS (SELECT 1 FROM holdfast_replica AS d "
            "WHERE d.generation IN (0, holdfast_generation.generation) AND d.last_seen >= ?)",
            current, before, before,
        )  # fmt: skip

    def dropped(self) -> list[int]:
        rows = self._db.execute(
            "SELECT generation FROM holdfast_generation WHERE NOT kept AND ceased IS NOT NULL"
        )
        return [int(str(number)) for (number,) in rows]

    def forget_digests(self, generation: int, limit: int) -> int:
        place = f'$."{generation}"'
        return self._change(
            "UPDATE holdfast_scope SET older = json_remove(older, ?) WHERE scope IN (SELECT scope "
            "FROM holdfast_scope WHERE json_type(older, ?) IS NOT NULL LIMIT ?)",
            place, place, limit,
        )  # fmt: skip

    def forget_hashes(
        self, generation: int, oldest: int, after: FeedPlace, limit: int
    ) -> FeedPlace | None:
        found = self._db.execute(
            "SELECT scope, tbl, key, older, deviates FROM holdfast_feed "
            "WHERE (scope, tbl, key) > (?, ?, ?) ORDER BY scope, tbl, key LIMIT ?",
            (*after, limit),
        )
        self._db.executemany(
            "UPDATE holdfast_feed SET older = ? WHERE scope = ? AND tbl = ? AND key = ?",
            [
                (pack_hashes(left), *place)
                for *place, older, _ in found
                if (left := without(older, generation)) is not None
            ],
        )
        self._db.executemany(
            "UPDATE holdfast_feed SET deviates = 0 WHERE scope = ? AND tbl = ? AND key = ?",
            [place for *place, _, deviates in found if 0 < int(str(deviates)) < oldest],
        )
        if len(found) < limit:
            return None
        scope, table, key = found[-1][:3]
        return str(scope), str(table), str(key)

    def forgotten(self, generation: int) -> None:
        self._db.execute(
            "UPDATE holdfast_generation SET ceased = NULL WHERE generation = ? AND NOT kept",
            (generation,),
        )
