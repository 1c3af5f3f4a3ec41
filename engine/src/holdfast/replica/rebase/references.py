"""Foreign keys, looked at while news are applied: the database itself does not enforce them then.

Knows: which rows refer to which. Must not know: who is to blame, or transactions.
Only keys that a replica enforces count. Upholds, with ``replica.rebase.replay``, that work of this
device never leaves a row without its parent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from holdfast.core.keys import RowPlace, key_text, key_values
from holdfast.replica.rebase.overlay import Overlay
from holdfast.replica.storage.aside import AsideReason
from holdfast.sqlite import Row


@dataclass(frozen=True, slots=True)
class Orphan:
    """A row (``child``) that refers to one that is not there; ``values``: of the key's columns."""

    child: RowPlace
    parent: RowPlace
    columns: tuple[str, ...]
    positions: tuple[int, ...]
    values: Row

    def is_in(self, row: Row | None) -> bool:
        """Return whether that version of the child refers to the same parent."""
        return row is not None and tuple(row[at] for at in self.positions) == self.values

    def reason(self, *, by_parent: bool) -> AsideReason:
        """Return why a transaction is not shown that takes the parent away, or brings the child."""
        child, parent = " ".join(self.child), " ".join(self.parent)
        if by_parent:
            return AsideReason("foreign_key", f"{child} refers to {parent}")
        return AsideReason(
            "foreign_key", f"{child} refers to {parent}, which is not there", self.columns[0]
        )


class References:
    """The foreign keys among the tables of a replica."""

    def __init__(self, overlays: Mapping[str, Overlay]) -> None:
        self._overlays = overlays
        self._children: dict[str, list[tuple[Overlay, int]]] = defaultdict(list)
        for overlay in overlays.values():
            for place, reference in enumerate(overlay.references):
                self._children[reference.table].append((overlay, place))

    def bereaved(self, removed: Mapping[str, set[str]]) -> set[RowPlace]:
        """Rows that are not there any more, and may have children: those that news removed, and
        those that changes of ours delete."""
        return {
            (name, key)
            for name in self._children
            for key in (*removed.get(name, ()), *self._overlays[name].deleted_keys())
        }

    def orphans(self, place: RowPlace) -> Iterator[Orphan]:
        """This row as a child without its parent, or its children when it is not there."""
        overlay = self._overlays[place[0]]
        row = overlay.visible(place[1])
        if row is None:
            for child, at in self._children.get(place[0], ()):
                values = key_values(overlay.table, place[1])
                for key in child.children(at, values):
                    yield self._orphan(child, at, key, place, values)
            return
        for at, reference in enumerate(overlay.references):
            parent = self._overlays[reference.table]
            values = tuple(row[overlay.table.positions[name]] for name in reference.columns)
            if None in values:
                continue
            key = key_text(parent.table, values)
            if parent.visible(key) is None:
                yield self._orphan(overlay, at, place[1], (reference.table, key), values)

    def _orphan(self, child: Overlay, at: int, key: str, parent: RowPlace, values: Row) -> Orphan:
        columns = child.references[at].columns
        positions = tuple(child.table.positions[name] for name in columns)
        return Orphan((child.table.name, key), parent, columns, positions, values)
