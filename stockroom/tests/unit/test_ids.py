from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockroom import ids

SKUS = st.text(min_size=1)


@given(SKUS, SKUS)
def test_one_sku_is_one_product(left: str, right: str) -> None:
    assert (ids.product_id(left) == ids.product_id(right)) == (left == right)


@pytest.mark.parametrize("pair", [("84029g", "84029G"), ("A", "A "), ("A", " A"), ("1", "01")])
def test_case_and_spaces_count(pair: tuple[str, str]) -> None:
    assert ids.product_id(pair[0]) != ids.product_id(pair[1])


def test_derived_ids_never_change() -> None:
    # Rows in the field hang on them.
    assert ids.product_id("85123A") == "d17a0128-e866-5bd0-9f6b-27b94130eb00"
    assert ids.first_location_id("1") == "0d19d840-fb4b-5cf3-bc78-a052c5afe46e"


def test_the_kinds_of_derived_ids_are_apart() -> None:
    assert len({ids.product_id("1"), ids.first_location_id("1"), ids.reversal_id("1")}) == 3


def test_an_empty_sku_is_no_product() -> None:
    with pytest.raises(ValueError, match="never empty"):
        ids.product_id("")


def test_new_ids_sort_by_time() -> None:
    made = [ids.new_id(1_700_000_000_000_000 + step, bytes) for step in range(100)]
    assert made == sorted(made)
    assert len(set(made)) == 100
    assert {uuid.UUID(text).version for text in made} == {7}
