"""The journal of automatic decisions, as far as a principal may read it.

Knows: journal entries and who may read the rows they are about. Must not know: how they came to be.
Entries are numbered across all scopes, so their numbers are told in disguise: gaps between them
would tell how much is decided about rows that the reader may not see.

Upholds I18 (the loser is on record) and I23.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.schema.model import Schema, Table
from holdfast.server.feed import scopes_of
from holdfast.server.principal import Principal
from holdfast.server.store import JournalEntry, Row, Snapshot

PAGE_ENTRIES = 200
_HALF_BITS = 26
_HALF = (1 << _HALF_BITS) - 1
_ROUNDS = 4


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
) -> list[JournalEntry]:
    """Up to ``limit`` entries about rows that may be read, newest first.

    ``before``: the number, as told, of the last entry that is known; 0 for none. ``secret``: what
    numbers are disguised with.
    """
    found: list[JournalEntry] = []
    before = _undisguised(before, secret) if before else 0
    while len(found) < limit:
        page = snapshot.journal(table=table, key=key, before=before, limit=PAGE_ENTRIES)
        readable = _readable(snapshot, schema, principal, page)
        found += [entry for entry in page if readable.get((entry.table, entry.key))]
        if len(page) < PAGE_ENTRIES:
            break
        before = page[-1].number
    return [replace(entry, number=_disguised(entry.number, secret)) for entry in found[:limit]]


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
