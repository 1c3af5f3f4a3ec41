"""Nothing is committed that could not be sent: the size of a transaction, looked at in its commit.

Knows: the log, the outbox and the limits of a message. Must not know: when it is sent.
A bound is looked at first, which costs a read of what the transaction has just written. Only what
may be too large is sealed at once, and measured as it would travel.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from holdfast.core.errors import BadValue, ReplicaError
from holdfast.core.limits import MIB, TRANSACTION_BYTES_MAX, TRANSACTION_CHANGES_MAX
from holdfast.replica.dependence import Notes
from holdfast.replica.outbox import change_message

_encode = msgspec.json.Encoder().encode
_AROUND_BYTES = 4096
"""What a transaction has besides its changes, generously."""


def check_size(notes: Notes, *, start: int, end: int, seal: Callable[[], object]) -> None:
    """Refuse the transaction that was noted between two places of the log, if it is too large.

    Raises ``ReplicaError`` (``too_many_changes``, ``too_large``), for the caller to undo all.
    """
    if end - start <= TRANSACTION_CHANGES_MAX and _bound(notes, start) <= TRANSACTION_BYTES_MAX:
        return
    seal()
    ((number,),) = notes.connection.execute(
        "SELECT coalesce(max(number), 0) FROM holdfast_tx WHERE NOT loose"
    )
    changes, size = 0, _AROUND_BYTES
    for table in notes.schema.all_tables:
        statements = notes.program.tables[table.name]
        for row in notes.connection.iterate(statements.changes, (number, number)):
            changes += 1
            try:
                size += 1 + len(_encode(change_message(table, row)))
            except BadValue as error:
                raise ReplicaError(error.message, code=error.code) from None
    if changes > TRANSACTION_CHANGES_MAX:
        raise ReplicaError(
            f"a transaction has at most {TRANSACTION_CHANGES_MAX:,} changes, this one has "
            f"{changes:,}; commit it in several. Nothing was changed",
            code="too_many_changes", changes=changes, changes_max=TRANSACTION_CHANGES_MAX,
        )  # fmt: skip
    if size > TRANSACTION_BYTES_MAX:
        raise ReplicaError(
            f"a transaction has at most {TRANSACTION_BYTES_MAX // MIB} MiB, this one has "
            f"{size / MIB:.1f}; commit it in several. Nothing was changed",
            code="too_large", bytes=size, bytes_max=TRANSACTION_BYTES_MAX,
        )  # fmt: skip


def _bound(notes: Notes, start: int) -> int:
    total = 0
    for (name,) in notes.connection.execute(notes.program.log_tables_after, (start,)):
        weight = notes.program.tables[str(name)].log_weight
        ((most,),) = notes.connection.execute(weight, (start,))
        total += int(str(most))
    return total
