"""What a change rests on: the earlier unsettled ones without which it could not be.

Knows: the notes of the outbox. Must not know: messages, or who decides. A change rests on

- the value that it replaces: an earlier change of the same column or group of its row. Differences
  of a counter replace nothing;
- the row's existence: an earlier insert of it; and an insert on the delete that freed its key;
- what it refers to: the insert of a parent; and the delete of a parent on whatever took its
  children away;
- a unique value that another row has given up.

Never merely on the same row: a sale does not wait for a refused rename (I27).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from holdfast.replica.overlay import differing
from holdfast.schema.model import Schema, Table
from holdfast.sql.replica import ReplicaProgram
from holdfast.sqlite import Connection

_compact = json.JSONEncoder(separators=(",", ":")).encode

Place = tuple[str, str]
"""A row: its table's name and its key's text."""
After = dict[int, set[int]]
"""Of a transaction: the earlier ones that it rests on."""
NEVER = 2**62
"""A number that no transaction reaches."""


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes of one replica's outbox."""

    connection: Connection
    schema: Schema
    program: ReplicaProgram


def decided_numbers(connection: Connection) -> frozenset[int]:
    """What has its outcome, such as what waits for a person: nothing written now rests on it."""
    return frozenset(
        int(str(number))
        for (number,) in connection.execute(
            "SELECT number FROM holdfast_tx WHERE state NOT IN ('pending', 'sent')"
        )
    )


def sealed_now(notes: Notes, tables: Sequence[Table], first: int) -> After:
    """What the transactions from ``first`` on rest on, which have just been noted; their columns
    inherit the bases of what they stand on."""
    after: After = defaultdict(set)
    connection, program = notes.connection, notes.program
    ((unsettled,),) = connection.execute(
        "SELECT count(*) FROM "
        "(SELECT 1 FROM holdfast_tx WHERE state IN ('pending', 'sent') LIMIT 2)"
    )
    if unsettled == 1:  # the new one alone
        return after
    decided = decided_numbers(connection)
    for table in tables:
        bases: list[tuple[str, int, str]] = []
        for tx, _, earlier in on_own_row(notes, table, first, without=decided, bases=bases):
            after[tx].add(earlier)
        connection.executemany(program.tables[table.name].set_bases, bases)
    names = {table.name for table in tables}
    for tx, _, earlier, _ in on_other_rows(notes, names, first, NEVER):
        if earlier not in decided:
            after[tx].add(earlier)
    return after


def on_own_row(
    notes: Notes,
    table: Table,
    first: int,
    *,
    without: Collection[int],
    bases: list[tuple[str, int, str]],
) -> Iterator[tuple[int, str, int]]:
    """Transaction from ``first`` on, key, and an earlier one that it rests on, by its own rows.

    ``without``: numbers that count for nothing. ``bases``: takes what ``set_bases`` needs. The base
    of a change is the revision the person saw. What they saw may have been their own unsettled
    change, which itself was based on an older revision. The default of an insert is no change:
    where nobody has chosen, they saw the row itself.
    """
    width = len(table.data_columns)
    columns = [(column.name, column.merge == "counter") for column in table.data_columns]
    texts: dict[tuple[tuple[str, int], ...], str] = {}  # most rows of a group inherit the same
    inherited: dict[str, int] = {}
    writers: dict[str, int] = {}
    last_key, last, exists = "", 0, 0
    chained = notes.program.tables[table.name].chained
    for rev, tx, key, was, now, base, own_bases, *values in notes.connection.iterate(
        chained, (first,)
    ):
        assert isinstance(tx, int) and isinstance(key, str)
        if tx in without:
            continue
        if key != last_key:
            inherited, writers, last_key, last, exists = {}, {}, key, 0, 0
        own = json.loads(own_bases) if isinstance(own_bases, str) else {}
        ground = base
        olds = values[:width] if was or not now else table.default_data
        touched = columns
        if now or not was:
            touched = [columns[place] for place in differing(table, olds, values[width:])]
        if tx >= first and last:
            ground, own = rev, dict(inherited)
            items = tuple(inherited.items())
            text = texts.get(items)
            if text is None:
                text = texts[items] = _compact(inherited)
            bases.append((text, tx, key))
            rests = {exists} if exists else set()
            if was and now:
                rests.update(writers[name] for name, _ in touched if name in writers)
            for earlier in rests:
                yield tx, key, earlier
        last = tx
        if was != now:
            exists, writers = tx, {}
        assert isinstance(ground, int)
        for name, is_counter in touched:
            inherited[name] = own.get(name, ground)
            if was == now and not is_counter:
                writers[name] = tx


def on_other_rows(
    notes: Notes,
    touched: Collection[str],
    first: int,
    last: int,
    *,
    within: bool = False,
) -> Iterator[tuple[int, Place, int, Place]]:
    """Changes of the transactions from ``first`` to ``last``, each with one of another row that it
    has to do with: earlier, or ``within`` the same transaction. ``touched``: their tables."""
    params = (first, last, int(within))

    def pairs(
        child: str, parent: str, statements: Iterable[str]
    ) -> Iterator[tuple[int, Place, int, Place]]:
        for sql in statements:
            for tx, key, other, other_key in notes.connection.execute(sql, params):
                yield int(str(tx)), (child, str(key)), int(str(other)), (parent, str(other_key))

    for table in notes.schema.all_tables:
        name, statements = table.name, notes.program.tables[table.name]
        for number, reference in enumerate(table.foreign_keys):
            if name in touched:
                yield from pairs(name, reference.table, (statements.made[number],))
            if reference.table in touched:
                yield from pairs(reference.table, name, (statements.released[number],))
        if name in touched:
            yield from pairs(name, name, filter(None, statements.freed))
