"""What other programs wrote is nobody's atomicity: a bad row costs itself, the rest arrives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from replica_lab import LIBRARIES
from server_lab import Shop
from test_dependence import SCHEMA

from holdfast.core import limits
from holdfast.core.errors import ReplicaError
from holdfast.replica.changes import fit, outbox, parts

GOOD = [f"INSERT INTO code (id, text) VALUES ('g{n}', 'good {n}')" for n in range(70)]


@pytest.fixture(params=LIBRARIES)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path, SCHEMA, library=request.param)
    found.write("a", "INSERT INTO stock (id, n) VALUES ('s', 100)")
    found.sync()
    found.write("b", "INSERT INTO code (id, text) VALUES ('theirs', '7'), ('more', '8')")
    found.sync("b")
    yield found
    found.close()


def at_fault(shop: Shop) -> set[tuple[str, str, str]]:
    return {(item.table, item.key, item.code) for item in shop.a.refused()}


def test_clashes_cost_their_rows_and_say_which(shop: Shop) -> None:
    shop.shell("a", *GOOD[:40], "INSERT INTO code (id, text) VALUES ('x', '7')", *GOOD[40:])
    shop.shell("a", "INSERT INTO code (id, text) VALUES ('y', '8')")
    report = shop.sync("a")
    assert (report.refused, report.held) == (2, 0)
    assert at_fault(shop) == {("code", "x", "unique"), ("code", "y", "unique")}
    assert {item.field for item in shop.a.refused()} == {"text"}
    assert shop.on_server("SELECT count(*) FROM code WHERE text LIKE 'good%'") == [(70,)]
    shop.write("b", "DELETE FROM code WHERE id = 'theirs'")
    shop.sync("b", "a")
    (x,) = (item for item in shop.a.refused() if item.key == "x")
    shop.a.retry(x.id)
    shop.sync("a", "b")
    assert at_fault(shop) == {("code", "y", "unique")}
    assert shop.on_server("SELECT id FROM code WHERE text = '7'") == [("x",)]


def test_rows_that_refer_to_each_other_stay_together(shop: Shop) -> None:
    shop.shell(
        "a",
        "INSERT INTO code (id, text) VALUES ('x', '7')",
        "INSERT INTO stock (id) VALUES ('u'), ('v')",
        "INSERT INTO line (stock_id, at, code_id) VALUES ('u', 1, 'x')",
        "INSERT INTO line (stock_id, at) VALUES ('v', 1)",
    )
    shop.sync("a")
    (item,) = shop.a.refused()
    assert [(change["table"], change["key"]) for change in item.changes] == [
        ("stock", "u"), ("code", "x"), ("line", "u/1"),
    ]  # fmt: skip
    assert shop.on_server("SELECT stock_id FROM line") == [("v",)]


def test_a_unique_value_that_is_passed_on_stays_with_who_gave_it(shop: Shop) -> None:
    shop.write("a", "INSERT INTO code (id, text) VALUES ('c', '1'), ('d', '2')", *GOOD[:3])
    shop.sync("a")
    shop.write("b", "INSERT INTO code (id, text) VALUES ('late', '6')")
    shop.sync("b")
    shop.shell(
        "a",
        "UPDATE code SET text = '9' WHERE id = 'c'", "UPDATE code SET text = '1' WHERE id = 'd'",
        "UPDATE code SET text = '6' WHERE id = 'c'", "UPDATE code SET note = 'n' WHERE id = 'g1'",
    )  # fmt: skip
    shop.sync("a", "b")
    (item,) = shop.a.refused()
    assert [change["key"] for change in item.changes] == ["c", "d"]
    assert shop.on_server("SELECT id, text FROM code WHERE id < 'e' ORDER BY id") == [
        ("c", "1"), ("d", "2"),
    ]  # fmt: skip
    assert shop.on_server("SELECT note FROM code WHERE id = 'g1'") == [("n",)]


def test_what_may_have_been_done_before_is_not_taken_apart(shop: Shop) -> None:
    """Its parts would be done once more, for nobody could find them."""
    shop.shell("a", *GOOD[:3])
    shop.a.seal()
    shop.a._database.sync.execute(
        "UPDATE holdfast_tx SET state = 'refused', code = 'too_old_to_match'"
    )
    shop.sync("a", "b")
    (item,) = shop.a.refused()
    assert [change["key"] for change in item.changes] == ["g0", "g1", "g2"]
    assert shop.on_server("SELECT count(*) FROM code WHERE text LIKE 'good%'") == [(0,)]


def test_work_of_ours_on_a_group_that_is_taken_apart_goes_on_in_order(shop: Shop) -> None:
    """Sent in the same batch, or written while it was on its way: the last word stays the last."""
    shop.shell("a", *GOOD[:2], "INSERT INTO code (id, text) VALUES ('x', '7')")
    shop.write("a", "UPDATE code SET note = 'ours' WHERE id = 'g0'")
    real = shop.transports["a"].exchange

    def exchange(request, echo):  # type: ignore[no-untyped-def]
        answer = real(request, echo)
        shop.transports["a"].exchange = real  # type: ignore[method-assign]
        shop.write("a", "UPDATE code SET note = 'last' WHERE id = 'g0'")
        return answer

    shop.transports["a"].exchange = exchange  # type: ignore[method-assign]
    shop.sync("a", "b")
    assert at_fault(shop) == {("code", "x", "unique")}
    assert shop.a.query("SELECT note FROM code WHERE id = 'g0'") == [("last",)]
    assert shop.on_server("SELECT note FROM code WHERE id = 'g0'") == [("last",)]


def test_a_held_group_keeps_only_what_rests_on_the_cause(shop: Shop) -> None:
    clash = "INSERT INTO code (id, text) VALUES ('x', '7')"
    shop.write("a", clash, "UPDATE stock SET name = 'mine'")
    shop.shell("a", *GOOD, "UPDATE stock SET name = 'theirs'")
    shop.sync("a")
    assert {(item.state, item.table) for item in shop.a.refused()} == {
        ("refused", "stock"), ("held", "stock"),
    }  # fmt: skip
    assert shop.on_server("SELECT count(*) FROM code WHERE text LIKE 'good%'") == [(70,)]
    refused = next(item for item in shop.a.refused() if item.state == "refused")
    shop.a.discard(refused.id)
    shop.sync("a", "b")
    assert shop.on_server("SELECT name FROM stock") == [("theirs",)]
    assert shop.waiting() == {}


@pytest.mark.parametrize(
    "bad",
    [
        "INSERT INTO code (id, text) VALUES ('bad', CAST(x'43616ce9' AS TEXT))",
        "UPDATE stock SET name = CAST(x'ff' AS TEXT)",
        "INSERT INTO code (id, text) VALUES (CAST(x'ff' AS TEXT), 'odd key')",
    ],
)
def test_what_cannot_be_sent_costs_its_row(shop: Shop, bad: str) -> None:
    shop.shell("a", *GOOD[:5], bad, *GOOD[5:10])
    report = shop.sync("a")
    assert (report.refused, report.held) == (1, 0)
    assert [item.code for item in shop.a.refused()] == ["bad_value"]
    assert shop.on_server("SELECT count(*) FROM code WHERE text LIKE 'good%'") == [(10,)]
    shop.a.discard(shop.a.refused()[0].id)
    assert shop.waiting() == {}


@pytest.mark.slow
def test_a_group_that_is_too_large_travels_in_several(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (parts, outbox):
        monkeypatch.setattr(module, "PUSH_CHANGES_MAX", 20)
    shop.shell(
        "a", *GOOD, "INSERT INTO code (id, text) VALUES ('x', '7')",
        "UPDATE code SET note = 'all'",
    )  # fmt: skip
    assert len(shop.after()) == 4
    report = shop.sync("a", "b")
    assert at_fault(shop) == {("code", "x", "unique")} and report.refused == 0
    assert shop.on_server("SELECT count(*) FROM code WHERE note = 'all'") == [(70,)]
    assert shop.devices["b"].query("SELECT count(*) FROM code WHERE note = 'all'") == [(70,)]
    monkeypatch.setattr(parts, "PUSH_BYTES_SOFT", 2000)
    shop.shell("a", "UPDATE code SET note = 'more'")
    assert len(shop.after()) > 4
    shop.sync("a")


def test_a_transaction_that_could_not_be_sent_is_refused_at_its_commit(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "TRANSACTION_CHANGES_MAX", 60)
    with pytest.raises(ReplicaError) as caught:
        shop.write("a", *GOOD)
    assert caught.value.code == "too_many_changes"
    assert "60" in caught.value.message and "70" in caught.value.message
    assert shop.a.query("SELECT count(*) FROM code") == [(0,)] and shop.after() == {}
    shop.write("a", *GOOD[:60])
    for _ in range(3):  # many touches of one row are one change
        shop.write("a", *(f"UPDATE stock SET n = n + {n}" for n in range(70)))
    shop.sync("a")


@pytest.mark.slow
def test_a_transaction_of_too_many_bytes_is_refused_at_its_commit(shop: Shop) -> None:
    third = limits.TEXT_BYTES_MAX - 10
    rows = [f"INSERT INTO code (id, text) VALUES ('l{n}', hex(zeroblob({third // 2})))"
            .replace("hex(", f"'{n}' || hex(") for n in range(5)]  # fmt: skip
    with pytest.raises(ReplicaError) as caught:
        shop.write("a", *rows)
    assert caught.value.code == "too_large" and "16 MiB" in caught.value.message
    assert shop.after() == {}
    shop.write("a", *rows[:2])
    shop.sync("a")
    assert shop.on_server("SELECT count(*) FROM code WHERE id LIKE 'l%'") == [(2,)]
