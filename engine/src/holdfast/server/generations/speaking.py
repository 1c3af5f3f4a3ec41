"""The generations that a server speaks, and its database as a device of each of them sees it.

Knows: projections, and the reads of a store. Must not know: messages, rights or SQL.
``seen`` puts an older generation between an answer and a snapshot: whoever reads through it reads
rows, hashes, digests and positions of that generation, and need not know that there is another.

Upholds I10, I12 and I36 for devices of older generations, and I23: through it comes nothing that
the snapshot would not have given.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from holdfast.core.digest import Digest
from holdfast.core.errors import ProtocolError
from holdfast.core.values import Row
from holdfast.schema.model import Schema, Table
from holdfast.schema.projection import Projection
from holdfast.server.generations.keeping import seen_hash
from holdfast.server.store.contract import MovedRow, Scope, Snapshot

S = TypeVar("S", bound=Snapshot)


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """A generation that devices speak. ``projection``: None for the server's own."""

    schema: Schema
    projection: Projection | None = None

    @property
    def number(self) -> int:
        return self.schema.generation

    def seen(self, snapshot: S) -> S:
        """Return a snapshot as this generation sees it; it is closed with the one returned."""
        if self.projection is None:
            return snapshot
        return cast("S", _Seen(snapshot, self.projection))


class Generations:
    """The generations that one server speaks."""

    def __init__(
        self,
        schema: Schema,
        older: Iterable[Projection],
        below_floor: Iterable[Schema] = (),
        *,
        has_grown: bool = True,
    ) -> None:
        """``below_floor``: generations whose devices have to be updated first. ``has_grown``:
        whether the database has had another generation, served still or not."""
        self.has_grown = has_grown
        self.current = Generation(schema)
        self._below_floor = {one.fingerprint: one.generation for one in below_floor}
        self._known = {schema.fingerprint: self.current}
        self.serve(older)

    def serve(self, older: Iterable[Projection]) -> None:
        """Serve these older ones from now on, and no others. Thread-safe."""
        known = {self.current.schema.fingerprint: self.current}
        for projection in older:
            known[projection.schema.fingerprint] = Generation(projection.schema, projection)
        self._known = known

    @property
    def numbers(self) -> frozenset[int]:
        return frozenset(known.number for known in self._known.values())

    @property
    def origins(self) -> frozenset[int]:
        """Generations of which it is known what a device lacks that has come from them: below the
        floor nothing but what has changed since, as it makes the same of its rows as the server
        did, and no later row of theirs was hidden from it."""
        return self.numbers | frozenset(self._below_floor.values())

    def is_below_floor(self, fingerprint: str) -> bool:
        """Return whether a schema is of a generation whose devices have to be updated first."""
        return fingerprint in self._below_floor

    def speaking(self, fingerprint: str) -> Generation | None:
        """Return the generation of a schema that is served; None for any other."""
        return self._known.get(fingerprint)


def not_served(current: Schema, *, below_floor: bool = False) -> ProtocolError:
    """Return the refusal of whoever speaks a generation that is not served, or no longer; it says
    which the server's is, so that a device knows which of both has to be updated."""
    return ProtocolError(
        "the server no longer serves this generation of the schema: update the app on the device"
        if below_floor else "client and server have different schemas",
        code="upgrade_needed" if below_floor else "schema_mismatch", status=409,
        name=current.name, schema=current.fingerprint, generation=current.generation,
    )  # fmt: skip


class _Seen:
    """A snapshot as an older generation sees it. What is not told here is the same for all."""

    def __init__(self, snapshot: Snapshot, projection: Projection) -> None:
        self._snapshot = snapshot
        self._projection = projection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._snapshot, name)

    def scopes(self, names: Iterable[str]) -> dict[str, Scope]:
        found = self._snapshot.scopes(names)
        return {name: replace(scope, digest=self._digest(scope)) for name, scope in found.items()}

    def _digest(self, scope: Scope) -> Digest:
        digest = scope.older.get(self._projection.generation)
        if digest is None:
            raise not_served(self._projection.newer)
        return digest

    def positions(self, held: Mapping[str, int]) -> dict[str, Digest]:
        number = self._projection.generation
        found = self._snapshot.digests(held)
        return {name: digests[number] for name, digests in found.items() if number in digests}

    def moved(self, held: Mapping[str, int]) -> Iterator[tuple[str, MovedRow]]:
        tables = self._projection.tables
        return (item for item in self._snapshot.moved(held) if item[1].table in tables)

    def lacking(self, scope: str, since: int, generation: int) -> Iterator[tuple[str, str]]:
        tables = self._projection.tables
        found = self._snapshot.lacking(scope, since, generation)
        return (place for place in found if place[0] in tables)

    def live(
        self,
        scope: str,
        start: tuple[str, str],
        end: tuple[str, str] | None,
        *,
        limit: int | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[str, str, bytes]]:
        last = None if limit is None else skip + limit
        return itertools.islice(self._live(scope, start, end), skip, last)

    def _live(
        self, scope: str, start: tuple[str, str], end: tuple[str, str] | None
    ) -> Iterator[tuple[str, str, bytes]]:
        for table, key, current, older in self._snapshot.noted_live(scope, start, end):
            seen = seen_hash(self._projection, table, current, older)
            if seen is not None:
                yield table, key, seen

    def count(
        self,
        scope: str,
        start: tuple[str, str],
        end: tuple[str, str] | None,
        limit: int | None = None,
    ) -> int:
        return sum(1 for _ in itertools.islice(self._live(scope, start, end), limit))

    def rows(self, table: Table, keys: Sequence[str]) -> Iterator[tuple[str, int, Row]]:
        view = self._projection.tables[table.name]
        for key, rev, row in self._snapshot.rows(view.newer, keys):
            if self._projection.shows(table.name, row):
                yield key, rev, view.row(row)

    def close(self) -> None:
        self._snapshot.close()
