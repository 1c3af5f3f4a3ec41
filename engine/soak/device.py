"""One device: writes without pause, syncs when it can, and says in its ledger what it has done.

    python device.py PATH SERVER TOKEN LEDGER NAME STORE SEED background|now-and-then

Knows: one replica, through the product's API. Must not know: the faults around it. It may be killed
at any moment; its next life goes on from the ledger. On standard input it is told, a line each:
``rest`` (write no more, and be done), ``settle`` (decide what is in conflict), ``end``; it answers
on standard output when that is so. It ends when standard input does.
"""

from __future__ import annotations

import queue
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import shop
from ledger import Ledger, read

from holdfast import HoldfastError, Offline, Replica, ServerTrouble, SyncError, UsageError
from holdfast.core.backoff import Backoff
from holdfast.core.keys import key_values
from holdfast.core.session import SessionConfig
from holdfast.replica.runner import RunnerOptions
from holdfast.schema.load import load_schema

PAUSE_S = (0.01, 0.12)
SETTLE_SHARE = 0.02
UNDECIDED = ("pending", "sent")
EXPECTED = (Offline, ServerTrouble)
BACKOFF = SessionConfig(backoff=Backoff(base_ms=100, cap_ms=1000), poll_ms=1000)


@dataclass
class Device:
    """A replica and what it has still to hear about."""

    replica: Replica
    ledger: Ledger
    name: str
    store: str
    dice: random.Random
    background: bool
    count: int = 0
    parcels: list[str] = field(default_factory=list)
    waiting: dict[str, float] = field(default_factory=dict)
    """Slips that are not acknowledged, and when they were committed; 0 in another life."""

    def meet(self) -> None:
        """The first load: without purses a sale would change nothing."""
        while not self.replica.query("SELECT 1 FROM purse") or not self.replica.query(
            "SELECT 1 FROM card"
        ):
            self.sync()
            time.sleep(0.05)

    def write(self) -> None:
        """One transaction."""
        self.count += 1
        roll = self.dice.random()
        if roll < 0.15:
            edit = shop.card_edit(self.dice, self.name, self.count)
            self._commit("edit", f"{self.name}-{self.count}", [edit])
        elif roll < 0.25 and self.parcels:
            gone = self.parcels.pop(self.dice.randrange(len(self.parcels)))
            self.ledger.note("gone", id=gone)
            self._commit("gone", gone, [shop.deletion(gone)])
        else:
            self._sell(bad=roll > 0.97)

    def _sell(self, *, bad: bool) -> None:
        id_ = f"{self.name}-{self.count}"
        statements = shop.sale(id_, self.store, self.dice, note=shop.BAD if bad else "")
        parcel = f"{id_}/p" if not bad and self.dice.random() < 0.4 else ""
        if parcel:
            statements.append(shop.parcel(parcel, self.store))
        self.ledger.note("sale", id=id_, bad=bad, parcel=parcel)
        self._commit("sale", id_, statements, parcel=parcel)
        self.waiting[id_] = time.monotonic()
        if parcel:
            self.parcels.append(parcel)

    def _commit(
        self, of: str, id_: str, statements: list[shop.Statement], *, parcel: str = ""
    ) -> None:
        started = time.monotonic()
        with self.replica.transaction() as db:
            for sql, params in statements:
                db.execute(sql, params)
        took = int((time.monotonic() - started) * 1e6)
        self.ledger.note("done", of=of, id=id_, parcel=parcel, us=took)

    def sync(self) -> bool:
        """One attempt; in the background, only a look. Whether nothing waits afterwards."""
        if not self.background:
            try:
                self.replica.sync()
            except EXPECTED:
                pass
            except SyncError as error:
                self.ledger.note("trouble", message=f"{self.name}: {error.code}: {error}")
        self._hear()
        status = self.replica.status
        return not status.pending and not status.sent and status.error_code is None

    def _hear(self) -> None:
        """Note what has been decided: from the oldest on, for that is the order."""
        decided: dict[str, float] = {}
        for id_, at in self.waiting.items():
            if self.replica.row_status("slip", id_) in UNDECIDED:
                break
            decided[id_] = at
        if decided:
            now = time.monotonic()
            times = [int((now - at) * 1e6) for at in decided.values() if at]
            self.ledger.note("acknowledged", ids=list(decided), us=times)
            for id_ in decided:
                del self.waiting[id_]

    def clear_inbox(self) -> None:
        """Say what was refused, then give it up."""
        for item in self.replica.refused():
            if item.state != "refused":
                continue
            table = self.replica.schema.by_name["slip"]
            slips = [
                str(key_values(table, change["key"])[0])
                for change in item.changes
                if change["table"] == "slip"
            ]
            self.ledger.note("refused", slips=slips, code=item.code, message=item.message)
            self.replica.discard(item.id)

    def settle(self, *, all_of_them: bool = False) -> int:
        """Decide conflicts; how many there were."""
        found = self.replica.conflicts()
        for conflict in found if all_of_them else found[:1]:
            keep = self.dice.choice(("device", "server", None))
            value = None if keep else self.dice.randrange(1, 10_000)
            try:
                self.replica.resolve(conflict.id, keep=keep, value=value)
                self.ledger.note("settled")
            except UsageError as error:
                if error.code != "no_conflict":  # settled elsewhere meanwhile
                    raise
        return len(found)

    def be_done(self) -> None:
        """Until nothing waits for the server, or for a person."""
        while True:
            done = self.sync()
            self.clear_inbox()
            status = self.replica.status
            if done and not status.refused and not status.held:
                return
            time.sleep(0.05)


def resume(device: Device, ledger: Path) -> None:
    """Go on where the last life ended."""
    told = read(ledger)
    device.count = max((int(id_.rpartition("-")[2]) for id_ in told.sales), default=0)
    there = {str(id_) for (id_,) in device.replica.query("SELECT id FROM parcel")}
    device.parcels = [p for p in told.parcels if p in there and p not in told.gone]
    device.waiting = {
        id_: 0.0 for id_, done in told.sales.items() if done and id_ not in told.acknowledged
    }


def told_words() -> queue.Queue[str]:
    """Lines of standard input, as they come; ``gone`` when it has ended."""
    words: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            words.put(line.strip())
        words.put("gone")

    threading.Thread(target=listen, daemon=True).start()
    return words


def say(word: str) -> None:
    """Answer whoever started this."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def work(device: Device, words: queue.Queue[str]) -> None:
    """Write until told to rest; then do as one is told."""
    device.meet()
    say("working")
    while words.empty():
        device.write()
        if device.background or device.dice.random() < 0.2:
            device.sync()
        if device.dice.random() < SETTLE_SHARE:
            device.settle()
            device.clear_inbox()
        time.sleep(device.dice.uniform(*PAUSE_S))
    while True:
        match words.get():
            case "rest":
                device.be_done()
                say("rest")
            case "settle":
                while device.settle(all_of_them=True):
                    device.be_done()
                say("settle")
            case "end":
                device.be_done()
                device.replica.stop()
                report = device.replica.verify(deep=True)
                if not report.ok or report.damaged or report.repaired or report.mismatched:
                    device.ledger.note("trouble", message=f"{device.name}: {report}")
                say("end")
            case _:
                return


def main(arguments: list[str]) -> None:
    """A life."""
    path, server, token, ledger, name, store, seed, how = arguments
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    words = told_words()
    notes = Ledger(Path(ledger))
    notes.note("life")
    try:
        with Replica.open(
            path, load_schema(str(shop.SCHEMA)), server=server, token=token
        ) as replica:
            # A next life must not repeat the pauses of the one before.
            dice = random.Random(f"{seed}/{name}/{time.monotonic_ns()}")
            device = Device(replica, notes, name, store, dice, background=how == "background")
            resume(device, Path(ledger))
            if device.background:
                replica.start(RunnerOptions(session=BACKOFF))
            work(device, words)
    except HoldfastError as error:
        notes.note("trouble", message=f"{name}: {error.code}: {error}")
        raise


if __name__ == "__main__":
    main(sys.argv[1:])
