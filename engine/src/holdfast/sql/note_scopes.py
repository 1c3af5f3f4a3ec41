"""The scopes of a row as SQL, for the notes of direct writes: whom a note concerns.

Knows: scope templates, and how each database joins text. Must not know: who reads the notes.
A note that concerns too many makes somebody wait; one that concerns too few would show them half of
a write. So what SQL cannot name exactly as ``core.keys.row_scopes`` does concerns ``EVERYBODY``; a
row with a name that is too long or empty is in no scope, whatever its note says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from holdfast.core.limits import SCOPE_NAME_LENGTH_MAX
from holdfast.schema.model import Column, Table

EVERYBODY = "*"
"""The scope of notes that may concern anybody."""
Ranges = Sequence[tuple[str, str]]
"""Names of scopes, from the first to the last of each pair, both included."""

_PIECE = re.compile(r"\{([a-z0-9_]+)\}")
_EXACT = frozenset({"text", "uuid", "date", "decimal", "integer", "timestamp", "boolean", "bytes"})


def note_scopes(
    table: Table, column_text: Callable[[Column], str], literal: Callable[[str], str]
) -> list[str]:
    """An expression for each scope of a row; what is empty stands for none.

    ``column_text``: a column's value as text, NULL where it is NULL.
    """
    found = []
    for template in table.scopes:
        split = _PIECE.split(template)
        columns = [table.by_name[name] for name in split[1::2]]
        if template.startswith("*") or any(c.type not in _EXACT for c in columns):
            return [literal(EVERYBODY)]
        parts = [
            part
            for text, column in zip(split[::2], [*columns, None], strict=True)
            for part in ([literal(text)] if text else [])
            + ([] if column is None else [column_text(column)])
        ]
        whole = " || ".join(parts)
        found.append(
            f"coalesce(substr({whole}, 1, {SCOPE_NAME_LENGTH_MAX + 1}), '')" if columns else whole
        )
    return found


def may_move(table: Table) -> bool:
    """Return whether an update can take a row to other scopes: a key never changes."""
    named = {name for template in table.scopes for name in _PIECE.findall(template)}
    return not named <= set(table.key)
