"""A batch of rows in memory: loaded at once, merged in order, written at once.

Knows: stored rows, merging and constraints. Must not know: devices, rights or messages.
Changes are made within a transaction of the batch (``begin``, ``keep`` or ``undo``), so that one
that is refused leaves no trace. ``flush`` writes what is different at the end; a row that several
transactions have changed is written once.

Upholds I13, I14, I16 (a transaction is in the batch whole or not at all), I22.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from holdfast.core.errors import ConstraintFailed, Refuse
from holdfast.core.keys import RowPlace, key_values
from holdfast.core.merging.merge import Author, Merged, RowChange, merge
from holdfast.core.merging.policies import policy_of
from holdfast.core.merging.rows import (
    ABSENT,
    INCARNATION_MAX,
    ServerRow,
    dump_stamps,
    load_stamps,
    next_rev,
)
from holdfast.core.values import Row, Value
from holdfast.schema.model import CONFLICT_TABLE, Schema, Table
from holdfast.server.feed.feed import Touched, scopes_of
from holdfast.server.merging.access import Access
from holdfast.server.merging.constraints import (
    ChildRow,
    Constraints,
    Unique,
    child_refusal,
    parent_refusal,
    unique_refusal,
)
from holdfast.server.store.contract import RowRecord, StoredRow, Writer

SERVER = "server"
"""The device and user that stand for writes made on the server itself."""


@dataclass(slots=True)
class _Entry:
    """One row: as stored, as it is in the user's table now, and as the batch has it."""

    stored: ServerRow
    written: Row | None
    current: ServerRow
    own: bool = True
    """Whether its sender knows what became of it: nothing but plain changes made on what stood."""


class NotTakenIn(Exception):
    """Rows were written directly and have no record yet: their notes have to be taken in first."""

    def __init__(self, table: str, keys: list[str]) -> None:
        super().__init__(table, keys)
        self.rows = {table: keys}


def server_row(stored: StoredRow | None, counts_from: int = 0) -> ServerRow:
    """Return what the merge knows of a stored row. ``counts_from``: see ``Epochs``."""
    if stored is None:
        return replace(ABSENT, counts_from=counts_from) if counts_from else ABSENT
    if not stored.stamps:
        return ServerRow(0, stored.values, None, None, {}, None, counts_from)
    row, columns, deleted = load_stamps(stored.stamps)
    return ServerRow(stored.rev, stored.values, stored.image, row, columns, deleted, counts_from)


def has_manual(table: Table) -> bool:
    """Return whether rows of a table can have open conflicts."""
    return table.on_delete == "manual" or any(c.merge == "manual" for c in table.columns)


class Batch:
    """The rows of a batch."""

    def __init__(
        self,
        writer: Writer,
        schema: Schema,
        random_bytes: Callable[[int], bytes],
        *,
        access: Access | None = None,
    ) -> None:
        """``access``: of the device that pushes; without it, all rows may be referred to."""
        self._access = access
        self.writer = writer
        self.schema = schema
        self.random_bytes = random_bytes
        self.constraints = Constraints(schema, self._lives, self._fault_outside)
        self._rows: dict[RowPlace, _Entry] = {}
        self._undo: dict[RowPlace, ServerRow] = {}
        self._open_conflicts: dict[RowPlace, dict[str, None]] = defaultdict(dict)
        self.manual = {table.name for table in schema.tables if has_manual(table)}
        """Tables whose rows can have open conflicts."""

    # Rows

    def load(self, table: Table, keys: Iterable[str]) -> None:
        """Read rows that the batch does not hold yet, and the open conflicts about them. Raises
        ``NotTakenIn``."""
        missing = [key for key in dict.fromkeys(keys) if (table.name, key) not in self._rows]
        if not missing:
            return
        found = self.writer.stored(table, missing)
        rows = {key: server_row(found.get(key), self.writer.counts_from) for key in missing}
        noted = [key for key, row in rows.items() if row.values is not None and row.rev == 0]
        if noted:
            raise NotTakenIn(table.name, noted)
        for key, row in rows.items():
            self.hold(table, key, stored=row, written=row.values, current=row)
        self.load_conflicts(table, missing)

    def hold(
        self, table: Table, key: str, *, stored: ServerRow, written: Row | None, current: ServerRow
    ) -> None:
        """Take a row into the batch. ``written``: what the user's table has now."""
        self._rows[table.name, key] = _Entry(stored, written, current)
        self.constraints.note(table, key, None, current.values)
        if table is CONFLICT_TABLE and current.values is not None:
            self._index_conflict(key, current.values)

    def take(self, table: Table, key: str, before: ServerRow, now: ServerRow) -> None:
        """Take in a row that was written directly: as it was, and as it is in the user's table."""
        self.hold(table, key, stored=before, written=now.values, current=before)
        self._set(table, key, now)

    def load_conflicts(self, table: Table, keys: Iterable[str]) -> None:
        """Read the open conflicts about rows."""
        if table.name in self.manual:
            self.load(CONFLICT_TABLE, self.writer.open_conflicts(table.name, list(keys)))

    def get(self, table: Table, key: str) -> ServerRow:
        """A row as the batch has it; read now if need be."""
        entry = self._rows.get((table.name, key))
        if entry is None:
            self.load(table, [key])
            entry = self._rows[table.name, key]
        return entry.current

    def _lives(self, place: RowPlace, *, seen: bool) -> bool | None:
        entry = self._rows.get(place)
        if entry is None:
            return None
        return self._is_there(place[0], entry.current.values, seen=seen)

    def _is_there(self, name: str, row: Row | None, *, seen: bool) -> bool:
        """Return whether a row lives, and with ``seen``: where the device can read it."""
        if row is None or self._access is None or not seen:
            return row is not None
        return self._access.sees(self.schema.by_name[name], row)

    def _set(self, table: Table, key: str, row: ServerRow, *, own: bool = False) -> None:
        entry = self._rows[table.name, key]
        entry.own = entry.own and own
        self._undo.setdefault((table.name, key), entry.current)
        self.constraints.note(table, key, entry.current.values, row.values)
        entry.current = row

    def merge(
        self,
        change: RowChange,
        author: Author,
        *,
        settled: frozenset[str] = frozenset(),
    ) -> Merged:
        """Merge a change into its row. Raises ``Refuse``."""
        row = self.get(change.table, change.key)
        incarnation = 1
        if row.rev == 0:
            incarnation += int.from_bytes(self.random_bytes(3), "big") % INCARNATION_MAX
        merged = merge(row, change, author, incarnation=incarnation, settled=settled)
        if merged.row is not row:
            stood = self._rows[change.table.name, change.key].stored.rev
            own = merged.plain and change.base == stood
            if change.bases:
                own = own and all(base == stood for base in change.bases.values())
            self._set(change.table, change.key, merged.row, own=own)
        return merged

    def put(self, table: Table, key: str, new: Mapping[str, Value], author: Author) -> None:
        """Write columns of a row, or a whole new row, on top of everything that stands."""
        row = self.get(table, key)
        values = dict(new) if row.values is None else difference(table, row.values, new)
        if row.values is not None and not values:
            return
        change = RowChange(
            table=table,
            key=key,
            key_values=key_values(table, key),
            op="insert" if row.values is None else "update",
            base=row.rev,
            bases={},
            new=values,
            old={},
        )
        self.merge(change, author, settled=frozenset(values))
        self._rows[table.name, key].own = False
        if table is CONFLICT_TABLE:
            current = self.get(table, key).values
            assert current is not None, "a conflict that was just written is there"
            self._index_conflict(key, current)

    def renew(self, table: Table, key: str, before: ServerRow) -> None:
        """Give a row a new revision if it still has the one of ``before``, so that all devices are
        told of it."""
        row = self.get(table, key)
        if row.rev == before.rev and row.values is not None:
            self._set(table, key, replace(row, rev=next_rev(row, 0)))

    # Open conflicts

    def _index_conflict(self, key: str, row: Row) -> None:
        place = str(_cell(row, "table_name")), str(_cell(row, "row_key"))
        self._open_conflicts[place][key] = None

    def open_conflicts(self, table: Table, key: str) -> list[tuple[str, Row]]:
        """Key and values of the open conflicts about a row of the batch, the oldest first: in the
        order of their keys, whichever was loaded first."""
        found = []
        for conflict in sorted(self._open_conflicts.get((table.name, key), ())):
            values = self.get(CONFLICT_TABLE, conflict).values
            if values is not None and _cell(values, "state") == "open":
                found.append((conflict, values))
        return found

    # Transactions of the batch

    def begin(self) -> None:
        self._undo = {}
        self.constraints.begin()

    def keep(self) -> None:
        """Keep everything that was changed since ``begin``."""
        self._undo = {}
        self.constraints.keep()

    def undo(self) -> None:
        """Take back what was changed since ``begin``."""
        for (name, key), before in self._undo.items():
            entry = self._rows[name, key]
            table = self.schema.by_name[name]
            self.constraints.note(table, key, entry.current.values, before.values)
            entry.current = before
            entry.own = False
        self.begin()

    def touched(self) -> Iterator[tuple[Table, str, ServerRow, ServerRow]]:
        """Table, key, and the row before and now, of what was changed since ``begin``."""
        for (name, key), before in self._undo.items():
            yield self.schema.by_name[name], key, before, self._rows[name, key].current

    def check(self, *, seen: bool = False) -> None:
        """Check what was changed since ``begin``. Raises ``Refuse``.

        ``seen``: the device has made all of it, and may refer to rows that it can read.
        """
        self.constraints.check(
            (
                (table, key, before.values, now.values)
                for table, key, before, now in self.touched()
                if now.values is not None or before.values is not None
            ),
            seen=seen,
        )

    # Writing

    def write_accepted(self) -> None:
        """Write the user's tables as they were at ``begin``, for a rule that reads them."""
        self._write({place: self._undo.get(place) for place in self._rows})

    def _write(self, states: Mapping[RowPlace, ServerRow | None]) -> None:
        gone: dict[str, list[str]] = defaultdict(list)
        rows: dict[str, list[Row]] = defaultdict(list)
        for place, state in states.items():
            entry = self._rows[place]
            values = (entry.current if state is None else state).values
            before = entry.written
            if values == before:
                continue
            name, key = place
            table = self.schema.by_name[name]
            if values is None:
                gone[name].append(key)
            else:
                if before is not None and _unique_differs(table, before, values):
                    gone[name].append(key)
                rows[name].append(values)
            entry.written = values
        for name in sorted({*gone, *rows}):
            self.writer.write(self.schema.by_name[name], first_gone=gone[name], rows=rows[name])

    def flush(self) -> list[Touched]:
        """Write everything but the feeds; what they need is returned.

        Raises ``ConstraintFailed`` when rows outside the batch stand against it.
        """
        self._check_outside()
        self._write(dict.fromkeys(self._rows))
        records: dict[str, list[RowRecord]] = defaultdict(list)
        touched: list[Touched] = []
        for (name, key), entry in self._rows.items():
            stored, current = entry.stored, entry.current
            if current is stored:
                continue
            image = current.image if current.values is None else None
            records[name].append(RowRecord(key, current.rev, dump_stamps(current), image))
            if current.rev != stored.rev:
                table = self.schema.by_name[name]
                before, after = scopes_of(table, stored.values), scopes_of(table, current.values)
                own = entry.own and not table.has_corrected and table is not CONFLICT_TABLE
                rev = current.rev if own and len(after) == 1 and before in ((), after) else 0
                touched.append(Touched(table, key, before, after, current.values, rev))
        for name, items in sorted(records.items()):
            self.writer.put_records(self.schema.by_name[name], items)
        return touched

    def _check_outside(self) -> None:
        fault = self._fault_outside(self.constraints.parents, ())
        if fault is not None:
            raise failed(fault)
        for unique, taker in self.constraints.taken.items():
            if not self.constraints.holds(unique):
                self._check_passing(unique, taker)
        fault = self._fault_outside({}, self.constraints.gone)
        if fault is not None:
            raise failed(fault)

    def _fault_outside(
        self, parents: Mapping[RowPlace, ChildRow], gone: Iterable[RowPlace]
    ) -> Refuse | None:
        """Return what is wrong with rows outside the batch: parents that are missing, orphans
        left.
        """
        wanted: dict[str, list[str]] = defaultdict(list)
        missing: list[RowPlace] = []
        for place, asker in parents.items():
            entry = self._rows.get(place)
            if entry is None:
                wanted[place[0]].append(place[1])
            elif not self._is_there(place[0], entry.stored.values, seen=asker.seen):
                missing.append(place)
        for name, keys in wanted.items():
            there = self._there(name, keys, parents)
            missing += [(name, key) for key in keys if key not in there]
        if missing:
            asker = parents[missing[0]]
            return parent_refusal(asker.table, asker.foreign, asker.key)
        held = Counter(name for name, _ in self._rows)
        for name, key in gone:
            if self._leaves_orphans(self.schema.by_name[name], key, held):
                return child_refusal(self.schema.by_name[name], key)
        return None

    def _there(self, name: str, keys: list[str], parents: Mapping[RowPlace, ChildRow]) -> set[str]:
        """Return which rows outside the batch live, and can be read where they must be."""
        table = self.schema.by_name[name]
        looked: list[str] = []
        if self._access is not None and not self._access.sees_all(table):
            looked = [key for key in keys if parents[name, key].seen]
        there = self.writer.existing(table, [key for key in keys if key not in set(looked)])
        for key, _rev, row in self.writer.rows(table, looked):
            if self._is_there(name, row, seen=True):
                there.add(key)
        return there

    def _check_passing(self, unique: Unique, taker: str) -> None:
        """Values that a row had only between two transactions: alone, the first would have
        failed."""
        name, columns, held = unique
        holder = self.writer.holder(self.schema.by_name[name], columns, held)
        if holder is not None and (name, holder) not in self._rows:
            raise failed(unique_refusal(name, columns, taker))

    def _leaves_orphans(self, table: Table, key: str, held: Mapping[str, int]) -> bool:
        for child, foreign in self.constraints.referrers(table.name):
            limit = held.get(child.name, 0) + 1
            orphans = self.writer.children(child, foreign, key_values(table, key), limit)
            if any((child.name, orphan) not in self._rows for orphan in orphans):
                return True
        return False


def failed(refusal: Refuse) -> ConstraintFailed:
    """A refusal as the failure of a whole batch, to be decided in smaller parts."""
    return ConstraintFailed(
        refusal.message, kind=refusal.code, field=refusal.field, **refusal.detail
    )


def _cell(row: Row, name: str) -> Value:
    return row[CONFLICT_TABLE.positions[name]]


def difference(table: Table, row: Row, new: Mapping[str, Value]) -> dict[str, Value]:
    """Return what a change must hold so that a row becomes ``new``, by policy; of a group, all
    columns.
    """
    values: dict[str, Value] = {}
    for group in table.groups:
        places = {name: row[table.positions[name]] for name in group}
        if any(new.get(name, value) != value for name, value in places.items()):
            values |= {name: new.get(name, value) for name, value in places.items()}
    for name, value in new.items():
        before = row[table.positions[name]]
        if before == value:
            continue
        values[name] = policy_of(table.by_name[name]).difference(before, value)
    return values


def _unique_differs(table: Table, before: Row, after: Row) -> bool:
    return any(
        before[table.positions[name]] != after[table.positions[name]]
        for columns in table.unique
        for name in columns
    )
