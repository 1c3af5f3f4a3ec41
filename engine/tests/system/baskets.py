"""Baskets: sets that many hands fill and empty, and an account of who had seen which addition.

Knows: the table ``basket`` of the bazaar, whose goods are a set; its rows are never deleted. Must
not know: how the engine merges sets. Some goods are put in once and have a name of their own, a few
are put in and taken out by everybody. At rest a thing is in a basket exactly when somebody has put
it in and nobody who had seen that has taken it out.

What a commit does to a row is known as the revisions before and after it; whether a removal had
seen an addition is then known for certain, or possible, or neither, and each is held to that.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bazaar import Row, Statement
from shell import run_foreign

from holdfast.core.limits import WIRE_INTEGER_MAX
from holdfast.protocol.messages import Change

if TYPE_CHECKING:
    from device import Device
    from world import World

BASKETS = ("b1", "b2")
_COMMON = ("apple", "bread")
_OFFICE = ""
Thing = tuple[str, str]
"""A basket and what is in it."""


class _Deed(NamedTuple):
    """Something is put in, or taken out. ``order`` is that in which the server learned of it."""

    order: int
    device: str
    number: int
    seen: int
    """The revision that it was made on."""
    before: int
    after: int
    """Revisions of the row around the commit."""


@dataclass
class Account:
    """Who has put in and taken out what, as far as the server has taken it."""

    put_in: dict[Thing, list[_Deed]] = field(default_factory=lambda: defaultdict(list))
    taken_out: dict[Thing, list[_Deed]] = field(default_factory=lambda: defaultdict(list))
    revisions: dict[str, int] = field(default_factory=dict)
    done: set[tuple[str, int]] = field(default_factory=set)
    order: itertools.count[int] = field(default_factory=itertools.count)
    names: itertools.count[int] = field(default_factory=itertools.count)


def first_baskets() -> list[Statement]:
    return [("INSERT INTO basket (id) VALUES (?)", (basket,)) for basket in BASKETS]


def goods(query: Callable[[str], Sequence[Row]]) -> dict[str, list[str]]:
    """What is in each basket."""
    return {str(id_): json.loads(text) for id_, text in query("SELECT id, goods FROM basket")}


def _filled(
    world: World, query: Callable[[str], Sequence[Row]], dice: random.Random
) -> list[Statement]:
    """Change one of the baskets that are seen, in one to three steps."""
    seen = goods(query)
    if not seen:
        return []
    basket = dice.choice(sorted(seen))
    held = seen[basket]
    for _ in range(dice.choice((1, 1, 2, 3))):
        if held and dice.random() < 0.45:
            held.remove(dice.choice(held))
            continue
        new = dice.choice(_COMMON)
        if dice.random() < 0.4:
            new = f"thing {next(world.account.names)}"
        held += [new] if new not in held else []
    return [("UPDATE basket SET goods = ? WHERE id = ?", (json.dumps(held), basket))]


def fill(device: Device, dice: random.Random) -> None:
    """The app changes a basket, or another program."""
    world = device.world
    statements = _filled(world, device.rows, dice)
    if world.options.foreign and dice.random() < 0.3:
        run_foreign(device.foreign, statements)
    else:
        device.run(statements)
    world.count["basket filled"] += bool(statements)


def fill_directly(world: World, dice: random.Random) -> None:
    """The back office does: it sees all that is there."""
    account, was = world.account, goods(world.server_rows)
    if not world.write_directly(_filled(world, world.server_rows, dice)):
        return
    for basket, held in goods(world.server_rows).items():
        rev = account.revisions.get(basket, 0)
        deed = _Deed(next(account.order), _OFFICE, 0, 0, rev, WIRE_INTEGER_MAX)
        for thing in set(held) - set(was[basket]):
            account.put_in[basket, thing].append(deed)
        for thing in set(was[basket]) - set(held):
            account.taken_out[basket, thing].append(deed)
    world.count["basket filled directly"] += 1


def note_commit(world: World, outcomes: dict[tuple[str, int], tuple[str, str, int]]) -> None:
    """The server has committed: what it has taken in of the devices' work since the last time."""
    account, before = world.account, world.account.revisions
    account.revisions = dict(
        world.server_rows("SELECT key, rev FROM holdfast_row WHERE tbl = 'basket'")
    )
    for place in sorted(outcomes.keys() - account.done):
        account.done.add(place)
        if outcomes[place][1] == "applied":
            for change in world.ledger.sent[place].changes:
                if change.table == "basket":
                    _note(account, change, place, before.get(str(change.key[0]), 0))


def _note(account: Account, change: Change, place: tuple[str, int], before: int) -> None:
    basket = str(change.key[0])
    said = json.loads(str(change.new["goods"]))
    deed = _Deed(next(account.order), *place, change.base, before, account.revisions[basket])
    for thing in said["add"]:
        account.put_in[basket, thing].append(deed)
    for thing in said["remove"]:
        account.taken_out[basket, thing].append(deed)


def refilled(held: str, before: str, after: str) -> str:
    """A basket as it is shown, after what made of one basket another has been done to it again."""
    if held == before:  # as it was written
        return after
    now, old, new = (set(json.loads(text)) for text in (held, before, after))
    there = now - (old - new) | (new - old)
    return held if there == now else json.dumps(sorted(there), separators=(",", ":"))


def _had_seen(removal: _Deed, addition: _Deed, revision: int) -> bool:
    """Whether who takes something out had seen the revision in which it was put in."""
    if removal.device in (addition.device, _OFFICE):
        return removal.order > addition.order
    return removal.seen >= revision


def nothing_is_lost_from_a_basket(world: World) -> None:
    """I18: of an addition and a removal that had not seen it, the addition stays."""
    account, standing = world.account, goods(world.server_rows)
    for (basket, thing), additions in account.put_in.items():
        removals = account.taken_out[basket, thing]
        unseen = [a for a in additions if not any(_had_seen(r, a, a.before + 1) for r in removals)]
        left = [a for a in additions if not any(_had_seen(r, a, a.after) for r in removals)]
        there = thing in standing[basket]
        assert there or not unseen, f"I18: {thing} is not in {basket}: {unseen}, {removals}"
        assert left or not there, f"I19: {thing} is in {basket}, from which all took it out"
        world.count["addition beat a removal"] += bool(there and removals)
    for basket, held in standing.items():
        made_up = {(basket, thing) for thing in held} - account.put_in.keys()
        assert not made_up, f"I13: nobody has put in {made_up}"
        assert len(held) == len(set(held)), f"{basket} has something twice: {held}"
