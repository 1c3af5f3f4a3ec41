"""Columns that are one decision: at every moment, everywhere, a pair is one that somebody wrote.

Checks I18.
"""

from __future__ import annotations

import json
import random
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from server_lab import Shop

from holdfast.core.errors import BadValue, ConstraintFailed, HoldfastError, SyncError, UsageError
from holdfast.core.merging import groups, merge
from holdfast.replica.rebase import overlay
from holdfast.schema import Column, Schema, Table
from holdfast.schema.policies import MergePolicy
from holdfast.server.direct import ingest
from holdfast.server.merging import batch

GROUPED: tuple[MergePolicy, ...] = ("latest", "server", "client", "manual")
CURRENCIES = ("EUR", "JPY", "KWD")


def goods(policy: MergePolicy) -> Table:
    return Table(
        name=policy,
        key=("id",),
        columns=(
            Column("id"),
            Column("price", "integer", merge=policy, default=0),
            Column("name", default=""),
            Column("currency", merge=policy, default="EUR"),
            Column("sold", "integer", merge="counter"),
            Column("code", nullable=True),
        ),
        scopes=("main",),
        unique=(("code",),),
        existence_public=True,
        on_delete="manual" if policy == "manual" else "keep",
        groups=(("price", "currency"),),
    )


SCHEMA = Schema(name="goods", tables=tuple(goods(policy) for policy in GROUPED))


def started(folder: Path) -> Shop:
    shop = Shop(folder, SCHEMA)
    shop.write("a", *(f"INSERT INTO {t} (id, price) VALUES ('x', 1000)" for t in GROUPED))
    shop.sync("a", "b", "a")
    return shop


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    with closing(started(tmp_path)) as shop:
        yield shop


def money(shop: Shop, name: str, table: str = "manual", key: str = "x") -> Any:
    sql = f"SELECT price, currency FROM {table} WHERE id = '{key}'"
    rows = shop.on_server(sql) if name == "server" else shop.devices[name].query(sql)
    return rows[0] if rows else None


def everywhere(shop: Shop, table: str = "manual") -> set[Any]:
    shop.sync("a", "b", "a")
    return {money(shop, name, table) for name in ("a", "b", "server")}


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [("latest", 1100), ("server", 1000), ("client", 1100), ("manual", 1000)],
)
@pytest.mark.parametrize("how", ["api", "shell", "replace"])
def test_a_currency_against_a_price_is_one_of_both(
    shop: Shop, policy: str, wanted: int, how: str
) -> None:
    shop.write("a", f"UPDATE {policy} SET currency = 'JPY' WHERE id = 'x'")
    price = {
        "api": f"UPDATE {policy} SET price = 1100 WHERE id = 'x'",
        "shell": f"UPDATE {policy} SET price = price + 100",
        "replace": f"INSERT OR REPLACE INTO {policy} (id, price) VALUES ('x', 1100)",
    }[how]
    (shop.shell if how == "shell" else shop.write)("b", price)
    currency = "EUR" if wanted == 1100 else "JPY"
    assert everywhere(shop, policy) == {(wanted, currency)}


def hear(shop: Shop, name: str) -> None:
    """Take in the news, while one's own changes wait."""
    transport = shop.transports[name]
    real = transport.exchange

    def asks_only(request: Any, echo: str) -> Any:
        return real(replace(request, transactions=[]), echo)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "exchange", asks_only)
        with suppress(SyncError):  # what it had to send was not decided
            shop.devices[name].sync()


def test_my_price_never_stands_beside_their_currency(shop: Shop) -> None:
    """News come while my own change waits: what I see is my pair, not a part of theirs."""
    shop.write("a", "UPDATE manual SET price = 1600, currency = 'JPY', name = 'n'")
    shop.sync("a")
    shop.write("b", "UPDATE manual SET price = 1100")
    hear(shop, "b")
    assert shop.devices["b"].query("SELECT price, currency, name FROM manual") == [
        (1100, "EUR", "n")
    ]
    assert everywhere(shop) == {(1600, "JPY")}


def test_different_groups_and_columns_beside_them_both_survive(shop: Shop) -> None:
    shop.write("a", "UPDATE manual SET currency = 'JPY', sold = sold + 2")
    shop.write("b", "UPDATE manual SET name = 'n', sold = sold + 3")
    assert everywhere(shop) == {(1000, "JPY")}
    assert shop.a.query("SELECT name, sold FROM manual") == [("n", 5)]
    assert shop.a.conflicts() == []


def test_a_retried_edit_brings_its_whole_pair(shop: Shop) -> None:
    shop.write("b", "INSERT INTO manual (id, code) VALUES ('taken', 'c')")
    shop.sync("b")
    shop.write("a", "UPDATE manual SET currency = 'JPY', code = 'c' WHERE id = 'x'")
    shop.write("b", "UPDATE manual SET price = 1100 WHERE id = 'x'")
    shop.sync("b", "a")
    ((number, (state, _)),) = shop.waiting().items()
    assert state == "refused"
    shop.write("b", "UPDATE manual SET code = NULL WHERE id = 'taken'")
    shop.sync("b", "a")
    assert money(shop, "a") == (1100, "EUR")
    shop.a.retry(str(number))
    assert money(shop, "a") == (1000, "JPY")
    assert everywhere(shop) == {(1000, "JPY")}


def test_the_server_refuses_a_part_of_a_group(shop: Shop, monkeypatch: Any) -> None:
    from holdfast.replica.changes import outbox

    real = outbox.change_message

    def broken(*given: Any, **options: Any) -> Any:
        message = real(*given, **options)
        message.new.pop("currency", None)
        return message

    monkeypatch.setattr(outbox, "change_message", broken)
    shop.write("a", "UPDATE manual SET price = 1100")
    shop.sync("a")
    monkeypatch.undo()
    (item,) = shop.a.refused()
    assert (item.code, item.field) == ("group_incomplete", "price")
    assert "price, currency of manual are one decision" in item.message
    assert money(shop, "server") == (1000, "EUR")


def test_a_direct_write_of_one_column_decides_the_whole_group(shop: Shop) -> None:
    shop.write("b", "UPDATE server SET price = 1100")
    shop.on_server("UPDATE server SET currency = 'JPY'")
    assert everywhere(shop, "server") == {(1000, "JPY")}


# --- conflicts ----------------------------------------------------------------------------------


def in_conflict(shop: Shop) -> Any:
    shop.write("a", "UPDATE manual SET price = 1600, currency = 'JPY'")
    shop.write("b", "UPDATE manual SET price = 1100")
    shop.sync("a", "b", "a")
    (conflict,) = shop.a.conflicts()
    return conflict


def test_a_conflict_shows_both_sides_whole(shop: Shop) -> None:
    conflict = in_conflict(shop)
    assert (conflict.column, conflict.kind) == ("price,currency", "edit")
    assert conflict.base == {"price": 1000, "currency": "EUR"}
    assert conflict.device_value == {"price": 1100, "currency": "EUR"}
    assert conflict.server_value == {"price": 1600, "currency": "JPY"}
    shop.write("a", "UPDATE manual SET price = 1700")
    shop.sync("a", "b")
    (conflict,) = shop.devices["b"].conflicts()
    assert conflict.server_value == {"price": 1700, "currency": "JPY"}
    shop.write("b", "UPDATE manual SET currency = 'KWD'")
    shop.sync("b", "a")
    assert everywhere(shop) == {(1700, "KWD")}, "b had seen 1700 JPY"


@pytest.mark.parametrize(
    ("by", "wanted"),
    [
        ({"keep": "device"}, (1100, "EUR")),
        ({"keep": "server"}, (1600, "JPY")),
        ({"value": {"price": 1200, "currency": "KWD"}}, (1200, "KWD")),
        ({"value": {"currency": "KWD", "price": "1200"}}, (1200, "KWD")),
        ({"value": '{"price": "1600", "currency": "EUR"}'}, (1600, "EUR")),
    ],
)
def test_a_conflict_is_settled_whole(shop: Shop, by: Any, wanted: Any) -> None:
    conflict = in_conflict(shop)
    shop.a.resolve(conflict.id, **by)
    assert money(shop, "a") == wanted
    assert everywhere(shop) == {wanted}
    assert [shop.devices[name].conflicts() for name in "ab"] == [[], []]
    assert [shop.waiting(name) for name in "ab"] == [{}, {}]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (1200, UsageError),
        ("1200", UsageError),
        ("1200 JPY", UsageError),
        ({"price": 1200}, UsageError),
        ({"price": 1200, "currency": "JPY", "name": "n"}, UsageError),
        ({"price": "much", "currency": "JPY"}, BadValue),
    ],
)
def test_a_part_of_a_choice_is_none(shop: Shop, value: Any, error: Any) -> None:
    conflict = in_conflict(shop)
    with pytest.raises(error):
        shop.a.resolve(conflict.id, value=value)
    assert money(shop, "a") == (1600, "JPY")
    assert len(shop.a.conflicts()) == 1


def test_a_settlement_of_what_has_moved_on_leaves_both_whole(shop: Shop) -> None:
    conflict = in_conflict(shop)
    shop.write("b", "UPDATE manual SET currency = 'KWD'")
    shop.sync("b")
    shop.a.resolve(conflict.id, keep="device")
    shop.sync("a", "b")
    pairs = {money(shop, "server")}
    for conflict in shop.devices["b"].conflicts():
        pairs |= {tuple(one.values()) for one in (conflict.device_value, conflict.server_value)}
    assert pairs <= {(1600, "JPY"), (1100, "EUR"), (1600, "KWD")}


def test_what_a_deleted_row_loses_is_told_whole(shop: Shop) -> None:
    shop.write("a", "UPDATE manual SET currency = 'JPY'")
    shop.write("b", "DELETE FROM manual")
    shop.sync("a", "b", "a")
    (conflict,) = shop.a.conflicts()
    assert conflict.kind == "delete"
    assert conflict.server_value == {"price": "1000", "currency": "JPY"}
    assert everywhere(shop) == {(1000, "JPY")}


# --- whatever happens ---------------------------------------------------------------------------


class Clerks:
    """Random work on both devices and the server, and every pair that anybody wrote."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop = shop
        self.dice = random.Random(seed)
        self.written = {(table, 1000, "EUR") for table in GROUPED}
        self.written |= {(table, 0, "EUR") for table in GROUPED}
        self.next = iter(range(1001, 9999))

    def pairs(self, name: str) -> set[Any]:
        sql = " UNION ALL ".join(f"SELECT '{t}', price, currency FROM {t}" for t in GROUPED)
        shop = self.shop
        return set(shop.on_server(sql) if name == "server" else shop.devices[name].query(sql))

    def asked(self, name: str) -> set[Any]:
        """The pairs that people are asked about; each question is about a whole one."""
        found: set[Any] = set()
        for table, column, *sides in self.shop.devices[name].query(
            "SELECT table_name, column_name, base, mine, theirs FROM holdfast_conflict "
            "WHERE kind = 'edit'"
        ):
            assert column == "price,currency", f"{name} is asked about {column!s}"
            pairs = [json.loads(str(side)) for side in sides]
            found |= {(table, int(pair["price"]), pair["currency"]) for pair in pairs}
        return found

    def step(self) -> None:
        dice, shop = self.dice, self.shop
        name = dice.choice(["a", "b", "a", "b", "server"])
        if name == "server":
            table = dice.choice(GROUPED)
            shop.on_server(f"UPDATE {table} SET {self._some()} WHERE id = '{dice.choice('xy')}'")
            self.written |= self.pairs("server")
            return
        seldom = ["hear", "hear", "resolve", "retry", "discard"]
        deed = dice.choice(["write"] * 5 + ["sync"] * 3 + seldom)
        if deed in ("sync", "hear"):
            shop.sync(name) if deed == "sync" else hear(shop, name)
            return  # nothing is written by it
        replica = shop.devices[name]
        with suppress(ConstraintFailed):
            if deed == "write":
                with replica.transaction() as db:
                    for _ in range(dice.randint(1, 3)):
                        db.execute(self._statement())
            elif deed == "resolve":
                for conflict in replica.conflicts()[:1]:
                    replica.resolve(conflict.id, keep=dice.choice(["device", "server"]))
                return
            else:
                for item in replica.refused()[:1]:
                    getattr(replica, deed)(item.id)
                return
        self.written |= self.pairs(name)

    def _some(self) -> str:
        return self.dice.choice(
            [
                f"price = {next(self.next)}",
                f"currency = '{self.dice.choice(CURRENCIES)}'",
                f"price = {next(self.next)}, currency = '{self.dice.choice(CURRENCIES)}'",
                "sold = sold + 1",
                f"name = '{next(self.next)}'",
                f"code = '{self.dice.choice('cd')}', price = {next(self.next)}",
            ]
        )

    def _statement(self) -> str:
        table, key = self.dice.choice(GROUPED), self.dice.choice("xy")
        kind = self.dice.random()
        if kind < 0.1:
            return f"DELETE FROM {table} WHERE id = '{key}'"
        if kind < 0.25:
            verb = self.dice.choice(["INSERT OR REPLACE", "INSERT OR IGNORE"])
            columns = self.dice.choice(["price", "currency"])
            value = next(self.next) if columns == "price" else "'JPY'"
            return f"{verb} INTO {table} (id, {columns}) VALUES ('{key}', {value})"
        return f"UPDATE {table} SET {self._some()} WHERE id = '{key}'"


def each_pair_is_one_that_was_written(shop: Shop, seed: int) -> None:
    clerks = Clerks(shop, seed)
    for _ in range(60):
        clerks.step()
        for name in ("a", "b", "server"):
            assert clerks.pairs(name) <= clerks.written, name
        for name in ("a", "b"):
            assert clerks.asked(name) <= clerks.written, name
    shop.sync("a", "b", "a", "b")
    assert clerks.pairs("a") == clerks.pairs("b") == clerks.pairs("server")


@pytest.mark.parametrize("seed", range(6))
def test_at_every_step_each_pair_is_one_that_was_written(shop: Shop, seed: int) -> None:
    each_pair_is_one_that_was_written(shop, seed)


# --- and would be missed ------------------------------------------------------------------------


def merged_by_column(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(merge, "_joined", lambda change: change)
    patch.setattr(merge, "_groups_change", lambda *_: True)


def replayed_by_column(patch: pytest.MonkeyPatch) -> None:
    real = groups.differing
    patch.setattr(overlay, "differing", lambda table, *rows: real(replace(table, groups=()), *rows))


def ingested_by_column(patch: pytest.MonkeyPatch) -> None:
    real = batch.difference
    for module in (batch, ingest):
        patch.setattr(
            module, "difference", lambda table, *rows: real(replace(table, groups=()), *rows)
        )


@pytest.mark.slow
@pytest.mark.parametrize("plant", [merged_by_column, replayed_by_column, ingested_by_column])
def test_a_place_that_knows_no_groups_is_found(
    tmp_path: Path, plant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    for seed in range(6):
        (tmp_path / str(seed)).mkdir()
        with closing(started(tmp_path / str(seed))) as shop:
            try:
                each_pair_is_one_that_was_written(shop, seed)
            except (AssertionError, HoldfastError, KeyError):
                return
    pytest.fail("not found within 6 seeds")
