"""Subscriptions to a replica's changes: who is told what, and how they wait for it.

Knows: the recording connections, one more that only looks, and subscribers. Must not know: what an
app does with it. Nothing here costs anything before the first subscription.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from holdfast.core.errors import UsageError
from holdfast.core.limits import FOREIGN_WRITE_POLL_MS
from holdfast.core.values import Row, Value
from holdfast.replica.events.change import ChangeEvent, ChangeOrigin, ChangeQueue, Touch
from holdfast.replica.events.recording import MARK, Marks, RecordingConnection
from holdfast.replica.storage.database import LocalDatabase
from holdfast.sqlite import Connection

Query = Callable[[str, Sequence[Value]], list[Row]]


class Subscriptions:
    """All subscriptions to one replica."""

    def __init__(self, database: LocalDatabase) -> None:
        self._database = database
        self._marks = Marks()
        self._mutex = threading.Lock()
        self._open: set[ChangeSubscription] = set()
        self._look: Connection | None = None
        self._version: object = None
        self._closed = False
        self._lost = False
        """Whether the file is away."""
        self._record()

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Keep away from the file while another one takes its place, then go on with that one's
        connections: any row of it may be another. Nobody looks at what could not be replaced."""
        with self._marks.mutex:
            self._let_go()
            self._lost = True
            yield
            self._record()
            self._lost = False
        self._tell_foreign()

    def _record(self) -> None:
        database = self._database
        database.app = self._recording(database.app, "local")
        database.sync = self._recording(database.sync, "remote")

    def _recording(self, connection: Connection, origin: ChangeOrigin) -> Connection:
        return RecordingConnection(
            connection, self._database.schema, self._marks,
            origin=origin, tell=self._tell, tell_foreign=self._tell_foreign,
        )  # fmt: skip

    def subscribe(self, tables: Sequence[str] = (), *, every: bool = False) -> ChangeSubscription:
        """Return a subscription to these synced tables, or to all of the app's. ``every``: it is
        woken by each commit to the file, too, whatever that is about. Raises ``UsageError``
        (``no_table``, ``closed``)."""
        schema = self._database.schema
        known = {table.name for table in schema.all_tables}
        for name in tables:
            if name not in known:
                raise UsageError(f"the schema has no table {name!r}", code="no_table")
        wanted = frozenset(tables) if tables else frozenset(table.name for table in schema.tables)
        found = ChangeSubscription(self, wanted, every=every)
        with self._mutex:
            if self._closed:
                raise UsageError("the replica is closed", code="closed")
            if not self._open:  # nobody has compared since the last one went
                self._version = self._marks.known = None
            self._open.add(found)
            self._marks.wanted = True
        self.look()
        return found

    def tables_of(self, sql: str, params: Sequence[Value]) -> frozenset[str]:
        """Return the synced tables that a query reads; none where it reads others, too.

        SQLite is asked which pages its program would open. Raises ``DatabaseError``, or
        ``UsageError`` (``not_a_query``) for what writes.
        """
        with self._marks.mutex:
            if self._closed or self._lost:
                raise UsageError("the replica is closed", code="closed")
            look = self._looking()
            program = look.execute(f"EXPLAIN {sql}", params)
            pages = {page: str(name) for page, name in look.execute(
                "SELECT rootpage, tbl_name FROM sqlite_schema WHERE rootpage > 0"
            )}  # fmt: skip
        steps = [(str(step[1]), step[3], step[4]) for step in program]
        if any(name == "OpenWrite" or (name == "Transaction" and flag) for name, flag, _ in steps):
            raise UsageError("a watched query must only read", code="not_a_query")
        synced = {table.name for table in self._database.schema.tables}
        found = {
            pages.get(page, "") if base == 0 else ""
            for name, page, base in steps
            if name in ("OpenRead", "ReopenIdx")
        }
        if any(name == "VOpen" for name, *_ in steps) or not found <= synced:
            return frozenset()
        return frozenset(found)

    def look(self) -> None:
        """Find out whether another connection has written, and tell of it."""
        with self._marks.mutex:
            if self._closed or self._lost:
                return
            look = self._looking()
            ((version,),) = look.execute("PRAGMA data_version")
            if version == self._version:
                return
            self._version = version
            foreign = self._marks.is_foreign(look.execute(MARK)[0])
        if foreign:
            self._tell_foreign()
        self.touch()

    def touch(self) -> None:
        """Wake those who want to hear of everything."""
        for one in self._subscribers():
            one.touch()

    def close(self) -> None:
        """End every subscription."""
        with self._mutex:
            self._closed = True
        for one in self._subscribers():
            one.close()
        with self._marks.mutex:
            self._let_go()

    def forget(self, one: ChangeSubscription) -> None:
        """Tell a subscriber nothing any more."""
        with self._mutex:
            self._open.discard(one)
            self._marks.wanted = bool(self._open)

    def _looking(self) -> Connection:
        if self._look is None:
            self._look = self._database.watch()
            self._version = self._marks.known = None
        return self._look

    def _let_go(self) -> None:
        look, self._look = self._look, None
        if look is not None:
            look.close()

    def _subscribers(self) -> list[ChangeSubscription]:
        with self._mutex:
            return list(self._open)

    def _tell(self, touches: list[Touch], origin: ChangeOrigin) -> None:
        if touches:
            for one in self._subscribers():
                one.tell(touches, origin)

    def _tell_foreign(self) -> None:
        for one in self._subscribers():
            one.tell_foreign()


class _Reader(ABC):
    """Iterator that whoever reads it closes: ``with`` does."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None: ...


class ChangeSubscription(_Reader):
    """Changes of some tables, as they are committed: an iterator that waits for the next one, and
    ends when it, or the replica, is closed. For one reader."""

    def __init__(self, all_: Subscriptions, tables: frozenset[str], *, every: bool) -> None:
        self._all = all_
        self._tables = tables
        self._every = every
        self._news = threading.Condition()
        self._unread = ChangeQueue()
        self._ready: list[ChangeEvent] = []
        self._touched = False
        self.closed = False

    def __iter__(self) -> Iterator[ChangeEvent]:
        return self

    def __next__(self) -> ChangeEvent:
        while not self._ready:
            if not self.wait():
                raise StopIteration
            self._ready = self.take()
        return self._ready.pop(0)

    def wait(self) -> bool:
        """Wait until there is something to read; False: it is closed."""
        while True:
            with self._news:
                if self.closed:
                    return False
                if self._unread or self._touched:
                    return True
                self._news.wait(FOREIGN_WRITE_POLL_MS / 1000)
            self._all.look()

    def take(self) -> list[ChangeEvent]:
        """Return what has not been read yet; it is read then. It does not wait."""
        with self._news:
            self._touched = False
            return self._unread.take()

    def pause(self) -> None:
        """Wait a moment, unless it is closed."""
        with self._news:
            if not self.closed:
                self._news.wait(FOREIGN_WRITE_POLL_MS / 1000)

    def tell(self, touches: list[Touch], origin: ChangeOrigin) -> None:
        """Take in what a commit did."""
        with self._news:
            self._unread.add((touch for touch in touches if touch[0] in self._tables), origin)
            self._news.notify_all()

    def tell_foreign(self) -> None:
        """Take in that somebody else has written, it is not known what."""
        with self._news:
            for table in sorted(self._tables):
                self._unread.add_unknown(table, "elsewhere")
            self._news.notify_all()

    def touch(self) -> None:
        """Take in that the file has changed."""
        if self._every:
            with self._news:
                self._touched = True
                self._news.notify_all()

    def close(self) -> None:
        """End it: who waits for a change is let go."""
        self._all.forget(self)
        with self._news:
            self.closed = True
            self._news.notify_all()


class LiveQuery(_Reader):
    """The rows of a query: at once, and whenever they have become others. An iterator that ends
    when it, or the replica, is closed. For one reader."""

    def __init__(
        self, all_: Subscriptions, query: Query, sql: str, params: Sequence[Value]
    ) -> None:
        tables = sorted(all_.tables_of(sql, params))
        self._query = query
        self._sql, self._params = sql, params
        self._changes = all_.subscribe(tables, every=not tables)
        self._last: list[Row] | None = None

    def __iter__(self) -> Iterator[list[Row]]:
        return self

    def __next__(self) -> list[Row]:
        while self._last is None or self._changes.wait():
            self._changes.take()
            rows = self._query(self._sql, self._params)
            if rows != self._last:
                self._last = rows
                return rows
        raise StopIteration

    def close(self) -> None:
        """End it: who waits for other rows is let go."""
        self._changes.close()
