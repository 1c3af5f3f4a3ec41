"""Sets, for any history: an addition wins, none is lost, and the order of arrival does not matter.

Checks I18.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast.core.errors import BadValue, Refuse
from holdfast.core.limits import SET_BYTES_MAX
from holdfast.core.merging import sets
from holdfast.core.merging.merge import Author, RowChange, merge
from holdfast.core.merging.rows import ABSENT, ServerRow, dump_stamps, load_stamps
from holdfast.schema.model import Column, Table

BOUNDED = settings(max_examples=examples(150))
TABLE = Table(
    name="item",
    key=("id",),
    columns=(Column("id"), Column("tags", "json", merge="set"), Column("name", default="")),
    scopes=("catalog",),
)
START = frozenset("ab")
LETTERS = "abcd"


def array(texts: frozenset[str] | set[str]) -> str:
    return json.dumps(sorted(texts))


def word(added: set[str], removed: set[str]) -> str:
    return json.dumps({"add": sorted(added), "remove": sorted(removed)})


def tags(row: ServerRow) -> frozenset[str]:
    assert row.values is not None
    return frozenset(json.loads(str(row.values[1])))


@dataclass
class Server:
    """One row; whoever writes says what it had seen."""

    row: ServerRow = ABSENT
    told: list[ServerRow] = field(default_factory=list)

    def take(self, device: str, base: int, new: dict[str, str], *, inserts: bool = False) -> None:
        op: Literal["insert", "update"] = "insert" if inserts else "update"
        change = RowChange(TABLE, "i", ("i",), op, base, {}, new, {})
        merged = merge(self.row, change, Author(device, device, 5, 1), incarnation=7)
        assert not merged.conflicts
        assert not merged.decisions
        assert merged.changed == (merged.row.rev > self.row.rev)
        again = load_stamps(dump_stamps(merged.row))
        assert again == (merged.row.row, merged.row.columns, merged.row.deleted)
        self.row = merged.row


def started() -> Server:
    server = Server()
    server.take("S", 0, {"tags": array(START), "name": ""}, inserts=True)
    return server


@dataclass(frozen=True)
class Edit:
    """What a device does to what it sees; before it, it may hear of all that the server has."""

    device: str
    hears: bool
    toggles: frozenset[str]


edits = st.lists(
    st.builds(
        Edit, st.sampled_from("ABC"), st.booleans(),
        st.frozensets(st.sampled_from(LETTERS), min_size=1, max_size=2),
    ),
    max_size=9,
)  # fmt: skip


@BOUNDED
@given(history=edits)
def test_an_element_is_there_as_long_as_an_addition_of_it_is_unseen_by_who_removes_it(
    history: list[Edit],
) -> None:
    """The classic observed-remove set says what must be there: each addition has a tag, a removal
    takes the tags that its maker has seen, and an element is there while it has a tag."""
    server = started()
    tagged = {(letter, 0) for letter in START}
    seen = {device: (server.row.rev, set(tagged)) for device in "ABC"}
    for number, edit in enumerate(history, 1):
        if edit.hears:
            seen[edit.device] = server.row.rev, set(tagged)
        base, known = seen[edit.device]
        visible = {letter for letter, _ in known}
        added, removed = edit.toggles - visible, edit.toggles & visible
        if {letter for letter, _ in tagged} & added:
            event("added once more")
        gone = {tag for tag in known if tag[0] in removed}
        if {letter for letter, _ in tagged - gone} & removed:
            event("an addition won")
        tagged = (tagged - gone) | {(letter, number) for letter in added}
        seen[edit.device] = base, (known - gone) | {(letter, number) for letter in added}
        server.take(edit.device, base, {"tags": word(set(added), set(removed))})
        assert tags(server.row) == {letter for letter, _ in tagged}


@BOUNDED
@given(
    made=st.dictionaries(st.sampled_from("ABC"), st.lists(
        st.frozensets(st.sampled_from(LETTERS), min_size=1), max_size=3), min_size=1),
    data=st.data(),
)  # fmt: skip
def test_the_order_of_arrival_does_not_matter(
    made: dict[str, list[frozenset[str]]], data: st.DataObject
) -> None:
    """Devices that have not heard of each other: their transactions arrive in any order."""
    arrivals = [device for device, those in made.items() for _ in those]
    results = set()
    for order in (arrivals, data.draw(st.permutations(arrivals))):
        server = started()
        base = server.row.rev
        visible = {device: set(START) for device in made}
        waiting = {device: iter(those) for device, those in made.items()}
        for device in order:
            toggles = next(waiting[device])
            added, removed = toggles - visible[device], toggles & visible[device]
            visible[device] ^= toggles
            server.take(device, base, {"tags": word(set(added), set(removed))})
        results.add(tags(server.row))
    assert len(results) == 1


@BOUNDED
@given(
    start=st.frozensets(st.sampled_from(LETTERS)),
    ours=st.lists(st.frozensets(st.sampled_from(LETTERS)), min_size=1, max_size=4),
    theirs=st.frozensets(st.sampled_from(LETTERS)),
)
def test_a_replica_shows_its_changes_on_news_and_keeps_every_addition(
    start: frozenset[str], ours: list[frozenset[str]], theirs: frozenset[str]
) -> None:
    current, before = array(theirs), array(start)
    for after in ours:
        replayed = sets.replay(current, before, array(after))
        said = json.loads(str(sets.difference(before, array(after))))
        was, now = set(json.loads(current)), set(json.loads(str(replayed)))
        assert now == was - set(said["remove"]) | set(said["add"])
        current, before = str(replayed), array(after)
    assert set(json.loads(current)) >= ours[-1] - start


letters = st.frozensets(st.sampled_from(LETTERS))


@BOUNDED
@given(start=letters, states=st.lists(letters, min_size=2, max_size=2), now=letters)
def test_two_changes_made_one_do_what_both_do(
    start: frozenset[str], states: list[frozenset[str]], now: frozenset[str]
) -> None:
    """On whatever stands: what the second takes back of the first is gone."""
    words = [
        sets.difference(array(a), array(b)) for a, b in zip((start, *states), states, strict=False)
    ]
    both = json.loads(str(sets.join(*words)))
    each = set(now)
    for said in map(json.loads, map(str, words)):
        each = each - set(said["remove"]) | set(said["add"])
    assert set(now) - set(both["remove"]) | set(both["add"]) == each
    assert set(json.loads(str(sets.join(array(now), words[0])))) == (now - (start - states[0])) | (
        states[0] - start
    )


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)  # fmt: skip


@BOUNDED
@given(value=st.lists(documents, max_size=4), indent=st.sampled_from([None, 1]))
def test_elements_are_the_same_however_they_are_written(value: list[object], indent: int) -> None:
    plain = sets.elements(json.dumps(value))
    assert sets.elements(json.dumps(value, ensure_ascii=False, indent=indent)) == plain
    assert sets.elements(json.dumps(value, sort_keys=True)) == plain
    assert all(json.loads(text) in value for text in plain)
    assert all(any(json.loads(text) == one for text in plain) for one in value)
    assert sets.elements(f"[{','.join(plain)}]") == plain


def test_what_is_added_once_more_is_told_to_everybody() -> None:
    """B adds what A has added, unseen; C has seen only A's addition and removes it: B's stays."""
    server = started()
    first = server.row.rev
    server.take("A", first, {"tags": word({"c"}, set())})
    seen = server.row.rev
    server.take("B", first, {"tags": word({"c"}, set())})
    assert server.row.rev > seen
    server.take("C", seen, {"tags": word(set(), {"c"})})
    assert tags(server.row) == {"a", "b", "c"}
    server.take("C", server.row.rev, {"tags": word(set(), {"c"})})
    assert tags(server.row) == {"a", "b"}


def test_a_row_forgets_the_stamps_of_what_is_gone() -> None:
    server = started()
    known = dump_stamps(server.row)
    for number in range(50):
        server.take("A", server.row.rev, {"tags": word({f"x{number}"}, set())})
        server.take("A", server.row.rev, {"tags": word(set(), {f"x{number}"})})
    assert len(dump_stamps(server.row)) < len(known) + 60


def test_two_inserts_of_a_key_have_the_elements_of_both() -> None:
    server = Server()
    server.take("A", 0, {"tags": '["a","b"]', "name": ""}, inserts=True)
    server.take("B", 0, {"tags": '["c","b"]', "name": ""}, inserts=True)
    server.take("C", 0, {"tags": "[]", "name": ""}, inserts=True)
    assert tags(server.row) == {"a", "b", "c"}


def test_a_set_that_grows_too_large_is_refused_with_a_way_out() -> None:
    server = started()
    base = server.row.rev
    server.take("A", base, {"tags": word({"x" * (SET_BYTES_MAX // 2)}, set())})
    with pytest.raises(Refuse) as refused:
        server.take("B", base, {"tags": word({"y" * (SET_BYTES_MAX // 2)}, set())})
    assert refused.value.code == "overflow"
    assert "Remove something" in refused.value.message


@pytest.mark.parametrize(
    ("wire", "updates"),
    [("{}", False), ('"a"', False), ("[]", True), ("{}", True), ('{"add":[]}', True),
     ('{"add":[],"remove":[],"more":[]}', True), ('{"add":{},"remove":[]}', True), ("x", True),
     (f'["{"x" * SET_BYTES_MAX}"]', False), (7, True), ("[" * 512 + "]" * 512, False)],
)  # fmt: skip
def test_what_is_no_set_and_no_change_of_one_is_bad(wire: object, *, updates: bool) -> None:
    with pytest.raises(BadValue):
        sets.check(TABLE.by_name["tags"], wire, updates)


def test_sets_are_read_as_deep_as_json_may_be() -> None:
    deep = "[" * 500 + "]" * 500
    assert sets.elements(f'["a", {deep}]') == ['"a"', deep]
    assert sets.replay("[]", "[]", f"[{deep}]") == f"[{deep}]"
    objects = '{"b":' * 400 + "1" + "}" * 400
    assert sets.elements(f"[ {objects} ]") == [objects]


def test_a_whole_set_that_was_chosen_takes_the_place_of_what_was_seen() -> None:
    server = started()
    seen = server.row.rev
    server.take("A", seen, {"tags": word({"c"}, set())})
    server.take("B", seen, {"tags": '["b","d"]'})
    assert tags(server.row) == {"b", "c", "d"}


def test_an_element_both_added_and_removed_is_added() -> None:
    said = sets.check(TABLE.by_name["tags"], word({"a"}, {"a", "b"}), True)
    assert said == '{"add":["a"],"remove":["b"]}'
