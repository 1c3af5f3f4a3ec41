"""The difference between two generations of a schema, step by step, and which are additive.

Knows: declarations, and what devices of an older generation can go on with. Must not know: SQL,
databases, or how a step is made. Pure.

A difference is additive when all of its steps are: rows, changes and proofs of the older generation
can then be read as ones of the newer, and the other way round. Additive are

- new tables;
- new columns that are nullable or have a default, with checks of their own that the default
  passes, and groups of new columns only;
- checks that are dropped, or that accept all that one of the old ones accepts;
- whatever is ``local``.

Invariants: ``difference(a, a)`` has no steps; when a to b and b to c are additive, a to c is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from holdfast.core.values import from_wire
from holdfast.schema.model import Check, Column, ForeignKey, Schema, Table

StepKind = Literal[
    "change_name", "add_table", "drop_table", "change_table_order", "change_local",
    "add_column", "drop_column", "change_column_order",
    "change_type", "change_policy", "change_nullable", "change_default", "change_fill",
    "change_correction", "change_key", "change_scopes", "change_delete_policy", "change_reach",
    "add_check", "drop_check", "widen_check", "tighten_check", "change_check_order",
    "add_unique", "drop_unique", "change_unique_order",
    "add_foreign_key", "drop_foreign_key", "change_foreign_key_order",
    "add_group", "drop_group",
]  # fmt: skip

_HOW = {
    "merge": ("change_policy", "merge policy"),
    "nullable": ("change_nullable", "nullable"),
    "default": ("change_default", "default"),
    "fill": ("change_fill", "fill"),
    "corrected": ("change_correction", "corrected"),
}
"""What a column says of itself besides its type: the kind of step, and its word."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step from the older to the newer schema, with a sentence for people."""

    kind: StepKind
    table: str
    """Empty when it concerns the whole schema."""
    column: str
    """Empty when it concerns more than one column; else the column, or columns with commas."""
    text: str
    additive: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """All steps from one schema to another, in the order of the newer one's tables."""

    steps: tuple[Step, ...] = ()

    @property
    def additive(self) -> bool:
        """Return whether devices of the older generation can go on after it."""
        return all(step.additive for step in self.steps)

    @property
    def hindrances(self) -> tuple[Step, ...]:
        """The steps that are not additive."""
        return tuple(step for step in self.steps if not step.additive)

    def words(self) -> str:
        """Say it, a line for each step; empty when nothing differs."""
        return "\n".join(
            step.text if step.additive else f"{step.text} (not additive)" for step in self.steps
        )


def difference(old: Schema, new: Schema) -> Difference:
    """Return what makes ``new`` of ``old``. The generations themselves are not compared."""
    return Difference(tuple(_steps(old, new)))


def _steps(old: Schema, new: Schema) -> Iterator[Step]:
    if old.name != new.name:
        yield Step("change_name", "", "", f"the schema is named {new.name}, it was {old.name}")
    before = {table.name: table for table in old.tables}
    after = {table.name: table for table in new.tables}
    for name in before:
        if name not in after:
            yield Step("drop_table", name, "", f"table {name} is gone")
    for name, table in after.items():
        if name not in before:
            yield Step("add_table", name, "", f"table {name} is new", additive=True)
        else:
            yield from table_difference(before[name], table)
    if _reordered(tuple(before), tuple(after)):
        text = "tables stand in another order"
        yield Step("change_table_order", "", "", text, additive=True)
    if old.local != new.local:
        yield Step("change_local", "", "", _local_text(old.local, new.local), additive=True)


def table_difference(old: Table, new: Table) -> Iterator[Step]:
    """Yield the steps from one table to another of its name."""
    name = new.name
    if old.key != new.key:
        yield Step(
            "change_key", name, "", f"{name}: the key is {_list(new.key)}, it was {_list(old.key)}"
        )
    for column in old.columns:
        if column.name not in new.by_name:
            yield Step("drop_column", name, column.name, f"{name}: column {column.name} is gone")
    for column in new.columns:
        known = old.by_name.get(column.name)
        if known is None:
            yield _added(new, column)
        else:
            yield from _column_steps(name, known, column)
    if _reordered(old.column_names, new.column_names):
        yield Step("change_column_order", name, "", f"{name}: columns stand in another order")
    if old.scopes != new.scopes:
        yield Step(
            "change_scopes", name, "",
            f"{name}: its scopes are {_list(new.scopes)}, they were {_list(old.scopes)}",
        )  # fmt: skip
    if old.on_delete != new.on_delete:
        yield Step(
            "change_delete_policy", name, "",
            f"{name}: its delete policy is {new.on_delete}, it was {old.on_delete}",
        )  # fmt: skip
    if old.existence_public != new.existence_public:
        yield Step(
            "change_reach", name, "",
            f"{name}: existence_public is {new.existence_public}, it was {old.existence_public}",
        )  # fmt: skip
    yield from _check_steps(old, new)
    yield from _key_steps(old, new)
    yield from _group_steps(old, new)


def _added(table: Table, column: Column) -> Step:
    """A column is additive when the rows of older devices get a value that it can have."""
    where = f"{table.name}: column {column.name} is new"
    if not column.nullable and column.default_value() is None:
        what, additive = "required: it is neither nullable nor has it a default", False
    elif any(not _accepts(check, column) for check in table.checks if check.column == column.name):
        what, additive = f"its default {column.default!r} does not pass its check", False
    elif column.fill is not None:
        what, additive = f"filled by {column.fill}", True
    elif column.default_value() is None:
        what, additive = "nullable", True
    else:
        what, additive = f"default {column.default_value()!r}", True
    return Step("add_column", table.name, column.name, f"{where} ({what})", additive=additive)


def _column_steps(table: str, old: Column, new: Column) -> Iterator[Step]:
    where = f"{table}: column {new.name}"
    if (old.type, old.scale) != (new.type, new.scale):
        yield Step("change_type", table, new.name, f"{where} is {_type(new)}, it was {_type(old)}")
    for field, (kind, word) in _HOW.items():
        one, other = getattr(old, field), getattr(new, field)
        if one != other:
            text = f"{where}: {word} is {_said(other)}, it was {_said(one)}"
            yield Step(kind, table, new.name, text)  # type: ignore[arg-type]


def _check_steps(old: Table, new: Table) -> Iterator[Step]:
    """Each new check is one that was there, a looser or a tighter form of one, or new."""
    rest = [check for check in old.checks if check not in new.checks]
    for check in new.checks:
        if check in old.checks:
            continue
        where = f"{new.name}: {_check(check)}"
        if check.column not in old.by_name:
            # The column is new as well: whether its default passes is said there.
            yield Step("add_check", new.name, check.column, f"{where} is new", additive=True)
            continue
        kin = [one for one in old.checks if (one.column, one.kind) == (check.column, check.kind)]
        stricter = next((one for one in kin if _implies(one, check, new)), None)
        paired = stricter or next((one for one in kin if one in rest), None)
        if paired is None:
            yield Step("add_check", new.name, check.column, f"{where} is new")
            continue
        if paired in rest:
            rest.remove(paired)
        wider = stricter is not None
        yield Step(
            "widen_check" if wider else "tighten_check", new.name, check.column,
            f"{where} is {'looser' if wider else 'not looser'} than {_check(paired)}",
            additive=wider,
        )  # fmt: skip
    for check in rest:
        if check.column in new.by_name:
            text = f"{new.name}: {_check(check)} is gone"
            yield Step("drop_check", new.name, check.column, text, additive=True)
    if _reordered(old.checks, new.checks):
        text = f"{new.name}: checks stand in another order"
        yield Step("change_check_order", new.name, "", text, additive=True)


def _key_steps(old: Table, new: Table) -> Iterator[Step]:
    """Unique and foreign keys: no step of them is additive, on new columns either."""
    name = new.name
    for unique in old.unique:
        if unique not in new.unique:
            text = f"{name}: unique key {_list(unique)} is gone"
            yield Step("drop_unique", name, ",".join(unique), text)
    for unique in new.unique:
        if unique not in old.unique:
            text = f"{name}: unique key {_list(unique)} is new"
            yield Step("add_unique", name, ",".join(unique), text)
    if _reordered(old.unique, new.unique):
        text = f"{name}: unique keys stand in another order"
        yield Step("change_unique_order", name, "", text)
    for foreign in old.foreign_keys:
        if foreign not in new.foreign_keys:
            text = f"{name}: {_foreign(foreign)} is gone"
            yield Step("drop_foreign_key", name, ",".join(foreign.columns), text)
    for foreign in new.foreign_keys:
        if foreign not in old.foreign_keys:
            text = f"{name}: {_foreign(foreign)} is new"
            yield Step("add_foreign_key", name, ",".join(foreign.columns), text)
    if _reordered(old.foreign_keys, new.foreign_keys):
        text = f"{name}: foreign keys stand in another order"
        yield Step("change_foreign_key_order", name, "", text)


def _group_steps(old: Table, new: Table) -> Iterator[Step]:
    for group in old.groups:
        if group not in new.groups:
            text = f"{new.name}: group {_list(group)} is gone"
            yield Step("drop_group", new.name, ",".join(group), text)
    for group in new.groups:
        if group not in old.groups:
            fresh = old.by_name.keys().isdisjoint(group)
            text = f"{new.name}: group {_list(group)} is new"
            yield Step("add_group", new.name, ",".join(group), text, additive=fresh)


# Checks


def _implies(one: Check, other: Check, table: Table) -> bool:
    """Return whether all that ``one`` accepts is accepted by ``other``, of the same kind."""
    if one.kind == "one_of":
        column = table.by_name[other.column]
        return _options(one, column) <= _options(other, column)
    below = other.min is None or (one.min is not None and one.min >= other.min)
    above = other.max is None or (one.max is not None and one.max <= other.max)
    return below and above


def _options(check: Check, column: Column) -> set[object]:
    return {from_wire(column.type, text, scale=column.scale) for text in check.values}


def _accepts(check: Check, column: Column) -> bool:
    """Return whether the column's default passes a check, as a database would have it."""
    value = column.default_value()
    if value is None:
        return True
    if check.kind == "one_of":
        return value in _options(check, column)
    if check.kind == "not_empty":
        return len(value) > 0  # type: ignore[arg-type]
    size = len(value) if check.kind == "length" else value  # type: ignore[arg-type]
    assert isinstance(size, (int, float))
    return (check.min is None or size >= check.min) and (check.max is None or size <= check.max)


# Words


def _reordered(old: tuple[object, ...], new: tuple[object, ...]) -> bool:
    """Return whether what both have stands in another order."""
    return [one for one in old if one in new] != [one for one in new if one in old]


def _list(names: tuple[str, ...]) -> str:
    return f"({', '.join(names)})"


def _said(value: object) -> str:
    return "not set" if value is None else repr(value)


def _type(column: Column) -> str:
    return f"{column.type} of scale {column.scale}" if column.scale else column.type


def _foreign(foreign: ForeignKey) -> str:
    return f"foreign key {_list(foreign.columns)} to {foreign.table}"


def _check(check: Check) -> str:
    if check.kind == "one_of":
        return f"check on {check.column}: one of {', '.join(check.values)}"
    if check.kind == "not_empty":
        return f"check on {check.column}: not empty"
    least = "any" if check.min is None else check.min
    most = "any" if check.max is None else check.max
    return f"check on {check.column}: {check.kind} from {least} to {most}"


def _local_text(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    added, gone = len(set(new) - set(old)), len(set(old) - set(new))
    return f"local: {added} statements are new or changed, {gone} are gone or were changed"
