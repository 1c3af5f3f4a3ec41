"""Applying an answer: outcomes, rows, removals and checkpoint, in one local transaction.

Knows: messages and the replica's tables. Must not know: HTTP, or when the next exchange is.
Upholds I6 (only what the answer names is settled), I10 (the checkpoint moves only together with its
rows), I14, I15, I16, I24, I25 and I32.

Order: outcomes decide which transactions are no longer in the overlay; news are written as server
truth; rows of decided transactions that the news do not mention fall back to the truth known
before;
then what is left of the outbox is replayed on the rows that were touched.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

from holdfast.core.errors import BadValue, ConstraintFailed, FileRefused, Offline
from holdfast.core.keys import RowPlace, key_values, row_key
from holdfast.core.values import from_wire
from holdfast.protocol.messages import Checkpoint, Gone, Head, Line, Outcome, Own, Rows, Transaction
from holdfast.replica.changes.dependence import (
    OutboxNotes,
)
from holdfast.replica.changes.outbox import message_of
from holdfast.replica.changes.parts import take_apart_decided
from holdfast.replica.changes.seal import seal
from holdfast.replica.identity.kept import awaited, forget_rows, give_up, keep, put_back
from holdfast.replica.load.import_files import Importer
from holdfast.replica.load.snapshot_file import SnapshotFile
from holdfast.replica.rebase.overlay import Overlay
from holdfast.replica.rebase.replay import Replay
from holdfast.replica.storage.database import applying, read_state, unchecked, write_state
from holdfast.replica.storage.members import Members
from holdfast.replica.storage.noted import NotedKeys, noted_tables
from holdfast.replica.storage.waiting import any_unsettled
from holdfast.schema.model import Schema, Table
from holdfast.sql.bookkeeping.statements import (
    EVENTS,
    IDENTITY,
    KEPT,
    ROWS,
    STATE,
    TRANSACTIONS,
)
from holdfast.sql.replica import ReplicaProgram
from holdfast.sqlite import Connection, Row

T = TypeVar("T")


@dataclass(slots=True)
class Applied:
    """Changes made by an answer. ``differing``: scopes whose digests do not agree afterwards."""

    applied: int = 0
    refused: int = 0
    held: int = 0
    parted: int = 0
    """Groups of other programs' writes, and what one held, that go up anew: they were refused or
    held in this answer or an earlier one, and are taken off those counts here."""
    rows: int = 0
    removed: int = 0
    lost: int = 0
    """Scopes that the device may not read any more."""
    differing: list[str] = field(default_factory=list)


def broken(what: str) -> Offline:
    """The answer cannot be our server's: nothing of it is believed."""
    return Offline(f"the response is invalid: {what}", code="broken_answer")


class Applier:
    """Applies one answer inside a write transaction that the caller holds."""

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        program: ReplicaProgram,
        *,
        now_us: int,
        random_bytes: Callable[[int], bytes],
        sent: Sequence[Transaction] = (),
    ) -> None:
        """``sent``: what the answer is about, as it was sent."""
        self._sent = {one.number: one for one in sent}
        self._db = connection
        self._schema = schema
        self._program = program
        self._now_us = now_us
        self._random_bytes = random_bytes
        self._members = Members(connection)
        self._overlays = {
            table.name: Overlay(connection, table, program.tables[table.name])
            for table in schema.all_tables
        }
        nothing = NotedKeys(connection)
        self._noted: list[str] = []
        self._left = dict.fromkeys(program.tables, nothing)
        self._fresh: dict[str, set[str]] = {table.name: set() for table in schema.all_tables}
        self._again: dict[str, set[str]] = {table.name: set() for table in schema.all_tables}
        self._removed: dict[str, set[str]] = {table.name: set() for table in schema.all_tables}
        self._has_work = False
        self._shadowed = dict.fromkeys(program.tables, nothing)
        self._deciding: dict[str, set[str]] = {}
        self._unplain: dict[str, set[str]] = {}
        self._acked: frozenset[int] = frozenset()
        self._result = Applied()

    def apply(
        self,
        head: Head,
        lines: Iterable[Line],
        checkpoint: Checkpoint,
        *,
        files: Sequence[tuple[SnapshotFile, str]] = (),
        filed: Iterable[Rows | Gone] = (),
        on_rows: Callable[[int], None] = lambda _rows: None,
    ) -> Applied:
        """Take in a whole answer, and before its lines the files it builds on, by their names in
        SQL (``filed``: the lines of those that have lines). Raises ``Offline`` (``broken_answer``)
        when it makes no sense, or ``FileRefused``."""
        if set(checkpoint.scopes) != set(head.scopes):
            raise broken("its checkpoint names other scopes than its head")
        seal(
            self._db,
            self._schema,
            self._program,
            now_us=self._now_us,
            random_bytes=self._random_bytes,
        )
        decided = self._decide(head.outcomes)
        moved = self._take_apart(decided)
        with applying(self._db):
            self._collect()
            for name, key in moved:
                self._again[name].add(key)
            (epoch,) = read_state(self._db, "epoch")
            self._members.grant(head.scopes, anew=not epoch)
            for scope in sorted(self._members.scopes - set(head.scopes)):
                self._lose(scope)
            has_lines, lines = _peeked(iter(lines))
            has_filed, filed = _peeked(iter(filed))
            writes = bool(decided or files or has_filed or has_lines)
            with self._trusting(head) if writes else nullcontext():
                importer = Importer(
                    self._db, self._schema, self._program, self._members, self, on_rows=on_rows
                )
                if files:
                    self._deciding = self._touched_by(decided)
                for file, alias in files:
                    if file.scope in head.scopes:  # it may have been taken away meanwhile
                        self._result.rows += importer.run(file, alias)
                for part in filed:
                    self._filed_news(part, decided)
                    importer.took(len(part.rows if isinstance(part, Rows) else part.keys))
                for line in lines:
                    self._news(line, decided)
                importer.settle()
                self._fall_back(decided)
            self._replay(decided)
            self._forget()
            give_up(self._db, backed_up=head.backed_up, now_us=self._now_us)
            self._result.differing = self._members.finish(checkpoint.scopes)
        return self._result

    def _trusting(self, head: Head) -> AbstractContextManager[None]:
        """Server truth never fails to apply: a server of a newer generation may have looser checks,
        and ours are not asked about its rows. SQLite prepares all statements anew for it, twice."""
        newer = head.generation > self._schema.generation
        return unchecked(self._db) if newer else nullcontext()

    # --- outcomes ---------------------------------------------------------------------------

    def _decide(self, outcomes: list[Outcome]) -> frozenset[int]:
        """Record outcomes; the numbers they settle now. Names that are not ours are ignored."""
        if not outcomes:
            return frozenset()
        numbers = [outcome.number for outcome in outcomes]
        unsettled = set(self._db.execute(TRANSACTIONS.unsettled_ids, (min(numbers), max(numbers))))
        span = min(numbers), max(numbers)
        again = set(self._db.execute(KEPT.offered_ids, span))
        self._decide_again([o for o in outcomes if (o.number, o.id) in again])
        ((restored,),) = self._db.execute(IDENTITY.made_before_restore)
        ours = {
            o.number: awaited(o) if o.number <= int(str(restored)) and not o.known else o
            for o in outcomes
            if (o.number, o.id) in unsettled
        }
        self._count_again(list(ours.values()))
        self._keep([o.number for o in ours.values() if o.outcome == "applied"])
        self._record(ours.values())
        kinds = Counter(outcome.outcome for outcome in ours.values())
        self._result.applied += kinds["applied"]
        self._result.refused += kinds["refused"]
        self._result.held += kinds["held"]
        impossible = sum(outcome.impossible for outcome in ours.values())
        if impossible:  # our revisions of those rows are damaged; the rows come with this answer
            self._db.execute(STATE.add_mismatches, (impossible,))
        self._acked = frozenset(n for n, o in ours.items() if o.outcome == "applied")
        decided = frozenset(ours)
        if decided:
            (confirmed,) = read_state(self._db, "confirmed")
            write_state(self._db, confirmed=max(*decided, int(str(confirmed))))
        return decided

    def _record(self, outcomes: Iterable[Outcome]) -> None:
        self._db.executemany(
            TRANSACTIONS.decide,
            [
                ("acked" if o.outcome == "applied" else o.outcome, o.code, o.message, o.field,
                 o.held_by, self._now_us, o.outcome, o.number)
                for o in outcomes
            ],
        )  # fmt: skip

    def _decide_again(self, outcomes: list[Outcome]) -> None:
        """Outcomes of what was acknowledged once. What is not taken again becomes a transaction of
        the outbox, for the inbox to show; its rows come with the answer."""
        taken = [one for one in outcomes if one.outcome == "applied"]
        self._db.executemany(KEPT.settle, [(one.number,) for one in taken])
        stopped = [awaited(one) for one in outcomes if one.outcome != "applied"]
        for one in stopped:
            put_back(self._db, self._schema, self._program, one.number)
        self._record(stopped)
        self._result.applied += len(taken)
        self._result.refused += sum(one.outcome == "refused" for one in stopped)
        self._result.held += sum(one.outcome == "held" for one in stopped)
        self._count_again(outcomes)

    def _count_again(self, outcomes: list[Outcome]) -> None:
        """Count in the history what a fork has offered again."""
        (last,) = read_state(self._db, "origin_last")
        found = [one for one in outcomes if one.number <= int(str(last))]
        if found:
            known = sum(one.known for one in found)
            stopped = sum(one.outcome != "applied" for one in found)
            self._db.execute(EVENTS.count, (len(found), known, stopped))

    def _keep(self, numbers: list[int]) -> None:
        """Keep what is acknowledged now: as it was sent, or encoded anew where an answer tells of
        an earlier request."""
        made = {n: self._sent[n] for n in numbers if n in self._sent}
        for number in numbers:
            if number not in made:
                found = message_of(self._db, self._schema, self._program, number)
                made |= {number: found} if found is not None else {}
        if not made:
            return
        generations = {
            number: int(str(generation))
            for number, *_, generation, _first in self._db.execute(
                TRANSACTIONS.heads, (min(made), max(made))
            )
        }
        keep(
            self._db,
            [(one, generations[number]) for number, one in made.items()],
            decided_us=self._now_us,
        )

    def _take_apart(self, decided: frozenset[int]) -> list[RowPlace]:
        """Take groups of other programs' writes apart; the rows of what is sent anew.

        Their notes come behind others of the same rows, and do not tell any more what the server
        has: it is kept beside them first.
        """
        moved: list[RowPlace] = []

        def keep(place: RowPlace) -> None:
            overlay = self._overlays[place[0]]
            overlay.put_shadow(place[1], overlay.truth(place[1], decided))
            moved.append(place)

        notes = OutboxNotes(self._db, self._schema, self._program)
        parted = take_apart_decided(notes, on_move=keep)
        self._result.refused -= parted["refused"]
        self._result.held -= parted["held"]
        self._result.parted = parted.total()
        return moved

    def _collect(self) -> None:
        """Collect where unsettled changes and shadows are, and what is set aside."""
        unsettled = any_unsettled(self._db)
        self._has_work = unsettled
        self._noted = noted_tables(self._db, self._program, sweep=True)
        for name in self._noted:
            statements = self._program.tables[name]
            if unsettled:
                self._left[name] = NotedKeys(
                    self._db, every=statements.unsettled_keys, among=statements.unsettled_among
                )
                self._again[name] = {str(key) for (key,) in self._db.execute(statements.aside_keys)}
            self._shadowed[name] = NotedKeys(
                self._db, every=statements.shadow_keys, among=statements.shadows_among
            )

    def _look(self, table: Table, keys: Collection[str]) -> None:
        """Find out at once what stands on the rows of a line."""
        self._left[table.name].look(keys)
        self._shadowed[table.name].look(keys)

    # --- news -------------------------------------------------------------------------------

    def _filed_news(self, line: Rows | Gone, decided: frozenset[int]) -> None:
        """A line of a file that cannot be used is the file's fault: the rows are to come in the
        answer."""
        try:
            self._news(line, decided)
        except (Offline, ConstraintFailed) as error:
            raise FileRefused(f"a line of it: {error.message}") from None

    def _news(self, line: Line, decided: frozenset[int]) -> None:
        if not isinstance(line, (Rows, Own, Gone)):
            raise broken(f"a {type(line).__name__} line among the rows")
        table = self._schema.by_name.get(line.table)
        if table is None:
            raise broken(f"unknown table {line.table!r}")
        if isinstance(line, Own):
            self._own(table, line, decided)
            return
        if isinstance(line, Gone):
            self._look(table, line.keys)
            for key in line.keys:
                decode_key(table, key)
                self._members.remove(table, key)
                self._truth(table, key, None)
                self._result.removed += 1
            return
        rows = [decode_row(table, wire) for wire in line.rows]
        rows = list({row[0]: row for row in rows}.values())  # each key once, at its latest
        self._look(table, [key for key, _, _ in rows])
        again = not self._fresh[table.name].isdisjoint(key for key, _, _ in rows)
        self._members.put(table, rows, again=again)
        self._truths(table, [(key, row) for key, _, row in rows])
        self._result.rows += len(rows)

    def _own(self, table: Table, line: Own, decided: frozenset[int]) -> None:
        """Rows that are what we have made of them: they stay, and are the server's from now on.

        Where nothing else stands on a row, the table shows it already. Should it not be what the
        server has, the digests will tell.
        """
        if len(line.keys) != len(line.revs):
            raise broken(f"own rows of {table.name} without their revisions")
        revs = dict(zip(line.keys, line.revs, strict=True))
        if table.name not in self._unplain:
            found = self._db.execute(self._program.tables[table.name].unplain_keys)
            self._unplain[table.name] = {str(key) for (key,) in found}
        self._look(table, revs)
        left = self._left[table.name]
        apart = {key for key in revs if key in self._unplain[table.name] or key in left}
        overlay = self._overlays[table.name]
        rows = [(key, revs[key], row) for key, row in overlay.visible_rows(revs.keys() - apart)]
        again = not self._fresh[table.name].isdisjoint(revs)
        self._members.put(table, rows, again=again)
        self._fresh[table.name].update(key for key, _, _ in rows)
        for key in self._shadowed[table.name].among(revs) - apart:
            self._db.execute(self._program.tables[table.name].delete_shadow, (key,))
        for key in sorted(apart):
            row = overlay.made(key, decided, self._acked)
            if row is not None:
                self._members.put(table, [(key, revs[key], row)], again=True)
                self._truth(table, key, row)
        self._result.rows += len(revs)

    def _truths(self, table: Table, rows: list[tuple[str, Row]]) -> None:
        """Write the server's version of rows, each key once; at once where none can stand in the
        way of another."""
        if table.unique:
            for key, row in rows:
                self._truth(table, key, row)
            return
        for key, row in rows:
            self._settle_shadow(table, key, row)
        self._db.executemany(self._program.tables[table.name].upsert_row, [row for _, row in rows])

    def _truth(self, table: Table, key: str, row: Row | None) -> None:
        """Write server truth; the overlay of this row, if any, is replayed at the end."""
        overlay = self._overlays[table.name]
        self._settle_shadow(table, key, row)
        if row is not None and table.unique:
            for other in overlay.make_room(row):
                if other in self._left[table.name]:
                    self._again[table.name].add(other)
        if row is None and self._has_work:
            self._removed[table.name].add(key)
        overlay.write(key, row)

    def _settle_shadow(self, table: Table, key: str, row: Row | None) -> None:
        """Keep server truth beside the row while changes of ours stand on it, and only then."""
        self._fresh[table.name].add(key)
        if key in self._left[table.name]:
            self._overlays[table.name].put_shadow(key, row)
            self._again[table.name].add(key)
        elif key in self._shadowed[table.name]:
            self._db.execute(self._program.tables[table.name].delete_shadow, (key,))

    def _lose(self, scope: str) -> None:
        self._result.lost += 1
        lost = list(self._members.lose(scope))
        forget_rows(self._db, self._schema, frozenset(lost))
        for name, key in lost:
            table = self._schema.by_name.get(name)
            if table is not None:
                self._db.execute(ROWS.remove, (name, key))
                self._truth(table, key, None)
                self._result.removed += 1

    # --- what whole files need of it --------------------------------------------------------------

    def touched(self, table: Table) -> set[str]:
        name = table.name
        return self._left[name].all() | self._shadowed[name].all() | self._deciding.get(name, set())

    def pending(self, table: Table, key: str) -> bool:
        return key in self._left[table.name]

    def put(self, table: Table, rows: Sequence[tuple[str, int, Row]]) -> None:
        self._members.put(table, rows, again=True)
        self._truths(table, [(key, row) for key, _, row in rows])

    def leave(self, table: Table, key: str) -> None:
        self._members.remove(table, key)
        self._truth(table, key, None)
        self._result.removed += 1

    def standing(self, table: Table, row: Row) -> list[tuple[str, Row | None]]:
        overlay = self._overlays[table.name]
        return [(key, overlay.visible(key)) for key in overlay.colliding(row)]

    def visible(self, table: Table, key: str) -> Row | None:
        return self._overlays[table.name].visible(key)

    # --- the overlay ------------------------------------------------------------------------

    def _touched_by(self, decided: frozenset[int]) -> dict[str, set[str]]:
        """By table: keys that transactions which are settled now have changed."""
        found: dict[str, set[str]] = {}
        for name in self._noted if decided else ():
            statements = self._program.tables[name]
            touched = self._db.execute(statements.touched_keys, (min(decided), max(decided)))
            found[name] = {str(key) for number, key in touched if number in decided}
        return found

    def _fall_back(self, decided: frozenset[int]) -> None:
        """Rows of decided transactions that the news did not mention: the truth known before."""
        for name, keys in self._touched_by(decided).items():
            overlay = self._overlays[name]
            falling, left = keys - self._fresh[name], self._left[name]
            self._look(overlay.table, falling)
            for key in sorted(falling):
                truth = overlay.truth(key, decided)
                standing = [] if truth is None else overlay.colliding(truth)
                if any(other not in falling and other not in left for other in standing):
                    # Its values are another row's by now: its removal was forgotten while we were
                    # away. The digests will say so too.
                    truth = None
                    self._members.remove(overlay.table, key)
                self._truth(overlay.table, key, truth)

    def _replay(self, decided: frozenset[int]) -> None:
        if self._has_work:
            Replay(self._db, self._overlays, decided).run(self._again, self._removed)

    def _forget(self) -> None:
        """Acknowledged transactions whose checkpoint is applied leave the outbox."""
        if not self._acked:
            return
        span = (min(self._acked), max(self._acked))
        for name in self._noted:
            self._db.execute(self._program.tables[name].delete_acked, span)
        self._db.execute(TRANSACTIONS.remove_acked, span)


def _peeked(some: Iterator[T]) -> tuple[bool, Iterator[T]]:
    """Return whether anything comes, and all of it."""
    first = list(itertools.islice(some, 1))
    return bool(first), itertools.chain(first, some)


def decode_row(table: Table, wire: list[object]) -> tuple[str, int, Row]:
    """A row as it travels: its key, revision and storage values. Raises ``Offline``."""
    if len(wire) != len(table.columns) + 1 or not isinstance(wire[0], int):
        raise broken(f"a row of {table.name} does not have its columns")
    try:
        values = tuple(
            [
                from_wire(column.type, value, scale=column.scale)
                for column, value in zip(table.columns, wire[1:], strict=True)
            ]
        )
        return row_key(table, values), wire[0], values
    except BadValue as error:
        raise broken(f"a row of {table.name}: {error.message}") from None


def decode_key(table: Table, key: str) -> tuple[object, ...]:
    """A key's text as values; raises ``Offline`` when it is none of this table's."""
    try:
        return key_values(table, key)
    except ValueError:
        raise broken(f"a key of {table.name} is not readable") from None
