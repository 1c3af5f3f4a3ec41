"""Contents of a copy of a server's database, and whether they are what its proofs say.

Knows: rows, feeds, digests. Must not know: which database it is in, or where the copy lies.
The watermark is made of what is read here, out of the copy, and of nothing else.

Upholds I5 (nothing is said to be in a backup that is not), I36.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from holdfast.core.digest import Digest
from holdfast.schema.model import Schema
from holdfast.server.direct.deep_check import suspects
from holdfast.server.store.contract import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRecord:
    """Contents of a copy. ``highs``: the last decided transaction of each replica. ``as_of``: when
    a device was last heard there (microseconds since 1970, UTC). ``differing``: rows and scopes
    that are not what their hashes say; None: the copy has another layout than this program knows,
    so that only its pages were checked."""

    epoch: str
    highs: Mapping[str, int]
    devices: int
    as_of: int
    differing: int | None = None


def differing(
    schema: Schema,
    read: Callable[[], Snapshot],
    *,
    noted: Callable[[str, Collection[str]], int],
    stale: Collection[str],
) -> int:
    """Count the rows, and digests of scopes, that do not agree with the hashes that are stored.

    ``noted``: of how many rows of a table, by key, direct writes were not taken in yet; ``stale``:
    tables whose hashes wait for the next start. They differ rightly.
    """
    found = 0
    for table, suspected in suspects(schema, read, lambda: True):
        if table.name not in stale:
            found += len(suspected) - noted(table.name, suspected.keys())
    with contextlib.closing(read()) as snapshot:
        for scope in snapshot.scopes(snapshot.scope_names()).values():
            digest = Digest()
            for _, _, row in snapshot.live(scope.name, ("", ""), None):
                digest = digest.add(row)
            found += digest != scope.digest
    return found
