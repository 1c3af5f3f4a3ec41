"""The journal of automatic decisions: how it is kept, and what of it a principal may read.

Knows: journal entries and who may read the rows they are about. Must not know: why it was so.
Entries are numbered across all scopes, so their numbers are told in disguise: gaps between them
would tell how much is decided about rows that the reader may not see. For the same reason only
entries of scopes that may be read are looked at: neither the answer nor the time it takes depends
on others.

Upholds I18 (the loser is on record) and I23.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.core.keys import is_key
from holdfast.core.limits import (
    JOURNAL_PAGES_MAX,
    JOURNAL_SCAN_ENTRIES,
)
from holdfast.core.merging.groups import wire_of
from holdfast.core.merging.merge import Decision
from holdfast.core.values import Row
from holdfast.schema.model import Schema, Table
from holdfast.server.feed.feed import scopes_of
from holdfast.server.identity.permissions import readable
from holdfast.server.identity.principal import Principal
from holdfast.server.merging.batch import Batch
from holdfast.server.store.contract import JournalEntry, Snapshot

_HALF_BITS = 26
_HALF = (1 << _HALF_BITS) - 1
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Entries, newest first. ``next``: what to read on before; 0 at the end."""

    entries: list[JournalEntry]
    next: int


def read_journal(
    snapshot: Snapshot,
    schema: Schema,
    principal: Principal,
    *,
    table: str,
    key: str,
    before: int,
    limit: int,
    secret: bytes,
    pages_max: int = JOURNAL_PAGES_MAX,
) -> JournalPage:
    """Up to ``limit`` entries about rows that may be read.

    What is looked at is what there is in the scopes that may be read, and of that so many pages:
    there may be fewer entries than asked for, and yet more to come. ``before``: the number, as
    told, of the last entry that is known, or ``next``; 0 for none. ``secret``: what numbers are
    disguised with.
    """
    found: list[JournalEntry] = []
    last = _undisguised(before, secret) if before else 0
    look = _row_reader(snapshot, schema, principal, table, key) if key else None
    scopes = sorted(readable(snapshot, principal))
    for _ in range(pages_max):
        want = min(JOURNAL_SCAN_ENTRIES, limit + 1)
        if look is not None:
            page = look(last, want)
        else:
            page = snapshot.journal(table=table, key="", before=last, limit=want, scopes=scopes)
        may = _readable(snapshot, schema, principal, page)
        for entry in page:
            if len(found) == limit:
                return _page(found, last, secret)
            last = entry.number
            if may.get((entry.table, entry.key)):
                found.append(entry)
        if len(page) < want:
            return _page(found, 0, secret)
    return _page(found, last, secret)


def _page(found: list[JournalEntry], last: int, secret: bytes) -> JournalPage:
    told = [replace(entry, number=_disguised(entry.number, secret)) for entry in found]
    return JournalPage(told, _disguised(last, secret) if last else 0)


def _row_reader(
    snapshot: Snapshot, schema: Schema, principal: Principal, table: str, key: str
) -> Callable[[int, int], list[JournalEntry]]:
    """Reads entries about the rows of one key, as far as they may be read: of others, not even how
    many there are can be told by the time it takes."""
    tables = [one for one in schema.all_tables if table in ("", one.name) and is_key(one, key)]
    rows = [JournalEntry(0, one.name, key, "", "") for one in tables]
    may = _readable(snapshot, schema, principal, rows)
    mine = [one.name for one in tables if may.get((one.name, key))]

    def read(before: int, limit: int) -> list[JournalEntry]:
        entries = [
            entry
            for name in mine
            for entry in snapshot.journal(table=name, key=key, before=before, limit=limit)
        ]
        return sorted(entries, key=lambda entry: -entry.number)[:limit]

    return read


# A number of 52 bits is exchanged for another one: four rounds of a Feistel network.


def _round(half: int, number: int, secret: bytes) -> int:
    digest = hashlib.blake2s(half.to_bytes(4, "big"), key=secret[:32], person=b"jrnl%d" % number)
    return int.from_bytes(digest.digest()[:4], "big") & _HALF


def _disguised(number: int, secret: bytes) -> int:
    left, right = number >> _HALF_BITS, number & _HALF
    for step in range(_ROUNDS):
        left, right = right, left ^ _round(right, step, secret)
    return (left << _HALF_BITS | right) + 1  # never 0


def _undisguised(told: int, secret: bytes) -> int:
    left, right = (told - 1) >> _HALF_BITS & _HALF, (told - 1) & _HALF
    for step in reversed(range(_ROUNDS)):
        left, right = right ^ _round(left, step, secret), left
    return left << _HALF_BITS | right


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


def journal_entries(batch: Batch, decisions: Sequence[Decision], now_us: int) -> list[JournalEntry]:
    """Decisions as they are kept, in the scopes of their rows."""
    entries = []
    for decision in decisions:
        row = batch.get(batch.schema.by_name[decision.table], decision.key)
        values_ = row.image if row.values is None else row.values
        entry = journal_entry(batch.schema, decision, now_us)
        scopes = scopes_of(batch.schema.by_name[decision.table], values_)
        entries.append(replace(entry, scopes=frozenset(scopes)))
    return entries


def journal_entry(schema: Schema, decision: Decision, now_us: int) -> JournalEntry:
    """A decision as it is kept: both values in their wire form, of a group by column."""
    table = schema.by_name[decision.table]
    return JournalEntry(
        at=now_us,
        table=decision.table,
        key=decision.key,
        column=decision.column,
        kind=decision.kind,
        entry={
            "kept": wire_of(table, decision.column, decision.kept),
            "kept_device": decision.kept_device,
            "kept_user": decision.kept_user,
            "kept_at": decision.kept_at,
            "lost": wire_of(table, decision.column, decision.lost),
            "lost_device": decision.lost_device,
            "lost_user": decision.lost_user,
            "lost_at": decision.lost_at,
        },
    )
