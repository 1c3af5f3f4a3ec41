"""The growth of a database from one schema to another: what may be made in place.

Knows: schemas, and what each step concerns. Must not know: how it makes them.
Nothing but additive and declared steps is made in place, and a generation has one schema for ever:
who has synced with it knows it by that number.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.core.errors import SchemaError
from holdfast.schema.difference import Difference
from holdfast.schema.lineage import Lineage, lineage, serves
from holdfast.schema.model import Check, Schema, Table
from holdfast.schema.projection import Projection
from holdfast.server.store.filling import fills_of, prove_conversions


def growth(where: str, old: Schema, new: Schema) -> Lineage:
    """Return what leads from the schema that ``where`` was made for to another one.

    Raises ``SchemaError`` that says what differs: ``generation_reused`` for another schema of the
    same generation, ``bad_fill`` for an expression that SQLite cannot read, else
    ``schema_mismatch``.
    """
    found = lineage(old, new)
    made = f"{where} was made for schema {old.name}, generation {old.generation}"
    if old.name == new.name and new.generation == old.generation:
        raise SchemaError(
            f"{made}, and this is another schema of the same generation: "
            f"{_texts(found.difference)}. Give it generation {old.generation + 1} or higher; "
            "nothing was changed",
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
            "are nullable or have a default, and looser checks; other steps are declared in the "
            "schema's migrations (holdfast schema diff proposes them); nothing was changed",
            code="schema_mismatch",
        )
    for table in found.tables.values():
        fills_of(table.new, table.added).prove()
        prove_conversions(table)
    return found


def generations_before(
    kept: Iterable[Schema], schema: Schema
) -> tuple[tuple[Projection, ...], tuple[Schema, ...]]:
    """Return what the older generations see that are served, and those below the support floor."""
    known = list(kept)
    above = tuple(Projection(old, schema) for old in known if serves(schema, old))
    return above, tuple(old for old in known if not serves(schema, old))


def changed_checks(before: Table, table: Table) -> tuple[list[Check], list[Check]]:
    """Return the checks that go, and those that come, on columns that both forms have."""
    now = [check for check in table.checks if check.column in before.by_name]
    return (
        [check for check in before.checks if check not in now],
        [check for check in now if check not in before.checks],
    )


def _texts(found: Difference) -> str:
    return "; ".join(step.text for step in found.steps) or "only what stands in which order"
