"""A row as the server knows it: values, revision, and who wrote which column last.

Knows: revisions and stamps, and their compact form. Must not know: SQL, messages or merge policies.
A row's revision is a random incarnation and a counter; it only ever goes up, through deletion and
a new life too, until the row is purged. No replica is in conflict with its own writes: each stamp
tells the newest revision by its writer apart from the newest by anyone else. Who writes is called
by the device's name; a device's later replicas are told apart by their place among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct

from holdfast.core.errors import Refuse
from holdfast.core.limits import WIRE_INTEGER_MAX
from holdfast.core.values import Value

INSERTED = ":"
"""Stands for the insert of a row: nothing is stamped under this name, so its stamp is the row's."""
ROW = ""
"""Stands for the row itself where a column is named."""
COUNTER_BITS = 32
COUNTER_MAX = (1 << COUNTER_BITS) - 1
INCARNATION_MAX = WIRE_INTEGER_MAX >> COUNTER_BITS
"""Incarnations are 1 to this, so that a revision stays exact in JavaScript."""


_PLACE = "\0"
"""Stands between a device's name and the place of one of its replicas; no name has it."""


def replica_name(device: str, place: int) -> str:
    """The name under which a replica writes; ``place``: 1 for a device's first one."""
    return device if place <= 1 else f"{device}{_PLACE}{place}"


def device_of(replica: str) -> str:
    """The device of a replica, from the name under which it writes."""
    return replica.partition(_PLACE)[0]


class Stamp(Struct, frozen=True, gc=False, array_like=True):
    """Stamp of the last write of a column (or insert or delete of the row): by whom, and when.

    ``rev`` is the revision in which it was written. It is one above the row's for a later write of
    the value that already stood there: the row did not change, yet nobody has seen that write.
    ``at`` is corrected, in microseconds. ``other`` is the newest revision written by any other
    replica than ``replica`` (0: none); equal to ``rev``, it says that another one wrote this very
    value too, and neither has seen the other's write. ``number``: of the transaction, among those
    of ``replica`` (0: not known).
    """

    rev: int
    replica: str
    user: str
    at: int
    other: int = 0
    number: int = 0

    @property
    def device(self) -> str:
        """Return the name of the device, for people."""
        return device_of(self.replica)

    @property
    def shared(self) -> bool:
        """Return whether several replicas wrote this value independently."""
        return self.other == self.rev


class ServerRow(Struct, frozen=True, gc=False):
    """One row as the server knows it; ``ABSENT`` when it never was.

    ``values`` are all columns in declared order, ``None`` when the row is deleted or never was;
    ``image`` is then its last state. ``row`` is the stamp of the insert and of all columns that are
    not in ``columns``; there, ``ROW`` has an entry when several replicas have inserted the row. A
    deleted row keeps its stamps, for the edit that may revive it. An element of a set that was
    added since the insert has an entry for each replica that has added it (``part_name``).
    """

    rev: int
    values: tuple[Value, ...] | None
    image: tuple[Value, ...] | None
    row: Stamp | None
    columns: Mapping[str, Stamp]
    deleted: Stamp | None
    counts_from: int = 0
    """The least place in the row's count that its next revision has (see ``Epochs``)."""


ABSENT = ServerRow(0, None, None, None, {}, None)
"""A row that never was, or whose tombstone has been purged."""


def next_rev(row: ServerRow, incarnation: int) -> int:
    """The revision of the row's next change; ``incarnation`` counts only for one that never was."""
    if row.rev == 0:
        assert 1 <= incarnation <= INCARNATION_MAX, "an incarnation out of range"
        return (incarnation << COUNTER_BITS) + max(1, row.counts_from)
    if row.rev & COUNTER_MAX == COUNTER_MAX:
        raise Refuse("overflow", "This row has been changed too often to be changed again.")
    return max(row.rev + 1, (row.rev & ~COUNTER_MAX) + row.counts_from)


def base_in(row: ServerRow, base: int) -> int:
    """``base`` as a revision of this row. One of another incarnation knew another row, and one that
    the row has not had yet knew nothing of it: 0, with which every write of others is concurrent.
    """
    known = base <= row.rev and base >> COUNTER_BITS == row.rev >> COUNTER_BITS
    return base if known else 0


def is_impossible(row: ServerRow, base: int) -> bool:
    """Return whether ``base`` is a revision that the row has not had yet: what told it is
    damaged.
    """
    return base > row.rev > 0 and base >> COUNTER_BITS == row.rev >> COUNTER_BITS


def seen_in_lost(row: ServerRow, base: int, counts_to: int) -> int:
    """``base``, or the row's revision where it is one that was lost with the end of an epoch, whose
    revisions count up to ``counts_to``: who has seen that has seen all that there is."""
    if base & COUNTER_MAX >= counts_to:
        return base
    begun = is_of_another_row(row, base) and begun_again(row, counts_to)
    return row.rev if begun or is_impossible(row, base) else base


def begun_again(row: ServerRow, counts_to: int) -> bool:
    """Return whether the row began after that epoch: one that was lost altogether comes back as
    another one."""
    return row.row is not None and row.row.rev & COUNTER_MAX >= counts_to


def is_of_another_row(row: ServerRow, base: int) -> bool:
    """Return whether ``base`` is a revision of a row with this key that was purged before this
    one was made."""
    return base > 0 and row.rev > 0 and base >> COUNTER_BITS != row.rev >> COUNTER_BITS


def part_name(column: str, replica: str, part: str) -> str:
    """Under which name it is stamped that a replica has written a part of a column's value, such as
    an element of a set: no column is called so."""
    return f"{column}:{replica}:{part}"


def part_stamps(column: str, stamps: Mapping[str, Stamp]) -> Iterator[tuple[str, Stamp]]:
    """The stamps of the parts of a column's value, with the parts."""
    for name, stamp in stamps.items():
        if name.startswith(f"{column}:"):
            yield name.removeprefix(f"{column}:{stamp.replica}:"), stamp


def stamp_of(row: ServerRow, column: str) -> Stamp:
    """The stamp of a column, or of the ``ROW``, of one that lives or is remembered as deleted."""
    stamp = row.columns.get(column, row.row)
    assert stamp is not None, "a row that has been written has a stamp"
    return stamp


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[Stamp], int, int, dict[str, int]]).decode


def dump_stamps(row: ServerRow) -> bytes:
    """The stamps of a row, compact (MessagePack); each distinct stamp is written once.

    The form: distinct stamps, then the places (-1: none) of the row's and the deletion's, then of
    each column's.
    """
    if row.row is not None and row.deleted is None and not row.columns:  # as most rows are
        return _encode(([row.row], 0, -1, {}))
    places: dict[Stamp | None, int] = {None: -1}
    inserted = places.setdefault(row.row, len(places) - 1)
    deleted = places.setdefault(row.deleted, len(places) - 1)
    columns = {
        name: places.setdefault(stamp, len(places) - 1) for name, stamp in row.columns.items()
    }
    stamps = [stamp for stamp in places if stamp is not None]
    return _encode((stamps, inserted, deleted, columns))


def load_stamps(data: bytes) -> tuple[Stamp | None, dict[str, Stamp], Stamp | None]:
    """The inverse of ``dump_stamps``: ``row``, ``columns`` and ``deleted`` of a ``ServerRow``."""
    stamps, inserted, deleted, columns = _decode(data)
    return (
        None if inserted < 0 else stamps[inserted],
        {name: stamps[place] for name, place in columns.items()},
        None if deleted < 0 else stamps[deleted],
    )
