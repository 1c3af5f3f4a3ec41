"""The row that every workload moves: eight columns, about 205 bytes as JSON.

Knows: the schema of the measured table, and how its rows are made. Must not know: what is measured.
A row is made from its number alone, so that every run moves the same bytes.
"""

from __future__ import annotations

import uuid
from typing import Final, Literal

from holdfast import Column, Schema, Table

Item = tuple[str, str, str, str, int, int, str, int]

STORE: Final = "12"


def _schema(name_merge: Literal["latest", "manual"]) -> Schema:
    """``name_merge``: what becomes of names that two devices have changed."""
    return Schema(
        name="benchmark",
        tables=(
            Table(
                name="item",
                key=("id",),
                columns=(
                    Column("id", "uuid"),
                    Column("sku", "text"),
                    Column("name", "text", merge=name_merge),
                    Column("barcode", "text"),
                    Column("price", "integer"),
                    Column("quantity", "integer", merge="counter"),
                    Column("location", "text"),
                    Column("counted_at", "timestamp"),
                ),
                scopes=("store/{location}",),
            ),
        ),
    )


SCHEMA: Final = _schema("latest")
SCHEMA_MANUAL: Final = _schema("manual")
"""Where a conflict of names waits for a person."""
INSERT: Final = (
    "INSERT INTO item (id, sku, name, barcode, price, quantity, location, counted_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
TAKE: Final = "UPDATE item SET quantity = quantity - ? WHERE id = ?"
"""A sale, in the plain SQL that an app would write."""

_NAMESPACE: Final = uuid.UUID("6f1c1a52-0d0f-4c5e-9d3a-2b7f6f0c9a11")
_EPOCH_US: Final = 1_790_000_000_000_000


def item(number: int) -> Item:
    """The row with this number."""
    return (
        str(uuid.uuid5(_NAMESPACE, str(number))),
        f"SKU-{number:08d}",
        f"Enamel mug, dark green, no. {number:07d}",
        f"40{number:011d}",
        199 + number % 5000,
        10 + number % 90,
        STORE,
        _EPOCH_US + number * 1_000,
    )


def items(first: int, count: int) -> list[Item]:
    """``count`` rows, from number ``first`` on."""
    return [item(number) for number in range(first, first + count)]


def sales(rows: list[Item]) -> list[tuple[int, str]]:
    """Parameters of ``TAKE``: one to three pieces of each row."""
    return [(1 + index % 3, row[0]) for index, row in enumerate(rows)]
