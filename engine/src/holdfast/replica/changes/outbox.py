"""The outbox as messages: which transactions go up next, and in which words.

Knows: the outbox tables and the protocol's messages. Must not know: HTTP.
Upholds I9 (numbers in order, without gaps) and I27: a transaction that cannot be put into a message
travels as void and is refused, and does not stop the others.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator

import msgspec

from holdfast.core.errors import BadValue, DatabaseError
from holdfast.core.keys import key_values
from holdfast.core.limits import (
    PUSH_BYTES_SOFT,
    PUSH_CHANGES_MAX,
    PUSH_STEP_TRANSACTIONS,
    PUSH_TRANSACTIONS_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_CHANGES_MAX,
)
from holdfast.core.merging.groups import differing
from holdfast.core.merging.policies import policy_of
from holdfast.core.values import STORAGE, Value, check, to_wire
from holdfast.protocol.messages import Change, Transaction
from holdfast.replica.storage.noted import noted_tables
from holdfast.schema.model import Column, Schema, Table
from holdfast.sql.bookkeeping.statements import GONE, TRANSACTIONS
from holdfast.sql.replica import ReplicaProgram
from holdfast.sqlite import Connection, Row

Came = dict[str, dict[str, int]]
"""Table to column to the generation it came with."""


def next_batch(
    connection: Connection, schema: Schema, program: ReplicaProgram
) -> list[Transaction]:
    """The unsettled transactions that go up next, in order, and marked as sent.

    A batch is closed when it is large enough; one larger transaction travels alone.
    """
    heads = connection.execute(TRANSACTIONS.next_heads, (PUSH_TRANSACTIONS_MAX,))
    if not heads:
        return []
    tables = [schema.by_name[name] for name in noted_tables(connection, program)]
    later = _later_columns(connection, program)
    batch: list[Transaction] = []
    changes_left, bytes_left = PUSH_CHANGES_MAX, PUSH_BYTES_SOFT
    while heads:
        part = _step(connection, program, tables, heads)
        heads = heads[len(part) :]
        span = int(str(part[0][0])), int(str(part[-1][0]))
        found = _changes(connection, tables, program, span)
        for head in part:
            rows = found.get(int(str(head[0])), [])
            cost = sum(change_size(row) for _, row in rows)
            if batch and (len(rows) > changes_left or cost > bytes_left):
                return _sent(connection, batch)
            batch.append(_message(head, rows, later, large=cost > PUSH_BYTES_SOFT))
            changes_left -= len(rows)
            bytes_left -= cost
    return _sent(connection, batch)


def sent_messages(
    connection: Connection, schema: Schema, program: ReplicaProgram
) -> Iterator[Transaction]:
    """Yield what was sent and has no outcome, as it was sent."""
    heads = connection.execute(GONE.sent)
    tables = [schema.by_name[name] for name in noted_tables(connection, program)]
    later = _later_columns(connection, program)
    while heads:
        part = _step(connection, program, tables, heads)
        heads = heads[len(part) :]
        found = _changes(connection, tables, program, (int(str(part[0][0])), int(str(part[-1][0]))))
        for head in part:
            rows = found.get(int(str(head[0])), [])
            cost = sum(change_size(row) for _, row in rows)
            yield _message(head, rows, later, large=cost > PUSH_BYTES_SOFT)


def message_of(
    connection: Connection, schema: Schema, program: ReplicaProgram, number: int
) -> Transaction | None:
    """One transaction of the outbox, settled or not, as it is sent; None: it is not there."""
    heads = connection.execute(TRANSACTIONS.heads, (number, number))
    if not heads:
        return None
    tables = [schema.by_name[name] for name in noted_tables(connection, program)]
    rows = _changes(connection, tables, program, (number, number)).get(number, [])
    return _message(heads[0], rows, _later_columns(connection, program), large=False)


def _step(
    connection: Connection, program: ReplicaProgram, tables: list[Table], heads: list[Row]
) -> list[Row]:
    """The next heads of which the changes are read at once: no more than memory is for."""
    part = heads[:PUSH_STEP_TRANSACTIONS]
    counts: Counter[int] = Counter()
    for table in tables:
        sql = program.tables[table.name].counts
        for number, changes in connection.execute(sql, (part[0][0], part[-1][0])):
            counts[int(str(number))] += int(str(changes))
    total = 0
    for length, head in enumerate(part):
        total += counts[int(str(head[0]))]
        if length and total > PUSH_CHANGES_MAX:
            return part[:length]
    return part


def _sent(connection: Connection, batch: list[Transaction]) -> list[Transaction]:
    connection.execute(TRANSACTIONS.set_sent, (batch[-1].number,))
    return batch


def _changes(
    connection: Connection, tables: list[Table], program: ReplicaProgram, span: tuple[int, int]
) -> dict[int, list[tuple[Table, Row]]]:
    found: dict[int, list[tuple[Table, Row]]] = {}
    for table in tables:
        statements = program.tables[table.name]
        try:
            for row in connection.iterate(statements.changes, span):
                found.setdefault(int(str(row[0])), []).append((table, row))
        except DatabaseError as error:
            if error.code != "bad_value":
                raise
            for number in range(span[0], span[1] + 1):
                found.setdefault(number, []).extend(
                    _one_by_one(connection, table, statements.changes, number)
                )
    return found


def _one_by_one(
    connection: Connection, table: Table, sql: str, number: int
) -> Iterator[tuple[Table, Row]]:
    """The changes of one transaction, when one among many has text that is not valid."""
    try:
        yield from [(table, row) for row in connection.execute(sql, (number, number))]
    except DatabaseError as error:
        if error.code != "bad_value":
            raise
        yield table, ()


def change_size(row: Row) -> int:
    """About how many bytes a noted change has as a message."""
    texts = [len(value) for value in row if isinstance(value, (str, bytes))]
    return 64 + sum(texts) + 12 * (len(row) - len(texts))


def _later_columns(connection: Connection, program: ReplicaProgram) -> Came:
    """With which generation each column came that the file was not made with."""
    came: Came = {}
    for table, column, generation in connection.execute(program.migration.added):
        came.setdefault(str(table), {})[str(column)] = int(str(generation))
    return came


def _message(head: Row, rows: list[tuple[Table, Row]], later: Came, *, large: bool) -> Transaction:
    """``later``: a message does not have the columns that came later than its generation, then or
    now, so that what was sent and is sent again is the same (I8). ``large``: its size may be over
    what a message can carry, and is looked at."""
    number, id_, at, after, replaces, void, made, first = head
    generation = int(str(made))
    changes: list[Change] = []
    code = str(void)
    try:
        if len(rows) > TRANSACTION_CHANGES_MAX:
            code = "too_many_changes"
        if not code:
            changes = [
                change_message(table, row, without=_later(later, table, generation))
                for table, row in rows
            ]
    except BadValue as error:
        code, changes = error.code, []
    message = Transaction(
        number=int(str(number)),
        id=str(id_),
        at=int(str(at)),
        after=json.loads(str(after)),
        replaces=int(str(replaces)),
        changes=changes,
        void=code,
        first=str(first),
    )
    if large and len(msgspec.json.encode(message)) > TRANSACTION_BYTES_MAX:
        return msgspec.structs.replace(message, changes=[], void="too_large")
    return message


def _later(came: Came, table: Table, generation: int) -> Collection[str]:
    """The columns of a table that came after a generation."""
    return [name for name, since in came.get(table.name, {}).items() if since > generation]


def change_message(table: Table, row: Row, *, without: Collection[str] = ()) -> Change:
    """One captured change as a message, but for columns that are left out. Raises ``BadValue``."""
    if not row:
        raise BadValue(f"{table.name} has text that is not valid Unicode")
    _, key, was, now, base, bases = row[:6]
    data = table.data_columns
    width = len(data)
    result_new: dict[str, object] = {}
    result_old: dict[str, object] = {}
    olds, news = row[6 : 6 + width], row[6 + width :]
    for place in differing(table, olds, news) if was and now else range(width):
        column, before, after = data[place], olds[place], news[place]
        if column.name in without:
            continue
        policy = policy_of(column)
        if now:
            said = policy.difference(before, after) if was else after
            result_new[column.name] = _wire(table, column, said)
        if was and policy.replaces and (old := _old(table, column, before)) is not _NONE:
            result_old[column.name] = old
    return Change(
        table=table.name,
        key=[
            _wire(table, column, value)
            for column, value in zip(table.key_columns, key_values(table, str(key)), strict=True)
        ],
        op="delete" if not now else "update" if was else "insert",
        base=int(str(base)),
        bases=json.loads(bases) if isinstance(bases, str) else {},
        new=result_new,
        old=result_old,
    )


_NONE = object()


def _old(table: Table, column: Column, value: Value) -> object:
    """A value before a change; what never could be sent was never there for anybody else."""
    try:
        return _wire(table, column, value)
    except BadValue:
        return _NONE


def _wire(table: Table, column: Column, value: Value) -> object:
    try:
        return to_wire(column.type, check(column.type, value, scale=column.scale))
    except BadValue as error:
        mended = isinstance(value, bytes) and STORAGE[column.type] == "TEXT"  # by sealing
        why = "text that is not valid UTF-8" if mended else error.message
        raise BadValue(
            f"{table.name}.{column.name}: {why}",
            code=error.code, table=table.name, column=column.name,
        ) from None  # fmt: skip
