"""Declared migrations: the steps from one generation of a schema to the next, as data.

Knows: what a step says. Must not know: tables as they are declared, SQL, or how a step is made.
Additive steps follow from the difference of two schemas and are not written down. What the
difference cannot tell is: that a column has another name, and not another column in its place; and
what takes something away or asks for more is declared, so that nobody does it by a slip.
"""

from __future__ import annotations

from typing import Literal

import msgspec

MigrationKind = Literal[
    "rename_table", "rename_column", "drop_table", "drop_column",
    "change_type", "change_policy", "change_nullable", "change_default", "change_fill",
    "change_correction", "change_delete_policy", "change_reach", "change_column_order",
    "add_check", "tighten_check",
    "add_unique", "drop_unique", "change_unique_order",
    "add_foreign_key", "drop_foreign_key", "change_foreign_key_order",
    "add_group", "drop_group",
]  # fmt: skip
RENAMES = ("rename_table", "rename_column")
CONVERTS = ("change_type", "change_nullable")
OF_TABLE = (
    "rename_table", "drop_table", "change_delete_policy", "change_reach", "change_column_order",
    "change_unique_order", "change_foreign_key_order",
)  # fmt: skip
"""Steps that name no column."""


class MigrationStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step; tables and columns have the names that the steps before it have given them."""

    kind: MigrationKind
    table: str
    column: str = ""
    """The column; of a key or a group its columns, joined by commas."""
    to: str = ""
    """The new name, of a renaming."""
    convert: str | None = None
    """An SQL expression, in SQLite's dialect, over the row's columns: the column's value, where it
    gets another type or can no longer be null."""


class Migration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The declared steps that lead to a generation, in order."""

    generation: int
    steps: tuple[MigrationStep, ...]


def misfit(step: MigrationStep) -> str:
    """Say what is wrong with a step by itself; empty: nothing."""
    if bool(step.to) != (step.kind in RENAMES):
        return "says to what it is renamed" if not step.to else "renames nothing"
    if step.convert is not None and step.kind not in CONVERTS:
        return "converts nothing"
    if step.kind == "change_type" and step.convert is None:
        return "says by which expression the column is converted"
    if bool(step.column) == (step.kind in OF_TABLE):
        return "names no column" if step.column else "names a column"
    return ""
