"""A large direct write is taken in by bites: others are not stopped, and nobody sees a part.

Checks I16, I31.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from holdfast.protocol.messages import Files
from holdfast.server.direct import direct_writes
from holdfast.server.direct.direct_writes import BeingTakenIn

BITE = 7
BULK = 40


@pytest.fixture(autouse=True)
def small_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_writes, "INGEST_BITE_ROWS", BITE)
    monkeypatch.setattr(direct_writes, "INGEST_PATIENCE_MS", 0)
    monkeypatch.setattr(direct_writes, "INGEST_BETWEEN_BITES_MS", 0)


def no_patience(server: Any) -> None:
    """Requests take a bite and then tell how far it is."""
    snapshot = server.service._direct.snapshot

    def impatient(*args: Any, **options: Any) -> Any:
        return snapshot(*args, **{"patience_ms": 0, **options})

    server.service._direct.snapshot = impatient


def tasks(store: str, first: int, count: int, text: str = "x") -> str:
    """SQL that inserts tasks."""
    rows = ", ".join(f"('t{n}', '{store}', '{text}')" for n in range(first, first + count))
    return f"INSERT INTO task (id, store_id, text) VALUES {rows};"


def shelves(store: str, count: int, postgres: bool) -> str:
    """SQL that inserts shelves, which are in the scope of their store alone."""
    before = "'\\x" if postgres else "x'"
    rows = ", ".join(f"('{store}', {before}{n:04x}')" for n in range(count))
    return f"INSERT INTO shelf (store_id, code) VALUES {rows};"


def held(peer: Any) -> int:
    return sum(table == "shelf" for table, _ in peer.rows)


def waiting(server: Any) -> int:
    """Rows of which notes lie there."""
    source = "holdfast_dirty" if server.postgres else "holdfast_noted"
    ((count,),) = server.query(f"SELECT count(*) FROM (SELECT DISTINCT tbl, key FROM {source}) n")
    return int(count)


def test_a_device_of_another_scope_neither_waits_nor_works(server: Any) -> None:
    no_patience(server)
    one, two = server.peer("one", write=("store/1",)), server.peer("two", write=("store/2",))
    one.sync()
    two.sync()
    server.sql(shelves("1", BULK, server.postgres) + shelves("2", 1, server.postgres))
    two.insert("shelf", ("2", b"own"), label="mine")
    assert [o.outcome for o in two.sync()] == ["applied"]
    assert held(two) == 2
    assert waiting(server) == BULK  # it took in what is its own
    with pytest.raises(BeingTakenIn):
        one.sync()


def test_who_is_concerned_sees_all_of_it_at_once_and_hears_how_far_it_is(server: Any) -> None:
    no_patience(server)
    one = server.peer("one", write=("store/1",))
    one.sync()
    server.sql(shelves("1", BULK, server.postgres))
    told = []
    while True:
        request = one.request(files=["gzip"])
        lines = list(server.service.exchange(one.principal, request, echo="e"))
        if not isinstance(lines[1], Files):
            break
        (build,) = lines[1].building
        told.append((build.rows, build.total))
        assert lines[1].retry_after_ms > 0
        assert lines[-1].scopes == {}
    assert len(told) >= 3
    assert told == sorted(told)
    assert told[-1][1] == told[0][1] < BULK + 1
    one.apply(lines)
    assert held(one) == BULK
    server.check()


def test_one_that_understands_no_files_is_asked_to_come_again(server: Any) -> None:
    no_patience(server)
    one = server.peer("one", write=("store/*",))
    one.sync()
    server.sql(shelves("1", BULK, server.postgres))
    with pytest.raises(BeingTakenIn) as caught:
        one.sync()
    assert (caught.value.code, caught.value.status) == ("busy", 503)
    assert caught.value.detail["retry_after_s"] >= 1
    asked = 1
    while held(one) == 0:
        asked += 1
        with contextlib.suppress(BeingTakenIn):
            one.sync()
    assert held(one) == BULK
    assert asked > 3


def test_a_push_goes_in_between_the_bites_of_its_own_scope(server: Any) -> None:
    no_patience(server)
    one = server.peer("one", write=("store/1", "tasks"))
    one.insert("task", "t3", store_id="1", text="old")
    one.sync()
    server.sql("UPDATE task SET store_id = '1', text = 'direct';" + tasks("1", 10, BULK))
    one.update("task", "t3", text="mine")
    one.insert("task", "t12", store_id="1", text="mine too")
    request = one.request(files=["gzip"])
    head = next(iter(server.service.exchange(one.principal, request, echo="e")))
    assert [o.outcome for o in head.outcomes] == ["applied", "applied"]
    assert waiting(server) > 0
    one.nonce, one.pending = request.nonce.to, []
    while server.service.poll_foreign_writes():
        pass
    one.sync()
    # Both values of a manual column are kept: what stands is what was there first.
    assert sorted(c["row_key"] for c in one.conflicts()) == ["t12", "t3"]
    assert one.row("task", "t3")["text"] == "direct"
    server.check()


def test_a_row_that_moves_concerns_both_scopes(server: Any) -> None:
    no_patience(server)
    one, two = server.peer("one", read=("store/1",)), server.peer("two", read=("store/2",))
    setter = server.peer("setter")
    setter.insert("product", "p", sku="s")
    for number in range(BULK):
        setter.insert("movement", number, store_id="1", product_id="p")
    assert {o.outcome for o in setter.sync()} == {"applied"}
    one.sync()
    two.sync()
    server.sql("UPDATE movement SET store_id = '2'")
    for peer in (one, two):
        with pytest.raises(BeingTakenIn):
            peer.sync()
    while server.service.poll_foreign_writes():
        pass
    one.sync()
    two.sync()
    assert one.rows == {}
    assert len(two.rows) == BULK
    server.check()


def test_many_writes_of_a_row_are_one_change(server: Any) -> None:
    one = server.peer("one")
    one.insert("product", "p", sku="s", on_hand=5)
    one.sync()
    before = one.rows["product", "p"][0]
    server.sql("".join(f"UPDATE product SET on_hand = {n};" for n in range(30)))
    server.sql("DELETE FROM product; INSERT INTO product (id, sku, on_hand) VALUES ('p', 's', 9)")
    assert server.service.poll_foreign_writes()
    assert waiting(server) == 0
    one.sync()
    assert one.row("product", "p")["on_hand"] == 9
    assert one.rows["product", "p"][0] == before + 1
    server.check()


def test_notes_of_an_older_version_concern_everybody(server: Any) -> None:
    no_patience(server)
    two = server.peer("two", write=("store/2",))
    two.sync()
    server.sql(shelves("1", BULK, server.postgres))
    if server.postgres:
        server.sql("UPDATE holdfast_dirty SET scope = '*'")
    else:
        server.sql("DELETE FROM holdfast_noted")
        server.reopen()
        no_patience(server)
    with pytest.raises(BeingTakenIn):
        two.sync()
    while server.service.poll_foreign_writes():
        pass
    two.sync()
    server.check()


def test_devices_hear_of_a_scope_when_all_of_it_is_in(server: Any) -> None:
    one = server.peer("one", write=("store/1", "store/2"))
    one.sync()
    server.moved.clear()
    server.sql(shelves("1", BULK, server.postgres))
    while server.service.poll_foreign_writes():
        pass
    assert [list(moved) for moved in server.moved if moved] == [["store/1"]]
