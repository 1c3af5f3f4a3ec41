"""A change of rows as an app is told of it, and how several that were not read yet become one.

Knows: names of tables, keys, and kinds. Must not know: connections or threads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from holdfast.core.limits import CHANGED_KEYS_MAX

ChangeKind = Literal["insert", "update", "delete", "unknown"]
ChangeOrigin = Literal["local", "remote", "elsewhere"]

Touch = tuple[str, str, ChangeKind]
"""A table, the canonical text of a key, and what one statement did to its row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEvent:
    """Rows of one table that were committed. ``keys``: their canonical texts.

    ``origin``: ``local`` (a transaction of this ``Replica``), ``remote`` (it has synced), or
    ``elsewhere`` (another connection or process has written). Of what was written elsewhere, and of
    very many rows, it is not known which rows they are: then ``kind`` is ``unknown`` and ``keys``
    is empty, and the app reads the table anew.
    """

    table: str
    kind: ChangeKind
    origin: ChangeOrigin
    keys: tuple[str, ...] = ()


_FOLDED: dict[tuple[ChangeKind, ChangeKind], ChangeKind | None] = {
    ("insert", "update"): "insert",
    ("insert", "delete"): None,
    ("delete", "insert"): "update",
    ("update", "insert"): "update",
}
"""What two kinds are together, where it is not the later one; None: nothing."""


class ChangeQueue:
    """The changes that one subscriber has not read yet. At most ``CHANGED_KEYS_MAX`` keys of a
    table: after that it is only known that it has changed."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, tuple[ChangeKind, ChangeOrigin]]] = {}
        self._unknown: dict[str, ChangeOrigin] = {}

    def __bool__(self) -> bool:
        return bool(self._rows or self._unknown)

    def add(self, touches: Iterable[Touch], origin: ChangeOrigin) -> None:
        """Take in what one commit did, in its order."""
        for table, key, kind in touches:
            if table in self._unknown:
                continue
            if kind == "unknown":
                self.add_unknown(table, origin)
                continue
            rows = self._rows.setdefault(table, {})
            earlier = rows.pop(key, None)
            folded = kind if earlier is None else _FOLDED.get((earlier[0], kind), kind)
            if folded is not None:
                rows[key] = (folded, origin)
            if len(rows) > CHANGED_KEYS_MAX:
                self.add_unknown(table, origin)
            elif not rows:
                del self._rows[table]

    def add_unknown(self, table: str, origin: ChangeOrigin) -> None:
        """Note that some rows of a table have changed."""
        self._rows.pop(table, None)
        self._unknown[table] = origin

    def take(self) -> list[ChangeEvent]:
        """Return what was not read yet, by table, kind and origin; it is read then."""
        found = [ChangeEvent(table=t, kind="unknown", origin=o) for t, o in self._unknown.items()]
        for table, rows in self._rows.items():
            alike: dict[tuple[ChangeKind, ChangeOrigin], list[str]] = {}
            for key, what in rows.items():
                alike.setdefault(what, []).append(key)
            found += [
                ChangeEvent(table=table, kind=kind, origin=origin, keys=tuple(keys))
                for (kind, origin), keys in alike.items()
            ]
        self._rows, self._unknown = {}, {}
        return found
