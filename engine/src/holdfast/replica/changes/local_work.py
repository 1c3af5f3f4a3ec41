"""Local work: an app's transactions and queries, and what makes them ready to be sent.

Knows: the app's connection, the log and its groups. Must not know: the network, or who syncs.
Reads and writes never wait for the network; those of several threads take turns. What other
connections write is noticed by the file's version, and kept apart from what this one writes.

Upholds I2 and I15.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from holdfast.core.errors import BadValue, DatabaseBusy, DatabaseFull
from holdfast.core.limits import LOG_NOTES_MAX, LOG_NOTES_SHOWN
from holdfast.core.values import Value
from holdfast.replica.changes.dependence import OutboxNotes
from holdfast.replica.changes.fit import check_fit
from holdfast.replica.changes.seal import mark, seal
from holdfast.replica.host import Host
from holdfast.replica.storage.database import LocalDatabase, transaction
from holdfast.sqlite import Row
from holdfast.sqlite.failpoints import failpoint


class Transaction:
    """A local transaction: one unit of sync. Given by ``Replica.transaction()``."""

    def __init__(self, database: LocalDatabase) -> None:
        self._db = database.app

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run one statement; all of its rows. Raises ``BadValue`` for a number that is none."""
        return self._db.execute(sql, _finite(params))

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement for each row of parameters."""
        self._db.executemany(sql, map(_finite, rows))

    def columns(self, sql: str, params: Sequence[Value] = ()) -> tuple[tuple[str, ...], list[Row]]:
        """Run one statement; its column names and all of its rows."""
        return self._db.columns(sql, _finite(params))

    def changes(self) -> int:
        """Return how many rows the last statement changed."""
        return self._db.changes()


def _finite(params: Sequence[Value]) -> Sequence[Value]:
    """SQLite would write NULL for what is no number."""
    for value in params:
        if isinstance(value, float) and not math.isfinite(value):
            raise BadValue(f"a number must be finite, this one is {value}")
    return params


class LocalWork:
    """The app's side of one replica. ``turn``: held by whoever uses the app's connection."""

    def __init__(
        self, database: LocalDatabase, host: Host, *, on_commit: Callable[[], None]
    ) -> None:
        """``on_commit``: called after each transaction of ours, when nothing is held any more."""
        self._database = database
        self._host = host
        self._on_commit = on_commit
        self.turn = threading.RLock()
        self._sealed_version: Value = None
        """``PRAGMA data_version`` up to which no open group of other connections is in the file;
        None: not known."""

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A local transaction: committed and tracked at the end, undone on any error.

        What other connections wrote before it becomes a transaction of its own. Raises
        ``ReplicaError`` (``too_many_changes``, ``too_large``, ``quota_row_bytes``) when it is
        larger than can be sent, ``BadValue`` for a value that cannot be.
        """
        with self.turn:
            with transaction(self._database.app):
                version = self._end_foreign()
                start = self._logged()
                yield Transaction(self._database)
                end = self._end_group()
                if end > start:
                    check_fit(self._notes, start=start, end=end, seal=self.seal_within)
                if end > LOG_NOTES_MAX:
                    self.seal_within()
                failpoint("local.before_commit")
            self._sealed_version = version
        failpoint("local.after_commit")
        self._on_commit()

    @property
    def inside(self) -> bool:
        """Return whether a transaction is open in this thread, which has the turn."""
        return self._database.app.in_transaction

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Read from the local database."""
        with self.turn:
            self._note_query(sql)
            return self._database.app.execute(sql, params)

    def query_columns(
        self, sql: str, params: Sequence[Value] = ()
    ) -> tuple[tuple[str, ...], list[Row]]:
        """Read from the local database; column names and rows."""
        with self.turn:
            self._note_query(sql)
            return self._database.app.columns(sql, params)

    def row_state(self, table: str, key: str) -> list[Row]:
        """Return how one row stands; nothing when nobody knows it."""
        statements = self._database.program.tables.get(table)
        with self.turn:
            return (
                []
                if statements is None
                else self._database.app.execute(statements.row_state, (key,))
            )

    def seal(self) -> None:
        """Make what was written ready to be sent."""
        with self.turn, transaction(self._database.app):
            self.seal_within()

    def seal_within(self, *, replaces: int = 0) -> int | None:
        """The same inside a transaction; the number of the open group, None when it has no net
        change. ``replaces``: the refused transaction that it makes again."""
        return seal(
            self._database.app,
            self._database.schema,
            self._database.program,
            now_us=self._host.now_us(),
            random_bytes=self._host.random_bytes,
            replaces=replaces,
        )

    def seal_long(self) -> None:
        """Seal a long log before it is looked at, if that can be: the views read it from end to
        end."""
        app = self._database.app
        last = app.execute(self._database.program.log_last)
        if last and int(str(last[0][0])) > LOG_NOTES_SHOWN and not app.in_transaction:
            with suppress(DatabaseBusy, DatabaseFull):
                self.seal()

    def now_us(self) -> int:
        """The corrected time: the device's clock and its measured offset, µs since 1970."""
        (offset,) = self.state("offset_us")
        return self._host.now_us() + (offset if isinstance(offset, int) else 0)

    def state(self, *columns: str) -> tuple[Value, ...]:
        """Columns of the replica's state row."""
        with self.turn:
            return self._database.state(*columns)

    def ask(self, question: Callable[[LocalDatabase], bool]) -> bool:
        """Return what the database says, in turn."""
        with self.turn:
            return question(self._database)

    def _end_foreign(self) -> Value:
        """End the group of what other connections wrote, if there can be any; the file's version.

        Inside a write transaction nobody else moves the version, and our own commits never do.
        """
        ((version,),) = self._database.app.execute("PRAGMA data_version")
        if version != self._sealed_version:
            self._end_group(loose=True)
        return version

    @property
    def _notes(self) -> OutboxNotes:
        database = self._database
        return OutboxNotes(database.app, database.schema, database.program)

    def _logged(self) -> int:
        """The place of the last entry of the log."""
        last = self._database.app.execute(self._database.program.log_last)
        return int(str(last[0][0])) if last else 0

    def _end_group(self, *, loose: bool = False) -> int:
        now_us = self._host.now_us()
        return mark(self._database.app, self._database.program, now_us=now_us, loose=loose)

    def _note_query(self, sql: str) -> None:
        """A query that writes is captured like a foreign write, yet does not move the version."""
        if sql.lstrip()[:6].upper() != "SELECT":
            self._sealed_version = None
