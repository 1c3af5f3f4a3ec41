"""Acknowledged work that is kept until a backup of the server has it.

Knows: messages, and what is kept of them. Must not know: when an exchange is made.
A server that is restored from a backup lacks what came after it. The devices that have made it have
it still, as it was sent, and offer it again. What a backup has is given up, and what is older than
some days or more than some bytes, the oldest first. What a backup has is kept for two days all the
same: that one may turn out to be no good, and the one before it is restored.

Upholds I5 and I31.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

import msgspec

from holdfast.core.keys import key_text
from holdfast.core.limits import (
    KEPT_BYTES_MAX,
    KEPT_SAVED_US,
    KEPT_STEP_ROWS,
    KEPT_US,
    PUSH_BYTES_SOFT,
    PUSH_CHANGES_MAX,
    PUSH_TRANSACTIONS_MAX,
)
from holdfast.core.merging.policies import policy_of
from holdfast.core.values import Value, from_wire
from holdfast.protocol.messages import Change, Outcome, Transaction
from holdfast.replica.storage.database import read_state, write_state
from holdfast.schema.model import Column, Schema, Table
from holdfast.sql.bookkeeping.statements import KEPT, TRANSACTIONS
from holdfast.sql.replica import ReplicaProgram
from holdfast.sqlite import Connection

AWAITED = ("row_gone", "foreign_key")
"""Codes with which work that is held waits for rows that another device is to offer again."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Transaction).decode


def keep(
    connection: Connection, sent: Iterable[tuple[Transaction, int]], *, decided_us: int
) -> None:
    """Keep transactions that were applied, each with the generation it was made under."""
    rows = [
        (one.number, one.id, one.at, decided_us, generation, _encode(one).decode())
        for one, generation in sent
    ]
    connection.executemany(KEPT.put, rows)
    connection.execute(KEPT.add_bytes, (sum(len(row[-1].encode()) for row in rows),))


def give_up(connection: Connection, *, backed_up: int, now_us: int) -> None:
    """Give up what a backup has for some time, or what has waited for one too long: a step of
    it."""
    known, kept_bytes, lost = (
        int(str(value)) for value in read_state(connection, "backed_up", "kept_bytes", "kept_lost")
    )
    if backed_up > known:
        write_state(connection, backed_up=backed_up)
    up_to, freed, unsaved = 0, 0, 0
    step = 1
    while True:
        found = connection.execute(KEPT.first, (step,))
        for number, decided, size, again in found:
            saved = int(str(number)) <= max(known, backed_up)
            old = int(str(decided)) < now_us - (KEPT_SAVED_US if saved else KEPT_US)
            if again or not (old or kept_bytes - freed > KEPT_BYTES_MAX):
                break
            up_to, freed = int(str(number)), freed + int(str(size))
            unsaved += not saved
        if not up_to or step > 1:
            break
        step, up_to, freed, unsaved = KEPT_STEP_ROWS, 0, 0, 0
    if up_to:
        connection.execute(KEPT.remove, (up_to,))
        connection.execute(KEPT.add_bytes, (-freed,))
    if unsaved:
        write_state(connection, kept_lost=lost + unsaved)


def forget_rows(connection: Connection, schema: Schema, rows: Collection[tuple[str, str]]) -> None:
    """Forget what was done to rows (table and key) that may not be here any longer."""
    for number, body in connection.execute(KEPT.bodies):
        changes = _decode(str(body)).changes
        if any(
            change.table in schema.by_name
            and (change.table, _key(schema.by_name[change.table], change)) in rows
            for change in changes
        ):
            connection.execute(KEPT.add_bytes, (-len(str(body).encode()),))
            connection.execute(KEPT.drop, (number,))


def offered_again(connection: Connection) -> list[Transaction]:
    """The next ones to go up of what is offered again, as they were sent then."""
    batch: list[Transaction] = []
    changes_left, bytes_left = PUSH_CHANGES_MAX, PUSH_BYTES_SOFT
    for _, _, _, body in connection.iterate(KEPT.offered, (PUSH_TRANSACTIONS_MAX,)):
        one = _decode(str(body))
        changes_left -= len(one.changes)
        bytes_left -= len(str(body))
        if batch and (changes_left < 0 or bytes_left < 0):
            break
        batch.append(one)
    return batch


def awaited(outcome: Outcome) -> Outcome:
    """The outcome of what was made before the server went back, as it is noted: what rests on a row
    that its maker has not offered again yet waits for that."""
    if outcome.outcome != "refused" or outcome.code not in AWAITED:
        return outcome
    return msgspec.structs.replace(outcome, outcome="held")


def put_back(connection: Connection, schema: Schema, program: ReplicaProgram, number: int) -> None:
    """Make one a transaction of the outbox again, as sent: it was not taken, and a person has to
    see it. What it did not say of a row is as the row is now."""
    ((body, generation),) = connection.execute(KEPT.body, (number,))
    one = _decode(str(body))
    connection.execute(
        TRANSACTIONS.put_back,
        (one.number, one.id, one.at, json.dumps(one.after), one.replaces, generation),
    )
    for change in one.changes:
        table = schema.by_name.get(change.table)
        if table is None:
            continue
        statements = program.tables[table.name]
        key = change_key(table, change)
        found = connection.execute(statements.select_row, key)
        old, new = change_images(table, change, found[0] if found else None)
        connection.execute(
            statements.put_change,
            (
                number, key_text(table, key), int(change.op != "insert"),
                int(change.op != "delete"), change.base, json.dumps(change.bases), *old, *new,
            ),
        )  # fmt: skip
        connection.execute(program.add_noted, (table.name,))
    connection.execute(KEPT.add_bytes, (-len(str(body).encode()),))
    connection.execute(KEPT.drop, (number,))


def change_images(
    table: Table, change: Change, row: tuple[Value, ...] | None
) -> tuple[list[Value], list[Value]]:
    """A change's data columns before and after it."""
    old: list[Value] = []
    new: list[Value] = []
    for column in table.data_columns:
        stands = column.default_value() if row is None else row[table.positions[column.name]]
        before = after = stands
        if column.name in change.old:
            before = _stored(column, change.old[column.name])
        if column.name in change.new:
            said = change.new[column.name]
            after = _stored(column, said)
            policy = policy_of(column)
            if change.op == "update" and not policy.replaces:
                before, after = policy.between(after)
        old.append(None if change.op == "insert" else before)
        new.append(None if change.op == "delete" else after)
    return old, new


def change_key(table: Table, change: Change) -> list[Value]:
    """The values of the key of a change's row."""
    return [_stored(one, value) for one, value in zip(table.key_columns, change.key, strict=True)]


def _key(table: Table, change: Change) -> str:
    return key_text(table, change_key(table, change))


def _stored(column: Column, wire: object) -> Value:
    return from_wire(column.type, wire, scale=column.scale)
