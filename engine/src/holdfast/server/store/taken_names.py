"""Refusal of a database that already holds something under the names a server needs.

Knows: words. Must not know: SQL. Until tables that are there can be taken over, they are refused:
what has no record would be on no device, and nobody would see it.

Upholds I12.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.errors import SchemaError
from holdfast.core.limits import TAKEN_NAMES_SHOWN_MAX


def tables_exist(where: str, taken: Sequence[tuple[str, str]]) -> SchemaError:
    """``taken``: kinds and names of what stands in the way."""
    shown = ", ".join(f"{kind} {name}" for kind, name in taken[:TAKEN_NAMES_SHOWN_MAX])
    more = (
        f" and {len(taken) - TAKEN_NAMES_SHOWN_MAX} more"
        if len(taken) > TAKEN_NAMES_SHOWN_MAX
        else ""
    )
    return SchemaError(
        f"{where} already has {shown}{more}, which no Holdfast server has made, so that its rows "
        "would never reach a device; nothing was changed. Let the server start on an empty "
        "database (or a schema of PostgreSQL of its own) and copy the rows into its tables by SQL, "
        "or rename what is there",
        code="tables_exist",
        names=[name for _, name in taken],
    )


def not_a_server(where: str) -> SchemaError:
    """A replica's file where a server's is wanted."""
    return SchemaError(
        f"{where} is a replica, the file of a device, and no server's database; nothing was "
        "changed. Give the server a file of its own",
        code="not_a_server",
    )
