"""Importing snapshot files into a replica, set by set, inside the transaction of their answer.

Knows: checked files that are attached to the sync connection, and the replica's tables. Must not
know: how the files came, or messages.

Rows that meet nothing are copied by one statement a table: into the table, the revisions and the
members. A row that meets something is sorted out first, with joins:

- the replica holds the same revision: at most its membership is new;
- it holds a higher one: left alone; the answer, which starts at the file's position, has it;
- it holds a lower one, has work of its own on it, or another row stands on a unique value of it:
  written like a row of an answer, one by one;
- the scope had members that the file does not have: they leave.

Two files may be of different moments, and so may disagree about who has a unique value. A row that
had to make room, and that nobody mentions afterwards, comes back at the end (``settle``).

Upholds I12, I14, I15, I16 (it is all one transaction), I24 and I32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from holdfast.core.digest import Digest
from holdfast.core.errors import ConstraintFailed, FileRefused
from holdfast.replica.load.snapshot_file import SnapshotFile, sum_of
from holdfast.replica.storage.members import Members
from holdfast.schema.model import Schema, Table
from holdfast.sql.bookkeeping.statements import ROWS, STATE
from holdfast.sql.load import LOADING, LoadProgram, loading_view
from holdfast.sql.names import quote
from holdfast.sql.replica import ReplicaProgram
from holdfast.sqlite import Connection, Row
from holdfast.sqlite.failpoints import failpoint


class TruthWriter(Protocol):
    """Writer of server truth, row by row; it knows the overlay."""

    def touched(self, table: Table) -> Iterable[str]:
        """Keys with work of this device on them, unsettled or being settled now."""

    def pending(self, table: Table, key: str) -> bool:
        """Return whether a row is written again at the end, with the work that stands on it."""

    def put(self, table: Table, rows: Sequence[tuple[str, int, Row]]) -> None:
        """Server truth of rows (key, revision, values), each key once."""

    def leave(self, table: Table, key: str) -> None:
        """The row is in none of our scopes any more."""

    def standing(self, table: Table, row: Row) -> Iterable[tuple[str, Row | None]]:
        """Other rows that hold a unique value of this one: key and visible values."""

    def visible(self, table: Table, key: str) -> Row | None: ...


@contextmanager
def attached(db: Connection, files: Sequence[SnapshotFile]) -> Iterator[list[str]]:
    """Attach files; the names they have in SQL. Not inside a transaction: they could not go."""
    aliases = [f"holdfast_file_{number}" for number in range(len(files))]
    made: list[str] = []
    try:
        if files:  # what they are made of has been looked at; see what is damaged since
            db.execute("PRAGMA cell_size_check = ON")
        for alias, file in zip(aliases, files, strict=True):
            db.execute(f"ATTACH ? AS {alias}", (str(file.path),))
            made.append(alias)
        yield aliases
    finally:
        for alias in made:
            db.execute(f"DETACH {alias}")


class Importer:
    """Imports files, one after the other, within one application of news."""

    def __init__(
        self,
        db: Connection,
        schema: Schema,
        program: ReplicaProgram,
        members: Members,
        truth: TruthWriter,
        *,
        on_rows: Callable[[int], None],
    ) -> None:
        self._db = db
        self._schema = schema
        self._program = program
        self._members = members
        self._truth = truth
        self._on_rows = on_rows
        self._rows = 0
        self._displaced: dict[tuple[str, str], Row] = {}

    def run(self, file: SnapshotFile, alias: str) -> int:
        """Take in one file; how many rows it has. Raises ``FileRefused`` when one does not fit."""
        known = self._members.holds(file.scope)
        copies = [
            _Copy(self._db, table, self._program.tables[table.name].load, file, alias)
            for table in self._schema.all_tables
        ]
        plain: list[_Copy] = []
        for copy in copies:
            try:
                with copy.in_view():
                    if self._table(copy, known=known):
                        plain.append(copy)
            except ConstraintFailed as error:
                raise FileRefused(f"a row of {copy.table.name} does not fit: {error}") from None
        if len(plain) == len(copies):  # these are all its rows, and their sum has been checked
            whole = Digest.of(file.position.count, file.position.digest)
            self._members.add_sum(file.scope, whole.count, whole.total)
        else:
            for copy in plain:
                with copy.in_view():
                    self._sum_up(copy, all_rows=True)
        return file.rows

    def settle(self) -> None:
        """Bring back what had to make room and was not mentioned again. After the answer's rows."""
        for (name, key), row in self._displaced.items():
            table = self._schema.by_name[name]
            if self._truth.visible(table, key) is not None:
                continue
            held = self._db.execute(ROWS.revision, (name, key))
            if held:
                self._truth.put(table, [(key, int(str(held[0][0])), row)])
        self._displaced.clear()

    def _table(self, copy: _Copy, *, known: bool) -> bool:
        """One table of a file; whether it met nothing."""
        table = copy.table
        touched = sorted(self._truth.touched(table))
        if not known and not touched and copy.finds_nothing():
            with copy.unwatched():
                copy.copy(self._told)
            return True
        for sql in self._program.load_begin:
            self._db.execute(sql)
        copy.sort_out(touched)
        for key in copy.departed() if known else ():
            if self._members.part(copy.scope, table, key):
                self._truth.leave(table, key)
        copy.sort_by_unique()
        self._sum_up(copy, all_rows=False)
        before = self._rows
        copy.copy(self._told, all_rows=False)
        for rows in copy.written():
            self._write(table, rows)
            self._told(len(rows))
        self.took(copy.rows - (self._rows - before))  # there was nothing to do for the rest
        for sql in self._program.load_end:
            self._db.execute(sql)
        return False

    def _write(self, table: Table, rows: list[tuple[str, int, Row]]) -> None:
        for key, _, row in rows if table.unique else ():
            for other, values in self._truth.standing(table, row):
                if other != key and values is not None and not self._truth.pending(table, other):
                    self._displaced[table.name, other] = values
        self._truth.put(table, rows)

    def _sum_up(self, copy: _Copy, *, all_rows: bool) -> None:
        """Add the hashes of the rows that become members to the digest of their scope."""
        for count, total in copy.sums(all_rows=all_rows):
            self._members.add_sum(copy.scope, count, total)

    def _told(self, rows: int) -> None:
        failpoint("import.mid")
        self.took(rows)

    def took(self, rows: int) -> None:
        """So many more rows of files are in: each is counted once, however it came in."""
        self._rows += rows
        self._on_rows(self._rows)


class _Copy:
    """The statements that copy one table of one file."""

    def __init__(
        self, db: Connection, table: Table, sql: LoadProgram, file: SnapshotFile, alias: str
    ) -> None:
        self._db = db
        self._sql = sql
        self._view = loading_view(alias, table)
        self._steps = file.steps[table.name]
        self.table = table
        self.scope = file.scope
        self.rows = sum(rows for _, _, rows in self._steps)

    @contextmanager
    def in_view(self) -> Iterator[None]:
        """Show the statements this table of this file; what fails inside undoes all."""
        self._db.execute(self._view)
        yield
        self._db.execute(f"DROP VIEW {LOADING}")

    def finds_nothing(self) -> bool:
        """Return whether the replica has no row of this table, neither shown nor known."""
        ((found,),) = self._db.execute(self._sql.is_held)
        return not found

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Without the capture triggers of the table, which would be asked twice for each row and
        keep quiet. They are back, as they were, before anybody else can write."""
        found = self._db.execute(STATE.capture_of, (self.table.name,))
        for name, _ in found:
            self._db.execute(f"DROP TRIGGER main.{quote(str(name))}")
        yield
        for _, sql in found:
            self._db.execute(str(sql))

    def copy(self, told: Callable[[int], None], *, all_rows: bool = True) -> None:
        """Copy the rows that meet nothing, in the order of their keys; ``told`` how many."""
        rows_sql, revs_sql, members_sql = self._sql.copy if all_rows else self._sql.copy_rest
        for first, last, rows in self._steps:
            self._db.execute(rows_sql, (first, last))
            copied = rows if all_rows else self._db.changes()
            self._db.execute(revs_sql, (first, last))
            self._db.execute(members_sql, (first, last, self.scope))
            told(copied)

    # --- rows that meet something ---------------------------------------------------------------

    def sort_out(self, touched: Sequence[str]) -> None:
        """Note the rows that the replica holds, shows, or works on."""
        self._db.execute(self._sql.meet_known, (self.scope,))
        self._db.execute(self._sql.meet_shown)
        self._db.execute(self._sql.meet_touched, (json.dumps(touched),))

    def sort_by_unique(self) -> None:
        """Note the rows whose unique values another row has. After those that leave have left."""
        for sql in self._sql.meet_unique:
            self._db.execute(sql)

    def departed(self) -> Iterator[str]:
        """Keys of members of the scope that the file does not have. They may go meanwhile."""
        self._db.execute(self._sql.keys)
        after = ""
        while found := self._db.execute(self._sql.departed, (self.scope, after)):
            after = str(found[-1][0])
            yield from (str(key) for (key,) in found)

    def sums(self, *, all_rows: bool) -> Iterator[tuple[int, int]]:
        """Count and sum of the hashes of rows that become members without being written."""
        sql = self._sql.sums if all_rows else self._sql.sums_rest
        for first, last, _ in self._steps:
            ((count, hashes),) = self._db.execute(sql, (first, last))
            if count:
                yield int(str(count)), sum_of(bytes.fromhex(str(hashes)))

    def written(self) -> Iterator[list[tuple[str, int, Row]]]:
        """Rows that are written like those of an answer, a piece at a time."""
        after = -(2**63)
        while found := self._db.execute(self._sql.written, (after,)):
            yield [(str(row[1]), int(str(row[2])), row[3:]) for row in found]
            after = int(str(found[-1][0]))
