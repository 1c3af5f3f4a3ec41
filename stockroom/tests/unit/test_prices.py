"""Prices as people type them: held to the cases that the web app is held to as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import UsageError
from stockroom.money import PRICE_MAX, format_price
from stockroom.prices import NotPrice, parse_or_none, parse_price, read_price

CASES = json.loads((Path(__file__).parent.parent / "cases/prices.json").read_text("utf-8"))


@pytest.mark.parametrize(("text", "currency", "language", "expected"), CASES)
def test_a_price_is_read_as_it_is_meant(
    text: str, currency: str, language: str, expected: int | NotPrice
) -> None:
    assert read_price(text, currency=currency, language=language) == expected


@given(st.integers(0, PRICE_MAX), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_what_is_shown_can_be_typed(minor: int, currency: str) -> None:
    assert parse_price(format_price(minor, currency=currency), currency=currency) == minor


@given(st.text(alphabet="0123456789.,' -€$EUR٫٬١", max_size=12), st.sampled_from(["EUR", "JPY"]))
def test_whatever_is_typed_is_an_amount_or_a_sentence(text: str, currency: str) -> None:
    found = read_price(text, currency=currency)
    if isinstance(found, int):
        assert 0 <= found <= PRICE_MAX
        assert parse_or_none(text, currency=currency) == found
    elif not text.strip():
        assert parse_or_none(text, currency=currency) is None
    else:
        with pytest.raises(UsageError) as refused:
            parse_or_none(text, currency=currency)
        assert refused.value.code == "bad_price"
