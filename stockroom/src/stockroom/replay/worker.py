"""One process of a replay: its devices write invoices and sync, through whatever the network does.

Knows: its plan, and from each device's own database how far that device had come. Must not know:
faults, other processes or the file of sales. Started by `stockroom.replay.crew`; events go out as
one JSON document a line on stdout, the word to finish comes in on stdin.

A killed worker is started again with the same plan. Progress is written in the transaction of the
invoice itself, so an invoice is either written whole and never again, or not at all.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast import Replica
from holdfast.core.errors import HoldfastError, Offline, ServerTrouble
from stockroom import ids
from stockroom.catalogue import Writer
from stockroom.replay.plan import DevicePlan, Product, Work, WorkerPlan, read_work
from stockroom.replay.source import CURRENCY
from stockroom.schema import schema
from stockroom.stock import INSERT_MOVEMENT, Movement, Place, write_place

INVOICES_PER_SYNC_MAX: Final = 3
ATTEMPTS_MAX: Final = 20
RETRY_MS_MIN: Final = 20
RETRY_MS_MAX: Final = 200
PROGRESS_TABLE: Final = (
    "CREATE TABLE replay_progress (position INTEGER PRIMARY KEY, invoice TEXT NOT NULL UNIQUE, "
    "movements INTEGER NOT NULL) STRICT"
)
"""Unsynced: which invoices this database has, by their place in the device's plan."""

Tell = Callable[[dict[str, Any]], None]


def tell(event: dict[str, Any]) -> None:
    """Send one event to whoever started this process."""
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Device:
    """A device at work: its replica, what is left to write, and when it syncs next."""

    plan: DevicePlan
    replica: Replica
    work: list[Work]
    products: dict[str, Product]
    rng: random.Random
    tell: Tell
    position: int = 0
    until_sync: int = 0
    failures: int = 0
    known: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return Place(
            store_id=self.plan.store_id, location_id=ids.first_location_id(self.plan.store_id)
        )

    def resume(self) -> None:
        """Go on where the database says that this device was."""
        ((done,),) = self.replica.query("SELECT count(*) FROM replay_progress")
        self.position = int(str(done))
        self.tell({"event": "progress", "device": self.plan.number, "done": self.position})

    def write_next(self) -> None:
        """Write one invoice: products never met, its movements and the progress, all or nothing."""
        work = self.work[self.position]
        met: dict[str, str] = {}
        with self.replica.transaction() as db:
            write_place(db, self.place)
            for sale in work.sales:
                if sale.sku not in self.known and sale.sku not in met:
                    met[sale.sku] = self._meet(db, sale.sku)
                product_id = self.known.get(sale.sku) or met[sale.sku]
                db.execute(INSERT_MOVEMENT, self._movement(work, sale, product_id).values)
            db.execute(
                "INSERT INTO replay_progress (position, invoice, movements) VALUES (?, ?, ?)",
                (self.position, work.invoice, len(work.sales)),
            )
        self.known |= met
        self.position += 1
        self.tell({"event": "progress", "device": self.plan.number, "done": self.position})

    def step(self) -> bool:
        """Write the next invoice and now and then sync; False when nothing is left to write."""
        if self.position >= len(self.work):
            return False
        self.write_next()
        self.until_sync -= 1
        if self.until_sync <= 0:
            self.until_sync = self.rng.randint(1, INVOICES_PER_SYNC_MAX)
            self.try_to_sync()
        return True

    def try_to_sync(self) -> None:
        """Some attempts; then work goes on without the network, but not all in one breath."""
        for _ in range(ATTEMPTS_MAX):
            if self.sync():
                return
            self.pause()

    def sync(self) -> bool:
        """One attempt; False when the network or the server was in the way."""
        try:
            self.replica.sync()
        except (Offline, ServerTrouble):
            self.failures += 1
            return False
        return True

    def sync_until(self, done: Callable[[], bool]) -> None:
        """Sync until it succeeded and `done`, with a short back-off after each failure."""
        while not (self.sync() and done()):
            _stop_if_orphaned()
            self.pause()

    def pause(self) -> None:
        """A short back-off, drawn anew each time."""
        time.sleep(self.rng.uniform(RETRY_MS_MIN, RETRY_MS_MAX) / 1000)

    def settled(self) -> bool:
        """Return whether nothing of this device waits for the server."""
        status = self.replica.status
        return status.pending == 0 and status.sent == 0

    def _meet(self, db: Writer, sku: str) -> str:
        product = self.products[sku]
        product_id = ids.product_id(sku, product.name)
        if not db.execute("SELECT 1 FROM product WHERE id = ?", (product_id,)):
            db.execute(
                "INSERT INTO product (id, sku, name, description, price, currency) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (product_id, sku, product.name, product.description, product.price, CURRENCY),
            )
        return product_id

    def _movement(self, work: Work, sale: Any, product_id: str) -> Movement:
        # The id is drawn anew at every attempt: an invoice written twice would show as doubled.
        return Movement(
            id=ids.new_id(time.time_ns() // 1000),
            product_id=product_id,
            location_id=self.place.location_id,
            store_id=self.plan.store_id,
            quantity=sale.quantity,
            kind=sale.kind,
            document=work.invoice,
            person=self.plan.person,
            device=self.plan.name,
            occurred_at=sale.occurred_at,
            note=sale.note,
        )


def open_device(plan: DevicePlan, *, url: str, seed: int) -> Device:
    """Open or make a device's replica. Raises `HoldfastError`."""
    local = msgspec.structs.replace(schema, local=(*schema.local, PROGRESS_TABLE))
    replica = Replica.open(plan.database, local, server=url, token_file=plan.token_file)
    products = msgspec.json.decode(Path(plan.products).read_bytes(), type=dict[str, Product])
    device = Device(
        plan=plan,
        replica=replica,
        work=read_work(Path(plan.work)),
        products=products,
        # A restart must not repeat the pauses of the life before.
        rng=random.Random(f"{seed}/{plan.number}/{os.getpid()}"),
        tell=tell,
    )
    device.resume()
    return device


def run(plan: WorkerPlan) -> None:
    """Work, wait for the word to finish, sync to the end, and say how each device ended."""
    devices = [open_device(item, url=plan.url, seed=plan.seed) for item in plan.devices]
    try:
        # All of them take a step, hence the list.
        while any([device.step() for device in devices]):  # noqa: C419
            _stop_if_orphaned()
        for device in devices:
            device.sync_until(device.settled)
            tell({"event": "worked", "device": device.plan.number})
        if sys.stdin.readline() != "finish\n":
            return
        for device in devices:
            device.sync_until(device.settled)
            tell({"event": "finished", "device": device.plan.number, "failures": device.failures})
    finally:
        for device in devices:
            device.replica.close()


_PARENT: Final = os.getppid()


def _stop_if_orphaned() -> None:
    # Whoever started us was killed: nobody reads our events any more.
    if os.getppid() != _PARENT:
        raise SystemExit(1)


def main() -> int:
    """`python -m stockroom.replay.worker PLAN`: PLAN is a JSON file."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=WorkerPlan)
    try:
        run(plan)
    except HoldfastError as error:
        tell({"event": "failed", "code": error.code, "message": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
