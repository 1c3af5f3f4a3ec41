"""Feeds of scopes: what a commit changed becomes versions, hashes and digests.

Knows: which scopes a row was in and is in. Must not know: why it changed.
One commit takes one version of each scope it touches. A row that leaves a scope keeps an entry
there that says so; a row that moves leaves one scope and enters the other in the same commit.
The feed has each row of a scope once, under the version of its latest change:

    commits of store/12    37    38    39    40    41    42    43
                                        │           │           │
                                      floor     position      head
    feed                          C           B           D     A    (D is removed)

    news since 41          gone D; A as it is now
    news since 37          the same and C, B; removals up to the floor may be
                           forgotten: the digests tell which rows are gone

Upholds I10, I11, I12 (digests and sizes are kept with the rows), I23 (scopes decide who sees what),
I25.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from msgspec import Struct

from holdfast.core.digest import Digest, row_hash
from holdfast.core.errors import BadValue
from holdfast.core.keys import row_scopes
from holdfast.core.values import Row, Value, row_bytes
from holdfast.schema.model import Table
from holdfast.server.generations.keeping import FeedChange, older_digests, older_hashes
from holdfast.server.store.contract import NO_DIGESTS, NO_OLDER, FeedEntry, Scope, Writer
from holdfast.server.store.upkeep import FeedPlace

SCOPE_KEY_BYTES = 32

NO_HASHES: Mapping[FeedPlace, bytes] = {}

logger = logging.getLogger(__name__)


def scopes_of(table: Table, row: Sequence[Value] | None) -> tuple[str, ...]:
    """The scopes of a stored row; none when it is absent or a direct write broke their names."""
    if row is None:
        return ()
    try:
        return row_scopes(table, row)
    except BadValue as error:
        logger.warning("a row of %s is in no scope: %s", table.name, error.message)
        return ()


class Touched(Struct, frozen=True, gc=False):
    """A row that a commit changed: the scopes it was in, and what it is now (None: gone).

    ``own``: its revision, when it is what its one sender has made of it; else 0.
    """

    table: Table
    key: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    row: Row | None
    own: int = 0


def make_scopes(
    writer: Writer, names: Iterable[str], random_bytes: Callable[[int], bytes]
) -> dict[str, Scope]:
    """The states of scopes; those that do not exist yet are made, empty, at version 0."""
    wanted = sorted(set(names))
    found = writer.scopes(wanted)
    nothing = {projection.generation: Digest() for projection in writer.older}
    missing = [
        Scope(name, 0, Digest(), random_bytes(SCOPE_KEY_BYTES), older=nothing)
        for name in wanted
        if name not in found
    ]
    if missing:
        writer.put_scopes(missing)
        found.update((scope.name, scope) for scope in missing)
    return found


def missing_scopes(writer: Writer, names: Iterable[str]) -> set[str]:
    """The scopes that do not exist yet; the others are neither read nor locked."""
    wanted = sorted(set(names))
    return set(wanted) - writer.known_scopes(wanted)


def publish(
    writer: Writer,
    touched: Iterable[Touched],
    random_bytes: Callable[[int], bytes],
    *,
    hashes: Mapping[FeedPlace, bytes] = NO_HASHES,
) -> dict[str, int]:
    """Write feed entries, digests and heads for a commit; the new version of each scope.

    ``hashes``: of some rows, as they are now.
    """
    places: dict[str, dict[str, list[Touched]]] = defaultdict(lambda: defaultdict(list))
    moves: list[tuple[str, str, str]] = []
    for item in touched:
        left, entered = item.before, item.after
        for name in entered if left in ((), entered) else {*left, *entered}:
            places[name][item.table.name].append(item)
        if left and left != entered:
            moves += [(item.table.name, item.key, name) for name in entered if name not in left]
    states = make_scopes(writer, places, random_bytes)
    projections = writer.older
    moved: list[Scope] = []
    entries: list[FeedEntry] = []
    for name in sorted(places):
        scope = states[name]
        version = scope.head + 1
        removed: list[bytes] = []
        added: list[bytes] = []
        changes: list[FeedChange] = []
        held = scope.size
        for items in places[name].values():
            table = items[0].table
            old = writer.weighed(name, table, [item.key for item in items])
            for item in items:
                before = old.get(item.key)
                older, deviates = NO_OLDER, 0
                after: bytes | None = None
                if before is not None:
                    removed.append(before.hash)
                    held -= before.size
                if item.row is not None and name in item.after:
                    place = name, table.name, item.key
                    after = hashes.get(place) or row_hash(scope.key, *place[1:], item.row)
                    added.append(after)
                    size = row_bytes(item.row)
                    held += size
                    if projections:
                        older, deviates = older_hashes(
                            projections, scope.key, table, item.key, item.row
                        )
                    entries.append(
                        FeedEntry(
                            name, table.name, item.key, version, after, False, size, older, deviates
                        )
                    )
                else:
                    entries.append(FeedEntry(name, table.name, item.key, version, b"", True))
                if projections:
                    was, noted = (None, NO_OLDER) if before is None else (before.hash, before.older)
                    changes.append(FeedChange(table.name, was, noted, after, older))
        digest = scope.digest.replace(removed=removed, added=added)
        moved.append(
            replace(
                scope, head=version, digest=digest, size=held,
                older=older_digests(projections, scope, changes) if projections else NO_DIGESTS,
            )
        )  # fmt: skip
    writer.put_feed(entries)
    writer.put_scopes(moved)
    writer.follow_journal(moves)
    return {scope.name: scope.head for scope in moved}
