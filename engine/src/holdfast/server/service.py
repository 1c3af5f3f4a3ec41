"""The server's service, free of transport: the one door to everything that a server does.

Knows: which part does what, and how the parts fit together: ``exchange``, ``compare``, ``offers``,
``journal``, ``direct_writes``, ``stored_rows`` and ``retention``. Must not know: HTTP, SQL, what is
inside the parts, clocks or randomness of its own (``now_us`` and ``random_bytes`` are handed in).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from holdfast.core.limits import INGEST_BACKGROUND_PATIENCE_MS
from holdfast.protocol.messages import ExchangeRequest, Line, VerifyRequest
from holdfast.schema.model import Schema
from holdfast.server.direct.direct_writes import DirectWrites, ranges
from holdfast.server.direct.stored_rows import StoredRows
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.exchange.commit import ExchangeCommit
from holdfast.server.exchange.compare import Comparisons
from holdfast.server.exchange.composer import Composer
from holdfast.server.exchange.exchange import Exchanges
from holdfast.server.exchange.histories import Histories
from holdfast.server.files.builder import Builder
from holdfast.server.files.links import is_good, no_such_file
from holdfast.server.files.offers import FilePolicy, Offers
from holdfast.server.generations.speaking import Generations
from holdfast.server.identity.permissions import CurrentPrincipals, Rights, readable
from holdfast.server.identity.principal import Principal
from holdfast.server.maintenance.retention import Forgotten, ProceedAfter, Retention, forget
from holdfast.server.merging.journal import JournalPage, read_journal
from holdfast.server.process.observe import Observer, guarded, nobody
from holdfast.server.push.decide import Engine
from holdfast.server.push.rules import Rule
from holdfast.server.store.contract import JournalEntry, OnCommit, Snapshot, Store
from holdfast.server.store.files import StoredFile


class Service:
    """One server over one store. Methods may be called from several threads."""

    def __init__(
        self,
        schema: Schema,
        store: Store,
        *,
        rules: Sequence[Rule] = (),
        now_us: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        on_commit: OnCommit | None = None,
        standing: CurrentPrincipals | None = None,
        files: FilePolicy | None = None,
        observer: Observer = nobody,
        budgets: Budgets | None = None,
    ) -> None:
        """``now_us``: the server's clock, microseconds since 1970, UTC. ``standing``: asked inside
        each transaction what the one who asks may do now (``StandingAuthenticator.standing``)."""
        self._schema = schema
        self._store = store
        self._now_us = now_us
        self._on_commit = on_commit
        observer = guarded(observer)
        budgets = budgets or Budgets()
        self._rights = rights = Rights(standing)
        self._direct = direct = DirectWrites(
            schema, store, now_us=now_us, random_bytes=random_bytes, moved=self._moved,
            observer=observer,
        )  # fmt: skip
        self._rows = StoredRows(
            schema, store, direct, now_us=now_us, random_bytes=random_bytes, moved=self._moved
        )
        self._builder = Builder(store.files, now_us=now_us, observer=observer)

        def read(scopes: Sequence[str]) -> Snapshot:
            return direct.snapshot(of=ranges(scopes), patience_ms=INGEST_BACKGROUND_PATIENCE_MS)

        self._generations = generations = Generations(
            schema, store.older, store.below_floor, has_grown=store.has_grown
        )
        composer = Composer(generations, store, now_us=now_us)
        histories = Histories(store, random_bytes=random_bytes, now_us=now_us)
        self._exchanges = Exchanges(
            generations,
            store,
            rights=rights,
            direct=direct,
            commit=ExchangeCommit(
                store, Engine(schema, tuple(rules), random_bytes, budgets.quotas), rights, direct,
                random_bytes=random_bytes, moved=self._moved, observer=observer,
                budgets=budgets,
            ),
            offers=Offers(
                store, self._builder,
                policy=files or FilePolicy(), now_us=now_us, read=read,
            ),
            composer=composer,
            histories=histories,
            now_us=now_us,
            observer=observer,
        )  # fmt: skip
        self._comparisons = Comparisons(
            generations, store, rights=rights, direct=direct, composer=composer,
            histories=histories, observer=observer, budgets=budgets,
        )  # fmt: skip

    def begin(self) -> Service:
        """Remove what crashes have left of files, and take in what was written while nobody
        watched; itself. Before anything else."""
        self._builder.tidy()
        self._rows.catch_up()
        return self

    @property
    def schema(self) -> Schema:
        return self._schema

    @property
    def epoch(self) -> str:
        return self._store.epoch

    def now_us(self) -> int:
        """The server's clock: microseconds since 1970, UTC."""
        return self._now_us()

    def check_ready(self) -> None:
        """Raises ``DatabaseError`` when the database cannot be reached or written."""
        self._store.check_ready()

    def close(self) -> None:
        self._builder.close()
        self._store.close()

    # What devices ask for

    def exchange(
        self, principal: Principal, request: ExchangeRequest, *, echo: str
    ) -> Iterator[Line]:
        """Take a device's transactions and tell it what is new.

        Raises ``ProtocolError`` now; the iterator returned holds a snapshot until its end or
        ``close``.
        """
        return self._exchanges.answer(principal, request, echo=echo)

    def verify(self, principal: Principal, request: VerifyRequest, *, echo: str) -> Iterator[Line]:
        """The same catch-up as an exchange, then digests of ranges and named rows."""
        return self._comparisons.answer(principal, request, echo=echo)

    def heads(self, principal: Principal) -> dict[str, int]:
        """The head versions of the scopes that a principal may read."""
        with contextlib.closing(self._store.read()) as snapshot:
            principal = self._rights.still(snapshot, principal)
            return {name: scope.head for name, scope in readable(snapshot, principal).items()}

    def journal(
        self,
        principal: Principal,
        *,
        table: str = "",
        key: str = "",
        before: int = 0,
        limit: int = 100,
    ) -> list[JournalEntry]:
        """Automatic decisions about rows that the principal may read, newest first.

        ``before``: only entries older than the one of this number, to read on.
        """
        found: list[JournalEntry] = []
        while True:
            page = self.journal_page(
                principal, table=table, key=key, before=before, limit=limit - len(found)
            )
            found += page.entries
            before = page.next
            if not before or len(found) >= limit:
                return found

    def journal_page(
        self, principal: Principal, *, table: str, key: str, before: int, limit: int
    ) -> JournalPage:
        """The same, as much of it as one request may cost; ``next`` says where to go on."""
        with contextlib.closing(self._store.read()) as snapshot:
            principal = self._rights.still(snapshot, principal)
            return read_journal(
                snapshot, self._schema, principal, table=table, key=key, before=before, limit=limit,
                secret=self._store.seal_secret,
            )  # fmt: skip

    def file(self, file_id: str, until: str, sign: str) -> StoredFile:
        """A file that an exchange has offered. Raises ``ProtocolError`` (``not_found``)."""
        secret = self._store.seal_secret
        file = None
        if is_good(secret, file_id, until, sign, now_us=self._now_us()):
            file = self._store.files.get(file_id)
        if file is None:
            raise no_such_file()
        return file

    def piece(self, file: StoredFile, number: int) -> bytes:
        """A piece of a file. Raises ``FileGone``."""
        return self._store.files.piece(file, number)

    # What keeps the database right

    def poll_foreign_writes(self) -> bool:
        """Take in what other processes have written directly; cheap when they have not.

        True when something was taken in. Scopes that moved are published.
        """
        return self._direct.poll()

    def deep_check(self, *, proceed: Callable[[], bool] = lambda: True) -> int:
        """Recompute the hashes of all stored rows; how many differed from the feeds.

        Rows that differ are taken as written directly, and logged. ``proceed`` is asked before each
        page.
        """
        return self._rows.deep_check(proceed=proceed)

    def purge(
        self, retention: Retention | None = None, *, proceed: ProceedAfter = lambda _done: True
    ) -> Forgotten:
        """Forget what has been kept for long enough. ``proceed``: asked between two bites."""
        self._direct.take_in()
        done = forget(
            self._store,
            self._schema,
            now_us=self._now_us(),
            retention=retention or Retention(),
            proceed=proceed,
        )
        self.renew_generations()
        return done

    def renew_generations(self) -> None:
        """Serve no more older generations than the database says; each process asks now and then,
        for one of them has ceased to serve one for all."""
        self._generations.serve(self._store.renew_older())

    def tidy_files(self) -> None:
        """Remove files that nobody may fetch any more, and what crashes have left."""
        self._builder.tidy()

    def _moved(self, versions: Mapping[str, int]) -> None:
        if versions and self._on_commit is not None:
            self._on_commit(versions)


__all__ = ["CurrentPrincipals", "Service"]
