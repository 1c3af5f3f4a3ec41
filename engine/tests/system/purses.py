"""Moves between purses: each is one transaction, and whoever sees a part of one can tell.

Knows: the tables ``purse`` and ``slip`` of the bazaar. Must not know: how a replica keeps its work.
A move takes coins from one purse, puts them into another and leaves a slip that says so. At every
moment, on every device, a purse holds what it held at first and what the slips that are seen say.
Purses never hold less than nothing and slips have numbers of which each is there once, so moves get
into each other's way. What a move became is known from the server, never from the device.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from bazaar import FIRST_COINS, PURSES, Statement

if TYPE_CHECKING:
    from device import Device
    from world import World

_SERIALS = 60


def some_move(device: Device, dice: random.Random) -> list[Statement]:
    """A move that the device makes up, without looking."""
    source, target = dice.sample(PURSES, 2)
    coins = dice.randrange(1, 5)
    slip = f"{device.name}/{next(device.slips)}"
    return [
        ("UPDATE purse SET n = n - ? WHERE id = ?", (coins, source)),
        (
            "INSERT INTO slip (id, source, target, coins, serial) VALUES (?, ?, ?, ?, ?)",
            (slip, source, target, coins, dice.randrange(_SERIALS)),
        ),
        ("UPDATE purse SET n = n + ? WHERE id = ?", (coins, target)),
    ]


def has_purses(device: Device) -> bool:
    return bool(device.rows("SELECT 1 FROM holdfast_scope WHERE scope = 'catalog' AND version > 0"))


def move(device: Device) -> bool:
    """Coins go from one purse to another, if there are that many."""
    world = device.world
    statements = some_move(device, world.purse_dice)
    if not has_purses(device) or not device.run(statements):
        return False
    device.made_slips.add(statements[1][1][0])
    world.count["moved"] += 1
    return True


def meanwhile(device: Device) -> None:
    """Something is written while an answer is on its way to the device."""
    world = device.world
    if world.faults and world.purse_dice.random() < 0.2:
        world.count["written meanwhile"] += move(device)


def moves_are_whole(device: Device) -> set[str]:
    """I16: purses and slips agree, whoever made the moves. The slips that are seen."""
    device.foreign.execute("BEGIN")
    slips = device.rows("SELECT id, source, target, coins FROM slip")
    purses: dict[str, int] = dict(device.rows("SELECT id, n FROM purse"))
    device.foreign.execute("COMMIT")
    wanted = Counter(dict.fromkeys(PURSES, FIRST_COINS))
    for _, source, target, coins in slips:
        wanted[source] -= coins
        wanted[target] += coins
    assert purses == dict(wanted), (
        f"I16: {device.name} sees a part of a move: {purses}, but the slips say {dict(wanted)}"
    )
    return {str(id_) for id_, *_ in slips}


def nothing_seen_goes_away(device: Device, slips: set[str], given_up: set[str]) -> None:
    """I15: slips are never deleted. What was seen goes only if it was this device's, and is not
    shown for a reason that a person can read."""
    gone = device.seen_slips - slips - given_up
    others = {slip for slip in gone if not slip.startswith(f"{device.name}/")}
    assert not others, f"I15: {device.name} has seen {others}, which is not there any more"
    device.seen_slips = slips


def decided(world: World, device: Device, outcomes: dict[Any, Any]) -> dict[str, str]:
    """What the server has made of the moves of a device that it knows."""
    found = {}
    for (name, number), transaction in world.ledger.sent.items():
        if name == device.name and (name, number) in outcomes:
            for change in transaction.changes:
                if change.table == "slip":
                    found[str(change.key[0])] = outcomes[name, number][1]
    return found


def waiting_is_told(
    world: World, device: Device, slips: set[str], outcomes: dict[Any, Any]
) -> None:
    """I29, I28: what the server has not decided is counted as waiting, and what of it is not seen
    is said to be held, with a reason; what is seen is not."""
    fate = decided(world, device, outcomes)
    undecided = device.made_slips - fate.keys()
    status = device.replica.status
    assert status.pending + status.sent >= len(undecided), (
        f"I29: {device.name} says {status.pending} + {status.sent} wait, but {undecided} do"
    )
    told = {
        change["key"]: item
        for item in (device.replica.refused() if status.held else ())
        for change in item.changes
        if change["table"] == "slip"
    }
    for slip in undecided:
        item = told.get(slip)
        if slip in slips:
            assert item is None, f"I28: {slip} is seen, and said to be {item}"
            continue
        assert item is not None, f"I28: {slip} is neither seen nor told ({status})"
        assert item.set_aside and item.state == "held" and item.code and item.message, item
        assert status.held >= status.set_aside >= 1, status
        assert device.replica.row_status("slip", slip) == "held"
    assert status.set_aside == len(device.set_aside()), f"I28: {status}"
