"""Cells, the changes that arrive at them, and what a policy says of one: the merge's common terms.

Knows: a column, its value and stamp, a change and its author; a group comes as one column
(``groups``). Must not know: what any policy does, SQL, messages, clocks; time stamps arrive
corrected.

A default is a value that nobody chose: where an insert's column holds it, nobody has written, in
whatever transaction the choice then comes. So nothing is concurrent with it, it is nobody's loss,
and an insert of a row that lives leaves alone what it only has a default for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from holdfast.core.merging.groups import columns_of
from holdfast.core.merging.rows import Stamp, device_of
from holdfast.core.values import Value
from holdfast.schema.model import Column, Table


class RowChange(Struct, frozen=True, gc=False):
    """An incoming change of one row, already validated; values are in their storage form.

    ``new`` has the touched columns (an insert: all but the key); a counter has its difference, in
    an insert its value. ``bases`` names columns with another base than ``base``.
    """

    table: Table
    key: str
    """The key's canonical text."""
    key_values: tuple[Value, ...]
    op: Literal["insert", "update", "delete"]
    base: int
    bases: Mapping[str, int]
    new: Mapping[str, Value]
    old: Mapping[str, Value]


class Author(Struct, frozen=True, gc=False):
    """Author of a change: ``at`` is corrected, in microseconds; ``number`` is the transaction's.

    ``replica``: the name under which it writes (``rows.replica_name``). ``past``: replicas that it
    has come out of, with the last of their transactions that it made itself, before they parted.
    ``elsewhere``: single ones that it made itself, by the replica that has sent them and the number
    there.
    """

    replica: str
    user: str
    at: int
    number: int
    past: Mapping[str, int] = {}
    elsewhere: frozenset[tuple[str, int]] = frozenset()

    @property
    def device(self) -> str:
        """Return the name of the device, for people."""
        return device_of(self.replica)

    def wrote(self, stamp: Stamp) -> bool:
        """Return whether what is stamped is the author's own write."""
        if stamp.replica == self.replica:
            return True
        if self.past and stamp.number <= self.past.get(stamp.replica, -1):
            return True
        return bool(self.elsewhere) and (stamp.replica, stamp.number) in self.elsewhere

    def newest_by_others(self, stamp: Stamp) -> int:
        """Return the newest revision of what is stamped that anybody else has written."""
        return stamp.other if self.wrote(stamp) else stamp.rev

    def stamp(self, rev: int, *, at: int | None = None, other: int = 0) -> Stamp:
        """Return the author's stamp in a revision; ``at``: another time than its own."""
        time = self.at if at is None else at
        return Stamp(rev, self.replica, self.user, time, other, self.number)


Automatic = Literal["latest", "server", "client", "largest", "smallest"]
"""The policies that choose by themselves."""
DecisionKind = Automatic | Literal["delete", "edit", "settlement"]


class Decision(Struct, frozen=True, gc=False):
    """A journal entry: an automatic decision that dropped or overrode what somebody wrote.

    ``kind`` is the policy that decided, or else what was lost: a ``delete`` to an edit, an ``edit``
    to a delete (a counter's then is its difference, or its value when the delete came later), a
    ``settlement`` to a newer state. ``column`` is empty when it is about the whole row.
    """

    table: str
    key: str
    column: str
    kind: DecisionKind
    kept: Value
    kept_device: str
    kept_user: str
    kept_at: int
    lost: Value
    lost_device: str
    lost_user: str
    lost_at: int


Said = tuple[Value, "Author | Stamp"]
"""What somebody wrote, and who."""


def decision(
    change: RowChange, kind: DecisionKind, *, column: str, kept: Said, lost: Said
) -> Decision:
    """The journal entry of what a change did, or of what became of it."""
    (kept_value, keeper), (lost_value, loser) = kept, lost
    return Decision(
        table=change.table.name,
        key=change.key,
        column=column,
        kind=kind,
        kept=kept_value,
        kept_device=keeper.device,
        kept_user=keeper.user,
        kept_at=keeper.at,
        lost=lost_value,
        lost_device=loser.device,
        lost_user=loser.user,
        lost_at=loser.at,
    )


class OpenConflict(Struct, frozen=True, gc=False):
    """A conflict to open, or, when this device has one open here, one whose ``mine`` to update.

    ``mine`` is the arriving side, ``theirs`` what stands on the server. In an ``edit`` they are
    storage values of ``column``. A ``delete`` is about the whole row (``column`` is empty): the
    side that edited is the JSON text of an object of wire values by column, the other ``None``.
    """

    table: str
    key: str
    column: str
    kind: Literal["edit", "delete"]
    base: Value
    mine: Value
    theirs: Value
    mine_author: Author
    their_device: str
    their_user: str
    their_at: int


class Cell(Struct, frozen=True, gc=False):
    """One column of a row that lives, as the server has it, and what the change was based on.

    ``rev`` is the revision the row gets if anything changes; ``base`` is one of this incarnation.
    ``untouched``: nobody has written it since the insert.
    """

    column: Column
    value: Value
    stamp: Stamp
    untouched: bool
    base: int
    rev: int
    stamps: Mapping[str, Stamp]
    """Of the row, by name of what is stamped."""
    inserted: Stamp
    """The stamp of the row's insert."""

    @property
    def unchosen(self) -> bool:
        """Return whether all that stands is the default of an insert; one that was meant looks
        alike.
        """
        return self.untouched and self.value == self.column.default_value()


class Verdict(Struct, frozen=True, gc=False):
    """The column's value and stamp from now on, and what goes on record."""

    value: Value
    stamp: Stamp
    decision: Decision | None = None
    conflict: OpenConflict | None = None
    parts: Mapping[str, Stamp | None] = {}
    """Stamps of parts of the value from now on, by ``part_name``; None: there is none any more."""
    renewed: bool = False
    """Whether what stands was said once more, so that everybody is told of it anew."""


def made_on_another(change: RowChange, name: str, value: Value) -> bool:
    """Return whether a change, its groups as one column, says that it was made on another value of
    a cell than the one that stands. For a time that is corrected on arrival that cannot be said.
    """
    if any(change.table.by_name[one].corrected for one in columns_of(name)):
        return False
    return change.old.get(name, value) != value


class Decide(Protocol):
    """Decides one touched cell. May raise ``Refuse``."""

    def __call__(
        self, cell: Cell, change: RowChange, author: Author, *, settled: bool
    ) -> Verdict: ...


def written(cell: Cell, author: Author, *, follows: bool) -> Stamp:
    """The stamp of a new value. One that follows on the present value is never older than it."""
    stamp = cell.stamp
    at = max(author.at, stamp.at) if follows else author.at
    # Below `rev`, so that it cannot be taken for a value with two writers.
    other = min(author.newest_by_others(stamp), cell.rev - 1)
    return author.stamp(cell.rev, at=at, other=other)


def first_choice(cell: Cell, chosen: Value, author: Author) -> Stamp:
    """The stamp of the first value that somebody chose: there is no other writer before it."""
    seen = chosen == cell.value and cell.column.merge != "latest"
    rev = cell.stamp.rev if seen else cell.rev
    return author.stamp(rev)
