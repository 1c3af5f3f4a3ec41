"""What others write past the service, found and taken in: rows by notes, rights by generation.

Knows: notes of direct writes, and when somebody has to look for them. Must not know: who wrote, or
what a request wants. Nobody reads through the service while notes lie there: a snapshot without any
is what every answer is read from, and a write takes them in first.

Upholds I11 and I13 for rows that no push has made.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping

from holdfast.core.errors import ProtocolError
from holdfast.schema.model import Schema
from holdfast.server import observe
from holdfast.server.feed import Touched, publish
from holdfast.server.ingest import ingest
from holdfast.server.observe import Observer
from holdfast.server.registry import RIGHTS
from holdfast.server.store import Expected, Snapshot, Store, Writer

SNAPSHOT_ATTEMPTS = 8
"""Direct writes may come in between; after this many the device is asked to come again."""

Moved = Callable[[Mapping[str, int]], None]
"""Told of the scopes that a commit has moved, and their new versions."""


class DirectWrites:
    """Looks for what was written past one service, and takes it in."""

    def __init__(
        self,
        schema: Schema,
        store: Store,
        *,
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        moved: Moved,
        observer: Observer,
    ) -> None:
        self._schema = schema
        self._store = store
        self._now_us = now_us
        self._random_bytes = random_bytes
        self._moved = moved
        self._observer = observer
        self._ingesting = threading.Lock()
        self._ingested = 0
        """How often direct writes were taken in by reads."""
        with contextlib.closing(store.read()) as snapshot:
            self._generation = snapshot.registry.generation()

    def snapshot(self, expected: Expected | None = None) -> Snapshot:
        """A snapshot without notes of direct writes; those found are taken in first."""
        for _ in range(SNAPSHOT_ATTEMPTS):
            ingested = self._ingested
            snapshot = self._store.read(expected)
            try:
                clean = not snapshot.has_notes()
            except BaseException:
                snapshot.close()
                raise
            if clean:
                return snapshot
            snapshot.close()
            with self._ingesting:  # many may have found the same notes: one takes them in
                if ingested == self._ingested:
                    self.take_in()
                    self._ingested += 1
        raise ProtocolError("the database is being written to; try again", code="busy", status=503)

    def ingest(self, writer: Writer, now_us: int) -> list[Touched]:
        """Take in what is noted, as part of a write; what it changed is for the caller to
        publish."""
        if not writer.has_notes():
            return []
        return ingest(writer, self._schema, now_us=now_us, random_bytes=self._random_bytes)

    def take_in(self) -> bool:
        """Take in what is noted, in a commit of its own; whether there was anything."""

        def work(writer: Writer) -> tuple[int, dict[str, int]]:
            touched = self.ingest(writer, self._now_us())
            return len(touched), publish(writer, touched, self._random_bytes)

        found, versions = self._store.transact(work)
        self._moved(versions)
        if found:
            self._observer(observe.Ingested(rows=found))
        return bool(found)

    def poll(self) -> bool:
        """Take in what other processes have written directly; cheap when they have not."""
        if not self._store.written_elsewhere():
            return False
        with contextlib.closing(self._store.read()) as snapshot:
            self._look_at_rights(snapshot)
            if not snapshot.has_notes():
                return False
        return self.take_in()

    def _look_at_rights(self, snapshot: Snapshot) -> None:
        """Tell when another process has changed what somebody may do."""
        generation = snapshot.registry.generation()
        if generation != self._generation:
            self._generation = generation
            self._moved({RIGHTS: generation})
