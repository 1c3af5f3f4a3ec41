"""Constraints of a batch in memory: decided at the end of each transaction, in order.

Knows: the rows that a batch has loaded, and what the schema demands. Must not know: SQL.
What concerns rows outside the batch is collected for a few set-based look-ups (``parents``,
``gone``) and for the database's own unique keys; when those object, the batch is decided in smaller
parts. So it never matters how transactions were batched.

A device may refer to rows that it can read, and to no others: a parent out of its sight is refused
in the words for one that does not exist. A rule's rows are the server's, and refer to what they
like.

Upholds I9, I22, I23, I27.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeVar

from holdfast.core.errors import Refuse
from holdfast.core.keys import RowPlace, key_text
from holdfast.core.values import Row, Value
from holdfast.schema.model import Check, Column, ForeignKey, Schema, Table
from holdfast.schema.reach import parent_is_seen

Unique = tuple[str, tuple[str, ...], Row]
"""A table's name, the columns of a unique key, and the values of one row in them."""
_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class ChildRow:
    """A row that refers to a parent outside the batch."""

    table: Table
    key: str
    foreign: ForeignKey
    seen: bool
    """Whether the device that pushes must be able to read the parent."""


class RowExists(Protocol):
    """Asks whether a row of the batch is there, and with ``seen``: where the device can read it.

    None when the batch does not hold the row.
    """

    def __call__(self, place: RowPlace, *, seen: bool) -> bool | None: ...


class FaultOutside(Protocol):
    """The first thing wrong with rows outside the batch: parents missing, or orphans left."""

    def __call__(
        self, parents: Mapping[RowPlace, ChildRow], gone: Iterable[RowPlace], /
    ) -> Refuse | None: ...


class Constraints:
    """Indexes over the rows of a batch, kept up to date by ``note``."""

    def __init__(self, schema: Schema, lives: RowExists, fault_outside: FaultOutside) -> None:
        self._schema = schema
        self._fault_outside = fault_outside
        self._lives = lives
        self._holders: dict[tuple[str, tuple[str, ...]], dict[Row, set[str]]] = defaultdict(dict)
        self._children: dict[tuple[str, int], dict[str, set[str]]] = defaultdict(dict)
        self._referrers: dict[str, list[tuple[Table, int]]] = defaultdict(list)
        for table in schema.tables:
            for number, foreign in enumerate(table.foreign_keys):
                self._referrers[foreign.table].append((table, number))
        self._plain = {
            table.name for table in schema.all_tables if not table.unique and not table.foreign_keys
        }
        self._seen = {
            (table.name, foreign): parent_is_seen(schema, table, foreign)
            for table in schema.tables
            for foreign in table.foreign_keys
        }
        """Foreign keys whose parents need no look: whoever may write the child knows of them."""
        self.parents: dict[RowPlace, ChildRow] = {}
        """Parents outside the batch that must be there, and one row that asks for each."""
        self.gone: set[RowPlace] = set()
        """Rows that were deleted although rows outside the batch may refer to them."""
        self.taken: dict[Unique, str] = {}
        """Unique values that transactions gave to a row, whether or not it still has them, and its
        key. The database sees only those that are left at the end."""
        self._asked: dict[RowPlace, ChildRow] = {}
        self._took: dict[Unique, str] = {}
        self._left: set[RowPlace] = set()

    def begin(self) -> None:
        """A transaction begins: forget what the last one asked for, unless it was kept."""
        self._asked = {}
        self._took = {}
        self._left = set()

    def keep(self) -> None:
        """The transaction stays, and so does what it asked for."""
        for place, asker in self._asked.items():
            if place not in self.parents or asker.seen:
                self.parents[place] = asker
        self.taken.update(self._took)
        self.gone |= self._left

    def note(self, table: Table, key: str, before: Row | None, after: Row | None) -> None:
        """A row of the batch is now ``after``."""
        if table.name in self._plain or before == after:
            return
        for row, add in ((before, False), (after, True)):
            if row is None:
                continue
            for columns in table.unique:
                held = tuple(row[table.positions[name]] for name in columns)
                if None not in held:
                    _move(self._holders[table.name, columns], held, key, add=add)
            for number, foreign in enumerate(table.foreign_keys):
                parent = self.parent_key(table, foreign, row)
                if parent is not None:
                    _move(self._children[table.name, number], parent, key, add=add)

    def parent_key(self, table: Table, foreign: ForeignKey, row: Sequence[Value]) -> str | None:
        held = [row[table.positions[name]] for name in foreign.columns]
        if None in held:
            return None
        return key_text(self._schema.by_name[foreign.table], held)

    def check(
        self, touched: Iterable[tuple[Table, str, Row | None, Row | None]], *, seen: bool = False
    ) -> None:
        """Check the rows a transaction has touched: before it and now. Raises ``Refuse``.

        What it has left as it was is not its fault, and is not checked. ``seen``: a device has
        written them, so their parents must be rows that it can read.
        """
        found = list(touched)
        for table, key, before, row in found:
            if row is None:
                self._check_children(table, key)
                continue
            for check in table.checks:
                if _differs(table, (check.column,), before, row):
                    _check(table, check, row)
            if table.name not in self._plain:
                self._check_parents(table, key, before, row, seen=seen)
        try:
            for table, key, before, row in found:
                if row is not None and table.name not in self._plain:
                    self._check_unique(table, key, before, row)
        except Refuse:
            # Alone, the transaction would fail by what it refers to before the database looks at
            # its unique values: the reason must be the same in a batch.
            fault = self._fault_outside(self._asked, self._left)
            if fault is None:
                raise
            raise fault from None

    def _check_unique(self, table: Table, key: str, before: Row | None, row: Row) -> None:
        for columns in table.unique:
            if not _differs(table, columns, before, row):
                continue
            held = tuple(row[table.positions[name]] for name in columns)
            if len(self._holders[table.name, columns].get(held, ())) > 1:
                raise unique_refusal(table.name, columns, key)
            if None not in held:
                self._took[table.name, columns, held] = key

    def holds(self, unique: Unique) -> bool:
        """Return whether a row of the batch has these unique values now."""
        name, columns, held = unique
        return held in self._holders[name, columns]

    def _check_parents(
        self, table: Table, key: str, before: Row | None, row: Row, *, seen: bool
    ) -> None:
        for foreign in table.foreign_keys:
            if not _differs(table, foreign.columns, before, row):
                continue
            parent = self.parent_key(table, foreign, row)
            if parent is None:
                continue
            look = seen and not self._seen[table.name, foreign]
            lives = self._lives((foreign.table, parent), seen=look)
            if lives is None:
                asked = self._asked.get((foreign.table, parent))
                if asked is None or (look and not asked.seen):
                    self._asked[foreign.table, parent] = ChildRow(table, key, foreign, look)
            elif not lives:
                raise parent_refusal(table, foreign, key)

    def _check_children(self, table: Table, key: str) -> None:
        for child, number in self._referrers.get(table.name, ()):
            if self._children[child.name, number].get(key):
                raise child_refusal(table, key)
        if self._referrers.get(table.name):
            self._left.add((table.name, key))

    def referrers(self, table: str) -> Iterable[tuple[Table, ForeignKey]]:
        """Tables and foreign keys that refer to a table."""
        return [(child, child.foreign_keys[n]) for child, n in self._referrers.get(table, ())]


def _differs(table: Table, columns: Sequence[str], before: Row | None, row: Row) -> bool:
    return before is None or any(
        before[table.positions[name]] != row[table.positions[name]] for name in columns
    )


def _move(index: dict[_K, set[str]], held: _K, key: str, *, add: bool) -> None:
    if add:
        index.setdefault(held, set()).add(key)
        return
    keys = index.get(held)
    if keys is not None:
        keys.discard(key)
        if not keys:
            del index[held]


def unique_refusal(table: str, columns: Sequence[str], key: str = "") -> Refuse:
    """Another row has these values."""
    return Refuse(
        "unique", f"{table}: another row has the same {' and '.join(columns)}.",
        field=columns[0], table=table, key=key, columns=list(columns),
    )  # fmt: skip


def parent_refusal(table: Table, foreign: ForeignKey, key: str) -> Refuse:
    """A row refers to one that is not there."""
    return Refuse(
        "foreign_key",
        f"{table.name}: {' and '.join(foreign.columns)} refers to a row of {foreign.table} "
        "that does not exist.",
        field=foreign.columns[0], table=table.name, key=key, columns=list(foreign.columns),
    )  # fmt: skip


def child_refusal(table: Table, key: str) -> Refuse:
    """A row is still referred to: from where, a device that cannot read those rows is not told."""
    return Refuse(
        "foreign_key", f"{table.name}: other rows still refer to this row.",
        table=table.name, key=key,
    )  # fmt: skip


def _check(table: Table, check: Check, row: Row) -> None:
    column = table.by_name[check.column]
    value = row[table.positions[check.column]]
    if value is None or _passes(check, column, value):
        return
    wanted = {
        "range": f"must be from {_bound(check.min)} to {_bound(check.max)}",
        "length": f"must have {_bound(check.min)} to {_bound(check.max)} characters",
        "one_of": f"must be one of {', '.join(check.values)}",
        "not_empty": "must not be empty",
    }[check.kind]
    raise Refuse(
        "check", f"{table.name}: {check.column} {wanted}.", field=check.column, table=table.name
    )


def _bound(value: int | None) -> str:
    return "any" if value is None else str(value)


def _passes(check: Check, column: Column, value: Value) -> bool:
    if check.kind == "one_of":
        return str(value) in check.values
    size: int | float | Decimal
    if check.kind == "range":
        if isinstance(value, str):
            if column.type != "decimal":
                return True  # left to the database
            size = Decimal(value)
        else:
            assert isinstance(value, (int, float))
            size = value
    else:
        size = len(value) if isinstance(value, (str, bytes)) else len(str(value))
        if check.kind == "not_empty":
            return size > 0
    return (check.min is None or size >= check.min) and (check.max is None or size <= check.max)
