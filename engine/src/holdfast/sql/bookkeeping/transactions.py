"""Statements on the outbox's list of transactions.

Knows: ``holdfast_tx``. Must not know: when a statement is run.
``UNSETTLED`` and ``DECIDED`` stand in indexes, too: a statement that is to use the index of what is
decided has to say the condition word for word.
"""

from __future__ import annotations

import msgspec

UNSETTLED = "('pending', 'sent')"
DECIDED = f"state NOT IN {UNSETTLED}"
STOPPED = f"state IN ('refused', 'held') AND {DECIDED}"
"""The second half follows from the first, and names the index."""
_WAITS_FOR_A_PERSON = "state IN ('refused', 'held') OR aside > 0"


class TransactionStatements(msgspec.Struct, frozen=True, kw_only=True):
    """The outbox's list of transactions, ``holdfast_tx``."""

    # --- what waits -----------------------------------------------------------------------------

    newest: str = "SELECT max(number) FROM holdfast_tx"
    """The highest number; NULL: there is none."""
    newest_own: str = "SELECT coalesce(max(number), 0) FROM holdfast_tx WHERE NOT loose"
    """The highest number of what no other program wrote; 0: there is none."""
    first_pending: str = (
        "SELECT number, at FROM holdfast_tx WHERE state = 'pending' ORDER BY number LIMIT 1"
    )
    """Number and time of the first that was never sent."""
    first_unsettled: str = (
        f"SELECT number, at FROM holdfast_tx WHERE state IN {UNSETTLED} ORDER BY number LIMIT 1"
    )
    """Number and time of the first without an outcome."""
    unsettled_up_to_two: str = (
        f"SELECT count(*) FROM (SELECT 1 FROM holdfast_tx WHERE state IN {UNSETTLED} LIMIT 2)"
    )
    """How many have no outcome: 0, 1, or 2 for any more."""
    unsettled_span: str = (
        "SELECT coalesce(min(number), 0), coalesce(max(number), 0) FROM holdfast_tx "
        f"WHERE state IN {UNSETTLED}"
    )
    """The lowest and the highest number without an outcome; 0: there is none."""
    sent_span: str = (
        "SELECT min(number), max(number) FROM holdfast_tx WHERE state = 'sent' AND number < "
        "coalesce((SELECT number FROM holdfast_tx WHERE state = 'pending' ORDER BY number LIMIT 1),"
        " 9223372036854775807)"
    )
    """The lowest and the highest number that was sent and has no outcome; NULL: there is none.
    What was never sent is behind them, and not looked at."""
    count_by_state: str = "SELECT state, count(*) FROM holdfast_tx WHERE number < ? GROUP BY state"
    """How many there are of each state (parameter: below this number)."""
    count_aside: str = "SELECT count(*) FROM holdfast_tx WHERE aside > 0"
    """How many are set aside."""

    # --- sealing --------------------------------------------------------------------------------

    add: str = (
        "INSERT INTO holdfast_tx (number, id, state, at, replaces, void, loose, generation) "
        "VALUES (?, ?, 'pending', ?, ?, ?, ?, (SELECT generation FROM holdfast_state))"
    )
    """Put one of the file's generation at the end (number, id, time, number that it replaces, why
    it is void, whether other programs wrote it)."""
    set_after: str = "UPDATE holdfast_tx SET after = ? WHERE number = ?"
    """Note what one rests on (JSON array of numbers, number)."""
    decided: str = f"SELECT number FROM holdfast_tx WHERE {DECIDED}"
    """Numbers of those with an outcome."""
    resting: str = (
        f"SELECT number, after FROM holdfast_tx WHERE state IN {UNSETTLED} AND after <> '[]'"
    )
    """Number, and what it rests on, of those without an outcome that rest on something."""

    # --- sending, and outcomes ------------------------------------------------------------------

    next_heads: str = (
        "SELECT number, id, at, after, replaces, void, generation, first FROM holdfast_tx "
        f"WHERE state IN {UNSETTLED} ORDER BY number LIMIT ?"
    )
    """What goes up next, without its changes (how many at most)."""
    set_sent: str = "UPDATE holdfast_tx SET state = 'sent' WHERE state = 'pending' AND number <= ?"
    """Mark as sent (up to this number)."""
    take_back: str = "UPDATE holdfast_tx SET state = 'pending' WHERE state = 'sent' AND number >= ?"
    """Mark as never sent (from this number on)."""
    unsettled_ids: str = (
        f"SELECT number, id FROM holdfast_tx WHERE state IN {UNSETTLED} AND number BETWEEN ? AND ?"
    )
    """Number and id of those without an outcome (from, to)."""
    heads: str = (
        "SELECT number, id, at, after, replaces, void, generation, first FROM holdfast_tx "
        "WHERE number BETWEEN ? AND ? ORDER BY number"
    )
    """Those of some numbers, as in ``next_heads`` (from, to)."""
    described: str = (
        "SELECT number, id, state, at, after, code, message FROM holdfast_tx ORDER BY number"
    )
    """All of them, as an export tells of them."""
    decide: str = (
        "UPDATE holdfast_tx SET state = ?, code = ?, message = ?, field = ?, held_by = ?, "
        "decided_us = ?, aside = aside * (? = 'applied') WHERE number = ?"
    )
    """Record an outcome (state, code, message, field, what it is held by, time, outcome, number).
    What is applied stays set aside until it leaves."""
    remove_acked: str = "DELETE FROM holdfast_tx WHERE state = 'acked' AND number BETWEEN ? AND ?"
    """Remove the acknowledged ones (from, to)."""
    remove: str = "DELETE FROM holdfast_tx WHERE number = ?"
    """Remove one (number)."""

    # --- setting aside --------------------------------------------------------------------------

    aside: str = (
        f"SELECT number, aside, code FROM holdfast_tx WHERE aside > 0 AND state IN {UNSETTLED}"
    )
    """What is set aside and has no outcome: number, the first number made after that, and why."""
    set_aside: str = (
        "UPDATE holdfast_tx SET aside = ?, code = ?, message = ?, field = ?, held_by = ? "
        "WHERE number = ?"
    )
    """Set one aside (the first number made after that, code, message, field, what it builds on,
    number)."""
    show_again: str = (
        "UPDATE holdfast_tx SET aside = 0, code = '', message = '', field = '', held_by = 0 "
        "WHERE number = ?"
    )
    """Set one aside no longer (number)."""

    # --- what was acknowledged once ---------------------------------------------------------------

    put_back: str = (
        "INSERT INTO holdfast_tx (number, id, state, at, after, replaces, generation) "
        "VALUES (?, ?, 'sent', ?, ?, ?, ?)"
    )
    """Put one back that had left, as sent (number, id, time, what it rests on as a JSON array,
    number that it replaces, generation)."""

    # --- what waits for a person ----------------------------------------------------------------

    stopped: str = f"SELECT number FROM holdfast_tx WHERE {STOPPED}"
    """Numbers of what is refused or held."""
    held: str = (
        f"SELECT number, after, code FROM holdfast_tx WHERE state = 'held' AND {DECIDED} "
        "ORDER BY number"
    )
    """What is held: number, what it rests on, and the code it waits with."""
    set_held: str = (
        "UPDATE holdfast_tx SET code = ?1, message = ?2, "
        "held_by = CASE WHEN ?3 THEN ?3 ELSE held_by END WHERE number = ?4"
    )
    """Note why one stays held (code, message, what it is held by or 0: as before, number)."""
    inbox: str = (
        "SELECT number, state, aside, code, message, field, held_by, at FROM holdfast_tx "
        f"WHERE {_WAITS_FOR_A_PERSON} ORDER BY number"
    )
    """What is refused, held or set aside, in order."""
    inbox_item: str = (
        f"SELECT number, aside FROM holdfast_tx WHERE ({_WAITS_FOR_A_PERSON}) "
        "AND (CAST(number AS TEXT) = ?1 OR id = ?1)"
    )
    """One of them (its number as text, or its id)."""
