"""Replicas that an older engine made: what they hold is taken over when they are opened.

Knows: the formats of a replica's file. Must not know: what is exchanged.
Upholds I32: pending work survives an upgrade, sealed or not.

Format 1 had no log: its triggers kept the open group's notes in the outbox. They become notes of
the log, which needs no more of them than the key and the values before. An older engine that still
has the file open can write, and is captured; it cannot take in news past the log (``sql.log``).
Up to format 2 single changes were set aside: the next news set their transactions aside whole.
"""

from __future__ import annotations

from holdfast.core.values import STORAGE, Value
from holdfast.schema.model import Schema, Table
from holdfast.sql.changes import create_makers_index
from holdfast.sql.log import create_log
from holdfast.sql.names import change_table
from holdfast.sql.replica import PROGRAM_FORMAT, TX_INDEXES, ReplicaProgram
from holdfast.sqlite import Connection

FORMATS = (1, 2, PROGRAM_FORMAT)
"""The formats that can be opened."""


def take_over(connection: Connection, schema: Schema, program: ReplicaProgram) -> None:
    """Bring the file to this engine's format, inside a write transaction that renews its triggers.

    The older triggers and views must be gone by then, and the new ones not yet needed.
    """
    ((found, open_tx),) = connection.execute("SELECT format, open_tx FROM holdfast_state")
    if found == PROGRAM_FORMAT:
        return
    if found == 1:
        _take_over_notes(connection, schema, program, open_tx)
    connection.execute("ALTER TABLE holdfast_tx ADD COLUMN aside INTEGER NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE holdfast_tx ADD COLUMN loose INTEGER NOT NULL DEFAULT 0")
    for table in schema.all_tables:
        name = change_table(table)
        connection.execute(
            "UPDATE holdfast_tx SET aside = (SELECT open_tx FROM holdfast_state) WHERE number IN "
            f"(SELECT tx FROM {name} WHERE held) AND state IN ('pending', 'sent')"
        )
        connection.execute(f"ALTER TABLE {name} DROP COLUMN held")
        connection.execute(create_makers_index(table))
    for index in TX_INDEXES:
        connection.execute(index)
    connection.execute("UPDATE holdfast_state SET format = ?", (PROGRAM_FORMAT,))


def _take_over_notes(
    connection: Connection, schema: Schema, program: ReplicaProgram, open_tx: Value
) -> None:
    connection.execute("ALTER TABLE holdfast_scope ADD COLUMN told INTEGER NOT NULL DEFAULT 0")
    connection.execute(create_log(schema))
    for table in schema.all_tables:
        statements = program.tables[table.name]
        notes = connection.execute(statements.open_notes, (open_tx,))
        connection.executemany(
            statements.unlog,
            [(*_key_values(table, key), rowid) for rowid, key in notes if isinstance(key, bytes)],
        )
        connection.execute(statements.delete_group, (open_tx,))


def _key_values(table: Table, key: bytes) -> list[Value]:
    """Storage values of a key's text; text that is not UTF-8 must pass, so it stays bytes."""
    parts = [key]
    if len(table.key) > 1:
        parts = [p.replace(b"%2F", b"/").replace(b"%25", b"%") for p in key.split(b"/")]
    values: list[Value] = []
    for column, part in zip(table.key_columns, parts, strict=True):
        storage = STORAGE[column.type]
        if storage == "INTEGER":
            values.append(int(part))
        else:
            values.append(bytes.fromhex(part.decode()) if storage == "BLOB" else part)
    return values
