"""Sales as a file tells them: CSV, or CSV packed with xz.

Knows: the columns of a sales file. Must not know: devices, stores or databases.
SKUs, descriptions and invoice numbers are taken exactly as they stand, case and spaces included.
"""

from __future__ import annotations

import csv
import lzma
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import InvalidOperation
from pathlib import Path
from typing import Final, TextIO

from holdfast.core.errors import UsageError
from stockroom.money import nearest_minor

COLUMNS: Final = ("invoice", "sku", "description", "quantity", "time", "unit_price")
CURRENCY: Final = "GBP"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a sale: `price` in minor units, `time_us` in microseconds since 1970, UTC.

    A negative `quantity` came back or was written off.
    """

    invoice: str
    sku: str
    description: str
    quantity: int
    time_us: int
    price: int


@dataclass(frozen=True, slots=True)
class Article:
    """A product as the first line with its SKU has it: `price` in minor units."""

    description: str
    price: int


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The text of a sales file. Raises `UsageError` (`no_file`, `bad_file`)."""
    packed = path.suffix == ".xz"
    try:
        with (
            lzma.open(path, "rt", encoding="utf-8", newline="")
            if packed
            else path.open(encoding="utf-8", newline="")
        ) as text:
            yield text
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", code="no_file") from None
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", code="bad_file") from None


def read_lines(path: Path, *, limit: int | None = None) -> list[Line]:
    """The first `limit` lines of a file (None: all). Raises `UsageError` naming the bad line."""
    with open_text(path) as text:
        rows = csv.DictReader(text)
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise UsageError(
                f"{path} has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}",
                code="bad_file",
            )
        lines: list[Line] = []
        for row in rows:
            if limit is not None and len(lines) >= limit:
                break
            lines.append(_line(path, rows.line_num, row))
    if not lines:
        raise UsageError(f"{path} has no lines", code="bad_file")
    return lines


def first_seen(lines: Iterable[Line]) -> dict[str, Article]:
    """Each SKU's article, from the first line of the whole file that has it.

    Taken over the file and not over a device's share of it: two devices that meet a SKU offline
    then insert the identical product.
    """
    articles: dict[str, Article] = {}
    for line in lines:
        if line.sku not in articles:
            articles[line.sku] = Article(description=line.description, price=line.price)
    return articles


def by_invoice(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """The lines of each invoice, in the order of the file."""
    invoices: dict[str, list[Line]] = {}
    for line in lines:
        invoices.setdefault(line.invoice, []).append(line)
    return invoices


def _line(path: Path, number: int, row: dict[str, str]) -> Line:
    if not row["invoice"] or not row["sku"]:
        raise UsageError(f"{path}, line {number}: no invoice or no SKU", code="bad_file")
    try:
        moment = datetime.fromisoformat(row["time"])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return Line(
            invoice=row["invoice"],
            sku=row["sku"],
            description=row["description"],
            quantity=int(row["quantity"]),
            time_us=int(moment.timestamp()) * 1_000_000 + moment.microsecond,
            price=nearest_minor(row["unit_price"], currency=CURRENCY),
        )
    except (ValueError, TypeError, InvalidOperation) as error:
        raise UsageError(f"{path}, line {number}: {error}", code="bad_file") from None
