"""Statements on work that has met a declared migration: what was sent, and what is gone.

Knows: the outbox's list of transactions, and what stands beside it for the inbox. Must not know:
when a statement is run.
"""

from __future__ import annotations

import msgspec

CREATE_GONE = (
    "CREATE TABLE holdfast_gone (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, "
    "tbl TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL) STRICT"
)
"""Values that were written and could not be sent, because their column or table is gone: numbers
below 0, as ``holdfast_tx`` has them for the inbox; values as JSON."""


class GoneStatements(msgspec.Struct, frozen=True, kw_only=True):
    """Work that has met a declared migration: ``holdfast_gone``, and hashes of what was sent."""

    put: str = (
        "INSERT INTO holdfast_gone (number, at, tbl, key, name, value) VALUES "
        "((SELECT min(0, coalesce(min(number), 0)) - 1 FROM holdfast_tx), ?, ?, ?, ?, ?)"
    )
    """Note what cannot be sent (time, table, key, column, value)."""
    show: str = (
        "INSERT INTO holdfast_tx (number, id, state, at, code, message, field, decided_us) VALUES "
        "((SELECT min(number) FROM holdfast_gone), ?1, 'refused', ?2, ?3, ?4, ?5, ?2)"
    )
    """Put what was noted last into the inbox (id, time, code, message, column)."""
    item: str = "SELECT tbl, key, name, value FROM holdfast_gone WHERE number = ?"
    """Table, key, column and value of an item of the inbox (number)."""
    remove: str = "DELETE FROM holdfast_gone WHERE number = ?"
    """Remove one (number)."""
    sent: str = (
        "SELECT number, id, at, after, replaces, void, generation, first FROM holdfast_tx "
        "WHERE state = 'sent' ORDER BY number"
    )
    """Transactions that were sent and have no outcome, without their changes."""
    acked: str = "SELECT number FROM holdfast_tx WHERE state = 'acked'"
    """Numbers of those that the server has taken."""
    set_first: str = "UPDATE holdfast_tx SET first = ? WHERE number = ?"
    """Note the hash of a body as it was first sent (hash, number)."""
    set_kept: str = "UPDATE holdfast_kept SET body = ? WHERE number = ?"
    """Say what is kept of an acknowledged one in other words (message, number)."""
