from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockroom import ids

SKUS = st.text(min_size=1)


@pytest.mark.slow
@given(SKUS, SKUS)
def test_one_sku_is_one_product(left: str, right: str) -> None:
    assert (ids.product_id(left, "Tea") == ids.product_id(right, "Tea")) == (left == right)


@pytest.mark.parametrize("pair", [("84029g", "84029G"), ("A", "A "), ("A", " A"), ("1", "01")])
def test_case_and_spaces_count(pair: tuple[str, str]) -> None:
    assert ids.product_id(pair[0], "Tea") != ids.product_id(pair[1], "Tea")


def test_a_sku_that_is_used_again_for_another_thing_is_another_product() -> None:
    assert ids.product_id("MUG-1", "Blue mug") != ids.product_id("MUG-1", "Red mug")
    # Not by a slip of the thumb, though.
    assert ids.product_id("MUG-1", "Blue mug") == ids.product_id("MUG-1", " blue   MUG ")
    assert ids.product_id("A", "B") != ids.product_id("AB", "")


def test_derived_ids_never_change() -> None:
    # Rows in the field hang on them.
    assert ids.product_id("85123A", "Candle") == "d88db70a-413f-5a1b-9770-5dbaa4240cbe"
    assert ids.first_location_id("1") == "0d19d840-fb4b-5cf3-bc78-a052c5afe46e"


def test_ids_are_those_of_the_app() -> None:
    cases = json.loads((Path(__file__).parents[1] / "cases/product_ids.json").read_text())
    assert cases
    for case in cases:
        assert ids.product_id(case["sku"], case["name"]) == case["id"]


def test_ids_of_deliveries_are_those_of_the_app() -> None:
    cases = json.loads((Path(__file__).parents[1] / "cases/delivery_ids.json").read_text())
    assert cases
    for case in cases:
        line = ids.delivery_line_id(case["delivery"], case["product"])
        received = ids.received_id(line, case["before"], case["quantity"])
        assert (line, received) == (case["line"], case["received"])
        assert ids.damaged_id(received) == case["damaged"]
        assert ids.again_id(received) == case["again"]


def test_the_kinds_of_derived_ids_are_apart() -> None:
    assert len({ids.product_id("1", ""), ids.first_location_id("1"), ids.reversal_id("1")}) == 3


def test_an_empty_sku_is_no_product() -> None:
    with pytest.raises(ValueError, match="never empty"):
        ids.product_id("", "Tea")


def test_new_ids_sort_by_time() -> None:
    made = [ids.new_id(1_700_000_000_000_000 + step, bytes) for step in range(100)]
    assert made == sorted(made)
    assert len(set(made)) == 100
    assert {uuid.UUID(text).version for text in made} == {7}
