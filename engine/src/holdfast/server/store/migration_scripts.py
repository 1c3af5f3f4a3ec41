"""The numbered scripts that make and grow the engine's own tables, one folder for each database.

Knows: where the scripts lie, and which a database has not seen. Must not know: how they are run.
A script is never changed once a database can have seen it; what comes later gets the next number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from holdfast.core.errors import SchemaError

Dialect = Literal["sqlite", "postgres"]


@dataclass(frozen=True, slots=True)
class MigrationScript:
    """A script: its number, the name of its file, and its SQL."""

    number: int
    name: str
    sql: str


def missing(dialect: Dialect, done: Iterable[int]) -> list[MigrationScript]:
    """The scripts that a database has not seen, in order.

    ``done``: the numbers it has seen. Raises ``SchemaError`` (``schema_mismatch``) when one of them
    is not known here: a newer version of the engine has grown it.
    """
    folder = resources.files("holdfast.server.store") / "migrations" / dialect
    scripts = [
        MigrationScript(
            int(file.name.partition("_")[0]), file.name, file.read_text(encoding="utf-8")
        )
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    seen = set(done)
    if seen - {script.number for script in scripts}:
        raise SchemaError(
            "the database was migrated by a newer version of the engine", code="schema_mismatch"
        )
    return sorted((s for s in scripts if s.number not in seen), key=lambda script: script.number)
