"""The invented retailer: the same for the same seed, plausible, and whole on every device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.replica.memory import MemoryTransport
from holdfast.server.assembly import open_server
from holdfast.server.principal import Principal
from stockroom.demo import check_digit, is_empty, load, make_demo
from stockroom.on_hand import check_stock
from stockroom.rules import rules
from stockroom.schema import KINDS, schema

ENDS = date(2026, 3, 2)
DEMO = make_demo(seed=1, ends=ENDS)


def column(table: str, name: str) -> list[object]:
    index = DEMO.columns[table].index(name)
    return [row[index] for row in DEMO.rows[table]]


@pytest.mark.parametrize(
    ("digits", "check"), [("400638133393", "1"), ("978014300723", "4"), ("200000000001", "5")]
)
def test_check_digits(digits: str, check: str) -> None:
    assert check_digit(digits) == check


def test_the_same_seed_makes_the_same_and_another_does_not() -> None:
    assert make_demo(seed=1, ends=ENDS) == DEMO
    assert make_demo(seed=2, ends=ENDS).rows["movement"] != DEMO.rows["movement"]


def test_barcodes_are_valid_and_in_the_ranges_for_own_use() -> None:
    codes = [str(code) for code in column("barcode", "code")]
    assert len(set(codes)) == len(codes)
    for code in codes:
        assert 20 <= int(code[:2]) <= 29
        assert check_digit(code[:12]) == code[12]


def test_what_a_shop_has() -> None:
    assert len(DEMO.rows["store"]) == 3
    assert len(DEMO.rows["supplier"]) == 8
    assert len(set(column("product", "sku"))) == len(DEMO.rows["product"]) > 150
    kinds = Counter(column("movement", "kind"))
    assert set(kinds) <= set(KINDS)
    assert kinds["sale"] > 5_000
    assert min(kinds[k] for k in ("receive", "customer_return", "damage", "opening")) > 20
    weekdays = Counter(
        date.fromordinal(719_163 + int(str(at)) // 86_400_000_000).weekday()
        for kind, at in zip(
            column("movement", "kind"), column("movement", "occurred_at"), strict=True
        )
        if kind == "sale"
    )
    assert weekdays[6] == 0
    assert weekdays[5] > 1.5 * weekdays[0]


def test_stock_never_falls_below_zero_and_some_of_it_is_low() -> None:
    fields = ("store_id", "product_id", "quantity")
    on_hand: Counter[tuple[object, object]] = Counter()
    for store, product, quantity in zip(*(column("movement", f) for f in fields), strict=True):
        on_hand[store, product] += int(str(quantity))
    assert min(on_hand.values()) >= 0
    rules_of = zip(*(column("reorder_rule", f) for f in DEMO.columns["reorder_rule"]), strict=True)
    low = [on_hand[store, product] <= at for store, product, at, _ in rules_of]
    assert 0.01 < sum(low) / len(low) < 0.3


def test_a_server_takes_it_in_and_a_device_has_all_of_it(tmp_path: Path) -> None:
    database = tmp_path / "server.db"
    scopes = ("catalog", "staff", "store/1", "store/2", "store/3")

    def everybody(_headers: Mapping[str, str]) -> Principal:
        return Principal("ada", "tablet", write=scopes)

    with open_server(schema, database, everybody, rules=rules) as server:
        assert is_empty(database)
        count = load(DEMO, database)
        assert not is_empty(database)
        transport = MemoryTransport(server.service, everybody({}))
        with Replica.open(tmp_path / "device.db", schema, transport=transport) as replica:
            assert replica.sync().verified
            held = sum(
                int(str(replica.query(f"SELECT count(*) FROM {table}")[0][0]))
                for table in DEMO.rows
            )
            assert held == count
            assert check_stock(replica) == []
            assert replica.status.pending == 0
