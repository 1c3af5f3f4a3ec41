"""Keeping the stored rows and their feeds one: after a start, when a schema grew, and once a day.

Knows: when all rows have to be looked at, and that it happens page by page. Must not know: what may
be wrong with a row (``deep_check``), or requests.

Upholds I12, I31 and I36.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from holdfast.core.errors import DatabaseBusy
from holdfast.core.limits import GROW_WAIT_S, INGEST_BACKGROUND_PATIENCE_MS
from holdfast.core.values import Value
from holdfast.schema.model import Schema, Table
from holdfast.server.direct.deep_check import Suspects, settle, suspects
from holdfast.server.direct.direct_writes import DirectWrites, OnMoved
from holdfast.server.direct.growing import rehash
from holdfast.server.feed.feed import Touched, publish
from holdfast.server.store.contract import Snapshot, Store, Writer

logger = logging.getLogger(__name__)


class StoredRows:
    """The rows of one server as a whole."""

    def __init__(
        self,
        schema: Schema,
        store: Store,
        direct: DirectWrites,
        *,
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        moved: OnMoved,
    ) -> None:
        self._schema = schema
        self._store = store
        self._direct = direct
        self._now_us = now_us
        self._random_bytes = random_bytes
        self._moved = moved

    def catch_up(self) -> None:
        """Take in what happened while no server ran, and hash rows whose tables got columns."""
        if self._store.unwatched:
            logger.warning("capture triggers were missing or changed; all rows are checked")
            self.deep_check()
        for _ in range(GROW_WAIT_S * 10):
            if not self._store.stale_tables:
                return
            with self._store.alone("grow") as alone:
                if alone:
                    self._grow()
                    return
            time.sleep(0.1)  # another process is at it
        raise DatabaseBusy("another process is still migrating the row hashes to the new schema")

    def deep_check(self, *, proceed: Callable[[], bool] = lambda: True) -> int:
        """Recompute the hashes of all stored rows; how many differed from the feeds.

        Rows that differ (changed behind the triggers' back, or damaged) are taken as written
        directly, and logged. It goes page by page and locks nothing but what differs; ``proceed``
        is asked before each page.
        """
        found: set[tuple[str, str]] = set()
        for table, keys in suspects(self._schema, self._read, proceed):
            found |= self._settle(table, keys)
        return len(found)

    def _read(self) -> Snapshot:
        return self._direct.snapshot(patience_ms=INGEST_BACKGROUND_PATIENCE_MS)

    def _settle(self, table: Table, keys: Suspects) -> set[tuple[str, str]]:
        def work(writer: Writer) -> tuple[list[Touched], dict[str, int]]:
            ingested = self._direct.ingest(writer, self._now_us(), rows={table.name: list(keys)})
            versions = publish(writer, ingested, self._random_bytes)
            found = settle(
                writer, self._schema, table, keys,
                now_us=self._now_us(), random_bytes=self._random_bytes,
            )  # fmt: skip
            return found, versions | publish(writer, found, self._random_bytes)

        touched, versions = self._store.transact(work)
        for item in touched:
            logger.warning(
                "%s %s did not match its hash in the feed; it is published again",
                item.table.name,
                item.key,
            )
        self._moved(versions)
        return {(item.table.name, item.key) for item in touched}

    def _grow(self) -> None:
        """Hash the rows of tables that got columns, a page in each transaction; begun again by
        whoever starts next, when it is interrupted."""
        self._direct.take_in()
        for name in self._store.stale_tables:
            table = self._schema.by_name[name]
            after: tuple[Value, ...] | None = None
            while True:

                def work(
                    writer: Writer, table: Table = table, after: tuple[Value, ...] | None = after
                ) -> tuple[Value, ...] | None:
                    return rehash(writer, table, after)

                after = self._store.transact(work)
                if after is None:
                    break
        self._store.transact(self._store.clear_stale)
