"""Statements on what a replica knows of the server's rows: revisions, members, scopes.

Knows: ``holdfast_row``, ``holdfast_member``, ``holdfast_scope``. Must not know: when a statement is
run.
"""

from __future__ import annotations

import msgspec

_OF_SCOPE = (
    "SELECT m.tbl, m.key, m.hash, coalesce(r.rev, 0) FROM holdfast_member AS m "
    "LEFT JOIN holdfast_row AS r ON r.tbl = m.tbl AND r.key = m.key "
    "WHERE m.scope = ? AND (m.tbl, m.key) >= (?, ?)"
)


class RowStatements(msgspec.Struct, frozen=True, kw_only=True):
    """The server's revisions of rows, ``holdfast_row``."""

    keys: str = "SELECT key FROM holdfast_row WHERE tbl = ?"
    """Keys of which a revision is known (table)."""
    revision: str = "SELECT rev FROM holdfast_row WHERE tbl = ? AND key = ?"
    """The revision of one row (table, key)."""
    put: str = (
        "INSERT INTO holdfast_row (tbl, key, rev) VALUES (?, ?, ?) "
        "ON CONFLICT (tbl, key) DO UPDATE SET rev = excluded.rev"
    )
    """Note a revision (table, key, revision)."""
    remove: str = "DELETE FROM holdfast_row WHERE tbl = ? AND key = ?"
    """Forget one (table, key)."""
    clear: str = "DELETE FROM holdfast_row"
    """Forget all: a salvaged file knows no rows of the server."""


class MemberStatements(msgspec.Struct, frozen=True, kw_only=True):
    """Statements on ``holdfast_member``: which rows are in which scope, with their hashes."""

    any: str = "SELECT 1 FROM holdfast_member LIMIT 1"
    """A row, if there is any member at all."""
    any_of_scope: str = "SELECT 1 FROM holdfast_member WHERE scope = ? LIMIT 1"
    """A row, if the scope has any (scope)."""
    any_of_row: str = "SELECT 1 FROM holdfast_member WHERE tbl = ? AND key = ? LIMIT 1"
    """A row, if the row is in any scope (table, key)."""
    of_table: str = "SELECT scope, key, hash FROM holdfast_member WHERE tbl = ?"
    """All of a table (table)."""
    of_rows: str = (
        "SELECT m.key, m.scope, m.hash FROM json_each(?) AS j CROSS JOIN holdfast_member AS m "
        "ON m.tbl = ? AND m.key = j.value"
    )
    """Key, scope and hash of some rows (JSON array of keys, table)."""
    of_row: str = "SELECT scope, hash FROM holdfast_member WHERE tbl = ? AND key = ?"
    """Scope and hash of one row (table, key)."""
    hash: str = "SELECT hash FROM holdfast_member WHERE scope = ? AND tbl = ? AND key = ?"
    """The hash of a row in a scope (scope, table, key)."""
    only_of_scope: str = (
        "SELECT tbl, key FROM holdfast_member AS m WHERE scope = ?1 AND NOT EXISTS ("
        "SELECT 1 FROM holdfast_member AS o WHERE o.tbl = m.tbl AND o.key = m.key "
        "AND o.scope <> ?1)"
    )
    """Table and key of the rows that are in this scope and in no other (scope)."""
    from_position: str = _OF_SCOPE
    """Table, key, hash and revision of a scope's rows from a position on (scope, table, key)."""
    between_positions: str = f"{_OF_SCOPE} AND (m.tbl, m.key) < (?, ?)"
    """The same up to another position, exclusive (scope, table, key, table, key)."""
    put: str = (
        "INSERT INTO holdfast_member (scope, tbl, key, hash) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (scope, tbl, key) DO UPDATE SET hash = excluded.hash"
    )
    """Make a row a member (scope, table, key, hash)."""
    forget_hash: str = "UPDATE holdfast_member SET hash = zeroblob(16) WHERE tbl = ? AND key = ?"
    """Give a damaged row a hash that no row has (table, key)."""
    remove: str = "DELETE FROM holdfast_member WHERE scope = ? AND tbl = ? AND key = ?"
    """Take a row out of a scope (scope, table, key)."""
    remove_row: str = "DELETE FROM holdfast_member WHERE tbl = ? AND key = ?"
    """Take a row out of all scopes (table, key)."""
    remove_scope: str = "DELETE FROM holdfast_member WHERE scope = ?"
    """Take all rows out of a scope (scope)."""


class ScopeStatements(msgspec.Struct, frozen=True, kw_only=True):
    """The scopes a replica reads, with both sides' digests: ``holdfast_scope``."""

    names: str = "SELECT scope FROM holdfast_scope ORDER BY scope"
    """Their names."""
    hash_key: str = "SELECT hash_key FROM holdfast_scope WHERE scope = ?"
    """The key to the hashes of a scope's rows (scope)."""
    digests: str = "SELECT scope, hash_key, count, digest FROM holdfast_scope"
    """Key, count and digest of each, of this side."""
    both_digests: str = (
        "SELECT scope, count, digest, server_count, server_digest FROM holdfast_scope "
        "ORDER BY scope"
    )
    """Count and digest of each, of this side and of the server's."""
    differing: str = "SELECT scope FROM holdfast_scope WHERE told = 1"
    """Those that differed after the last answer."""
    positions: str = (
        "SELECT scope, version, server_count, server_digest, seal FROM holdfast_scope "
        "WHERE seal <> ''"
    )
    """The checkpoint: version, count, digest and seal of each that the server has sealed."""
    grant: str = (
        "INSERT INTO holdfast_scope (scope, version, seal, server_count, server_digest, "
        "count, digest, hash_key, writable) VALUES (?, 0, '', 0, ?, 0, ?, ?, ?) "
        "ON CONFLICT (scope) DO UPDATE SET writable = excluded.writable"
    )
    """Take one in (scope, digest of nothing, the same, key, whether it may be written)."""
    finish: str = (
        "UPDATE holdfast_scope SET version = ?, seal = ?, server_count = ?, "
        "server_digest = ?, count = ?, digest = ?, told = ? WHERE scope = ?"
    )
    """Store where one is after an answer (version, seal, count and digest of the server, count and
    digest of this side, whether they differ, scope)."""
    set_digest: str = "UPDATE holdfast_scope SET count = ?, digest = ? WHERE scope = ?"
    """Store this side's digest (count, digest, scope)."""
    remove: str = "DELETE FROM holdfast_scope WHERE scope = ?"
    """Forget one (scope)."""
