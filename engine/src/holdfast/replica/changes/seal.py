"""Sealing: what the log holds becomes numbered transactions in the outbox.

Knows: the log and the outbox tables. Must not know: the network.

A commit through our connections only sets a ``mark`` behind its notes: one append. ``seal`` makes
the whole log into notes of the outbox, before anything is sent and, in the same transaction, before
news are applied: it tells what came after a touch by what the tables hold now. What foreign
connections wrote is ended by the next mark, or by sealing; capture sets one, too, where one
connection writes behind another, so that in a copy of the file its group is the same. Its time is
that of its last note, for it is sealed whenever each copy comes to it.

    holdfast_log   │ stock A 10 │ mark │ stock A 9 │ stock B 5 │ mark │ stock A 8 │
                   └─ group 7 ──┘      └────── group 8 ────────┘      └─ open: 9 ─┘
                     a note: which row, and its values before it was touched
                           │
                           │ seal: the values after are those of the row's next note
                           ▼       or what its table holds now (A: 7, B: gone)
    notes            7: A 10 → 9      8: A 9 → 8, B 5 → gone      9: A 8 → 7
    holdfast_tx      7 pending        8 pending                   9 pending

Upholds I2, I4 (every sealed transaction has a number and an id), I9.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from holdfast.core.clock import next_stamp
from holdfast.core.errors import DatabaseError
from holdfast.core.ids import derived_id, transaction_id
from holdfast.core.keys import RowPlace
from holdfast.core.values import Value
from holdfast.replica.changes.dependence import (
    OutboxNotes,
    sealed_now,
)
from holdfast.replica.changes.parts import take_apart_sealed
from holdfast.replica.storage.database import ensure_current, read_state, write_state
from holdfast.schema.model import Schema, Table
from holdfast.sql.bookkeeping.statements import TRANSACTIONS
from holdfast.sql.replica import ReplicaProgram, TableProgram
from holdfast.sqlite import Connection

_compact = json.JSONEncoder(separators=(",", ":")).encode


def mark(
    connection: Connection, program: ReplicaProgram, *, now_us: int, loose: bool = False
) -> int:
    """End the open group, if anything was noted in it. The log's length if so, else 0. ``loose``:
    other programs wrote it."""
    found = connection.execute(program.mark, (now_us, int(loose)))
    return int(str(found[0][0])) if found else 0


def seal(
    connection: Connection,
    schema: Schema,
    program: ReplicaProgram,
    *,
    now_us: int,
    random_bytes: Callable[[int], bytes],
    replaces: int = 0,
    own: bool = False,
) -> int | None:
    """Seal all that the log holds; the number of the open group, or None when it has no net change.

    Inside a write transaction. ``now_us``: the device's clock, microseconds; stamps never go
    backwards. ``replaces``: the refused transaction that the open group makes again. ``own``: the
    open group is one of ours.
    """
    last = connection.execute(program.log_last)
    if not last:
        return None
    ensure_current(connection, program)
    open_tx, stamp, replica = read_state(connection, "open_tx", "stamp_us", "replica")
    first, stamp_us = int(str(open_tx)), int(str(stamp))
    ends = [
        (at if isinstance(at, int) else now_us, bool(was), salt)
        for _, at, was, salt in connection.execute(program.marks)
    ]
    is_open = last[0][1] != ""
    if is_open:
        loose = not (own or replaces)
        moment = last[0][3] if loose else None
        ends.append((moment if isinstance(moment, int) else now_us, loose, last[0][2]))
    touched = {str(name) for (name,) in connection.execute(program.log_tables)}
    tables = [table for table in schema.all_tables if table.name in touched]
    void: set[int] = set()
    unnamed: list[RowPlace] = []
    for table in tables:
        statements = program.tables[table.name]
        connection.execute(statements.fold)
        connection.execute(program.add_noted, (table.name,))
        for group, key in _mend(connection, statements, first):
            void.add(group)
            unnamed.append((table.name, key))
    connection.execute(program.empty_log)
    numbers = _number(connection, program, tables, first)
    heads: list[tuple[Value, ...]] = []
    for group, (at, loose, salt) in enumerate(ends, start=first):
        if group in numbers:
            stamp_us = next_stamp(stamp_us, at)
            heads.append(
                (
                    numbers[group],
                    _id(str(replica), numbers[group], salt, random_bytes),
                    stamp_us,
                    replaces if is_open and group == first + len(ends) - 1 else 0,
                    "bad_value" if group in void and not loose else "",
                    int(loose),
                )
            )
    if len(heads) != len(numbers):
        raise DatabaseError("the log's groups and its notes do not agree")
    connection.executemany(TRANSACTIONS.add, heads)
    notes = OutboxNotes(connection, schema, program)
    connection.executemany(
        TRANSACTIONS.set_after,
        [
            (_compact(sorted(earlier)), number)
            for number, earlier in sealed_now(notes, tables, first).items()
        ],
    )
    write_state(connection, open_tx=first + len(heads), stamp_us=stamp_us)
    if any(head[-1] for head in heads):
        take_apart_sealed(notes, first, unnamed)
    if not is_open or first + len(ends) - 1 not in numbers:
        return None
    found = connection.execute(
        "SELECT max(number) FROM holdfast_tx WHERE number >= ? AND id = ?", (first, heads[-1][1])
    )
    return found[0][0] if isinstance(found[0][0], int) else None


def _id(replica: str, number: int, salt: Value, random_bytes: Callable[[int], bytes]) -> str:
    """The same id wherever this group is sealed: also in a copy of the file (I7). A note of a
    format that had no salt gets any."""
    if not isinstance(salt, int):
        return transaction_id(random_bytes)
    return derived_id(replica, number, salt)


def _mend(connection: Connection, statements: TableProgram, first: int) -> list[tuple[int, str]]:
    """Keep text that is not UTF-8 as bytes, so that the outbox can be read; groups and names of
    rows with such keys.

    SQLite stores any bytes as text (``CAST(x AS TEXT)``, or a tool that does not care). What cannot
    be sent is refused on its own (I27), and must not stop the reading of anything else.
    """
    bad: list[tuple[int, str]] = []
    for rowid, group, key, *texts in connection.execute(statements.odd_texts, (first,)):
        name = (
            None
            if _is_utf8(key) or not isinstance(key, bytes)
            else key.decode(errors="backslashreplace")
        )
        flags = [int(not _is_utf8(text)) for text in texts]
        if name is not None or any(flags):
            if name is not None:
                bad.append((int(str(group)), name))
            connection.execute(statements.mend_texts, (name, *flags, rowid))
    return bad


def _is_utf8(text: Value) -> bool:
    try:
        if isinstance(text, bytes):
            text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _number(
    connection: Connection, program: ReplicaProgram, tables: list[Table], first: int
) -> dict[int, int]:
    """The number of each group that has a net change: those that have none leave no gap."""
    groups = {
        int(str(group))
        for table in tables
        for (group,) in connection.execute(program.tables[table.name].groups, (first,))
    }
    numbers = {group: number for number, group in enumerate(sorted(groups), start=first)}
    moved = [(number, group) for group, number in numbers.items() if number != group]
    if moved:
        for table in tables:  # downwards, in order: a number is free before it is taken
            connection.executemany(program.tables[table.name].renumber, moved)
    return numbers
