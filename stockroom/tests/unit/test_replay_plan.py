from __future__ import annotations

import lzma
from collections import Counter
from pathlib import Path

import pytest

from holdfast.core.errors import UsageError
from stockroom.replay.plan import make_plan, read_work, store_of, write_work
from stockroom.replay.source import read_lines

HEADER = "invoice,sku,description,quantity,time,unit_price\n"
BODY = (
    "1,a1,Tea ,6,2010-12-01T08:26:00Z,2.55\n"
    "1,A1,Other,1,2010-12-01T08:26:00Z,1\n"
    "1,a1,Tea ,6,2010-12-01T08:26:00Z,2.55\n"
    '2,a1,"Tea, dear",2,2010-12-01T09:00:00Z,9.99\n'
    "3,B,damaged,-4,2010-12-02T09:00:00Z,0\n"
    "C4,a1,Tea,-1,2010-12-02T10:00:00Z,2.55\n"
    "1,B,Bee,2,2010-12-02T10:00:00Z,0.005\n"
)


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    path.write_text(HEADER + BODY)
    return path


def test_packed_or_not_the_lines_are_the_same(sales: Path) -> None:
    packed = sales.with_suffix(".csv.xz")
    packed.write_bytes(lzma.compress(sales.read_bytes()))
    assert read_lines(sales) == read_lines(packed)
    assert len(read_lines(sales, limit=3)) == 3


def test_invoices_are_whole_and_shared_out_once(sales: Path) -> None:
    plan = make_plan(read_lines(sales), devices=3, stores=2, seed=5)
    invoices = [work.invoice for share in plan.work for work in share]
    assert sorted(invoices) == ["1", "2", "3", "C4"]
    assert Counter(len(work.sales) for share in plan.work for work in share) == {4: 1, 1: 3}
    assert (plan.lines, plan.invoices, plan.stores) == (7, 4, ("1", "2"))
    assert [store_of(device, plan.stores) for device in range(3)] == ["1", "2", "1"]
    assert plan == make_plan(read_lines(sales), devices=3, stores=2, seed=5)


def test_a_product_is_what_the_file_says_first(sales: Path) -> None:
    products = make_plan(read_lines(sales), devices=2, stores=1, seed=1).products
    assert set(products) == {"a1", "A1", "B"}
    assert (products["a1"].description, products["a1"].price) == ("Tea ", 255)
    assert (products["B"].description, products["B"].price) == ("damaged", 0)


def test_a_movement_is_minus_its_line(sales: Path) -> None:
    plan = make_plan(read_lines(sales), devices=1, stores=1, seed=1)
    found = {
        work.invoice: [(sale.sku, sale.quantity, sale.kind, sale.note) for sale in work.sales]
        for work in plan.work[0]
    }
    assert found["C4"] == [("a1", 1, "customer_return", "")]
    assert found["3"] == [("B", 4, "correction", "damaged")]
    assert found["1"].count(("a1", -6, "sale", "")) == 2


def test_work_is_read_as_it_was_written(sales: Path, tmp_path: Path) -> None:
    (work,) = make_plan(read_lines(sales), devices=1, stores=1, seed=1).work
    write_work(tmp_path / "work", work)
    assert read_work(tmp_path / "work") == list(work)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_file"),
        ("invoice,sku\n1,2\n", "bad_file"),
        (HEADER, "bad_file"),
        (HEADER + "1,a,x,many,2010-12-01T08:26:00Z,1\n", "bad_file"),
        (HEADER + "1,a,x,1,yesterday,1\n", "bad_file"),
        (HEADER + "1,a,x,1,2010-12-01T08:26:00Z,dear\n", "bad_file"),
        (HEADER + "1,,x,1,2010-12-01T08:26:00Z,1\n", "bad_file"),
        (HEADER + "1,a\n", "bad_file"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_lines(path)
    assert caught.value.code == code


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_lines(tmp_path / "none.csv")
    assert caught.value.code == "no_file"
    damaged = tmp_path / "damaged.csv.xz"
    damaged.write_bytes(lzma.compress((HEADER + BODY).encode())[:-20])
    with pytest.raises(UsageError) as caught:
        read_lines(damaged)
    assert caught.value.code == "bad_file"
