"""Direct writes: found and taken in, rows by notes, permissions by generation.

Knows: notes of direct writes, whom they concern, and when somebody has to look for them. Must not
know: who wrote, or what a request wants. Nobody reads a scope through the service while notes of it
lie there: so what one direct transaction wrote in the scopes of a device is seen at once, however
large it was, and a device that could see a part of it waits. Notes of other scopes do not matter.

Notes are taken in by bites, each a commit of its own, so that pushes come in between, and memory
does not grow with what was written. A watcher takes in all there is; a request takes a bite or two
of what concerns it, and when that is not enough, its device is told how far it is. A push takes in
what concerns the rows that it writes, and does not wait for the rest.

Upholds I11 and I13 for rows that no push has made, I16 for direct transactions, and I31.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from holdfast.core.errors import ProtocolError, Refuse
from holdfast.core.limits import (
    FILE_RETRY_MS_MAX,
    FILE_RETRY_MS_MIN,
    INGEST_BETWEEN_BITES_MS,
    INGEST_BITE_ROWS,
    INGEST_COUNTED_MAX,
    INGEST_PATIENCE_MS,
    INGEST_ROWS_PER_MS,
    INGEST_SCOPES_APART_MAX,
    INGEST_TURN_MS,
)
from holdfast.protocol.messages import Transaction
from holdfast.schema.model import Schema
from holdfast.server.direct.deep_check import settle
from holdfast.server.direct.ingest import ingest
from holdfast.server.feed.feed import Touched, publish
from holdfast.server.identity.principal import Principal
from holdfast.server.process import observe
from holdfast.server.process.observe import Observer
from holdfast.server.push.decode import read_key
from holdfast.server.store.contract import NO_ROWS, Expected, Snapshot, Store, Writer
from holdfast.server.store.registry import RIGHTS
from holdfast.sql.note_scopes import EVERYBODY, Ranges

logger = logging.getLogger(__name__)

_LAST = chr(0x10FFFF)

OnMoved = Callable[[Mapping[str, int]], None]
"""Told of the scopes that a commit has moved, and their new versions."""


class BeingTakenIn(ProtocolError):
    """A large direct write concerns the one who asks: ``done`` of ``total`` rows are in."""

    def __init__(self, *, done: int, total: int, retry_after_ms: int) -> None:
        super().__init__(
            "what was written into the database is being taken in; come again",
            code="busy", status=503, retry_after_s=-(-retry_after_ms // 1000),
        )  # fmt: skip
        self.done = done
        self.total = total
        self.retry_after_ms = retry_after_ms


def concerned(principal: Principal | None) -> Ranges:
    """The ranges of scopes whose notes concern somebody; None: all that concern anybody."""
    if principal is None:
        return [("", _LAST)]
    return ranges((*principal.read, *principal.write))


def ranges(patterns: Iterable[str]) -> Ranges:
    """The ranges of scopes that patterns name, and of those that may be anybody's."""
    found = {(p[:-1], f"{p[:-1]}{_LAST}") if p.endswith("*") else (p, p) for p in patterns}
    return sorted({*found, (EVERYBODY, EVERYBODY)})


class DirectWrites:
    """Looks for what was written past one service, and takes it in."""

    def __init__(
        self,
        schema: Schema,
        store: Store,
        *,
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        moved: OnMoved,
        observer: Observer,
    ) -> None:
        self._schema = schema
        self._store = store
        self._now_us = now_us
        self._random_bytes = random_bytes
        self._moved = moved
        self._observer = observer
        self._ingesting = threading.Lock()
        self._bites = 0
        self._more = False
        self._most = 0
        with contextlib.closing(store.read()) as snapshot:
            self._generation = snapshot.registry.generation()

    # What requests ask for

    def snapshot(
        self,
        expected: Expected | None = None,
        *,
        of: Ranges | None = None,
        patience_ms: int = INGEST_PATIENCE_MS,
    ) -> Snapshot:
        """A snapshot without notes that concern these scopes (None: any); those found are taken in
        first. Raises ``BeingTakenIn`` when there are more than can be waited for."""
        wanted = concerned(None) if of is None else of
        until, tried = time.monotonic() + patience_ms / 1000, False
        while True:
            bites = self._bites
            snapshot = self._store.read(expected)
            try:
                left = snapshot.noted(wanted, 1) if snapshot.has_notes() else 0
                if left and tried and time.monotonic() > until:
                    self.check(snapshot, wanted)
            except BaseException:
                snapshot.close()
                raise
            if not left:
                self._most = 0
                return snapshot
            snapshot.close()
            tried = True
            with self._ingesting:  # many may have found the same notes: one takes them in
                if bites == self._bites:
                    self._bite(wanted)

    def check(self, snapshot: Snapshot, wanted: Ranges) -> None:
        """Raises ``BeingTakenIn`` when notes in a snapshot concern these scopes."""
        if snapshot.has_notes() and snapshot.noted(wanted, 1):
            raise self._later(snapshot.noted(wanted, INGEST_COUNTED_MAX))

    def _later(self, left: int) -> BeingTakenIn:
        self._most = max(self._most, left)
        wait_ms = min(FILE_RETRY_MS_MAX, max(FILE_RETRY_MS_MIN, left // INGEST_ROWS_PER_MS))
        return BeingTakenIn(done=self._most - left, total=self._most, retry_after_ms=wait_ms)

    def ingest(
        self,
        writer: Writer,
        now_us: int,
        *,
        of: Ranges = (),
        rows: Mapping[str, Sequence[str]] = NO_ROWS,
        transactions: Sequence[Transaction] = (),
    ) -> list[Touched]:
        """Take in, as part of a write, what is noted of rows, those of transactions too, and a bite
        of what concerns scopes; what it changed is for the caller to publish."""
        if not writer.has_notes():
            return []
        rows = rows or self.rows_of(transactions)
        limit = INGEST_BITE_ROWS if of else 0
        notes = writer.take_notes(limit=limit, ranges=of, rows=rows)
        return ingest(writer, self._schema, notes, now_us=now_us, random_bytes=self._random_bytes)

    def rows_of(self, transactions: Sequence[Transaction]) -> dict[str, list[str]]:
        """Keys by table of the rows that transactions write."""
        found: dict[str, dict[str, None]] = {}
        for transaction in transactions:
            for change in transaction.changes:
                table = self._schema.by_name.get(change.table)
                if table is not None:
                    with contextlib.suppress(Refuse):  # it is refused when it is decided
                        found.setdefault(table.name, {})[read_key(table, change.key)[1]] = None
        return {name: list(keys) for name, keys in found.items()}

    # Taking in

    def take_in(self) -> bool:
        """Take in all that is noted; whether there was anything."""
        found = False
        while True:
            with self._ingesting:
                if not self._bite(None):
                    return found
            found = True

    def take_in_rows(self, rows: Mapping[str, Sequence[str]]) -> bool:
        """Take in what is noted of rows, by table; whether there was anything."""
        with contextlib.closing(self._store.read()) as snapshot:
            if not snapshot.has_notes():
                return False
        with self._ingesting:
            return self._bite((), rows)

    def take_as_they_stand(self, rows: Mapping[str, Sequence[str]]) -> None:
        """Take rows, by table, as written directly although nothing is noted of them: somebody has
        written past the triggers."""

        def work(writer: Writer) -> dict[str, int]:
            touched: list[Touched] = []
            for name, keys in rows.items():
                table = self._schema.by_name[name]
                touched += settle(
                    writer, self._schema, table, {key: set() for key in keys},
                    now_us=self._now_us(), random_bytes=self._random_bytes,
                )  # fmt: skip
            return publish(writer, touched, self._random_bytes)

        for name, keys in rows.items():
            logger.warning("rows of %s were written past the triggers: %d", name, len(keys))
        with self._ingesting:
            self._moved(self._store.transact(work))

    def poll(self) -> bool:
        """Take in what other processes have written directly, for a moment; cheap when they have
        not. What is left is for the next time."""
        if not self._store.written_elsewhere() and not self._more:
            return False
        with contextlib.closing(self._store.read()) as snapshot:
            self._look_at_rights(snapshot)
            if not snapshot.has_notes():
                self._more = False
                return False
        self._more = True
        until = time.monotonic() + INGEST_TURN_MS / 1000
        found = False
        while time.monotonic() < until:
            with self._ingesting:
                if not self._bite(None):
                    self._more = False
                    break
            found = True
            time.sleep(INGEST_BETWEEN_BITES_MS / 1000)
        return found

    def _bite(self, of: Ranges | None, rows: Mapping[str, Sequence[str]] = NO_ROWS) -> bool:
        """Take in some of what concerns scopes (None: any), or all that is noted of rows, in a
        commit; whether there was any."""

        def work(writer: Writer) -> tuple[int, int, dict[str, int], set[str]]:
            if not writer.has_notes():
                return 0, 0, {}, set()
            limit = 0 if rows else INGEST_BITE_ROWS
            notes = writer.take_notes(limit=limit, ranges=of, rows=rows)
            touched = ingest(
                writer, self._schema, notes, now_us=self._now_us(), random_bytes=self._random_bytes
            )
            versions = publish(writer, touched, self._random_bytes)
            waiting = set[str]()
            if len(versions) <= INGEST_SCOPES_APART_MAX:
                waiting = {name for name in versions if writer.noted(ranges([name]), 1)}
            return sum(map(len, notes.values())), len(touched), versions, waiting

        noted, found, versions, waiting = self._store.transact(work, turn="direct writes")
        self._bites += 1
        # Of a scope of which more is to come, its devices hear when all of it is in.
        self._moved({name: at for name, at in versions.items() if name not in waiting})
        if found:
            self._observer(observe.Ingested(rows=found))
        return bool(noted)

    def _look_at_rights(self, snapshot: Snapshot) -> None:
        """Tell when another process has changed what somebody may do."""
        generation = snapshot.registry.generation()
        if generation != self._generation:
            self._generation = generation
            self._moved({RIGHTS: generation})
