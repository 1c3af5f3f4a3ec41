"""The server's service, free of transport: exchange, verify, and what keeps the database right.

Knows: a store, a schema, rules, principals and messages. Must not know: HTTP, SQL, clocks or
randomness of its own (``now_us`` and ``random_bytes`` are handed in).
Whatever can be wrong with a request is found before the first line of the answer. A push is
committed before the answer is read, in one consistent snapshot that reaches the heads of all scopes
the device may read.

Upholds I3, I6, I7, I10, I11, I16, I23, I24, I26, I31.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from holdfast.core.clock import choose_offset
from holdfast.core.errors import DatabaseBusy, ProtocolError
from holdfast.core.limits import GROW_WAIT_S, SEEN_INTERVAL_MS
from holdfast.core.values import Value
from holdfast.protocol.messages import (
    Checkpoint,
    ExchangeRequest,
    Head,
    Line,
    Offset,
    Outcome,
    RangeAnswer,
    ScopeGrant,
    VerifyRequest,
)
from holdfast.protocol.version import PROTOCOL
from holdfast.schema.model import Schema, Table
from holdfast.server import observe
from holdfast.server.checks import below_floor, check_checkpoint, check_nonces, check_request, since
from holdfast.server.decide import Engine, Sender
from holdfast.server.deep_check import Suspects, rehash, settle, suspects
from holdfast.server.feed import Touched, ensure_scopes, publish
from holdfast.server.file_builder import Builder
from holdfast.server.file_links import is_good, no_such_file
from holdfast.server.files import StoredFile
from holdfast.server.ingest import ingest
from holdfast.server.journal import read_journal
from holdfast.server.observe import Observer, guarded, nobody
from holdfast.server.offers import FilePolicy, Offers
from holdfast.server.principal import Principal
from holdfast.server.pull import NO_ROWS, Answer, OwnRows, last_line, news
from holdfast.server.push import Pushed, push
from holdfast.server.registry import RIGHTS
from holdfast.server.retention import Forgotten, Proceed, Retention, forget
from holdfast.server.rules import Rule
from holdfast.server.store import (
    Device,
    Expected,
    JournalEntry,
    OnCommit,
    Scope,
    Snapshot,
    Store,
    Writer,
)
from holdfast.server.verify import answer_range, answer_rows, check_row_queries
from holdfast.sqlite.failpoints import failpoint

SNAPSHOT_ATTEMPTS = 8
"""Direct writes may come in between; after this many the device is asked to come again."""
Standing = Callable[[Snapshot, Sequence[Principal]], Sequence[Principal | None]]

logger = logging.getLogger(__name__)


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
        standing: Standing | None = None,
        files: FilePolicy | None = None,
        observer: Observer = nobody,
    ) -> None:
        """``now_us``: the server's clock, microseconds since 1970, UTC. ``standing``: asked inside
        each transaction what the one who asks may do now (``StandingAuthenticator.standing``)."""
        self._schema = schema
        self._store = store
        self._engine = Engine(schema, tuple(rules), random_bytes)
        self._now_us = now_us
        self._random_bytes = random_bytes
        self._on_commit = on_commit
        self._standing = standing
        self._observer = guarded(observer)
        self._ingesting = threading.Lock()
        self._ingested = 0
        """How often direct writes were taken in by reads."""
        with contextlib.closing(store.read()) as snapshot:
            self._generation = snapshot.registry.generation()
        self._builder = Builder(store.files, now_us=now_us, observer=self._observer)
        self._offers = Offers(
            schema,
            store,
            self._builder,
            policy=files or FilePolicy(),
            now_us=now_us,
            read=self._snapshot,
        )
        self._start()

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

    # Exchange

    def exchange(
        self, principal: Principal, request: ExchangeRequest, *, echo: str
    ) -> Iterator[Line]:
        """Take a device's transactions and tell it what is new.

        Raises ``ProtocolError`` now; the iterator returned holds a snapshot until its end or
        ``close``.
        """
        check_request(request, principal=principal, schema=self._schema, epoch=self.epoch)
        arrival_us = self._now_us()
        expected = _expected(principal, request)
        snapshot, pushed = self._read_only(principal, request, arrival_us, expected), Pushed()
        done = snapshot is None
        if snapshot is None:
            pushed = self._push(principal, request, arrival_us)
            failpoint("push.after_commit")
            snapshot = self._snapshot(replace(expected, device=""))
        try:
            principal = self._still(snapshot, principal, done=done)
            scopes = self._readable(snapshot, principal)
            positions = since(request.checkpoint, tuple(scopes))
            missed = below_floor(positions, scopes)
            if missed:
                self._observer(observe.Missed(scopes=len(missed)))
            head = self._head(
                principal, scopes, request, echo=echo, outcomes=pushed.outcomes, missed=missed
            )
            files = self._offers.instead(
                snapshot, scopes, positions, device=principal.device, accepted=request.files
            )
            if files is not None:
                snapshot.close()
                return iter([head, files, Checkpoint({}, 2)])
            own = OwnRows(pushed.own, pushed.versions) if request.brief else NO_ROWS
            body = news(snapshot, self._schema, positions, own)
            lines = self._lines(snapshot, head, scopes, [body])
        except BaseException:
            snapshot.close()
            raise
        return Answer(snapshot, lines)

    def _read_only(
        self,
        principal: Principal,
        request: ExchangeRequest,
        arrival_us: int,
        expected: Expected,
    ) -> Snapshot | None:
        """Where to answer from when a request changes nothing, else None.

        A device that has nothing to send proposes no new nonce, so that many that ask for the same
        news do not each cost a durable commit.
        """
        if request.transactions or request.nonce.to != request.nonce.since:
            return None
        snapshot = self._snapshot(expected)
        try:
            device = snapshot.device(principal.device)
            if (
                device is not None
                and device.nonce == request.nonce.since
                and device.user == principal.user
                and device == replace(device, **_told(request))
                and abs(arrival_us - device.last_seen) < SEEN_INTERVAL_MS * 1000
                and snapshot.scopes(_named(principal)).keys() >= set(_named(principal))
            ):
                check_checkpoint(snapshot, self._store, request.checkpoint, principal)
                return snapshot
        except BaseException:
            snapshot.close()
            raise
        snapshot.close()
        return None

    def _push(self, asking: Principal, request: ExchangeRequest, arrival_us: int) -> Pushed:
        """Everything that an exchange writes, in one commit."""
        ingested = 0

        def work(writer: Writer) -> Pushed:
            nonlocal ingested
            principal = self._still(writer, asking)
            check_checkpoint(writer, self._store, request.checkpoint, principal)
            known = writer.device(principal.device)
            device = known or Device(principal.device, principal.user)
            check_nonces(device, request.nonce)
            ensure_scopes(writer, _named(principal), self._random_bytes)
            claimed = request.offset
            if claimed is None and known is not None and not request.transactions:
                claimed = Offset(known.offset_us, 0)  # told before, and there is nothing to correct
            offset_us = choose_offset(
                None if claimed is None else claimed.us,
                0 if claimed is None else claimed.error_us,
                device_now_us=request.now,
                arrival_us=arrival_us,
            )
            direct = self._ingest(writer, arrival_us)
            ingested = len(direct)
            pushed = push(
                writer,
                self._engine,
                Sender(principal, principal.device, offset_us, arrival_us),
                request.transactions,
                high=device.high,
                touched=direct,
            )
            confirmed = min(request.confirmed, pushed.high)
            if confirmed > device.confirmed:
                writer.forget_answers(principal.device, confirmed)
            writer.put_device(
                replace(
                    device,
                    user=principal.user,
                    nonce=request.nonce.to,
                    high=pushed.high,
                    confirmed=max(device.confirmed, confirmed),
                    last_seen=arrival_us,
                    offset_us=offset_us,
                    **_told(request),
                )
            )
            failpoint("push.before_commit")
            return pushed

        pushed = self._store.transact(work)
        self._moved(pushed.versions)
        if pushed.fresh:
            self._observer(_decided(pushed))
        if ingested:
            self._observer(observe.Ingested(rows=ingested))
        return pushed

    # Files

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

    def tidy_files(self) -> None:
        """Remove files that nobody may fetch any more, and what crashes have left."""
        self._builder.tidy()

    # Verify

    def verify(self, principal: Principal, request: VerifyRequest, *, echo: str) -> Iterator[Line]:
        """The same catch-up as an exchange, then digests of ranges and named rows."""
        check_request(request, principal=principal, schema=self._schema, epoch=self.epoch)
        check_row_queries(self._schema, request.rows)
        snapshot = self._snapshot()
        try:
            principal = self._still(snapshot, principal)
            check_checkpoint(snapshot, self._store, request.checkpoint, principal)
            scopes = self._readable(snapshot, principal)
            positions = since(request.checkpoint, tuple(scopes))
            missed = below_floor(positions, scopes)
            whole = sum(not query.start and query.end is None for query in request.ranges)
            if whole:
                self._observer(observe.Compared(scopes=whole))
            head = self._head(principal, scopes, request, echo=echo, outcomes=[], missed=missed)
            bodies: list[Iterator[Line]] = [
                news(snapshot, self._schema, positions),
                self._ranges(snapshot, request, scopes),
                answer_rows(snapshot, self._schema, request.rows, scopes),
            ]
            lines = self._lines(snapshot, head, scopes, bodies)
        except BaseException:
            snapshot.close()
            raise
        return Answer(snapshot, lines)

    def _ranges(
        self, snapshot: Snapshot, request: VerifyRequest, scopes: Mapping[str, Scope]
    ) -> Iterator[RangeAnswer]:
        for query in request.ranges:
            yield answer_range(snapshot, self._schema, query, scopes)

    # What an answer is made of

    def _still(self, reads: Snapshot, principal: Principal, *, done: bool = False) -> Principal:
        """The principal with its rights as of these reads. Raises ``ProtocolError`` (``sign_in``).

        ``done``: its push is committed; the device must not think that nothing was taken, and is
        asked to come again, to be told then.
        """
        if self._standing is None:
            return principal
        (now,) = self._standing(reads, [principal])
        if now is not None:
            return now
        if done:
            raise ProtocolError("rights have changed meanwhile", code="busy", status=503)
        raise ProtocolError("the device token is not known", code="sign_in", status=401)

    def _readable(self, snapshot: Snapshot, principal: Principal) -> dict[str, Scope]:
        named = _named(principal)
        if len(named) < len(principal.read) + len(principal.write):  # only then look at them all
            named = [*principal.readable(snapshot.scope_names())]
        return snapshot.scopes(sorted({*named}))

    def _head(
        self,
        principal: Principal,
        scopes: Mapping[str, Scope],
        request: ExchangeRequest | VerifyRequest,
        *,
        echo: str,
        outcomes: list[Outcome],
        missed: Collection[str],
    ) -> Head:
        brief = isinstance(request, ExchangeRequest) and request.brief
        return Head(
            protocol=PROTOCOL,
            epoch=self.epoch,
            device=principal.device,
            user=principal.user,
            echo=echo,
            time=self._now_us(),
            schema="" if brief else self._schema.fingerprint,
            scopes={
                name: ScopeGrant(
                    "" if brief and name in request.checkpoint else scopes[name].key.hex(),
                    principal.may_write(name),
                    name in missed,
                )
                for name in sorted(scopes)
            },
            outcomes=outcomes,
        )

    def _lines(
        self,
        snapshot: Snapshot,
        head: Head,
        scopes: Mapping[str, Scope],
        bodies: Sequence[Iterator[Line]],
    ) -> Iterator[Line]:
        try:
            yield head
            count = 1
            for body in bodies:
                for line in body:
                    yield line
                    count += 1
            yield last_line(scopes, secret=self._store.seal_secret, epoch=self.epoch, lines=count)
        finally:
            snapshot.close()

    # Direct writes

    def _snapshot(self, expected: Expected | None = None) -> Snapshot:
        """A snapshot without notes of direct writes; those found are ingested first."""
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
                    self._ingest_alone()
                    self._ingested += 1
        raise ProtocolError("the database is being written to; try again", code="busy", status=503)

    def _ingest(self, writer: Writer, now_us: int) -> list[Touched]:
        if not writer.has_notes():
            return []
        return ingest(writer, self._schema, now_us=now_us, random_bytes=self._random_bytes)

    def _ingest_alone(self) -> bool:
        def work(writer: Writer) -> tuple[int, dict[str, int]]:
            touched = self._ingest(writer, self._now_us())
            return len(touched), publish(writer, touched, self._random_bytes)

        found, versions = self._store.transact(work)
        self._moved(versions)
        if found:
            self._observer(observe.Ingested(rows=found))
        return bool(found)

    def poll_foreign_writes(self) -> bool:
        """Take in what other processes have written directly; cheap when they have not.

        True when something was taken in. Scopes that moved are published.
        """
        if not self._store.written_elsewhere():
            return False
        with contextlib.closing(self._store.read()) as snapshot:
            self._look_at_rights(snapshot)
            if not snapshot.has_notes():
                return False
        return self._ingest_alone()

    def _look_at_rights(self, snapshot: Snapshot) -> None:
        """Tell when another process has changed what somebody may do."""
        generation = snapshot.registry.generation()
        if generation != self._generation:
            self._generation = generation
            self._moved({RIGHTS: generation})

    def deep_check(self, *, proceed: Callable[[], bool] = lambda: True) -> int:
        """Recompute the hashes of all stored rows; how many differed from the feeds.

        Rows that differ (changed behind the triggers' back, or damaged) are taken as written
        directly, and logged. It goes page by page and locks nothing but what differs; ``proceed``
        is asked before each page.
        """
        found: set[tuple[str, str]] = set()
        for table, keys in suspects(self._schema, self._snapshot, proceed):
            found |= self._settle(table, keys)
        return len(found)

    def _settle(self, table: Table, keys: Suspects) -> set[tuple[str, str]]:
        def work(writer: Writer) -> tuple[list[Touched], dict[str, int]]:
            versions = publish(writer, self._ingest(writer, self._now_us()), self._random_bytes)
            found = settle(
                writer, self._schema, table, keys,
                now_us=self._now_us(), random_bytes=self._random_bytes,
            )  # fmt: skip
            return found, versions | publish(writer, found, self._random_bytes)

        touched, versions = self._store.transact(work)
        for item in touched:
            logger.warning("%s %s was not as the feeds had it", item.table.name, item.key)
        self._moved(versions)
        return {(item.table.name, item.key) for item in touched}

    # The rest

    def heads(self, principal: Principal) -> dict[str, int]:
        """The head versions of the scopes that a principal may read."""
        with contextlib.closing(self._store.read()) as snapshot:
            principal = self._still(snapshot, principal)
            return {name: scope.head for name, scope in self._readable(snapshot, principal).items()}

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
        with contextlib.closing(self._store.read()) as snapshot:
            principal = self._still(snapshot, principal)
            return read_journal(
                snapshot, self._schema, principal, table=table, key=key, before=before, limit=limit,
                secret=self._store.seal_secret,
            )  # fmt: skip

    def purge(
        self, retention: Retention | None = None, *, proceed: Proceed = lambda _done: True
    ) -> Forgotten:
        """Forget what has been kept for long enough. ``proceed``: asked between two bites."""
        self._ingest_alone()
        return forget(
            self._store,
            self._schema,
            now_us=self._now_us(),
            retention=retention or Retention(),
            proceed=proceed,
        )

    def _start(self) -> None:
        """Take in what happened while no server ran, and hash rows whose tables got columns."""
        self._builder.tidy()
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
        raise DatabaseBusy("another process hashes the rows of a grown schema, and does not end")

    def _grow(self) -> None:
        """Hash the rows of tables that got columns, a page in each transaction; begun again by
        whoever starts next, when it is interrupted."""
        self._ingest_alone()
        for name in self._store.stale_tables:
            table = self._schema.by_name[name]
            after: tuple[Value, ...] | None = None
            while True:

                def work(
                    writer: Writer, table: Table = table, after: tuple[Value, ...] | None = after
                ) -> tuple[tuple[Value, ...] | None, dict[str, int]]:
                    touched, place = rehash(writer, table, after)
                    return place, publish(writer, touched, self._random_bytes)

                after, versions = self._store.transact(work)
                self._moved(versions)
                if after is None:
                    break
        self._store.transact(self._store.clear_stale)

    def _moved(self, versions: Mapping[str, int]) -> None:
        if versions and self._on_commit is not None:
            self._on_commit(versions)


def _told(request: ExchangeRequest) -> dict[str, Any]:
    """What a device tells of itself: nothing, when nothing has changed."""
    report = request.report
    if report is None:
        return {}
    return {"waiting": report.waiting, "oldest_us": report.oldest, "client": report.client}


def _expected(principal: Principal, request: ExchangeRequest) -> Expected:
    """What an exchange reads, whatever its answer will be."""
    scopes = dict.fromkeys(_named(principal), 0)
    scopes |= {
        scope: request.checkpoint[scope].version for scope in principal.readable(request.checkpoint)
    }
    return Expected(principal.device, scopes)


def _decided(pushed: Pushed) -> observe.Pushed:
    """What an observer hears of a push: of what was decided now, not of what is repeated."""
    fresh = pushed.outcomes[len(pushed.outcomes) - pushed.fresh :]
    return observe.Pushed(
        outcomes=Counter(outcome.outcome for outcome in fresh),
        refusals=Counter(outcome.code for outcome in fresh if outcome.outcome == "refused"),
        conflicts=pushed.conflicts,
    )


def _named(principal: Principal) -> list[str]:
    """The scopes that a principal's grants name exactly; they exist from the first contact on."""
    return [name for name in (*principal.read, *principal.write) if not name.endswith("*")]
