"""The server's merge, case by case: every policy, every delete policy, what goes on record.

Checks I19.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from holdfast.core.errors import Refuse
from holdfast.core.limits import INTEGER_MAX, INTEGER_MIN
from holdfast.core.merging.merge import Author, Decision, Merged, RowChange, merge
from holdfast.core.merging.rows import (
    ABSENT,
    COUNTER_MAX,
    INCARNATION_MAX,
    ServerRow,
    Stamp,
    dump_stamps,
    load_stamps,
    next_rev,
    stamp_of,
)
from holdfast.core.values import Value
from holdfast.schema.model import Column, DeletePolicy, Table

INCARNATION = 77
FIRST = (INCARNATION << 32) + 1

ITEM = Table(
    name="item",
    key=("id",),
    columns=(
        Column("id"),
        Column("name", default="new"),
        Column("note", nullable=True),
        Column("note_manual", merge="manual", nullable=True),
        Column("on_hand", "integer", merge="counter"),
        Column("hers", merge="server", nullable=True),
        Column("mine", merge="client", nullable=True),
        Column("high", "decimal", scale=1, merge="largest", nullable=True),
        Column("low", "integer", merge="smallest", nullable=True),
    ),
    scopes=("catalog",),
)
BARE: dict[str, Value] = {
    "name": "new",
    "note": None,
    "note_manual": None,
    "on_hand": 0,
    "hers": None,
    "mine": None,
    "high": None,
    "low": None,
}
TAG = Table(name="tag", key=("a", "b"), columns=(Column("b"), Column("a")), scopes=("catalog",))


def item(on_delete: DeletePolicy) -> Table:
    return Table(
        name="item", key=("id",), columns=ITEM.columns, scopes=("catalog",), on_delete=on_delete
    )


@dataclass
class Server:
    """One row under test; devices are single letters, revisions count from 1, times are small."""

    table: Table = ITEM
    row: ServerRow = ABSENT
    decisions: list[Decision] = field(default_factory=list)

    def send(
        self,
        op: Literal["insert", "update", "delete"],
        device: str,
        at: int,
        base: int = 0,
        *,
        bases: Mapping[str, int] | None = None,
        old: Mapping[str, Value] | None = None,
        settled: tuple[str, ...] = (),
        **new: Value,
    ) -> Merged:
        change = RowChange(
            table=self.table,
            key="i1",
            key_values=("i1",),
            op=op,
            base=rev(base),
            bases={name: rev(count) for name, count in (bases or {}).items()},
            new={**BARE, **new} if op == "insert" else new,
            old=old or {},
        )
        author = Author(device, f"user {device}", at, 1)
        merged = merge(
            self.row, change, author, incarnation=INCARNATION, settled=frozenset(settled)
        )
        self.row = merged.row
        self.decisions += merged.decisions
        return merged

    def __getitem__(self, column: str) -> Value:
        assert self.row.values is not None, "the row is gone"
        return self.row.values[self.table.positions[column]]

    @property
    def count(self) -> int:
        return self.row.rev - FIRST + 1


def of(column: str, value: Value) -> dict[str, Any]:
    """One new value, of a column that a parameter names."""
    return {column: value}


def rev(count: int) -> int:
    return FIRST + count - 1 if count else 0


def server(on_delete: DeletePolicy = "keep", **values: Any) -> Server:
    """A row that device S inserted at time 10, as revision 1."""
    made = Server(item(on_delete))
    made.send("insert", "S", 10, **values)
    return made


# --- revisions and stamps -----------------------------------------------------------------------


def test_revisions_start_with_the_incarnation_and_count_up() -> None:
    assert next_rev(ABSENT, INCARNATION) == FIRST
    assert next_rev(replace(ABSENT, rev=FIRST), 3) == FIRST + 1
    assert next_rev(ABSENT, INCARNATION_MAX) + COUNTER_MAX - 1 == 2**53 - 1


def test_a_revision_never_runs_into_the_next_incarnation() -> None:
    worn = replace(ABSENT, rev=(5 << 32) + COUNTER_MAX)
    with pytest.raises(Refuse) as refused:
        next_rev(worn, 3)
    assert refused.value.code == "overflow"


def test_the_newest_by_others() -> None:
    stamp = Stamp(7, "A", "user", 1, 4)
    assert Author("A", "", 1, 1).newest_by_others(stamp) == 4
    assert Author("B", "", 1, 1).newest_by_others(stamp) == 7


def test_stamps_round_trip() -> None:
    one, two = Stamp(FIRST, "A", "user A", -5, 0), Stamp(FIRST + 1, "B", "", 2**52, FIRST)
    for row in (
        ABSENT,
        ServerRow(FIRST, ("x",), None, one, {}, None),
        ServerRow(FIRST + 1, ("x",), None, one, {"name": two, "note": two}, None),
        ServerRow(FIRST + 2, None, ("x",), one, {"name": two}, two),
    ):
        assert load_stamps(dump_stamps(row)) == (row.row, row.columns, row.deleted)


def test_columns_written_together_share_their_stamp_in_storage() -> None:
    stamp = Stamp(FIRST, "device-with-a-long-name", "user", 1)
    few = ServerRow(FIRST, ("x",), None, stamp, {"a": stamp}, None)
    many = replace(few, columns={"a": stamp, "b": stamp, "c": stamp})
    assert len(dump_stamps(many)) - len(dump_stamps(few)) <= 2 * len(b"?b?")


# --- insert, update and delete without concurrency ----------------------------------------------


def test_an_insert_makes_the_row() -> None:
    made = Server()
    merged = made.send("insert", "A", 10, name="Cup", on_hand=4)
    assert merged.changed
    assert made.row.values == ("i1", "Cup", None, None, 4, None, None, None, None)
    assert made.row.rev == FIRST
    assert made.row.row == Stamp(FIRST, "A", "user A", 10, 0, 1)
    assert made.row.columns == {}
    assert not merged.decisions
    assert not merged.conflicts


def test_a_row_of_keys_alone_in_declared_order() -> None:
    change = RowChange(TAG, "x/y", ("x", "y"), "insert", 0, {}, {}, {})
    author = Author("A", "user", 1, 1)
    row = merge(ABSENT, change, author, incarnation=1).row
    assert row.values == ("y", "x")
    again = merge(row, change, replace(author, replica="B"), incarnation=1)
    assert (again.row.values, again.row.rev, again.changed) == (row.values, row.rev, False)
    # Each deletes what it had inserted itself, not knowing of the other's.
    delete = replace(change, op="delete")
    for device in "AB":
        deleter = replace(author, replica=device)
        assert not merge(again.row, delete, deleter, incarnation=1).changed
        seen = replace(delete, base=row.rev)
        assert merge(again.row, seen, deleter, incarnation=1).row.values is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "Mug"),
        ("note", "x"),
        ("note_manual", "x"),
        ("hers", "x"),
        ("mine", "x"),
        ("high", "1.0"),
        ("low", 99),
    ],
)
def test_what_is_not_concurrent_applies_under_every_policy(column: str, value: Value) -> None:
    row = server(name="Cup", note="n", note_manual="m", hers="h", mine="c", high="5.0", low=5)
    merged = row.send("update", "A", 20, 1, **of(column, value))
    assert row[column] == value
    assert merged.changed
    assert row.count == 2
    assert stamp_of(row.row, column) == Stamp(rev(2), "A", "user A", 20, rev(1), 1)
    assert stamp_of(row.row, "id") == Stamp(rev(1), "S", "user S", 10, 0, 1)
    assert not merged.decisions
    assert not merged.conflicts


def test_different_columns_both_survive() -> None:
    row = server()
    row.send("update", "A", 20, 1, name="Mug")
    merged = row.send("update", "B", 15, 1, note="blue")
    assert (row["name"], row["note"]) == ("Mug", "blue")
    assert not merged.decisions


def test_nothing_is_done_by_a_change_of_nothing() -> None:
    row = server()
    before = row.row
    assert not row.send("update", "A", 20, 1).changed
    assert not row.send("update", "A", 20, 1, on_hand=0).changed
    assert row.row is before


def test_an_update_of_a_row_that_never_was_is_refused() -> None:
    with pytest.raises(Refuse) as refused:
        Server().send("update", "A", 20, 3, name="Mug")
    assert refused.value.code == "row_gone"


def test_a_delete_keeps_the_image_and_the_stamps() -> None:
    row = server(name="Cup")
    row.send("update", "A", 20, 1, name="Mug")
    values, columns = row.row.values, row.row.columns
    merged = row.send("delete", "B", 30, 2)
    assert merged.changed
    assert row.row.values is None
    assert row.row.image == values
    assert row.row.columns == columns
    assert row.row.deleted == Stamp(rev(3), "B", "user B", 30, rev(2), 1)
    again = row.send("delete", "A", 40, 2)
    assert (again.row, again.changed, again.decisions) == (merged.row, False, ())


def test_a_delete_of_a_row_that_never_was_does_nothing() -> None:
    row = Server()
    assert not row.send("delete", "A", 20, 3).changed
    assert row.row is ABSENT


def test_a_base_of_another_incarnation_knows_nothing_of_this_row() -> None:
    row = server(note_manual="m")
    other = (INCARNATION + 1) << 32
    change = RowChange(
        ITEM, "i1", ("i1",), "update", other + 9, {}, {"note_manual": "x"}, {"note_manual": "w"}
    )
    author = Author("A", "user A", 20, 1)
    by_column = replace(change, base=rev(1), bases={"note_manual": other + 9})
    assert merge(row.row, by_column, author, incarnation=1).conflicts
    assert not merge(row.row, replace(change, base=rev(1)), author, incarnation=1).conflicts


@pytest.mark.parametrize("op", ["update", "delete"])
@pytest.mark.parametrize("lives", [True, False])
def test_an_edit_of_a_row_that_was_purged_does_not_touch_the_one_that_has_its_key_now(
    op: Literal["update", "delete"], lives: bool
) -> None:
    row = server(note="n")
    if not lives:
        row.send("delete", "S", 10, 1)
    new = {"note": "x"} if op == "update" else {}
    old_life = ((INCARNATION + 1) << 32) + 9
    change = RowChange(ITEM, "i1", ("i1",), op, old_life, {}, new, {})
    author = Author("A", "user A", 20, 1)
    with pytest.raises(Refuse) as caught:
        merge(row.row, change, author, incarnation=1)
    assert caught.value.code == "row_gone"
    settles = frozenset({"", "note"})
    with pytest.raises(Refuse):
        merge(row.row, change, author, incarnation=1, settled=settles)
    insert = RowChange(ITEM, "i1", ("i1",), "insert", old_life, {}, dict(BARE), {})
    merged = merge(row.row, insert, author, incarnation=INCARNATION + 1).row
    assert merged.values is not None and merged.rev >> 32 == INCARNATION


def test_a_column_s_own_base_counts() -> None:
    row = server(note_manual="m", name="Cup")
    row.send("update", "B", 20, 1, note_manual="b", name="Mug")
    merged = row.send("update", "A", 30, 2, bases={"note_manual": 1}, note_manual="a", name="Jug")
    assert [conflict.column for conflict in merged.conflicts] == ["note_manual"]
    assert (row["note_manual"], row["name"]) == ("b", "Jug")
    assert not merged.decisions


# --- one column, two devices --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "theirs", "their_at", "mine", "my_at", "expected"),
    [
        ("note", "b", 20, "a", 30, "a"),
        ("note", "b", 30, "a", 20, "b"),
        ("note", "b", 20, "a", 20, "a"),  # a tie goes to the one that arrives
        ("note", "b", 30, None, 20, "b"),
        ("note", None, 20, "a", 30, "a"),
        ("hers", "b", 20, "a", 30, "b"),
        ("hers", "b", 30, "a", 20, "b"),
        ("mine", "b", 20, "a", 30, "a"),
        ("mine", "b", 30, "a", 20, "a"),
        ("high", "9.0", 30, "10.0", 20, "10.0"),  # by number, not by letters
        ("high", "10.0", 20, "9.0", 30, "10.0"),
        ("high", None, 30, "-1.0", 20, "-1.0"),
        ("high", "-1.0", 20, None, 30, "-1.0"),
        ("low", 9, 30, 8, 20, 8),
        ("low", 8, 20, 9, 30, 8),
        ("low", None, 30, 9, 20, 9),
        ("low", 9, 20, None, 30, 9),
    ],
)
def test_concurrent_writes_of_one_column(
    *, column: str, theirs: Value, their_at: int, mine: Value, my_at: int, expected: Value
) -> None:
    row = server(note="s", hers="s", mine="s", high="0.0", low=0)
    row.send("update", "B", their_at, 1, **of(column, theirs))
    merged = row.send("update", "A", my_at, 1, **of(column, mine))
    assert row[column] == expected
    assert merged.changed == (expected == mine)
    assert row.count == (3 if merged.changed else 2)
    (decision,) = merged.decisions
    won, lost = (("A", my_at), ("B", their_at))[:: 1 if expected == mine else -1]
    assert decision.kind == ITEM.by_name[column].merge
    assert (decision.table, decision.key, decision.column) == ("item", "i1", column)
    assert (decision.kept, decision.kept_device, decision.kept_at) == (expected, *won)
    assert decision.lost == (theirs if expected == mine else mine)
    assert (decision.lost_device, decision.lost_user, decision.lost_at) == (
        lost[0],
        f"user {lost[0]}",
        lost[1],
    )
    assert not merged.conflicts


def test_a_manual_column_opens_a_conflict_and_the_current_value_stays() -> None:
    row = server(note_manual="s")
    row.send("update", "B", 20, 1, note_manual="b")
    before = row.row
    merged = row.send("update", "A", 30, 1, note_manual="a", old={"note_manual": "s"}, name="Mug")
    (conflict,) = merged.conflicts
    assert (conflict.column, conflict.kind) == ("note_manual", "edit")
    assert (conflict.base, conflict.mine, conflict.theirs) == ("s", "a", "b")
    assert conflict.mine_author == Author("A", "user A", 30, 1)
    assert (conflict.their_device, conflict.their_user, conflict.their_at) == ("B", "user B", 20)
    assert (row["note_manual"], row["name"]) == ("b", "Mug")
    assert stamp_of(row.row, "note_manual") == stamp_of(before, "note_manual")
    later = row.send("update", "A", 40, 1, note_manual="a2", old={"note_manual": "a"})
    assert [conflict.mine for conflict in later.conflicts] == ["a2"]
    assert later.changed, "who deletes the row has to have seen that somebody wants it"
    assert later.row.values == merged.row.values


def test_the_settlement_of_a_conflict_applies() -> None:
    row = server(note_manual="s")
    row.send("update", "B", 20, 1, note_manual="b")
    row.send("update", "A", 30, 1, note_manual="a")
    merged = row.send("update", "A", 40, 1, note_manual="both", settled=("note_manual",))
    assert row["note_manual"] == "both"
    assert not merged.conflicts
    # What the same device writes next has seen the other side too; for the others it is news.
    assert not row.send("update", "A", 50, 1, note_manual="more").conflicts
    assert row["note_manual"] == "more"
    assert row.send("update", "B", 60, 2, note_manual="b2").conflicts


def test_a_settlement_that_leaves_the_value_settles_it_all_the_same() -> None:
    row = server(note_manual="s")
    row.send("update", "B", 20, 1, note_manual="b")
    row.send("update", "A", 30, 1, note_manual="a")
    assert not row.send("update", "A", 40, 1, note_manual="b", settled=("note_manual",)).changed
    assert not row.send("update", "A", 50, 1, note_manual="a2").conflicts


@pytest.mark.parametrize("column", ["note", "note_manual", "hers", "mine"])
def test_the_same_value_from_both_sides_is_no_conflict(column: str) -> None:
    row = server()
    row.send("update", "B", 20, 1, **of(column, "x"))
    merged = row.send("update", "A", 30, 1, **of(column, "x"))
    assert not merged.decisions
    assert not merged.conflicts
    assert not merged.changed
    assert row.count == 2
    again = row.send("update", "A", 30, 1, **of(column, "x"))
    assert again.row == merged.row


@pytest.mark.parametrize("base", [1, 2])
def test_a_later_write_of_the_same_value_counts_in_every_order(base: int) -> None:
    """B writes x; A writes x, later; C writes c in between, before or after it has seen B's x."""
    one = server()
    one.send("update", "B", 20, 1, note="x")
    one.send("update", "A", 40, 1, note="x")
    one.send("update", "C", 30, base, note="c")
    other = server()
    other.send("update", "B", 20, 1, note="x")
    other.send("update", "C", 30, base, note="c")
    other.send("update", "A", 40, 1, note="x")
    assert one["note"] == other["note"] == "x"
    assert one.decisions[-1].lost == other.decisions[-1].lost == "c"


def test_an_earlier_write_of_the_same_value_does_not_age_it() -> None:
    row = server()
    row.send("update", "B", 40, 1, note="x")
    row.send("update", "A", 20, 1, note="x")
    row.send("update", "C", 30, 1, note="c")
    assert row["note"] == "x"


def test_both_writers_of_one_value_are_remembered() -> None:
    """B has not seen that A too wrote x; when B goes on, A's x must not vanish silently."""
    row = server(note_manual="s")
    row.send("update", "B", 20, 1, note_manual="x")
    row.send("update", "A", 30, 1, note_manual="x")
    chained = row.send("update", "B", 40, 1, note_manual="y")
    assert [(c.mine, c.theirs) for c in chained.conflicts] == [("y", "x")]
    # Who has seen the row has seen x, whoever wrote it.
    assert not row.send("update", "C", 50, 2, note_manual="z").conflicts
    row = server()
    row.send("update", "B", 20, 1, note="x")
    row.send("update", "A", 30, 1, note="x")
    merged = row.send("update", "A", 40, 1, note="y")
    assert [decision.lost for decision in merged.decisions] == ["x"]


def test_what_replaces_a_value_written_twice_has_one_writer() -> None:
    row = server()
    row.send("update", "B", 20, 1, note="x")
    row.send("update", "A", 30, 1, note="x")
    row.send("update", "C", 40, 2, note="c")
    assert stamp_of(row.row, "note") == Stamp(rev(3), "C", "user C", 40, rev(2), 1)
    assert not row.send("update", "C", 50, 2, note="c2").decisions


def test_a_value_written_twice_does_not_keep_others_from_deleting_the_row() -> None:
    row = server()
    row.send("update", "B", 20, 1, note="x")
    row.send("update", "A", 30, 1, note="x")
    assert row.send("delete", "C", 40, 2).changed
    assert row.row.deleted == Stamp(rev(3), "C", "user C", 40, rev(2), 1)


def test_a_device_is_never_in_conflict_with_itself() -> None:
    row = server(note_manual="s")
    for at, text in ((20, "a1"), (30, "a2"), (25, "a3")):
        merged = row.send("update", "A", at, 1, note_manual=text, note=text)
        assert (row["note_manual"], row["note"]) == (text, text)
        assert not merged.decisions
        assert not merged.conflicts
    assert row.row.columns["note"].at == 30, "what follows is never older than what it follows"


def test_a_chain_that_won_goes_on_without_more_journal() -> None:
    row = server()
    row.send("update", "B", 20, 1, note="b")
    assert [d.lost for d in row.send("update", "A", 30, 1, note="a1").decisions] == ["b"]
    merged = row.send("update", "A", 25, 1, note="a2")
    assert row["note"] == "a2"
    assert not merged.decisions


@pytest.mark.parametrize("column", ["note", "note_manual", "mine"])
def test_a_row_made_anew_by_its_device_leaves_what_it_wrote_before_on_record(column: str) -> None:
    """The row had left the device with a scope, so it made it once more; found by system tests."""
    ways: tuple[Literal["insert", "update"], ...] = ("insert", "update")
    for first in ways[:1] if column == "note_manual" else ways:
        row = server() if first == "update" else Server(item("keep"))
        row.send(first, "A", 20, 1 if first == "update" else 0, **of(column, "before"))
        merged = row.send("insert", "A", 30, **of(column, "after"))
        assert row[column] == "after"
        assert [d.lost for d in merged.decisions if d.column == column] == ["before"]


@pytest.mark.parametrize("column", ["note", "note_manual", "hers", "mine", "high", "low"])
def test_what_a_device_wrote_without_having_seen_what_it_wrote_before_is_on_record(
    column: str,
) -> None:
    """What it wrote first was set aside then, and came behind; found by system tests."""
    numbers: dict[str, tuple[Value, Value]] = {"high": ("1.5", "2.5"), "low": (1, 2)}
    first, second = numbers.get(column, ("a1", "a2"))
    row = server()
    row.send("update", "A", 30, 1, old=of(column, None), **of(column, first))
    for old in (first, None):
        again = Server(row.table, row.row)
        merged = again.send("update", "A", 40, 1, old=of(column, old), **of(column, second))
        assert again[column] == second
        lost = [(d.column, d.lost, d.lost_at, d.kept, d.kept_at) for d in merged.decisions]
        assert lost == ([] if old == first else [(column, first, 30, second, 40)])
        assert not merged.conflicts


@pytest.mark.parametrize("on_delete", ["keep", "delete", "manual"])
def test_what_a_device_deletes_without_having_seen_it_is_on_record(
    on_delete: DeletePolicy,
) -> None:
    row = server(on_delete, name="Cup", note="n")
    row.send("update", "A", 20, 1, name="Mug", on_hand=3)
    merged = row.send("delete", "A", 30, 1, old={"name": "Cup", "note": "n"})
    assert row.row.values is None
    assert not merged.conflicts
    lost = [(d.kind, d.column, d.lost, d.lost_at, d.kept_at) for d in merged.decisions]
    assert lost == [("edit", "name", "Mug", 20, 30)]


def test_a_time_that_is_corrected_is_not_taken_for_one_that_was_not_seen() -> None:
    """A device knows its own time as it wrote it; the server has it shifted."""
    table = Table(
        name="item",
        key=("id",),
        columns=(Column("id"), Column("seen", "timestamp", corrected=True, default="0")),
        scopes=("catalog",),
    )
    row = Server(table)
    author = Author("A", "user A", 20, 1)
    for base, old, new in ((0, 0, 5), (0, 7, 6)):  # it had written 7
        op: Literal["insert", "update"] = "update" if old else "insert"
        change = RowChange(table, "i1", ("i1",), op, base, {}, {"seen": new}, {"seen": old})
        merged = merge(row.row, change, author, incarnation=INCARNATION)
        assert not merged.decisions
        row.row = merged.row
    assert row["seen"] == 6


# --- counters -----------------------------------------------------------------------------------


def test_counters_add_up_concurrent_or_not() -> None:
    row = server(on_hand=10)
    row.send("update", "A", 20, 1, on_hand=-1)
    row.send("update", "B", 15, 1, on_hand=-1)
    merged = row.send("update", "B", 30, 3, on_hand=5)
    assert row["on_hand"] == 13
    assert not merged.decisions


@pytest.mark.parametrize(("start", "step"), [(INTEGER_MAX, 1), (INTEGER_MIN, -1)])
def test_a_counter_that_leaves_64_bits_is_refused(start: int, step: int) -> None:
    row = server(on_hand=start)
    before = row.row
    with pytest.raises(Refuse) as refused:
        row.send("update", "A", 20, 1, name="Mug", on_hand=step)
    assert refused.value.code == "overflow"
    assert refused.value.field == "on_hand"
    assert row.row is before
    row.send("update", "A", 20, 1, on_hand=-step)
    assert row["on_hand"] == start - step


# --- two inserts of one key ---------------------------------------------------------------------


def test_two_inserts_merge_by_column() -> None:
    row = server(name="Cup", note="s", on_hand=2, hers="s", mine="s", note_manual="s", low=1)
    merged = row.send(
        "insert", "A", 20, name="Cup", note="a", on_hand=3, hers="a", mine="a", note_manual="a"
    )
    assert row["on_hand"] == 5
    assert (row["name"], row["note"], row["hers"], row["mine"]) == ("Cup", "a", "s", "a")
    assert row["low"] == 1
    assert [(d.kind, d.lost) for d in merged.decisions] == [
        ("latest", "s"),
        ("server", "a"),
        ("client", "s"),
    ]
    assert [(c.base, c.mine, c.theirs) for c in merged.conflicts] == [(None, "a", "s")]


@pytest.mark.parametrize("at", [5, 20])
def test_a_default_yields_to_what_someone_chose(at: int) -> None:
    chosen: dict[str, Any] = {"name": "Cup", "note_manual": "m", "hers": "h", "mine": "c", "low": 1}
    one = server(**chosen)
    first = one.send("insert", "A", at)
    assert not first.changed
    other = server()
    second = other.send("insert", "A", at, **chosen)
    for row in (one, other):
        assert {name: row[name] for name in chosen} == chosen
    assert not first.decisions + second.decisions
    assert not first.conflicts + second.conflicts


def test_a_default_that_was_written_later_was_chosen() -> None:
    row = server(name="Cup")
    row.send("update", "B", 30, 1, name="new")
    row.send("insert", "A", 20, name="Jug")
    assert row["name"] == "new"
    assert row.decisions[-1].lost == "Jug"


def test_an_insert_of_what_is_there_changes_nothing() -> None:
    row = server(name="Cup", note="n")
    merged = row.send("insert", "A", 20, name="Cup", note="n")
    assert not merged.changed
    assert row.count == 1
    assert not merged.decisions


# --- delete against edit ------------------------------------------------------------------------


def test_a_new_life_takes_nothing_of_the_former_one() -> None:
    row = server(name="Cup", on_hand=5, note_manual="s")
    row.send("update", "B", 20, 1, note_manual="b")
    row.send("delete", "B", 30, 2)
    merged = row.send("insert", "A", 40, on_hand=1, note_manual="a")
    assert merged.changed
    assert row.count == 4
    assert (row["name"], row["on_hand"], row["note_manual"]) == ("new", 1, "a")
    assert row.row.columns == {}
    assert row.row.deleted is None
    assert not row.send("update", "A", 50, 0, note_manual="a2").conflicts
    # An edit of the former life is concurrent with the new one.
    assert row.send("update", "C", 60, 1, note_manual="c").conflicts


@pytest.mark.parametrize("on_delete", ["keep", "delete", "manual"])
def test_an_edit_made_after_the_delete_is_refused(on_delete: DeletePolicy) -> None:
    row = server(on_delete)
    row.send("delete", "A", 20, 1)
    for device, base in (("A", 1), ("B", 2)):
        with pytest.raises(Refuse) as refused:
            row.send("update", device, 30, base, name="Mug")
        assert refused.value.code == "row_gone"


@pytest.mark.parametrize("on_delete", ["keep", "delete", "manual"])
def test_an_edit_of_a_tombstone_without_its_image_is_refused(on_delete: DeletePolicy) -> None:
    row = server(on_delete)
    row.send("delete", "A", 20, 1)
    row.row = replace(row.row, image=None)
    with pytest.raises(Refuse, match="row_gone"):
        row.send("update", "B", 30, 1, name="Mug")


def test_keep_an_edit_revives_a_deleted_row() -> None:
    row = server(name="Cup", on_hand=5)
    row.send("delete", "B", 20, 1)
    merged = row.send("update", "A", 15, 1, name="Mug", on_hand=-1)
    assert merged.changed
    assert row.count == 3
    assert (row["name"], row["on_hand"]) == ("Mug", 4)
    assert row.row.image is None
    assert row.row.deleted is None
    (decision,) = merged.decisions
    assert (decision.kind, decision.column) == ("delete", "")
    assert (decision.lost_device, decision.lost_at, decision.kept_device) == ("B", 20, "A")


def test_keep_a_revived_row_merges_with_what_was_written_before_the_delete() -> None:
    row = server(note="s", note_manual="s")
    row.send("update", "B", 30, 1, note="b", note_manual="b")
    row.send("delete", "C", 40, 2)
    merged = row.send("update", "A", 20, 1, note="a", note_manual="a")
    assert (row["note"], row["note_manual"]) == ("b", "b")
    assert [(d.kind, d.lost) for d in merged.decisions] == [("delete", None), ("latest", "a")]
    assert [c.mine for c in merged.conflicts] == ["a"]


def test_keep_a_row_stays_when_another_device_has_written_it_meanwhile() -> None:
    row = server()
    row.send("update", "B", 20, 1, on_hand=1)
    before = row.row
    merged = row.send("delete", "A", 30, 1)
    assert (merged.row, merged.changed) == (before, False)
    (decision,) = merged.decisions
    assert (decision.kind, decision.lost_device, decision.kept_device) == ("delete", "A", "B")
    assert row.send("delete", "A", 40, 2).changed, "having seen it, A may delete it"


def test_delete_drops_the_edit_of_a_deleted_row() -> None:
    row = server("delete")
    row.send("delete", "B", 20, 1)
    before = row.row
    merged = row.send("update", "A", 30, 1, name="Mug", on_hand=-1)
    assert (merged.row, merged.changed) == (before, False)
    assert [(d.kind, d.column, d.lost) for d in merged.decisions] == [
        ("edit", "name", "Mug"),
        ("edit", "on_hand", -1),
    ]
    assert {(d.lost_device, d.kept_device, d.kept_at) for d in merged.decisions} == {("A", "B", 20)}


def test_delete_takes_the_row_with_the_edits_of_others() -> None:
    row = server("delete", note="s")
    row.send("update", "B", 20, 1, note="b")
    row.send("update", "A", 25, 1, name="Mug")
    merged = row.send("delete", "A", 30, 1)
    assert merged.changed
    assert row.row.values is None
    assert [(d.kind, d.column, d.lost, d.lost_device) for d in merged.decisions] == [
        ("edit", "note", "b", "B")
    ]


def test_manual_asks_about_an_edit_of_a_deleted_row() -> None:
    row = server("manual", name="Cup")
    row.send("delete", "B", 20, 1)
    merged = row.send("update", "A", 30, 1, old={"name": "Cup"}, on_hand=-1, name="Mug")
    assert not merged.changed
    assert row.row.values is None
    (conflict,) = merged.conflicts
    assert (conflict.kind, conflict.column, conflict.theirs) == ("delete", "", None)
    assert isinstance(conflict.base, str)
    assert isinstance(conflict.mine, str)
    assert json.loads(conflict.base) == {"name": "Cup"}
    assert json.loads(conflict.mine) == {"name": "Mug", "on_hand": "-1"}
    assert (conflict.their_device, conflict.their_at) == ("B", 20)
    revived = row.send("update", "C", 40, 2, settled=("", "name"), name="Mug")
    assert revived.changed
    assert row["name"] == "Mug"


def test_manual_asks_about_a_delete_of_an_edited_row() -> None:
    row = server("manual", name="Cup")
    row.send("update", "B", 20, 1, name="Mug")
    merged = row.send("delete", "A", 30, 1, old={"name": "Cup", "note": None})
    assert not merged.changed
    (conflict,) = merged.conflicts
    assert (conflict.kind, conflict.column, conflict.mine) == ("delete", "", None)
    assert (conflict.base, conflict.theirs) == ('{"name":"Cup"}', '{"name":"Mug"}')
    assert (conflict.their_device, conflict.their_at) == ("B", 20)
    assert row.send("delete", "A", 40, 1, settled=("",)).changed


def test_manual_asks_about_a_delete_of_a_row_that_another_device_made_too() -> None:
    row = Server(item("manual"))
    row.send("insert", "A", 10, name="Cup")
    row.send("insert", "B", 20)
    (conflict,) = row.send("delete", "A", 30).conflicts
    assert isinstance(conflict.theirs, str)
    assert json.loads(conflict.theirs) == BARE | {"name": "Cup", "on_hand": "0"}


@pytest.mark.parametrize("on_delete", ["keep", "delete", "manual"])
def test_a_device_may_delete_what_it_alone_has_written(on_delete: DeletePolicy) -> None:
    row = server(on_delete)
    row.send("update", "A", 20, 1, name="Mug")
    merged = row.send("delete", "A", 30, 1)
    assert merged.changed
    assert not merged.decisions
    assert not merged.conflicts


def test_an_overflow_refuses_the_revival_too() -> None:
    row = server(on_hand=INTEGER_MAX)
    row.send("delete", "B", 20, 1)
    with pytest.raises(Refuse, match="overflow"):
        row.send("update", "A", 30, 1, on_hand=1)
    assert row.row.values is None
