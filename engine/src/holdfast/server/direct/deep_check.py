"""The deep check: are the stored rows what the feeds say? In bites, while everybody works.

Knows: rows and feeds, page by page. Must not know: why something differs, or when it is asked for.
What only reads takes no locks: each page is looked at in a snapshot of its own, and what seems to
differ there is looked at again in a write transaction, with the locks of its scopes alone. A row
that differs was changed behind the triggers' back, or is damaged: it is taken as written directly.

Upholds I12, I31, I36.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from holdfast.core.digest import row_hash
from holdfast.core.limits import CHECK_BITE_ROWS
from holdfast.core.values import Row, Value
from holdfast.schema.model import CONFLICT_TABLE, Schema, Table
from holdfast.server.direct.ingest import new_incarnation, overwritten
from holdfast.server.feed.feed import Touched, scopes_of
from holdfast.server.merging.batch import Batch, server_row
from holdfast.server.merging.conflicts import follow
from holdfast.server.merging.journal import journal_entries
from holdfast.server.store.contract import Snapshot, Writer

Suspects = Mapping[str, set[str]]
"""Keys of one table, each with scopes that may list it."""


def suspects(
    schema: Schema, read: Callable[[], Snapshot], proceed: Callable[[], bool]
) -> Iterator[tuple[Table, Suspects]]:
    """Return what seems to differ, a table's page at a time; no snapshot is open between two.

    ``read`` gives a snapshot without notes of direct writes. Ends early when ``proceed`` says so.
    """
    for table in schema.all_tables:
        after: tuple[Value, ...] | None = None
        while proceed():
            with contextlib.closing(read()) as snapshot:
                page = snapshot.page(table, after, CHECK_BITE_ROWS)
                found = _misread(snapshot, table, page)
            if found:
                yield table, found
            if len(page) < CHECK_BITE_ROWS:
                break
            after = tuple(page[-1][1][table.positions[name]] for name in table.key)
    place = "", "", ""
    while proceed():
        with contextlib.closing(read()) as snapshot:
            entries = snapshot.entries(place, CHECK_BITE_ROWS)
            unfounded = _unfounded(snapshot, schema, entries)
        for name, strays in unfounded.items():
            yield schema.by_name[name], strays
        if len(entries) < CHECK_BITE_ROWS:
            break
        place = entries[-1]


def _hashes(
    reads: Snapshot, table: Table, rows: Iterable[tuple[str, Row]]
) -> dict[str, dict[str, bytes]]:
    """By scope and key: what the feeds should have of rows."""
    wanted: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for key, row in rows:
        for scope in scopes_of(table, row):
            wanted[scope].append((key, row))
    states = reads.scopes(wanted)
    return {
        scope: {
            key: row_hash(states[scope].key if scope in states else b"", table.name, key, row)
            for key, row in items
        }
        for scope, items in wanted.items()
    }


def _misread(reads: Snapshot, table: Table, page: Sequence[tuple[str, Row]]) -> dict[str, set[str]]:
    """Rows that the feeds of their scopes do not have as they are."""
    found: dict[str, set[str]] = defaultdict(set)
    for scope, hashes in _hashes(reads, table, page).items():
        listed = reads.hashes(scope, table, list(hashes))
        for key, expected in hashes.items():
            if listed.get(key) != expected:
                found[key].add(scope)
    return found


def _unfounded(
    reads: Snapshot, schema: Schema, entries: Sequence[tuple[str, str, str]]
) -> dict[str, dict[str, set[str]]]:
    """Live feed entries whose row is gone, or is not in that scope; by table and key."""
    listed: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for scope, name, key in entries:
        if name in schema.by_name:
            listed[name][key].add(scope)
    found: dict[str, dict[str, set[str]]] = {}
    for name, keys in listed.items():
        table = schema.by_name[name]
        for key, _, row in reads.rows(table, list(keys)):
            keys[key] -= set(scopes_of(table, row))
        strays = {key: scopes for key, scopes in keys.items() if scopes}
        if strays:
            found[name] = strays
    return found


def settle(
    writer: Writer,
    schema: Schema,
    table: Table,
    suspected: Suspects,
    *,
    now_us: int,
    random_bytes: Callable[[int], bytes],
) -> list[Touched]:
    """Look at suspects again, in a write transaction; what differs is taken as written directly.

    Notes must have been ingested. What changed is returned, to be published.
    """
    stored = writer.stored(table, list(suspected))
    places: dict[str, set[str]] = {}
    for key, scopes in suspected.items():
        found = stored.get(key)
        values = None if found is None else found.values
        image = None if found is None else found.image
        places[key] = {*scopes, *scopes_of(table, values), *scopes_of(table, image)}
    writer.hold({scope for scopes in places.values() for scope in scopes})
    rows = [(key, found.values) for key, found in stored.items() if found.values is not None]
    expected = _hashes(writer, table, rows)
    listed = {
        scope: writer.hashes(scope, table, list(places))
        for scope in sorted({scope for scopes in places.values() for scope in scopes})
    }
    batch = Batch(writer, schema, random_bytes)
    batch.begin()
    touched: list[Touched] = []
    for key, scopes in places.items():
        before = tuple(sorted(scope for scope in scopes if key in listed[scope]))
        if all(listed[s].get(key) == expected.get(s, {}).get(key) for s in scopes):
            continue
        found = stored.get(key)
        values = None if found is None else found.values
        old = server_row(found, writer.counts_from)
        row = overwritten(table, old, values, now_us, new_incarnation(random_bytes))
        batch.take(table, key, old, row)
        touched.append(Touched(table, key, before, scopes_of(table, values), values))
    batch.load_conflicts(table, [item.key for item in touched])
    lost = follow(batch, now_us=now_us)
    writer.add_journal(journal_entries(batch, lost, now_us))
    followed = [item for item in batch.flush() if item.table is CONFLICT_TABLE is not table]
    return touched + followed
