"""Verification narrows a difference down, and finds what is wrong in the store itself.

Checks I36.
"""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import Any

import pytest

from holdfast.core.digest import Digest
from holdfast.core.errors import ProtocolError
from holdfast.core.limits import VERIFY_CHILDREN, VERIFY_LEAF_ROWS_MAX
from holdfast.protocol.messages import Gone, RangeAnswer, RangeQuery, RowQuery, Rows
from holdfast.server.exchange.budgets import Budgets


def fill(server: Any, count: int) -> Any:
    one = server.peer("d1")
    one.commit(
        *(one.change("insert", "product", f"p{i}", {"sku": f"s{i}"}) for i in range(count)),
        *(one.change("insert", "task", f"t{i}", {"store_id": "1"}) for i in range(10)),
    )
    one.sync()
    return one


def ranges(peer: Any, *queries: RangeQuery) -> list[RangeAnswer]:
    return [line for line in peer.verify(list(queries)) if isinstance(line, RangeAnswer)]


def test_a_small_range_is_a_leaf(server: Any) -> None:
    one = fill(server, 20)
    (answer,) = ranges(one, RangeQuery("catalog"))
    assert (answer.count, answer.digest) == (20, one.checkpoint["catalog"].digest)
    assert [key for _, key, _, _ in answer.leaf] == sorted(f"p{i}" for i in range(20))
    assert all(rev == one.rows[table, key][0] for table, key, rev, _ in answer.leaf)
    total = Digest()
    for *_, text in answer.leaf:
        total = total.add(bytes.fromhex(text))
    assert total.hex == answer.digest


@pytest.mark.slow
def test_a_large_range_is_split_until_leaves(server: Any) -> None:
    one = fill(server, 3000)
    (answer,) = ranges(one, RangeQuery("catalog"))
    assert answer.leaf == []
    assert len(answer.parts) == VERIFY_CHILDREN
    found = []
    rounds = 0
    queue = [answer]
    while queue:
        rounds += 1
        parts = [part for item in queue for part in item.parts]
        for item in queue:
            if item.parts:
                assert item.parts[0].start == item.start
                assert item.parts[-1].end == item.end
                assert sum(part.count for part in item.parts) == item.count
                assert all(a.end == b.start for a, b in pairwise(item.parts))
        found += [key for item in queue for _, key, _, _ in item.leaf]
        queue = (
            ranges(one, *(RangeQuery("catalog", p.start, p.end) for p in parts)) if parts else []
        )
        for item, part in zip(queue, parts, strict=True):
            assert (item.count, item.digest) == (part.count, part.digest)
    assert sorted(found) == sorted(f"p{i}" for i in range(3000))
    assert rounds <= 4


def test_a_range_may_span_tables(server: Any) -> None:
    one = fill(server, 0)
    one.insert("movement", 5, store_id="1", product_id="p")
    one.insert("product", "p", sku="s")
    one.commit(one.change("insert", "movement", 6, {"store_id": "1", "product_id": "p"}))
    one.sync()
    everything, rest = ranges(
        one, RangeQuery("store/1"), RangeQuery("store/1", "movement/7", "task/t3")
    )
    assert everything.count == 11
    assert [(table, key) for table, key, _, _ in rest.leaf] == [
        ("task", "t0"), ("task", "t1"), ("task", "t2"),
    ]  # fmt: skip


def test_an_answer_brings_the_news_first(server: Any) -> None:
    one = fill(server, VERIFY_LEAF_ROWS_MAX)
    two = server.peer("d2")
    two.insert("product", "new", sku="new")
    two.sync()
    lines = one.verify([RangeQuery("catalog")])
    kinds = [type(line) for line in lines]
    assert kinds.index(Rows) < kinds.index(RangeAnswer)
    assert one.rows == two.rows
    server.check()


def test_named_rows_are_told_or_gone(server: Any) -> None:
    one = fill(server, 3)
    lines = one.verify(
        rows=[
            RowQuery("product", "p1"), RowQuery("product", "none"), RowQuery("movement", "x"),
            RowQuery("movement", "007"), RowQuery("shelf", "no-slash"), RowQuery("shelf", "a/zz"),
            RowQuery("product", "p1"), RowQuery("movement", "9" * 30),
        ]
    )  # fmt: skip
    rows = [line for line in lines if isinstance(line, Rows)]
    gone = {(line.table, key) for line in lines if isinstance(line, Gone) for key in line.keys}
    assert [(line.table, len(line.rows)) for line in rows] == [("product", 1)]
    assert gone == {
        ("product", "none"), ("movement", "x"), ("movement", "007"), ("shelf", "no-slash"),
        ("shelf", "a/zz"), ("movement", "9" * 30),
    }  # fmt: skip
    with pytest.raises(ProtocolError) as failure:
        one.verify(rows=[RowQuery("nothing", "x")])
    assert failure.value.code == "unknown_table"


def test_a_position_need_not_be_a_key(server: Any) -> None:
    one = fill(server, 5)
    for start, end in (("zzz", None), ("", ""), ("product", "product/p3"), ("x/y/z", "\U0001f600")):
        ranges(one, RangeQuery("catalog", start, end))


def test_a_deep_check_finds_what_no_trigger_saw(server: Any) -> None:
    one = fill(server, 5)
    server.sql_unseen(
        "UPDATE product SET name = 'rot' WHERE id = 'p1'; "
        "DELETE FROM product WHERE id = 'p2'; INSERT INTO product (id, sku) VALUES ('q', 'q'); "
        "UPDATE task SET store_id = '2' WHERE id = 't1'"
    )
    assert server.service.deep_check() == 4
    assert server.service.deep_check() == 0
    one.sync()
    assert one.row("product", "p1")["name"] == "rot"
    assert one.row("product", "p2") is None
    assert one.row("product", "q")["sku"] == "q"
    assert one.row("task", "t1")["store_id"] == "2"
    one.update("product", "p1", name="again")
    one.delete("product", "q")
    assert [o.outcome for o in one.sync()] == ["applied"] * 2
    server.check()


def whole_of(peer: Any, scope: str) -> list[Any]:
    """Ask for a scope until all of it was looked at; the answers."""
    left = [RangeQuery(scope)]
    found: list[Any] = []
    while left:
        answers = ranges(peer, *left)
        assert answers, "the server looks at something each time"
        found += answers
        ends: dict[str, Any] = {answer.start: answer.end for answer in answers}
        left = [
            query if query.start not in ends else RangeQuery(scope, ends[query.start], query.end)
            for query in left
            if query.start not in ends or ends[query.start] != query.end
        ]
    return found


def test_a_range_above_the_budget_is_answered_as_far_as_it_got(make_server: Any) -> None:
    server = make_server(budgets=Budgets(verify_rows_max=70))
    one = fill(server, 300)
    found = whole_of(one, "catalog")
    assert [answer.count for answer in found] == [70, 70, 70, 70, 20]
    assert all(a.end == b.start for a, b in pairwise(found))
    assert found[-1].end is None
    total = sum(int(answer.digest, 16) for answer in found) % (1 << 128)
    assert f"{total:032x}" == one.checkpoint["catalog"].digest
    assert all(sum(part.count for part in answer.parts) == answer.count for answer in found[:4])


def test_ranges_that_find_the_budget_spent_are_not_answered(make_server: Any) -> None:
    server = make_server(budgets=Budgets(verify_rows_max=10))
    one = fill(server, 30)
    found = ranges(one, RangeQuery("store/1"), RangeQuery("catalog"))
    assert [(answer.scope, answer.count) for answer in found] == [("store/1", 10)]
    found = ranges(one, RangeQuery("nowhere"), RangeQuery("catalog"))
    assert [(answer.scope, answer.count) for answer in found] == [("nowhere", 0), ("catalog", 9)]


@pytest.mark.parametrize(
    "queries",
    [
        [RangeQuery("catalog")] * 256,
        [RangeQuery("catalog", f"product/o{n}") for n in range(256)],
        [RangeQuery("catalog", "", f"product/q{n}") for n in range(256)],
        [RangeQuery("catalog")] * 100 + [RangeQuery("store/1")] * 100,
    ],
)
def test_asking_again_and_again_makes_no_more_work(
    server: Any, monkeypatch: pytest.MonkeyPatch, queries: list[RangeQuery]
) -> None:
    one = fill(server, 100)
    seen = 0
    with contextlib.closing(server.store.read()) as snapshot:
        reader = type(snapshot)
    live = reader.live

    def counted(snapshot: Any, *where: Any, **limits: Any) -> Any:
        nonlocal seen
        for row in live(snapshot, *where, **limits):
            seen += 1
            yield row

    monkeypatch.setattr(reader, "live", counted)
    answers = ranges(one, *queries)
    assert answers
    assert seen <= 2 * (110 + len(queries))


def test_a_range_within_another_is_answered_too(server: Any) -> None:
    one = fill(server, 30)
    found = ranges(
        one, RangeQuery("catalog", "product/p2"), RangeQuery("catalog"),
        RangeQuery("catalog", "product/p2", "product/p1"), RangeQuery("store/1"),
    )  # fmt: skip
    assert [answer.count for answer in found] == [18, 30, 0, 10]


def test_a_base_above_the_rows_revision_counts_as_unknown(server: Any) -> None:
    """It wins over nobody in silence, is told, and the row comes anew, whatever became of it."""
    one, two = server.peer("d1", user="ada"), server.peer("d2", user="bob")
    one.insert("product", "p", sku="s", price="1.00", name="n")
    one.sync()
    two.sync()
    rev, *values = two.rows["product", "p"]
    one.update("product", "p", price="2.00", name="later")
    one.sync()
    two.rows["product", "p"] = (rev + 7, *values)
    two.update("product", "p", price="3.00")
    (outcome,) = two.sync()
    assert (outcome.outcome, outcome.impossible) == ("applied", 1)
    (conflict,) = two.conflicts()
    assert (conflict["mine"], conflict["theirs"]) == ('"3.00"', '"2.00"')
    assert ("product", "p") in two.last_rows
    one.sync()
    assert two.rows["product", "p"] == one.rows["product", "p"]
    server.check()
