"""Brief answers: rows of which the device that has just made them is told the revision only.

Knows: which rows a push has made, and what its commits gave to scopes. Must not know: how they
were merged, or how an answer is put together.
``merging.batch`` says of a row whether it is what its one sender has made of it; here the bites of
a push are put together, and a pull asks whether a row that moved is still so (decision 21).

Upholds I12: what has been changed by anybody else since, or by two bites, comes whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.core.keys import RowPlace
from holdfast.protocol.messages import Own
from holdfast.server.store.contract import MovedRow


class OwnRows:
    """The rows that a push has made, and the versions that their scopes got with them."""

    def __init__(self) -> None:
        self._revs: dict[RowPlace, int] = {}
        self._versions: dict[str, set[int]] = {}

    def add(self, revs: Mapping[RowPlace, int], versions: Mapping[str, int]) -> None:
        """Take in what the next bite did: revisions of rows (0: others had a part in it), and new
        versions of scopes."""
        for place, rev in revs.items():
            # Its device knows what one bite has made of a row, not what two have.
            self._revs[place] = 0 if place in self._revs else rev
        for scope, version in versions.items():
            self._versions.setdefault(scope, set()).add(version)

    def has(self, scope: str, moved: MovedRow) -> bool:
        """Return whether a row that moved in a scope is still what the device has made of it."""
        known = moved.version in self._versions.get(scope, ())
        return known and bool(self._revs.get((moved.table, moved.key)))

    def line(self, table: str, keys: Sequence[str]) -> Own:
        """Return what is told of some of them."""
        return Own(table, list(keys), [self._revs[table, key] for key in keys])


NO_OWN_ROWS = OwnRows()
