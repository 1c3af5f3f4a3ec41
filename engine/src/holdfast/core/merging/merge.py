"""The server's merge: one arriving change of one row, applied to what the server knows of it.

Knows: rows that live, are deleted or never were, and delete against edit. What becomes of each
cell, a column or a group of columns, is up to ``policies``. Must not know: SQL, messages, clocks,
or what else is in the transaction. Nothing given is ever changed; the same arguments give the same
result.

Upholds I14 (untouched columns and rows survive), I18 (different columns both survive, the loser is
on record), I19 (nothing comes back by replay) and, by ``policies``, I21.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.errors import Refuse
from holdfast.core.merging import groups
from holdfast.core.merging.cells import (
    Author,
    Cell,
    Decision,
    OpenConflict,
    RowChange,
    decision,
    made_on_another,
)
from holdfast.core.merging.policies import policy_of
from holdfast.core.merging.rows import (
    INSERTED,
    ROW,
    ServerRow,
    Stamp,
    base_in,
    is_of_another_row,
    next_rev,
    stamp_of,
)
from holdfast.core.values import Value, to_wire

__all__ = ["Author", "Decision", "Merged", "OpenConflict", "RowChange", "merge"]


class Merged(Struct, frozen=True, gc=False):
    """The row from now on. ``changed``: its values or existence did, or an edit of it waits in a
    conflict, or what a set has was added once more; so it has a new revision.

    Without that the stamps may still differ: store whatever is not equal to what was given.
    ``plain``: the row is what was given with the change made to it, and nothing else.
    """

    row: ServerRow
    changed: bool
    decisions: tuple[Decision, ...] = ()
    conflicts: tuple[OpenConflict, ...] = ()
    plain: bool = False


def merge(
    row: ServerRow,
    change: RowChange,
    author: Author,
    *,
    incarnation: int,
    settled: frozenset[str] = frozenset(),
) -> Merged:
    """Apply ``change`` to ``row``.

    ``incarnation`` becomes that of a row that never was. ``settled`` names columns whose write
    settles an open conflict, so that it just applies; an empty name settles one about the row.
    Raises ``Refuse``: ``row_gone`` for an update of a row that never was, was purged, or had been
    deleted before the update was made, and for an update or a delete of a row that was purged and
    whose key another row has now; ``overflow`` for a counter that leaves 64 bits.
    """
    if change.op != "insert" and is_of_another_row(row, change.base):
        raise Refuse("row_gone", "This row no longer exists; another row has its key.")
    if change.op == "insert":
        if row.values is None:
            return _begin(row, change, author, rev=next_rev(row, incarnation))
        return _edit(_inserted_again(row, author), row.values, change, author, settled)
    if change.op == "delete":
        return _delete(row, change, author, settled)
    if row.values is None:
        return _edit_deleted(row, change, author, settled)
    if not settled:
        followed = _follow(row, row.values, change, author)
        if followed is not None:
            return Merged(followed, changed=True, plain=True)
    return _edit(row, row.values, change, author, settled)


def _begin(row: ServerRow, change: RowChange, author: Author, *, rev: int) -> Merged:
    """A first life, or a new one: it takes nothing of a former one but its place in the count."""
    assert row.values is None, "a row that lives cannot begin"
    keys = dict(zip(change.table.key, change.key_values, strict=True))
    new = change.new
    values = tuple(keys[name] if name in keys else new[name] for name in change.table.column_names)
    stamp = author.stamp(rev)
    row = ServerRow(rev, values, None, stamp, {}, None)
    return Merged(row, changed=True, plain=True)


def _follow(
    row: ServerRow, values: tuple[Value, ...], change: RowChange, author: Author
) -> ServerRow | None:
    """The row after an update that nobody was in the way of; None when that needs a closer look.

    Most updates are such: every value is new and was made on what stands, or adds to a counter. The
    result is what the policies decide column by column, for a fraction of its cost: a property of
    the tests.
    """
    table = change.table
    rev = next_rev(row, 0)
    base = base_in(row, change.base)
    after = list(values)
    columns = dict(row.columns)
    before = stamp = stamp_of(row, ROW)
    first = True
    for name, incoming in change.new.items():
        position = table.positions[name]
        value = after[position]
        old = stamp_of(row, name)
        newest = author.newest_by_others(old)
        policy = policy_of(table.by_name[name])
        chosen_first = False
        if policy.replaces:
            if name not in row.columns:  # it may be a default, which nobody has written
                if name in table.group_of:
                    return None
                chosen_first = value == table.by_name[name].default_value()
            seen = base_in(row, change.bases[name]) if name in change.bases else base
            if newest > seen and not chosen_first:
                return None
            if old.rev > seen and change.old.get(name, value) != value:  # its own, and not seen
                return None
            if incoming == value and name not in table.group_of:
                return None
            after[position] = incoming
        else:
            followed = None if policy.follow is None else policy.follow(value, incoming)
            if followed is None:
                return None
            after[position] = followed
        if chosen_first:
            columns[name] = author.stamp(rev)
            continue
        if first or old is not before:  # most columns have one stamp
            first, before = False, old
            at = max(author.at, old.at)
            stamp = author.stamp(rev, at=at, other=min(newest, rev - 1))
        columns[name] = stamp
    if table.groups and not _groups_change(values, after, change):
        return None
    return ServerRow(rev, tuple(after), None, row.row, columns, None) if change.new else None


def _groups_change(values: tuple[Value, ...], after: list[Value], change: RowChange) -> bool:
    """Return whether each group that is touched has another value than before."""
    for group in change.table.groups:
        places = [change.table.positions[name] for name in group if name in change.new]
        if places and all(values[place] == after[place] for place in places):
            return False
    return True


def _joined(change: RowChange) -> RowChange:
    """A change with each group as one column (``groups``).

    Of a group, all columns are there: who takes changes in sees to it.
    """
    table = change.table
    if not table.groups:
        return change

    def joined(columns: Mapping[str, Value]) -> dict[str, Value]:
        names = dict.fromkeys(groups.cell_of(table, name) for name in columns)
        return {name: groups.value_in(table, name, columns) for name in names}

    return replace(change, new=joined(change.new), old=joined(change.old))


def _inserted_again(row: ServerRow, author: Author) -> ServerRow:
    """Note that another replica has made this row too: the first must not delete it unseen."""
    stamp = stamp_of(row, ROW)
    if author.wrote(stamp):
        return row
    columns = {**row.columns, ROW: replace(stamp, other=stamp.rev)}
    return replace(row, columns=columns)


def _edit(
    row: ServerRow,
    values: tuple[Value, ...],
    change: RowChange,
    author: Author,
    settled: frozenset[str],
    *,
    revived: bool = False,
) -> Merged:
    """Merge the touched cells into ``values``: of the row that lives, or of the one revived."""
    table = change.table
    joined = _joined(change)
    rev = next_rev(row, 0)
    merged: list[Value] = list(values)
    stamps: dict[str, Stamp | None] = {}
    renewed = False
    decisions: list[Decision] = []
    conflicts: list[OpenConflict] = []
    for name in joined.new:
        column = groups.column_of(table, name)
        assert column is not None, "a change names what its table has"
        stamp = groups.stamp_in(row, name)
        names = groups.columns_of(name)
        cell = Cell(
            column=column,
            value=groups.value_of(table, name, values),
            stamp=stamp,
            untouched=groups.is_untouched(row, name),
            base=base_in(row, groups.seen_base(name, change.base, change.bases)),
            rev=rev,
            stamps=row.columns,
            inserted=stamp_of(row, INSERTED),
        )
        verdict = policy_of(column).decide(cell, joined, author, settled=settled.issuperset(names))
        if len(names) == 1:
            merged[table.positions[name]] = verdict.value
        elif verdict.value != cell.value:  # a group takes all of the change, or nothing
            for one in names:
                merged[table.positions[one]] = change.new[one]
        if verdict.stamp != stamp:
            stamps |= dict.fromkeys(names, verdict.stamp)
        stamps |= verdict.parts
        renewed = renewed or verdict.renewed
        if verdict.decision is not None:
            decisions.append(verdict.decision)
        if verdict.conflict is not None:
            conflicts.append(verdict.conflict)
    after = tuple(merged)
    changed = revived or renewed or after != values or bool(conflicts)
    if revived or conflicts:  # who has not seen this must not delete the row unasked
        stamps[ROW] = _stands_by(row, author, rev)
    if changed or stamps:
        columns = _restamped(row.columns, stamps) if stamps else row.columns
        row = replace(
            row, rev=rev if changed else row.rev, values=after, image=None, columns=columns,
            deleted=None,
        )  # fmt: skip
    return Merged(row, changed, tuple(decisions), tuple(conflicts))


def _restamped(
    columns: Mapping[str, Stamp], stamps: Mapping[str, Stamp | None]
) -> dict[str, Stamp]:
    """The stamps of a row with new ones; None: what was stamped is gone."""
    restamped = {**columns, **stamps}
    return {name: stamp for name, stamp in restamped.items() if stamp is not None}


def _stands_by(row: ServerRow, author: Author, rev: int) -> Stamp:
    """The row's own stamp after an edit that wants it there, whatever became of its columns."""
    stamp = stamp_of(row, ROW)
    other = min(author.newest_by_others(stamp), rev - 1)
    return author.stamp(rev, at=max(author.at, stamp.at), other=other)


def _edit_deleted(
    row: ServerRow, change: RowChange, author: Author, settled: frozenset[str]
) -> Merged:
    """An update of a row that is not there: of one deleted meanwhile, or it is too late."""
    deleted, image = row.deleted, row.image
    if deleted is None or image is None:
        raise Refuse("row_gone", "This row no longer exists.")
    if ROW in settled:
        return _edit(row, image, change, author, settled, revived=True)
    if author.wrote(deleted) or deleted.rev <= base_in(row, change.base):
        raise Refuse("row_gone", "This row was deleted before it was changed.")
    if not change.new:
        return Merged(row, changed=False)
    match change.table.on_delete:
        case "keep":
            edited = _edit(row, image, change, author, settled, revived=True)
            kept, lost = (None, author), (None, deleted)
            overridden = decision(change, "delete", column=ROW, kept=kept, lost=lost)
            return Merged(edited.row, True, (overridden, *edited.decisions), edited.conflicts)
        case "delete":
            dropped = tuple(
                decision(change, "edit", column=name, kept=(None, deleted), lost=(value, author))
                for name, value in _joined(change).new.items()
            )
            return Merged(row, changed=False, decisions=dropped)
        case "manual":
            conflict = OpenConflict(
                table=change.table.name,
                key=change.key,
                column=ROW,
                kind="delete",
                base=_json(change, change.old, change.new),
                mine=_json(change, change.new, change.new),
                theirs=None,
                mine_author=author,
                their_device=deleted.device,
                their_user=deleted.user,
                their_at=deleted.at,
            )
            return Merged(row, changed=False, conflicts=(conflict,))


def _delete(row: ServerRow, change: RowChange, author: Author, settled: frozenset[str]) -> Merged:
    if row.values is None:
        return Merged(row, changed=False)
    unseen = {} if ROW in settled else _unseen(row, change, author)
    own = {} if ROW in settled else _unseen_by_itself(row, row.values, change, author)
    if not unseen:
        return Merged(_deleted(row, author), True, _given_up(row.values, change, author, own))
    table = change.table
    current = dict(zip(table.column_names, row.values, strict=True))
    newest = max(unseen.values(), key=lambda stamp: stamp.rev)
    match table.on_delete:
        case "keep":
            kept, lost = (None, newest), (None, author)
            dropped = decision(change, "delete", column=ROW, kept=kept, lost=lost)
            return Merged(row, changed=False, decisions=(dropped,))
        case "delete":
            others = {
                name: stamp
                for name, stamp in unseen.items()
                if not author.wrote(stamp) or stamp.shared
            }
            given_up = _given_up(row.values, change, author, others | own)
            return Merged(_deleted(row, author), True, given_up)
        case "manual":
            names = [one for name in unseen for one in groups.columns_of(name)]
            names = list(current) if ROW in unseen else names
            conflict = OpenConflict(
                table=table.name,
                key=change.key,
                column=ROW,
                kind="delete",
                base=_json(change, change.old, names),
                mine=None,
                theirs=_json(change, current, names),
                mine_author=author,
                their_device=newest.device,
                their_user=newest.user,
                their_at=newest.at,
            )
            return Merged(row, changed=False, conflicts=(conflict,))


def _given_up(
    values: tuple[Value, ...], change: RowChange, author: Author, cells: Mapping[str, Stamp]
) -> tuple[Decision, ...]:
    """The record of what a delete takes with it: cells, or the bare row."""
    return tuple(
        decision(
            change,
            "edit",
            column=name,
            kept=(None, author),
            lost=(None if name == ROW else groups.value_of(change.table, name, values), stamp),
        )
        for name, stamp in cells.items()
    )


def _unseen_by_itself(
    row: ServerRow, values: tuple[Value, ...], change: RowChange, author: Author
) -> dict[str, Stamp]:
    """Cells that the device itself has written above the base of its delete, and that it did not
    see when it deleted the row: what it wrote first was set aside then.
    """
    base, table = base_in(row, change.base), change.table
    stamps = {name: groups.stamp_in(row, name) for name in table.cells}
    if all(stamp.rev <= base for stamp in stamps.values()):  # as most deletes are
        return {}
    old = _joined(change)
    return {
        name: stamp
        for name, stamp in stamps.items()
        if author.wrote(stamp)
        and stamp.rev > base_in(row, groups.seen_base(name, change.base, change.bases))
        and made_on_another(old, name, groups.value_of(table, name, values))
    }


def _deleted(row: ServerRow, author: Author) -> ServerRow:
    """The tombstone. It keeps the stamps, so that an edit that revives the row merges with them."""
    rev = next_rev(row, 0)
    written = [*row.columns.values(), *([] if row.row is None else [row.row])]
    other = max(author.newest_by_others(stamp) for stamp in written)
    stamp = author.stamp(rev, other=min(other, row.rev))
    return ServerRow(rev, None, row.values, row.row, row.columns, stamp)


def _unseen(row: ServerRow, change: RowChange, author: Author) -> dict[str, Stamp]:
    """Return what other devices have written above the base of a delete: cells, or the bare row.

    A value written once more has a stamp above the row's revision; who has seen the row has seen
    that value, and may delete it. A default that nobody chose is not written by anybody.
    """
    assert row.values is not None, "a row that is deleted lives"
    base = base_in(row, change.base)
    unseen: dict[str, Stamp] = {}
    for name in change.table.cells:
        column = groups.column_of(change.table, name)
        assert column is not None, "a table has its own cells"
        standing = groups.value_of(change.table, name, row.values)
        if groups.is_untouched(row, name) and standing == column.default_value():
            continue
        stamp = groups.stamp_in(row, name)
        seen = base_in(row, groups.seen_base(name, change.base, change.bases))
        if min(author.newest_by_others(stamp), row.rev) > seen:
            unseen[name] = stamp
    stamp = stamp_of(row, ROW)
    if not unseen and author.newest_by_others(stamp) > base:
        unseen[ROW] = stamp
    return unseen


def _json(change: RowChange, values: Mapping[str, Value], names: Iterable[str]) -> str:
    """JSON text of an object of wire values: of the named columns that ``values`` has, in order."""
    wanted = frozenset(names)
    wire = {
        column.name: to_wire(column.type, values[column.name])
        for column in change.table.data_columns
        if column.name in wanted and column.name in values
    }
    return msgspec.json.encode(wire).decode()
