"""SKUs that a person would take for one are asked about where they are typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import Replica, UsageError
from stockroom import catalogue, skus
from stockroom.schema import schema

CASES = json.loads((Path(__file__).parents[1] / "cases/skus.json").read_text())


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with Replica.open(tmp_path / "till.db", schema) as opened:
        yield opened


@pytest.mark.parametrize(("one", "other"), CASES["alike"])
def test_case_blanks_and_width_make_no_other_sku(one: str, other: str) -> None:
    assert skus.like(one) == skus.like(other)


@pytest.mark.parametrize(("one", "other"), CASES["different"])
def test_all_else_does(one: str, other: str) -> None:
    assert skus.like(one) != skus.like(other)


@pytest.mark.parametrize(("typed", "kept"), CASES["tidy"])
def test_blanks_around_it_are_not_kept(typed: str, kept: str) -> None:
    assert skus.tidy(typed) == kept


@pytest.mark.parametrize("other", ["mug-1", "Mug -1", "ＭＵＧ－１", "MUG-1 "])
def test_a_sku_like_another_is_asked_about(replica: Replica, other: str) -> None:
    catalogue.add_product(replica, sku="MUG-1", name="Mug")
    catalogue.add_product(replica, sku="MUG-2", name="Larger mug")
    with pytest.raises(UsageError, match="MUG-1 is there already") as refused:
        catalogue.add_product(replica, sku=other, name="Cup")
    assert refused.value.code == "sku_exists"
    with pytest.raises(UsageError, match="MUG-1 is there already"):
        catalogue.edit_product(replica, "MUG-2", {"sku": other})
    assert [one.sku for one in catalogue.list_products(replica)] == ["MUG-1", "MUG-2"]


def test_ones_own_may_be_written_otherwise(replica: Replica) -> None:
    catalogue.add_product(replica, sku="äpfel 1", name="Apples")
    assert catalogue.edit_product(replica, "äpfel 1", {"sku": "ÄPFEL-1"}).sku == "ÄPFEL-1"
    assert catalogue.edit_product(replica, "ÄPFEL-1", {"sku": " äpfel-1 "}).sku == "äpfel-1"
    with pytest.raises(UsageError):
        catalogue.add_product(replica, sku="ÄPFEL-1", name="More apples")
