"""What several hands do at once, or one after another while the others do not look.

Knows: how such a story goes. Must not know: when it happens (``chance``), or what must hold
afterwards (``checks``).
"""

from __future__ import annotations

from acts import resolve, settle, sync, verify
from bazaar import STORES, TABLES, Row, Statement
from device import DAY_US, Device
from world import World


def race(device: Device) -> None:  # noqa: C901, PLR0912 - one story of two hands
    """Two devices want the same thing at once."""
    world = device.world
    other = world.plan.choice([d for d in world.devices if d is not device])
    mine, theirs = device.dump(), other.dump()
    kind = world.plan.choice(("edit", "edit", "delete", "delete", "unique", "settle", "move"))
    names: tuple[str, ...] = ("product", "item", "part", "memo", "task")
    if kind == "unique":
        names = ("product", "item")
    if kind == "delete" and world.plan.random() < 0.4:
        names = ("memo",)
    if kind == "move":
        names = ("task", "item", "memo")
    name = world.plan.choice(names)
    common = [key for key in sorted(mine[name].keys() & theirs[name].keys())
              if device.may_write(name, mine[name][key])
              and other.may_write(name, theirs[name][key])]  # fmt: skip
    if not common:
        return
    key = world.plan.choice(common)
    table = TABLES[name]
    column = world.plan.choice(table.data_columns)
    if kind == "settle":
        open_ = {c.id: c for c in device.replica.conflicts() if c.column}
        if not open_ or not resolve(device):
            return
        conflict = world.plan.choice([open_[id_] for id_ in sorted(open_)])
        name, key = conflict.table, conflict.key
        table = TABLES[name]
        column = table.by_name[conflict.column.split(",")[0]]
        mine = device.dump()
        if key not in theirs[name] or key not in mine[name]:
            return
    elif kind != "unique":
        column = world.plan.choice([c for c in table.data_columns if c.name != "store"])
        if world.plan.random() < 0.5:
            column = next((c for c in table.data_columns if c.merge == "manual"), column)
        if name == "memo":
            column = table.by_name["body"]
    sku = f"race{world.plan.randrange(3)}"
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
                (world.plan.choice(stores), *values),
            )
        elif kind == "delete" and who is other:
            statement = (f"DELETE FROM {name} WHERE {where}", values)
        elif kind == "settle" and who is device:
            continue
        else:
            new = who.work.value(name, column, seen, STORES[:1], who.now_us())
            statement = (f"UPDATE {name} SET {column.name} = ? WHERE {where}", (new, *values))
        who.run([statement])
    first, second = (device, other) if world.plan.random() < 0.3 else (other, device)
    sync(first)
    if world.plan.random() < 0.5:
        verify(second)
        world.note_held(second)
    sync(second)


def absence(device: Device) -> None:
    """While a device is away, rows go that it holds, perhaps with work of its own on them, and
    longer than their removal is remembered; perhaps their keys are taken again."""
    world = device.world
    other = world.plan.choice([d for d in world.devices if d is not device])
    seen, mine = other.dump(), device.dump()
    common = [(name, key) for name in ("memo", "task", "item", "part")
              for key in sorted(seen[name].keys() & mine[name].keys())
              if other.may_write(name, seen[name][key])]  # fmt: skip
    chosen = world.plan.sample(common, min(len(common), 3))
    for name, key in chosen:
        where, values = other.work.where(name, seen[name][key])
        other.run([(f"DELETE FROM {name} WHERE {where}", values)])
    sync(other)
    for name, key in chosen[:2]:
        where, values = device.work.where(name, mine[name][key])
        column = world.plan.choice(TABLES[name].data_columns)
        new = device.work.value(name, column, mine, STORES[:1], device.now_us())
        device.run([(f"UPDATE {name} SET {column.name} = ? WHERE {where}", (new, *values))])
    world.purge()
    world.now += world.plan.choice((20, 190, 190, 420)) * DAY_US
    world.purge()
    if world.plan.random() < 0.5:
        for name, key in chosen:
            other.run([_made_again(other, name, seen[name][key])])
        sync(other)
    sync(device)


def _made_again(who: Device, name: str, row: Row) -> Statement:
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


_MANUAL = (("offer", "currency"), ("task", "text"), ("part", "note"), ("item", "choice"))
"""Columns whose conflicts a person settles, with a token in each value."""


def overtaken(world: World) -> None:
    """A device goes on with its side of a conflict, of which it has not heard yet, while another
    settles that conflict, unaware. No other answer is lost meanwhile."""
    dice = world.story_dice
    device, other = dice.sample(world.devices, 2)
    mine, theirs = device.dump(), other.dump()
    common = [(name, column, key) for name, column in _MANUAL
              for key in sorted(mine[name].keys() & theirs[name].keys())
              if device.may_write(name, mine[name][key])
              and other.may_write(name, theirs[name][key])]  # fmt: skip
    if not common:
        return
    name, column, key = dice.choice(common)
    where, values = device.work.where(name, mine[name][key])

    def write(who: Device) -> None:
        statement = f"UPDATE {name} SET {column} = ? WHERE {where}"
        who.run([(statement, (who.work.token(), *values))])

    faults, world.faults = world.faults, False
    write(device)
    write(other)
    sync(other)
    world.forced_fault = "lose"
    sync(device)
    sync(other)
    open_ = [
        conflict for conflict in other.replica.conflicts()
        if (conflict.table, conflict.key, conflict.device) == (name, key, device.name)
        and column in conflict.column.split(",")
    ]  # fmt: skip
    if open_:
        world.count["settled unaware"] += 1
        write(device)
        settle(other, dice.choice(open_), dice)
        for who in (device, other) if dice.random() < 0.7 else (other, device):
            sync(who)
    world.faults = faults


def bereave(world: World) -> None:
    """A device deletes an item of which another has made a part, and hears of the part before its
    own work goes up."""
    dice = world.aside_dice
    device, other = dice.sample(world.devices, 2)
    mine, theirs = device.dump(), other.dump()
    parents = {row[3] for row in mine["part"].values()} | {row[2] for row in mine["memo"].values()}
    common = [key for key in sorted(mine["item"].keys() & theirs["item"].keys() - parents)
              if device.may_write("item", mine["item"][key])
              and other.may_write("item", theirs["item"][key])]  # fmt: skip
    if not common:
        return
    key = dice.choice(common)
    store, number = theirs["item"][key][1], dice.randrange(100, 1000)
    faults, world.faults = world.faults, False
    other.run(
        [("INSERT INTO part (store, code, n, item) VALUES (?, 'b', ?, ?)", (store, number, key))]
    )
    sync(other)
    if device.run([("DELETE FROM item WHERE id = ?", (key,))]):
        world.count["bereaved"] += 1
        verify(device)
        world.note_held(device)
    world.faults = faults


def write_over_what_is_aside(world: World) -> None:
    """A device's work is set aside, for another has the unique value; it writes once more where
    that work had written, without seeing it. Then the value is free, and all goes through."""
    dice = world.aside_dice
    device, other = dice.sample(world.devices, 2)
    mine, theirs = device.dump(), other.dump()
    common = [key for key in sorted(mine["item"].keys() & theirs["item"].keys())
              if device.may_write("item", mine["item"][key])
              and other.may_write("item", theirs["item"][key])
              and mine["item"][key][1] == theirs["item"][key][1]]  # fmt: skip
    stores = {key: mine["item"][key][1] for key in common}
    pairs = [(a, b) for a in common for b in common if a != b and stores[a] == stores[b]]
    if not pairs:
        return
    ours, foreign = dice.choice(pairs)
    sku = f"aside{dice.randrange(1000)}"
    update = "UPDATE item SET sku = ?, name = ? WHERE id = ?"
    faults, world.faults = world.faults, False
    sync(device)
    sync(other)
    device.run([(update, (sku, device.work.token(), ours))])
    other.run([("UPDATE item SET sku = ? WHERE id = ?", (sku, foreign))])
    sync(other)
    verify(device)
    world.note_held(device)
    if device.set_aside():
        world.count["written over what is aside"] += 1
        device.run(
            [("UPDATE item SET name = ? WHERE id = ?", (device.work.token(), ours))]
        )  # fmt: skip
        other.run([("UPDATE item SET sku = NULL WHERE id = ?", (foreign,))])
        sync(other)
        sync(device)
    world.faults = faults
