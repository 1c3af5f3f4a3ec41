"""A world in one process: a real server, real replicas, a bad network, wrong clocks, from one seed.

Knows: what is in it, and what was done to the server and told by it. Must not know: what may happen
(``acts``, ``stories``, ``chance``), or what must hold afterwards (``checks``).
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from baskets import Account, first_baskets, note_commit
from bazaar import (
    RULES,
    TABLES,
    Dump,
    Row,
    Statement,
    Work,
    dump,
    first_rows,
    scopes,
    tokens,
)
from device import (
    PRINCIPALS,
    START_US,
    Device,
    Event,
    Ledger,
    Options,
    cells_of,
    incarnation,
    transaction_values,
)
from growth import GENERATIONS, whole
from offers import written
from servers import SqliteFile

from holdfast.core.errors import ProtocolError
from holdfast.protocol.codec import decode_request, encode_line
from holdfast.protocol.messages import (
    Checkpoint,
    ExchangeRequest,
    Gone,
    Head,
    RangeAnswer,
    VerifyRequest,
)
from holdfast.server.identity.principal import Principal
from holdfast.server.service import Service


class World:
    """Everything there is, and what is known of what was done."""

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
        self.generation = 1
        self.database = self.options.database or SqliteFile(folder / "server.db")
        self._open_server()
        self.database.connect()
        self.offer_dice = random.Random(f"{seed}/offers")
        self.basket_dice = random.Random(f"{seed}/baskets")
        self.account = Account()
        self.growth_dice = random.Random(f"{seed}/growth")
        self.growth_numbers = itertools.count(1)
        self.story_dice = random.Random(f"{seed}/stories")
        self.aside_dice = random.Random(f"{seed}/asides")
        self.forced_fault = ""
        self.latest = self.dump_server()
        self.write_directly(first_rows(self.back_office))
        if self.options.sets:
            self.write_directly(first_baskets())
        self.devices = [self._device(number) for number in range(self.options.devices)]
        for device in self.devices:
            device.open()

    # Parts

    def _open_server(self) -> None:
        schema = GENERATIONS[self.generation]
        self.store = self.database.open(self._random_bytes, schema)
        self.service = Service(
            schema, self.store, rules=RULES, now_us=lambda: self.now,
            random_bytes=self._random_bytes, on_commit=self._on_commit,
            budgets=self.options.budgets,
        ).begin()  # fmt: skip

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

    def reopen_server(self) -> None:
        self.service.close()
        self.ledger.events.append(Event("reopen", self.now, generation=self.generation))
        self._open_server()
        for device in self.devices:
            device.line._service = self.service

    def close(self) -> None:
        for device in self.devices:
            device.close()
        self.database.close()
        self.service.close()

    # The server

    def server_rows(self, sql: str, *params: Any) -> list[Row]:
        return self.database.rows(sql, params)

    def dump_server(self) -> Dump:
        return dump(self.server_rows)

    def _on_commit(self, versions: Any) -> None:
        before, self.latest = self.latest, self.dump_server()
        self.commits += 1
        self._note_changes(before)
        if self.options.sets:
            note_commit(self, server_outcomes(self.server_rows))
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
                self.ledger.events.append(Event("poll", self.now, device.principal, event.request))
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
                told = [(line.table, key) for key in line.keys if line.table in TABLES]
                self.count["row gone"] += 1
            case RangeAnswer():
                told = [(table, key) for table, key, _, _ in line.leaf if table in TABLES]
                assert all(self.latest[t].get(k) is not None for t, k in told), "I23"
            case Head():
                assert all(device.principal.may_read(scope) for scope in line.scopes), "I23"
            case Checkpoint():
                assert all(device.principal.may_read(scope) for scope in line.scopes), "I23"
            case _:
                pass  # a row says by itself who may see it
        extra = {place for place in told if place not in device.readable_keys}
        if isinstance(line, Gone) and extra and device.verifying:
            return  # it answers what was asked
        assert not extra, f"I23: {device.name} was told of {extra}"

    # Time and the network

    def pass_time(self) -> None:
        if self.options.latency:
            self.now += self.net.randrange(1_000, 400_000)

    def fault(self) -> str:
        if self.forced_fault:
            name, self.forced_fault = self.forced_fault, ""
            return name
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

    def has_missed_removals(self, device: Device) -> bool:
        """Whether it is below a floor, or has not yet compared after it was."""
        floors: dict[str, int] = dict(self.server_rows("SELECT scope, floor FROM holdfast_scope"))
        return device.is_comparing() or any(
            0 < version < floors.get(scope, 0)
            for scope, version in device.rows("SELECT scope, version FROM holdfast_scope")
        )

    def note_held(self, device: Device) -> None:
        for (code,) in device.rows("SELECT code FROM holdfast_tx WHERE aside > 0"):
            self.count[f"set aside at replay: {code}"] += 1

    def note_dropped(self, device: Device, waiting: set[int]) -> None:
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

    def write_directly(self, statements: list[Statement]) -> bool:
        before, were = self.dump_server(), self._whole()
        with written(self, self.server_rows):
            if not self.database.write(statements):
                return False
        after = self.dump_server()
        self._note_cleared(were, self._whole())
        self.ledger.events.append(Event("direct", self.now, statements=statements))
        for found in (before, after):  # an open conflict may still show what stood until now
            del found["holdfast_conflict"]
        self.ledger.overwritten |= tokens(before) - tokens(after)
        for key, row in after["tally"].items():
            old = before["tally"].get(key)
            self.ledger.direct[row[0]] += row[2] - (0 if old is None else old[2])
        return True

    def _whole(self) -> Dump:
        """The server's tables with all columns that they have by now."""
        return whole(self.server_rows, self.generation)

    def _note_cleared(self, before: Dump, after: Dump) -> None:
        """Note where a direct write put a default in place of a value: also in columns that its
        statement does not name, where it writes the row anew (``INSERT OR REPLACE``)."""
        for table in GENERATIONS[self.generation].tables:
            name = table.name
            for key in before[name].keys() & after[name].keys():
                cells = zip(table.columns, before[name][key], after[name][key], strict=True)
                changed, defaults = set[str](), set[str]()
                for column, was, now in cells:
                    changed |= {column.name} if now != was else set()
                    defaults |= {column.name} if now == column.default_value() else set()
                self.ledger.cleared |= {
                    (name, key, cell)
                    for cell in cells_of(table, defaults)
                    if not changed.isdisjoint(cell.split(","))
                }

    def purge(self) -> None:
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

    def count_what_happened(self) -> None:
        """What only shows in the server's tables."""
        for kind, number in (self.journal_before + self._journal_kinds()).items():
            self.count[f"journal {kind}"] += number
        self.count["conflict settled"] += sum(
            row[15] == "settled" for row in self.latest["holdfast_conflict"].values()
        )


def server_outcomes(
    rows: Callable[..., list[Row]],
) -> dict[tuple[str, int], tuple[str, str, int]]:
    """Replica and number to id, outcome and whether it was settled by another; what the server has
    not forgotten."""
    return {
        (str(device), number): (bytes(id_).hex(), str(outcome), settled)
        for device, number, id_, outcome, settled in rows(
            "SELECT r.device, a.number, a.id, a.outcome, a.settled FROM holdfast_applied AS a "
            "JOIN holdfast_replica AS r ON r.replica = a.replica"
        )
    }
