"""Rules: they see a transaction before it commits, refuse it, or add to it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from holdfast.core.errors import Refuse


def test_a_rule_refuses_with_its_reason(make_server: Any) -> None:
    def no_negative(context: Any) -> None:
        for change in context.changes:
            if change.new is not None and change.new.get("on_hand", 0) < 0:
                raise Refuse("negative", "There is not that much.", field="on_hand")

    server = make_server(rules=[no_negative])
    one, two = server.peer("d1"), server.peer("d2")
    one.insert("product", "p", sku="s", on_hand=1)
    one.sync()
    two.sync()
    one.update("product", "p", on_hand=-1)
    two.update("product", "p", on_hand=-1)
    assert [o.outcome for o in one.sync()] == ["applied"]
    (outcome,) = two.sync()
    assert (outcome.code, outcome.message, outcome.field) == (
        "rule:negative", "There is not that much.", "on_hand",
    )  # fmt: skip
    assert two.row("product", "p")["on_hand"] == 0
    server.check()


def test_a_rule_sees_rows_before_and_after(make_server: Any) -> None:
    seen: list[Any] = []

    def watch(context: Any) -> None:
        seen.append((context.number, context.principal.user))
        seen.extend((c.op, c.old, c.new) for c in context.changes)

    server = make_server(rules=[watch])
    one = server.peer(user="ada")
    one.insert("task", "t", store_id="1", text="a")
    one.sync()
    one.update("task", "t", text="b")
    one.delete("task", "t")
    one.sync()
    first, second = ({"id": "t", "store_id": "1", "text": text} for text in "ab")
    assert seen == [
        (1, "ada"), ("insert", None, first),
        (2, "ada"), ("update", first, second),
        (3, "ada"), ("delete", second, None),
    ]  # fmt: skip


def test_a_rule_adds_rows_in_the_same_transaction(make_server: Any) -> None:
    def ask(context: Any) -> None:
        for change in context.changes:
            if change.table == "movement" and change.new["quantity"] > 100:
                context.add("task", {"id": f"ask-{change.key}", "store_id": "1", "text": "really?"})
            if change.table == "movement" and change.new["quantity"] == 13:
                context.add("movement", {"id": 99, "store_id": "1", "product_id": "none"})

    server = make_server(rules=[ask])
    one = server.peer()
    one.insert("product", "p", sku="s")
    one.insert("movement", 1, store_id="1", product_id="p", quantity=500)
    one.insert("movement", 2, store_id="1", product_id="p", quantity=5)
    one.insert("movement", 3, store_id="1", product_id="p", quantity=13)
    outcomes = one.sync()
    assert [o.code for o in outcomes] == ["", "", "", "foreign_key"]
    assert set(outcomes[1].versions) == {"store/1", "tasks"}
    assert one.row("task", "ask-1")["text"] == "really?"
    assert [k for t, k in one.rows if t == "movement"] == ["1", "2"]
    assert server.query("SELECT count(*) FROM task") == [(1,)]
    server.check()


def test_a_query_sees_earlier_transactions_of_the_batch(make_server: Any) -> None:
    def at_most_three(context: Any) -> None:
        ((count,),) = (row.values() for row in context.query("SELECT count(*) AS n FROM task"))
        if count >= 3:
            context.refuse("too_many", "Three are enough.")

    server = make_server(rules=[at_most_three])
    one = server.peer()
    for index in range(5):
        one.insert("task", f"t{index}", store_id="1")
    assert [o.code for o in one.sync()] == [""] * 3 + ["rule:too_many"] * 2
    assert server.query("SELECT count(*) FROM task") == [(3,)]
    server.check()


def test_a_rule_may_only_read(make_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    def write(context: Any) -> None:
        context.query("DELETE FROM product")

    server = make_server(rules=[write])
    one = server.peer()
    one.insert("product", "p", sku="s")
    with caplog.at_level(logging.ERROR):
        assert [o.code for o in one.sync()] == ["rule_failed"]
    assert "write" in caplog.text


def test_a_rule_that_fails_costs_only_its_transaction(
    make_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fragile(context: Any) -> None:
        if any(change.key == "bad" for change in context.changes):
            raise ZeroDivisionError

    server = make_server(rules=[fragile])
    one = server.peer()
    one.insert("product", "good", sku="g")
    one.insert("product", "bad", sku="b")
    with caplog.at_level(logging.ERROR):
        outcomes = one.sync()
    assert [o.code for o in outcomes] == ["", "rule_failed"]
    assert outcomes[1].message
    assert server.query("SELECT id FROM product") == [("good",)]
    server.check()
