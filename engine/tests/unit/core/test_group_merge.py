"""A group is merged as one column would be that holds the values of all its columns.

Checks I18.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast.core.errors import Refuse
from holdfast.core.merging.merge import Author, Decision, Merged, RowChange, merge
from holdfast.core.merging.rows import ABSENT, ServerRow, stamp_of
from holdfast.core.values import Value
from holdfast.schema.model import Column, DeletePolicy, Table
from holdfast.schema.policies import MergePolicy

POLICIES: tuple[MergePolicy, ...] = ("latest", "server", "client", "manual")
DELETES: tuple[DeletePolicy, ...] = ("keep", "delete", "manual")
GROUP = ("price", "currency")
NAME = "price,currency"


def grouped(policy: MergePolicy, on_delete: DeletePolicy) -> Table:
    return Table(
        name="item",
        key=("id",),
        columns=(
            Column("id"),
            Column("price", "integer", merge=policy, default=0),
            Column("text", default=""),
            Column("currency", merge=policy, default="EUR"),
            Column("stock", "integer", merge="counter"),
        ),
        scopes=("catalog",),
        on_delete=on_delete,
        groups=(GROUP,),
    )


def together(policy: MergePolicy, on_delete: DeletePolicy) -> Table:
    """The model: one column holds both."""
    return Table(
        name="item",
        key=("id",),
        columns=(
            Column("id"),
            Column("money", "json", merge=policy, default=packed(0, "EUR")),
            Column("text", default=""),
            Column("stock", "integer", merge="counter"),
        ),
        scopes=("catalog",),
        on_delete=on_delete,
    )


def packed(price: Value, currency: Value) -> str:
    return json.dumps({"price": str(price), "currency": currency}, separators=(",", ":"))


def as_one(values: dict[str, Value]) -> dict[str, Value]:
    """The columns of the grouped table as the model has them."""
    one: dict[str, Value] = {}
    for name, value in values.items():
        if name in GROUP:
            one["money"] = packed(values["price"], values["currency"])
        else:
            one[name] = value
    return one


MONEY = st.fixed_dictionaries(
    {"price": st.sampled_from([0, 7, 8]), "currency": st.sampled_from(["EUR", "JPY"])}
)
TEXT = st.fixed_dictionaries({"text": st.sampled_from(["", "x", "y"])})
STOCK = st.fixed_dictionaries({"stock": st.sampled_from([1, -2])})
SOME = st.lists(st.one_of(MONEY, TEXT, STOCK), min_size=1, max_size=3).map(
    lambda parts: {name: value for part in parts for name, value in part.items()}
)
STEP = st.tuples(
    st.sampled_from("ABC"),
    st.sampled_from(["update"] * 6 + ["insert", "delete", "settle"]),
    SOME,
    MONEY,
    st.integers(0, 5),
    st.integers(0, 30),
)
"""Device, what it does, with what, how many revisions it is behind, and when."""


def change_of(table: Table, op: Any, new: dict[str, Value], base: int) -> RowChange:
    return RowChange(table, "i", ("i",), op, base, {}, new, {})


def result(table: Table, row: ServerRow, change: RowChange, author: Author, *settled: str) -> Any:
    try:
        return merge(row, change, author, incarnation=9, settled=frozenset(settled))
    except Refuse as refusal:
        return refusal.code


def shown(row: ServerRow, table: Table) -> Any:
    values = row.image if row.values is None else row.values
    if values is None:
        return None
    named = dict(zip(table.column_names, values, strict=True))
    if "money" in named:
        named |= json.loads(str(named.pop("money")))
        named["price"] = int(named["price"])  # type: ignore[arg-type]
    return named, row.values is None, row.rev


def recorded(decision: Decision) -> Any:
    """A journal entry, with the model's column under the group's name."""
    return (
        decision.kind, NAME if decision.column == "money" else decision.column, decision.kept,
        decision.lost, decision.kept_device, decision.lost_device,
    )  # fmt: skip


def unpacked(side: dict[str, Any]) -> dict[str, Any]:
    return side | json.loads(side.pop("money")) if "money" in side else side


def asked(conflict: Any) -> Any:
    sides = [conflict.base, conflict.mine, conflict.theirs]
    if conflict.kind == "delete":
        sides = [None if side is None else unpacked(json.loads(side)) for side in sides]
    else:
        sides = [sides[1], sides[2]]
    return conflict.kind, NAME if conflict.column == "money" else conflict.column, sides


@settings(max_examples=examples(300))
@given(
    policy=st.sampled_from(POLICIES),
    on_delete=st.sampled_from(DELETES),
    steps=st.lists(STEP, min_size=2, max_size=9),
)
def test_a_group_is_merged_as_one_column_that_holds_it_all(
    policy: MergePolicy, on_delete: DeletePolicy, steps: list[Any]
) -> None:
    group, one = grouped(policy, on_delete), together(policy, on_delete)
    row = other = ABSENT
    written = {(0, "EUR")}
    for device, deed, some, money, behind, at in [("A", "insert", {}, {}, 0, 0), *steps]:
        new: dict[str, Value] = dict(some)
        settled = deed == "settle"
        op = "update" if settled else deed
        if op == "insert":
            new = {"price": 0, "currency": "EUR", "text": "", "stock": 0, **new}
        elif settled:
            new = dict(money)
        elif op == "delete":
            new = {}
        if "price" in new:
            written.add((new["price"], new["currency"]))  # type: ignore[arg-type]
        author = Author(device, device, at, 1)
        base = max(row.rev - behind, (9 << 32) + 1) if row.rev and op != "insert" else 0
        names = (GROUP, ("money",)) if settled else ((), ())
        found = result(group, row, change_of(group, op, new, base), author, *names[0])
        wanted = result(one, other, change_of(one, op, as_one(new), base), author, *names[1])
        if isinstance(found, str):
            assert found == wanted
            continue
        assert isinstance(found, Merged) and isinstance(wanted, Merged)
        row, other = found.row, wanted.row
        assert shown(row, group) == shown(other, one)
        assert found.changed == wanted.changed
        assert [*map(recorded, found.decisions)] == [*map(recorded, wanted.decisions)]
        assert [*map(asked, found.conflicts)] == [*map(asked, wanted.conflicts)]
        if row.values is not None:
            assert stamp_of(row, "price") == stamp_of(row, "currency") == stamp_of(other, "money")
            assert (row.values[1], row.values[3]) in written


def settled_once(policy: MergePolicy) -> ServerRow:
    table = grouped(policy, "keep")
    new: dict[str, Value] = {"price": 10, "currency": "EUR", "text": "", "stock": 0}
    author = Author("S", "S", 0, 1)
    return merge(ABSENT, change_of(table, "insert", new, 0), author, incarnation=9).row


@pytest.mark.parametrize("policy", POLICIES)
def test_a_price_and_a_currency_from_two_devices_never_make_a_third(policy: MergePolicy) -> None:
    table, row = grouped(policy, "keep"), settled_once(policy)
    base = row.rev
    first = change_of(table, "update", {"price": 10, "currency": "JPY"}, base)
    second = change_of(table, "update", {"price": 11, "currency": "EUR"}, base)
    row = merge(row, first, Author("A", "A", 1, 1), incarnation=9).row
    merged = merge(row, second, Author("B", "B", 2, 1), incarnation=9)
    assert merged.row.values is not None
    money = merged.row.values[1], merged.row.values[3]
    assert money == ((11, "EUR") if policy in ("latest", "client") else (10, "JPY"))
    assert len(merged.decisions) + len(merged.conflicts) == 1
    abouts: list[Any] = [*merged.decisions, *merged.conflicts]
    (about,) = abouts
    assert about.column == NAME
