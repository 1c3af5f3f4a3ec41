"""What one hand does in a world: a device, the back office, whoever grants rights.

Knows: how each thing is done, and what its answer must be at once. Must not know: when it happens
(``chance``), or what must hold afterwards (``checks``).
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from typing import Any

from bazaar import STORES, Statement, tokens
from device import PRINCIPALS, SECOND_US, YEAR_US, Device, Event
from growth import stopped
from offers import note_choice
from readers import orphans_of
from shell import run_foreign, shell

from holdfast.core.errors import (
    BadValue,
    ConstraintFailed,
    Offline,
    ProtocolError,
    UpgradeNeeded,
    UsageError,
)
from holdfast.replica.inbox.inbox import Conflict


def write(device: Device) -> None:
    device.run(device.some_work())


def foreign_write(device: Device) -> None:
    world = device.world
    statements = device.some_work()
    if device.work.dice.random() < 0.15:
        for _ in range(device.work.dice.randrange(1, 5)):
            run_foreign(device.foreign, device.some_work())
        run_foreign(device.foreign, [refusable(device)])
        world.count["written with a bad row"] += 1
    if world.options.foreign and device.work.dice.random() < 0.2:
        shell(device.path, statements, device.now_us())
        world.count["written by another process"] += 1
    else:
        run_foreign(device.foreign, statements)
    device.foreign_orphans |= orphans_of(device)


def refusable(device: Device) -> Statement:
    """An item of which a rule will not hear."""
    store = next((s for s in STORES if device.principal.may_write(f"store/{s}")), STORES[0])
    key = f"bad{device.work.dice.getrandbits(32):08x}"
    return "INSERT INTO item (id, store, name) VALUES (?, ?, ?)", (key, store, "no!")


def sync(device: Device) -> None:
    world = device.world
    before, answered = device.dump(), device.line.answered
    written = world.count["written meanwhile"]
    try:
        report = device.replica.sync()
    except UpgradeNeeded as error:
        stopped(device, error)
        return
    except Offline:
        if device.line.answered == answered and written == world.count["written meanwhile"]:
            assert device.dump() == before, "I15: a sync that failed changed what is seen"
        return
    world.count["synced"] += 1
    world.note_held(device)
    world.count["held"] += report.held
    for item in device.replica.refused():
        place = device.name, item.number
        if item.state == "refused" and place not in world.told:
            world.told.add(place)
            world.count[f"refused {item.code}"] += 1
    world.count["rows reconciled"] += report.reconciled_rows
    assert report.verified, f"{device.name} differs after a sync: {report}"
    assert report.repaired_rows == 0, "a sync had to repair rows"


def verify(device: Device) -> None:
    world = device.world
    away = world.has_missed_removals(device)
    world.count["verified without an answer"] += bool(
        device.rows("SELECT 1 FROM holdfast_tx WHERE state = 'sent'")
    )
    device.verifying = True
    try:
        report = device.replica.verify()
    except UpgradeNeeded as error:
        stopped(device, error)
        return
    except Offline:
        return
    finally:
        device.verifying = False
    world.count["reconciled by a verify"] += bool(report.repaired)
    assert report.ok and not report.damaged, f"{device.name}: {report}"
    assert away or not report.repaired, f"{device.name}: {report}"


def resolve(device: Device) -> bool:
    """Settle one of the conflicts that the device shows, if it shows any."""
    open_ = device.replica.conflicts()
    if open_:
        settle(device, device.work.dice.choice(open_), device.work.dice)
    return bool(open_)


def settle(device: Device, conflict: Conflict, dice: random.Random) -> None:
    """Settle a conflict, one way or another. What its maker sees of it may go by that."""
    world = device.world
    keep: Any = dice.choice(("device", "server", None))
    value: Any = None
    if conflict.kind != "delete" and keep is None:
        value = "7.25" if conflict.column == "price" else device.work.token()
        if conflict.table == "offer":
            value = {"price": "7.25", "currency": value}
            note_choice(world, conflict.column, conflict.key, value)
    if conflict.kind == "delete":
        keep = keep or "device"
    world.ledger.overwritten |= tokens(
        [conflict.base, conflict.device_value, conflict.server_value]
    )
    world.ledger.overwritten |= tokens(device.dump()[conflict.table].get(conflict.key))
    try:
        device.replica.resolve(conflict.id, keep=keep, value=value)
        world.count["settled by a person"] += 1
    except (ConstraintFailed, BadValue):
        world.count["settlement failed locally"] += 1


def retry(device: Device) -> None:
    world = device.world
    waiting = [item for item in device.replica.refused() if not item.set_aside]
    if not waiting:
        return
    try:
        made = device.replica.retry(device.work.dice.choice(waiting).id)
    except ConstraintFailed:
        world.count["retry failed locally"] += 1
        return
    except UsageError as error:
        if error.code != "no_row":
            raise
        world.count["retry of a change of a row that is gone"] += 1
        return
    world.count["retried"] += len(made)
    world.note_dropped(device, {item.number for item in waiting})


def discard(device: Device) -> None:
    world = device.world
    waiting = [item for item in device.replica.refused() if not item.set_aside]
    if not waiting:
        return
    item = device.work.dice.choice(waiting).id
    foreseen = device.replica.if_discarded(item)
    assert device.replica.discard(item) == foreseen
    world.count["freed by a discard"] += len(foreseen.numbers)
    world.count["kept at a discard"] += len(foreseen.kept)
    world.note_dropped(device, {item.number for item in waiting})
    world.count["discarded"] += 1


def reopen_server(device: Device) -> None:
    device.world.reopen_server()


def reopen_replica(device: Device) -> None:
    device.close()
    device.open()


def deliver_late(device: Device) -> None:
    world = device.world
    if not world.late:
        return
    sender, body, kind = world.late.pop(world.net.randrange(len(world.late)))
    world.count["request repeated later"] += 1
    with contextlib.suppress(ProtocolError):
        world.serve(sender, body, kind, "late")


def direct_write(device: Device) -> None:
    world = device.world
    work = world.back_office
    if not world.write_directly(work.transaction(world.dump_server(), STORES, world.now)):
        return
    world.count["direct write that counts"] += 1
    if work.dice.random() < 0.4:
        world.service.poll_foreign_writes()
        world.ledger.events.append(Event("poll", world.now))


def change_rights(device: Device) -> None:
    world = device.world
    full = next(p for p in PRINCIPALS if p.device == device.name)
    if device.principal == full:
        taken = world.plan.choice((*full.read, *full.write))
        device.principal = replace(
            full,
            read=tuple(s for s in full.read if s != taken),
            write=tuple(s for s in full.write if s != taken),
        )
        if world.plan.random() < 0.3 and taken != "store/*":  # read only from now on
            device.principal = replace(device.principal, read=(*device.principal.read, taken))
        world.count["revoked"] += 1
    else:
        device.principal = full
        world.count["returned"] += 1
    world.note_readable()


def jump(device: Device) -> None:
    world = device.world
    device.skew_us = world.plan.choice((-1, 1)) * world.plan.choice(
        (0, 3 * SECOND_US, 3600 * SECOND_US, YEAR_US)
    )
