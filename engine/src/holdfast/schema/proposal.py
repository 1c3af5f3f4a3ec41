"""Proposal of the steps that lead from one schema to another, for a developer to declare.

Knows: what differs, and what could be declared. Must not know: rows. A column that is gone and a
new one like it may be one column with another name: only a person knows, so that is a choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

from holdfast.schema.difference import Step
from holdfast.schema.lineage import Lineage
from holdfast.schema.migrations import MigrationKind, MigrationStep
from holdfast.schema.model import Schema, Table


@dataclass(frozen=True, slots=True)
class Proposal:
    """Steps to declare, as far as the difference tells them."""

    steps: tuple[MigrationStep, ...]
    choices: tuple[MigrationStep, ...]
    """Renamings that may be meant instead of a loss and an addition."""
    impossible: tuple[Step, ...]
    """Steps that cannot be declared."""


def propose(way: Lineage) -> Proposal:
    """Return what has to be declared besides what is declared already."""
    possible = [step for step in way.hindrances if step.kind in get_args(MigrationKind)]
    return Proposal(
        tuple(_declared(step) for step in possible),
        tuple(_renamings(way.old, way.new, way)),
        tuple(step for step in way.hindrances if step not in possible),
    )


def _declared(step: Step) -> MigrationStep:
    kind = cast("MigrationKind", step.kind)
    column = "" if kind == "drop_table" else step.column
    return MigrationStep(
        kind, step.table, column, convert=column if kind == "change_type" else None
    )


def _renamings(old: Schema, new: Schema, way: Lineage) -> list[MigrationStep]:
    found = []
    gone = [step for step in way.hindrances if step.kind == "drop_table"]
    for step in gone:
        before = old.by_name.get(step.table)
        found += [
            MigrationStep("rename_table", before.name, to=table.name)
            for table in new.tables
            if before is not None and table.name not in way.tables and _alike(before, table)
        ]
    for step in way.hindrances:
        known = way.tables.get(step.table)
        if step.kind != "drop_column" or known is None:
            continue
        was = next((c for c in known.old.columns if c.name == step.column), None)
        found += [
            MigrationStep("rename_column", step.table, step.column, to=column.name)
            for column in known.added
            if was is not None and (was.type, was.nullable) == (column.type, column.nullable)
        ]
    return found


def _alike(one: Table, other: Table) -> bool:
    """Return whether most columns of two tables are the same."""
    same = len(set(one.column_names) & set(other.column_names))
    return one.key == other.key and 2 * same >= max(len(one.columns), len(other.columns))
