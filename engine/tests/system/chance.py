"""What happens next in a world, and how it comes to rest. All of it follows from the seed.

Knows: what may happen, and how often. Must not know: how it is done (``acts``, ``stories``).
"""

from __future__ import annotations

from collections.abc import Callable

from acts import (
    change_rights,
    deliver_late,
    direct_write,
    discard,
    foreign_write,
    jump,
    reopen_replica,
    reopen_server,
    resolve,
    retry,
    sync,
    verify,
    write,
)
from baskets import fill, fill_directly
from bazaar import bulk
from device import SECOND_US, Device, Event
from growth import let_all_in, sometimes
from offers import some_work, write_offers
from purses import move
from stories import absence, bereave, overtaken, race, write_over_what_is_aside
from world import World


def step(world: World) -> str:
    """Do one random thing; its name."""
    world.now += world.plan.randrange(2, 30) * SECOND_US
    device = world.plan.choice(world.devices)
    steps: list[tuple[int, str, Callable[[Device], object]]] = [
        (34, "write", write),
        (28, "sync", sync),
        (10, "race", race),
        (9, "resolve", resolve),
        (4, "retry", retry),
        (3, "discard", discard),
        (3, "verify", verify),
        (2, "reopen server", reopen_server),
        (3, "reopen replica", reopen_replica),
        (4, "late request", deliver_late),
    ]
    if world.options.foreign:
        steps.append((9, "foreign write", foreign_write))
    if world.options.direct:
        steps.append((7, "direct write", direct_write))
    if world.options.revocations:
        steps.append((4, "revoke or return", change_rights))
    if world.options.purges:
        steps.append((2, "absence", absence))
    if world.options.jumps:
        steps.append((3, "clock jump", jump))
    ((_, name, act),) = world.plan.choices(steps, weights=[weight for weight, _, _ in steps])
    world.trace.append(f"{name} {device.name}")
    act(device)
    world.count[name] += 1
    return name


def between(world: World) -> None:
    """Between two steps, whatever these are: coins are moved and offers written, one goes on with a
    side that another settles, baskets are filled, and the back office writes offers or many
    rows."""
    for device in world.devices:
        if world.purse_dice.random() < 0.05:
            move(device)
        if world.offer_dice.random() < 0.06:
            write_offers(device, world.offer_dice)
        if world.options.sets and world.basket_dice.random() < 0.12:
            fill(device, world.basket_dice)
    if world.story_dice.random() < 0.04:
        world.trace.append("overtaken")
        overtaken(world)
    if world.options.asides and world.aside_dice.random() < 0.3:
        story = world.aside_dice.choice((bereave, write_over_what_is_aside))
        world.trace.append(story.__name__)
        story(world)
    if world.options.direct and world.offer_dice.random() < 0.04:
        statements = some_work(world.offer_dice, world.back_office)
        world.count["offers written directly"] += world.write_directly(statements)
    if world.options.sets and world.options.direct and world.basket_dice.random() < 0.08:
        fill_directly(world, world.basket_dice)
    if world.options.growth:
        sometimes(world)
    if world.options.direct and world.bulk_dice.random() < 0.05:
        statement = bulk(world.bulk_dice, world.back_office)
        world.count["bulk direct write"] += world.write_directly([statement])


def heal(world: World, rounds: int = 14, *, newest: bool = False) -> None:
    """The network heals; everybody syncs until it is quiet. ``newest``: and has the newest
    generation of the schema."""
    world.faults = False
    if world.options.growth:
        let_all_in(world, newest=newest)
    world.options.jumps = False
    world.service.poll_foreign_writes()  # of scopes that nobody asks for, too
    world.ledger.events.append(Event("poll", world.now))
    for _ in range(rounds):
        before = [device.work_and_rows() for device in world.devices]
        for device in world.devices:
            world.now += SECOND_US
            sync(device)
        if before == [device.work_and_rows() for device in world.devices]:
            return
    raise AssertionError("I29: it does not come to rest")
