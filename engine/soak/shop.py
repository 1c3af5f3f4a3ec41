"""What is written in a soak: sales, parcels, prices; and the one rule that refuses some of it.

Knows: the schema and its statements, in SQL that SQLite and PostgreSQL both take. Must not know:
who runs them, on which side, or what befalls them.

Every sale can be checked by itself: its slip says how many entries it has and what they add up to,
each entry says which purse it changed, and a purse (a counter) holds the sum of its entries. So a
sale that is lost, doubled or half there is seen in the tables alone.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.server.push.rules import RuleContext

SCHEMA = Path(__file__).with_name("shop.json")
TABLES = ("slip", "entry", "purse", "parcel", "card")
STORES = ("north", "south")
PURSES = {store: tuple(f"{store}-{n}" for n in range(3)) for store in STORES}
CARDS = tuple(f"card-{n}" for n in range(6))
BAD = "bad"

Statement = tuple[str, tuple[Any, ...]]


def opening() -> list[Statement]:
    """What the server holds before anybody begins."""
    purses = [(purse, store) for store in STORES for purse in PURSES[store]]
    return [
        *(("INSERT INTO purse (id, store, balance) VALUES (?, ?, 0)", purse) for purse in purses),
        *(
            ("INSERT INTO card (id, price, name, size) VALUES (?, 100, ?, 0)", (card, card))
            for card in CARDS
        ),
    ]  # fmt: skip


def sale(id_: str, store: str, dice: random.Random, *, note: str = "") -> list[Statement]:
    """One transaction across three tables."""
    lines = [
        (f"{id_}/{n}", store, id_, dice.choice(PURSES[store]), dice.choice((-3, -1, 2, 5)))
        for n in range(dice.randrange(1, 4))
    ]
    total = sum(amount for *_, amount in lines)
    return [
        ("INSERT INTO slip (id, store, lines, amount, note) VALUES (?, ?, ?, ?, ?)",
         (id_, store, len(lines), total, note)),
        *(
            ("INSERT INTO entry (id, store, slip, purse, amount) VALUES (?, ?, ?, ?, ?)", line)
            for line in lines
        ),
        *(
            ("UPDATE purse SET balance = balance + ? WHERE id = ?", (amount, purse))
            for *_, purse, amount in lines
        ),
    ]  # fmt: skip


def parcel(id_: str, store: str) -> Statement:
    """A row that is deleted later."""
    return "INSERT INTO parcel (id, store) VALUES (?, ?)", (id_, store)


def deletion(id_: str) -> Statement:
    """The end of a parcel."""
    return "DELETE FROM parcel WHERE id = ?", (id_,)


def card_edit(dice: random.Random, who: str, count: int) -> Statement:
    """A change that meets others': a conflict, or the later or the larger one."""
    card = dice.choice(CARDS)
    kind = dice.random()
    if kind < 0.5:
        return "UPDATE card SET price = ? WHERE id = ?", (dice.randrange(1, 10_000), card)
    if kind < 0.75:
        return "UPDATE card SET name = ? WHERE id = ?", (f"{who} {count}", card)
    return "UPDATE card SET size = ? WHERE id = ?", (count, card)


def bulk(id_: str) -> list[Statement]:
    """Many rows by three statements, in every scope there is."""
    prefix = f"{id_}-"
    slips = (
        "INSERT INTO slip (id, store, lines, amount, note) "
        "SELECT CAST(? AS TEXT) || id, store, 1, 4, 'bulk' FROM purse"
    )
    entries = (
        "INSERT INTO entry (id, store, slip, purse, amount) "
        "SELECT CAST(? AS TEXT) || id || '/0', store, CAST(? AS TEXT) || id, id, 4 FROM purse"
    )
    return [
        (slips, (prefix,)),
        (entries, (prefix, prefix)),
        ("UPDATE purse SET balance = balance + 4", ()),
    ]


def bulk_ids(id_: str) -> list[str]:
    """The slips that ``bulk`` makes."""
    return [f"{id_}-{purse}" for store in STORES for purse in PURSES[store]]


def bulk_rename(id_: str) -> list[Statement]:
    """Every card at once."""
    return [("UPDATE card SET name = ?", (id_,))]


def no_bad_slip(context: RuleContext) -> None:
    """The rule: a slip whose note is ``bad`` is refused."""
    for change in context.changes:
        if change.table == "slip" and change.new and change.new["note"] == BAD:
            context.refuse(BAD, "such a slip is not taken", field="note")


RULES = [no_bad_slip]
