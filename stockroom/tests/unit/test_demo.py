"""The invented retailer: the same for the same seed, plausible, and whole on every device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest

from holdfast import Replica
from holdfast.replica.memory import MemoryTransport
from holdfast.server.assembly import open_server
from holdfast.server.identity.principal import Principal
from stockroom.demo import GOODS_MAX, Demo, Size, check_digit, is_empty, load, make_demo
from stockroom.on_hand import check_stock
from stockroom.rules import rules
from stockroom.schema import KINDS, schema
from stockroom.server.filling import Step, fill

ENDS = date(2026, 3, 2)
DEMO = make_demo(seed=1, ends=ENDS)


def column(table: str, name: str, demo: Demo = DEMO) -> list[object]:
    index = demo.columns[table].index(name)
    return [row[index] for row in demo.rows[table]]


def on_hand_of(demo: Demo) -> Counter[tuple[object, object]]:
    fields = ("store_id", "product_id", "quantity")
    on_hand: Counter[tuple[object, object]] = Counter()
    for store, product, quantity in zip(
        *(column("movement", f, demo) for f in fields), strict=True
    ):
        on_hand[store, product] += int(str(quantity))
    return on_hand


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
    on_hand = on_hand_of(DEMO)
    assert min(on_hand.values()) >= 0
    rules_of = zip(*(column("reorder_rule", f) for f in DEMO.columns["reorder_rule"]), strict=True)
    low = [on_hand[store, product] <= at for store, product, at, _ in rules_of]
    assert 0.01 < sum(low) / len(low) < 0.3


@pytest.mark.parametrize(("products", "movements"), [(3_000, 9_001), (40, 700), (500, 3), (1, 1)])
def test_a_demo_of_a_given_size(products: int, movements: int) -> None:
    demo = make_demo(seed=1, ends=ENDS, size=Size(products=products, movements=movements))
    assert len(demo.rows["product"]) == products
    assert len(demo.rows["movement"]) == movements
    for table, key in (("product", "sku"), ("product", "name"), ("barcode", "code")):
        values = column(table, key, demo)
        assert len(set(values)) == len(values)
    assert min(on_hand_of(demo).values()) >= 0
    ends_us = 1_000_000 * 86_400 * (ENDS.toordinal() - 719_163)
    assert all(int(str(at)) < ends_us for at in column("movement", "occurred_at", demo))
    sold = Counter(column("movement", "product_id", demo))
    assert max(sold.values()) <= max(10, 0.2 * movements)


@pytest.mark.parametrize(
    "ends",
    [date(2026, 11, 30) + timedelta(days=n) for n in range(7)]
    + [date(2027, 1, 1), date(2028, 2, 29), date(2028, 3, 1), date(2027, 3, 29)],
    ids=str,
)
def test_a_demo_is_of_use_whichever_day_it_ends_on(ends: date) -> None:
    """Tests and visitors meet the same goods in the same stores, all of it in the past."""
    demo = make_demo(seed=1, ends=ends, size=Size(movements=600))
    for table in ("product", "supplier", "barcode", "store", "location"):
        assert demo.rows[table] == DEMO.rows[table]
    assert len(demo.rows["movement"]) == 600
    at = [int(str(us)) for us in column("movement", "occurred_at", demo)]
    ends_us = 1_000_000 * 86_400 * (ends.toordinal() - 719_163)
    assert ends_us - 9 * 86_400_000_000 < max(at) < ends_us
    on_hand = on_hand_of(demo)
    assert min(on_hand.values()) >= 0
    stores = column("store", "id", demo)
    assert all(
        sum(on_hand[store, product] for product in column("product", "id", demo)) > 0
        for store in stores
    )
    assert {"opening", "sale", "receive"} <= set(column("movement", "kind", demo))


def test_only_one_of_the_two_numbers() -> None:
    assert len(make_demo(seed=1, ends=ENDS, size=Size(products=9)).rows["product"]) == 9
    demo = make_demo(seed=1, ends=ENDS, size=Size(movements=1_000))
    assert len(demo.rows["movement"]) == 1_000
    assert demo.rows["product"] == DEMO.rows["product"]
    assert GOODS_MAX > 150_000


def test_a_demo_that_is_interrupted_has_never_been(tmp_path: Path) -> None:
    database = tmp_path / "server.db"
    size = Size(products=50, movements=400)
    said: list[tuple[Step, int, int | None]] = []

    def interrupted(step: Step, done: int, of: int | None) -> None:
        said.append((step, done, of))
        if step == "write":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(str(database), size, interrupted)
    assert is_empty(database)
    said.clear()
    fill(str(database), size, lambda *told: said.append(told))
    assert ("make", 400, 400) in said
    assert said[-2][:1] == ("write",)
    assert said[-2][1] == said[-2][2]
    assert said[-1] == ("take_in", 0, None)
    with open_server(schema, database, rules=rules) as server:
        assert not server.service.poll_foreign_writes()
    fill(str(database), Size(products=9), lambda *told: said.append(told))
    assert said[-1] == ("take_in", 0, None)  # a shop that is there stays as it is


@pytest.mark.slow
def test_a_server_takes_it_in_and_a_device_has_all_of_it(tmp_path: Path) -> None:
    database = tmp_path / "server.db"
    scopes = ("catalog", "cost", "staff", "store/1", "store/2", "store/3")

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
