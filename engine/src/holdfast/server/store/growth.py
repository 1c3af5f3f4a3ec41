"""The growth of a database from one schema to another: what may be made in place.

Knows: schemas, and which steps a store can make. Must not know: how it makes them.
Nothing but additive steps is made in place, and a generation has one schema for ever: who has
synced with it knows it by that number.
"""

from __future__ import annotations

from holdfast.core.errors import SchemaError
from holdfast.schema.difference import Difference, Step, difference
from holdfast.schema.model import Schema

_NOT_MADE = frozenset({"drop_check", "widen_check"})
"""Additive steps that the stores do not make yet, as fills."""


def growth(where: str, old: Schema, new: Schema) -> Difference:
    """Return the steps from the schema that ``where`` was made for to another one.

    Raises ``SchemaError`` that says what differs: ``generation_reused`` for another schema of the
    same generation, else ``schema_mismatch``.
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
    steps = [step for step in found.steps if not (step.additive and _is_made(step, new))]
    if steps:
        raise SchemaError(
            f"{made}, and these steps to generation {new.generation} cannot be made in place: "
            f"{_texts(Difference(tuple(steps)))}. New tables can be added, and new columns that "
            "are nullable or have a default; nothing was changed",
            code="schema_mismatch",
        )
    return found


def _is_made(step: Step, new: Schema) -> bool:
    if step.kind == "add_column" and new.by_name[step.table].by_name[step.column].fill is not None:
        return False
    return step.kind not in _NOT_MADE


def _texts(found: Difference) -> str:
    return "; ".join(step.text for step in found.steps) or "only what stands in which order"
