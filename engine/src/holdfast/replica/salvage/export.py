"""Work that is not settled as text: one JSON object a line for each transaction.

Knows: the outbox and the inbox. Must not know: who reads it. For people, and for what comes after a
file that nothing can read: it is no format that is read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from holdfast.core.errors import BadValue
from holdfast.replica.changes.outbox import change_message
from holdfast.replica.storage.database import LocalDatabase, reading
from holdfast.schema.model import Table
from holdfast.sql.bookkeeping.statements import TRANSACTIONS
from holdfast.sqlite import Row


def export(database: LocalDatabase, to: Path) -> int:
    """Write all transactions that are not settled, and those in the inbox; how many there are."""
    count = 0
    with reading(database.app), to.open("x", encoding="utf-8") as file:
        for line in _transactions(database):
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    return count


def _transactions(database: LocalDatabase) -> Iterator[dict[str, Any]]:
    for number, id_, state, at, after, code, message in database.app.execute(
        TRANSACTIONS.described
    ):
        yield {
            "number": number, "id": id_, "state": state, "at": at,
            "after": json.loads(str(after)), "code": code, "message": message,
            "changes": [
                _plain(table, row)
                for table in database.schema.all_tables
                for row in database.app.execute(
                    database.program.tables[table.name].changes, (number, number)
                )
            ],
        }  # fmt: skip


def _plain(table: Table, row: Row) -> dict[str, Any]:
    """A change; of one that cannot be put into a message, what can be said."""
    try:
        found: dict[str, Any] = msgspec.to_builtins(change_message(table, row))
    except BadValue as error:
        return {"table": table.name, "key": str(row[1]), "error": error.message}
    return found
