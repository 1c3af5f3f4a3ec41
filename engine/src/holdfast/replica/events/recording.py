"""A connection that records which rows each commit changes, once somebody wants to know.

Knows: the synced tables, and temporary triggers, which live and die with a connection and are seen
by no other one. Must not know: who is told.

What other connections and processes commit is found by comparing marks: of the log, the outbox and
the checkpoint. Each of our commits leaves its mark with the ``Marks``; a file that has another one
was written by somebody else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from holdfast.core.keys import key_text
from holdfast.core.limits import CHANGED_KEYS_MAX
from holdfast.core.values import Row, Value
from holdfast.replica.events.change import ChangeKind, ChangeOrigin, Touch
from holdfast.schema.model import Schema, Table
from holdfast.sql.names import literal, quote
from holdfast.sqlite import Connection

MARK = (
    "SELECT (SELECT max(seq) FROM holdfast_log),"
    " (SELECT salt FROM holdfast_log ORDER BY seq DESC LIMIT 1),"
    " (SELECT max(number) FROM holdfast_tx), (SELECT confirmed FROM holdfast_state),"
    " (SELECT group_concat(scope || ' ' || version || ' ' || digest) FROM holdfast_scope)"
)
_KINDS: tuple[ChangeKind, ...] = ("insert", "update", "delete")


class Marks:
    """State that our connections share: whether anybody wants to know, and the mark of the newest
    commit of ours. ``mutex`` is held while one of them commits: nobody compares meanwhile."""

    def __init__(self) -> None:
        self.wanted = False
        self.mutex = threading.Lock()
        self.known: Row | None = None

    def is_foreign(self, mark: Row) -> bool:
        """Return whether somebody else has committed since; it is known from now on."""
        known, self.known = self.known, mark
        return known is not None and known != mark


class RecordingConnection:
    """``sqlite.Connection`` that tells of its commits."""

    def __init__(
        self,
        connection: Connection,
        schema: Schema,
        marks: Marks,
        *,
        origin: ChangeOrigin,
        tell: Callable[[list[Touch], ChangeOrigin], None],
        tell_foreign: Callable[[], None],
    ) -> None:
        """``tell``: hears which rows a commit has changed; ``tell_foreign``: that another
        connection has written."""
        self.inner = connection
        """What does the work."""
        self._tables = {table.name: table for table in schema.all_tables}
        self._marks = marks
        self._origin: ChangeOrigin = origin
        self._tell = tell
        self._tell_foreign = tell_foreign
        self._records = False

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        if sql == "BEGIN IMMEDIATE" and (self._marks.wanted or self._records):
            self._begin()
            return []
        if sql == "COMMIT" and self._records:
            self._commit()
            return []
        return self.inner.execute(sql, params)

    def _begin(self) -> None:
        if not self._marks.wanted:
            self._records = False
            for sql in _not_recording(self._tables.values()):
                self.inner.execute(sql)
            self.inner.execute("BEGIN IMMEDIATE")
            return
        if not self._records:
            for sql in _recording(self._tables.values()):
                self.inner.execute(sql)
            self._records = True
        self.inner.execute("BEGIN IMMEDIATE")
        try:
            self.inner.execute("DELETE FROM temp.holdfast_touched")
            with self._marks.mutex:
                foreign = self._marks.is_foreign(self.inner.execute(MARK)[0])
        except BaseException:  # nobody knows yet that a transaction is open
            if self.inner.in_transaction:
                self.inner.execute("ROLLBACK")
            raise
        if foreign:
            self._tell_foreign()

    def _commit(self) -> None:
        found = self._touches()
        mark = self.inner.execute(MARK)[0]
        with self._marks.mutex:
            self.inner.execute("COMMIT")
            self._marks.known = mark
        self._tell(found, self._origin)

    def _touches(self) -> list[Touch]:
        read = self.inner.execute
        ((count,),) = read("SELECT count(*) FROM temp.holdfast_touched")
        if int(str(count)) > CHANGED_KEYS_MAX:  # such as a first load
            tables = read("SELECT DISTINCT tbl FROM temp.holdfast_touched ORDER BY 1")
            return [(str(name), "", "unknown") for (name,) in tables]
        return [
            (str(name), self._key(str(name), key), _KINDS[int(str(kind))])
            for name, kind, *key in read("SELECT * FROM temp.holdfast_touched ORDER BY rowid")
        ]

    def _key(self, name: str, key: Sequence[Value]) -> str:
        table = self._tables[name]
        return key_text(table, key[: len(table.key)])

    # --- as it is -------------------------------------------------------------------------------

    def iterate(self, sql: str, params: Sequence[Value] = ()) -> Iterator[Row]:
        return self.inner.iterate(sql, params)

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self.inner.executemany(sql, rows)

    def script(self, sql: str) -> None:
        self.inner.script(sql)

    def changes(self) -> int:
        return self.inner.changes()

    def columns(self, sql: str, params: Sequence[Value] = ()) -> tuple[tuple[str, ...], list[Row]]:
        return self.inner.columns(sql, params)

    @property
    def in_transaction(self) -> bool:
        return self.inner.in_transaction

    def interrupt(self) -> None:
        self.inner.interrupt()

    def close(self) -> None:
        self.inner.close()


def _trigger(table: Table, kind: str) -> str:
    return quote(f"holdfast_touched_{table.name}_{kind}")


def _not_recording(tables: Iterable[Table]) -> Iterator[str]:
    for table in tables:
        for kind in _KINDS:
            yield f"DROP TRIGGER IF EXISTS temp.{_trigger(table, kind)}"
    yield "DROP TABLE IF EXISTS temp.holdfast_touched"


def _recording(tables: Iterable[Table]) -> Iterator[str]:
    """The temporary table of touched rows, and the triggers that fill it."""
    tables = list(tables)
    width = max(len(table.key) for table in tables)
    keys = ", ".join(f"k{place}" for place in range(width))
    yield f"CREATE TEMP TABLE IF NOT EXISTS holdfast_touched (tbl, kind, {keys})"
    for table in tables:
        for place, kind in enumerate(_KINDS):
            row = "OLD" if kind == "delete" else "NEW"
            key = [f"{row}.{quote(name)}" for name in table.key]
            key += ["NULL"] * (width - len(key))
            differs = " OR ".join(
                f"OLD.{quote(column.name)} IS NOT NEW.{quote(column.name)}"
                for column in table.columns
            )
            when = f" WHEN {differs}" if kind == "update" else ""
            yield (
                f"CREATE TEMP TRIGGER IF NOT EXISTS {_trigger(table, kind)}"
                f" AFTER {kind.upper()} ON main.{quote(table.name)}{when} BEGIN"
                f" INSERT INTO holdfast_touched VALUES"
                f" ({literal(table.name)}, {place}, {', '.join(key)}); END"
            )
