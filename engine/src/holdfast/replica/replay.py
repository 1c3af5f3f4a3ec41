"""Replay: the unsettled changes of one table, made again on rows that hold server truth.

Knows: how changes are ordered, and which of them yields when two want one unique value. Must not
know: messages or the network. Upholds I15 and I32, and that server truth never fails to apply.

A transaction is a set, so changes are first tried all together: a swap of unique values in one
transaction, or a value that one change frees and another takes, works in any order of rows. When
something does collide, all rows that have to do with it are taken up again, in the order of their
transactions: truth stays, the row changed later yields. A row that yields falls back to its truth,
and whatever holds the unique values of that truth falls back too; then each is tried once more,
whole and change by change. What does not fit is ``held``, until the next replay.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.replica.overlay import Note, Overlay, assemble, data_of, fold
from holdfast.sqlite import Row


def shown(overlay: Overlay, key: str) -> Row | None:
    """The row a person should see: truth and the changes on it, as far as none is held."""
    truth = overlay.truth(key, frozenset())
    data = data_of(overlay.table, truth) if truth else None
    for note in overlay.notes(key):
        data = fold(overlay.table, data, note)
    return None if data is None else assemble(overlay.table, key, data)


class Replay:
    """The replay of one table's rows within one application of news.

    ``left``: all keys with unsettled changes; ``decided``: transactions that are being settled now.
    """

    def __init__(self, overlay: Overlay, left: set[str], decided: frozenset[int]) -> None:
        self._overlay = overlay
        self._table = overlay.table
        self._left = left
        self._decided = decided
        self._truth: dict[str, Row | None] = {}
        self._notes: dict[str, list[Note]] = {}
        self._whole: dict[str, Row | None] = {}

    def run(self, keys: set[str]) -> None:
        """Replay these rows, and whatever turns out to collide with them."""
        self._load(keys)
        if all(self._overlay.fits(key, self._whole[key]) for key in self._ordered(keys)):
            self._release(keys)
            return
        keys = self._connected(keys)
        if self._table.unique:
            for key in keys:
                self._overlay.write(key, None)
        fallen = self._fall(
            [k for k in self._ordered(keys) if not self._overlay.fits(k, self._whole[k])]
        )
        self._rise(fallen)
        for key in self._ordered(fallen):
            self._one_by_one(key)
        self._rise(fallen)
        self._release(self._notes.keys() - fallen)

    def _load(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._take(key, self._overlay.truth(key, self._decided), self._overlay.notes(key))

    def _take(self, key: str, truth: Row | None, notes: list[Note]) -> None:
        data = data_of(self._table, truth) if truth else None
        for note in notes:
            data = fold(self._table, data, note)
        self._truth[key], self._notes[key] = truth, notes
        self._whole[key] = None if data is None else assemble(self._table, key, data)

    def _check_stale(self, key: str) -> None:
        """A row whose unique values are by now those of a row without work of ours is gone: the
        server has forgotten its removal while we were away."""
        truth = self._truth[key]
        if truth is not None and not self._left.issuperset(self._overlay.colliding(truth)):
            self._take(key, None, self._notes[key])

    def _ordered(self, keys: Iterable[str]) -> list[str]:
        """By the first transaction of a row: on a collision the later one yields."""
        return sorted(keys, key=lambda key: (self._notes[key][0].tx, key))

    def _connected(self, keys: set[str]) -> set[str]:
        """The rows, and all with unsettled changes that hold a unique value which these want."""
        known, new = set(keys), set(keys)
        while new:
            wanted = [row for key in new for row in (self._truth[key], self._whole[key]) if row]
            found = {other for row in wanted for other in self._overlay.colliding(row)}
            new = (found & self._left) - known
            self._load(new)
            known |= new
        return known

    def _fall(self, failed: list[str]) -> set[str]:
        """Put truth in place of what does not fit, and of what stands in the way of that truth."""
        fallen: set[str] = set()
        while failed:
            key = failed.pop(0)
            if key in fallen:
                continue
            fallen.add(key)
            self._check_stale(key)
            truth = self._truth[key]
            if truth is not None:
                removed = self._overlay.make_room(truth)
                self._load(other for other in removed if other not in self._notes)
                failed += removed
            self._overlay.write(key, truth)
        return fallen

    def _rise(self, fallen: set[str]) -> None:
        """Bring back, whole, what fits after all; each that does may make room for another."""
        risen = True
        while risen:
            risen = False
            for key in self._ordered(fallen):
                if self._overlay.fits(key, self._whole[key]):
                    fallen.remove(key)
                    risen = True

    def _one_by_one(self, key: str) -> None:
        truth = self._truth[key]
        data = data_of(self._table, truth) if truth else None
        for note in self._notes[key]:
            changed = fold(self._table, data, note)
            row = None if changed is None else assemble(self._table, key, changed)
            fits = self._overlay.fits(key, row)
            data = changed if fits else data
            self._overlay.set_held(note, held=not fits)

    def _release(self, keys: Iterable[str]) -> None:
        """Nothing of these rows is held (any more)."""
        held = self._overlay.held_keys()
        for key in held.intersection(keys):
            for note in self._notes[key]:
                self._overlay.set_held(note, held=False)
