"""Lineage of tables and columns by declared steps: what is declared, what is proposed."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.core.errors import SchemaError
from holdfast.schema.lineage import lineage, serves
from holdfast.schema.migrations import Migration, MigrationStep
from holdfast.schema.model import Check, Column, ForeignKey, Schema, Table
from holdfast.schema.proposal import propose

ITEM = Table(
    name="item",
    key=("id",),
    columns=(Column("id"), Column("name", default=""), Column("price", "integer", default="0")),
    scopes=("shop/{id}",),
    checks=(Check("name", "length", max=9),),
)
PART = Table(
    name="part", key=("id",), columns=(Column("id"), Column("item", nullable=True)),
    scopes=("main",), foreign_keys=(ForeignKey(("item",), "item"),),
)  # fmt: skip
FIRST = Schema(name="s", tables=(ITEM, PART))


def schema(*tables: Table, generation: int, **steps: tuple[MigrationStep, ...]) -> Schema:
    declared = tuple(Migration(int(name.removeprefix("to")), s) for name, s in steps.items())
    return Schema(name="s", tables=tables, generation=generation, migrations=declared)


def renamed(table: Table, called: str, /, **columns: str) -> Table:
    def now(one: str) -> str:
        return columns.get(one, one)

    return msgspec.structs.replace(
        table,
        name=called,
        key=tuple(map(now, table.key)),
        columns=tuple(msgspec.structs.replace(c, name=now(c.name)) for c in table.columns),
        scopes=tuple(s.replace("{id}", f"{{{now('id')}}}") for s in table.scopes),
        checks=tuple(msgspec.structs.replace(c, column=now(c.column)) for c in table.checks),
    )


TO_SECOND = (
    MigrationStep("rename_table", "item", to="article"),
    MigrationStep("rename_column", "article", "name", to="title"),
    MigrationStep("rename_column", "article", "id", to="code"),
)
CHILD = msgspec.structs.replace(PART, foreign_keys=(ForeignKey(("item",), "article"),))
SECOND = schema(renamed(ITEM, "article", name="title", id="code"), CHILD, generation=2, to2=TO_SECOND)  # fmt: skip # noqa: E501


def test_names_are_followed_through_generations() -> None:
    third = schema(
        renamed(ITEM, "article", name="words", id="code"), CHILD, generation=3,
        to2=TO_SECOND, to3=(MigrationStep("rename_column", "article", "title", to="words"),),
    )  # fmt: skip
    way = lineage(FIRST, third)
    assert way.hindrances == ()
    assert way.tables["article"].old is FIRST.by_name["item"]
    assert way.tables["article"].columns == {"code": "id", "words": "name", "price": "price"}
    assert way.tables["part"].reshaped, "it refers to a table of another name"
    assert not lineage(SECOND, third).tables["part"].reshaped
    assert lineage(third, third).additive


def test_two_columns_change_their_names() -> None:
    swapped = renamed(ITEM, "item", name="price", price="name")
    swapped = msgspec.structs.replace(swapped, checks=(Check("price", "length", max=9),))
    new = schema(
        swapped, PART, generation=2,
        to2=(
            MigrationStep("rename_column", "item", "name", to="between"),
            MigrationStep("rename_column", "item", "price", to="name"),
            MigrationStep("rename_column", "item", "between", to="price"),
        ),
    )  # fmt: skip
    way = lineage(FIRST, new)
    assert way.hindrances == ()
    assert way.tables["item"].columns == {"id": "id", "price": "name", "name": "price"}


def test_a_name_that_is_used_again_is_another_column() -> None:
    new = schema(
        ITEM, PART, generation=3,
        to2=(MigrationStep("drop_column", "item", "price"),),
    )  # fmt: skip
    way = lineage(FIRST, new)
    assert [column.name for column in way.tables["item"].added] == ["price"]
    assert [column.name for column in way.tables["item"].gone] == ["price"]
    assert way.tables["item"].reshaped and not way.additive and not serves(new, FIRST)


LESS = msgspec.structs.replace(ITEM, columns=ITEM.columns[:2])
TITLED = renamed(ITEM, "item", name="title")


@pytest.mark.parametrize(
    ("tables", "kinds", "choices"),
    [
        ((LESS, PART), {"drop_column"}, set()),
        ((TITLED, PART), {"drop_column"}, {("rename_column", "name", "title")}),
        ((ITEM,), {"drop_table"}, set()),
        ((renamed(ITEM, "article"), CHILD), {"drop_table", "drop_foreign_key", "add_foreign_key"},
         {("rename_table", "", "article")}),
        ((msgspec.structs.replace(ITEM, unique=(("id",),)), PART), {"add_unique"}, set()),
    ],
)  # fmt: skip
def test_what_is_not_declared_is_in_the_way_and_proposed(
    tables: tuple[Table, ...], kinds: set[str], choices: set[tuple[str, str, str]]
) -> None:
    new = schema(*tables, generation=2)
    way = lineage(FIRST, new)
    assert {step.kind for step in way.hindrances} == kinds
    proposal = propose(way)
    assert {(one.kind, one.column, one.to) for one in proposal.choices} == choices
    declared = msgspec.structs.replace(new, migrations=(Migration(2, proposal.steps),))
    assert lineage(FIRST, declared).hindrances == ()
    assert serves(declared, FIRST) == (kinds == {"add_unique"})


def test_a_rename_is_no_loss_when_it_is_chosen() -> None:
    new = schema(TITLED, PART, generation=2)
    (choice,) = propose(lineage(FIRST, new)).choices
    way = lineage(FIRST, msgspec.structs.replace(new, migrations=(Migration(2, (choice,)),)))
    assert way.hindrances == ()
    assert not way.tables["item"].gone


def test_keys_and_scopes_cannot_be_declared() -> None:
    other = msgspec.structs.replace(ITEM, scopes=("main",))
    proposal = propose(lineage(FIRST, schema(other, PART, generation=2)))
    assert [step.kind for step in proposal.impossible] == ["change_scopes"]


def test_the_floor_can_be_raised_without_a_step() -> None:
    second = schema(ITEM, PART, generation=2)
    assert serves(second, FIRST)
    assert not serves(msgspec.structs.replace(second, supports_from=2), FIRST)


@pytest.mark.parametrize(
    "wrong",
    [
        MigrationStep("rename_column", "item", "name"),
        MigrationStep("rename_table", "item", "name", to="x"),
        MigrationStep("drop_column", "item"),
        MigrationStep("drop_column", "item", "name", to="x"),
        MigrationStep("change_type", "item", "name"),
        MigrationStep("add_check", "item", "name", convert="1"),
        MigrationStep("rename_column", "item", "name", to='"; DROP TABLE x'),
        MigrationStep("change_type", "item", "name", convert=" "),
    ],
)
def test_a_step_that_says_too_little_or_too_much_is_refused(wrong: MigrationStep) -> None:
    with pytest.raises(SchemaError, match="migration to generation 2"):
        schema(ITEM, PART, generation=2, to2=(wrong,))


def test_migrations_go_up_to_the_generation() -> None:
    for wrong in (1, 3):
        with pytest.raises(SchemaError, match="from 2 to at most 2"):
            schema(ITEM, PART, generation=2, **{f"to{wrong}": ()})
    with pytest.raises(SchemaError, match="supports_from"):
        Schema(name="s", tables=(ITEM, PART), supports_from=2)


def test_the_json_form_has_them() -> None:
    assert Schema.from_json(SECOND.to_json()) == SECOND
    assert b"migrations" not in FIRST.to_json()
    assert msgspec.structs.replace(SECOND, migrations=()).fingerprint == SECOND.fingerprint
