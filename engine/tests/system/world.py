"""A world in one process: a real server, real replicas, a bad network, wrong clocks, from one seed.

Knows: how to do a step and what was done. Must not know: what must hold afterwards (``checks``).
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from bazaar import (
    RULES,
    SCHEMA,
    STORES,
    TABLES,
    Dump,
    Row,
    Statement,
    Work,
    bulk,
    dump,
    first_rows,
    scopes,
    tokens,
)
from device import (
    DAY_US,
    PRINCIPALS,
    SECOND_US,
    START_US,
    YEAR_US,
    Device,
    Event,
    Ledger,
    Options,
    incarnation,
    transaction_values,
)
from purses import has_purses, some_move
from readers import orphans_of
from shell import FastDriver, run_foreign, shell

from holdfast.core.errors import (
    BadValue,
    ConstraintFailed,
    DatabaseError,
    Offline,
    ProtocolError,
    UsageError,
)
from holdfast.protocol.codec import decode_request, encode_line
from holdfast.protocol.messages import (
    Checkpoint,
    ExchangeRequest,
    Gone,
    Head,
    RangeAnswer,
    Rows,
    VerifyRequest,
)
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service
from holdfast.server.store.sqlite.store import SqliteStore
from holdfast.sqlite import OpenOptions, driver


class World:
    """Everything, and the steps it can take."""

    def __init__(self, folder: Path, seed: int | str, options: Options | None = None) -> None:
        self.folder = folder
        self.seed = seed
        self.options = options or Options()
        self.plan = random.Random(f"{seed}/plan")
        self.net = random.Random(f"{seed}/net")
        self.server_dice = random.Random(f"{seed}/server")
        self.purse_dice = random.Random(f"{seed}/purses")
        self.bulk_dice = random.Random(f"{seed}/bulk")
        self.back_office = Work(random.Random(f"{seed}/office"), itertools.count(1, 2))
        self.numbers = itertools.count(2, 2)
        self.now = START_US
        self.faults = self.options.faults
        self.count: Counter[str] = Counter()
        self.ledger = Ledger()
        self.late: list[tuple[Device, bytes, Any]] = []
        self.committed = 0
        self.commits = 0
        self.trace: list[str] = []
        self.server_tokens: set[str] = set()
        self.journal_before: Counter[str] = Counter()
        self.last_seen: dict[tuple[str, str], Row] = {}
        self.told: set[tuple[str, int]] = set()
        self._open_server()
        self.outside = driver().connect(str(folder / "server.db"), OpenOptions(synchronous="OFF"))
        self.latest = self._dump_server()
        self._write_directly(first_rows(self.back_office))
        self.devices = [self._device(number) for number in range(self.options.devices)]
        for device in self.devices:
            device.open()

    # Parts

    def _open_server(self) -> None:
        self.store = SqliteStore(
            str(self.folder / "server.db"), SCHEMA, random_bytes=self._random_bytes,
            sqlite=FastDriver(),
        )  # fmt: skip
        self.service = Service(
            SCHEMA, self.store, rules=RULES, now_us=lambda: self.now,
            random_bytes=self._random_bytes, on_commit=self._on_commit,
            budgets=self.options.budgets,
        )  # fmt: skip

    def _random_bytes(self, count: int) -> bytes:
        return incarnation(self.now) if count == 3 else self.server_dice.randbytes(count)

    def _device(self, number: int) -> Device:
        principal = PRINCIPALS[number]
        return Device(
            world=self,
            name=principal.device,
            principal=principal,
            path=self.folder / f"{principal.device}.db",
            library=self.options.drivers[number],
            skew_us=self.options.skews[number],
            random=random.Random(f"{self.seed}/{number}/device"),
            work=Work(random.Random(f"{self.seed}/{number}/work"), self.numbers),
        )

    def close(self) -> None:
        for device in self.devices:
            device.close()
        self.outside.close()
        self.service.close()

    # The server

    def server_rows(self, sql: str, *params: Any) -> list[Row]:
        return self.outside.execute(sql, params)

    def _dump_server(self) -> Dump:
        return dump(self.server_rows)

    def _on_commit(self, versions: Any) -> None:
        before, self.latest = self.latest, self._dump_server()
        self.commits += 1
        self._note_changes(before)
        for scope, version in versions.items():
            self.committed += 1
            self.ledger.history[scope, version] = {
                table: {key: row for key, row in rows.items() if scope in scopes(table, row)}
                for table, rows in self.latest.items()
            }
        for key, row in self.latest["holdfast_conflict"].items():
            if key not in self.ledger.conflicts:
                self.ledger.conflicts[key] = row
                self.count["conflict opened"] += 1
                self.count[f"conflict about {'a delete' if row[5] == 'delete' else 'an edit'}"] += 1
        self.server_tokens |= tokens(self.latest)
        self.note_readable()

    def _note_changes(self, before: Dump) -> None:
        for table, rows in self.latest.items():
            for key, row in rows.items():
                old = before[table].get(key)
                if old is None and tokens(row) & tokens(self.last_seen.get((table, key))):
                    self.count["edit revived a row"] += 1
                self.last_seen[table, key] = row
                if old is not None and scopes(table, old) != scopes(table, row):
                    self.count["row moved between scopes"] += 1
        for key, row in self.latest["holdfast_conflict"].items():
            old = before["holdfast_conflict"].get(key)
            if old is not None and row[15] == "open" and (row[7], row[10]) != (old[7], old[10]):
                self.count["conflict reopened"] += 1

    def readable(self, principal: Principal) -> Iterator[tuple[str, str, Row]]:
        for table, rows in self.latest.items():
            for key, row in rows.items():
                if any(principal.may_read(scope) for scope in scopes(table, row)):
                    yield table, key, row

    def note_readable(self) -> None:
        for device in getattr(self, "devices", ()):
            for table, key, row in self.readable(device.principal):
                device.readable_tokens |= tokens(row)
                device.readable_keys.add((table, key))

    def serve(self, device: Device, body: bytes, kind: Any, echo: str) -> list[bytes]:
        """One request reaches the server; its answer as lines, checked for what it gives away."""
        message = decode_request(body, kind)
        event = Event("exchange", self.now, device.principal)
        before = self.commits
        try:
            if isinstance(message, ExchangeRequest):
                event.request = message
                answer = self.service.exchange(device.principal, message, echo=echo)
            else:
                assert isinstance(message, VerifyRequest)
                answer = self.service.verify(device.principal, message, echo=echo)
        except ProtocolError:
            if self.commits > before:  # it took in direct writes before it looked closer
                self.ledger.events.append(Event("poll", self.now, device.principal))
            raise
        self.ledger.events.append(event)
        own = {t for (name, _), tx in self.ledger.sent.items() if name == device.name
               for t in tokens([transaction_values(tx)])}  # fmt: skip
        lines = []
        with contextlib.closing(answer):  # type: ignore[type-var]
            allowed: set[str] | None = None
            for line in answer:
                raw = encode_line(line)
                lines.append(raw)
                if isinstance(line, Head) and event.request is not None:
                    event.request = self._decided_only(event.request, line)
                    self.count["push in bites"] += self.commits > before + 1
                if allowed is None:
                    allowed = own | tokens([row for _, _, row in self.readable(device.principal)])
                leaked = tokens(raw) - allowed
                assert not leaked, f"I23: {device.name} was told {leaked}"
                self._check_line(device, line)
        return lines

    def _decided_only(self, request: ExchangeRequest, head: Head) -> ExchangeRequest:
        """I9: what an answer tells of is the beginning of what was sent, in order."""
        told = [outcome.number for outcome in head.outcomes]
        assert told == [t.number for t in request.transactions[: len(told)]], "I9"
        self.count["outcomes so far"] += len(told) < len(request.transactions)
        return msgspec.structs.replace(request, transactions=request.transactions[: len(told)])

    def _check_line(self, device: Device, line: Any) -> None:
        told: list[tuple[str, str]] = []
        match line:
            case Gone():
                told = [(line.table, key) for key in line.keys]
                self.count["row gone"] += 1
            case RangeAnswer():
                told = [(table, key) for table, key, _, _ in line.leaf]
                assert all(self.latest[t].get(k) is not None for t, k in told), "I23"
            case Head():
                assert all(device.principal.may_read(scope) for scope in line.scopes), "I23"
            case Checkpoint():
                assert all(device.principal.may_read(scope) for scope in line.scopes), "I23"
            case Rows():
                pass
        extra = {place for place in told if place not in device.readable_keys}
        if isinstance(line, Gone) and extra and device.verifying:
            return  # it answers what was asked
        assert not extra, f"I23: {device.name} was told of {extra}"

    # Time and the network

    def pass_time(self) -> None:
        if self.options.latency:
            self.now += self.net.randrange(1_000, 400_000)

    def fault(self) -> str:
        if not self.faults:
            return ""
        roll = self.net.random()
        for share, name in (
            (0.08, "drop"), (0.12, "lose"), (0.06, "cut"), (0.08, "repeat"),
            (0.08, "late"), (0.04, "old"),
        ):  # fmt: skip
            if roll < share:
                self.count[f"fault {name}"] += 1
                return name
            roll -= share
        return ""

    # Steps

    def step(self) -> str:
        """Do one random thing; its name."""
        self.now += self.plan.randrange(2, 30) * SECOND_US
        device = self.plan.choice(self.devices)
        steps: list[tuple[int, str, Callable[[Device], object]]] = [
            (34, "write", self.write),
            (28, "sync", self.sync),
            (10, "race", self.race),
            (9, "resolve", self.resolve),
            (4, "retry", self.retry),
            (3, "discard", self.discard),
            (3, "verify", self.verify),
            (2, "reopen server", self.reopen_server),
            (3, "reopen replica", self.reopen_replica),
            (4, "late request", self.deliver_late),
        ]
        if self.options.foreign:
            steps.append((9, "foreign write", self.foreign_write))
        if self.options.direct:
            steps.append((7, "direct write", self.direct_write))
        if self.options.revocations:
            steps.append((4, "revoke or return", self.change_rights))
        if self.options.purges:
            steps.append((2, "absence", self.absence))
        if self.options.jumps:
            steps.append((3, "clock jump", self.jump))
        ((_, name, act),) = self.plan.choices(steps, weights=[weight for weight, _, _ in steps])
        self.trace.append(f"{name} {device.name}")
        act(device)
        self.count[name] += 1
        return name

    def write(self, device: Device) -> None:
        self._run(device, device.some_work())

    def _run(self, device: Device, statements: list[Statement]) -> bool:
        try:
            with device.replica.transaction() as db:
                for sql, params in statements:
                    db.execute(sql, params)
        except ConstraintFailed:
            self.count["local constraint"] += 1
            return False
        return True

    def move(self, device: Device) -> bool:
        """Coins go from one purse to another, if there are that many."""
        statements = some_move(device, self.purse_dice)
        if not has_purses(device) or not self._run(device, statements):
            return False
        device.made_slips.add(statements[1][1][0])
        self.count["moved"] += 1
        return True

    def moves(self) -> None:
        """Between two steps, whatever these are: devices move coins, the back office many rows."""
        for device in self.devices:
            if self.purse_dice.random() < 0.05:
                self.move(device)

        if self.options.direct and self.bulk_dice.random() < 0.05:
            statement = bulk(self.bulk_dice, self.back_office)
            self.count["bulk direct write"] += self._write_directly([statement])

    def meanwhile(self, device: Device) -> None:
        """Something is written while an answer is on its way to the device."""
        if self.faults and self.purse_dice.random() < 0.2:
            self.count["written meanwhile"] += self.move(device)

    def foreign_write(self, device: Device) -> None:
        statements = device.some_work()
        if device.work.dice.random() < 0.15:
            for _ in range(device.work.dice.randrange(1, 5)):
                run_foreign(device.foreign, device.some_work())
            run_foreign(device.foreign, [self.refusable(device)])
            self.count["written with a bad row"] += 1
        if self.options.foreign and device.work.dice.random() < 0.2:
            shell(device.path, statements)
            self.count["written by another process"] += 1
        else:
            run_foreign(device.foreign, statements)
        device.foreign_orphans |= orphans_of(device)

    def refusable(self, device: Device) -> Statement:
        """An item of which a rule will not hear."""
        store = next((s for s in STORES if device.principal.may_write(f"store/{s}")), STORES[0])
        key = f"bad{device.work.dice.getrandbits(32):08x}"
        return "INSERT INTO item (id, store, name) VALUES (?, ?, ?)", (key, store, "no!")

    def sync(self, device: Device) -> None:
        before, answered = device.dump(), device.line.answered
        written = self.count["written meanwhile"]
        try:
            report = device.replica.sync()
        except Offline:
            if device.line.answered == answered and written == self.count["written meanwhile"]:
                assert device.dump() == before, "I15: a sync that failed changed what is seen"
            return
        self.count["synced"] += 1
        device.ahead = False
        self.note_held(device)
        self.count["held"] += report.held
        for item in device.replica.refused():
            place = device.name, item.number
            if item.state == "refused" and place not in self.told:
                self.told.add(place)
                self.count[f"refused {item.code}"] += 1
        self.count["rows reconciled"] += report.reconciled_rows
        assert report.verified, f"{device.name} differs after a sync: {report}"
        assert report.repaired_rows == 0, "a sync had to repair rows"

    def verify(self, device: Device) -> None:
        away = self.has_missed_removals(device)
        device.ahead |= bool(device.rows("SELECT 1 FROM holdfast_tx WHERE state = 'sent'"))
        device.verifying = True
        try:
            report = device.replica.verify()
        except Offline:
            return
        finally:
            device.verifying = False
        self.count["reconciled by a verify"] += bool(report.repaired)
        assert report.ok and not report.damaged, f"{device.name}: {report}"
        assert away or not report.repaired, f"{device.name}: {report}"

    def has_missed_removals(self, device: Device) -> bool:
        """Whether it is below a floor, or has not yet compared after it was."""
        floors = dict(self.server_rows("SELECT scope, floor FROM holdfast_scope"))
        return device.is_comparing() or any(
            0 < version < floors.get(scope, 0)
            for scope, version in device.rows("SELECT scope, version FROM holdfast_scope")
        )

    def race(self, device: Device) -> None:  # noqa: C901, PLR0912 - one story of two hands
        """Two devices want the same thing at once."""
        other = self.plan.choice([d for d in self.devices if d is not device])
        mine, theirs = device.dump(), other.dump()
        kind = self.plan.choice(("edit", "edit", "delete", "delete", "unique", "settle", "move"))
        names = (
            ("product", "item") if kind == "unique" else ("product", "item", "part", "memo", "task")
        )
        if kind == "delete" and self.plan.random() < 0.4:
            names = ("memo",)
        if kind == "move":
            names = ("task", "item", "memo")
        name = self.plan.choice(names)
        common = [key for key in sorted(mine[name].keys() & theirs[name].keys())
                  if device.may_write(name, mine[name][key])
                  and other.may_write(name, theirs[name][key])]  # fmt: skip
        if not common:
            return
        key = self.plan.choice(common)
        table = TABLES[name]
        column = self.plan.choice(table.data_columns)
        if kind == "settle":
            open_ = {c.id: c for c in device.replica.conflicts() if c.column}
            if not open_ or not self.resolve(device):
                return
            conflict = self.plan.choice([open_[id_] for id_ in sorted(open_)])
            name, key = conflict.table, conflict.key
            table = TABLES[name]
            column = table.by_name[conflict.column]
            mine = device.dump()
            if key not in theirs[name] or key not in mine[name]:
                return
        elif kind != "unique":
            column = self.plan.choice([c for c in table.data_columns if c.name != "store"])
            if self.plan.random() < 0.5:
                column = next((c for c in table.data_columns if c.merge == "manual"), column)
            if name == "memo":
                column = table.by_name["body"]
        sku = f"race{self.plan.randrange(3)}"
        for who, seen in ((device, mine), (other, theirs)):
            row = seen[name][key]
            where, values = who.work.where(name, row)
            if kind == "unique":
                rows = [r for r in seen[name].values() if r[1] == row[1] or name == "product"]
                where, values = who.work.where(name, rows[-1 if who is device else 0])
                statement: Statement = (f"UPDATE {name} SET sku = ? WHERE {where}", (sku, *values))
            elif kind == "move" and who is device:
                stores = [s for s in STORES if who.principal.may_write(f"store/{s}")]
                statement = (
                    f"UPDATE {name} SET store = ? WHERE {where}",
                    (self.plan.choice(stores), *values),
                )
            elif kind == "delete" and who is other:
                statement = (f"DELETE FROM {name} WHERE {where}", values)
            elif kind == "settle" and who is device:
                continue
            else:
                new = who.work.value(name, column, seen, STORES[:1], who.now_us())
                statement = (f"UPDATE {name} SET {column.name} = ? WHERE {where}", (new, *values))
            self._run(who, [statement])
        first, second = (device, other) if self.plan.random() < 0.3 else (other, device)
        self.sync(first)
        if self.plan.random() < 0.5:
            self.verify(second)
            self.note_held(second)
        self.sync(second)

    def note_held(self, device: Device) -> None:
        for (code,) in device.rows("SELECT code FROM holdfast_tx WHERE aside > 0"):
            self.count[f"set aside at replay: {code}"] += 1

    def resolve(self, device: Device) -> bool:
        open_ = device.replica.conflicts()
        if not open_:
            return False
        conflict = device.work.dice.choice(open_)
        keep: Any = device.work.dice.choice(("device", "server", None))
        value = None
        if conflict.kind != "delete" and keep is None:
            value = "7.25" if conflict.column == "price" else device.work.token()
        if conflict.kind == "delete":
            keep = keep or "device"
        self.ledger.overwritten |= tokens(
            [conflict.base, conflict.device_value, conflict.server_value]
        )
        self.ledger.overwritten |= tokens(list(device.dump()[conflict.table].values()))
        try:
            device.replica.resolve(conflict.id, keep=keep, value=value)
            self.count["settled by a person"] += 1
        except (ConstraintFailed, BadValue):
            self.count["settlement failed locally"] += 1
        return True

    def retry(self, device: Device) -> None:
        waiting = [item for item in device.replica.refused() if not item.set_aside]
        if not waiting:
            return
        try:
            made = device.replica.retry(device.work.dice.choice(waiting).id)
        except ConstraintFailed:
            self.count["retry failed locally"] += 1
            return
        except UsageError as error:
            if error.code != "no_row":
                raise
            self.count["retry of a change of a row that is gone"] += 1
            return
        self.count["retried"] += len(made)
        self._note_dropped(device, {item.number for item in waiting})

    def discard(self, device: Device) -> None:
        waiting = [item for item in device.replica.refused() if not item.set_aside]
        if not waiting:
            return
        item = device.work.dice.choice(waiting).id
        foreseen = device.replica.if_discarded(item)
        assert device.replica.discard(item) == foreseen
        self.count["freed by a discard"] += len(foreseen.numbers)
        self.count["kept at a discard"] += len(foreseen.kept)
        self._note_dropped(device, {item.number for item in waiting})
        self.count["discarded"] += 1

    def _note_dropped(self, device: Device, waiting: set[int]) -> None:
        for number in waiting - device.transactions().keys():
            self.ledger.dropped.add((device.name, number))

    def note_freed(self, device: Device) -> None:
        """What has left the inbox by itself: groups of foreign writes that were taken apart, and
        what was held by nothing but what had left before."""
        waiting = device.transactions()
        replaced = {replaces for _, _, _, replaces in waiting.values()}
        replaced |= {
            tx.replaces for (name, _), tx in self.ledger.sent.items() if name == device.name
        }
        outcomes = {**self.ledger.forgotten, **server_outcomes(self.server_rows)}
        for (name, number), (_, outcome, _) in sorted(outcomes.items()):
            place = name, number
            if name != device.name or number in waiting or place in self.ledger.dropped:
                continue
            if outcome == "refused":
                assert number in replaced, f"I4: {place} has left the inbox"
                self.ledger.dropped.add(place)
                self.count["taken apart"] += 1
            if outcome == "held":
                causes = [
                    (name, n) for n in self.ledger.sent[place].after
                    if outcomes.get((name, n), ("", "applied"))[1] != "applied"
                ]  # fmt: skip
                assert all(cause in self.ledger.dropped for cause in causes), f"I4: {place}"
                self.ledger.dropped.add(place)
                self.count["went on by itself"] += 1

    def reopen_server(self, _device: Device) -> None:
        self.service.close()
        self.ledger.events.append(Event("reopen", self.now))
        self._open_server()
        for device in self.devices:
            device.line._service = self.service

    def reopen_replica(self, device: Device) -> None:
        device.close()
        device.open()

    def deliver_late(self, _device: Device) -> None:
        if not self.late:
            return
        device, body, kind = self.late.pop(self.net.randrange(len(self.late)))
        self.count["request repeated later"] += 1
        with contextlib.suppress(ProtocolError):
            self.serve(device, body, kind, "late")

    def direct_write(self, _device: Device) -> None:
        work = self.back_office
        if not self._write_directly(work.transaction(self._dump_server(), STORES, self.now)):
            return
        self.count["direct write that counts"] += 1
        if work.dice.random() < 0.4:
            self.service.poll_foreign_writes()
            self.ledger.events.append(Event("poll", self.now))

    def _write_directly(self, statements: list[Statement]) -> bool:
        before = self._dump_server()
        try:
            self.outside.execute("BEGIN IMMEDIATE")
            for sql, params in statements:
                self.outside.execute(sql, params)
            self.outside.execute("COMMIT")
        except DatabaseError:
            if self.outside.in_transaction:
                self.outside.execute("ROLLBACK")
            return False
        after = self._dump_server()
        self.ledger.events.append(Event("direct", self.now, statements=statements))
        for found in (before, after):  # an open conflict may still show what stood until now
            del found["holdfast_conflict"]
        self.ledger.overwritten |= tokens(before) - tokens(after)
        for name, table in TABLES.items():
            for key in before.get(name, {}).keys() & after.get(name, {}).keys():
                cells = zip(table.columns, before[name][key], after[name][key], strict=True)
                self.ledger.cleared |= {
                    (name, key, column.name)
                    for column, was, now in cells
                    if now != was and now == column.default_value()
                }
        for key, row in after["tally"].items():
            old = before["tally"].get(key)
            self.ledger.direct[row[0]] += row[2] - (0 if old is None else old[2])
        return True

    def absence(self, device: Device) -> None:
        """While a device is away, rows go that it holds, perhaps with work of its own on them, and
        longer than their removal is remembered; perhaps their keys are taken again."""
        other = self.plan.choice([d for d in self.devices if d is not device])
        seen, mine = other.dump(), device.dump()
        common = [(name, key) for name in ("memo", "task", "item", "part")
                  for key in sorted(seen[name].keys() & mine[name].keys())
                  if other.may_write(name, seen[name][key])]  # fmt: skip
        chosen = self.plan.sample(common, min(len(common), 3))
        for name, key in chosen:
            where, values = other.work.where(name, seen[name][key])
            self._run(other, [(f"DELETE FROM {name} WHERE {where}", values)])
        self.sync(other)
        for name, key in chosen[:2]:
            where, values = device.work.where(name, mine[name][key])
            column = self.plan.choice(TABLES[name].data_columns)
            new = device.work.value(name, column, mine, STORES[:1], device.now_us())
            self._run(device, [(f"UPDATE {name} SET {column.name} = ? WHERE {where}",
                                (new, *values))])  # fmt: skip
        self._purge()
        self.now += self.plan.choice((20, 190, 190, 420)) * DAY_US
        self._purge()
        if self.plan.random() < 0.5:
            for name, key in chosen:
                self._run(other, [self._made_again(other, name, seen[name][key])])
            self.sync(other)
        self.sync(device)

    def _made_again(self, who: Device, name: str, row: Row) -> Statement:
        """Another row with the key of one that was purged."""
        table, seen = TABLES[name], who.dump()
        fixed = {*table.key, "store"}
        values = [
            value if column.name in fixed
            else who.work.value(name, column, seen, STORES[:1], who.now_us())
            for column, value in zip(table.columns, row, strict=True)
        ]  # fmt: skip
        columns, marks = ", ".join(table.column_names), ", ".join("?" * len(values))
        return f"INSERT INTO {name} ({columns}) VALUES ({marks})", tuple(values)

    def _purge(self) -> None:
        for (entry,) in self.server_rows("SELECT entry FROM holdfast_journal"):
            self.ledger.overwritten |= tokens(entry)
        for (image,) in self.server_rows("SELECT image FROM holdfast_row WHERE image IS NOT NULL"):
            self.ledger.overwritten |= tokens(image)
        journal = self._journal_kinds()
        before = server_outcomes(self.server_rows)
        self.ledger.events.append(Event("purge", self.now))
        done = self.service.purge()
        assert done.whole
        self.ledger.forgotten.update(
            {k: v for k, v in before.items() if k not in server_outcomes(self.server_rows)}
        )
        self.journal_before += journal - self._journal_kinds()
        for name in ("removals", "rows", "positions", "numbers", "journal"):
            self.count[f"forgot {name}"] += getattr(done, name)

    def _journal_kinds(self) -> Counter[str]:
        return Counter(
            dict(self.server_rows("SELECT kind, count(*) FROM holdfast_journal GROUP BY 1"))
        )

    def change_rights(self, device: Device) -> None:
        full = next(p for p in PRINCIPALS if p.device == device.name)
        if device.principal == full:
            taken = self.plan.choice((*full.read, *full.write))
            device.principal = replace(
                full,
                read=tuple(s for s in full.read if s != taken),
                write=tuple(s for s in full.write if s != taken),
            )
            if self.plan.random() < 0.3 and taken != "store/*":  # read only from now on
                device.principal = replace(device.principal, read=(*device.principal.read, taken))
            self.count["revoked"] += 1
        else:
            device.principal = full
            self.count["returned"] += 1
        self.note_readable()

    def jump(self, device: Device) -> None:
        device.skew_us = self.plan.choice((-1, 1)) * self.plan.choice(
            (0, 3 * SECOND_US, 3600 * SECOND_US, YEAR_US)
        )

    # The end

    def count_what_happened(self) -> None:
        """What only shows in the server's tables."""
        for kind, number in (self.journal_before + self._journal_kinds()).items():
            self.count[f"journal {kind}"] += number
        self.count["conflict settled"] += sum(
            row[15] == "settled" for row in self.latest["holdfast_conflict"].values()
        )

    def heal(self, rounds: int = 14) -> None:
        """The network heals; everybody syncs until it is quiet."""
        self.faults = False
        self.options.jumps = False
        self.service.poll_foreign_writes()  # of scopes that nobody asks for, too
        self.ledger.events.append(Event("poll", self.now))
        for _ in range(rounds):
            before = [device.work_and_rows() for device in self.devices]
            for device in self.devices:
                self.now += SECOND_US
                self.sync(device)
            if before == [device.work_and_rows() for device in self.devices]:
                return
        raise AssertionError("I29: it does not come to rest")


def server_outcomes(
    rows: Callable[..., list[Row]],
) -> dict[tuple[str, int], tuple[str, str, int]]:
    """Device and number to id, outcome and whether it was settled by another; what the server has
    not forgotten."""
    return {
        (str(device), number): (bytes(id_).hex(), str(outcome), settled)
        for device, number, id_, outcome, settled in rows(
            "SELECT device, number, id, outcome, settled FROM holdfast_applied"
        )
    }
