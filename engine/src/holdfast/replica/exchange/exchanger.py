"""The client's side of exchanges: what is sent, what is believed, what is stored.

Knows: one replica and one transport. Must not know: when to sync (``core.session``) or threads.
Upholds I6, I7 (the nonce is stored before it is sent and reused until it is answered), I10, I35.

    device                                           server
    seal; 7, 8 are sent; store the next nonce
         │   checkpoint store/12: 41
         ├── nonce a → b; transactions 7, 8 ───────► check it; one commit: outcomes,
         │                                           rows, feed, nonce b
         │                                                │
         │                                                ▼
         │◄─ head: 7 applied, 8 refused ──────────── one snapshot, up to the heads
         │   rows, removals; checkpoint store/12: 43
         ▼
    one transaction: 7 leaves the outbox, 8 is in the inbox, rows and what is
    replayed on them, checkpoint 43, nonce b; and the digests are compared.

    No answer: the same request again. The server is at b already, and tells the outcomes it stored.
    Next request: it confirms outcomes up to 8, and the server may forget them.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.core.clock import OffsetSample, best_offset
from holdfast.core.connection.generations import server_generation, told_apart
from holdfast.core.connection.history import HistoryKind
from holdfast.core.errors import (
    AttentionNeeded,
    DatabaseError,
    DatabaseFull,
    FileRefused,
    SignInNeeded,
    SyncError,
    UpgradeNeeded,
)
from holdfast.core.limits import OFFSET_SAMPLES_MAX
from holdfast.protocol.messages import (
    Checkpoint,
    ExchangeRequest,
    Head,
    Nonces,
    Numbers,
    Offset,
    Position,
    RangeAnswer,
    RangeQuery,
    Report,
    RowQuery,
    VerifyRequest,
)
from holdfast.protocol.version import PROTOCOL, RELEASE
from holdfast.replica.changes.outbox import next_batch
from holdfast.replica.changes.seal import seal
from holdfast.replica.host import Host
from holdfast.replica.http.transport import SpooledAnswer, Transport
from holdfast.replica.identity.accept import accept_server
from holdfast.replica.identity.fork import after_fork, calls_for_fork, fork, origin_of, settle_fork
from holdfast.replica.identity.kept import offered_again
from holdfast.replica.inbox.freeing import Freeing
from holdfast.replica.inbox.inbox import Inbox
from holdfast.replica.load.fetch import DownloadFolder
from holdfast.replica.load.first_load import Load, Loading, OnProgress
from holdfast.replica.load.import_files import attached
from holdfast.replica.rebase.apply import Applied, Applier
from holdfast.replica.storage.database import (
    LocalDatabase,
    ensure_current,
    read_state,
    transaction,
    write_state,
)
from holdfast.replica.storage.members import hash_key
from holdfast.replica.storage.place import Note, record_place
from holdfast.replica.storage.waiting import Waiting, read_waiting
from holdfast.schema.model import Schema
from holdfast.sql.bookkeeping.statements import EVENTS, SCOPES, STATE, TRANSACTIONS
from holdfast.sqlite import Connection
from holdfast.sqlite.failpoints import failpoint

log = logging.getLogger("holdfast.sync")

CLIENT = f"holdfast {RELEASE}"
"""What the server is told of this program."""
NEVER = 2**62
"""A number that no transaction reaches."""


@dataclass(slots=True)
class Exchanged:
    """Result of one exchange. ``left``: transactions that are still to be sent or answered."""

    sent: int = 0
    left: int = 0
    applied: Applied = field(default_factory=Applied)
    ranges: list[RangeAnswer] = field(default_factory=list)
    expected: frozenset[str] = frozenset()
    """Scopes that may differ now though nothing is wrong: the server has forgotten removals, or
    they differed before."""

    @property
    def reconciles(self) -> bool:
        """Return whether scopes differ, and all of them were expected to."""
        differing = self.applied.differing
        return bool(differing) and self.expected.issuperset(differing)

    @property
    def progressed(self) -> bool:
        """Return whether anything was decided or arrived."""
        done = self.applied
        decided = done.applied or done.refused or done.held or done.parted
        return bool(decided or done.rows or done.removed)

    @property
    def barren(self) -> bool:
        """Return whether the server has decided nothing of what it was sent, and it waits on.
        What was written while an exchange that had nothing to send was under way has not been
        sent."""
        return bool(self.sent and self.left) and not self.progressed


class Exchanger:
    """Makes exchanges for one replica, one at a time."""

    def __init__(
        self,
        database: LocalDatabase,
        transport: Transport,
        host: Host,
        *,
        tend: Callable[[int], None] | None = None,
        beside: Callable[[], Note | None] = lambda: None,
        note: Callable[[Note], None] = lambda _note: None,
    ) -> None:
        """``tend``: called with the corrected time before each exchange, to renew what lets the
        device in. ``beside`` and ``note``: the note beside the file, which state of it is the
        newest."""
        self._beside = beside
        self._note_beside = note
        self._database = database
        self._transport = transport
        self._host = host
        self._tend = tend
        self._mutex = threading.RLock()
        self._samples: deque[OffsetSample] = deque(maxlen=OFFSET_SAMPLES_MAX)
        self._folder = DownloadFolder(database.path)
        self._stopped = threading.Event()
        database.given_up = self._stopped.is_set
        self._told: tuple[Report, int] | None = None
        """What the server was told last, and the moment that was stored with its answer."""
        self._noted_us: int | None = None
        self.loading: Loading | None = None
        """How far a first load or a large catch-up is; None: there is none under way."""
        self.on_loading: OnProgress | None = None

    @property
    def _db(self) -> Connection:
        return self._database.sync

    @property
    def _schema(self) -> Schema:
        return self._database.schema

    def exchange(self) -> Exchanged:
        """One round trip: pending work up, outcomes and news down, all stored in one transaction.

        Raises the ``SyncError`` tree, or ``DatabaseError``; then nothing of the answer is stored.
        """
        with self._mutex:
            if self._tend is not None:
                (offset,) = read_state(self._db, "offset_us")
                corrected = offset if isinstance(offset, int) else 0
                self._tend(self._host.now_us() + corrected)
            self._stopped.clear()
            try:
                return self._exchange()
            except AttentionNeeded as error:
                if not self._fork(error):
                    raise
            return after_fork(self._exchange)

    def _exchange(self) -> Exchanged:
        load = Load(
            self._folder, self._transport, self._database.driver, self._schema,
            hash_key=lambda scope: hash_key(self._db, scope),
            told=self._note_loading, stopped=self._stopped,
            monotonic_ms=self._host.monotonic_ms,
        )  # fmt: skip
        try:
            while True:
                result = self._round(load)
                if result is not None:
                    break
        finally:
            self._note_loading(None)
        self._folder.clear()
        return result

    def _fork(self, error: AttentionNeeded) -> bool:
        """Become another replica, where the server says that this one is not the one it knows."""
        if not calls_for_fork(error):
            return False
        with transaction(self._db):
            self.seal_within()
            done = fork(
                self._db, error, path=self._database.path, beside=self._beside,
                now_us=self._host.now_us(), random_bytes=self._host.random_bytes,
            )  # fmt: skip
        failpoint("fork.after_commit")
        if done:
            log.warning("this replica takes a new identity: %s", error.message)
        return done

    def begin_anew(self) -> None:
        """A person asks for a sync: an identity of its own may be taken once more."""
        with self._mutex:
            (forks,) = read_state(self._db, "forks")
            if forks:
                with transaction(self._db):
                    write_state(self._db, forks=0)

    def accept_server(self) -> Path:
        """Take another server for the one from now on; where the file was copied to before."""
        with self._mutex:
            copy = accept_server(self._db, Path(self._database.path), self._host, self.seal_within)
            self._told = None
            self._samples.clear()
        return copy

    def _round(self, load: Load) -> Exchanged | None:
        """One request and its answer; None when it has to be made again, with what files bring."""
        request, first_new = self._prepare(load)
        failpoint("exchange.prepared")
        try:
            answer = self._transport.exchange(request, self._echo())
        except SyncError as error:
            if _not_taken(error):
                self._take_back(first_new)
            raise self._told_apart(error) from error
        failpoint("exchange.answered")
        try:
            files = answer.files() if request.files else None
            if files is not None:
                self._check_identity(answer.head, request.nonce)
                load.missed |= _missed(answer.head)
                load.take(answer.head, files)
                return None
            load.check_kept()
            with attached(self._db, load.snapshots) as aliases:
                result = self._store(answer, request, load, aliases)
        except FileRefused as error:
            log.warning("a file of the server was refused: %s", error.message)
            load.refuse()
            return None
        except DatabaseFull:
            self._folder.clear()  # nothing of the files stays: local work needs the space
            raise
        finally:
            answer.close()
        self._heard(request.report)
        result.sent = len(request.transactions)
        return result

    def interrupt(self) -> None:
        """End what is under way with files, and waits for a lock, from any thread; what begins
        later goes ahead."""
        self._stopped.set()

    def go_on(self) -> None:
        """Whoever interrupted has what they wanted."""
        self._stopped.clear()

    def _note_loading(self, loading: Loading | None) -> None:
        self.loading = loading
        if self.on_loading is not None:
            self.on_loading(loading)

    def verify(self, ranges: list[RangeQuery], rows: list[RowQuery]) -> Exchanged:
        """Ask for digests of ranges and the server's version of rows; take in its catch-up, and
        what has become of transactions of which the answer was lost: its rows have them in them.

        Of a server that has gone back everything is taken in first, by an exchange."""
        with self._mutex:
            try:
                return self._verify(ranges, rows)
            except AttentionNeeded as error:
                if not self._fork(error):
                    raise
            after_fork(self._exchange)
            return after_fork(lambda: self._verify(ranges, rows))

    def _verify(self, ranges: list[RangeQuery], rows: list[RowQuery]) -> Exchanged:
        with self._mutex:
            device, epoch, replica = read_state(self._db, "device", "epoch", "replica")
            ((first, last),) = self._db.execute(TRANSACTIONS.sent_span)
            unanswered = None
            if isinstance(first, int) and isinstance(last, int):
                unanswered = Numbers(first, last)
            request = VerifyRequest(
                protocol=PROTOCOL,
                schema=self._schema.fingerprint,
                device=str(device),
                replica=str(replica),
                origin=origin_of(self._db),
                epoch=str(epoch),
                now=self._host.now_us(),
                checkpoint=checkpoint(self._db),
                unanswered=unanswered,
                ranges=ranges,
                rows=rows,
            )
            try:
                answer = self._transport.verify(request, self._echo())
            except SyncError as error:
                raise self._told_apart(error) from error
            try:
                return self._store(answer, None, None, ())
            finally:
                answer.close()

    def _told_apart(self, error: SyncError) -> SyncError:
        """A refusal as it concerns this schema; what it says of the server's is kept."""
        theirs = server_generation(error)
        if theirs is not None:
            with transaction(self._db):
                write_state(self._db, server_generation=theirs)
        schema = self._schema
        return told_apart(error, name=schema.name, generation=schema.generation)

    def exclusive(self) -> AbstractContextManager[bool]:
        """Keep the sync connection, and exchanges, to the thread that holds this."""
        return self._mutex

    def seal(self) -> None:
        """Seal what has been written."""
        with self._mutex, transaction(self._db):
            self.seal_within(self._host.now_us())

    def seal_within(self, now_us: int | None = None, *, replaces: int = 0) -> int | None:
        """The same inside a write transaction of the sync connection; the number of the open
        group. ``replaces``: the transaction that it makes again."""
        return seal(
            self._db,
            self._schema,
            self._database.program,
            now_us=self._host.now_us() if now_us is None else now_us,
            random_bytes=self._host.random_bytes,
            replaces=replaces,
        )

    def _waiting(self) -> Waiting:
        """Return what waits, when what was held by a transaction that a person has settled
        meanwhile goes on."""
        waiting = read_waiting(self._db)
        if not waiting.held:
            return waiting

        def sealed(number: int) -> int | None:
            return self.seal_within(replaces=number)

        Freeing(Inbox(self._database, self._db), sealed).after_news()
        return read_waiting(self._db)

    def _echo(self) -> str:
        """64 random bits, in as few letters as the protocol lets."""
        return urlsafe_b64encode(self._host.random_bytes(8)).decode().rstrip("=")

    def _take_back(self, first: int) -> None:
        """Make pending again what this attempt was the first to send and has not reached the
        server.
        """
        with transaction(self._db):
            self._db.execute(TRANSACTIONS.take_back, (first,))

    def _prepare(self, load: Load) -> tuple[ExchangeRequest, int]:
        """Seal, choose what goes up, and store the proposed nonce before it is sent.

        With nothing to send, and no answer outstanding, no new nonce is proposed.
        With the request comes the lowest number that was never sent before.
        """
        now_us = self._host.now_us()
        with transaction(self._db):
            ensure_current(self._db, self._database.program)
            self.seal_within(now_us)
            device, epoch, nonce, proposed, confirmed, offset, error, replica = read_state(
                self._db,
                "device", "epoch", "nonce", "next_nonce", "confirmed", "offset_us",
                "offset_error_us", "replica",
            )  # fmt: skip
            origin = origin_of(self._db)
            pending = self._db.execute(TRANSACTIONS.first_pending)
            first_new = int(str(pending[0][0])) if pending else NEVER
            batch = offered_again(self._db) or next_batch(
                self._db, self._schema, self._database.program
            )
            if not proposed and (batch or not nonce):
                proposed = self._host.random_bytes(8).hex()
                write_state(self._db, next_nonce=proposed)
            positions = checkpoint(self._db) | load.positions
            report = self._untold(self._report())
        measured = None
        # Without stamps to correct it is told only together with the rest of what is to be shown.
        asked = bool(batch) or report is not None
        if asked and isinstance(offset, int) and isinstance(error, int):
            measured = Offset(us=offset, error_us=error)
        request = ExchangeRequest(
            protocol=PROTOCOL,
            schema=self._schema.fingerprint,
            device=str(device),
            replica=str(replica),
            origin=origin,
            epoch=str(epoch),
            now=now_us,
            checkpoint=positions,
            nonce=Nonces(since=str(nonce), to=str(proposed or nonce)),
            offset=measured,
            report=report,
            confirmed=int(str(confirmed)),
            files=load.encodings,
            # Of scopes that only files bring, the keys are not here yet; and what is offered again
            # stands on rows that may be others by now.
            brief=not load.positions and origin is None,
            transactions=batch,
        )
        return request, first_new

    def _report(self) -> Report:
        """Return what the server is told of this device: what waits behind what goes up now."""
        waiting = read_waiting(self._db)
        return Report(waiting.pending, waiting.oldest_pending, CLIENT)

    def _untold(self, report: Report) -> Report | None:
        """The report, unless it is what the server has heard last.

        It is told again when another process may have told something else since: then the moment
        that is stored is not ours. What is sent and perhaps not heard counts for nothing.
        """
        (noted,) = read_state(self._db, "verified_us")
        if self._told == (report, noted):
            return None
        self._told = None
        return report

    def _heard(self, report: Report | None) -> None:
        """An answer was stored: the server knows what it was told, now or before."""
        known = report or (self._told[0] if self._told is not None else None)
        self._told = None if known is None or self._noted_us is None else (known, self._noted_us)

    def _store(
        self,
        answer: SpooledAnswer,
        request: ExchangeRequest | None,
        load: Load | None,
        aliases: Sequence[str],
    ) -> Exchanged:
        head, final = answer.head, answer.checkpoint
        nonces = None if request is None else request.nonce
        result = Exchanged()
        with transaction(self._db):
            self._check_identity(head, nonces)
            self._check_newer(final)
            result.expected = _missed(head) | differing(self._db)
            if load is not None:  # with files the second request is no longer below the floor
                result.expected |= load.missed
            lines = (line for line in answer.lines() if not _is_range(line, result.ranges))
            applier = Applier(
                self._db,
                self._schema,
                self._database.program,
                now_us=self._host.now_us(),
                random_bytes=self._host.random_bytes,
                sent=() if request is None else request.transactions,
            )
            if load is None:
                result.applied = applier.apply(head, lines, final)
            else:
                result.applied = applier.apply(
                    head, lines, final, filed=load.lines(), on_rows=load.importing,
                    files=list(zip(load.snapshots, aliases, strict=True)),
                )  # fmt: skip
            self._note(head, answer, result, nonces)
            if request is not None:
                settle_fork(self._db)
            result.left = self._waiting().unsettled
            failpoint("apply.before_commit")
        failpoint("apply.after_commit")
        if nonces is not None and nonces.to != nonces.since:
            self._note_beside((str(self._database.sync_state("replica")), nonces.to))
        if result.applied.lost or (load is not None and load.snapshots):
            # What was deleted is overwritten in the file; the log would keep it for a while. And
            # after a large import it would stay as large as that.
            with contextlib.suppress(DatabaseError):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return result

    def _check_identity(self, head: Head, nonces: Nonces | None) -> None:
        device, epoch, nonce, proposed = read_state(
            self._db, "device", "epoch", "nonce", "next_nonce"
        )
        if epoch and head.epoch != epoch:
            changed = "the server's history (epoch) has changed; nothing was changed here"
            raise SyncError(changed, code="identity_unsettled")
        if device and head.device != device:
            raise AttentionNeeded("the answer is for another device", code="wrong_device")
        if nonces is not None and (nonce, proposed or nonce) != (nonces.since, nonces.to):
            raise DatabaseError(
                "another process has completed this exchange", code="sync_elsewhere"
            )

    def _check_newer(self, final: Checkpoint) -> None:
        """Another process may have applied newer news than this answer has: never go back (I15),
        unless the server itself has."""
        if not self._database.sync_state("epoch"):
            return
        for scope, applied in checkpoint(self._db).items():
            offered = final.scopes.get(scope)
            if offered is not None and offered.version < applied.version:
                raise SyncError("a newer answer is applied already", code="sync_elsewhere")

    def _note(
        self,
        head: Head,
        answer: SpooledAnswer,
        result: Exchanged,
        nonces: Nonces | None,
    ) -> None:
        now_us = self._host.now_us()
        self._samples.append(
            OffsetSample(
                sent_us=answer.sent_us, received_us=answer.received_us, server_us=head.time
            )
        )
        best = best_offset(list(self._samples), now_us=now_us)
        if best is not None:
            write_state(self._db, offset_us=best.offset_us, offset_error_us=best.error_us)
        replica, nonce, origin = read_state(self._db, "replica", "nonce", "origin")
        if not replica:  # servers know it by its device's name
            write_state(self._db, replica=head.device)
        if head.replaced and not nonce and not origin:
            self._db.execute(EVENTS.add, (now_us, HistoryKind.REINITIALISED.value, None, ""))
        record_place(self._db, self._database.path)
        if nonces is not None and nonces.to != nonces.since:
            write_state(self._db, nonce=nonces.to, next_nonce="")
        generation = head.generation or self._schema.generation
        write_state(
            self._db, device=head.device, user=head.user, epoch=head.epoch,
            server_generation=generation,
        )  # fmt: skip
        if not result.expected.issuperset(result.applied.differing):
            self._db.execute(STATE.add_mismatches, (1,))
        self._noted_us = None
        if not result.applied.differing:
            self._noted_us = now_us + (best.offset_us if best else 0)
            write_state(self._db, verified_us=self._noted_us)


def _not_taken(error: SyncError) -> bool:
    """Return whether it is certain that the server has taken nothing of the request."""
    whole = (SignInNeeded, UpgradeNeeded, AttentionNeeded)
    return isinstance(error, whole) or bool(error.detail.get("unsent"))


def _is_range(line: object, ranges: list[RangeAnswer]) -> bool:
    """Take a range's answer out of the stream of news."""
    if isinstance(line, RangeAnswer):
        ranges.append(line)
        return True
    return False


def _missed(head: Head) -> frozenset[str]:
    """Scopes of which the server has forgotten removals that this device has not seen."""
    return frozenset(scope for scope, grant in head.scopes.items() if grant.reconcile)


def differing(connection: Connection) -> frozenset[str]:
    """Scopes that differed after the last answer: it was counted then, or expected."""
    found = connection.execute(SCOPES.differing)
    return frozenset(str(scope) for (scope,) in found)


def checkpoint(connection: Connection) -> dict[str, Position]:
    """The scope versions this replica has applied whole, with the server's seals on them."""
    return {
        str(scope): Position(
            version=int(str(version)), count=int(str(rows)), digest=str(digest), seal=str(seal_)
        )
        for scope, version, rows, digest, seal_ in connection.execute(SCOPES.positions)
    }
