"""A device of the world: its replica, its wrong clock, its line to the server, what it sent.

Knows: one replica and what is true of it alone. Must not know: what the others do.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bazaar import (
    STORES,
    Dump,
    Row,
    Statement,
    Work,
    dump,
    scopes,
    tokens,
)
from growth import EVERY, GENERATIONS, is_again
from offers import written
from purses import meanwhile
from readers import orphans_of
from servers import ServerDatabase
from shell import keep_time
from waits import rests_on_row

from holdfast.core.errors import (
    AttentionNeeded,
    ConstraintFailed,
    Offline,
    ProtocolError,
    SignInNeeded,
    UpgradeNeeded,
)
from holdfast.core.merging.policies import policy_of
from holdfast.core.values import to_wire
from holdfast.protocol.codec import encode_request
from holdfast.protocol.messages import (
    Change,
    ExchangeRequest,
    Transaction,
)
from holdfast.replica.host import Host
from holdfast.replica.http.spool import SpooledAnswer, receive
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.replica import Replica
from holdfast.schema.model import Column, Table
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.identity.principal import Principal
from holdfast.sqlite import Connection

if TYPE_CHECKING:
    from world import World

START_US = 1_790_000_000_000_000
DAY_US = 86_400 * 1_000_000
YEAR_US = 365 * DAY_US
SECOND_US = 1_000_000

PRINCIPALS = (
    Principal("anna", "till-1", read=(), write=("catalog", "store/1", "tasks")),
    Principal("ben", "till-2", read=("store/1",), write=("catalog", "store/2", "tasks")),
    Principal("cleo", "office", read=(), write=("catalog", "store/*", "tasks")),
    Principal("dora", "yard", read=("catalog",), write=("store/2", "store/3")),
)


@dataclass
class Options:
    """What a world is like."""

    devices: int = 3
    faults: bool = True
    jumps: bool = True
    latency: bool = True
    revocations: bool = True
    foreign: bool = True
    direct: bool = True
    purges: bool = True
    sets: bool = False
    """Whether baskets are filled; seeds from before there were any make the same worlds without."""
    growth: bool = False
    """Whether the schema grows, on the server and on devices."""
    asides: bool = False
    """Whether work is set aside now and then that goes through after all, or is refused."""
    skews: tuple[int, ...] = (0, 0, 0, 0)
    drivers: tuple[str, ...] = ("apsw", "apsw", "apsw", "apsw")
    damaged: bool = False
    """Whether a device says what is not so; it may then differ until it is repaired."""
    budgets: Budgets | None = None
    database: ServerDatabase | None = None
    """The server's; None: an SQLite file of its own."""
    line: Any = None
    """Makes the line of a device; None: ``Line``."""


@dataclass
class Event:
    """Something that happened to the server, for ``again``."""

    kind: str
    now_us: int
    principal: Principal | None = None
    request: ExchangeRequest | None = None
    statements: list[Statement] = field(default_factory=list)
    generation: int = 1
    """Of the server's schema, from then on."""


@dataclass
class Ledger:
    """What was done and told, kept apart from the engine."""

    ids: dict[tuple[str, int], str] = field(default_factory=dict)
    sent: dict[tuple[str, int], Transaction] = field(default_factory=dict)
    dropped: set[tuple[str, int]] = field(default_factory=set)
    direct: Counter[int] = field(default_factory=Counter)
    direct_keys: set[int] = field(default_factory=set)
    overwritten: set[str] = field(default_factory=set)
    pairs: set[tuple[str, str, Row]] = field(default_factory=set)
    """What somebody has left in a group of an offer: see `offers`."""
    cleared: set[tuple[str, str, str]] = field(default_factory=set)
    """Cells that a direct write has set to their default."""
    events: list[Event] = field(default_factory=list)
    forgotten: dict[tuple[str, int], tuple[str, str, int]] = field(default_factory=dict)
    history: dict[tuple[str, int], Dump] = field(default_factory=dict)
    conflicts: dict[str, tuple[Any, ...]] = field(default_factory=dict)


class Line(MemoryTransport):
    """The line of one device, with its faults."""

    def __init__(self, world: World, device: Device) -> None:
        super().__init__(world.service, device.principal, now_us=device.now_us)
        self._world = world
        self._device = device
        self.answered = 0

    def told(self, request: Any) -> Any:
        """What the device says of its request; a damaged one says something else."""
        return request

    def _call(self, serve: Any, request: Any, echo: str, kind: Any) -> SpooledAnswer:
        world, device = self._world, self._device
        body = encode_request(self.told(request))
        first_sent = device.note_request(request) if kind is ExchangeRequest else []
        fault = world.fault()
        if fault == "drop":
            raise Offline("dropped before the server", code="unreachable")
        world.pass_time()
        sent_us = device.now_us()
        world.pass_time()
        if fault in ("repeat", "late"):
            world.late.append((device, body, kind))
        before = world.committed
        try:
            lines = world.serve(device, body, kind, echo)
            if fault == "repeat":
                lines = world.serve(device, body, kind, echo)
        except ProtocolError as error:
            world.count[f"error {error.code}"] += 1
            failure = self._failure(error, echo)
            turned_away = isinstance(failure, (AttentionNeeded, SignInNeeded, UpgradeNeeded))
            if turned_away and first_sent:
                self._turned_away(first_sent, body)
            raise failure from None
        world.pass_time()
        if fault == "lose":
            world.count["answer lost"] += 1
            if world.committed > before and getattr(request, "transactions", None):
                world.count["answer lost after commit"] += 1
            raise Offline("the answer was lost", code="timeout")
        raw = b"".join(lines)
        if fault == "cut":
            raw = raw[: world.net.randrange(len(raw))]
            world.count["answer cut"] += 1
        if fault == "old" and device.old_answer:
            raw = device.old_answer
        device.old_answer = b"".join(lines)
        pieces = [raw[i : i + 400] for i in range(0, len(raw), 400)]
        answer = receive(pieces, echo=echo, sent_us=sent_us, received_us=device.now_us())
        self.answered += 1
        meanwhile(device)
        return answer

    def _turned_away(self, first_sent: list[int], body: bytes) -> None:
        """Forget what this request was the first to send: nothing of it was taken, so that its
        numbers may go to others. It does not come again later."""
        world, ledger = self._world, self._world.ledger
        for number in first_sent:
            place = self._device.name, number
            del ledger.sent[place], ledger.ids[place]
        world.count["numbers taken back"] += len(first_sent)
        world.late = [one for one in world.late if one[1] is not body]


@dataclass
class Device:
    """One device: its file, its clock, what it may see."""

    world: World
    name: str
    principal: Principal
    path: Path
    library: str
    skew_us: int
    random: random.Random
    work: Work
    replica: Replica = field(init=False)
    line: Line = field(init=False)
    foreign: Connection = field(init=False)
    readable_tokens: set[str] = field(default_factory=set)
    readable_keys: set[tuple[str, str]] = field(default_factory=set)
    generation: int = 1
    old_answer: bytes = b""
    slips: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    made_slips: set[str] = field(default_factory=set)
    """Of moves that were committed here."""
    seen_slips: set[str] = field(default_factory=set)
    seen_versions: dict[str, int] = field(default_factory=dict)
    foreign_orphans: set[tuple[str, tuple[Any, ...], str, int]] = field(default_factory=set)
    """Left by programs that do not ask for foreign keys, or let through by SQLite, which counts
    what is wrong: a parent that comes for a child that had none pays for another child's."""
    verifying: bool = False

    def now_us(self) -> int:
        return self.world.now + self.skew_us

    def open(self) -> None:
        host = Host(
            now_us=self.now_us,
            monotonic_ms=lambda: self.world.now // 1000,
            random_bytes=self.random.randbytes,
            random01=self.random.random,
        )
        self.line = (self.world.options.line or Line)(self.world, self)
        self.replica = Replica.open(
            self.path, GENERATIONS[self.generation], transport=self.line, host=host,
            synchronous="OFF", driver_name=self.library,  # type: ignore[arg-type]
        )  # fmt: skip
        self.foreign = self.replica._database.watch()
        keep_time(self.foreign, self.now_us)

    def close(self) -> None:
        self.foreign.close()
        self.replica.close()

    def run(self, statements: list[Statement]) -> bool:
        """One transaction; whether it was committed."""
        before = orphans_of(self)
        try:
            with written(self.world, self.rows), self.replica.transaction() as db:
                for sql, params in statements:
                    db.execute(sql, params)
        except ConstraintFailed:
            self.world.count["local constraint"] += 1
            return False
        after = orphans_of(self) if before else before
        if len(after) <= len(before) and not before <= after:
            self.foreign_orphans |= after - before
            self.world.count["orphan let through"] += bool(after - before)
        return True

    def rows(self, sql: str, *params: Any) -> list[Row]:
        return self.foreign.execute(sql, params)

    def dump(self) -> Dump:
        return dump(self.rows)

    def is_comparing(self) -> bool:
        """Whether it has been told that it differs, and has not yet found out where."""
        return bool(
            self.rows(
                "SELECT 1 FROM holdfast_scope "
                "WHERE (count, digest) <> (server_count, server_digest)"
            )
        )

    def transactions(self) -> dict[int, tuple[str, str, int, int]]:
        """Number to id, state, held_by and replaces."""
        return {
            int(number): (id_, state, held_by, replaces)
            for number, id_, state, held_by, replaces in self.rows(
                "SELECT number, id, state, held_by, replaces FROM holdfast_tx"
            )
        }

    def set_aside(self) -> set[int]:
        """Numbers of the transactions that the device says it cannot show now."""
        return {
            int(number) for (number,) in self.rows("SELECT number FROM holdfast_tx WHERE aside > 0")
        }

    def work_and_rows(self) -> object:
        """What no sync changes any more when the device is at rest."""
        return self.rows("SELECT * FROM holdfast_log"), self.transactions(), self.dump()

    def some_work(self) -> list[Statement]:
        """Mostly what the device may do, now and then what it may not."""
        seen = self.dump()
        stores: tuple[str, ...] = STORES
        if self.work.dice.random() > 0.06:
            stores = tuple(s for s in STORES if self.principal.may_write(f"store/{s}")) or STORES
            seen = {
                table: {key: row for key, row in rows.items() if self.may_write(table, row)}
                for table, rows in seen.items()
            }
        return self.work.transaction(seen, stores, self.now_us())

    def may_write(self, table: str, row: Row) -> bool:
        return all(self.principal.may_write(scope) for scope in scopes(table, row))

    def _check_chains(self, fresh: list[Transaction]) -> None:
        """I9, I18: work on own unsettled work says so, and claims to have seen no more."""
        builds_on: dict[int, set[int]] = {}
        for position, later in enumerate(fresh):
            builds_on[later.number] = set(later.after).union(
                *(builds_on.get(number, set()) for number in later.after)
            )
            for change in later.changes:
                bases: dict[str, int] = {}
                on, needed = builds_on[later.number], set[int]()
                for earlier in fresh[:position]:
                    for first in earlier.changes:
                        if (first.table, first.key) == (change.table, change.key):
                            if first.op != "update":
                                needed = set()
                            if rests_on_row(change, first):
                                needed.add(earlier.number)
                            bases |= {
                                n: first.bases.get(n, first.base)
                                for n in says_of(first)
                                if policy_of(EVERY[first.table].by_name[n]).inherits
                            }
                            self.world.count["work on pending work"] += 1
                assert needed <= on, f"I9: {later} on {needed}"
                for name in says_of(change) & bases.keys():
                    assert change.bases.get(name, change.base) == bases[name], f"I18: {change}"

    def note_request(self, request: ExchangeRequest) -> list[int]:
        """Take a request into the ledger; the numbers that it is the first to send."""
        ledger = self.world.ledger
        fresh = [t for t in request.transactions if (self.name, t.number) not in ledger.sent]
        self._check_chains(fresh)
        for transaction in request.transactions:
            place = self.name, transaction.number
            known = ledger.sent.setdefault(place, transaction)
            assert is_again(known, transaction), f"{place}: {transaction}, {known}"
            assert ledger.ids.setdefault(place, transaction.id) == transaction.id
            self.readable_tokens |= tokens([transaction_values(transaction)])
        return [transaction.number for transaction in fresh]


def says_of(change: Change) -> set[str]:
    """The columns a change is about: of a row that comes, those that have more than a default; of
    one that goes, all."""
    columns = EVERY[change.table].data_columns
    if change.op == "insert":
        defaults = {c.name: wire_default(c) for c in columns}
        chosen = {name for name, value in defaults.items() if change.new.get(name, value) != value}
        return chosen.union(*(EVERY[change.table].group_of.get(name, ()) for name in chosen))
    return set(change.new) if change.op == "update" else {column.name for column in columns}


def wire_default(column: Column) -> Any:
    return to_wire(column.type, column.default_value())


def default_of(table: Table, cell: str) -> Any:
    """The default of a column, or of a group, as the journal tells it."""
    if cell in table.by_name:
        return wire_default(table.by_name[cell])
    return {name: wire_default(table.by_name[name]) for name in cell.split(",")}


def cells_of(table: Table, columns: set[str]) -> set[str]:
    """Columns, and the groups that are all among them."""
    return columns | {",".join(group) for group in table.groups if columns.issuperset(group)}


def transaction_values(transaction: Transaction) -> list[Any]:
    return [[change.key, change.new, change.old] for change in transaction.changes]


def incarnation(now_us: int) -> bytes:
    """Those of one day are all alike, so that `again` can give rows the same revisions."""
    return ((now_us - START_US) // DAY_US).to_bytes(3, "big")
