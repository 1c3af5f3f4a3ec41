"""The growth of a database from one schema to another: what may be made in place.

Knows: schemas, and what each step concerns. Must not know: how it makes them.
Nothing but additive steps is made in place, and a generation has one schema for ever: who has
synced with it knows it by that number.
"""

from __future__ import annotations

from holdfast.core.errors import SchemaError
from holdfast.schema.difference import Difference, difference
from holdfast.schema.model import Check, Column, Schema, Table
from holdfast.server.store.filling import fills_of


def growth(where: str, old: Schema, new: Schema) -> Difference:
    """Return the steps from the schema that ``where`` was made for to another one.

    Raises ``SchemaError`` that says what differs: ``generation_reused`` for another schema of the
    same generation, ``bad_fill`` for an expression that SQLite cannot read, else
    ``schema_mismatch``.
    """
    found = difference(old, new)
    made = f"{where} was made for schema {old.name}, generation {old.generation}"
    if old.name == new.name and new.generation == old.generation:
        raise SchemaError(
            f"{made}, and this is another schema of the same generation: {_texts(found)}. "
            f"Give it generation {old.generation + 1} or higher; nothing was changed",
            code="generation_reused",
        )
    if old.name == new.name and new.generation < old.generation:
        raise SchemaError(
            f"{made}, and this schema is of generation {new.generation}, an older one: "
            "start the program that has the newer schema; nothing was changed",
            code="schema_mismatch",
        )
    if found.hindrances:
        raise SchemaError(
            f"{made}, and these steps to generation {new.generation} cannot be made in place: "
            f"{_texts(Difference(found.hindrances))}. New tables can be added, new columns that "
            "are nullable or have a default, and looser checks; nothing was changed",
            code="schema_mismatch",
        )
    _prove_fills(old, new)
    return found


def _prove_fills(old: Schema, new: Schema) -> None:
    """Raise ``SchemaError`` (``bad_fill``) unless the fills of new columns can be worked out."""
    for table in new.tables:
        fills_of(table, added_columns(old, table)).prove()


def added_columns(old: Schema, table: Table) -> list[Column]:
    """Return the columns of a table that an older schema has this table without."""
    before = old.by_name.get(table.name)
    return [] if before is None else [c for c in table.columns if c.name not in before.by_name]


def changed_checks(old: Schema, table: Table) -> tuple[list[Check], list[Check]]:
    """Return the checks that go, and those that come, on columns that both schemas have."""
    before = old.by_name.get(table.name)
    if before is None:
        return [], []
    now = [check for check in table.checks if check.column in before.by_name]
    return (
        [check for check in before.checks if check not in now],
        [check for check in now if check not in before.checks],
    )


def _texts(found: Difference) -> str:
    return "; ".join(step.text for step in found.steps) or "only what stands in which order"
