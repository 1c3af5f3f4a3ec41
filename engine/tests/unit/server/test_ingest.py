"""Direct writes by other processes become changes like any other; digests are always right."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast.server.exchange.budgets import Budgets


def start(server: Any) -> tuple[Any, Any]:
    one, two = server.peer("d1"), server.peer("d2")
    for index in range(4):
        one.insert("product", f"p{index}", sku=f"s{index}", on_hand=10, price="1.00")
    one.insert("movement", 1, store_id="1", product_id="p0", quantity=3)
    one.sync()
    two.sync()
    return one, two


def test_a_direct_write_reaches_every_device(server: Any) -> None:
    one, two = start(server)
    before = one.rows["product", "p0"][0]
    server.sql(
        "UPDATE product SET name = 'direct', on_hand = on_hand - 4 WHERE id = 'p0'; "
        "INSERT INTO product (id, sku) VALUES ('new', 'new'); "
        "DELETE FROM product WHERE id = 'p3'"
    )
    one.sync()
    assert one.rows["product", "p0"][0] == before + 1
    assert one.row("product", "p0")["on_hand"] == 6
    assert one.row("product", "new")["price"] == "0.00"
    assert one.row("product", "p3") is None
    assert server.notes() == 0
    two.sync()
    assert one.rows == two.rows
    server.check()


def test_replace_is_the_deletes_and_inserts_it_is(server: Any) -> None:
    if server.postgres:
        pytest.skip("PostgreSQL has no OR REPLACE")
    one, two = start(server)
    server.sql("INSERT OR REPLACE INTO product (id, sku, name) VALUES ('p1', 's2', 'both')")
    one.sync()
    assert one.row("product", "p1")["name"] == "both"
    assert one.row("product", "p2") is None
    assert one.row("product", "p1")["on_hand"] == 0
    server.sql("UPDATE OR REPLACE product SET sku = 's3' WHERE id = 'p1'")
    two.sync()
    assert two.row("product", "p3") is None
    assert two.row("product", "p1")["sku"] == "s3"
    server.check()


def test_a_direct_write_merges_with_what_devices_did(server: Any) -> None:
    _one, two = start(server)
    two.update("product", "p0", on_hand=-1, price="2.00", note="mine")
    server.sql("UPDATE product SET on_hand = on_hand - 1, price = '3.00' WHERE id = 'p0'")
    two.sync()
    assert two.row("product", "p0")["on_hand"] == 8
    assert two.row("product", "p0")["note"] == "mine"
    assert two.row("product", "p0")["price"] == "3.00"
    (conflict,) = two.conflicts()
    assert (conflict["mine"], conflict["theirs"]) == ('"2.00"', '"3.00"')
    assert (conflict["their_device"], conflict["their_user"]) == ("server", "server")
    server.sql("UPDATE product SET price = '3.50' WHERE id = 'p0'")
    two.sync()
    assert two.conflicts()[0]["theirs"] == '"3.50"'
    server.check()


def test_a_direct_delete_and_a_later_edit(server: Any) -> None:
    one, two = start(server)
    two.update("product", "p3", name="edited meanwhile")
    server.sql("DELETE FROM product WHERE id = 'p3'")
    two.sync()
    assert two.row("product", "p3")["name"] == "edited meanwhile"
    assert two.row("product", "p3")["on_hand"] == 10
    assert [e.kind for e in server.service.journal(one.principal)] == ["delete"]
    server.check()


def test_writes_without_a_net_effect_are_no_news(server: Any) -> None:
    one, _ = start(server)
    server.sql(
        "UPDATE product SET name = 'x'; UPDATE product SET name = ''; "
        "INSERT INTO product (id, sku) VALUES ('q', 'q'); DELETE FROM product WHERE id = 'q'"
    )
    one.sync()
    assert one.last_rows == []
    assert server.notes() == 0
    server.check()


def test_polling_finds_foreign_writes(server: Any) -> None:
    start(server)
    assert server.service.poll_foreign_writes() is False
    server.moved.clear()
    server.sql("UPDATE product SET name = 'x' WHERE id = 'p1'")
    assert server.service.poll_foreign_writes() is True
    assert server.moved == [{"catalog": 2}]
    assert server.service.poll_foreign_writes() is False


def test_verifying_ingests_first(server: Any) -> None:
    one, _ = start(server)
    server.sql("UPDATE product SET name = 'x' WHERE id = 'p1'")
    one.verify()
    assert one.row("product", "p1")["name"] == "x"


def test_a_direct_move_between_scopes(server: Any) -> None:
    _one, _ = start(server)
    first = server.peer("s1", read=("store/1",))
    second = server.peer("s2", read=("store/2",))
    first.sync()
    second.sync()
    server.sql("UPDATE movement SET store_id = '2' WHERE id = 1")
    first.sync()
    second.sync()
    assert first.last_gone == second.last_rows == [("movement", "1")]
    server.check()


def test_a_row_without_its_scope_is_in_none(server: Any) -> None:
    one, _ = start(server)
    server.sql("UPDATE movement SET store_id = '' WHERE id = 1")
    one.sync()
    assert one.row("movement", 1) is None
    assert server.query("SELECT store_id FROM movement") == [("",)]
    server.sql("UPDATE movement SET store_id = '3' WHERE id = 1")
    one.sync()
    assert one.row("movement", 1)["store_id"] == "3"


TRIGGER = {False: "holdfast_product_after_update", True: "holdfast_after_update ON product"}


def test_writes_while_the_triggers_were_gone_are_found(server: Any) -> None:
    one, _ = start(server)
    server.service.close()
    server.sql(f"DROP TRIGGER {TRIGGER[server.postgres]}; UPDATE product SET name = 'unseen'")
    server.open()
    one.sync()
    assert one.row("product", "p0")["name"] == "unseen"
    server.check()


UNSEEN = "INSERT INTO product (id, sku, name) VALUES ('q', 'q', 'unseen'), ('r', 'r', 'unseen')"


def test_a_push_that_meets_rows_written_past_the_triggers_takes_them_in(server: Any) -> None:
    one, two = start(server)
    server.sql_unseen(UNSEEN)
    one.insert("product", "q", sku="q", name="mine")
    one.commit(
        one.change("insert", "movement", 2, {"store_id": "1", "product_id": "r"}),
        one.change("insert", "product", "r", {"sku": "r", "on_hand": 5}),
    )
    assert [outcome.outcome for outcome in one.sync()] == ["applied", "applied"]
    two.sync()
    assert two.rows == one.rows
    assert (two.row("product", "r")["name"], two.row("product", "r")["on_hand"]) == ("unseen", 5)
    server.check()


def test_so_does_a_large_one_that_is_decided_ahead(make_server: Any) -> None:
    server = make_server(budgets=Budgets(bite_changes=2))
    one, two = start(server)
    server.sql_unseen(UNSEEN)
    one.commit(*(one.change("insert", "product", key, {"sku": key}) for key in ("o", "q", "r")))
    assert [outcome.outcome for outcome in one.sync()] == ["applied"]
    two.sync()
    assert two.rows == one.rows
    server.check()


def test_orphans_made_directly_can_still_be_edited(server: Any) -> None:
    if server.postgres:
        pytest.skip("PostgreSQL lets nobody make orphans")
    one, _ = start(server)
    server.sql("PRAGMA foreign_keys = off; DELETE FROM product WHERE id = 'p0'")
    one.update("movement", 1, quantity=9)
    one.update("movement", 1, product_id="none")
    assert [o.code for o in one.sync()] == ["", "foreign_key"]
    assert one.row("movement", 1)["quantity"] == 9


def test_a_direct_settlement(server: Any) -> None:
    one, two = start(server)
    one.update("product", "p0", price="2.00")
    two.update("product", "p0", price="3.00")
    one.sync()
    two.sync()
    server.sql("UPDATE holdfast_conflict SET state = 'settled', settled_by = 'office'")
    two.sync()
    assert two.conflicts() == []
    assert two.conflicts("settled")[0]["settled_by"] == "office"
    server.check()


def test_writes_made_while_the_server_was_down(server: Any) -> None:
    one, _ = start(server)
    server.service.close()
    server.sql("UPDATE product SET name = 'night'; DELETE FROM movement")
    server.open()
    one.sync()
    assert {r[1][2] for (t, _), r in one.rows.items() if t == "product"} == {"night"}
    assert one.row("movement", 1) is None
    server.check()


KEYS = ("a", "b", "c", "d")
STORES = ("1", "2")
STEP = st.one_of(
    st.tuples(st.just("insert"), st.sampled_from(KEYS), st.sampled_from(STORES)),
    st.tuples(st.just("update"), st.sampled_from(KEYS), st.sampled_from("xyz")),
    st.tuples(st.just("move"), st.sampled_from(KEYS), st.sampled_from(STORES)),
    st.tuples(st.just("delete"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("direct"), st.sampled_from(KEYS), st.sampled_from(STORES)),
    st.tuples(st.just("replace"), st.sampled_from(KEYS), st.sampled_from(STORES)),
    st.tuples(st.just("settle"), st.integers(0, 3), st.sampled_from("xyz")),
    st.tuples(st.just("sync"), st.none(), st.none()),
)


def act(peer: Any, writer: Any, kind: str, key: Any, value: Any) -> None:
    """One step of a history; what makes no sense for the peer is left out."""
    if kind == "direct":
        writer("UPDATE task SET store_id = ?, text = 'direct' WHERE id = ?", value, key)
    elif kind == "replace":
        writer("DELETE FROM task WHERE id = ?", key)
        writer("INSERT INTO task (id, store_id) VALUES (?, ?)", key, value)
    elif kind == "sync":
        peer.sync()
    elif kind == "insert":
        peer.insert("task", key, store_id=value, text=kind)
    elif kind == "settle":
        settle(peer, key, value)
    elif ("task", key) in peer.rows:
        if kind == "delete":
            peer.delete("task", key)
        else:
            peer.update("task", key, **{"store_id" if kind == "move" else "text": value})


def settle(peer: Any, which: int, value: str) -> None:
    if len(peer.conflicts()) <= which:
        return
    conflict = peer.conflicts()[which]
    chosen = {"text": value} if conflict["kind"] == "delete" else value
    changes = [peer.settling(conflict, chosen)]
    if ("task", conflict["row_key"]) in peer.rows and conflict["kind"] == "edit":
        changes.append(peer.change("update", "task", conflict["row_key"], {"text": value}))
    peer.commit(*changes)


def play(server: Any, steps: list[tuple[int, tuple[str, Any, Any]]]) -> None:
    peers = [server.peer("d0"), server.peer("d1"), server.peer("d2", write=("store/1",))]
    with server.writer() as writer:
        for which, (kind, key, value) in steps:
            server.pass_time()
            act(peers[which], writer, kind, key, value)
    for _ in range(2):
        for peer in peers:
            peer.sync()
    server.check()
    assert peers[0].rows == peers[1].rows
    for peer in peers:
        assert set(peer.outcomes) == set(range(1, peer.number + 1))


@pytest.mark.slow
@pytest.mark.hypothesis
def test_digests_are_right_after_any_history(scratch_server: Any, usual: int) -> None:
    @settings(max_examples=examples(usual))
    @given(steps=st.lists(st.tuples(st.integers(0, 2), STEP), max_size=40))
    def run(steps: list[Any]) -> None:
        with scratch_server() as server:
            play(server, steps)

    run()
