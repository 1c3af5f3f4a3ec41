"""Sealing: the open group of captured changes becomes a numbered transaction.

Knows: the outbox tables. Must not know: the network.
Called inside a write transaction. Transactions opened through our connections are sealed in their
own commit; what foreign connections wrote is sealed together before the next local transaction,
exchange or application of news. So the open group is always the newest, and what it touched is what
the tables hold now.

Upholds I2, I4 (every sealed transaction has a number and an id), I9.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import itemgetter

from holdfast.core.clock import next_stamp
from holdfast.core.errors import DatabaseError
from holdfast.core.ids import transaction_id
from holdfast.core.keys import key_values
from holdfast.core.values import Value
from holdfast.replica.database import write_state
from holdfast.schema.model import Schema, Table
from holdfast.sql.replica import ReplicaProgram, TableProgram
from holdfast.sqlite import Connection

_compact = json.JSONEncoder(separators=(",", ":")).encode


def seal(
    connection: Connection,
    schema: Schema,
    program: ReplicaProgram,
    *,
    now_us: int,
    random_bytes: Callable[[int], bytes],
    replaces: int = 0,
) -> int | None:
    """Seal the open group; its number, or None when it holds no net change.

    ``now_us``: the device's clock, microseconds. The stamp never goes backwards.
    """
    ((open_tx, last_us, unsettled, *touched),) = connection.execute(program.glance)
    if not isinstance(open_tx, int) or not isinstance(last_us, int):
        raise DatabaseError("the replica's state row is not readable")
    if not any(touched):
        return None
    after: set[int] = set()
    left, void = 0, ""
    for table, is_touched in zip(schema.all_tables, touched, strict=True):
        if is_touched:
            statements = program.tables[table.name]
            if _mend(connection, statements, open_tx):
                void = "bad_value"
            notes, has_earlier = _tidy(connection, table, statements, open_tx)
            left += notes
            if unsettled:
                if has_earlier:
                    after |= _inherit(connection, table, statements, open_tx)
                for sql in (*statements.parents, *statements.freed):
                    found = connection.execute(sql, (open_tx, open_tx))
                    after |= {tx for (tx,) in found if isinstance(tx, int)}
    if not left:
        return None
    stamp_us = next_stamp(last_us, now_us)
    connection.execute(
        "INSERT INTO holdfast_tx (number, id, state, at, after, replaces, void) "
        "VALUES (?, ?, 'pending', ?, ?, ?, ?)",
        (
            open_tx,
            transaction_id(random_bytes),
            stamp_us,
            json.dumps(sorted(after)),
            replaces,
            void,
        ),
    )
    write_state(connection, open_tx=open_tx + 1, stamp_us=stamp_us)
    return open_tx


def _mend(connection: Connection, statements: TableProgram, group: int) -> bool:
    """Keep text that is not UTF-8 as bytes, so that the outbox can be read; whether a key was such.

    SQLite stores any bytes as text (``CAST(x AS TEXT)``, or a tool that does not care). What cannot
    be sent is refused on its own (I27), and must not stop the reading of anything else.
    """
    bad_key = False
    for rowid, key, *texts in connection.execute(statements.odd_texts, (group,)):
        name = (
            None
            if _is_utf8(key) or not isinstance(key, bytes)
            else key.decode(errors="backslashreplace")
        )
        flags = [int(not _is_utf8(text)) for text in texts]
        if name is not None or any(flags):
            bad_key = bad_key or name is not None
            connection.execute(statements.mend_texts, (name, *flags, rowid))
    return bad_key


def _is_utf8(text: Value) -> bool:
    try:
        if isinstance(text, bytes):
            text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _tidy(
    connection: Connection, table: Table, statements: TableProgram, group: int
) -> tuple[int, bool]:
    """Leave only net changes in a group; how many there are, and whether rows have earlier ones."""
    ((notes, unknown, empty, earlier),) = connection.execute(statements.survey, (group,))
    if unknown:
        _resolve_unknown(connection, table, statements, group)
    if unknown or empty:
        connection.execute(statements.drop_empty, (group,))
        ((notes, _, _, earlier),) = connection.execute(statements.survey, (group,))
    return int(str(notes)), bool(earlier)


def _resolve_unknown(
    connection: Connection, table: Table, statements: TableProgram, group: int
) -> None:
    """Look up rows of which a BEFORE trigger could not know whether they stay."""
    keys = [str(key) for (key,) in connection.execute(statements.unknown_keys, (group,))]
    for key in keys:
        connection.execute(statements.resolve_unknown, (*key_values(table, key), group, key))


def _inherit(
    connection: Connection, table: Table, statements: TableProgram, group: int
) -> set[int]:
    """Columns with an earlier unsettled change inherit its base; returns the last earlier groups.

    The base of a change is the revision the person saw. What they saw was their own unsettled
    change, which itself was based on an older revision. The last group that changed a row stands
    for those before it, which it names itself: so a row changed n times does not cost n names.
    """
    width = len(table.data_columns)
    names = [column.name for column in table.data_columns]
    earlier: dict[str, dict[str, int]] = {}
    last: dict[str, int] = {}
    # Ordered here: a sort in SQL costs more than all the rest when the group has one row.
    for row in sorted(connection.execute(statements.chained, (group,)), key=itemgetter(0)):
        tx, key, was, now, base, bases = row[:6]
        assert isinstance(tx, int) and isinstance(key, str) and isinstance(base, int)
        own = json.loads(bases) if isinstance(bases, str) else {}
        inherited = earlier.setdefault(key, {})
        if was != now:
            inherited |= {name: own.get(name, base) for name in names}
        else:
            for name, before, after in zip(
                names, row[6 : 6 + width], row[6 + width :], strict=True
            ):
                if before != after or type(before) is not type(after):
                    inherited[name] = own.get(name, base)
        last[key] = tx
    texts: dict[tuple[tuple[str, int], ...], str] = {}  # most rows of a group inherit the same
    rows: list[tuple[str, int, str]] = []
    for key, inherited in earlier.items():
        items = tuple(inherited.items())
        text = texts.get(items)
        if text is None:
            text = texts[items] = _compact(inherited)
        rows.append((text, group, key))
    connection.executemany(statements.set_bases, rows)
    return set(last.values())
