"""What happens to a stand while it works, drawn by chance: and what heals itself after a while.

Knows: the stand's verbs and direct SQL. Must not know: what must hold afterwards. What it writes is
noted in a ledger of its own, as the devices note theirs.
"""

from __future__ import annotations

import heapq
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import shop
from database import Busy, Database
from ledger import Ledger
from stand import Device, Stand

Heal = Callable[[], object]


class Troubles:
    """One stand's bad luck."""

    def __init__(self, stand: Stand, dice: random.Random, ledger: Path) -> None:
        self.count: Counter[str] = Counter()
        self._stand = stand
        self._dice = dice
        self._notes = Ledger(ledger)
        self._written = 0
        self._healings: list[tuple[float, int, Heal]] = []
        self._kinds: list[tuple[int, Callable[[float], None]]] = [
            (4, self._kill_device),
            (2, self._end_device),
            (3, self._stop_device),
            (2, self._kill_server),
            (1, self._end_server),
            (3, self._stop_server),
            (5, self._cut),
            (8, self._direct_write),
            (4, self._bulk_write),
            (2, self._bulk_delete),
            (8, self._foreign_write),
        ]

    def one(self, now: float) -> None:
        """Something happens."""
        weights = [weight for weight, _ in self._kinds]
        ((_, act),) = self._dice.choices(self._kinds, weights)
        act(now)

    def heal_due(self, now: float) -> None:
        """What has lasted long enough ends."""
        while self._healings and self._healings[0][0] <= now:
            heapq.heappop(self._healings)[2]()

    def end(self) -> None:
        """All of it ends."""
        self.heal_due(float("inf"))
        self._stand.heal()
        self._notes.close()

    def _until(self, now: float, longest_s: float, heal: Heal) -> None:
        at = now + self._dice.uniform(0.1, longest_s)
        heapq.heappush(self._healings, (at, len(self._healings) + self.count.total(), heal))

    # Processes

    def _some_device(self) -> Device:
        return self._dice.choice(self._stand.devices)

    def _some_server(self) -> int:
        return self._dice.randrange(len(self._stand.servers))

    def _kill_device(self, _: float) -> None:
        device = self._some_device()
        device.end()
        device.start()
        self.count["device killed"] += 1

    def _end_device(self, _: float) -> None:
        device = self._some_device()
        device.end(signal.SIGTERM)
        device.start()
        self.count["device ended"] += 1

    def _stop_device(self, now: float) -> None:
        device = self._some_device()
        device.send(signal.SIGSTOP)
        self._until(now, 3, lambda: device.send(signal.SIGCONT))
        self.count["device stood still"] += 1

    def _kill_server(self, _: float) -> None:
        self._stand.end_server(self._some_server(), gently=False)
        self.count["server killed"] += 1

    def _end_server(self, _: float) -> None:
        self._stand.end_server(self._some_server(), gently=True)
        self.count["server ended"] += 1

    def _stop_server(self, now: float) -> None:
        number = self._some_server()
        self._stand.servers[number].signal(signal.SIGSTOP)
        self._until(now, 2, lambda: self._stand.go_on(number))
        self.count["server stood still"] += 1

    # The network

    def _cut(self, now: float) -> None:
        proxy = self._dice.choice(self._stand.proxies)
        proxy.cut()
        self._until(now, 4, proxy.heal)
        self.count["cut"] += 1

    # Other programs

    def _write(self, database: Database, statements: list[shop.Statement], kind: str) -> bool:
        try:
            database.write(statements)
        except Busy:
            self.count["busy"] += 1
            return False
        self.count[kind] += 1
        return True

    def _name(self, kind: str) -> str:
        self._written += 1
        return f"{kind}-{self._written}"

    def _sold(self, ids: list[str]) -> None:
        for id_ in ids:
            self._notes.note("sale", id=id_, bad=False, parcel="")
            self._notes.note("done", of="sale", id=id_, parcel="", us=0)

    def _direct_write(self, _: float) -> None:
        id_ = self._name("office")
        if self._dice.random() < 0.3:
            statements = [shop.card_edit(self._dice, id_, self._written)]
            self._write(self._stand.database, statements, "direct write")
            return
        statements = shop.sale(id_, self._dice.choice(shop.STORES), self._dice)
        if self._write(self._stand.database, statements, "direct write"):
            self._sold([id_])

    def _bulk_write(self, _: float) -> None:
        id_ = self._name("bulk")
        if self._dice.random() < 0.3:
            self._write(self._stand.database, shop.bulk_rename(id_), "bulk direct write")
        elif self._write(self._stand.database, shop.bulk(id_), "bulk direct write"):
            self._sold(shop.bulk_ids(id_))

    def _bulk_delete(self, _: float) -> None:
        """All parcels that are there now, of every store, by one statement."""
        ids = [str(id_) for (id_,) in self._stand.database.rows("SELECT id FROM parcel")][:20]
        if not ids:
            return
        marks = ", ".join("?" * len(ids))
        sql = f"DELETE FROM parcel WHERE id IN ({marks})"
        for id_ in ids:
            self._notes.note("gone", id=id_)
        if self._write(self._stand.database, [(sql, tuple(ids))], "bulk direct write"):
            for id_ in ids:
                self._notes.note("done", of="gone", id=id_, parcel="", us=0)

    def _foreign_write(self, _: float) -> None:
        """Another program writes into a replica's file."""
        device = self._some_device()
        if not device.met:
            return
        id_ = self._name(f"{device.name}-other")
        if self._write(device.file, shop.sale(id_, device.store, self._dice), "foreign write"):
            self._sold([id_])
