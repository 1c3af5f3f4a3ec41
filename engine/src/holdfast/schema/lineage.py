"""The lineage of a schema: what has become of each table and column of an older generation.

Knows: two declarations, and the declared steps between them. Must not know: SQL, or where rows are.
Pure. A step is declared for everything that is not additive; what is left of the difference, once
the declared steps have been taken, is either additive or in the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from holdfast.schema.difference import Difference, Step, difference, table_difference
from holdfast.schema.migrations import MigrationStep
from holdfast.schema.model import Column, Schema, Table

_TEMPLATE_PART = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_CHECKS = ("add_check", "tighten_check")
_OF_THE_SERVER = (*_CHECKS, "add_unique", "add_foreign_key", "change_column_order")
_CHOOSING = {"latest", "server", "client", "largest", "smallest"}
"""Policies of one form of change: a device does the same under each, and the server chooses."""
_ABOUT_COLUMN = (
    "change_type", "change_policy", "change_nullable", "change_default", "change_fill",
    "change_correction",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerColumn:
    """One column of a layer: its name, the column below that it is taken from, and the expression
    over the columns below that takes its place, if it is converted."""

    name: str
    source: str
    convert: str | None = None


Layer = tuple[LayerColumn, ...]
"""The columns of a table after some steps."""


@dataclass(frozen=True, slots=True, eq=False)
class TableLineage:
    """One table of the newer generation that the older one has."""

    old: Table
    new: Table
    layers: tuple[Layer, ...]
    """How rows of the old table become rows of the new one, but for columns that are added."""
    columns: Mapping[str, str]
    """The old name of each column that was there, by its new one."""
    converted: frozenset[str]
    """Columns, by their new names, whose values are converted."""
    steps: tuple[Step, ...]
    """What differs besides renamings, and what is gone."""
    reshaped: bool
    """Whether the table is made anew, or altered: it is not merely added to."""

    @property
    def renamed(self) -> Mapping[str, str]:
        """The new names of columns that are still there, by their old ones."""
        return {old: new for new, old in self.columns.items()}

    @property
    def gone(self) -> tuple[Column, ...]:
        """Columns that are no longer there."""
        kept = set(self.columns.values())
        return tuple(column for column in self.old.columns if column.name not in kept)

    @property
    def added(self) -> tuple[Column, ...]:
        """Columns that were not there."""
        return tuple(column for column in self.new.columns if column.name not in self.columns)

    @property
    def names_differ(self) -> bool:
        """Return whether what is kept by names has to be written anew."""
        return bool(self.gone) or any(new != old for new, old in self.columns.items())


@dataclass(frozen=True, slots=True, eq=False)
class Lineage:
    """Steps from an older generation to a newer one."""

    old: Schema
    new: Schema
    tables: Mapping[str, TableLineage]
    """By the new name, all tables that were there, the engine's own among them."""
    gone: tuple[Table, ...]
    hindrances: tuple[Step, ...]
    """Steps that are neither additive nor declared."""
    difference: Difference

    @property
    def declared(self) -> bool:
        """Return whether anything but additive steps is taken."""
        return bool(self.gone) or any(one.reshaped for one in self.tables.values())

    @property
    def additive(self) -> bool:
        """Return whether all steps are additive."""
        return not (self.declared or self.hindrances)

    @property
    def reshaped(self) -> tuple[TableLineage, ...]:
        """Tables that are not merely added to."""
        return tuple(one for one in self.tables.values() if one.reshaped)

    def follow(self, table: str) -> TableLineage | None:
        """Return what has become of an old table, by its old name; None: it is gone."""
        return self._by_old.get(table)

    def names_now(self, tables: Iterable[str]) -> list[str]:
        """Return the new names of tables, by their old ones, that are still there."""
        found = (self.follow(name) for name in tables)
        return [one.new.name for one in found if one is not None]

    @property
    def _by_old(self) -> dict[str, TableLineage]:
        return {one.old.name: one for one in self.tables.values()}


@dataclass(slots=True)
class _Walk:
    """A table on its way through the steps."""

    old: Table
    columns: dict[str, str]
    """The column of the last layer, by its present name."""
    origin: dict[str, str]
    """The old column, by its present name."""
    layers: list[Layer] = field(default_factory=list)
    converted: set[str] = field(default_factory=set)
    declared: set[tuple[str, str]] = field(default_factory=set)
    retyped: set[str] = field(default_factory=set)

    def take(self, step: MigrationStep) -> None:
        name = step.column
        if step.kind == "drop_column":
            self.columns.pop(name, None)
            self.origin.pop(name, None)
        elif step.kind == "rename_column":
            if name not in self.columns:
                return
            self.columns = {step.to if n == name else n: s for n, s in self.columns.items()}
            self.origin = {step.to if n == name else n: s for n, s in self.origin.items()}
            self.converted = {step.to if n == name else n for n in self.converted}
            self.retyped = {step.to if n == name else n for n in self.retyped}
            self.declared = {
                (kind, ",".join(step.to if n == name else n for n in listed.split(",")))
                for kind, listed in self.declared
            }
        else:
            self.declared.add((step.kind, name))
            if step.kind == "change_type":
                self.retyped.add(name)
            if step.convert is not None and name in self.columns:
                self._put_layer()
                self.layers.append(
                    tuple(
                        LayerColumn(one, one, step.convert if one == name else None)
                        for one in self.columns
                    )
                )
                self.converted.add(name)

    def _put_layer(self) -> None:
        """Give all columns their present names."""
        self.layers.append(tuple(LayerColumn(n, source) for n, source in self.columns.items()))
        self.columns = {name: name for name in self.columns}

    def covers(self, step: Step) -> bool:
        kinds = _CHECKS if step.kind in _CHECKS else (step.kind,)
        if step.kind in _ABOUT_COLUMN and step.column in self.retyped:
            return True
        return any((kind, step.column) in self.declared for kind in kinds)


def lineage(old: Schema, new: Schema) -> Lineage:
    """Return what leads from one generation to a newer one, by its declared steps."""
    walks = {t.name: _Walk(t, _own(t), _own(t)) for t in old.tables}
    for step in _steps(old, new):
        walk = walks.get(step.table)
        if walk is None:
            continue
        if step.kind == "drop_table":
            del walks[step.table]
        elif step.kind == "rename_table":
            walks = {step.to if n == step.table else n: one for n, one in walks.items()}
        else:
            walk.take(step)
    renamed = {walk.old.name: name for name, walk in walks.items()}
    tables: dict[str, TableLineage] = {}
    hindrances: list[Step] = []
    for table in new.tables:
        walk = walks.get(table.name)
        if walk is not None:
            found = tables[table.name] = _table(walk, table, renamed)
            hindrances += [one for one in found.steps if not (one.additive or walk.covers(one))]
    for table in new.all_tables[len(new.tables) :]:
        columns = _own(table)
        tables[table.name] = TableLineage(
            old.by_name[table.name], table, (), columns, frozenset(), (), reshaped=False
        )
    found_all = difference(old, new)
    for name, walk in walks.items():
        if name not in tables:
            hindrances.append(Step("drop_table", name, "", f"table {walk.old.name} is gone"))
    if old.name != new.name:
        hindrances += [step for step in found_all.steps if step.kind == "change_name"]
    kept = {one.old.name for one in tables.values()}
    gone = tuple(table for table in old.tables if table.name not in kept)
    return Lineage(old, new, tables, gone, tuple(hindrances), found_all)


def _steps(old: Schema, new: Schema) -> list[MigrationStep]:
    return [
        step
        for migration in new.migrations
        if old.generation < migration.generation <= new.generation
        for step in migration.steps
    ]


def _own(table: Table) -> dict[str, str]:
    return {name: name for name in table.column_names}


def _table(walk: _Walk, new: Table, tables: Mapping[str, str]) -> TableLineage:
    columns = {n: s for n, s in walk.columns.items() if n in new.by_name}
    origin = {n: s for n, s in walk.origin.items() if n in new.by_name}
    lost = [name for name in walk.origin if name not in new.by_name]
    last = tuple(LayerColumn(name, columns[name]) for name in new.column_names if name in columns)
    before = _renamed(walk, new.name, tables)
    undeclared = tuple(
        Step("drop_column", new.name, name, f"{new.name}: column {name} is gone") for name in lost
    )
    told = [one for one in table_difference(before, new) if one.kind != "drop_column"]
    raw = Difference(tuple(table_difference(walk.old, new)))
    return TableLineage(
        walk.old, new, (*walk.layers, last), origin,
        frozenset(walk.converted & columns.keys()), (*undeclared, *told),
        reshaped=walk.old.name != new.name or not raw.additive or bool(walk.converted)
        or origin != _own(walk.old),
    )  # fmt: skip


def _renamed(walk: _Walk, name: str, tables: Mapping[str, str]) -> Table:
    """Return the old table under the names that it has after the steps, without what is gone."""
    old = walk.old
    now = {source: name for name, source in walk.origin.items()}

    def all_there(names: tuple[str, ...]) -> bool:
        return all(one in now for one in names)

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(now[one] for one in names)

    return replace(
        old,
        name=name,
        key=tuple(now.get(one, one) for one in old.key),
        columns=tuple(replace(c, name=now[c.name]) for c in old.columns if c.name in now),
        scopes=tuple(
            _TEMPLATE_PART.sub(lambda part: f"{{{now.get(part[1], part[1])}}}", one)
            for one in old.scopes
        ),
        unique=tuple(renamed(one) for one in old.unique if all_there(one)),
        foreign_keys=tuple(
            replace(one, columns=renamed(one.columns), table=tables[one.table])
            for one in old.foreign_keys
            if one.table in tables and all_there(one.columns)
        ),
        checks=tuple(replace(c, column=now[c.column]) for c in old.checks if c.column in now),
        groups=tuple(renamed(one) for one in old.groups if all_there(one)),
    )


def serves(new: Schema, old: Schema) -> bool:
    """Return whether devices of an older generation go on at a server of a newer one."""
    return old.generation >= new.supports_from and not floor_steps(lineage(old, new))


def floor_steps(way: Lineage) -> tuple[str, ...]:
    """Return the steps, in words, after which devices of the older generation cannot go on: they
    could not be shown the newer one's rows, or what they send could be taken for something else.

    They go on where the server alone decides what is new (a constraint refuses what they write, a
    policy chooses another winner), and where a column only has another name or place.
    """
    found = [f"table {table.name} is gone" for table in way.gone]
    for table in way.tables.values():
        found += _floor_steps(table)
    found += [step.text for step in way.hindrances if step.kind in ("change_name", "drop_table")]
    return tuple(dict.fromkeys(found))


def _floor_steps(table: TableLineage) -> Iterator[str]:
    new = table.new
    if table.old.name != new.name:
        yield f"table {table.old.name} is named {new.name}"
    for column in table.gone:
        yield f"{new.name}: column {column.name} is gone"
    for column in new.columns:
        old = table.columns.get(column.name, column.name)
        if old != column.name and (new.on_delete == "manual" or column.name in new.group_of):
            # Conflicts would say several names at once.
            yield f"{new.name}: column {old} is named {column.name}"
        elif column.name in table.converted:
            yield f"{new.name}: column {column.name} is converted"
    for step in table.steps:
        if not (step.additive or step.kind == "drop_column" or _is_the_servers(table, step)):
            yield step.text


def _is_the_servers(table: TableLineage, step: Step) -> bool:
    """Return whether the server alone has to do with a step, whatever devices know of it."""
    if step.kind == "change_policy":
        was = table.old.by_name[table.columns[step.column]].merge
        return {was, table.new.by_name[step.column].merge} <= _CHOOSING
    if step.kind == "change_delete_policy":
        return "manual" not in (table.old.on_delete, table.new.on_delete)
    return step.kind in _OF_THE_SERVER
