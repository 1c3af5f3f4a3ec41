"""Groups of what other programs wrote, taken apart along what belongs together.

Knows: the notes of the outbox, and transactions with their outcomes. Must not know: messages on the
wire, or the overlay. What foreign connections committed between two exchanges is one transaction:
an accident of bookkeeping (``loose``). It travels as one while it can. It is taken apart when it is
too large, when a row of it cannot be sent, and when it is refused or held, until what stays behind
is only what is at fault: rows that refer to each other, or pass on a unique value, stay together.

The parts take the place of the group in the outbox's order; what comes after it and was never sent
moves up. What was held because of the group goes up anew, behind the parts. So a group that was
refused is taken apart only when all that was sent and rests on it is decided, some answers later.

Upholds I4 (each part names the group it replaces), I9, I16 (a transaction of ours is never taken
apart) and I27.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from holdfast.core.errors import BadValue
from holdfast.core.ids import derived_id
from holdfast.core.keys import RowPlace
from holdfast.core.limits import PUSH_BYTES_SOFT, PUSH_CHANGES_MAX, SPLIT_PARTS
from holdfast.core.values import Value
from holdfast.replica.changes.dependence import (
    NEVER,
    OutboxNotes,
    RestsOn,
    decided_numbers,
    on_other_rows,
    on_own_row,
)
from holdfast.replica.changes.outbox import change_message, change_size
from holdfast.replica.storage.database import read_state, write_state
from holdfast.schema.model import CONFLICT_TABLE, Table
from holdfast.sql.bookkeeping.statements import TRANSACTIONS
from holdfast.sql.bookkeeping.transactions import STOPPED
from holdfast.sql.names import change_table

Places = list[RowPlace]
_LOOSE, _LEFT = 1, 2
"""A group of what other programs wrote; and one that was looked at after it was stopped, and of
which all that is left belongs together."""
_NOT_KNOWN = ("too_old_to_match", "offered_otherwise")
"""Codes of what may have been done before: the parts would be done once more."""
_NEW = f"loose = {_LOOSE} AND {STOPPED}"
"""What was stopped and not looked at yet."""


@dataclass(slots=True)
class _Plan:
    """Plan for the transactions from a number on, in order."""

    split: dict[int, list[Places]] = field(default_factory=dict)
    """Of a group: its parts, which are sent as new transactions."""
    kept: set[int] = field(default_factory=set)
    """Groups of which the rest keeps the number and its outcome."""
    again: set[int] = field(default_factory=set)
    """Held ones that go up as they are, as new transactions."""


def take_apart_sealed(
    notes: OutboxNotes,
    first: int,
    unnamed: Sequence[RowPlace],
) -> None:
    """Of the loose groups from ``first`` on, which were never sent: what is too large, and what
    cannot be sent, is taken apart. ``unnamed``: rows whose key is no text."""
    plan = _Plan()
    for (number,) in notes.connection.execute(
        "SELECT number FROM holdfast_tx WHERE loose AND number >= ? ORDER BY number", (first,)
    ):
        parts = _fitting(notes, int(str(number)), unnamed)
        if len(parts) > 1:
            plan.split[int(str(number))] = parts
    _carry_out(notes, plan)
    for name, key in unnamed:
        notes.connection.execute(
            "UPDATE holdfast_tx SET void = 'bad_value' WHERE loose AND number >= ?1 AND number IN "
            f"(SELECT tx FROM {change_table(notes.schema.by_name[name])} WHERE key = ?2)",
            (first, key),
        )


def take_apart_decided(notes: OutboxNotes, *, on_move: Callable[[RowPlace], None]) -> Counter[str]:
    """Of what was refused or held and not looked at yet: loose groups are taken apart, and what was
    held because of them goes up anew. How many outcomes, of which kind, are no longer the last
    word. ``on_move``: told each row that moves, while its notes still stand in their old order.

    As long as something that rests on what was stopped is on its way, all of it waits: it is going
    to be held, and the parts have to come before it.
    """
    if not notes.connection.execute(f"SELECT 1 FROM holdfast_tx WHERE {_NEW} LIMIT 1"):
        return Counter()
    stopped = {
        int(str(number)): (
            str(state),
            loose == _LOOSE and code not in _NOT_KNOWN,
            json.loads(str(after)),
        )
        for number, state, loose, code, after in notes.connection.execute(
            "SELECT number, state, loose, code, after FROM holdfast_tx "
            f"WHERE {STOPPED} ORDER BY number"
        )
    }
    if any(
        not stopped.keys().isdisjoint(json.loads(str(after)))
        for (after,) in notes.connection.execute(
            "SELECT after FROM holdfast_tx WHERE state = 'sent' AND after <> '[]'"
        )
    ):
        return Counter()
    plan = _Plan()
    going: set[int] = set()
    """Numbers that are no longer a reason to be held."""
    for number, (state, loose, after) in stopped.items():
        causes = {one for one in after if one in stopped}
        if state == "refused":
            parts = _shares(belonging(notes, number)) if loose else []
            if len(parts) > 1:
                plan.split[number] = parts
                going.add(number)
        elif causes and causes <= going:
            plan.again.add(number)
            going.add(number)
        elif loose:
            free = _free(notes, number, causes - going)
            if free:
                plan.split[number] = [free]
                plan.kept.add(number)
    for place in _moving(notes, plan):
        on_move(place)
    _carry_out(notes, plan)
    notes.connection.execute(f"UPDATE holdfast_tx SET loose = {_LEFT} WHERE {_NEW}")
    return Counter(stopped[number][0] for number in going)


def _moving(notes: OutboxNotes, plan: _Plan) -> list[RowPlace]:
    """The rows of what gets another number though it had its outcome."""
    again = [place for number in plan.again for place, _ in _rows(notes, number)]
    return again + [place for parts in plan.split.values() for part in parts for place in part]


# --- what belongs together ----------------------------------------------------------------------


def belonging(notes: OutboxNotes, number: int) -> list[Places]:
    """The rows of a transaction, those together that refer to each other, that pass on a unique
    value, or of which one is a conflict about the other; in the order of their notes."""
    root: dict[RowPlace, RowPlace] = {place: place for place, _ in _rows(notes, number)}

    def find(place: RowPlace) -> RowPlace:
        while root[place] != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    names = {name for name, _ in root}
    for _, one, _, other in on_other_rows(notes, names, number, number, within=True):
        root[find(one)] = find(other)
    for one, other in _conflicts(notes, number):
        if other in root:
            root[find(one)] = find(other)
    groups: dict[RowPlace, Places] = {}
    for place in root:
        groups.setdefault(find(place), []).append(place)
    return list(groups.values())


def _rows(
    notes: OutboxNotes, number: int
) -> Iterator[tuple[RowPlace, tuple[Table, tuple[Value, ...]]]]:
    for table in notes.schema.all_tables:
        statements = notes.program.tables[table.name]
        for row in notes.connection.iterate(statements.changes, (number, number)):
            yield (table.name, str(row[1])), (table, row)


def _conflicts(notes: OutboxNotes, number: int) -> Iterator[tuple[RowPlace, RowPlace]]:
    for _, key, name, about in notes.connection.execute(
        "SELECT tx, key, coalesce(n_table_name, o_table_name), coalesce(n_row_key, o_row_key) "
        f"FROM holdfast_change_{CONFLICT_TABLE.name} WHERE tx = ?",
        (number,),
    ):
        yield (CONFLICT_TABLE.name, str(key)), (str(name), str(about))


def _fitting(notes: OutboxNotes, number: int, unnamed: Sequence[RowPlace]) -> list[Places]:
    """A loose group in parts that can be sent: first each row that cannot, alone, then the rest, in
    as few as can be."""
    bad: list[Places] = []
    sizes: dict[RowPlace, int] = {}
    for place, (table, row) in _rows(notes, number):
        sizes[place] = change_size(row)
        if place in unnamed or not _can_be_sent(table, row):
            bad.append([place])
    if not bad and len(sizes) <= PUSH_CHANGES_MAX and sum(sizes.values()) <= PUSH_BYTES_SOFT:
        return [list(sizes)]
    alone = {place for (place,) in bad}
    parts = bad
    part: Places = []
    cost = 0
    for whole in belonging(notes, number):
        group = [place for place in whole if place not in alone]
        size = sum(sizes[place] for place in group)
        if part and (len(part) + len(group) > PUSH_CHANGES_MAX or cost + size > PUSH_BYTES_SOFT):
            parts.append(part)
            part, cost = [], 0
        part += group
        cost += size
    return [*parts, part] if part else parts


def _can_be_sent(table: Table, row: tuple[Value, ...]) -> bool:
    try:
        change_message(table, row)
    except BadValue:
        return False
    return True


def _shares(groups: Sequence[Places]) -> list[Places]:
    """Groups in a few shares of about the same number: a bad one among n is alone after some
    rounds, however large n is."""
    count = min(len(groups), SPLIT_PARTS)
    return [[place for group in groups[index::count] for place in group] for index in range(count)]


def _free(notes: OutboxNotes, number: int, causes: set[int]) -> Places:
    """The rows of a held group that have nothing to do with what it is held by; none if all are."""
    names = {name for (name, _), _ in _rows(notes, number)}
    resting: set[RowPlace] = set()
    for table in notes.schema.all_tables:
        if table.name in names:
            for tx, key, earlier in on_own_row(notes, table, number, without=(), bases=[]):
                if tx == number and earlier in causes:
                    resting.add((table.name, key))
    for _, place, earlier, _ in on_other_rows(notes, names, number, number):
        if earlier in causes:
            resting.add(place)
    groups = belonging(notes, number)
    free = [group for group in groups if resting.isdisjoint(group)]
    return [] if len(free) == len(groups) else [place for group in free for place in group]


# --- new places in the outbox -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Move:
    old: int
    new: int
    rows: Places | None
    """Of a part; None: the whole transaction."""
    pending: bool


def _carry_out(notes: OutboxNotes, plan: _Plan) -> None:
    if not plan.split and not plan.again:
        return
    db = notes.connection
    states = {
        int(str(number)): str(state)
        for number, state in db.execute(
            "SELECT number, state FROM holdfast_tx WHERE state = 'pending' OR number >= ?",
            (min(plan.split.keys() | plan.again),),
        )
    }
    first = 1 + max(
        (number for number, state in states.items() if state != "pending"),
        default=min(states) - 1,
    )
    moves: list[_Move] = []
    for number, state in sorted(states.items()):
        if number in plan.split:
            moves += [
                _Move(number, first + len(moves) + at, rows, state == "pending")
                for at, rows in enumerate(plan.split[number])
            ]
        elif state == "pending" or number in plan.again:
            moves.append(_Move(number, first + len(moves), None, state == "pending"))
    for move in reversed(moves):  # downwards: a number is free before it is taken
        _move_notes(notes, move)
    _move_heads(notes, plan, moves)
    write_state(db, open_tx=first + len(moves))
    # ``aside``: the number that the next transaction had when this one was set aside.
    asides = db.execute("SELECT DISTINCT aside FROM holdfast_tx WHERE aside >= ?", (first,))
    for aside in sorted((int(str(one)) for (one,) in asides), reverse=True):
        later = [m.new for m in moves if m.old >= aside and m.pending]
        new = min(later, default=first + len(moves))
        db.execute("UPDATE holdfast_tx SET aside = ? WHERE aside = ?", (new, aside))
    _rest_anew(notes, first, {move.old for move in moves if move.old not in plan.kept})
    if plan.again:
        _base_anew(notes, first)


def _move_notes(notes: OutboxNotes, move: _Move) -> None:
    if move.rows is None:
        if move.old != move.new:
            for statements in notes.program.tables.values():
                notes.connection.execute(statements.renumber, (move.new, move.old))
        return
    keys: dict[str, list[str]] = defaultdict(list)
    for name, key in move.rows:
        keys[name].append(key)
    for name, some in keys.items():
        if move.old != move.new:
            notes.connection.executemany(
                notes.program.tables[name].move, [(move.new, move.old, key) for key in some]
            )


def _move_heads(notes: OutboxNotes, plan: _Plan, moves: Sequence[_Move]) -> None:
    """Ids follow from those before: a copy of the file that is taken apart has the same ones."""
    db = notes.connection
    made: dict[int, tuple[Value, ...]] = {}
    for number in plan.split:
        ((at, replaces, generation, id_),) = db.execute(
            "SELECT at, replaces, generation, id FROM holdfast_tx WHERE number = ?", (number,)
        )
        made[number] = (at, replaces, generation, id_)
        if number not in plan.kept:
            db.execute(TRANSACTIONS.remove, (number,))
    for move in reversed(moves):
        if move.rows is not None:
            at, replaces, generation, id_ = made[move.old]
            own = derived_id(str(id_), *(part for place in move.rows for part in place))
            if not move.pending:
                replaces = 0 if move.old in plan.kept else move.old
            one = (move.new, own, at, replaces, "", _LOOSE)
            db.execute(TRANSACTIONS.add, one)
            db.execute(
                "UPDATE holdfast_tx SET generation = ? WHERE number = ?", (generation, move.new)
            )
        elif move.pending:
            db.execute("UPDATE holdfast_tx SET number = ? WHERE number = ?", (move.new, move.old))
        else:
            ((id_,),) = db.execute("SELECT id FROM holdfast_tx WHERE number = ?", (move.old,))
            db.execute(
                "UPDATE holdfast_tx SET number = ?1, id = ?2, state = 'pending', replaces = ?3, "
                "code = '', message = '', field = '', held_by = 0, decided_us = NULL "
                "WHERE number = ?3",
                (move.new, derived_id(str(id_)), move.old),
            )


def _rest_anew(notes: OutboxNotes, first: int, moved: set[int]) -> None:
    """Note what the moved transactions rest on: each other by their new numbers, others as
    before.
    """
    after: RestsOn = defaultdict(set)
    decided = decided_numbers(notes.connection)
    for table in notes.schema.all_tables:
        for tx, _, earlier in on_own_row(notes, table, first, without=decided, bases=[]):
            after[tx].add(earlier)
    names = {table.name for table in notes.schema.all_tables}
    last = int(str(read_state(notes.connection, "open_tx")[0]))
    for tx, _, earlier, _ in on_other_rows(notes, names, first, last):
        if earlier not in decided:
            after[tx].add(earlier)
    rows = []
    for number, text in notes.connection.execute(
        "SELECT number, after FROM holdfast_tx WHERE number >= ?", (first,)
    ):
        before = {one for one in json.loads(str(text)) if one not in moved and one < first}
        new = sorted(before | after.get(int(str(number)), set()))
        rows.append((json.dumps(new, separators=(",", ":")), number))
    notes.connection.executemany(TRANSACTIONS.set_after, rows)


def _base_anew(notes: OutboxNotes, first: int) -> None:
    """Rebase what comes behind a part and may have been written while its group was off the
    screen: of the columns that the part is about it claims to have seen no more than the part
    did."""
    for table in notes.schema.all_tables:
        statements = notes.program.tables[table.name]
        data = table.data_columns
        width = len(data)
        inherited: dict[str, dict[str, int]] = defaultdict(dict)
        found: list[tuple[str, int, str]] = []
        rows = notes.connection.execute(statements.changes, (first, NEVER))
        for row in sorted(rows, key=lambda row: int(str(row[0]))):
            tx, key, was, now, base, text = row[:6]
            known: dict[str, int] = json.loads(text) if isinstance(text, str) else {}
            chain = inherited[str(key)]
            ground = int(str(base))
            own = known | {
                name: min(known.get(name, ground), rev) if was else rev
                for name, rev in chain.items()
            }
            if own != known:
                found.append((json.dumps(own, separators=(",", ":")), int(str(tx)), str(key)))
            defaults = [column.default_value() for column in data]
            olds = row[6 : 6 + width] if was or not now else defaults
            for column, before, after in zip(data, olds, row[6 + width :], strict=True):
                if (was and not now) or before != after or type(before) is not type(after):
                    chain[column.name] = own.get(column.name, ground)
        notes.connection.executemany(
            f"UPDATE {change_table(table)} SET bases = ? WHERE tx = ? AND key = ?", found
        )
