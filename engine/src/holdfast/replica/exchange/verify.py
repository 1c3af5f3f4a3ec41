"""Verification: does the replica hold what the server holds, and is the stored data itself sound?

Knows: digests of ranges. Must not know: HTTP.
Upholds I36. A deep check recomputes every row's hash from the stored rows; a comparison narrows a
difference by ranges of keys (range-based set reconciliation, Meyer, arXiv 2212.13567) until single
rows are left; only those are fetched, and pending work is left alone. Each answer carries the
complete catch-up of the same server snapshot, applied before comparing, so that a busy scope does
not deceive it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from holdfast.core.digest import Digest, revisions_hex, row_hash
from holdfast.core.errors import BadValue, SyncError
from holdfast.core.keys import row_key, row_scopes
from holdfast.core.limits import (
    VERIFY_CONTINUED_MAX,
    VERIFY_RANGES_MAX,
    VERIFY_ROUNDS_MAX,
    VERIFY_ROWS_MAX,
)
from holdfast.protocol.messages import RangeAnswer, RangeDigest, RangeQuery, RowQuery
from holdfast.replica.exchange.exchanger import Exchanged, Exchanger, differing
from holdfast.replica.rebase.overlay import Overlay
from holdfast.replica.rebase.replay import Replay, shown
from holdfast.replica.storage.aside import SetAside
from holdfast.replica.storage.database import LocalDatabase, applying, reading, transaction
from holdfast.schema.model import Table
from holdfast.sql.bookkeeping.statements import MEMBERS, ROWS, SCOPES, STATE
from holdfast.sqlite import Connection, Row

Progress = Callable[[str, int, int], None]
"""Called with what is done, how many are done, and how many there are (0: unknown)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeCheck:
    """A scope after verification: both sides' count of rows and digest (32 hex digits)."""

    scope: str
    count: int
    digest: str
    server_count: int
    server_digest: str

    @property
    def equal(self) -> bool:
        return (self.count, self.digest) == (self.server_count, self.server_digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """``ok``: nothing differs now. ``damaged``: rows found unsound in the local file; ``repaired``:
    rows fetched again from the server; ``rounds``: round trips."""

    ok: bool
    scopes: tuple[ScopeCheck, ...]
    rows_checked: int = 0
    damaged: tuple[tuple[str, str], ...] = ()
    repaired: int = 0
    rounds: int = 0
    mismatched: tuple[str, ...] = field(default=())


def _no_progress(_what: str, _done: int, _all: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class _Scopes:
    """The scopes of a device: their hash keys, and which are still to be compared (``behind``)."""

    keys: dict[str, bytes]
    behind: frozenset[str]

    def sound(self, table: Table, key: str, row: Row, held: dict[str, bytes]) -> bool:
        """Return whether a row is what was applied, in each of its scopes that the device has.

        ``held``: its hash in each scope that has told of it. A row of a scope that is behind may be
        there because its removal was forgotten; then nobody has told of it in a scope that came
        later, and that is no damage: the comparison finds it.
        """
        try:
            scopes = [scope for scope in row_scopes(table, row) if scope in self.keys]
            hashes = {s: row_hash(self.keys[s], table.name, key, row) for s in scopes}
        except (BadValue, UnicodeError):
            return False
        if hashes == held:
            return bool(hashes)
        return held.items() <= hashes.items() and not self.behind.isdisjoint(held)


class Verifier:
    """Verifies one replica against its server, and repairs it."""

    def __init__(self, database: LocalDatabase, exchanger: Exchanger) -> None:
        self._database = database
        self._exchanger = exchanger

    @property
    def _db(self) -> Connection:
        return self._database.sync

    def verify(self, *, deep: bool = True, progress: Progress = _no_progress) -> VerifyReport:
        """Check, compare and repair. Raises ``SyncError`` when the server cannot be asked."""
        with self._exchanger.exclusive():
            return self._verify(deep, progress)

    def _verify(self, deep: bool, progress: Progress) -> VerifyReport:
        self._exchanger.seal()
        checked, damaged, hidden = self._deep_check(progress) if deep else (0, [], {})
        wanted = damaged[:]
        queries = self._every_scope() if deep else []
        repaired, rounds, continued = self._show_again(hidden), 0, 0
        suspects: set[str] = set()
        misnumbered: set[tuple[str, str]] = set()
        renumbered: set[tuple[str, str]] = set()
        expected: frozenset[str] | None = None
        """Scopes that differ though nothing is wrong: the server has lost what was seen of them,
        and what came instead may be the same under another revision."""
        answer = Exchanged()
        while rounds - continued < VERIFY_ROUNDS_MAX:
            asked, wanted = wanted[:VERIFY_ROWS_MAX], wanted[VERIFY_ROWS_MAX:]
            now, queries = queries[:VERIFY_RANGES_MAX], queries[VERIFY_RANGES_MAX:]
            rounds += 1
            try:
                answer = self._exchanger.verify(now, [RowQuery(*row) for row in asked])
            except SyncError as error:
                if error.code != "sync_elsewhere":
                    raise
                queries, wanted = now + queries, asked + wanted  # another process was ahead of us
                continue
            if expected is None:
                expected = answer.expected
            repaired += len(asked)
            progress("comparing", rounds, 0)
            unseen = _unseen(now, answer.ranges)
            queries = unseen + queries
            continued += bool(unseen) and continued < VERIFY_CONTINUED_MAX
            with transaction(self._db):
                for found in answer.ranges:
                    narrower, rows, revised = self._compare(found)
                    queries += narrower
                    wanted += rows
                    misnumbered |= revised - set(damaged)
                    renumbered |= revised if found.scope in expected else set()
            if queries or wanted:
                continue
            fresh = set(answer.applied.differing) - suspects
            if not fresh:
                break
            suspects |= fresh
            with transaction(self._db):  # the sum itself may be what is wrong
                self._sum_up(fresh)
            queries = [RangeQuery(scope=scope) for scope in sorted(fresh)]
        misnumbered -= renumbered
        if misnumbered:
            with transaction(self._db):
                self._db.execute(STATE.add_mismatches, (1,))
        scopes = self.scopes()
        return VerifyReport(
            ok=all(scope.equal for scope in scopes),
            scopes=scopes,
            rows_checked=checked,
            damaged=(
                *damaged,
                *sorted(misnumbered),
                *((table, key) for table in hidden for key in sorted(hidden[table])),
            ),
            repaired=repaired,
            rounds=rounds,
            mismatched=tuple(sorted(suspects)),
        )

    def scopes(self) -> tuple[ScopeCheck, ...]:
        """Both sides' digests as of the last answer."""
        return tuple(
            ScopeCheck(
                scope=str(scope), count=int(str(count)), digest=str(digest),
                server_count=int(str(server_count)), server_digest=str(server_digest),
            )
            for scope, count, digest, server_count, server_digest in self._db.execute(
                SCOPES.both_digests
            )
        )  # fmt: skip

    # --- the stored data itself ---------------------------------------------------------------

    def _deep_check(
        self, progress: Progress
    ) -> tuple[int, list[tuple[str, str]], dict[str, set[str]]]:
        """Recompute every row's hashes; rows (table, key) whose stored data is not what was
        applied, that are missing, or that nobody knows. By table, keys of rows with pending work
        that do not show what they should."""
        checked = 0
        damaged: list[tuple[str, str]] = []
        hidden: dict[str, set[str]] = {}
        with reading(self._db):
            scopes = _Scopes(
                {
                    str(scope): bytes(key) if isinstance(key, bytes) else b""
                    for scope, key, _, _ in self._db.execute(SCOPES.digests)
                },
                differing(self._db),
            )
            aside = SetAside(self._db).before.keys()
            for table in self._database.schema.all_tables:
                statements = self._database.program.tables[table.name]
                overlay = Overlay(self._db, table, statements)
                changed = {str(k) for (k,) in self._db.execute(statements.unsettled_keys)}
                # Written since sealing: looked at the next time.
                fresh = {str(k) for (k,) in self._db.execute(statements.log_keys)}
                known = self._known(table.name)
                bare = known.keys() ^ self._revised(table.name)
                damaged += ((table.name, key) for key in sorted(bare))
                for row in self._db.iterate(statements.all_rows):
                    key = row_key(table, row)
                    checked += 1
                    if key not in changed and key not in fresh:
                        held = known.pop(key, {})
                        if key not in bare and not scopes.sound(table, key, row, held):
                            damaged.append((table.name, key))
                    if checked % 5000 == 0:
                        progress("checking rows", checked, 0)
                wrong = {
                    k for k in changed - fresh if overlay.visible(k) != shown(overlay, k, aside)
                }
                if wrong:
                    hidden[table.name] = wrong
                for key in known.keys() - fresh - bare:
                    truth = overlay.truth(key, frozenset()) if key in changed else None
                    if truth is None or not scopes.sound(table, key, truth, known[key]):
                        damaged.append((table.name, key))
        for table_name, key in damaged:  # what is fetched again is replayed again, too
            hidden.get(table_name, set()).discard(key)
        with transaction(self._db):
            self._forget_hashes(damaged)
            if damaged:
                self._db.execute(STATE.add_mismatches, (1,))
        return checked, damaged, hidden

    def _show_again(self, hidden: dict[str, set[str]]) -> int:
        """Replay pending work on rows that do not show it; how many there were."""
        if not hidden:
            return 0
        with transaction(self._db):
            self._exchanger.seal_within()
            with applying(self._db):
                self._replay(hidden)
        return sum(len(keys) for keys in hidden.values())

    def _replay(self, hidden: dict[str, set[str]]) -> None:
        overlays = {
            table.name: Overlay(self._db, table, self._database.program.tables[table.name])
            for table in self._database.schema.all_tables
        }
        Replay(self._db, overlays).run(hidden, {})

    def _revised(self, table: str) -> set[str]:
        """Keys of which a revision is known: those of all members, or edits have no base."""
        return {str(key) for (key,) in self._db.iterate(ROWS.keys, (table,))}

    def _known(self, table: str) -> dict[str, dict[str, bytes]]:
        known: dict[str, dict[str, bytes]] = {}
        for scope, key, hashed in self._db.iterate(MEMBERS.of_table, (table,)):
            known.setdefault(str(key), {})[str(scope)] = (
                bytes(hashed) if isinstance(hashed, bytes) else b""
            )
        return known

    def _forget_hashes(self, damaged: list[tuple[str, str]]) -> None:
        """Damaged rows must not count as held: their hashes are no longer what the file has."""
        for table, key in damaged:
            self._db.execute(MEMBERS.forget_hash, (table, key))
        if damaged:
            scopes = self._db.execute(SCOPES.names)
            self._sum_up({str(scope) for (scope,) in scopes})

    def _sum_up(self, scopes: Iterable[str]) -> None:
        """Compute the stored digests of scopes anew from their rows' hashes."""
        for scope in scopes:
            own = self._range(scope, "", None)
            self._db.execute(SCOPES.set_digest, (own.count, own.hex, scope))

    # --- comparing with the server ------------------------------------------------------------

    def _every_scope(self) -> list[RangeQuery]:
        """A digest over values says nothing of revisions, on which the server's decisions rest: a
        deep check compares them too."""
        scopes = self._db.execute(SCOPES.names)
        return [RangeQuery(scope=str(scope), revisions=True) for (scope,) in scopes]

    def _range(self, scope: str, start: str, end: str | None) -> Digest:
        """This replica's digest of a range of positions (``table/key``)."""
        digest = Digest()
        for _, _, hashed, _ in self._members(scope, start, end):
            digest = digest.add(hashed)
        return digest

    def _members(
        self, scope: str, start: str, end: str | None
    ) -> Iterator[tuple[str, str, bytes, int]]:
        """Table, key, hash and revision of a range's rows."""
        sql, params = MEMBERS.from_position, [scope, *_split(start)]
        if end is not None:
            sql, params = MEMBERS.between_positions, [*params, *_split(end)]
        for table, key, hashed, rev in self._db.iterate(sql, params):
            known = bytes(hashed) if isinstance(hashed, bytes) else b""
            yield str(table), str(key), known, int(str(rev))

    def _differs(self, scope: str, part: RangeAnswer | RangeDigest) -> bool:
        rows = list(self._members(scope, part.start, part.end))
        own = Digest().replace(removed=(), added=[hashed for _, _, hashed, _ in rows])
        if (own.count, own.hex) != (part.count, part.digest):
            return True
        revisions = ((hashed, rev) for _, _, hashed, rev in rows)
        return bool(part.revisions) and revisions_hex(revisions) != part.revisions

    def _compare(
        self, answer: RangeAnswer
    ) -> tuple[list[RangeQuery], list[tuple[str, str]], set[tuple[str, str]]]:
        """Narrower ranges that differ, or the single rows that do, and those of them that have
        another revision alone."""
        if not self._differs(answer.scope, answer):
            return [], [], set()
        if answer.parts:
            again = bool(answer.revisions)
            differing = [
                RangeQuery(answer.scope, part.start, part.end, again)
                for part in answer.parts
                if self._differs(answer.scope, part)
            ]
            return differing, [], set()
        theirs = {
            (table, key): (bytes.fromhex(hashed), rev) for table, key, rev, hashed in answer.leaf
        }
        mine = {
            (table, key): (hashed, rev)
            for table, key, hashed, rev in self._members(answer.scope, answer.start, answer.end)
        }
        rows = {row for row in theirs.keys() | mine.keys() if theirs.get(row) != mine.get(row)}
        both = rows & theirs.keys() & mine.keys()
        return [], sorted(rows), {row for row in both if theirs[row][0] == mine[row][0]}


def _unseen(asked: list[RangeQuery], answers: list[RangeAnswer]) -> list[RangeQuery]:
    """Return what of the ranges the server has not looked at: it did as much as one request may
    cost.
    """
    ends = {(answer.scope, answer.start): answer.end for answer in answers}
    unseen = []
    for query in asked:
        place = query.scope, query.start
        if place not in ends:
            unseen.append(query)
        elif (end := ends[place]) is not None and end != query.end:
            unseen.append(RangeQuery(query.scope, end, query.end, query.revisions))
    return unseen


def _split(position: str) -> list[str]:
    """A position as table and key; table names have no slash."""
    table, _, key = position.partition("/")
    return [table, key]
