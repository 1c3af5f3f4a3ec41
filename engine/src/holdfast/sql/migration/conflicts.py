"""Conflicts whose table or column has another name, or is gone, in a newer generation.

Knows: the rows of conflicts, and lineages of tables. Must not know: where the rows are. Every side
that migrates makes the same of them, so that nobody has to be sent what has become of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdfast.core.values import Value
from holdfast.schema.lineage import Lineage, TableLineage
from holdfast.schema.model import CONFLICT_TABLE, GROUP_SEPARATOR

_SIDES = ("base", "mine", "theirs", "chosen")


def concerns(lineage: Lineage) -> Sequence[str]:
    """Return the old tables whose conflicts change."""
    changed = [
        one.old.name
        for one in lineage.reshaped
        if one.old.name != one.new.name or one.names_differ or one.converted
    ]
    return [*changed, *(table.name for table in lineage.gone)]


def conflict_of(lineage: Lineage, row: Sequence[Value]) -> tuple[Value, ...]:
    """Return a conflict's row as the newer generation has it. One about what is gone, or is
    converted, is settled with what stands: nobody can decide it any more."""
    found = dict(zip(CONFLICT_TABLE.column_names, row, strict=True))
    table = lineage.follow(str(found["table_name"]))
    columns = [name for name in str(found["column_name"]).split(GROUP_SEPARATOR) if name]
    renamed = {} if table is None else table.renamed
    if table is not None:
        found["table_name"] = table.new.name
    if table is None or any(
        name not in renamed or renamed[name] in table.converted for name in columns
    ):
        if found["state"] == "open":
            found |= {"state": "settled", "chosen": found["theirs"], "settled_by": "",
                      "settled_at": found["at"]}  # fmt: skip
        return tuple(found[name] for name in CONFLICT_TABLE.column_names)
    found["column_name"] = GROUP_SEPARATOR.join(renamed[name] for name in columns)
    if len(columns) != 1:
        for side in _SIDES:
            found[side] = _renamed(table, found[side])
    return tuple(found[name] for name in CONFLICT_TABLE.column_names)


def _renamed(table: TableLineage, text: Value) -> Value:
    """Return the values of several columns, as JSON, under their new names."""
    if not isinstance(text, str):
        return text
    values: Any = msgspec.json.decode(text)
    if not isinstance(values, Mapping):
        return text
    renamed = table.renamed
    kept = {renamed[name]: value for name, value in values.items() if name in renamed}
    return msgspec.json.encode(kept).decode()
