"""Scopes and rights: rows move whole, and absent and forbidden look the same.

Checks I23, I25.
"""

from __future__ import annotations

from typing import Any

from holdfast.protocol.messages import RangeQuery, RowQuery


def shop(server: Any) -> Any:
    """A shop with two stores and a boss who sees all of it."""
    boss = server.peer("boss")
    boss.insert("product", "p", sku="s")
    for store in ("1", "2"):
        boss.insert("task", f"t{store}", store_id=store, text=f"in {store}")
        boss.insert("movement", int(store), store_id=store, product_id="p", quantity=5)
    boss.sync()
    return boss


def test_a_device_sees_its_scopes_only(server: Any) -> None:
    shop(server)
    one = server.peer("d1", read=("catalog",), write=("store/1",))
    one.sync()
    assert set(one.rows) == {("product", "p"), ("task", "t1"), ("movement", "1")}
    assert set(one.grants) == {"catalog", "store/1"}


def test_a_row_that_moves_leaves_one_scope_and_enters_the_other(server: Any) -> None:
    boss = shop(server)
    one = server.peer("d1", write=("store/1",))
    two = server.peer("d2", write=("store/2",))
    one.sync()
    two.sync()
    boss.update("movement", 1, store_id="2")
    boss.sync()
    assert boss.outcomes[boss.number].versions == {"store/1": 2, "store/2": 2}
    one.sync()
    two.sync()
    assert one.last_gone == [("movement", "1")]
    assert two.last_rows == [("movement", "1")]
    assert boss.last_gone == []
    boss.update("movement", 1, store_id="1")
    boss.sync()
    one.sync()
    two.sync()
    assert one.last_rows == [("movement", "1")]
    assert two.last_gone == [("movement", "1")]
    server.check()


def test_a_row_of_several_scopes_is_sent_once(server: Any) -> None:
    boss = shop(server)
    both = server.peer("d1", read=("tasks", "store/1"))
    both.sync()
    assert both.last_rows.count(("task", "t1")) == 1
    boss.update("task", "t1", text="new")
    boss.sync()
    both.sync()
    assert both.last_rows == [("task", "t1")]
    boss.update("task", "t1", store_id="2")  # still readable through `tasks`
    boss.sync()
    both.sync()
    assert both.last_rows == [("task", "t1")]
    assert both.last_gone == []
    boss.delete("task", "t1")
    boss.sync()
    both.sync()
    assert ("task", "t1") not in both.rows


def test_a_scope_granted_later_is_brought_whole(server: Any) -> None:
    shop(server)
    one = server.peer("d1", read=("tasks",))
    one.sync()
    assert set(one.rows) == {("task", "t1"), ("task", "t2")}
    one.principal = type(one.principal)("u", "d1", ("tasks", "store/1"))
    one.sync()
    assert ("movement", "1") in one.rows


def test_a_scope_taken_away_leaves(server: Any) -> None:
    shop(server)
    one = server.peer("d1", read=("catalog", "store/1"))
    one.sync()
    before = one.checkpoint
    one.principal = type(one.principal)("u", "d1", ("catalog",))
    one.sync(checkpoint=before)
    assert set(one.rows) == {("product", "p")}
    assert set(one.grants) == {"catalog"}


def test_writing_needs_all_scopes_before_and_after(server: Any) -> None:
    boss = shop(server)
    one = server.peer("d1", read=("catalog",), write=("store/1", "tasks"))
    one.sync()
    one.update("product", "p", name="no")
    one.update("movement", 1, store_id="2")
    one.insert("movement", 9, store_id="2", product_id="p")
    one.update("movement", 1, quantity=6)
    one.update("task", "t2", text="readable, but store/2 may not be written")
    assert [o.code for o in one.sync()] == ["forbidden", "forbidden", "forbidden", "", "forbidden"]
    boss.sync()
    assert boss.row("product", "p")["name"] == ""
    server.check()


def test_absent_and_forbidden_get_the_same_answer(server: Any) -> None:
    shop(server)
    one = server.peer("d1", write=("store/1",))
    one.sync()
    answers: list[list[tuple[Any, ...]]] = []
    for key in (2, 77):  # there but not readable, and not there
        one.commit(one.change("update", "movement", key, {"quantity": 1}, base=2**32 + 1))
        one.commit(one.change("delete", "movement", key, base=2**32 + 1))
        answers.append([(o.outcome, o.code, o.message, o.field) for o in one.sync()])
        lines = one.verify(
            ranges=[RangeQuery("store/2" if key == 2 else "store/77")],
            rows=[RowQuery("movement", str(key))],
        )
        answers[-1] += [(line.table, len(line.keys)) for line in lines if hasattr(line, "keys")]
        answers[-1] += [(line.count, line.digest) for line in lines if hasattr(line, "leaf")]
    assert answers[0] == answers[1]
    assert [a[1] for a in answers[0][:2]] == ["row_gone", "row_gone"]


def test_a_collision_with_an_unreadable_row_is_refused(server: Any) -> None:
    shop(server)
    one = server.peer("d1", read=("catalog",), write=("store/1",))
    one.insert("movement", 2, store_id="1", product_id="p", quantity=1)
    assert [o.code for o in one.sync()] == ["forbidden"]
    boss = server.peer("boss2")
    boss.sync()
    boss.delete("movement", 2)
    boss.sync()
    one.insert("movement", 2, store_id="1", product_id="p", quantity=1)
    assert [o.code for o in one.sync()] == ["forbidden"]  # nor with its last image


def test_scopes_named_by_a_grant_exist_at_once(server: Any) -> None:
    one = server.peer("d1", read=("store/new",), write=("store/1*",))
    one.sync()
    assert set(one.grants) == {"store/new"}
    two = server.peer("d2", write=("store/12", "catalog"))
    two.sync()
    one.sync()
    assert set(one.grants) == {"store/new", "store/12"}
    assert server.service.heads(one.principal) == {"store/new": 0, "store/12": 0}


def test_a_row_without_a_scope_is_refused(server: Any) -> None:
    boss = shop(server)
    boss.insert("task", "x", store_id="", text="nowhere")
    boss.update("task", "t1", store_id="s" * 300)
    assert [o.code for o in boss.sync()] == ["bad_value", "bad_value"]
    server.check()
