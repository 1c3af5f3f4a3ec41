"""The journal of automatic decisions, as far as a principal may read it.

Knows: journal entries and who may read the rows they are about. Must not know: how they came to be.

Upholds I18 (the loser is on record) and I23.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from holdfast.schema.model import Schema, Table
from holdfast.server.feed import scopes_of
from holdfast.server.principal import Principal
from holdfast.server.store import JournalEntry, Row, Snapshot

PAGE_ENTRIES = 200


def read_journal(
    snapshot: Snapshot,
    schema: Schema,
    principal: Principal,
    *,
    table: str,
    key: str,
    before: int,
    limit: int,
) -> list[JournalEntry]:
    """Up to ``limit`` entries about rows that may be read, newest first."""
    found: list[JournalEntry] = []
    while len(found) < limit:
        page = snapshot.journal(table=table, key=key, before=before, limit=PAGE_ENTRIES)
        readable = _readable(snapshot, schema, principal, page)
        found += [entry for entry in page if readable.get((entry.table, entry.key))]
        if len(page) < PAGE_ENTRIES:
            break
        before = page[-1].number
    return found[:limit]


def _readable(
    snapshot: Snapshot, schema: Schema, principal: Principal, page: Sequence[JournalEntry]
) -> Mapping[tuple[str, str], bool]:
    keys: dict[str, dict[str, None]] = defaultdict(dict)
    for entry in page:
        if entry.table in schema.by_name:
            keys[entry.table][entry.key] = None
    found: dict[tuple[str, str], bool] = {}
    for name, wanted in keys.items():
        table = schema.by_name[name]
        for row_key, stored in snapshot.stored(table, list(wanted)).items():
            row = stored.image if stored.values is None else stored.values
            found[name, row_key] = _may_read(principal, table, row)
    return found


def _may_read(principal: Principal, table: Table, row: Row | None) -> bool:
    return any(principal.may_read(scope) for scope in scopes_of(table, row))
