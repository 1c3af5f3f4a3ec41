"""Was everything right? Asked of the files alone, with plain SQL and plain CSV.

Knows: the databases that a replay leaves and the file it read. Must not know: the engine, the plan,
or what the devices said of themselves: neither `holdfast.replica` nor `stockroom.replay.source` has
a part in this, and SQLite is Python's own.
"""

from __future__ import annotations

import csv
import itertools
import json
import lzma
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from holdfast.schema import Schema, Table
from stockroom.on_hand import DIFFERENCE_SQL

_EXAMPLES_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFile:
    """A device's database and the scopes that its token may read."""

    path: Path
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Findings in the files. `problems` tells each difference in words; empty when all is right.

    Units are those of movements: a sale of 3 is -3. `lost` and `doubled` count transactions
    (invoices) that the server has in part or not at all, or more than once.
    """

    transactions: int
    expected_units: int
    server_units: int
    replicas_equal: bool
    lost: int
    doubled: int
    conflicts: int
    refused: int
    pending: tuple[int, ...]
    problems: tuple[str, ...]


def settle_file(path: Path) -> None:
    """Put everything into the one file, so that any SQLite reads it; nothing is left beside it.

    For files that no process has open any more. Raises `RuntimeError` if one has.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (mode,) = db.execute("PRAGMA journal_mode = DELETE").fetchone()
        if mode != "delete":
            raise RuntimeError(f"{path} is still in use: journal mode {mode}")
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()


def check_files(
    sales: Path, *, lines: int, schema: Schema, server: Path, devices: list[DeviceFile]
) -> Findings:
    """Compare the server with the file of sales, and every device with the server."""
    problems: list[str] = []
    expected = list(_file_lines(sales, lines))
    with closing(_open(server)) as db:
        expected_units = -sum(quantity for _, _, quantity in expected)
        server_units = int(
            db.execute(
                "SELECT coalesce(sum(quantity), 0) FROM movement WHERE kind <> 'opening'"
            ).fetchone()[0]
        )
        problems += _check_products(db, expected)
        lost, doubled = _check_invoices(db, expected, problems)
        conflicts = _count(db, "SELECT count(*) FROM holdfast_conflict WHERE state = 'open'")
        unequal = [_check_device(db, schema, device) for device in devices]
    problems += [problem for found in unequal for problem in found]
    pending, refused = [], 0
    for device in devices:
        with closing(_open(device.path)) as own:
            pending.append(_count(own, "SELECT count(*) FROM holdfast_pending"))
            refused += _count(
                own, "SELECT count(*) FROM holdfast_tx WHERE state IN ('refused', 'held')"
            )
            stale = own.execute(DIFFERENCE_SQL).fetchall()
            if stale:
                problems.append(f"{device.path.name}: stock on hand is not the ledger: {stale[0]}")
    problems += _check_ledgers(devices, {invoice for invoice, _, _ in expected})
    return Findings(
        transactions=len({invoice for invoice, _, _ in expected}),
        expected_units=expected_units,
        server_units=server_units,
        replicas_equal=not any(unequal),
        lost=lost,
        doubled=doubled,
        conflicts=conflicts,
        refused=refused,
        pending=tuple(pending),
        problems=tuple(problems),
    )


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _count(db: sqlite3.Connection, sql: str) -> int:
    return int(db.execute(sql).fetchone()[0])


def _file_lines(path: Path, lines: int) -> Iterator[tuple[str, str, int]]:
    """Invoice, SKU and quantity of the first lines of the file."""
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as text:
        for row in itertools.islice(csv.DictReader(text), lines):
            yield row["invoice"], row["sku"], int(row["quantity"])


def _check_products(db: sqlite3.Connection, expected: list[tuple[str, str, int]]) -> list[str]:
    """Every SKU is one product, and the sum of its movements is minus that of its lines."""
    sums: Counter[str] = Counter()
    for _, sku, quantity in expected:
        sums[sku] -= quantity
    wanted = {sku: (1, total) for sku, total in sums.items()}
    found = {
        sku: (int(products), int(total))
        for sku, products, total in db.execute(
            "SELECT p.sku, count(DISTINCT p.id), coalesce(sum(m.quantity), 0) FROM product AS p "
            "LEFT JOIN movement AS m ON m.product_id = p.id AND m.kind <> 'opening' GROUP BY p.sku"
        )
    }
    wrong = sorted(sku for sku in wanted | found if wanted.get(sku) != found.get(sku))
    return [
        f"product {sku!r}: (products, units) should be {wanted.get(sku)}, are {found.get(sku)}"
        for sku in wrong[:_EXAMPLES_MAX]
    ]


def _check_invoices(
    db: sqlite3.Connection, expected: list[tuple[str, str, int]], problems: list[str]
) -> tuple[int, int]:
    """Invoices with movements missing, and with too many: line by line, not only their number."""
    wanted: dict[str, Counter[tuple[str, int]]] = {}
    for invoice, sku, quantity in expected:
        wanted.setdefault(invoice, Counter())[sku, -quantity] += 1
    found: dict[str, Counter[tuple[str, int]]] = {}
    for invoice, sku, quantity in db.execute(
        "SELECT m.document, p.sku, m.quantity FROM movement AS m "
        "JOIN product AS p ON p.id = m.product_id WHERE m.kind <> 'opening'"
    ):
        found.setdefault(invoice, Counter())[sku, quantity] += 1
    none: Counter[tuple[str, int]] = Counter()
    lost = [i for i in wanted if wanted[i] - found.get(i, none)]
    doubled = [i for i in found if found[i] - wanted.get(i, none)]
    problems += [
        f"invoice {invoice} is not whole on the server" for invoice in lost[:_EXAMPLES_MAX]
    ]
    problems += [
        f"invoice {invoice} is doubled on the server" for invoice in doubled[:_EXAMPLES_MAX]
    ]
    return len(lost), len(doubled)


def _check_device(server: sqlite3.Connection, schema: Schema, device: DeviceFile) -> list[str]:
    """Every synced table of a device holds exactly the server's rows of its scopes."""
    problems = []
    with closing(_open(device.path)) as own:
        for table in schema.all_tables:
            theirs = _rows(server, table, device.scopes)
            mine = _rows(own, table, None)
            if theirs != mine:
                missing, surplus = _difference(theirs, mine)
                problems.append(
                    f"{device.path.name}: {table.name} differs from the server: "
                    f"{len(missing)} rows only there (such as {missing[:1]}), "
                    f"{len(surplus)} only here (such as {surplus[:1]})"
                )
    return problems


Cells = tuple[tuple[str, Any], ...]


def _rows(db: sqlite3.Connection, table: Table, scopes: tuple[str, ...] | None) -> list[Cells]:
    """All rows in key order, each cell with its SQLite type; restricted to scopes if given."""
    columns = ", ".join(f'typeof("{c}"), "{c}"' for c in table.column_names)
    order = ", ".join(f'"{c}"' for c in table.key)
    names = table.column_names
    rows = [
        tuple((row[2 * index], row[2 * index + 1]) for index in range(len(names)))
        for row in db.execute(f'SELECT {columns} FROM "{table.name}" ORDER BY {order}')
    ]
    if scopes is None:
        return rows
    return [row for row in rows if _visible(table, dict(zip(names, row, strict=True)), scopes)]


def _visible(table: Table, row: dict[str, tuple[str, Any]], scopes: tuple[str, ...]) -> bool:
    """Return whether a row belongs to one of the scopes, by the table's templates."""
    for template in table.scopes:
        if template.startswith("*"):
            if set(json.loads(row[template[2:-1]][1])) & set(scopes):
                return True
        elif template.format(**{name: value for name, (_, value) in row.items()}) in scopes:
            return True
    return False


def _difference(left: list[Cells], right: list[Cells]) -> tuple[list[Cells], list[Cells]]:
    in_left, in_right = set(left), set(right)
    return (
        [row for row in left if row not in in_right],
        [row for row in right if row not in in_left],
    )


def _check_ledgers(devices: list[DeviceFile], invoices: set[str]) -> list[str]:
    """Each invoice was written by exactly one device, by the devices' own count."""
    written: Counter[str] = Counter()
    for device in devices:
        with closing(_open(device.path)) as db:
            written.update(
                invoice for (invoice,) in db.execute("SELECT invoice FROM replay_progress")
            )
    wrong = [invoice for invoice in invoices | written.keys() if written[invoice] != 1]
    return [
        f"invoice {invoice} was written by {written[invoice]} devices"
        for invoice in sorted(wrong)[:_EXAMPLES_MAX]
    ]
