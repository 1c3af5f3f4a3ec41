"""News between the server processes of one PostgreSQL database.

Knows: NOTIFY, and heads of scopes. Must not know: who listens in this process.
A commit is told at once in its own process, and to the others by NOTIFY: after the commit, on a
connection of its own, and merged when much happens, so that no transaction ever waits for it. A
notification may be lost (a broken connection, a pooler in between); so the heads are looked at too,
every ``RELAY_POLL_MS``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import msgspec
import psycopg

from holdfast.core.limits import (
    POSTGRES_LISTEN_RETRY_S,
    POSTGRES_LISTEN_S,
    POSTGRES_PAYLOAD_BYTES_MAX,
    RELAY_POLL_MS,
)
from holdfast.server.store.contract import OnCommit
from holdfast.server.store.postgres.reads import PostgresConnection
from holdfast.server.store.registry import RIGHTS

log = logging.getLogger(__name__)

SERVED = "holdfast served"
"""Advisory lock on a schema, shared by the processes that serve it: with the schema's name."""
_SERVE = f"SELECT pg_advisory_lock_shared(hashtextextended('{SERVED} ' || current_schema(), 0))"

_read = msgspec.json.Decoder(dict[str, int]).decode


class Relay:
    """Tells other processes what this one commits, and publishes what they tell."""

    def __init__(
        self,
        connect: Callable[[], PostgresConnection],
        epoch: str,
        publish: OnCommit,
        *,
        generation: int,
    ) -> None:
        """``generation``: of rights, as it is now; only what comes later is news."""
        self._connect = connect
        self._channel = f"holdfast_{epoch}"
        self._publish = publish
        self._lock = threading.Lock()
        self._heads = {RIGHTS: generation}
        self._pending: dict[str, int] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._teller_pid = 0
        self._threads = [
            threading.Thread(target=self._keep, args=(work,), name=name, daemon=True)
            for work, name in ((self._tell, "holdfast-teller"), (self._listen, "holdfast-listener"))
        ]
        for thread in self._threads:
            thread.start()

    def committed(self, versions: Mapping[str, int]) -> None:
        """This process has moved scopes. Never waits."""
        self._hear(versions)
        with self._lock:
            for scope, version in versions.items():
                self._pending[scope] = max(version, self._pending.get(scope, 0))
        self._wake.set()

    def close(self) -> None:
        """Close; what is still to be told is told first, if that is possible."""
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()

    def _hear(self, versions: Mapping[str, int]) -> None:
        with self._lock:
            news = {s: v for s, v in versions.items() if v > self._heads.get(s, -1)}
            self._heads.update(news)
        if news:
            self._publish(news)

    def _keep(self, work: Callable[[PostgresConnection], None]) -> None:
        """Do a thread's work, on a new connection whenever the last one was lost."""
        while not self._stop.is_set():
            try:
                with contextlib.closing(self._connect()) as db:
                    work(db)
            except psycopg.Error as error:
                log.warning("notifications between server processes are delayed: %s", error)
                self._stop.wait(POSTGRES_LISTEN_RETRY_S)
            except Exception:
                log.exception("notifications between server processes are delayed")
                self._stop.wait(POSTGRES_LISTEN_RETRY_S)

    def _tell(self, db: PostgresConnection) -> None:
        self._teller_pid = db.info.backend_pid
        while True:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                news, self._pending = self._pending, {}
            for payload in _payloads(news):
                db.execute("SELECT pg_notify($1, $2)", (self._channel, payload))
            if self._stop.is_set():
                return

    def _listen(self, db: PostgresConnection) -> None:
        db.execute(_SERVE)
        db.execute(f'LISTEN "{self._channel}"')
        looked = 0.0
        while not self._stop.is_set():
            if time.monotonic() - looked >= RELAY_POLL_MS / 1000:
                self._look(db)
                looked = time.monotonic()
            for notify in db.notifies(timeout=POSTGRES_LISTEN_S, stop_after=1):
                if notify.pid != self._teller_pid:
                    self._hear(_read(notify.payload))

    def _look(self, db: PostgresConnection) -> None:
        """Find what no notification has told."""
        rows = db.execute(
            "SELECT scope, head FROM holdfast_scope "
            "UNION ALL SELECT $1, generation FROM holdfast_rights",
            (RIGHTS,),
        ).fetchall()
        self._hear(dict(rows))


def _payloads(news: Mapping[str, int]) -> Iterator[str]:
    """News in as many pieces as notifications can carry."""
    piece: dict[str, int] = {}
    size = 0
    for scope, version in news.items():
        cost = len(msgspec.json.encode(scope)) + 24
        if piece and size + cost > POSTGRES_PAYLOAD_BYTES_MAX:
            yield msgspec.json.encode(piece).decode()
            piece, size = {}, 0
        piece[scope] = version
        size += cost
    if piece:
        yield msgspec.json.encode(piece).decode()
