"""Quotas: what would be too much is refused with the way out, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.server.budgets import Budgets
from holdfast.server.quotas import Quotas

FEW = Budgets(quotas=Quotas(scope_rows_max=5, row_bytes_max=100))
IN_BITES = Budgets(bite_changes=2, quotas=Quotas(scope_rows_max=5, row_bytes_max=100))


def outcomes(peer: Any) -> list[str]:
    return [o.code or o.outcome for o in peer.sync()]


@pytest.mark.parametrize("budgets", [FEW, IN_BITES])
def test_a_scope_holds_so_many_rows(make_server: Any, budgets: Budgets) -> None:
    server = make_server(budgets=budgets)
    one = server.peer()
    for number in range(7):
        one.insert("product", f"p{number}", sku=f"s{number}")
    one.update("product", "p0", name="still changes")
    assert outcomes(one) == ["applied"] * 5 + ["quota_rows"] * 2 + ["applied"]
    assert "5 rows" in one.outcomes[6].message
    one.insert("task", "t", store_id="1")  # another scope has its own
    one.insert("product", "too", sku="much")
    one.delete("product", "p0")
    one.insert("product", "again", sku="room")
    assert outcomes(one) == ["applied", "quota_rows", "applied", "applied"]
    server.check()


def test_a_transaction_counts_as_a_whole(make_server: Any) -> None:
    server = make_server(budgets=FEW)
    one = server.peer()
    for number in range(5):
        one.insert("product", f"p{number}", sku=f"s{number}")
    assert outcomes(one) == ["applied"] * 5
    swap = [
        one.change("delete", "product", "p0"),
        one.change("insert", "product", "new", {"sku": "new"}),
    ]
    more = [
        one.change("update", "product", "p1", {"name": "x"}),
        one.change("insert", "product", "more", {"sku": "more"}),
    ]
    one.commit(*swap)
    one.commit(*more)
    assert outcomes(one) == ["applied", "quota_rows"]
    assert one.row("product", "p1")["name"] == ""
    server.check()


def test_a_row_that_moves_counts_where_it_comes_to(make_server: Any) -> None:
    server = make_server(budgets=Budgets(quotas=Quotas(scope_rows_max=3)))
    one = server.peer()
    for number in range(3):
        one.insert("movement", number + 1, store_id="1", product_id="p", quantity=1)
    one.insert("product", "p", sku="p")
    for number in range(3):
        one.insert("movement", number + 11, store_id="2", product_id="p", quantity=1)
    one.sync()
    one.sync()
    for number in range(3):
        one.insert("movement", number + 21, store_id="1", product_id="p", quantity=1)
    one.sync()
    one.insert("movement", 31, store_id="2", product_id="p", quantity=1)
    one.sync()
    held = [row for row in one.rows if row[0] == "movement"]
    assert len(held) == 6
    one.update("movement", 11, store_id="1")
    one.delete("movement", 21)
    one.update("movement", 11, store_id="1")
    assert outcomes(one) == ["quota_rows", "applied", "applied"]
    server.check()


def test_a_row_has_so_many_bytes(make_server: Any) -> None:
    server = make_server(budgets=FEW)
    one = server.peer()
    one.insert("product", "p", sku="s", name="x" * 30)
    one.insert("product", "large", sku="t", name="\u00e9" * 50)
    assert outcomes(one) == ["applied", "quota_row_bytes"]
    one.update("product", "p", note="y" * 60)
    one.update("product", "p", note="y")
    assert outcomes(one) == ["quota_row_bytes", "applied"]
    server.check()


def test_what_failed_together_counts_once(make_server: Any) -> None:
    """A group that the database objects to is decided again: its rows are not counted twice."""
    server = make_server(budgets=FEW)
    other, one = server.peer("d9"), server.peer()
    other.insert("product", "first", sku="taken")
    other.sync()
    for number in range(3):
        one.insert("product", f"p{number}", sku=f"s{number}")
    one.insert("product", "bad", sku="taken")
    one.insert("product", "last", sku="last")
    one.insert("product", "over", sku="over")
    assert outcomes(one) == ["applied"] * 3 + ["unique", "applied", "quota_rows"]
    server.check()


def test_a_scope_above_its_quota_can_be_changed_and_emptied(make_server: Any) -> None:
    server = make_server()
    one = server.peer()
    for number in range(8):
        one.insert("product", f"p{number}", sku=f"s{number}")
    one.sync()
    server.budgets = FEW
    server.reopen()
    one.update("product", "p1", name="x")
    one.delete("product", "p2")
    one.insert("product", "new", sku="new")
    assert outcomes(one) == ["applied", "applied", "quota_rows"]
    server.check()
