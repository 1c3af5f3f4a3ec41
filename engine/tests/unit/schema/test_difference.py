"""What differs between two schemas: every declaration is compared, and additive steps compose."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import SchemaError
from holdfast.schema import Check, Column, ForeignKey, Schema, Table
from holdfast.schema.difference import difference
from holdfast.schema.lineage import floor_steps, lineage
from holdfast.server.store.growth import growth

COLUMNS = (Column("id"), Column("name"), Column("size", "integer", default=5), Column("b"))
PARENT = Table("parent", ("id",), (Column("id"),), ("all",))
CHILD = Table(
    "child", ("id",), COLUMNS, ("all",), unique=(("name",), ("b",)), existence_public=True,
    checks=(Check("size", "range", min=0, max=10), Check("b", "one_of", values=("x", "y"))),
    groups=(("name", "b"),),
)  # fmt: skip
OLD = Schema("d", (PARENT, CHILD), generation=3, local=("CREATE TABLE cache (a)",))


def changed(table: Table = CHILD, **parts: Any) -> Schema:
    """The schema's next generation, with its child changed."""
    child = msgspec.structs.replace(table, **parts)
    return msgspec.structs.replace(OLD, tables=(PARENT, child), generation=4)


def with_column(name: str, **parts: Any) -> Schema:
    columns = (
        msgspec.structs.replace(column, **parts) if column.name == name else column
        for column in COLUMNS
    )
    return changed(columns=tuple(columns))


def with_checks(*checks: Check) -> Schema:
    return changed(checks=checks)


RANGE, CHOICE = CHILD.checks
ADDITIVE: list[tuple[str, Schema]] = [
    ("add_column", changed(columns=(*COLUMNS, Column("c", nullable=True)))),
    ("add_column", changed(columns=(COLUMNS[0], Column("c", default="1"), *COLUMNS[1:]))),
    ("add_column", changed(columns=(*COLUMNS, Column("c", default="", fill="upper(name)")))),
    ("add_column", changed(columns=(*COLUMNS, Column("c", "integer", merge="counter")))),
    ("drop_check", with_checks(RANGE)),
    ("widen_check", with_checks(Check("size", "range", min=0, max=11), CHOICE)),
    ("widen_check", with_checks(Check("size", "range", max=10), CHOICE)),
    ("widen_check", with_checks(RANGE, Check("b", "one_of", values=("y", "z", "x")))),
    ("change_check_order", with_checks(CHOICE, RANGE)),
    ("add_table", msgspec.structs.replace(OLD, tables=(
        PARENT, CHILD,
        Table("more", ("id",), (Column("id"), Column("of")), ("all",), unique=(("of",),),
              existence_public=True, foreign_keys=(ForeignKey(("of",), "parent"),)),
    ))),
    ("change_table_order", msgspec.structs.replace(OLD, tables=(CHILD, PARENT))),
    ("change_local", msgspec.structs.replace(OLD, local=("CREATE TABLE cache (a, b)",))),
]  # fmt: skip
OTHERS: list[tuple[str, Schema]] = [
    ("change_name", msgspec.structs.replace(OLD, name="e")),
    ("drop_table", msgspec.structs.replace(OLD, tables=(CHILD,))),
    ("drop_column", changed(
        columns=COLUMNS[:3], unique=CHILD.unique[:1], checks=(RANGE,), groups=())),
    ("add_column", changed(columns=(*COLUMNS, Column("c")))),
    ("change_type", with_column("size", type="real", default=None, nullable=True)),
    ("change_policy", with_column("size", merge="counter")),
    ("change_nullable", with_column("name", nullable=True)),
    ("change_default", with_column("size", default=6)),
    ("change_fill", with_column("size", fill="1")),
    ("change_column_order", changed(columns=(*COLUMNS[:1], *COLUMNS[:0:-1]))),
    ("change_key", changed(key=("id", "name"), groups=())),
    ("change_scopes", changed(scopes=("all", "more"))),
    ("change_scopes", changed(scopes=("{name}",))),
    ("change_delete_policy", changed(on_delete="manual")),
    ("change_reach", changed(existence_public=False, scopes=("all",), unique=CHILD.unique)),
    ("add_check", with_checks(RANGE, CHOICE, Check("name", "not_empty"))),
    ("tighten_check", with_checks(Check("size", "range", min=1, max=11), CHOICE)),
    ("tighten_check", with_checks(RANGE, Check("b", "one_of", values=("x", "z")))),
    ("add_unique", changed(unique=(*CHILD.unique, ("size",)))),
    ("drop_unique", changed(unique=())),
    ("change_unique_order", changed(unique=CHILD.unique[::-1])),
    ("add_foreign_key", changed(foreign_keys=(ForeignKey(("b",), "parent"),))),
    ("add_group", changed(groups=(("name", "b"), ("size", "c")), columns=(
        *COLUMNS, Column("c", "integer", default=0)))),
    ("drop_group", changed(groups=())),
]  # fmt: skip


def named(part: object) -> str:
    return part if isinstance(part, str) else ""


@pytest.mark.parametrize(("kind", "new"), ADDITIVE, ids=named)
def test_what_older_devices_can_go_on_with_is_additive(kind: str, new: Schema) -> None:
    found = difference(OLD, new)
    assert kind in {step.kind for step in found.steps}
    assert found.additive and not found.hindrances, found.words()
    assert "not additive" not in found.words()


@pytest.mark.parametrize(("kind", "new"), OTHERS, ids=named)
def test_nothing_else_is(kind: str, new: Schema) -> None:
    found = difference(OLD, new)
    assert kind in {step.kind for step in found.hindrances}, found.words()
    assert not found.additive
    with pytest.raises(SchemaError) as caught:
        growth("the file", OLD, msgspec.structs.replace(new, generation=4))
    assert caught.value.code == "schema_mismatch"
    assert all(step.text in str(caught.value) for step in found.hindrances)


GO_ON = {
    "add_check", "tighten_check", "add_unique", "add_foreign_key", "change_column_order",
}  # fmt: skip
"""Steps that the server alone has to do with: its older devices go on when they are declared."""


@pytest.mark.parametrize(("kind", "new"), [*ADDITIVE, *OTHERS], ids=named)
def test_a_step_that_devices_have_to_know_raises_the_floor(kind: str, new: Schema) -> None:
    steps = difference(OLD, new).hindrances
    found = floor_steps(lineage(OLD, new))
    assert bool(found) == (not {step.kind for step in steps} <= GO_ON), (kind, found)
    assert {step.text for step in steps if step.kind not in GO_ON} <= set(found), kind


def test_a_policy_raises_the_floor_when_devices_say_something_else_under_it() -> None:
    before = with_column("size", merge="latest")
    for merge, goes_on in (
        ("largest", True),
        ("client", True),
        ("counter", False),
        ("manual", False),
    ):
        now = with_column("size", merge=merge)
        assert bool(floor_steps(lineage(before, now))) is not goes_on, merge
    for policy, goes_on in (("delete", True), ("manual", False)):
        assert bool(floor_steps(lineage(OLD, changed(on_delete=policy)))) is not goes_on, policy


def test_each_declaration_has_a_step_when_it_changes() -> None:
    """Who adds a field to a declaration says what its change means, and names the field here."""
    for struct, known in (
        (Table, {"name", "key", "columns", "scopes", "on_delete", "unique", "foreign_keys",
                 "checks", "existence_public", "groups"}),
        (Column, {"name", "type", "merge", "nullable", "default", "corrected", "scale", "fill"}),
        (Schema, {"name", "tables", "generation", "local", "migrations", "supports_from"}),
    ):  # fmt: skip
        assert {field.name for field in msgspec.structs.fields(struct)} == known


def test_a_default_that_does_not_pass_its_check_is_not_additive() -> None:
    column = Column("c", "integer", default=5)
    for check, fits in (
        (Check("c", "range", min=0, max=5), True),
        (Check("c", "range", min=6), False),
        (Check("c", "one_of", values=("5",)), True),
        (Check("c", "one_of", values=("4",)), False),
    ):
        new = changed(columns=(*COLUMNS, column), checks=(*CHILD.checks, check))
        assert difference(OLD, new).additive is fits
    text = Column("c", default="")
    for check in (Check("c", "not_empty"), Check("c", "length", min=1)):
        new = changed(columns=(*COLUMNS, text), checks=(*CHILD.checks, check))
        assert not difference(OLD, new).additive


def test_a_generation_has_one_schema() -> None:
    """Even what could be added is not, while the number says that nothing was."""
    grown = msgspec.structs.replace(ADDITIVE[0][1], generation=3)
    with pytest.raises(SchemaError, match=r"column c is new .* generation 4 or higher") as caught:
        growth("the file", OLD, grown)
    assert caught.value.code == "generation_reused"
    assert growth("the file", OLD, ADDITIVE[0][1]).additive
    with pytest.raises(SchemaError, match="an older one"):
        growth("the file", ADDITIVE[0][1], OLD)


# Any schemas

CHECKS = st.one_of(
    st.builds(
        lambda least, more: Check("n", "range", min=least, max=least + more),
        st.integers(0, 2), st.integers(0, 2),
    ),
    st.sets(st.sampled_from("0123"), min_size=1).map(
        lambda some: Check("n", "one_of", values=tuple(sorted(some)))
    ),
)  # fmt: skip


@st.composite
def schemas(draw: st.DrawFn, generation: int = 1) -> Schema:
    """One of few small schemas, so that two of them are often additive."""
    names = draw(st.sets(st.sampled_from("ab"), max_size=2))
    columns = [Column("id"), Column("n", "integer", default=1)]
    columns += [Column(name, default="", nullable=draw(st.booleans())) for name in sorted(names)]
    if draw(st.integers(0, 5)) == 0:
        columns.reverse()
    groups = (("a", "b"),) if len(names) == 2 and draw(st.booleans()) else ()
    checks = tuple(draw(st.lists(CHECKS, max_size=2, unique=True)))
    table = Table("t", ("id",), tuple(columns), ("all",), checks=checks, groups=groups)
    more = (PARENT,) if draw(st.booleans()) else ()
    return Schema("d", (table, *more), generation=generation)


@given(schemas())
def test_nothing_differs_from_itself(one: Schema) -> None:
    again = Schema.from_json(one.to_json())
    assert difference(one, again).steps == ()
    assert difference(one, again).words() == ""


@given(schemas(), schemas())
def test_different_schemas_have_steps(one: Schema, other: Schema) -> None:
    assert bool(difference(one, other).steps) is (one.fingerprint != other.fingerprint)


@pytest.mark.slow
@given(st.lists(schemas(), min_size=3, max_size=12))
def test_additive_steps_compose(some: list[Schema]) -> None:
    """Of any schemas, from one to the next that is additive: so are all ways along them."""
    chain = [some[0]]
    for one in some[1:]:
        if difference(chain[-1], one).additive:
            chain.append(one)
    for index, first in enumerate(chain):
        assert all(difference(first, later).additive for later in chain[index:])
