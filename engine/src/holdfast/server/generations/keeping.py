"""The books of older generations: hashes of rows, and digests of scopes, as each of them sees them.

Knows: what a commit has changed in a scope. Must not know: what a device asks for, or SQL.
They are kept beside those of the current generation, in the same commit, for each older generation
that the server still serves. What both have alike has one hash, which is not noted again: a row's
notes have a hash only where an older generation's is another one, and an empty one where it does
not see the row.

Upholds I12 for each generation: the digest that is kept is the one of the projected rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from holdfast.core.digest import Digest, row_hash
from holdfast.core.values import Value
from holdfast.schema.model import Table
from holdfast.schema.projection import Projection
from holdfast.server.generations.lifting import lifts_back
from holdfast.server.store.contract import NO_OLDER, Scope

HIDDEN = b""
"""In the place of a hash: the generation does not see the row."""


class FeedChange(Struct, frozen=True, gc=False):
    """A row that changed in a scope: its hash before and after (None: it was, or is, not there),
    each with what is noted for older generations."""

    table: str
    before: bytes | None
    before_older: Mapping[int, bytes]
    after: bytes | None
    after_older: Mapping[int, bytes]


def older_hashes(
    projections: Iterable[Projection], key: bytes, table: Table, row_key: str, row: Sequence[Value]
) -> tuple[Mapping[int, bytes], int]:
    """Return what is noted of a row for older generations, and the newest of them (0: none) from
    which a device that comes to the current one does not get this row by itself.

    ``key``: the scope's.
    """
    notes: dict[int, bytes] = {}
    deviates = 0
    for projection in projections:
        number = projection.generation
        view = projection.tables.get(table.name)
        if view is None:
            deviates = max(deviates, number)
        elif not projection.shows(table.name, row):
            notes[number] = HIDDEN
            deviates = max(deviates, number)
        elif not view.same:
            notes[number] = row_hash(key, table.name, row_key, view.row(row))
            if not lifts_back(view, row):
                deviates = max(deviates, number)
    return notes or NO_OLDER, deviates


def seen_hash(
    projection: Projection, table: str, current: bytes, older: Mapping[int, bytes]
) -> bytes | None:
    """Return the hash of a row as a generation sees it; None when it does not see it."""
    if table not in projection.tables:
        return None
    return older.get(projection.generation, current) or None


def older_digests(
    projections: Iterable[Projection], scope: Scope, changes: Sequence[FeedChange]
) -> dict[int, Digest]:
    """Return the digests of a scope after a commit, for those generations that it is kept for."""
    found: dict[int, Digest] = {}
    for projection in projections:
        digest = scope.older.get(projection.generation)
        if digest is None:  # another process has ceased to serve it
            continue
        removed, added = [], []
        for change in changes:
            if change.before is not None:
                was = seen_hash(projection, change.table, change.before, change.before_older)
                if was is not None:
                    removed.append(was)
            if change.after is not None:
                now = seen_hash(projection, change.table, change.after, change.after_older)
                if now is not None:
                    added.append(now)
        found[projection.generation] = digest.replace(removed=removed, added=added)
    return found
