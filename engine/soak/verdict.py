"""Was everything right? Asked of the databases with plain SQL, and of the ledgers.

Knows: what every writer noted, and what tables hold at rest. Must not know: how any of it got
there: the engine has no part in this. Each answer is a sentence about what is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from database import Database
from ledger import Told
from stand import Stand

EXAMPLES_MAX = 5

Rows = dict[str, list[tuple[Any, ...]]]

COLUMNS = {
    "slip": "id, store, lines, amount, note",
    "entry": "id, store, slip, purse, amount",
    "purse": "id, store, balance",
    "parcel": "id, store",
    "card": "id, price, name, size",
    "holdfast_conflict": "id, table_name, row_key, column_name, device, state",
}
ANYBODYS = ("card", "holdfast_conflict")


def tables(database: Database) -> Rows:
    """All rows of a server or a replica, sorted."""
    return {
        name: sorted(database.rows(f"SELECT {columns} FROM {name}"), key=repr)
        for name, columns in COLUMNS.items()
    }


def problems(stand: Stand, ledgers: Iterable[Told]) -> list[str]:
    """Everything that is wrong at rest; empty when all is well."""
    told = list(ledgers)
    server = tables(stand.database)
    found = [
        *_sales_are_whole(server),
        *_ledgers_are_kept(server, told),
        *_parcels_are_right(server, told),
        *(trouble for one in told for trouble in one.troubles),
    ]
    for device in stand.devices:
        found += _same(server, tables(device.file), device.name, stand.sees(device))
    for _, table, key, column, _, state in server["holdfast_conflict"]:
        if state == "open":
            found.append(f"a conflict about {table} {key} {column} is open at rest")
    return [f"{stand.name}: {problem}" for problem in found]


def _some(words: str, ids: Iterable[str]) -> Iterator[str]:
    found = sorted(ids)
    yield from (f"{words}: {id_}" for id_ in islice(found, EXAMPLES_MAX))
    if len(found) > EXAMPLES_MAX:
        yield f"{words}: {len(found)} in all"


def _sales_are_whole(server: Rows) -> Iterator[str]:
    """Every slip with its entries, every purse the sum of its entries."""
    lines: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    purses: Counter[str] = Counter()
    for _, _, slip, purse, amount in server["entry"]:
        lines[slip] += 1
        amounts[slip] += amount
        purses[purse] += amount
    slips = {id_: (count, amount) for id_, _, count, amount, _ in server["slip"]}
    half = [id_ for id_, told in slips.items() if told != (lines[id_], amounts[id_])]
    yield from _some("a sale is there in part", half)
    yield from _some("entries of no slip", lines.keys() - slips.keys())
    for id_, _, balance in server["purse"]:
        if balance != purses[id_]:
            yield f"purse {id_} holds {balance}, its entries make {purses[id_]}"


def _ledgers_are_kept(server: Rows, ledgers: list[Told]) -> Iterator[str]:
    """What was committed is there, or was refused and told; nothing else is."""
    there = {id_ for id_, *_ in server["slip"]}
    begun: set[str] = set()
    for told in ledgers:
        begun |= told.sales.keys()
        good = {id_ for id_, done in told.sales.items() if done} - told.bad
        yield from _some("acknowledged, and lost", (good & told.acknowledged) - there)
        yield from _some("committed, and lost", good - told.acknowledged - there)
        yield from _some("refused by a rule, and there", told.bad & there)
        silent = {id_ for id_ in told.bad if told.sales[id_]} - told.refused.keys()
        yield from _some("refused, and not told", silent)
        yield from _some("refused for no reason", told.refused.keys() - told.bad)
    yield from _some("nobody made it", there - begun)


def _parcels_are_right(server: Rows, ledgers: list[Told]) -> Iterator[str]:
    there = {id_ for id_, _ in server["parcel"]}
    made = {id_ for told in ledgers for id_, done in told.parcels.items() if done}
    begun = {id_ for told in ledgers for id_ in told.parcels}
    tried = {id_ for told in ledgers for id_ in told.gone}
    gone = {id_ for told in ledgers for id_, done in told.gone.items() if done}
    yield from _some("a parcel that nobody deleted is gone", made - tried - there)
    yield from _some("a parcel that was deleted is back", gone & there)
    yield from _some("a parcel of nobody", there - begun)


def _same(server: Rows, own: Rows, name: str, stores: tuple[str, ...]) -> Iterator[str]:
    """A replica holds what the server has of its stores, and nothing else."""
    for table, rows in server.items():
        expected = {row for row in rows if table in ANYBODYS or row[1] in stores}
        yield from _some(
            f"{name}: {table} differs from the server",
            (repr(row) for row in expected ^ set(own[table])),
        )
