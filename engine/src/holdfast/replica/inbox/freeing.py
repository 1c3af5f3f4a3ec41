"""Held transactions go on when what they waited for is settled.

Knows: what waits in the inbox, and for what. Must not know: the network, or who has settled the
cause. A held transaction has its outcome; it goes on as a new one that names it, with a new number,
on the rows as they are now. What a restored server did not take again, because a row of another
device was not back, goes on when it is, unless somebody has changed what it changes. What cannot go
on stays in the inbox with the reason, and a person may still make it again.

Upholds I4 (nothing leaves the inbox but by a new transaction that names it, or by a person), I27.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from holdfast.core.errors import ConstraintFailed, UsageError
from holdfast.core.keys import key_text, key_values
from holdfast.core.merging.policies import policy_of
from holdfast.replica.identity.kept import AWAITED
from holdfast.replica.inbox.inbox import Inbox, StillHeld
from holdfast.replica.rebase.overlay import CapturedChange, assemble, data_of
from holdfast.replica.storage.database import savepoint
from holdfast.schema.model import Table
from holdfast.sql.bookkeeping.statements import SCOPES
from holdfast.sql.replica import Reference
from holdfast.sqlite import Row

WAITING = "held"
"""The code of what waits for another transaction, and for nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """Result for the transactions that waited for one that is settled: ``numbers`` go on,
    ``kept`` stay in the inbox."""

    numbers: tuple[int, ...] = ()
    kept: tuple[StillHeld, ...] = ()
    made: tuple[int, ...] = ()
    """The new numbers of those that go on; one that has become void of changes has none."""


class Freeing:
    """Lets go on what waits for nothing any more, in a write transaction of the caller's."""

    def __init__(self, inbox: Inbox, seal: Callable[[int], int | None]) -> None:
        """``seal``: seals the open group as the one that replaces a number; its new number."""
        self._inbox = inbox
        self._seal = seal

    def after(self, settled: int) -> Freed:
        """Return what waited for a transaction that has left the inbox."""
        return self._run({settled}, asked=True)

    def after_news(self) -> Freed:
        """Return what was held by transactions that have left the inbox meanwhile, unless it was
        found before that it cannot go on."""
        return self._run(set(), asked=False)

    def _run(self, gone: set[int], *, asked: bool) -> Freed:
        held = self._inbox.held()
        if not held:
            return Freed()
        waiting = self._inbox.numbers()
        # Until all scopes agree, rows may stand here that the server has lost.
        agreed = not asked and not self._inbox.connection.execute(SCOPES.differing)
        numbers: list[int] = []
        made: list[int] = []
        kept: list[StillHeld] = []
        for number, after, code in held:
            if asked and gone.isdisjoint(after):
                continue
            awaits = agreed and code in AWAITED
            if not asked and code != WAITING and not awaits:
                continue
            blockers = [one for one in after if one in waiting]
            if blockers:
                if asked:
                    kept.append(StillHeld(number=number, code=WAITING, held_by=blockers[0],
                                     message=f"Waits for {blockers[0]}."))  # fmt: skip
                    self._inbox.note_held(kept[-1])
                continue
            if awaits and not self._is_back(number):
                continue
            reason = self._overtaken(number) if awaits else None
            reason = reason or self._go_on(number, made)
            if awaits and reason is not None and reason.code == "no_row":
                continue  # what it refers to is not back
            if reason is not None:
                kept.append(reason)
                self._inbox.note_held(reason)
                continue
            numbers.append(number)
            gone.add(number)
            waiting.discard(number)
        return Freed(numbers=tuple(numbers), kept=tuple(kept), made=tuple(made))

    def _go_on(self, number: int, made: list[int]) -> StillHeld | None:
        missing = self._missing(number)
        if missing:
            return StillHeld(number=number, code="no_row", message=missing)
        try:
            with savepoint(self._inbox.connection, "holdfast_free"):
                self._inbox.write_again(number)
                new = self._seal(number)
        except ConstraintFailed as failure:
            return StillHeld(number=number, code="constraint", message=failure.message)
        except UsageError as missed:
            return StillHeld(number=number, code=missed.code, message=missed.message)
        self._inbox.forget(number)
        if new is not None:
            made.append(new)
        return None

    def _is_back(self, number: int) -> bool:
        """Return whether the rows that a transaction changes or deletes are there."""
        return all(
            self._inbox.overlay(table).visible(note.key) is not None
            for table, note in self._changes(number)
            if note.was
        )

    def _overtaken(self, number: int) -> StillHeld | None:
        """Return why it is for a person: other values stand than those it was made on."""
        for table, note in self._changes(number):
            row = self._inbox.overlay(table).visible(note.key)
            data = None if row is None else data_of(table, row)
            if data is None or (note.was and not _differs(table, note, data)):
                continue
            message = f"A row of {table.name} was changed meanwhile: {note.key}. Look at it first."
            return StillHeld(number=number, code="constraint", message=message)
        return None

    def _changes(self, number: int) -> list[tuple[Table, CapturedChange]]:
        return [(table, CapturedChange.of(table, row)) for table, row in self._inbox.notes(number)]

    def _missing(self, number: int) -> str:
        """Return which row a transaction refers to that is not there, in words; empty: none."""
        changes = self._changes(number)
        coming = {(table.name, note.key) for table, note in changes if note.now and not note.was}
        going = {(table.name, note.key) for table, note in changes if not note.now}
        for table, note in changes:
            if note.now:
                for reference in self._inbox.overlay(table).references:
                    if not self._stands(table, reference, note, coming):
                        return f"It refers to a row of {reference.table} that is not there."
            elif note.was and self._is_referred_to(table, note.key, going):
                return f"It deletes a row of {table.name} that others still refer to: {note.key}."
        return ""

    def _stands(
        self,
        table: Table,
        reference: Reference,
        note: CapturedChange,
        coming: Collection[tuple[str, str]],
    ) -> bool:
        """Return whether what a row refers to is there, as far as that can be seen here."""
        row = assemble(table, note.key, note.new)
        values = tuple(row[table.positions[name]] for name in reference.columns)
        if None in values or not _refers_anew(table, reference, note):
            return True
        parent = self._inbox.schema.by_name[reference.table]
        key = key_text(parent, values)
        return self._inbox.overlay(parent).visible(key) is not None or (parent.name, key) in coming

    def _is_referred_to(self, parent: Table, key: str, going: Collection[tuple[str, str]]) -> bool:
        values = key_values(parent, key)
        for table in self._inbox.schema.tables:
            overlay = self._inbox.overlay(table)
            for place, reference in enumerate(overlay.references):
                if reference.table == parent.name and any(
                    (table.name, child) not in going for child in overlay.children(place, values)
                ):
                    return True
        return False


def _differs(table: Table, note: CapturedChange, data: Row) -> bool:
    """Return whether a row has another value where a change replaces one."""
    for place in note.touched(table):
        known = (note.old[place], note.new[place]) if note.now else (note.old[place],)
        if policy_of(table.data_columns[place]).replaces and data[place] not in known:
            return True
    return False


def _refers_anew(table: Table, reference: Reference, note: CapturedChange) -> bool:
    if not note.was:
        return True
    names = [column.name for column in table.data_columns]
    return any(names[position] in reference.columns for position in note.touched(table))
