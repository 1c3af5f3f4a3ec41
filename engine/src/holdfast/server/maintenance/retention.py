"""Retention: what is not data is forgotten in time, in bites, while everybody works.

Knows: for how long removals, positions, decided transactions and the journal are kept. Must not
know: clocks (the time is handed in), SQL, or when it is asked for.

A scope's floor is raised first, and likewise up to which number a replica's transactions may be
forgotten, in a transaction of its own; then what lies below goes, a few
thousand rows at a time. A device whose version is below the floor may have missed removals. It is
told so, and finds by digests which rows are gone. The record of a row that is gone (its revision,
stamps and last image) goes when no scope that the row was in remembers the removal any more; from
then on its key is free, and a row that takes it has another incarnation.

Upholds I4 (what waits for a person is kept), I7, I12, I19, I31.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from holdfast.core.limits import (
    JOURNAL_RETENTION_DAYS,
    NUMBERS_RETENTION_DAYS,
    REMOVALS_RETENTION_DAYS,
    RETENTION_BITE_ROWS,
    RETENTION_SCOPES_AT_ONCE,
)
from holdfast.core.merging.rows import load_stamps
from holdfast.core.values import Row
from holdfast.schema.model import CONFLICT_TABLE, Schema, Table
from holdfast.server.feed.feed import scopes_of
from holdfast.server.maintenance.old_generations import forget_generations
from holdfast.server.merging.batch import has_manual
from holdfast.server.store.contract import Store, StoredRow, Writer

DAY_US = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """For how long things are kept, in days."""

    removals_days: int = REMOVALS_RETENTION_DAYS
    """Removed rows with their last image, the positions of scopes, and the generations of the
    schema that no device speaks."""
    numbers_days: int = NUMBERS_RETENTION_DAYS
    """What became of transactions, once their devices know."""
    journal_days: int = JOURNAL_RETENTION_DAYS


@dataclass(slots=True)
class Forgotten:
    """Progress of a run: all that it has forgotten so far. ``scopes``: whose floor has risen."""

    scopes: int = 0
    removals: int = 0
    rows: int = 0
    positions: int = 0
    numbers: int = 0
    journal: int = 0
    generations: int = 0
    """Generations of the schema that are served no longer, and of which nothing is left."""
    whole: bool = field(default=False)
    """Whether the run came to its end."""


ProceedAfter = Callable[[Forgotten], bool]
"""Called between two bites, with no transaction open; False ends the run."""


def forget(
    store: Store, schema: Schema, *, now_us: int, retention: Retention, proceed: ProceedAfter
) -> Forgotten:
    """Mark the time, and forget what has been kept for long enough."""
    return _Run(store, schema, now_us, retention, proceed).run()


class _Stopped(Exception):
    """Told to end."""


class _Run:
    def __init__(
        self, store: Store, schema: Schema, now_us: int, retention: Retention, proceed: ProceedAfter
    ) -> None:
        self._store = store
        self._schema = schema
        self._now_us = now_us
        self._retention = retention
        self._proceed = proceed
        self._done = Forgotten()

    def run(self) -> Forgotten:
        try:
            self._mark()
            self._raise_floors()
            self._forget_feeds()
            self._forget_rows()
            self._forget_old()
            self._forget_generations()
        except _Stopped:
            return self._done
        self._done.whole = True
        return self._done

    def _before(self, days: int) -> int:
        return self._now_us - days * DAY_US

    def _pause(self) -> None:
        if not self._proceed(self._done):
            raise _Stopped

    def _bites(self, bite: Callable[[Writer, int], int], count: Callable[[int], None]) -> None:
        """Until a bite finds less than it could take."""
        found = RETENTION_BITE_ROWS
        while found >= RETENTION_BITE_ROWS:
            self._pause()
            found = self._store.transact(lambda writer: bite(writer, RETENTION_BITE_ROWS))
            count(found)

    def _mark(self) -> None:
        now_us = self._now_us
        self._bites(lambda writer, limit: writer.upkeep.mark_scopes(now_us, limit), _nothing)
        self._bites(lambda writer, limit: writer.upkeep.mark_replicas(now_us, limit), _nothing)

    def _raise_floors(self) -> None:
        before = self._before(self._retention.removals_days)
        due = self._store.transact(lambda writer: writer.upkeep.due(before))
        for names in _pieces(sorted(due)):
            self._pause()

            def work(writer: Writer, names: Sequence[str] = names) -> None:
                for name in names:  # in order, as pushes lock them
                    writer.upkeep.raise_floor(name, due[name])

            self._store.transact(work)
            self._done.scopes += len(names)

    def _forget_feeds(self) -> None:
        """Below the floors; also what an earlier run has left."""
        snapshot = self._store.read()
        try:
            scopes = snapshot.scopes(snapshot.scope_names())
        finally:
            snapshot.close()
        raised = sorted(name for name, scope in scopes.items() if scope.floor)
        for names in _pieces(raised):

            def removals(writer: Writer, limit: int, names: Sequence[str] = names) -> int:
                return _spread(writer.upkeep.forget_removals, names, limit)

            def positions(writer: Writer, limit: int, names: Sequence[str] = names) -> int:
                return _spread(writer.upkeep.forget_positions, names, limit)

            self._bites(removals, self._count_removals)
            self._bites(positions, self._count_positions)

    def _count_removals(self, count: int) -> None:
        self._done.removals += count

    def _count_positions(self, count: int) -> None:
        self._done.positions += count

    def _forget_rows(self) -> None:
        """A pass over all rows that are gone but remembered."""
        place = "", ""
        found = [place]
        before = self._before(self._retention.removals_days)
        while found:
            self._pause()

            def work(
                writer: Writer, after: tuple[str, str] = place
            ) -> tuple[list[tuple[str, str]], int]:
                gone = writer.upkeep.gone(after, RETENTION_BITE_ROWS)
                return gone, _forget_gone(writer, self._schema, gone, before)

            found, count = self._store.transact(work)
            self._done.rows += count
            place = found[-1] if found else place

    def _forget_old(self) -> None:
        numbers = self._before(self._retention.numbers_days)
        journal = self._before(self._retention.journal_days)

        def count_numbers(count: int) -> None:
            self._done.numbers += count

        def count_journal(count: int) -> None:
            self._done.journal += count

        self._bites(lambda w, limit: w.upkeep.raise_forgotten(numbers, limit), _nothing)
        self._bites(lambda w, limit: w.upkeep.forget_numbers(limit), count_numbers)
        self._bites(lambda w, limit: w.upkeep.forget_journal(journal, limit), count_journal)

    def _forget_generations(self) -> None:
        before = self._before(self._retention.removals_days)
        self._done.generations = forget_generations(
            self._store, self._schema, now_us=self._now_us, before=before, pause=self._pause
        )


def _nothing(_count: int) -> None:
    return


def _pieces(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), RETENTION_SCOPES_AT_ONCE):
        yield names[start : start + RETENTION_SCOPES_AT_ONCE]


def _spread(bite: Callable[[str, int], int], names: Sequence[str], limit: int) -> int:
    """One bite that may take from several scopes."""
    left = limit
    for name in names:
        if left <= 0:
            break
        left -= bite(name, left)
    return limit - left


def _forget_gone(
    writer: Writer, schema: Schema, gone: Sequence[tuple[str, str]], before: int
) -> int:
    """Forget those of these rows that nobody can need any more."""
    keys: dict[str, list[str]] = defaultdict(list)
    for name, key in gone:
        keys[name].append(key)
    count = 0
    for name, wanted in keys.items():
        table = schema.by_name.get(name)
        if table is None:
            continue
        stored = writer.stored(table, wanted)
        images = {
            key: row.image
            for key, row in stored.items()
            if row.image is not None and row.values is None and _is_old(row, before)
        }
        for key in _needed(writer, table, images):
            del images[key]
        if images:
            count += writer.upkeep.forget_rows(table, {key: stored[key].rev for key in images})
    return count


def _is_old(row: StoredRow, before: int) -> bool:
    """By the corrected time of the delete, which is never after the commit."""
    _, _, deleted = load_stamps(row.stamps)
    return deleted is None or deleted.at < before


def _needed(writer: Writer, table: Table, images: dict[str, Row]) -> set[str]:
    """Rows whose removal a scope remembers, or whose deletion a person has yet to decide on."""
    places = [(scope, key) for key, image in images.items() for scope in scopes_of(table, image)]
    needed = {key for _, key in writer.upkeep.removals(table, places)} if places else set()
    if has_manual(table) and images:
        conflicts = writer.open_conflicts(table.name, list(images))
        position = CONFLICT_TABLE.positions["row_key"]
        for conflict in writer.stored(CONFLICT_TABLE, conflicts).values():
            if conflict.values is not None:
                needed.add(str(conflict.values[position]))
    return needed & images.keys()
