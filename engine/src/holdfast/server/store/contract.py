"""The contract of a server's database: named operations, no SQL above it.

Knows: rows, feeds, scopes, replicas, outcomes. Must not know: merging, rights, or messages.
A store offers consistent reads (``Snapshot``) and one write transaction at a time that commits
whole and durably or not at all (``Writer``). A store with several writers (PostgreSQL) takes the
locks of the scopes it is asked for in ``scopes``, in sorted order, so that versions become visible
in order.

Upholds I3 (commit is durable), I10 and I11 (a scope's versions appear in order), I22.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from msgspec import Struct

from holdfast.core.digest import Digest
from holdfast.core.errors import DatabaseBusy
from holdfast.core.merging.rows import replica_name
from holdfast.core.values import Row, Value
from holdfast.schema.model import ForeignKey, Schema, Table
from holdfast.schema.projection import Projection
from holdfast.server.process.observe import Observer
from holdfast.server.store.epochs import Epochs
from holdfast.server.store.files import FileStore
from holdfast.server.store.registry import RegistryReads, RegistryWrites
from holdfast.server.store.upkeep import Upkeep
from holdfast.sql.note_scopes import Ranges

T = TypeVar("T")
ENGINE_TABLES = (
    "holdfast_row", "holdfast_feed", "holdfast_scope", "holdfast_commit", "holdfast_replica",
    "holdfast_applied", "holdfast_journal",
)  # fmt: skip
OnCommit = Callable[[Mapping[str, int]], None]
"""Called after a commit with the scopes that moved and their new versions."""

NO_ROWS: Mapping[str, Sequence[str]] = {}
NO_OLDER: Mapping[int, bytes] = {}
NO_DIGESTS: Mapping[int, Digest] = {}

"""All values of a row in column order, storage form."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope's head version, the digest of its rows, and the key of their hashes.

    ``floor``: rows that left at or below this version may have been forgotten. A writer does not
    write it with the rest (``Upkeep.raise_floor``). ``size``: bytes of all its rows. ``older``: the
    digests of its rows as older generations of the schema see them, by generation.
    """

    name: str
    head: int
    digest: Digest
    key: bytes
    floor: int = 0
    size: int = 0
    older: Mapping[int, Digest] = field(default_factory=dict)


class StoredRow(Struct, frozen=True, gc=False):
    """A row as stored; ``values`` is None when it is gone, ``image`` its last values."""

    rev: int
    stamps: bytes
    values: Row | None
    image: Row | None


class RowRecord(Struct, frozen=True, gc=False):
    """The engine's record of one row, to be written."""

    key: str
    rev: int
    stamps: bytes
    image: Row | None


class FeedEntry(Struct, frozen=True, gc=False):
    """A row in a scope: the version of its last change there, its hash, whether it has left, and
    how many bytes it has.

    ``older``: its hashes as older generations see it, by generation, where they are others (empty:
    it is not seen). ``deviates``: the newest generation (0: none) from which a device that comes to
    the current one lacks something of the row.
    """

    scope: str
    table: str
    key: str
    version: int
    hash: bytes
    removed: bool
    size: int = 0
    older: Mapping[int, bytes] = NO_OLDER
    deviates: int = 0


class LiveEntry(Struct, frozen=True, gc=False):
    """A live feed entry, without its place: see ``FeedEntry``."""

    hash: bytes
    size: int
    older: Mapping[int, bytes] = NO_OLDER
    deviates: int = 0
    version: int = 0


class MovedRow(Struct, frozen=True, gc=False):
    """A feed entry as a pull sees it; ``version``: of the row's last change in the scope."""

    table: str
    key: str
    removed: bool
    version: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """A replica as the server knows it. ``high``: the last transaction number it has decided;
    ``waiting``, ``oldest_us``, ``client``: what the replica has told of itself."""

    replica: str
    device: str
    user: str
    nonce: str = ""
    high: int = 0
    confirmed: int = 0
    last_seen: int = 0
    offset_us: int = 0
    waiting: int = 0
    oldest_us: int | None = None
    client: str = ""
    generation: int = 0
    """The generation of the schema that it speaks; 0: not known."""
    place: int = 1
    """Among the replicas of its device; never given twice."""
    origin: str = ""
    """The replica that it has come out of; "" for none."""
    origin_last: int = 0
    """Transactions up to this number may have been sent as the origin's before."""
    shared: int = 0
    """Up to this number the origin's transactions are its own, as far as it is known."""
    origin_epoch: int = 0
    """The number of the epoch whose end has made it offer again; 0: none."""
    forgotten: int = 0
    """Up to this number it may be forgotten what was decided."""
    backed_up: int = 0
    """Transactions up to this number are in a backup of the server."""
    copied: bool = False
    """Another file of its device, or one that has come out of it, may hold what it sends."""

    @property
    def has_relatives(self) -> bool:
        """Return whether what it sends may have been sent by another one."""
        return self.copied or bool(self.origin)

    @property
    def writes_as(self) -> str:
        """Return the name on the stamps of what it writes."""
        return replica_name(self.device, self.place)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decided transaction. ``answer`` is kept until the device has confirmed it."""

    number: int
    id: bytes
    body: bytes
    outcome: Literal["applied", "refused", "held"]
    settled: bool = False
    answer: bytes | None = None


Sent = list[tuple[ReplicaRecord, Recorded]]
"""What replicas have sent."""


@dataclass(frozen=True, slots=True)
class DirectWriteNote:
    """A row that was written directly: its values before, or None when it was not there."""

    key: str
    old: Row | None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An automatic decision with both values; ``entry`` holds what is told by API."""

    at: int
    table: str
    key: str
    column: str
    kind: str
    entry: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    scopes: frozenset[str] = frozenset()
    """Where its row is. Not read back: rows move."""


@dataclass(frozen=True, slots=True)
class ScopeStats:
    """A scope as an operator sees it. ``tombstones``: removals that are remembered."""

    name: str
    head: int
    floor: int
    rows: int
    tombstones: int
    positions: int


@dataclass(frozen=True, slots=True)
class Stats:
    """Contents of a database in numbers. ``rows``: by user table; ``entries``: by engine table;
    ``sizes``: bytes by table with its indexes, "" for all (SQLite knows only that)."""

    rows: Mapping[str, int]
    entries: Mapping[str, int]
    sizes: Mapping[str, int]
    scopes: Sequence[ScopeStats]
    notes: int


@dataclass(frozen=True, slots=True)
class Expected:
    """Hint of what a read will be asked for: a replica ("": none), and scopes with the versions
    that it holds of them (0: nothing)."""

    replica: str
    scopes: Mapping[str, int]


class TryAgain(DatabaseBusy):
    """Another writer came in between, or the connection was lost: everything is undone.

    Raised inside ``Store.transact``, which runs the work again with ``scopes`` locked first. What
    catches other errors of the database must let this one pass. ``locked``: somebody holds what was
    wanted, and will let go of it.
    """

    def __init__(self, message: str, *, scopes: Iterable[str] = (), locked: bool = False) -> None:
        super().__init__(message)
        self.scopes = frozenset(scopes)
        self.locked = locked


class Snapshot(Protocol):
    """A consistent read. Everything is read as of one moment until ``close``."""

    @property
    def registry(self) -> RegistryReads:
        """People and their devices."""

    def has_notes(self) -> bool:
        """Return whether direct writes wait to be ingested."""

    def noted(self, ranges: Ranges, limit: int) -> int:
        """Return how many notes of direct writes may concern scopes in these ranges; at most
        ``limit``.
        """

    def replica(self, replica: str) -> ReplicaRecord | None:
        """Return what is known of a replica. A writer holds it: no other sees it until the
        commit.
        """

    def origins(self, replica: ReplicaRecord, limit: int) -> list[ReplicaRecord]:
        """The replicas that one has come out of, the nearest first: those of the same device or
        user, as far as they are known without a gap, and at most so many. None is held."""

    def sent_by(self, devices: Collection[str], ids: Sequence[bytes]) -> Sent:
        """Return what was decided of transactions with these ids, of any replicas of these devices
        of which copies are known, in a fixed order. A writer holds the devices' names: until its
        commit no other one that asks sends anything."""

    def owner(self, device: str) -> str | None:
        """Return the user whose replica of this device was heard last; None: it has none."""

    def recorded(self, replica: str, numbers: Sequence[int]) -> dict[int, Recorded]:
        """Return what was decided of these transactions, by number."""

    def heads_at_end(self, number: int) -> dict[str, int]:
        """Return the heads that scopes had when an epoch ended, by its number."""

    def scope_names(self) -> list[str]: ...

    def scopes(self, names: Iterable[str]) -> dict[str, Scope]:
        """The scopes of these names that exist. A writer holds them until its commit."""

    def positions(self, held: Mapping[str, int]) -> dict[str, Digest]:
        """The digests that scopes had at these versions; left out are those that never had it, and
        those of which it is forgotten."""

    def digests(self, held: Mapping[str, int]) -> dict[str, Mapping[int, Digest]]:
        """The same for all generations of the schema that it is kept for, by generation."""

    def lacking(self, scope: str, since: int, generation: int) -> Iterator[tuple[str, str]]:
        """Table and key of a scope's rows, last changed at or below a version, of which a device
        that comes from an older generation lacks something."""

    def floors(self, names: Collection[str]) -> dict[str, int]:
        """The floors of those scopes that exist; nothing is locked."""

    def moved(self, held: Mapping[str, int]) -> Iterator[tuple[str, MovedRow]]:
        """Rows of scopes that changed above these versions: scope by scope in the order given, each
        row once a scope, in order of version."""

    def moved_count(self, held: Mapping[str, int], limit: int) -> int:
        """Return how many rows of scopes changed above these versions, together; at most
        ``limit``.
        """

    def versions(self, table: Table, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Versions of live feed entries by (scope, key)."""

    def live(
        self,
        scope: str,
        start: tuple[str, str],
        end: tuple[str, str] | None,
        *,
        limit: int | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[str, str, bytes]]:
        """Table, key and hash of a scope's rows in a range, ordered by table and key; at most
        ``limit``, without the first ones."""

    def noted_live(
        self, scope: str, start: tuple[str, str], end: tuple[str, str] | None
    ) -> Iterator[tuple[str, str, bytes, Mapping[int, bytes]]]:
        """The same with the hashes that are noted for older generations."""

    def count(
        self,
        scope: str,
        start: tuple[str, str],
        end: tuple[str, str] | None,
        limit: int | None = None,
    ) -> int:
        """Return how many rows of a scope are in a range; at most ``limit``."""

    def rows(self, table: Table, keys: Sequence[str]) -> Iterator[tuple[str, int, Row]]:
        """Key text, revision and values of rows, as they are read; absent rows are left out."""

    def stored(self, table: Table, keys: Sequence[str]) -> dict[str, StoredRow]:
        """Everything that is stored of rows, by key text; unknown rows are left out."""

    def revs(self, table: Table, keys: Sequence[str]) -> dict[str, int]:
        """Revisions of rows by key text, also of rows that are gone."""

    def hashes(self, scope: str, table: Table, keys: Sequence[str]) -> dict[str, bytes]:
        """Hashes of live feed entries by key text."""

    def weighed(self, scope: str, table: Table, keys: Sequence[str]) -> dict[str, LiveEntry]:
        """Live feed entries by key text."""

    def page(
        self, table: Table, after: Sequence[Value] | None, limit: int
    ) -> list[tuple[str, Row]]:
        """Key text and values of rows, in the order of their keys' values, after a key."""

    def entries(self, after: tuple[str, str, str], limit: int) -> list[tuple[str, str, str]]:
        """Scope, table and key of live feed entries, in order, after a place."""

    def devices_since(self, moments: Sequence[int]) -> list[int]:
        """Return how many devices were heard after each of these moments."""

    def stats(self) -> Stats:
        """Return what is stored, counted; not cheap."""

    def journal(
        self,
        *,
        table: str,
        key: str,
        before: int,
        limit: int,
        scopes: Sequence[str] | None = None,
    ) -> list[JournalEntry]:
        """Entries with a lower number than ``before`` (0: all), newest first.

        ``scopes``: only of rows that are, or have been, in these; others cost nothing.
        """

    def close(self) -> None: ...


class Writer(Snapshot, Protocol):
    """One write transaction."""

    @property
    def registry(self) -> RegistryWrites: ...

    @property
    def older(self) -> Sequence[Projection]:
        """Return what the older generations see that are served, oldest first."""

    @property
    def counts_from(self) -> int:
        """Return the least place in a row's count that a new revision has (see ``Epochs``)."""

    def hold(self, scopes: Iterable[str]) -> None:
        """Lock the scopes of the rows that were read and will be written, as far as known by now.

        They are locked once, in sorted order; ``TryAgain`` when some of them had moved since they
        were read, or when others are held already. A store with one writer has nothing to do, and
        does not look at ``scopes``.
        """

    def known_scopes(self, names: Sequence[str]) -> set[str]:
        """Return which of these scopes exist; none is locked."""

    def last_place(self, device: str) -> int:
        """Return the place of a device's newest replica; 0: it has none. Until the commit nobody
        else gives it another one."""

    def put_replica(self, replica: ReplicaRecord) -> None:
        """Store all but ``forgotten`` and ``backed_up``, which others raise."""

    def set_backed_up(self, highs: Mapping[str, int]) -> None:
        """Raise, by replica, up to which number transactions are in a backup; never lower it."""

    def mark_copies(self, devices: Collection[str], first: int) -> None:
        """Another file of these devices is here: from this number on, what their replicas have
        sent is found by its id, and so is all that they send from now on. Waits for what they are
        about to commit."""

    def record(self, replica: str, entries: Sequence[Recorded], *, copied: bool = False) -> None:
        """Record what was decided. ``copied``: it is found by its id."""

    def settle(self, replica: str, number: int) -> None:
        """A refused or held transaction was replaced by one that was applied."""

    def forget_answers(self, replica: str, up_to: int) -> None: ...

    def existing(self, table: Table, keys: Sequence[str]) -> set[str]: ...

    def children(
        self, child: Table, foreign: ForeignKey, parent: Sequence[Value], limit: int
    ) -> list[str]:
        """Keys of some rows that refer to a parent."""

    def holder(self, table: Table, columns: Sequence[str], values: Sequence[Value]) -> str | None:
        """The key of the row that has these values of a unique key."""

    def write(self, table: Table, *, first_gone: Sequence[str], rows: Sequence[Row]) -> None:
        """Delete rows, then write rows; all constraints of the database hold afterwards.

        Raises ``ConstraintFailed``.
        """

    def put_records(self, table: Table, records: Sequence[RowRecord]) -> None: ...

    def put_feed(self, entries: Sequence[FeedEntry]) -> None: ...

    def put_scopes(self, scopes: Sequence[Scope]) -> None:
        """Store heads and digests, and remember each as a position of its scope."""

    def restate_scopes(self, scopes: Sequence[Scope]) -> None:
        """Store other digests and sizes for the same heads: the schema has grown. What generations
        that are served no more saw there stays known of the position: devices hold it, sealed."""

    def open_conflicts(self, table: str, keys: Sequence[str]) -> list[str]:
        """Keys of open conflicts that concern rows."""

    def take_notes(
        self,
        *,
        limit: int = 0,
        ranges: Ranges | None = None,
        rows: Mapping[str, Sequence[str]] = NO_ROWS,
    ) -> dict[str, list[DirectWriteNote]]:
        """Take away the notes about some rows that were written directly, each row once; by table.

        At most ``limit`` rows, which concern scopes in these ranges (None: any); and ``rows``, keys
        by table, as far as there are notes about them. Before any scope is held: notes come first
        in the order of locks, and one writer takes them at a time.
        """

    def add_journal(self, entries: Sequence[JournalEntry]) -> None: ...

    def follow_journal(self, moves: Sequence[tuple[str, str, str]]) -> None:
        """Rows (table, key) are in another scope now: their entries are found there, too."""

    @property
    def upkeep(self) -> Upkeep:
        """Return what maintenance marks and forgets."""

    def query(self, sql: str, params: Sequence[Value]) -> list[dict[str, Value]]:
        """Read-only SQL of a rule. Raises ``DatabaseError``."""

    def savepoint(self) -> AbstractContextManager[None]:
        """Return what happens inside is undone when an exception leaves it."""


class Store(Protocol):
    """A server's database."""

    @property
    def epoch(self) -> str:
        """Return the current epoch."""

    @property
    def epochs(self) -> Epochs:
        """Return the current epoch and those that have ended, as far as this process knows: it
        looks with each snapshot."""

    def end_epoch(self, epoch: str, *, new: str, at: int, lost: str = "") -> None:
        """End this epoch in a commit of its own, if it is the current one still. ``lost``: a later
        one of which nothing is left, to be known as one that has ended, too."""

    @property
    def seal_secret(self) -> bytes: ...

    @property
    def older(self) -> Sequence[Projection]:
        """Return what the older generations see that are served, oldest first."""

    @property
    def has_grown(self) -> bool:
        """Return whether it has had another generation of the schema, served still or not."""

    def renew_older(self) -> Sequence[Projection]:
        """Read again which of these are served: another process may have ceased to serve some."""

    @property
    def below_floor(self) -> Sequence[Schema]:
        """Return the older generations whose devices have to be updated first, oldest first."""

    @property
    def stale_tables(self) -> tuple[str, ...]:
        """Tables whose rows need new hashes, because columns were added to them."""

    @property
    def unwatched(self) -> bool:
        """Return whether direct writes may have gone unnoticed before the store was opened."""

    def clear_stale(self, writer: Writer) -> None: ...

    def read(self, expected: Expected | None = None) -> Snapshot:
        """Open a consistent read; it is held from this moment on.

        ``expected`` changes nothing but the number of trips to a database that is elsewhere.
        """

    def rehearse(self) -> AbstractContextManager[Writer]:
        """A writer of which nothing but reads is used: they are of a snapshot, and lock nothing."""

    def transact(self, work: Callable[[Writer], T], *, turn: str = "") -> T:
        """Run ``work`` in one write transaction: durable when it returns, undone when it raises.

        ``work`` may be run more than once, each time from the start, until it is committed; it must
        leave nothing behind but what it does with the writer. ``turn``: whose work it is; where
        only one can write at a time, those who wait take turns. Raises what ``work`` raises, and
        ``DatabaseError``.
        """

    def relay(self, publish: OnCommit) -> OnCommit:
        """Return what to call after a commit, so that all processes on this database hear of it.

        ``publish`` is called with what this process and others have moved, from any thread.
        """

    def alone(self, job: str) -> AbstractContextManager[bool]:
        """Return whether no other process on this database does this job now; none begins it
        inside.
        """

    def observe(self, observer: Observer) -> None:
        """Set the observer of transactions that are begun again."""

    def check_ready(self) -> None:
        """Check that it can be reached and written; nothing is changed. Raises
        ``DatabaseError``.
        """

    def written_elsewhere(self) -> bool:
        """Return whether another process may have written directly since the last call; cheap."""

    @property
    def files(self) -> FileStore:
        """Return where snapshot and catch-up files are kept."""

    def serve(self) -> None:
        """From now on this process serves the database, until ``close``.

        Raises ``DatabaseError`` (``served_elsewhere``) where only one process can and another does.
        """

    def close(self) -> None: ...
