"""Replay: the unsettled transactions, made again on rows that hold server truth.

Knows: in which order, and which of them yields when not all can be shown. Must not know: messages
or the network. Upholds I15, I16 and I32, and that server truth never fails to apply.

All changes of the rows that news have touched are first tried together. What was set aside before
is tried with them, so it comes back by itself. A transaction is a set: a swap of unique values, or
a value that one change frees and another takes, works in any order of rows.

When a row does not fit (a check, a unique value, a foreign key), one of the transactions that have
to do with it is set aside: the highest-numbered one, whole, in all tables, with what builds on it.
So it goes on until all rows fit. Then each that was set aside is tried once more, the lowest number
first: what had yielded to one that is not shown either comes back. Nobody ever sees a part of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.errors import ConstraintFailed
from holdfast.core.keys import RowPlace
from holdfast.replica.rebase.overlay import CapturedChange, Overlay, assemble, data_of, fold_all
from holdfast.replica.rebase.references import (
    Orphan,
    References,
)
from holdfast.replica.storage.aside import AsideReason, SetAside, builds_on
from holdfast.replica.storage.database import unchecked
from holdfast.sqlite import Connection, Row


@dataclass(slots=True)
class RowState:
    """A row as replay sees it: the server's version, and the unsettled changes on it."""

    truth: Row | None
    notes: Sequence[CapturedChange]


def shown(overlay: Overlay, key: str, hidden: Iterable[int]) -> Row | None:
    """The row a person should see: truth and the changes on it that are not set aside."""
    truth = overlay.truth(key, frozenset())
    data = data_of(overlay.table, truth) if truth else None
    data, _ = fold_all(overlay.table, data, overlay.notes(key), set(hidden))
    return None if data is None else assemble(overlay.table, key, data)


class Replay:
    """The replay within one application of news; ``decided``: transactions that it settles."""

    def __init__(
        self,
        connection: Connection,
        overlays: Mapping[str, Overlay],
        decided: frozenset[int] = frozenset(),
    ) -> None:
        self._db = connection
        self._overlays = overlays
        self._decided = decided
        self._aside = SetAside(connection)
        self._references = References(overlays)
        self._standing: dict[RowPlace, RowState] = {}
        self._places: dict[int, list[RowPlace]] | None = None
        self._suspects: set[RowPlace] = set()

    def run(self, again: Mapping[str, set[str]], removed: Mapping[str, set[str]]) -> None:
        """Replay what was changed on the rows ``again``; ``removed``: rows that news removed."""
        wanted = [(name, key) for name, keys in again.items() for key in keys]
        places = {place for place in wanted if self._stand(place).notes}
        self._suspects = places | self._references.bereaved(removed)
        fits = all(self._fits(place) is None for place in self._ordered(places))
        if not fits:
            self._take_off(places)
        if not fits or self._orphan() is not None:
            self._settle(set() if fits else places)
            self._rise()
        if self._aside.before or self._aside.hidden:
            self._aside.store()

    # --- rows -----------------------------------------------------------------------------------

    def _stand(self, place: RowPlace) -> RowState:
        found = self._standing.get(place)
        if found is None:
            overlay = self._overlays[place[0]]
            found = RowState(overlay.truth(place[1], self._decided), overlay.notes(place[1]))
            self._standing[place] = found
        return found

    def _ordered(self, places: Iterable[RowPlace]) -> list[RowPlace]:
        """By the first transaction of a row."""
        return sorted(places, key=lambda p: (self._stand(p).notes[0].tx, p))

    def _shown(self, place: RowPlace) -> list[CapturedChange]:
        """The changes of a row that are not set aside."""
        return [note for note in self._stand(place).notes if note.tx not in self._aside.hidden]

    def _target(self, place: RowPlace) -> tuple[Row | None, CapturedChange | None]:
        """Return what the table should hold; and a change that has nothing to stand on."""
        table, at = self._overlays[place[0]].table, self._stand(place)
        data = data_of(table, at.truth) if at.truth else None
        result, lost = fold_all(table, data, at.notes, self._aside.hidden, stands=self._stands)
        return None if result is None else assemble(table, place[1], result), lost

    def _stands(self, note: CapturedChange) -> bool:
        """Return whether a change can revive its row: not when it builds on an insert that was
        refused.
        """
        return note.base > 0 or self._aside.lost_ground(note.tx) is None

    def _fits(self, place: RowPlace) -> ConstraintFailed | CapturedChange | None:
        """Make the table hold what it should, or say what is against it."""
        row, lost = self._target(place)
        if lost:
            return lost
        overlay = self._overlays[place[0]]
        failed = overlay.attempt(place[1], row)
        if failed and not self._shown(place):  # the server's row, as it is
            with unchecked(self._db):
                failed = overlay.attempt(place[1], row)
        return failed

    def _take_off(self, places: Iterable[RowPlace]) -> None:
        """Free the unique values of these rows: they are written again."""
        for name, key in places:
            if self._overlays[name].table.unique:
                self._overlays[name].write(key, None)

    def _colliding(self, place: RowPlace) -> list[RowPlace]:
        row, _ = self._target(place)
        name = place[0]
        return [] if row is None else [(name, key) for key in self._overlays[name].colliding(row)]

    def _of(self, number: int) -> list[RowPlace]:
        """The rows that a transaction changes."""
        if self._places is None:
            self._places = {}
            for name, overlay in self._overlays.items():
                for tx, key in overlay.touched(*self._aside.span()):
                    self._places.setdefault(tx, []).append((name, key))
        return self._places.get(number, [])

    # --- setting aside --------------------------------------------------------------------------

    def _settle(self, left: set[RowPlace]) -> None:
        """Set transactions aside until every row fits. ``left``: rows to be written."""
        while True:
            left = self._write(left)
            if left:
                place = self._ordered(left)[0]
                left |= self._yield(place)
                continue
            orphan = self._orphan()
            if orphan is None:
                return
            culprit = max(self._culprits(orphan))
            self._suspects |= {orphan.child, orphan.parent}
            left = self._hide(culprit, self._because(orphan, culprit))

    def _write(self, left: set[RowPlace]) -> set[RowPlace]:
        """Write rows, in turns, as long as any more of them fits; those that do not."""
        while left:
            failed: set[RowPlace] = set()
            drawn: set[RowPlace] = set()
            for place in self._ordered(left):
                against = self._fits(place)
                if against is None:
                    self._suspects.add(place)
                    continue
                failed.add(place)
                if isinstance(against, ConstraintFailed) and against.kind == "unique":
                    drawn |= {
                        p for p in self._colliding(place)
                        if p not in self._standing and self._stand(p).notes
                    }  # fmt: skip
            self._take_off(drawn)
            if not drawn and failed == left:
                return failed
            left = failed | drawn
        return left

    def _yield(self, place: RowPlace) -> set[RowPlace]:
        """A row does not fit: set aside what yields; the rows to be written again."""
        against = self._fits(place)
        if isinstance(against, CapturedChange):
            return self._hide(against.tx, self._nothing_to_stand_on(place, against))
        if against is None:
            return set()
        others = self._colliding(place) if against.kind == "unique" else []
        numbers = {note.tx for p in (place, *others) for note in self._shown(p)}
        if numbers:
            culprit = max(numbers)
            return self._hide(culprit, self._why(place, against, others))
        if not others:
            raise against
        # Its values are another row's by now: it is gone, and the server has forgotten its removal
        # while we were away.
        self._stand(place).truth = None
        return set()

    def _hide(self, number: int, reason: AsideReason) -> set[RowPlace]:
        hidden = self._aside.hide(number, reason)
        places = {place for tx in hidden for place in self._of(tx)}
        places = {place for place in places if self._stand(place).notes}
        self._take_off(places)
        return places

    def _rise(self) -> None:
        """Show again, whole, what fits after all; each that does may make room for another."""
        risen = True
        while risen:
            before = len(self._aside.hidden)
            for number in sorted(self._aside.hidden):
                self._shows(number)
            risen = len(self._aside.hidden) < before

    def _shows(self, number: int) -> bool:
        """Show a transaction if it can be; if not, it is known why."""
        earlier = self._aside.stopped_by(number)
        if earlier:
            reason: AsideReason | None = builds_on(earlier)
        else:
            self._db.execute("SAVEPOINT holdfast_rise")
            self._aside.hidden.discard(number)
            reason = self._against(number)
            if reason is not None:
                self._db.execute("ROLLBACK TO holdfast_rise")
            self._db.execute("RELEASE holdfast_rise")
        if reason is not None:
            self._aside.reasons[number] = reason
            self._aside.hidden.add(number)
        return reason is None

    def _against(self, number: int) -> AsideReason | None:
        """Write the rows of a transaction with it; what is against it."""
        places = [place for place in self._of(number) if self._stand(place).notes]
        self._take_off(places)
        for place in self._ordered(places):
            against = self._fits(place)
            if isinstance(against, CapturedChange):
                return self._nothing_to_stand_on(place, against)
            if against is not None:
                return self._why(place, against, self._colliding(place))
        self._suspects = set(places)
        orphan = self._orphan()
        return None if orphan is None else self._because(orphan, number)

    # --- references -----------------------------------------------------------------------------

    def _orphan(self) -> Orphan | None:
        """A row whose parent is not there, though some transaction could be set aside for it."""
        for place in sorted(self._suspects):
            for orphan in self._references.orphans(place):
                if self._culprits(orphan):
                    return orphan
            self._suspects.discard(place)
        return None

    def _culprits(self, orphan: Orphan) -> set[int]:
        """Return what shows the child, or hides the parent. What the server itself shows is
        nobody's.
        """
        child, parent = self._stand(orphan.child), self._stand(orphan.parent)
        found = {note.tx for note in self._shown(orphan.parent) if not note.now}
        if not orphan.is_in(child.truth):
            found |= {note.tx for note in self._shown(orphan.child)}
        elif parent.truth is None:
            return set()
        return found

    # --- reasons --------------------------------------------------------------------------------

    def _nothing_to_stand_on(self, place: RowPlace, note: CapturedChange) -> AsideReason:
        refused = self._aside.lost_ground(note.tx) or 0
        return AsideReason("row_gone", f"{place[0]} {place[1]} is not there", held_by=refused)

    def _because(self, orphan: Orphan, number: int) -> AsideReason:
        notes = self._stand(orphan.parent).notes
        return orphan.reason(by_parent=any(note.tx == number for note in notes))

    def _why(
        self, place: RowPlace, error: ConstraintFailed, others: Sequence[RowPlace]
    ) -> AsideReason:
        """Return which constraint of which row is against it, and who has the value."""
        table = self._overlays[place[0]].table
        what = f"{place[0]} {place[1]}: {error.message}"
        if others:
            what += f" ({others[0][0]} {others[0][1]} has it)"
        named = (
            name for name in table.column_names
            if f'"{name}"' in error.message or error.message.endswith((f".{name}", f": {name}"))
        )  # fmt: skip
        return AsideReason(error.kind, what, next(named, ""))
