"""Growth: the rows of tables that got columns are hashed anew, at the versions that they have.

Knows: a page of rows, and what their scopes say of them. Must not know: when it is asked for.
Nothing is published: for older generations nothing has changed, and who comes to the current one
computes the same hashes itself. While it lasts nobody is served, and a row that is not yet done has
the hash that all older generations know.

Upholds I12 for each generation, at each page's commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from holdfast.core.digest import row_hash
from holdfast.core.limits import CHECK_BITE_ROWS
from holdfast.core.values import Row, Value, row_bytes
from holdfast.schema.model import Table
from holdfast.server.feed.feed import scopes_of
from holdfast.server.generations.keeping import older_hashes
from holdfast.server.store.contract import FeedEntry, Writer

Place = tuple[Value, ...]
"""The values of a key."""


def rehash(writer: Writer, table: Table, after: Place | None) -> Place | None:
    """Hash the next page of a table's rows; where to go on, None: it is done. What was done before
    is left as it is."""
    page = writer.page(table, after, CHECK_BITE_ROWS)
    wanted: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for key, row in page:
        for place in scopes_of(table, row):
            wanted[place].append((key, row))
    scopes = writer.scopes(sorted(wanted))
    differing = [
        one.generation
        for one in writer.older
        if (view := one.tables.get(table.name)) is not None and not view.same
    ]
    filled = any(column.fill is not None for column in table.columns)
    entries: list[FeedEntry] = []
    restated = []
    for name, scope in scopes.items():
        rows = wanted[name]
        known = writer.weighed(name, table, [key for key, _ in rows])
        removed, added = [], []
        size = scope.size
        for key, row in rows:
            entry = known.get(key)
            now = row_hash(scope.key, table.name, key, row)
            if entry is None or entry.hash == now:
                continue  # the daily check finds what is in no feed
            removed.append(entry.hash)
            added.append(now)
            size += row_bytes(row) - entry.size
            older = {number: entry.older.get(number, entry.hash) for number in differing}
            deviates = entry.deviates
            if filled:
                deviates = max(deviates, older_hashes(writer.older, scope.key, table, key, row)[1])
            entries.append(
                FeedEntry(
                    name, table.name, key, entry.version, now, False, row_bytes(row),
                    {**entry.older, **older}, deviates,
                )
            )  # fmt: skip
        digest = scope.digest.replace(removed=removed, added=added)
        restated.append(replace(scope, digest=digest, size=size))
    writer.put_feed(entries)
    writer.restate_scopes(restated)
    return _end(table, page)


def _end(table: Table, page: Sequence[tuple[str, Row]]) -> Place | None:
    if len(page) < CHECK_BITE_ROWS:
        return None
    return tuple(page[-1][1][table.positions[name]] for name in table.key)
