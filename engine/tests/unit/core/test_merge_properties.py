"""The server's merge, for any history: what must hold whatever arrives in whatever order.

Checks I14, I18, I21.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from properties import examples

from holdfast.core.errors import Refuse
from holdfast.core.limits import INTEGER_MAX, INTEGER_MIN
from holdfast.core.merging import merge as merging
from holdfast.core.merging.merge import Author, Merged, RowChange, merge
from holdfast.core.merging.rows import ABSENT, ServerRow, Stamp, dump_stamps, load_stamps, stamp_of
from holdfast.core.values import Value
from holdfast.schema.model import Column, DeletePolicy, Table

BOUNDED = settings(max_examples=examples(200))

INCARNATION = 9
FIRST = (INCARNATION << 32) + 1
Op = Literal["insert", "update", "delete"]


def table_of(on_delete: DeletePolicy) -> Table:
    return Table(
        name="item",
        key=("id",),
        columns=(
            Column("id"),
            Column("latest", default="d"),
            Column("also", nullable=True),
            Column("manual", merge="manual", default="d"),
            Column("server", merge="server", default="d"),
            Column("client", merge="client", default="d"),
            Column("largest", "integer", merge="largest", nullable=True),
            Column("smallest", "decimal", merge="smallest", scale=1, default="0.0"),
            Column("counter", "integer", merge="counter"),
        ),
        scopes=("catalog",),
        on_delete=on_delete,
    )


TABLES = {policy: table_of(policy) for policy in ("keep", "delete", "manual")}
TABLE = TABLES["keep"]
TEXTS = ("latest", "manual", "server", "client")
START: dict[str, Value] = {
    "latest": "s", "also": "s", "manual": "s", "server": "s", "client": "s",
    "largest": 5, "smallest": "5.0", "counter": 0,
}  # fmt: skip

text = st.sampled_from("dxyz")
wide = st.integers(INTEGER_MIN, INTEGER_MAX)
values: dict[str, st.SearchStrategy[Value]] = {
    **dict.fromkeys(TEXTS, text),
    "also": st.none() | text,
    "largest": st.none() | st.integers(0, 12),
    "smallest": st.integers(0, 12).map(lambda n: f"{n}.0"),
    "counter": st.integers(-3, 3),
}
whole = st.fixed_dictionaries(values)
some = st.fixed_dictionaries({}, optional=values).filter(bool)
devices = st.sampled_from("ABC")
times = st.integers(0, 50)


def change_of(
    op: Op, new: Mapping[str, Value], base: int = FIRST, *, table: Table = TABLE
) -> RowChange:
    return RowChange(table, "i1", ("i1",), op, base, {}, new, {})


def author_of(device: str, at: int) -> Author:
    return Author(device, f"user {device}", at, 1)


def started(**new: Value) -> ServerRow:
    """A row that device S inserted at time -1, before all else."""
    change = change_of("insert", {**START, **new}, 0)
    return merge(ABSENT, change, author_of("S", -1), incarnation=INCARNATION).row


def update(row: ServerRow, device: str, at: int, **new: Value) -> ServerRow:
    """An edit based on the first revision."""
    return merge(row, change_of("update", new), author_of(device, at), incarnation=1).row


def value(row: ServerRow, column: str) -> Value:
    assert row.values is not None
    return row.values[TABLE.positions[column]]


def visible(row: ServerRow) -> dict[str, Value]:
    assert row.values is not None
    return dict(zip(TABLE.column_names, row.values, strict=True))


# --- order does not matter ----------------------------------------------------------------------


@BOUNDED
@given(start=wide, steps=st.lists(st.tuples(devices, st.integers(-5, 5) | wide), max_size=8))
def test_counters_equal_the_sum_of_accepted_differences(
    start: int, steps: list[tuple[str, int]]
) -> None:
    row, total = started(counter=start), start
    for at, (device, difference) in enumerate(steps):
        try:
            row = update(row, device, at, counter=difference, latest=str(at))
        except Refuse:
            assert not INTEGER_MIN <= total + difference <= INTEGER_MAX
        else:
            total += difference
        assert value(row, "counter") == total


@BOUNDED
@given(steps=st.lists(st.tuples(devices, st.integers(-(2**40), 2**40)), max_size=8), data=st.data())
def test_counters_add_up_in_any_order(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    row = started()
    for device, difference in data.draw(st.permutations(steps)):
        row = update(row, device, 1, counter=difference)
    assert value(row, "counter") == sum(difference for _, difference in steps)


@BOUNDED
@given(one=some, other=some, one_at=times, other_at=times)
def test_different_columns_both_survive_in_either_order(
    one: dict[str, Value], other: dict[str, Value], one_at: int, other_at: int
) -> None:
    other = {name: other[name] for name in other.keys() - one.keys()}
    one_way = update(update(started(), "A", one_at, **one), "B", other_at, **other)
    other_way = update(update(started(), "B", other_at, **other), "A", one_at, **one)
    assert one_way.values == other_way.values
    assert visible(one_way) == {"id": "i1", **START, **one, **other}


@st.composite
def chains(draw: st.DrawFn) -> tuple[dict[str, list[tuple[int, str]]], list[str]]:
    """Edits (time, value) of up to three devices, and an order of arrival that keeps each one's."""
    moments = draw(st.lists(times, min_size=1, max_size=7, unique=True))
    made: dict[str, list[tuple[int, str]]] = {"A": [], "B": [], "C": []}
    for at in moments:
        made[draw(devices)].append((at, draw(text)))
    return made, [device for device, edits in made.items() for _ in edits]


@BOUNDED
@given(made=chains(), data=st.data())
def test_latest_does_not_depend_on_the_order_of_arrival(
    made: tuple[dict[str, list[tuple[int, str]]], list[str]], data: st.DataObject
) -> None:
    """Times need not even rise within a device: what follows counts as no older than before."""
    edits, arrivals = made
    row = started()
    waiting = {device: iter(chain) for device, chain in edits.items()}
    for device in data.draw(st.permutations(arrivals)):
        at, new = next(waiting[device])
        row = update(row, device, at, latest=new)
    newest = max((chain for chain in edits.values() if chain), key=max)
    assert value(row, "latest") == newest[-1][1]
    assert stamp_of(row, "latest").at == max(newest)[0]


@BOUNDED
@given(
    inserts=st.lists(st.tuples(text, st.none() | text), min_size=2, max_size=3),
    moments=st.lists(times, min_size=3, max_size=3, unique=True),
)
def test_inserts_of_one_key_converge_in_every_order(
    inserts: list[tuple[str, str | None]], moments: list[int]
) -> None:
    arrivals = list(zip("ABC", moments, inserts, strict=False))
    results = set()
    for order in itertools.permutations(arrivals):
        row = ABSENT
        for device, at, (latest, also) in order:
            new = {**START, "latest": latest, "also": also, "counter": 1}
            author = author_of(device, at)
            row = merge(row, change_of("insert", new, 0), author, incarnation=3).row
        assert value(row, "counter") == len(inserts)
        results.add((value(row, "latest"), value(row, "also")))
    chosen = [(at, latest) for _, at, (latest, _) in arrivals if latest != "d"]
    assert len(results) == 1
    assert results.pop()[0] == (max(chosen)[1] if chosen else "d")


DEFAULTS: dict[str, Value] = {c.name: c.default_value() for c in TABLE.data_columns}


@BOUNDED
@given(
    choices=st.lists(st.tuples(some, times), min_size=1, max_size=3),
    apart=st.lists(st.booleans(), min_size=3, max_size=3),
    data=st.data(),
)
def test_a_choice_counts_the_same_in_the_insert_and_after_it(
    choices: list[tuple[dict[str, Value], int]], apart: list[bool], data: st.DataObject
) -> None:
    """Devices insert one key and choose something, in one transaction or in two; nobody pulls."""
    choices = [
        ({name: new for name, new in made.items() if new != DEFAULTS[name]}, at)
        for made, at in choices
    ]
    arrivals = [d for d, (_, split) in zip("ABC", zip(choices, apart, strict=False), strict=False)
                for _ in range(1 + split)]  # fmt: skip
    rows, records = [], []
    order = data.draw(st.permutations(arrivals))
    last = {device: at for at, device in enumerate(order)}
    for split in (True, False):
        row, record, inserted = ABSENT, [], set()
        for place, device in enumerate(order):
            new, at = choices["ABC".index(device)]
            divided = split and order.count(device) == 2
            op: Op = "update" if device in inserted else "insert"
            if not divided and place != last[device]:
                continue  # made whole where its second half arrives
            if op == "insert":
                new = DEFAULTS if divided else {**DEFAULTS, **new}
            inserted.add(device)
            merged = merge(row, change_of(op, new, 0), author_of(device, at), incarnation=3)
            row = merged.row
            record += [(d.column, d.kind, d.lost) for d in merged.decisions]
            record += [(c.column, c.kind, c.mine) for c in merged.conflicts]
        rows.append(row)
        records.append(record)
    assert rows[0].values == rows[1].values
    assert sorted(records[0], key=repr) == sorted(records[1], key=repr)
    chosen: dict[str, set[Value]] = {name: set() for name in DEFAULTS}
    for new, _ in choices:
        for name, value_ in new.items():
            chosen[name].add(value_)
    for name, wanted in chosen.items():
        wanted -= {DEFAULTS[name]}
        if len(wanted) == 1 and name != "counter":
            event("one value was chosen, by one device or by several")
            if name not in ("largest", "smallest") or len(choices) == 1:
                assert value(rows[0], name) in wanted


# --- any history --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    device: str
    op: Op
    at: int
    pull: bool
    new: Mapping[str, Value]


steps_of = st.lists(
    st.builds(Step, devices, st.just("insert"), times, st.booleans(), whole)
    | st.builds(Step, devices, st.just("update"), times, st.booleans(), some)
    | st.builds(Step, devices, st.just("update"), times, st.booleans(), some)
    | st.builds(Step, devices, st.just("delete"), times, st.booleans(), st.just({})),
    max_size=12,
)


@dataclass
class World:
    """A row, three devices that pull now and then, and who is known to have written what stands.

    ``writers``: of each column's present value, the devices that wrote it, with the revision in
    which whoever pulls sees it. ``makers``: the same of the devices that have inserted the row.
    ``born``: the revision in which defaults came to stand there.
    """

    table: Table
    row: ServerRow = ABSENT
    bases: dict[str, int] = field(default_factory=dict)
    writers: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    makers: dict[str, int] = field(default_factory=dict)
    born: int = 0

    def change(self, step: Step) -> RowChange:
        if step.pull:
            self.bases[step.device] = self.row.rev
        return change_of(step.op, step.new, self.bases.get(step.device, 0), table=self.table)

    def take(self, step: Step, merged: Merged) -> None:
        before, self.row = self.row, merged.row
        if merged.row.values is None:
            return
        begins = before.values is None and step.op == "insert"
        if begins:
            self.makers, self.born = {}, merged.row.rev
        if before.values is None or any(c.kind == "edit" for c in merged.conflicts):
            self.makers[step.device] = merged.row.rev
        elif step.op == "insert":
            self.makers[step.device] = next(iter(self.makers.values()), merged.row.rev)
        for column in self.table.data_columns:
            name = column.name
            chose = step.new.get(name) != column.default_value()
            if begins:
                self.writers[name] = [(step.device, merged.row.rev)] if chose else []
            elif name in step.new:
                old = (before.values or before.image or ())[self.table.positions[name]]
                now = merged.row.values[self.table.positions[name]]
                if now != old:
                    self.writers[name] = [(step.device, merged.row.rev)]
                elif step.op == "insert" and now == column.default_value():
                    continue  # nobody chose that
                elif now == step.new[name] and column.merge != "counter":
                    # Who chooses the default that stands there chooses what others have seen.
                    alone = merged.row.rev if column.merge == "latest" else self.born
                    first = next((rev for _, rev in self.writers[name]), alone)
                    self.writers[name].append((step.device, first))

    def unseen(self, name: str, step: Step) -> bool:
        base = self.bases.get(step.device, 0)
        return any(device != step.device and rev > base for device, rev in self.writers[name])

    def made_unseen(self, step: Step) -> bool:
        base = self.bases.get(step.device, 0)
        return any(device != step.device and rev > base for device, rev in self.makers.items())


def histories(steps: list[Step], on_delete: DeletePolicy) -> list[tuple[World, Step, Merged]]:
    """Each step that was not refused, with the world as it was before it."""
    world, taken = World(TABLES[on_delete]), []
    for step in steps:
        change = world.change(step)
        given_row, before = world.row, copy.deepcopy(world)
        try:
            merged = merge(world.row, change, author_of(step.device, step.at), incarnation=7)
        except Refuse:
            event("refused: an update of what is not there")
            assert step.op == "update"
            assert world.row.values is None
        else:
            world.take(step, merged)
            taken.append((before, step, merged))
        assert given_row == before.row, "merge has changed what it was given"
    return taken


on_deletes = st.sampled_from(("keep", "delete", "manual"))


@BOUNDED
@given(steps=steps_of)
def test_the_short_way_of_an_update_comes_to_what_the_policies_decide(steps: list[Step]) -> None:
    for world, step, _ in histories(steps, "keep"):
        if step.op != "update" or world.row.values is None:
            continue
        author = author_of(step.device, step.at)
        for old in ({}, visible(world.row), START):  # what it says that it replaces
            change = replace(world.change(step), old=old)
            followed = merging._follow(world.row, world.row.values, change, author)
            if followed is None:
                event("an update needed a closer look")
                continue
            event("an update followed")
            decided = merging._edit(world.row, world.row.values, change, author, frozenset())
            assert decided == Merged(followed, changed=True)


@BOUNDED
@given(steps=steps_of, on_delete=on_deletes)
def test_revisions_tell_what_changed(steps: list[Step], on_delete: DeletePolicy) -> None:
    for world, step, merged in histories(steps, on_delete):
        before, after = world.row, merged.row
        assert merged.changed == (after.rev > before.rev)
        assert after.rev - before.rev <= 1 or before is ABSENT or before.rev == 0
        if not merged.changed:
            assert (after.values, after.image) == (before.values, before.image)
        else:
            assert after.values != before.values or step.op == "insert" or merged.conflicts
        assert (after.values is None) == (after.deleted is not None or after.rev == 0)
        assert (after.values is None) or after.image is None
        for stamp in (*after.columns.values(), *filter(None, (after.row, after.deleted))):
            assert 0 <= stamp.other <= stamp.rev <= after.rev + 1
        assert after.deleted is None or after.deleted.other < after.deleted.rev == after.rev


@BOUNDED
@given(steps=steps_of, on_delete=on_deletes)
def test_untouched_columns_survive(steps: list[Step], on_delete: DeletePolicy) -> None:
    for world, step, merged in histories(steps, on_delete):
        before = world.row.values or world.row.image
        if before is None or merged.row.values is None or step.op == "insert":
            continue
        for name in world.table.column_names:
            if name not in step.new:
                position = world.table.positions[name]
                assert merged.row.values[position] == before[position]
                assert stamp_of(merged.row, name) == stamp_of(world.row, name)


@BOUNDED
@given(steps=steps_of, on_delete=on_deletes)
def test_every_loser_is_on_record(steps: list[Step], on_delete: DeletePolicy) -> None:
    for world, step, merged in histories(steps, on_delete):
        record = {(d.column, d.lost) for d in merged.decisions if d.kind != "delete"}
        record |= {(c.column, c.mine) for c in merged.conflicts if c.kind == "edit"}
        about_row = {d.kind for d in merged.decisions if d.column == ""}
        about_row |= {c.kind for c in merged.conflicts if c.column == ""}
        before, after = world.row.values, merged.row.values
        if step.op == "delete":
            lost = [n for n in step_columns(world) if before is not None and world.unseen(n, step)]
            if after is not None:
                event("a delete was dropped")
                assert about_row == {"delete"}
            elif lost:
                event("a delete took edits")
                assert {(n, before[world.table.positions[n]]) for n in lost if before} <= record
            elif before is not None and world.made_unseen(step):
                event("a delete took an insert of the same row")
                assert ("", None) in record
            continue
        if after is None:
            event("an edit was dropped")
            assert about_row == {"delete"} or set(step.new.items()) == record
            continue
        if before is None and step.op == "update":
            event("an edit revived the row")
            assert about_row == {"delete"}
        check_columns(world, step, merged, record)


def step_columns(world: World) -> list[str]:
    return [column.name for column in world.table.data_columns]


def check_columns(world: World, step: Step, merged: Merged, record: set[tuple[str, Value]]) -> None:
    after = merged.row.values
    before = world.row.values or (None if step.op == "insert" else world.row.image)
    assert after is not None
    for name, incoming in step.new.items():
        column, position = world.table.by_name[name], world.table.positions[name]
        now, default = after[position], column.default_value()
        if column.merge == "counter":
            old = 0 if before is None else before[position]
            assert isinstance(old, int)
            assert isinstance(incoming, int)
            assert now == old + incoming
            continue
        if now != incoming and not (step.op == "insert" and incoming == default):
            assert (name, incoming) in record
        if before is None or now == before[position] or not world.unseen(name, step):
            continue
        event("a value was overridden")
        if not (step.op == "insert" and before[position] == default):
            assert (name, before[position]) in record


@BOUNDED
@given(steps=steps_of, on_delete=on_deletes)
def test_merge_is_deterministic(steps: list[Step], on_delete: DeletePolicy) -> None:
    for world, step, merged in histories(steps, on_delete):
        change = change_of(step.op, step.new, world.bases.get(step.device, 0), table=world.table)
        again = merge(world.row, change, author_of(step.device, step.at), incarnation=7)
        assert again == merged


@BOUNDED
@given(steps=steps_of, on_delete=on_deletes)
def test_the_same_edit_again_is_no_conflict(steps: list[Step], on_delete: DeletePolicy) -> None:
    for world, step, merged in histories(steps, on_delete):
        if step.op == "delete" or "counter" in step.new or merged.row.values is None:
            continue
        if merged.decisions or merged.conflicts:
            continue
        change = change_of("update", step.new, world.bases.get(step.device, 0), table=world.table)
        again = merge(merged.row, change, author_of(step.device, step.at), incarnation=7)
        assert not again.changed
        assert not again.decisions
        assert not again.conflicts
        assert again.row == merged.row


@BOUNDED
@given(steps=steps_of, on_delete=on_deletes, lives=st.booleans())
def test_a_device_alone_is_never_in_conflict_with_itself(
    steps: list[Step], on_delete: DeletePolicy, *, lives: bool
) -> None:
    """Whatever one device does on what it has seen becomes the row, as it sees it itself."""
    row = started() if lives else ABSENT
    local: dict[str, Value] | None = {"id": "i1", **START} if lives else None
    for step in steps:
        if (step.op == "insert") == (local is not None):
            continue
        change = change_of(step.op, step.new, FIRST if lives else 0, table=TABLES[on_delete])
        merged = merge(row, change, author_of("A", step.at), incarnation=INCARNATION)
        row = merged.row
        assert not merged.decisions
        assert not merged.conflicts
        if step.op == "delete":
            local = None
            assert row.values is None
            continue
        added = {} if local is None else {"counter": local["counter"]}
        local = {"id": "i1", **(local or {}), **step.new}
        for name, old in added.items():
            more = step.new.get(name, 0)
            assert isinstance(old, int)
            assert isinstance(more, int)
            local[name] = old + more
        assert visible(row) == local


@BOUNDED
@given(
    steps=steps_of, on_delete=on_deletes, above=st.integers(1, 9), last=st.builds(
        Step, devices, st.sampled_from(("update", "delete")), times, st.just(False), some
    ),
)  # fmt: skip
def test_a_base_that_the_row_has_not_had_counts_as_none(
    steps: list[Step], on_delete: DeletePolicy, above: int, last: Step
) -> None:
    """Whoever says so has a damaged file: every write of others is concurrent with the edit."""
    taken = histories(steps, on_delete)
    row = taken[-1][2].row if taken else started()
    if row.rev == 0:
        return
    new = {} if last.op == "delete" else last.new
    author = author_of(last.device, last.at)
    results: list[Merged | str] = []
    for base in (0, row.rev + above):
        change = change_of(last.op, new, base, table=TABLES[on_delete])
        try:
            results.append(merge(row, change, author, incarnation=7))
        except Refuse as refusal:
            results.append(refusal.code)
    assert results[0] == results[1]


# --- stamps -------------------------------------------------------------------------------------

stamps = st.builds(
    Stamp,
    st.integers(0, 2**53 - 1),
    st.text(max_size=5),
    st.text(max_size=5),
    st.integers(-(2**53), 2**53),
    st.integers(0, 2**53 - 1),
)


@BOUNDED
@given(
    row=st.none() | stamps,
    columns=st.dictionaries(st.sampled_from("abcdef"), stamps),
    deleted=st.none() | stamps,
)
def test_stamps_round_trip(
    row: Stamp | None, columns: dict[str, Stamp], deleted: Stamp | None
) -> None:
    known = ServerRow(1, None, None, row, columns, deleted)
    assert load_stamps(dump_stamps(known)) == (row, columns, deleted)


def test_who_chooses_the_default_that_stands_there_is_not_unseen_by_who_saw_it() -> None:
    """A has seen "none" in the insert; that B means it too is no loss when A writes a value."""
    insert = {**DEFAULTS, "counter": 1}
    steps = [
        Step("A", "insert", 0, pull=False, new=insert),
        Step("A", "update", 0, pull=True, new={"counter": 1}),
        Step("A", "insert", 0, pull=False, new=insert),
        Step("B", "update", 0, pull=False, new={"largest": None}),
        Step("A", "update", 0, pull=False, new={"largest": 0}),
    ]
    for world, step, merged in histories(steps, "keep"):
        check_columns(world, step, merged, {(d.column, d.lost) for d in merged.decisions})
    assert value(merged.row, "largest") == 0
