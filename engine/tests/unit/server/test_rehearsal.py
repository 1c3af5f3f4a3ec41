"""A large transaction is decided while others write; what it commits is as if it had been alone.

Checks I16, I31.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from holdfast.core.errors import ProtocolError
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.identity.permissions import Rights
from holdfast.server.push.quotas import Quotas

SMALL = Budgets(bite_changes=2)


def while_decided(server: Any, act: Callable[[int], None]) -> list[int]:
    """Do something whenever a large transaction was decided and is not committed yet."""
    rehearse = server.store.rehearse
    times: list[int] = []

    @contextlib.contextmanager
    def watched() -> Iterator[Any]:
        with rehearse() as reads:
            yield reads
            times.append(len(times) + 1)
            act(times[-1])

    server.store.rehearse = watched
    return times


def large(peer: Any, *, sku: str = "s", count: int = 4) -> int:
    """A transaction that inserts products and movements and changes one product."""
    changes = [
        peer.change("insert", "product", f"p{n}", {"sku": f"{sku}{n}"}) for n in range(count)
    ]
    changes += [
        peer.change("insert", "movement", n + 1, {"store_id": "1", "product_id": f"p{n}"})
        for n in range(count)
    ]
    changes.append(peer.change("update", "product", "old", {"name": "large", "on_hand": 5}))
    number: int = peer.commit(*changes)
    return number


def lose_an_answer(peer: Any) -> None:
    """The server takes what is sent; the device will send it again."""
    request = peer.request()
    list(peer.server.service.exchange(peer.principal, request, echo=""))
    peer.request = lambda: request


def start(server: Any) -> tuple[Any, Any]:
    one, two = server.peer("d1"), server.peer("d2")
    two.insert("product", "old", sku="old", on_hand=1)
    two.sync()
    one.sync()
    return one, two


def test_others_commit_while_it_is_decided(make_server: Any) -> None:
    server = make_server(budgets=SMALL)
    one, two = start(server)

    def act(time: int) -> None:  # in the same scopes, and other rows
        two.insert("product", f"other{time}", sku=f"other{time}")
        two.insert("movement", 99, store_id="1", product_id="old", quantity=1)
        assert [o.outcome for o in two.sync()] == ["applied", "applied"]

    times = while_decided(server, act)
    large(one)
    (outcome,) = one.sync()
    assert times == [1]
    assert (outcome.outcome, outcome.versions) == ("applied", {"catalog": 3, "store/1": 2})
    two.sync()
    assert one.rows == two.rows
    assert len(one.rows) == 11
    server.check()


def test_what_others_change_of_its_rows_is_seen(make_server: Any) -> None:
    server = make_server(budgets=SMALL)
    one, two = start(server)

    def act(time: int) -> None:
        if time == 1:
            two.update("product", "old", on_hand=10, name="two")
            two.sync()

    times = while_decided(server, act)
    large(one)
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert times == [1, 2]
    two.sync()
    assert one.rows == two.rows
    assert one.row("product", "old")["on_hand"] == 16
    server.check()


def test_it_is_decided_however_often_others_are_faster(make_server: Any) -> None:
    server = make_server(budgets=SMALL)
    one, two = start(server)

    def act(_time: int) -> None:
        two.update("product", "old", on_hand=1)
        two.sync()

    times = while_decided(server, act)
    large(one)
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert times == [1, 2, 3]
    assert one.row("product", "old")["on_hand"] == 1 + 3 + 5
    server.check()


def test_a_direct_write_to_its_rows_is_seen(make_server: Any) -> None:
    server = make_server(budgets=SMALL)
    one, two = start(server)

    def act(time: int) -> None:
        if time == 1:
            server.sql("UPDATE product SET on_hand = 100, note = 'direct' WHERE id = 'old'")

    times = while_decided(server, act)
    large(one)
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert len(times) >= 2
    assert one.row("product", "old")["on_hand"] == 105
    assert one.row("product", "old")["note"] == "direct"
    two.sync()
    assert one.rows == two.rows
    server.check()


def test_a_value_that_is_taken_meanwhile_refuses_it_whole(make_server: Any) -> None:
    server = make_server(budgets=SMALL)
    one, two = start(server)

    def act(time: int) -> None:
        if time == 1:
            two.insert("product", "between", sku="s2")
            two.sync()

    while_decided(server, act)
    large(one)
    one.insert("product", "after", sku="after")
    assert [o.code or o.outcome for o in one.sync()] == ["unique", "applied"]
    assert one.row("product", "p0") is None
    assert one.row("product", "old")["on_hand"] == 1
    two.sync()
    assert one.rows == two.rows
    server.check()


def test_a_parent_that_goes_meanwhile_refuses_it(make_server: Any) -> None:
    server = make_server(budgets=SMALL)
    one, two = start(server)
    two.insert("product", "parent", sku="parent")
    two.sync()
    one.sync()

    def act(time: int) -> None:
        if time == 1:
            two.delete("product", "parent")
            two.sync()

    times = while_decided(server, act)
    one.commit(
        *(
            one.change("insert", "movement", n, {"store_id": "1", "product_id": "parent"})
            for n in range(3)
        )
    )
    assert [o.code for o in one.sync()] == ["foreign_key"]
    assert times == [1, 2]
    server.check()


def test_a_scope_that_fills_up_meanwhile_refuses_it(make_server: Any) -> None:
    server = make_server(budgets=Budgets(bite_changes=2, quotas=Quotas(scope_rows_max=6)))
    one, two = start(server)

    def act(time: int) -> None:
        if time == 1:
            two.insert("product", "x", sku="x")
            two.insert("product", "y", sku="y")
            two.sync()

    while_decided(server, act)
    large(one)
    assert [o.code for o in one.sync()] == ["quota_rows"]
    assert one.row("product", "p0") is None
    server.check()


def test_a_rule_that_looks_at_the_database_looks_again(make_server: Any) -> None:
    def one_name(context: Any) -> None:
        (row,) = context.query("SELECT count(*) AS n FROM product WHERE name = 'closed'")
        if row["n"]:
            context.refuse("closed", "The catalogue is closed.")

    server = make_server(budgets=SMALL, rules=[one_name])
    one, two = start(server)

    def act(time: int) -> None:
        if time == 1:
            two.insert("product", "x", sku="x", name="closed")
            assert [o.outcome for o in two.sync()] == ["applied"]

    times = while_decided(server, act)
    large(one)
    assert [o.code for o in one.sync()] == ["rule:closed"]
    assert times == [1, 2]
    server.check()


def test_rights_that_end_meanwhile_end_it(
    make_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(budgets=SMALL)
    one, _two = start(server)
    ended: list[Any] = []
    still = Rights.still

    def judged(rights: Any, reads: Any, principal: Any, *, done: bool = False) -> Any:
        if ended:
            raise ProtocolError("revoked", code="sign_in", status=401)
        return still(rights, reads, principal, done=done)

    monkeypatch.setattr(Rights, "still", judged)
    while_decided(server, ended.append)
    large(one)
    with pytest.raises(ProtocolError, match="revoked"):
        one.sync()
    assert server.query("SELECT count(*) FROM product") == [(1,)]


def test_one_that_fits_in_a_bite_and_one_that_was_decided_are_not_decided_ahead(
    make_server: Any,
) -> None:
    server = make_server(budgets=Budgets(bite_changes=9))
    one, _two = start(server)
    times = while_decided(server, lambda _time: None)
    one.insert("product", "p", sku="p")
    large(one, count=4)
    lose_an_answer(one)
    assert [o.outcome for o in one.sync()] == ["applied", "applied"]
    assert times == []
    del one.request
    one.commit(*(one.change("insert", "product", f"n{n}", {"sku": f"n{n}"}) for n in range(10)))
    lose_an_answer(one)
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert times == [1, 2]  # of which the second found nothing to decide
    server.check()


def written_directly(server: Any) -> None:
    """New rows and changed ones, of which nobody has taken notice yet."""
    server.sql(
        "INSERT INTO product (id, sku) VALUES ('p0', 'direct0'); "
        "INSERT INTO product (id, sku) VALUES ('p1', 'direct1'); "
        "INSERT INTO movement (id, store_id, product_id, quantity) VALUES (1, '1', 'p0', 8); "
        "UPDATE product SET name = 'direct' WHERE id = 'old'"
    )


def test_rows_that_were_written_directly_are_taken_in_first(make_server: Any) -> None:
    """Found by random worlds: it had no answer until somebody else took them in."""
    server = make_server(budgets=SMALL)
    one, _two = start(server)
    written_directly(server)
    times = while_decided(server, lambda _time: None)
    large(one)
    (outcome,) = one.sync()
    assert outcome.outcome == "applied"
    assert len(times) <= 3, "once for each table, and once when all is taken in"
    assert one.row("product", "p0")["sku"] == "direct0"  # the later one
    assert one.row("product", "old")["on_hand"] == 6
    server.check()


def test_it_is_decided_before_its_commit_where_others_write_directly(make_server: Any) -> None:
    """What is noted of its rows is taken in when that has made it stale: once."""
    server = make_server(budgets=SMALL)
    one, _two = start(server)
    server.sql("UPDATE product SET note = 'direct' WHERE id = 'old'")
    times = while_decided(server, lambda _time: None)
    large(one)
    (outcome,) = one.sync()
    assert outcome.outcome == "applied"
    assert times == [1, 2]
    assert one.row("product", "old")["note"] == "direct"
    server.check()


def test_what_a_rule_adds_to_is_taken_in_first(make_server: Any) -> None:
    """Also where it is in none of the scopes of the device."""

    def shelve(context: Any) -> None:
        for change in context.changes:
            if change.table == "movement":
                context.add("task", {"id": "t", "store_id": "2", "text": "shelve it"})

    server = make_server(rules=[shelve])
    start(server)
    three = server.peer("d3", write=("catalog", "store/1"))
    boss = server.peer("boss")
    server.sql("INSERT INTO task (id, store_id, text) VALUES ('t', '2', 'written directly')")
    three.insert("movement", 1, store_id="1", product_id="old", quantity=2)
    (outcome,) = three.sync()
    assert outcome.outcome == "applied"
    boss.sync()
    assert boss.row("task", "t")["store_id"] == "2"
    server.check()
