"""The statements on the engine's own tables of a replica, each with a name: written once.

Knows: the tables of ``sql.replica.BOOKKEEPING``. Must not know: when a statement is run, or the
tables of a schema. They are part of the replica program, so that a host in another language runs
the same ones, by the same names. Parameters are named in the order in which they are given.
"""

from __future__ import annotations

import msgspec

from holdfast.sql.bookkeeping.gone import GoneStatements
from holdfast.sql.bookkeeping.identity import (
    EventStatements,
    IdentityStatements,
    KeptStatements,
)
from holdfast.sql.bookkeeping.transactions import TransactionStatements
from holdfast.sql.bookkeeping.truth import MemberStatements, RowStatements, ScopeStatements

_CONFLICT = (
    "SELECT id, table_name, row_key, column_name, kind, base, mine, theirs, user, device, at, "
    "their_user, their_device, their_at FROM holdfast_conflict WHERE state = 'open'"
)


class ConflictStatements(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's synced table ``holdfast_conflict``."""

    open: str = f"{_CONFLICT} ORDER BY at, id"
    """The open conflicts, oldest first."""
    open_item: str = f"{_CONFLICT} AND id = ?"
    """One of them (id); columns as in ``open``."""
    count_open: str = "SELECT count(*) FROM holdfast_conflict WHERE state = 'open'"
    """How many are open."""
    settle: str = (
        "UPDATE holdfast_conflict SET state = 'settled', chosen = ?, settled_by = ?, "
        "settled_at = ? WHERE id = ?"
    )
    """Close one (what was chosen, by whom, when, id)."""


class StateStatements(msgspec.Struct, frozen=True, kw_only=True):
    """The one row of ``holdfast_state``. Single columns are read and set by their names."""

    make: str = (
        "INSERT INTO holdfast_state "
        "(id, format, fingerprint, schema, capture, generation, replica) VALUES "
        "(1, ?1, ?2, ?3, ?4, coalesce(json_extract(?3, '$.generation'), 1), "
        "lower(hex(randomblob(16))))"
    )
    """Make it (format, fingerprint, schema as JSON, digest of the capture triggers), with a name of
    the replica's own."""
    add_mismatches: str = "UPDATE holdfast_state SET mismatches = mismatches + ?"
    """Count differences that should not have been (how many)."""
    triggers: str = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
    """Name and text of every trigger of the file."""
    capture_of: str = (
        "SELECT name, sql FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ? "
        "AND name GLOB 'holdfast_*'"
    )
    """Name and text of the capture triggers of a table (table)."""


class Bookkeeping(msgspec.Struct, frozen=True, kw_only=True):
    """The statements on the engine's own tables, by table."""

    transactions: TransactionStatements = TransactionStatements()
    conflicts: ConflictStatements = ConflictStatements()
    rows: RowStatements = RowStatements()
    members: MemberStatements = MemberStatements()
    scopes: ScopeStatements = ScopeStatements()
    state: StateStatements = StateStatements()
    identity: IdentityStatements = IdentityStatements()
    kept: KeptStatements = KeptStatements()
    events: EventStatements = EventStatements()
    gone: GoneStatements = GoneStatements()


STATEMENTS = Bookkeeping()
TRANSACTIONS = STATEMENTS.transactions
CONFLICTS = STATEMENTS.conflicts
ROWS = STATEMENTS.rows
MEMBERS = STATEMENTS.members
SCOPES = STATEMENTS.scopes
STATE = STATEMENTS.state
IDENTITY = STATEMENTS.identity
KEPT = STATEMENTS.kept
EVENTS = STATEMENTS.events
GONE = STATEMENTS.gone
