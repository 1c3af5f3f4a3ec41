"""The contract of maintenance: marks of time, and forgetting in bites.

Knows: what a store offers to retention, inside one write transaction. Must not know: for how long
anything is kept, or who asks.
Commits carry no time. Now and then the newest version of each scope, and the newest number of each
device, is marked with the moment: it and all before it are at least that old. That costs a push
nothing, and an old database begins to count when it is first opened by this version.

Upholds I7 (numbers not confirmed are never forgotten), I12 (a floor is raised before what is below
it is forgotten) and I31.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from holdfast.schema.model import Table

FeedPlace = tuple[str, str, str]
"""Scope, table and key."""


class Upkeep(Protocol):
    """Maintenance by a write transaction: to mark and forget; times in microseconds since 1970,
    UTC.

    What has a ``limit`` does at most so much, and says how much it was: less means it is done.
    None of it takes the lock of a scope but ``raise_floor``.
    """

    def last_run(self, job: str) -> int:
        """Return when a job of maintenance was last done, by whichever process; 0: never."""

    def ran(self, job: str, at: int) -> None:
        """A job was done."""

    def mark_scopes(self, at: int, limit: int) -> int:
        """Mark the heads of scopes that have moved since they were last marked."""

    def mark_replicas(self, at: int, limit: int) -> int:
        """Mark the last decided numbers of replicas that have sent since they were last marked."""

    def due(self, before: int) -> dict[str, int]:
        """Scopes whose floor may rise: to the newest version marked before a moment."""

    def raise_floor(self, scope: str, version: int) -> None:
        """From now on removals at or below this version may be missing."""

    def forget_removals(self, scope: str, limit: int) -> int:
        """Delete entries of rows that left the scope at or below its floor."""

    def forget_positions(self, scope: str, limit: int) -> int:
        """Delete positions below the scope's floor."""

    def gone(self, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
        """Table and key of rows that are gone but remembered, in order, after a place."""

    def removals(self, table: Table, places: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return which of these (scope, key) still have an entry that says the row has left."""

    def forget_rows(self, table: Table, revs: Mapping[str, int]) -> int:
        """Delete the records of rows that are gone, if they still have these revisions."""

    def raise_forgotten(self, before: int, limit: int) -> int:
        """From now on it may be unknown what became of transactions that were decided before a
        moment, and that their replica has confirmed; of so many replicas."""

    def forget_numbers(self, limit: int) -> int:
        """Delete what became of transactions that may be forgotten.

        Refused and held ones stay until they are settled: later work may still build on them.
        """

    def forget_journal(self, before: int, limit: int) -> int:
        """Delete automatic decisions made before a moment."""

    def cease(self, current: int, at: int) -> None:
        """Generations before the current one are not the current one from this moment on, as far as
        that is not noted yet."""

    def drop_generations(self, current: int, before: int) -> int:
        """Cease to serve generations that are older than the current one since before a moment, and
        that no device has spoken since; how many. A device whose generation is not known counts as
        one of each."""

    def dropped(self) -> list[int]:
        """Generations that are served no longer, and whose books are there still."""

    def forget_digests(self, generation: int, limit: int) -> int:
        """Delete the digests of scopes as a generation saw them; those at positions stay."""

    def forget_hashes(
        self, generation: int, oldest: int, after: FeedPlace, limit: int
    ) -> FeedPlace | None:
        """Delete what a page of feed entries notes for a generation, and for all before ``oldest``,
        which none is served of; where to go on, None: it is done."""

    def forgotten(self, generation: int) -> None:
        """Nothing of a generation's books is left."""
