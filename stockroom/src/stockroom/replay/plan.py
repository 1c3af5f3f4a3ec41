"""Plan of a replay: invoices shared out over devices, devices over stores, all from one seed.

Knows: what each device has to write. Must not know: how it is written or sent.
The plan is written down before anything starts, so that a device that was killed finds the same
work again; how far it had come, only its own database knows.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from stockroom.replay.source import Article, Line, by_invoice, first_seen

PROCESSES_MAX: Final = 12

SaleKind = Literal["sale", "customer_return", "correction"]


class Sale(msgspec.Struct, frozen=True, array_like=True):
    """One movement to write: `quantity` is that of the movement, minus that of the line."""

    sku: str
    quantity: int
    kind: SaleKind
    occurred_at: int
    note: str


class Work(msgspec.Struct, frozen=True, array_like=True):
    """One invoice, one local transaction."""

    invoice: str
    sales: tuple[Sale, ...]


class Product(msgspec.Struct, frozen=True, array_like=True):
    """A product as it is inserted when first met: `price` in minor units."""

    name: str
    description: str
    price: int


class DevicePlan(msgspec.Struct, frozen=True):
    """Everything one device needs to know; `work` and `products` are files."""

    number: int
    name: str
    person: str
    store_id: str
    database: str
    token_file: str
    work: str
    products: str


class WorkerPlan(msgspec.Struct, frozen=True):
    """Work of one process: the devices it runs, and the address they sync with."""

    url: str
    seed: int
    devices: tuple[DevicePlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole replay: each device's work in order, and the products by SKU."""

    lines: int
    invoices: int
    stores: tuple[str, ...]
    work: tuple[tuple[Work, ...], ...]
    products: dict[str, Product]


def make_plan(lines: list[Line], *, devices: int, stores: int, seed: int) -> Plan:
    """Share the invoices out; device `i` works at store `i % stores`, counted from 1."""
    rng = random.Random(f"{seed}/plan")
    invoices = by_invoice(lines)
    shares: list[list[Work]] = [[] for _ in range(devices)]
    for invoice, invoice_lines in invoices.items():
        sales = tuple(_sale(line) for line in invoice_lines)
        shares[rng.randrange(devices)].append(Work(invoice, sales))
    return Plan(
        lines=len(lines),
        invoices=len(invoices),
        stores=tuple(str(number + 1) for number in range(stores)),
        work=tuple(tuple(share) for share in shares),
        products=_products(first_seen(lines)),
    )


def store_of(device: int, stores: tuple[str, ...]) -> str:
    """The store at which a device works."""
    return stores[device % len(stores)]


def write_work(path: Path, work: Iterable[Work]) -> None:
    """One invoice a line, as JSON."""
    path.write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in work))


def read_work(path: Path) -> list[Work]:
    """The inverse of `write_work`."""
    decoder = msgspec.json.Decoder(Work)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()]


def group(devices: tuple[DevicePlan, ...], *, urls: list[str], seed: int) -> list[WorkerPlan]:
    """One process a device, up to `PROCESSES_MAX`; beyond, devices share processes evenly.

    Processes talk to the addresses in turn.
    """
    processes = min(len(devices), PROCESSES_MAX)
    return [
        WorkerPlan(
            url=urls[number % len(urls)],
            seed=seed * 1000 + number,
            devices=devices[number::processes],
        )
        for number in range(processes)
    ]


def _sale(line: Line) -> Sale:
    kind: SaleKind = "sale" if line.quantity > 0 else "customer_return"
    # A line without a price is no sale: its description is a note such as "damaged" or "missing".
    note = ""
    if line.price == 0:
        kind, note = "correction", line.description
    return Sale(line.sku, -line.quantity, kind, line.time_us, note)


def _products(articles: dict[str, Article]) -> dict[str, Product]:
    return {
        sku: Product(article.description or sku, article.description, article.price)
        for sku, article in articles.items()
    }
