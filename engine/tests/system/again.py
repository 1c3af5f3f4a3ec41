"""I13: what the server accepted, done again one by one on a fresh server, gives the same tables.

Knows: the ledger of a world. Must not know: what was refused, repeated, lost or sent in one batch.
Refused and held work is left out, every transaction travels alone, and nothing is repeated; so a
batch that decides otherwise than its parts, a refusal that leaves a trace, or work that was done
twice shows up as a difference.

One thing is not the same on both stores: a direct statement that passes unique values on from row
to row (stores that rotate) is let through or not by the order of the rows. A world on PostgreSQL
that fails here with ``UNIQUE constraint failed`` has done that; it is no fault.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import msgspec
from bazaar import RULES, Dump
from checks import server_outcomes
from device import Event, incarnation
from growth import GENERATIONS, whole
from shell import FastDriver
from waits import place_of
from world import World

from holdfast.protocol.messages import Change, ExchangeRequest, Nonces, Transaction
from holdfast.server.direct.direct_writes import concerned
from holdfast.server.feed.feed import publish
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.contract import Writer
from holdfast.server.store.sqlite.store import SqliteStore
from holdfast.sqlite import OpenOptions, driver

Name = tuple[Any, ...]


class Again:
    """The second server."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._outcomes = server_outcomes(world)
        self._numbers: Counter[str] = Counter()
        self._nonces: dict[str, str] = defaultdict(str)
        self._done: set[tuple[str, int]] = set()
        self.came_and_went: set[tuple[str, str]] = set()
        """Rows that were made and removed by one request: the first server may have published
        neither, and then has no removal to remember."""
        self._now = 0
        self._path = path = str(world.folder / "again.db")
        self._noise = 0
        self._generation = 1
        self._open()
        self.db = driver().connect(path, OpenOptions(synchronous="OFF"))
        self._ids: dict[str, str] = {}
        self._named: dict[Name, list[str]] = defaultdict(list)
        self._ours: dict[Name, list[str]] = defaultdict(list)
        for id_, row in world.ledger.conflicts.items():
            self._named[_name(row)].append(id_)

    def _grow(self, generation: int) -> None:
        if generation > self._generation:
            self.service.close()
            self._generation = generation
            self._open()
            self._note_conflicts()

    def _open(self) -> None:
        schema = GENERATIONS[self._generation]
        self.store = SqliteStore.open(
            self._path, schema, random_bytes=self._bytes, sqlite=FastDriver()
        )
        self.service = Service(
            schema, self.store, rules=RULES, now_us=lambda: self._now, random_bytes=self._bytes
        ).begin()

    def _bytes(self, count: int) -> bytes:
        self._noise += 1
        return incarnation(self._now) if count == 3 else self._noise.to_bytes(count, "big")

    def run(self) -> None:
        """All events, in order."""
        for event in self._world.ledger.events:
            self._now = event.now_us
            if event.kind == "direct":
                self.db.execute("BEGIN IMMEDIATE")
                for sql, params in event.statements:
                    self.db.execute(sql, params)
                self.db.execute("COMMIT")
            elif event.kind == "purge":
                # Who has nothing to send is not seen here: no generation may be dropped for that.
                self.db.execute("UPDATE holdfast_generation SET ceased = ?", (self._now,))
                self.service.purge()
                self._note_conflicts()
            elif event.kind == "reopen":
                self._grow(event.generation)
            else:
                self._take_in(event.principal, event.request)
                if event.kind == "exchange" and event.request is not None:
                    self._push(event)

    def _take_in(self, principal: Principal | None, request: ExchangeRequest | None) -> None:
        """Who asks takes in the direct writes that concern it; the watcher all.

        A push takes in those of the rows it is about as well, also where it is refused: when a
        direct write is taken in decides its time.
        """
        if principal is None:
            self.service.poll_foreign_writes()
        else:
            direct = self.service._direct
            if request is not None and request.transactions:
                self.store.transact(lambda writer: self._take_in_rows(writer, request))
            direct.snapshot(of=concerned(principal)).close()
        self._note_conflicts()

    def _take_in_rows(self, writer: Writer, request: ExchangeRequest) -> None:
        direct = self.service._direct
        touched = direct.ingest(writer, self._now, of=(), transactions=request.transactions)
        publish(writer, touched, self._bytes)

    def _push(self, event: Event) -> None:
        assert event.request is not None and event.principal is not None
        device = event.principal.device
        changes = [change for one in event.request.transactions for change in one.changes]
        made, gone = (
            {place_of(change) for change in changes if change.op == op}
            for op in ("insert", "delete")
        )
        self.came_and_went |= made & gone
        for transaction in event.request.transactions:
            place = device, transaction.number
            if place in self._done or self._outcomes[place][1] != "applied":
                continue
            self._done.add(place)
            self._push_one(event, event.principal, transaction)

    def _push_one(self, event: Event, principal: Principal, transaction: Transaction) -> None:
        assert event.request is not None
        device = principal.device
        self._numbers[device] += 1
        changes = [self._renamed(change) for change in transaction.changes]
        alone = msgspec.structs.replace(
            transaction, number=self._numbers[device], after=[], replaces=0, changes=changes
        )
        since, to = self._nonces[device], f"nonce-{len(self._done):08d}"
        self._nonces[device] = to
        request = msgspec.structs.replace(
            event.request, transactions=[alone], nonce=Nonces(since, to), epoch="", checkpoint={},
            confirmed=0,
        )  # fmt: skip
        head, *_ = list(self.service.exchange(principal, request, echo=""))
        (outcome,) = head.outcomes  # type: ignore[union-attr]
        assert outcome.outcome == "applied", f"I13: {device} {transaction.number}: {outcome}"
        self._note_conflicts()

    def _renamed(self, change: Change) -> Change:
        if change.table != "holdfast_conflict":
            return change
        ours = self._ids.get(str(change.key[0]))
        assert ours is not None, f"I13: a conflict that is not there again: {change}"
        return msgspec.structs.replace(change, key=[ours])

    def _note_conflicts(self) -> None:
        """Conflicts have random names: the n-th about a thing here is the n-th there."""
        for id_, row in sorted(self.dump()["holdfast_conflict"].items()):
            ours = self._ours[_name(row)]
            if id_ not in self._ids.values():
                theirs = self._named[_name(row)]
                assert len(ours) < len(theirs), f"I13: a conflict that was not there: {row}"
                self._ids[theirs[len(ours)]] = id_
                ours.append(id_)

    def dump(self) -> Dump:
        return whole(self.db.execute, self._generation)

    def close(self) -> None:
        self.db.close()
        self.service.close()


def _name(row: tuple[Any, ...]) -> Name:
    return row[2], row[3], row[4], row[9]


def _plain(found: Dump) -> dict[str, Any]:
    rows: dict[str, Any] = {name: dict(rows) for name, rows in found.items()}
    rows["holdfast_conflict"] = sorted(
        json.dumps(row[1:]) for row in found["holdfast_conflict"].values()
    )
    return rows


def same_again(world: World) -> None:
    """Do everything again, and compare."""
    again = Again(world)
    try:
        again.run()
        theirs, ours = _plain(whole(world.server_rows, world.generation)), _plain(again.dump())
        for name in theirs:
            assert theirs[name] == ours[name], f"I13: {name}"
        sql = (
            "SELECT tbl, key, rev FROM holdfast_row WHERE tbl <> 'holdfast_conflict' ORDER BY 1, 2"
        )
        theirs_, ours_ = set(world.server_rows(sql)), set(again.db.execute(sql))
        # A record of one that came and went at once goes with the next purge there, later here.
        ours_ -= {row for row in ours_ - theirs_ if row[:2] in again.came_and_went}
        assert theirs_ == ours_, f"I13: revisions {theirs_ ^ ours_}"
        sql = "SELECT tbl, key, col, kind, entry FROM holdfast_journal"
        assert Counter(world.server_rows(sql)) == Counter(again.db.execute(sql)), "I13: journal"
    finally:
        again.close()
