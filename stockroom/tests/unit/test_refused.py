"""What a refused product says otherwise, held to the cases that the web app is held to."""

import json
from pathlib import Path
from typing import Any

import pytest

from stockroom.catalogue import Product
from stockroom.refused import edits_of

CASES = json.loads((Path(__file__).parents[1] / "cases/edits.json").read_text())

PLAIN = {
    "id": "p", "sku": "A", "name": "", "description": "", "shelf": "", "notes": "", "price": 0,
    "cost": None, "currency": "EUR", "unit": "piece", "archived": False, "unpriced": False,
}  # fmt: skip
"""A product of which nothing was said."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_only_what_somebody_has_typed_goes_over(case: dict[str, Any]) -> None:
    assert edits_of(Product(**{**PLAIN, **case["there"]}), case["made"]) == case["edits"]
