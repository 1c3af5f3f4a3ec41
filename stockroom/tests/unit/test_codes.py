"""Article numbers in all their forms are one; what is hardly one is noticed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import Replica, UsageError
from stockroom import catalogue, codes
from stockroom.schema import schema

CASES = json.loads((Path(__file__).parents[1] / "cases/codes.json").read_text())
DIGITS = st.text("0123456789", min_size=11, max_size=11)


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with Replica.open(tmp_path / "till.db", schema) as opened:
        yield opened


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"])
def test_a_code_has_one_form(case: dict[str, str]) -> None:
    assert codes.canonical(case["text"]) == case["canonical"]
    assert codes.canonical(case["canonical"]) == case["canonical"]
    assert codes.doubt(case["text"]) == case["doubt"]


def upc(body: str) -> str:
    """With the check digit that GS1's own wording gives: odd places count three times."""
    odd, even = (sum(int(digit) for digit in body[start::2]) for start in (0, 1))
    return f"{body}{-(3 * odd + even) % 10}"


@given(DIGITS.filter(lambda body: int(body) > 9_999_999))
def test_every_upc_is_its_ean_and_its_gtin(body: str) -> None:
    number = upc(body)
    forms = {number, f"0{number}", f"00{number}", f" {number[0]} {number[1:]}", f"]E00{number}"}
    assert {codes.canonical(form) for form in forms} == {f"0{number}"}
    assert codes.doubt(number) is None


@given(DIGITS, st.integers(0, 11), st.integers(1, 9))
def test_every_single_wrong_digit_is_noticed(body: str, place: int, by: int) -> None:
    number = upc(body)
    wrong = f"{number[:place]}{(int(number[place]) + by) % 10}{number[place + 1 :]}"
    assert codes.doubt(wrong) == "bad_check_digit"


def test_a_product_is_found_by_every_form_and_no_other_takes_it(replica: Replica) -> None:
    catalogue.add_product(replica, sku="COLA", name="Cola", barcodes=["049000028911"])
    for form in (
        "049000028911",
        "0049000028911",
        "00049000028911",
        "49000028911",
        "0-49000-02891-1",
    ):
        assert catalogue.get_product(replica, form).sku == "COLA"
        assert [p.sku for p in catalogue.find_products(replica, form)] == ["COLA"]
        with pytest.raises(UsageError) as caught:
            catalogue.add_product(replica, sku="X", name="X", barcodes=[form])
        assert caught.value.code == "barcode_exists"
    assert catalogue.barcodes_of(replica, catalogue.get_product(replica, "COLA").id) == [
        "0049000028911"
    ]


@pytest.mark.parametrize("code", ["4.00638E+12", "4006381333932", "049000028912"])
def test_what_is_hardly_a_code_is_taken_only_as_it_is(replica: Replica, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        catalogue.add_product(replica, sku="A", name="A", barcodes=[code])
    assert caught.value.code == "bad_barcode"
    catalogue.add_product(replica, sku="A", name="A")
    with pytest.raises(UsageError):
        catalogue.edit_product(replica, "A", {}, barcodes=[code])
    catalogue.edit_product(replica, "A", {}, barcodes=[code], as_is=True)
    assert catalogue.get_product(replica, code).sku == "A"
