"""Of rows that a device has made itself the answer tells the revision only; of no others."""

from __future__ import annotations

from typing import Any

from holdfast.protocol.messages import Change, Own, Rows


def told(peer: Any) -> tuple[set[str], set[str]]:
    """Push as a device that takes brief answers: keys of its own rows, and of rows sent in full."""
    request = peer.request(brief=True)
    lines = list(peer.server.service.exchange(peer.principal, request, echo="e"))
    own = {key for line in lines if isinstance(line, Own) for key in line.keys}
    full = {row[1] for line in lines if isinstance(line, Rows) for row in line.rows}
    return own, full


def test_inserts_and_updates_of_what_stands_are_own(server: Any) -> None:
    one = server.peer("d1")
    one.insert("product", "p1", sku="s1")
    one.sync()
    one.update("product", "p1", name="n", on_hand=3)
    one.insert("product", "p2", sku="s2")
    assert told(one) == ({"p1", "p2"}, set())


def test_a_revision_is_that_of_the_row(server: Any) -> None:
    one = server.peer("d1")
    one.insert("product", "p1", sku="s1")
    lines = list(server.service.exchange(one.principal, one.request(brief=True), echo="e"))
    ((rev,),) = (line.revs for line in lines if isinstance(line, Own))
    two = server.peer("d2")
    two.sync()
    assert two.rows["product", "p1"][0] == rev


def test_who_does_not_ask_for_it_gets_all_rows(server: Any) -> None:
    one = server.peer("d1")
    one.insert("product", "p1", sku="s1")
    lines = list(server.service.exchange(one.principal, one.request(), echo="e"))
    assert not [line for line in lines if isinstance(line, Own)]
    assert [line for line in lines if isinstance(line, Rows)]


def test_what_another_device_has_written_meanwhile_is_sent(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    one.insert("product", "p1", sku="s1", on_hand=5)
    one.sync()
    two.sync()
    two.update("product", "p1", on_hand=-1)
    two.sync()
    one.update("product", "p1", on_hand=-1)  # adds up, and is another sum than the device has
    assert told(one) == (set(), {"p1"})


def test_a_value_that_loses_is_sent(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    one.insert("product", "p1", sku="s1", rank=5)
    one.sync()
    two.sync()
    two.update("product", "p1", rank=9)
    two.sync()
    one.update("product", "p1", rank=7)
    assert told(one) == (set(), {"p1"})


def test_what_the_server_shifts_is_sent(server: Any) -> None:
    one = server.peer("d1")
    one.insert("product", "p1", sku="s1")
    one.sync()
    one.insert("movement", 7, store_id="1", product_id="p1", at=1)
    _own, full = told(one)
    assert full == {"7"}


def test_the_repetition_of_a_lost_answer_sends_all(server: Any) -> None:
    one = server.peer("d1")
    one.insert("product", "p1", sku="s1")
    request = one.request(brief=True)
    for wanted in (Own, Rows):
        lines = list(server.service.exchange(one.principal, request, echo="e"))
        assert [type(line) for line in lines if isinstance(line, Own | Rows)] == [wanted]


def test_a_base_of_a_column_that_is_older_is_not_own(server: Any) -> None:
    one = server.peer("d1")
    one.insert("product", "p1", sku="s1")
    one.sync()
    rev = one.rows["product", "p1"][0]
    one.update("product", "p1", name="a")
    one.sync()
    late = Change("product", ["p1"], "update", rev + 1, {"name": rev}, {"name": "b"}, {"name": "a"})
    one.commit(late)
    assert told(one) == (set(), {"p1"})


def test_a_row_in_two_scopes_is_sent(server: Any) -> None:
    one = server.peer("d1")
    one.insert("task", "t1", store_id="1")
    assert told(one) == (set(), {"t1"})


def test_a_brief_answer_leaves_out_the_keys_of_scopes_that_are_known(server: Any) -> None:
    one, two = server.peer("d1"), server.peer("d2")
    one.insert("product", "p1", sku="s1")
    one.sync()
    for peer, told_keys in ((one, False), (two, True)):
        head = next(
            iter(server.service.exchange(peer.principal, peer.request(brief=True), echo="e"))
        )
        assert {bool(grant.key) for grant in head.scopes.values()} == {told_keys}
