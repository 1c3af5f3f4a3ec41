"""Dependence of a change on earlier unsettled ones, without which it could not be.

Knows: the notes of the outbox. Must not know: messages, or who decides. A change rests on

- the value that it replaces: an earlier change of the same column or group of its row. A
  difference, such as a counter's, replaces nothing;
- the row's existence: an earlier insert of it; and an insert on the delete that freed its key;
- what it refers to: the insert of a parent; and the delete of a parent on whatever took its
  children away;
- a unique value that another row has given up.

Never merely on the same row: a sale does not wait for a refused rename (I27).
"""

from __future__ import annotations

import itertools
import json
import operator
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from holdfast.core.keys import RowPlace
from holdfast.core.limits import (
    CHAIN_PAGE_ROWS,
    CHAIN_PAGE_ROWS_MAX,
)
from holdfast.core.merging.groups import differing
from holdfast.core.merging.policies import policy_of
from holdfast.schema.model import Schema, Table
from holdfast.sql.bookkeeping.statements import TRANSACTIONS
from holdfast.sql.replica import ReplicaProgram
from holdfast.sqlite import Connection, Row

_compact = json.JSONEncoder(separators=(",", ":")).encode

RestsOn = dict[int, set[int]]
"""Of a transaction: the earlier ones that it rests on."""
NEVER = 2**62
"""A number that no transaction reaches."""


@dataclass(frozen=True, slots=True)
class OutboxNotes:
    """The notes of one replica's outbox."""

    connection: Connection
    schema: Schema
    program: ReplicaProgram


def decided_numbers(connection: Connection) -> frozenset[int]:
    """Return what has its outcome, such as what waits for a person: nothing written now rests on
    it.
    """
    return frozenset(int(str(number)) for (number,) in connection.execute(TRANSACTIONS.decided))


def sealed_now(notes: OutboxNotes, tables: Sequence[Table], first: int) -> RestsOn:
    """Return what the transactions from ``first`` on rest on, which have just been noted; their
    columns inherit the bases of what they stand on."""
    after: RestsOn = defaultdict(set)
    connection, program = notes.connection, notes.program
    ((unsettled,),) = connection.execute(TRANSACTIONS.unsettled_up_to_two)
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
    notes: OutboxNotes,
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
    columns = _Columns(table)
    texts: dict[tuple[tuple[str, int], ...], str] = {}  # most rows of a group inherit the same
    rows = notes.connection.iterate(notes.program.tables[table.name].chained, (first,))
    for _, found in itertools.groupby(rows, key=operator.itemgetter(2)):
        changes = [columns.change(row) for row in found if row[1] not in without]
        if not changes:
            continue
        wanted = {name for change in changes for name in change.claims}
        chain = _chain(notes, columns, changes[0].key, below=first, left=wanted, without=without)
        for change in changes:
            if chain.found:
                items = tuple(
                    (n, chain.inherited[n]) for n in change.claims if n in chain.inherited
                )
                text = texts.get(items)
                if text is None:
                    text = texts[items] = _compact(dict(items))
                bases.append((text, change.tx, change.key))
                rests = {chain.exists} if chain.exists else set()
                if change.updates:
                    rests.update(chain.writers[n] for n in change.touched if n in chain.writers)
                for earlier in rests:
                    yield change.tx, change.key, earlier
                change = replace(change, ground=change.rev, bases=dict(items))  # noqa: PLW2901
            chain.add(change)


@dataclass(frozen=True, slots=True)
class _Change:
    """A noted change of one row. ``updates``: the row was and is. ``touched``: columns that it
    gives other values; ``claims``: those of which it says what was seen."""

    rev: int
    tx: int
    key: str
    updates: bool
    ground: int
    bases: dict[str, int]
    touched: tuple[str, ...]
    claims: tuple[str, ...]


class _Columns:
    """The data columns of a table, and what a note says of them."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._names = tuple(column.name for column in table.data_columns)

    def change(self, row: Row) -> _Change:
        """From a row of ``chained`` or ``earlier``."""
        rev, tx, key, was, now, base, text, *values = row
        assert isinstance(rev, int) and isinstance(tx, int) and isinstance(base, int)
        width, touched = len(self._names), self._names
        if now or not was:
            olds = values[:width] if was or not now else self.table.default_data
            places = differing(self.table, olds, values[width:])
            touched = tuple(self._names[place] for place in places)
        return _Change(
            rev=rev,
            tx=tx,
            key=str(key),
            updates=bool(was and now),
            ground=base,
            bases=json.loads(text) if isinstance(text, str) else {},
            touched=touched,
            claims=touched if was and now else self._names,
        )


class _Chain:
    """Base that a next change of a row would stand on. ``found``: whether there is anything."""

    def __init__(self, columns: _Columns) -> None:
        data = columns.table.data_columns
        self._replacing = {column.name for column in data if policy_of(column).replaces}
        self._inheriting = {column.name for column in data if policy_of(column).inherits}
        self.found = False
        self.exists = 0
        self.inherited: dict[str, int] = {}
        self.writers: dict[str, int] = {}

    def add(self, change: _Change) -> None:
        """One more change, later than all before."""
        self.found = True
        if not change.updates:
            self.exists, self.writers = change.tx, {}
        for name in change.touched:
            if name in self._inheriting:
                self.inherited[name] = change.bases.get(name, change.ground)
            if change.updates and name in self._replacing:
                self.writers[name] = change.tx

    def put_below(self, change: _Change, left: set[str]) -> None:
        """One more change, earlier than all before; ``left``: columns that are still looked for."""
        self.found = True
        for name in left.intersection(change.touched):
            left.discard(name)
            if name in self._inheriting:
                self.inherited[name] = change.bases.get(name, change.ground)
            if change.updates and not self.exists and name in self._replacing:
                self.writers[name] = change.tx
        if not change.updates and not self.exists:
            self.exists = change.tx


def _chain(
    notes: OutboxNotes,
    columns: _Columns,
    key: str,
    *,
    below: int,
    left: set[str],
    without: Collection[int],
) -> _Chain:
    """Return what a row's changes from ``below`` on stand on, read from the last one downwards,
    as far as it takes to know of the columns that are ``left``: however many changes wait,
    mostly one."""
    statements = notes.program.tables[columns.table.name]
    chain, page = _Chain(columns), CHAIN_PAGE_ROWS
    while True:
        rows = notes.connection.execute(statements.earlier, (key, below, page))
        for row in rows:
            change = columns.change(row)
            below = change.tx
            if change.tx in without:
                continue
            chain.put_below(change, left)
            if not left:
                break
        else:
            if len(rows) == page:
                page = min(page * 4, CHAIN_PAGE_ROWS_MAX)
                continue
        break
    if not chain.exists and chain.found:
        for (tx,) in notes.connection.execute(statements.makers, (key, below)):
            if tx not in without:
                chain.exists = int(str(tx))
                break
    return chain


def on_other_rows(
    notes: OutboxNotes,
    touched: Collection[str],
    first: int,
    last: int,
    *,
    within: bool = False,
) -> Iterator[tuple[int, RowPlace, int, RowPlace]]:
    """Changes of the transactions from ``first`` to ``last``, each with one of another row that it
    has to do with: earlier, or ``within`` the same transaction. ``touched``: their tables."""
    params = (first, last, int(within))

    def pairs(
        child: str, parent: str, statements: Iterable[str]
    ) -> Iterator[tuple[int, RowPlace, int, RowPlace]]:
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
