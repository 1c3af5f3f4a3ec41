"""Membership of rows in scopes, with their hashes, and each scope's running digest.

Knows: hashes and scopes of server truth. Must not know: the overlay (pending work does not count).
Upholds I12's proof: digests are kept in O(changes) and compared after every exchange.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from holdfast.core.digest import HASH_BYTES, Digest, row_hash
from holdfast.core.errors import AttentionNeeded, Offline
from holdfast.core.keys import row_scopes
from holdfast.protocol.messages import Position, ScopeGrant
from holdfast.schema.model import Table
from holdfast.sql.bookkeeping.statements import MEMBERS, ROWS, SCOPES
from holdfast.sqlite import Connection, Row


def hash_key(connection: Connection, scope: str) -> bytes | None:
    """The key to the hashes of a scope's rows; None when the replica does not know it."""
    found = connection.execute(SCOPES.hash_key, (scope,))
    return found[0][0] if found and isinstance(found[0][0], bytes) else None


class Members:
    """The members of all scopes of a replica, within one write transaction."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._keys: dict[str, bytes] = {}
        self._digests: dict[str, Digest] = {}
        for scope, key, count, digest in connection.execute(SCOPES.digests):
            self._keys[str(scope)] = bytes(key) if isinstance(key, bytes) else b""
            self._digests[str(scope)] = Digest.of(int(str(count)), str(digest))
        self._empty = not connection.execute(MEMBERS.any)

    @property
    def scopes(self) -> set[str]:
        return set(self._keys)

    def grant(self, grants: dict[str, ScopeGrant], *, anew: bool = False) -> None:
        """Take in the scopes the device may read now. ``anew``: of another history of the server,
        which may have begun a scope once more: its rows are compared one by one."""
        for scope, grant in grants.items():
            known = self._keys.get(scope)
            if not grant.key and known is None:
                raise Offline(f"the answer has no key of scope {scope}", code="broken_answer")
            key = bytes.fromhex(grant.key) if grant.key or known is None else known
            if known is not None and known != key and anew:
                self._begin_anew(scope)
                self._keys[scope] = key
            elif known is not None and known != key:
                raise AttentionNeeded(
                    f"the server's history of scope {scope} has changed", code="epoch_mismatch"
                )
            if known is None:
                self._keys[scope] = key
                self._digests[scope] = Digest()
            self._db.execute(SCOPES.grant, (scope, "0" * 32, "0" * 32, key, int(grant.write)))

    def _begin_anew(self, scope: str) -> None:
        """Keep a scope's rows, with hashes that no row has: each is looked at, and none is lost."""
        rows = self._db.execute(MEMBERS.from_position, (scope, "", ""))
        nothing = bytes(HASH_BYTES)
        self._db.executemany(MEMBERS.put, [(scope, table, key, nothing) for table, key, *_ in rows])
        self._digests[scope] = Digest(len(rows), 0)
        self._db.execute(SCOPES.remove, (scope,))

    def lose(self, scope: str) -> list[tuple[str, str]]:
        """Forget a scope; returns the rows (table, key) that are in no other scope."""
        self._db.execute(SCOPES.remove, (scope,))
        rows = self._db.execute(MEMBERS.only_of_scope, (scope,))
        self._db.execute(MEMBERS.remove_scope, (scope,))
        self._keys.pop(scope, None)
        self._digests.pop(scope, None)
        return [(str(table), str(key)) for table, key in rows]

    def put(
        self, table: Table, rows: Sequence[tuple[str, int, Row]], *, again: bool = False
    ) -> None:
        """Server truth of rows (key, revision, values), each key once: their revisions, and their
        membership in the scopes we read. ``again``: this answer has named some of them before."""
        before = (
            {} if self._empty and not again else self._known(table, [key for key, _, _ in rows])
        )
        added: dict[str, list[bytes]] = defaultdict(list)
        removed: dict[str, list[bytes]] = defaultdict(list)
        entries: list[tuple[str, str, str, bytes]] = []
        left: list[tuple[str, str, str]] = []
        for key, _, row in rows:
            old = before.get(key, {})
            for scope in row_scopes(table, row):
                hash_key = self._keys.get(scope)
                if hash_key is None:
                    continue
                hashed = row_hash(hash_key, table.name, key, row)
                added[scope].append(hashed)
                entries.append((scope, table.name, key, hashed))
                if scope in old:
                    removed[scope].append(old.pop(scope))
            for scope, hashed in old.items():
                removed[scope].append(hashed)
                left.append((scope, table.name, key))
        for scope in {*added, *removed} & self._digests.keys():
            self._digests[scope] = self._digests[scope].replace(
                removed=removed[scope], added=added[scope]
            )
        self._db.executemany(ROWS.put, [(table.name, key, rev) for key, rev, _ in rows])
        self._db.executemany(MEMBERS.remove, left)
        self._db.executemany(MEMBERS.put, entries)

    def _known(self, table: Table, keys: list[str]) -> dict[str, dict[str, bytes]]:
        """By key: the scopes that list the row, and its hash there."""
        found: dict[str, dict[str, bytes]] = {}
        for key, scope, hashed in self._db.iterate(MEMBERS.of_rows, (json.dumps(keys), table.name)):
            if isinstance(hashed, bytes):
                found.setdefault(str(key), {})[str(scope)] = hashed
        return found

    def remove(self, table: Table, key: str) -> None:
        """The row is in none of our scopes any more."""
        self._drop(table.name, key)
        self._db.execute(ROWS.remove, (table.name, key))

    def _drop(self, table: str, key: str) -> None:
        found = self._db.execute(MEMBERS.of_row, (table, key))
        for scope, hashed in found:
            if str(scope) in self._digests and isinstance(hashed, bytes):
                self._digests[str(scope)] = self._digests[str(scope)].remove(hashed)
        if found:
            self._db.execute(MEMBERS.remove_row, (table, key))

    # --- of whole files -------------------------------------------------------------------------

    def holds(self, scope: str) -> bool:
        """Return whether any row is a member of the scope."""
        return bool(self._db.execute(MEMBERS.any_of_scope, (scope,)))

    def add_sum(self, scope: str, count: int, total: int) -> None:
        """Members were copied into the scope: how many, and the sum of their hashes."""
        self._empty = False
        digest = self._digests[scope]
        self._digests[scope] = digest.with_sum(count, total)

    def part(self, scope: str, table: Table, key: str) -> bool:
        """A row is not in this scope any more; whether it is in none of ours now."""
        place = (scope, table.name, key)
        for (hashed,) in self._db.execute(MEMBERS.hash, place):
            if isinstance(hashed, bytes):
                self._digests[scope] = self._digests[scope].remove(hashed)
        self._db.execute(MEMBERS.remove, place)
        return not self._db.execute(MEMBERS.any_of_row, (table.name, key))

    def finish(self, positions: dict[str, Position]) -> list[str]:
        """Store digests and the server's checkpoint; returns the scopes that differ."""
        differing: list[str] = []
        for scope, digest in self._digests.items():
            position = positions.get(scope)
            if position is None:
                continue
            differs = (digest.count, digest.hex) != (position.count, position.digest)
            self._db.execute(
                SCOPES.finish,
                (
                    position.version, position.seal, position.count, position.digest,
                    digest.count, digest.hex, int(differs), scope,
                ),
            )  # fmt: skip
            if differs:
                differing.append(scope)
        return sorted(differing)
