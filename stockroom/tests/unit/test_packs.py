"""The code of a case counts its pieces; what is taken back is the whole case."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import Replica, UsageError
from stockroom import catalogue, packs, stock
from stockroom.schema import PACK_MAX, schema

CASES = json.loads((Path(__file__).parents[1] / "cases/packs.json").read_text())
PIECE, CASE = "4006381333931", "14006381333938"


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    with Replica.open(tmp_path / "till.db", schema) as opened:
        catalogue.add_product(opened, sku="PEN-1", name="Pencil", barcodes=(PIECE, f"{CASE} x12"))
        yield opened


@pytest.mark.parametrize("case", CASES["typed"], ids=lambda case: case["text"])
def test_a_pack_size_is_read_beside_its_code(case: dict[str, str | int | None]) -> None:
    assert packs.read_pack(str(case["text"])) == (case["code"], case["pack"])


@pytest.mark.parametrize("case", CASES["pieces"], ids=lambda case: case["case"])
def test_a_case_is_known_by_the_number_of_its_piece(case: dict[str, str]) -> None:
    assert packs.piece_of(case["case"]) == case["piece"]


def test_what_is_written_is_read() -> None:
    for pack in (1, 12, PACK_MAX):
        code, found = packs.read_pack(packs.write_pack(CASE, pack))
        assert (code, found or 1) == (CASE, pack)


def test_a_scan_of_a_case_counts_its_pieces(replica: Replica) -> None:
    place = stock.ensure_place(replica, "s1")
    assert [catalogue.scanned(replica, code)[1] for code in ("PEN-1", PIECE, CASE)] == [1, 1, 12]
    moved = stock.receive(replica, place, f"]C101{CASE}", 2)
    assert (moved.after, moved.pack) == (24, 12)
    sold = stock.adjust(replica, place, CASE, by=-1, reason="sale")
    assert sold.after == 12
    assert stock.undo(replica, sold.movement.id).after == 24
    assert stock.adjust(replica, place, CASE, to=1, reason="count").after == 12
    assert stock.opening(replica, place, PIECE, 3).after == 15


def test_a_pack_size_is_changed_by_saying_it_again(replica: Replica) -> None:
    catalogue.edit_product(replica, "PEN-1", {}, barcodes=[f"{CASE} x10"])
    assert catalogue.packs_of(replica, catalogue.get_product(replica, "PEN-1").id) == {CASE: 10}
    catalogue.edit_product(replica, "PEN-1", {}, barcodes=[CASE])
    assert catalogue.scanned(replica, CASE)[1] == 10
    catalogue.edit_product(replica, "PEN-1", {}, barcodes=[f"{CASE} x1"])
    assert catalogue.scanned(replica, CASE)[1] == 1


@pytest.mark.parametrize("pack", [0, PACK_MAX + 1])
def test_a_case_of_none_or_too_many_is_refused(replica: Replica, pack: int) -> None:
    with pytest.raises(UsageError) as refused:
        catalogue.edit_product(replica, "PEN-1", {}, barcodes=[f"CRATE x{pack}"])
    assert refused.value.code == "bad_pack"
