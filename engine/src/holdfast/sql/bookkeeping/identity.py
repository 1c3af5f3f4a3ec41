"""Statements on who a replica is: what it keeps of its work, and what has happened to it.

Knows: ``holdfast_kept``, ``holdfast_event``, and what a fork changes in the outbox's list. Must not
know: when a statement is run.
"""

from __future__ import annotations

import msgspec

CREATE_KEPT = """CREATE TABLE holdfast_kept (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  at INTEGER NOT NULL,
  decided_us INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  again INTEGER NOT NULL DEFAULT 0,
  body TEXT NOT NULL
) STRICT"""
"""Transactions that were acknowledged as applied, as they were sent: until a backup of the server
has them. ``again``: 1 while it is offered again and has no outcome."""
CREATE_KEPT_INDEX = "CREATE INDEX holdfast_kept_again ON holdfast_kept (number) WHERE again"
CREATE_EVENT = """CREATE TABLE holdfast_event (
  number INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  since INTEGER,
  resent INTEGER NOT NULL DEFAULT 0,
  already_there INTEGER NOT NULL DEFAULT 0,
  to_inbox INTEGER NOT NULL DEFAULT 0,
  text TEXT NOT NULL DEFAULT ''
) STRICT"""
"""What has happened to the replica, oldest first. ``since``: the moment of the older state that it
is about; ``text``: a sentence for a person, '': it follows from the rest."""
STATE_COLUMNS = (
    "replica TEXT NOT NULL DEFAULT ''",
    "origin TEXT NOT NULL DEFAULT ''",
    "origin_last INTEGER NOT NULL DEFAULT 0",
    "lineage TEXT NOT NULL DEFAULT '[]'",
    "forks INTEGER NOT NULL DEFAULT 0",
    "place TEXT NOT NULL DEFAULT ''",
    "backed_up INTEGER NOT NULL DEFAULT 0",
    "kept_bytes INTEGER NOT NULL DEFAULT 0",
    "kept_lost INTEGER NOT NULL DEFAULT 0",
)
"""Of ``holdfast_state``. ``replica``: who it is; empty: as its device is named, by which servers
knew it before. ``origin`` and ``origin_last``: the replica that it has come out of, and the last
number that the two may have in common, until all of that has its outcome. ``lineage``: nobody's,
the server knows what came out of what; it goes with the next format. ``forks``: since the last
answer. ``place``: where the file stood at the last answer (JSON). ``backed_up``: the last number
that a backup of the server has. ``kept_bytes``: what is kept, in all. ``kept_lost``: how many were
given up before a backup had them."""


class KeptStatements(msgspec.Struct, frozen=True, kw_only=True):
    """Acknowledged work that is kept, ``holdfast_kept``."""

    put: str = (
        "INSERT OR REPLACE INTO holdfast_kept (number, id, at, decided_us, generation, body) "
        "VALUES (?, ?, ?, ?, ?, ?)"
    )
    """Keep one (number, id, time, when it was decided, generation, its message as JSON)."""
    add_bytes: str = "UPDATE holdfast_state SET kept_bytes = max(0, kept_bytes + ?)"
    """Count what is kept (how many bytes more)."""
    first: str = (
        "SELECT number, decided_us, length(CAST(body AS BLOB)), again FROM holdfast_kept "
        "ORDER BY number LIMIT ?"
    )
    """Number, time of its outcome, bytes, and whether it is offered again, of the oldest ones (how
    many)."""
    remove: str = "DELETE FROM holdfast_kept WHERE number <= ? AND NOT again"
    """Give up to a number up (number)."""
    offer: str = "UPDATE holdfast_kept SET again = 1"
    """Offer all of it again."""
    settle: str = "UPDATE holdfast_kept SET again = 0 WHERE number = ?"
    """Offer one no longer (number)."""
    drop: str = "DELETE FROM holdfast_kept WHERE number = ?"
    """Forget one (number)."""
    offered: str = (
        "SELECT number, id, generation, body FROM holdfast_kept WHERE again ORDER BY number LIMIT ?"
    )
    """Number, id, generation and message of what is offered again, in order (how many)."""
    offered_ids: str = "SELECT number, id FROM holdfast_kept WHERE again AND number BETWEEN ? AND ?"
    """Number and id of what is offered again (from, to)."""
    span: str = "SELECT min(number), max(number), count(*) FROM holdfast_kept WHERE again"
    """The lowest and highest number that is offered again (NULL: there is none), and how many."""
    bodies: str = "SELECT number, body FROM holdfast_kept"
    """Number and message of all."""
    body: str = "SELECT body, generation FROM holdfast_kept WHERE number = ?"
    """Message and generation of one (number)."""


class EventStatements(msgspec.Struct, frozen=True, kw_only=True):
    """The history of the replica, ``holdfast_event``."""

    add: str = "INSERT INTO holdfast_event (at, kind, since, text) VALUES (?, ?, ?, ?)"
    """Note one (time, kind, moment of the older state or NULL, text)."""
    count: str = (
        "UPDATE holdfast_event SET resent = resent + ?, already_there = already_there + ?, "
        "to_inbox = to_inbox + ? WHERE number = (SELECT max(number) FROM holdfast_event "
        "WHERE kind IN ('copied', 'restored', 'server_restored', 'accepted_server'))"
    )
    """Count outcomes of what the newest fork offers again (sent again, already there, gone to the
    inbox)."""
    all: str = (
        "SELECT at, kind, since, resent, already_there, to_inbox, text FROM holdfast_event "
        "ORDER BY number"
    )
    """All, oldest first."""


class IdentityStatements(msgspec.Struct, frozen=True, kw_only=True):
    """The part of ``holdfast_state`` that says who the replica is."""

    fork: str = (
        "UPDATE holdfast_state SET origin = CASE WHEN replica = '' THEN device ELSE replica END, "
        "origin_last = max(origin_last, open_tx - 1), replica = ?, nonce = '', next_nonce = '', "
        "forks = forks + 1"
    )
    """Be another replica from now on (its new name). The log is sealed."""
    offer: str = (
        "UPDATE holdfast_state SET nonce = '', origin_last = max(origin_last, open_tx - 1), "
        "forks = forks + 1"
    )
    """Offer again under the name that no answer has come to yet."""
    forget_server: str = (
        "UPDATE holdfast_state SET device = '', user = '', backed_up = 0, server_generation = NULL"
    )
    """Forget what another server has said of the replica."""
    forget_checkpoint: str = (
        "UPDATE holdfast_scope SET version = 0, seal = '', server_count = 0, "
        "server_digest = '00000000000000000000000000000000', told = 1"
    )
    """Forget where the scopes stood with another server; that they differ is expected."""
    forget_revisions: str = "UPDATE holdfast_row SET rev = 0"
    """Forget the revisions of another server: none of its rows was seen."""
    offered_again: str = (
        "SELECT EXISTS (SELECT 1 FROM holdfast_tx WHERE state IN ('pending', 'sent') "
        "AND number <= ?1) OR EXISTS (SELECT 1 FROM holdfast_kept WHERE again)"
    )
    """Whether anything up to a number is offered again (number)."""
    made_before_restore: str = (
        "SELECT CASE WHEN origin <> '' AND (SELECT kind FROM holdfast_event WHERE kind IN "
        "('copied', 'restored', 'server_restored', 'accepted_server') "
        "ORDER BY number DESC LIMIT 1) IN ('server_restored', 'accepted_server') "
        "THEN origin_last ELSE 0 END FROM holdfast_state"
    )
    """Up to which number what is offered again was made before the server went back, while any of
    it has no outcome; 0: it has not."""
    finish: str = "UPDATE holdfast_state SET origin = '', origin_last = 0"
    """All that was offered again has its outcome."""
