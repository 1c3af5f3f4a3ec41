"""Identifiers: derived where two devices must meet, by time and chance everywhere else.

Knows: which rows are the same thing when two devices make them offline. Must not know: a clock or a
source of randomness; both are handed in.

A product is derived from its SKU, compared exactly (case and spaces included), and its name: two
devices that add it offline insert one row, and a SKU that is used again for another thing is
another row. A store's first location is derived too, the reversal of a movement (undone on two
devices at once, it is undone once), and the movement that a line of a delivery becomes.
"""

from __future__ import annotations

import os
import re
import uuid
from typing import Final

from holdfast.core.ids import RandomBytes, uuid7

NAMESPACE: Final = uuid.UUID("6f1c1d3a-9d0e-5d55-8a38-5e2f7a0c9b41")
"""Ours for good: every derived id in the field depends on it."""


def _derived(kind: str, name: str) -> str:
    # The kind and a NUL come first: no SKU can pass for a location.
    return str(uuid.uuid5(NAMESPACE, f"{kind}\x00{name}"))


_BLANKS: Final = re.compile(r"[ \t]+")
_LOWER: Final = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def product_id(sku: str, name: str) -> str:
    """The id of the product that is added with this SKU and name.

    Blanks and the case of ASCII letters make no other name. Raises `ValueError` for an empty SKU.
    """
    if not sku:
        raise ValueError("a SKU is never empty")
    folded = _BLANKS.sub(" ", name).strip(" ").translate(_LOWER)
    return _derived("product", f"{sku}\x00{folded}")


def first_location_id(store_id: str) -> str:
    """The id of the location that a store starts with."""
    return _derived("location", store_id)


def supplier_id(name: str) -> str:
    """The id of a supplier that is known by name alone."""
    return _derived("supplier", name)


def category_id(name: str) -> str:
    """The id of a category that is known by name alone."""
    return _derived("category", name)


def employee_id(name: str) -> str:
    """The id of an employee that is known by name alone."""
    return _derived("employee", name)


def reversal_id(movement_id: str) -> str:
    """The id of the one movement that undoes another."""
    return _derived("reversal", movement_id)


def opening_id(store_id: str, product_id: str) -> str:
    """The id of the movement that says what a file found of a product at a store to begin with."""
    return _derived("opening", f"{store_id}\x00{product_id}")


def delivery_line_id(delivery_id: str, product_id: str) -> str:
    """The id of the one line of a delivery that has this product."""
    return _derived("delivery_line", f"{delivery_id}\x00{product_id}")


def received_id(line_id: str, before: int, quantity: int) -> str:
    """The id of the movement that a line becomes: booked on two devices with the same number, it is
    booked once. `before`: how much of the line was booked by then."""
    return _derived("received", f"{line_id}\x00{before}\x00{quantity}")


def damaged_id(received: str) -> str:
    """The id of the movement that takes out what arrived damaged with another."""
    return _derived("damaged", received)


def again_id(movement_id: str) -> str:
    """The id of the movement that books goods after all which were in question."""
    return _derived("again", movement_id)


def question_id(kind: str, movement_id: str) -> str:
    """The id of the one question of a kind about a movement."""
    return _derived("question", f"{kind}\x00{movement_id}")


def change_id(device: str, number: int, now_us: int, product_id: str, field: str) -> str:
    """The id of the record of what a transaction of a device did to a field of a product."""
    return _derived("change", f"{device}\x00{number}\x00{now_us}\x00{product_id}\x00{field}")


def new_id(now_us: int, random_bytes: RandomBytes = os.urandom) -> str:
    """A UUIDv7: `now_us` in microseconds since 1970, UTC. Sorts by the time it was made."""
    return uuid7(now_us, random_bytes)
