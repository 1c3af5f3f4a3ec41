"""Conflicts are rows; a settlement counts once, and only on what its author saw."""

from __future__ import annotations

import json
from typing import Any

import pytest


def price_conflict(server: Any) -> tuple[Any, Any]:
    """Two devices set another price offline; the second one's is in conflict."""
    one, two = server.peer("d1", user="ada"), server.peer("d2", user="bob")
    one.insert("product", "p", sku="s", price="1.00")
    one.sync()
    two.sync()
    one.update("product", "p", price="2.00")
    two.update("product", "p", price="3.00")
    one.sync()
    two.sync()
    one.sync()
    return one, two


def settle(peer: Any, chosen: Any, *, write: bool = True, **options: Any) -> Any:
    """Settle the one open conflict, as a replica does: with the value, in one transaction."""
    (conflict,) = peer.conflicts()
    changes = [peer.settling(conflict, chosen)]
    if write:
        table, key = conflict["table_name"], conflict["row_key"]
        changes.append(
            peer.change("update", table, key, {conflict["column_name"]: chosen}, **options)
        )
    return peer.commit(*changes)


def price(peer: Any) -> str:
    return str(peer.row("product", "p")["price"])


def test_a_conflict_is_a_row_for_everyone(server: Any) -> None:
    one, two = price_conflict(server)
    for peer in (one, two):
        (conflict,) = peer.conflicts()
        assert json.loads(conflict["scopes"]) == ["catalog"]
        assert {k: conflict[k] for k in ("table_name", "row_key", "column_name", "kind")} == {
            "table_name": "product", "row_key": "p", "column_name": "price", "kind": "edit",
        }  # fmt: skip
        assert (conflict["base"], conflict["mine"], conflict["theirs"]) == (
            '"1.00"', '"3.00"', '"2.00"',
        )  # fmt: skip
        assert (conflict["user"], conflict["device"]) == ("bob", "d2")
        assert (conflict["their_user"], conflict["their_device"]) == ("ada", "d1")
        assert price(peer) == "2.00"
    assert two.outcomes[1].outcome == "applied"
    server.check()


def test_a_later_edit_in_the_chain_updates_its_side(server: Any) -> None:
    _one, two = price_conflict(server)
    base = two.rows["product", "p"][0]
    on_its_own = {"base": base - 2, "old": {"price": "3.00"}}
    two.commit(two.change("update", "product", "p", {"price": "3.50"}, **on_its_own))
    two.sync()
    (conflict,) = two.conflicts()
    assert conflict["mine"] == '"3.50"'
    assert conflict["base"] == '"1.00"'
    assert server.service.journal(two.principal) == []
    server.check()


def test_an_edit_that_was_not_made_on_its_own_side_leaves_that_on_record(server: Any) -> None:
    """Found by the system tests: the side that was there was lost."""
    one, two = price_conflict(server)
    one.update("product", "p", price="5.00")
    two.update("product", "p", price="6.00")  # on what stands, not on its own side
    one.sync()
    two.sync()
    (conflict,) = two.conflicts()
    assert (conflict["base"], conflict["mine"], conflict["theirs"]) == (
        '"2.00"', '"6.00"', '"5.00"',
    )  # fmt: skip
    (entry,) = server.service.journal(two.principal)
    assert (entry.kind, entry.entry["lost"], entry.entry["kept"]) == ("latest", "3.00", "6.00")
    server.check()


def test_it_stays_open_between_two_values_that_the_settler_had_not_seen(server: Any) -> None:
    one, two = price_conflict(server)
    settle(one, "4.00")
    on_its_own = {"base": two.rows["product", "p"][0] - 2, "old": {"price": "3.00"}}
    two.commit(two.change("update", "product", "p", {"price": "6.00"}, **on_its_own))
    two.sync()  # its side is 6.00 now
    three = server.peer("d3", user="cy")
    three.sync()
    three.update("product", "p", price="5.00")
    three.sync()
    one.sync()
    (conflict,) = one.conflicts()
    assert (conflict["mine"], conflict["theirs"]) == ('"6.00"', '"5.00"')
    assert conflict["device"] == "d2"
    (entry,) = server.service.journal(one.principal)
    assert (entry.kind, entry.entry["lost"], entry.entry["kept"]) == ("settlement", "4.00", "5.00")
    server.check()


@pytest.mark.parametrize("chosen", ["4.00", "3.00", "2.00"])
def test_it_stays_open_about_a_side_that_the_settler_had_not_seen(server: Any, chosen: str) -> None:
    """A typed value, the side as it was, what stands: what was chosen is written."""
    one, two = price_conflict(server)
    settle(one, chosen, write=chosen != "2.00")
    on_its_own = {"base": two.rows["product", "p"][0] - 2, "old": {"price": "3.00"}}
    two.commit(two.change("update", "product", "p", {"price": "6.00"}, **on_its_own))
    two.sync()
    one.sync()
    two.sync()
    for peer in (one, two):
        (conflict,) = peer.conflicts()
        assert (conflict["mine"], conflict["theirs"]) == ('"6.00"', json.dumps(chosen))
        assert price(peer) == chosen
    server.check()


def test_who_settles_the_same_as_the_new_side_says_closes_it(server: Any) -> None:
    one, two = price_conflict(server)
    settle(one, "6.00")
    on_its_own = {"base": two.rows["product", "p"][0] - 2, "old": {"price": "3.00"}}
    two.commit(two.change("update", "product", "p", {"price": "6.00"}, **on_its_own))
    two.sync()
    one.sync()
    assert one.conflicts() == []
    assert price(one) == "6.00"
    server.check()


def test_a_device_that_goes_on_and_settles_its_own_conflict_has_seen_its_side(server: Any) -> None:
    one, two = price_conflict(server)
    on_its_own = {"base": two.rows["product", "p"][0] - 2, "old": {"price": "3.00"}}
    two.commit(two.change("update", "product", "p", {"price": "6.00"}, **on_its_own))
    settle(two, "3.00")
    two.sync()
    assert two.conflicts() == []
    assert price(two) == "3.00"
    one.sync()
    server.check()


def test_two_that_settle_offline_take_nothing_from_a_side_they_have_not_seen(server: Any) -> None:
    one, two = price_conflict(server)
    three = server.peer("d3", user="cy")
    three.sync()
    settle(one, "3.00")
    settle(three, "2.00", write=False)
    on_its_own = {"base": two.rows["product", "p"][0] - 2, "old": {"price": "3.00"}}
    two.commit(two.change("update", "product", "p", {"price": "7.00"}, **on_its_own))
    for peer in (two, one, three, two, one):
        peer.sync()
        server.check()
    for peer in (one, two, three):
        (conflict,) = peer.conflicts()
        assert (conflict["mine"], conflict["theirs"]) == ('"7.00"', '"3.00"')


@pytest.mark.parametrize("seen", [True, False])
def test_an_edit_that_waits_in_a_conflict_is_an_edit_for_a_later_delete(
    server: Any, *, seen: bool
) -> None:
    """Who has not seen the conflict must not take the row from under it."""
    three = server.peer("d3", user="cy")
    one, two = price_conflict(server)
    three.sync()
    if not seen:
        rev, *values = three.rows["product", "p"]
        three.rows["product", "p"] = (rev - 1, *values)
    three.delete("product", "p")
    three.sync()
    one.sync()
    two.sync()
    if seen:
        assert [peer.row("product", "p") for peer in (one, two, three)] == [None] * 3
        assert not one.conflicts()
        (entry,) = server.service.journal(one.principal)
        assert (entry.kind, entry.column, entry.entry["lost"]) == ("edit", "price", "3.00")
    else:
        assert price(one) == price(three) == "2.00"
        assert "price" in [c["column_name"] for c in one.conflicts()]
    server.check()


@pytest.mark.parametrize("at_once", [False, True])
def test_of_two_conflicts_of_a_device_its_edit_is_about_the_older(
    server: Any, *, at_once: bool
) -> None:
    """Found by random worlds: about either, as they were loaded by what else was pushed with it."""
    one, two, three = (server.peer(name) for name in ("d1", "d2", "d3"))
    one.insert("product", "p", sku="s", price="1.00")
    for peer in (one, two, three):
        peer.sync()
    for peer, own in ((three, "2.00"), (one, "3.00"), (two, "4.00")):
        peer.update("product", "p", price=own)
        peer.sync()
    one.sync()
    older, newer = sorted(conflict["id"] for conflict in one.conflicts())
    base = one.rows["product", "p"][0]
    for stands, chosen in (("2.50", "5.00"), ("2.75", "6.00")):
        three.sync()
        three.update("product", "p", price=stands)
        three.sync()
        (conflict,) = (found for found in one.conflicts() if found["id"] == newer)
        one.commit(
            one.settling(conflict, chosen), one.change("update", "product", "p", {"price": chosen})
        )
        if stands == "2.50" or not at_once:
            base = one.rows["product", "p"][0]
            one.sync()
    one.commit(one.change("update", "product", "p", {"price": "7.00"}, base=base))
    one.sync()
    sides = {found["id"]: (found["device"], found["mine"]) for found in one.conflicts()}
    assert sides == {older: ("d1", '"7.00"'), newer: ("d1", '"6.00"')}
    server.check()


def test_edits_of_a_deleted_row_are_one_side(server: Any) -> None:
    """Two transactions that edit different columns of a row that was deleted meanwhile."""
    one, two = server.peer("d1", user="ada"), server.peer("d2", user="bob")
    one.insert("shelf", ("s1", b"a"), label="l")
    one.sync()
    two.sync()
    one.delete("shelf", ("s1", b"a"))
    two.update("shelf", ("s1", b"a"), label="mine")
    two.update("shelf", ("s1", b"a"), full=1)
    one.sync()
    two.sync()
    (conflict,) = two.conflicts()
    assert json.loads(conflict["mine"]) == {"label": "mine", "full": True}
    assert json.loads(conflict["base"]) == {"label": "l", "full": False}
    server.check()


@pytest.mark.parametrize("chosen", ["3.00", "4.00"])
def test_any_device_settles_it(server: Any, chosen: str) -> None:
    one, two = price_conflict(server)
    settle(one, chosen)
    assert [o.outcome for o in one.sync()] == ["applied"]
    two.sync()
    assert price(two) == price(one) == chosen
    assert two.conflicts() == []
    (done,) = two.conflicts("settled")
    assert (done["settled_by"], done["chosen"]) == ("ada", json.dumps(chosen))
    server.check()


def test_keeping_theirs_needs_no_write(server: Any) -> None:
    _one, two = price_conflict(server)
    settle(two, "2.00", write=False)
    assert [o.outcome for o in two.sync()] == ["applied"]
    assert two.conflicts() == []
    assert price(two) == "2.00"
    server.check()


def test_it_reopens_when_the_value_has_moved_on(server: Any) -> None:
    one, two = price_conflict(server)
    one.update("product", "p", price="2.50")  # while two settles offline
    one.sync()
    settle(two, "3.00")
    assert [o.outcome for o in two.sync()] == ["applied"]
    one.sync()
    for peer in (one, two):
        assert price(peer) == "2.50"
        (conflict,) = peer.conflicts()
        assert (conflict["mine"], conflict["theirs"]) == ('"3.00"', '"2.50"')
        assert (conflict["user"], conflict["their_user"]) == ("bob", "ada")
    settle(two, "3.00")
    two.sync()
    one.sync()
    assert price(one) == "3.00"
    assert one.conflicts() == []
    server.check()


def test_keeping_theirs_reopens_when_it_is_theirs_no_more(server: Any) -> None:
    one, two = price_conflict(server)
    one.update("product", "p", price="2.50")
    one.sync()
    settle(two, "2.00", write=False)
    two.sync()
    (conflict,) = two.conflicts()
    assert (conflict["mine"], conflict["theirs"]) == ('"2.00"', '"2.50"')
    assert price(two) == "2.50"


def test_the_settlers_own_later_write_does_not_reopen(server: Any) -> None:
    one, _two = price_conflict(server)
    one.update("product", "p", price="2.20")
    one.sync()
    one.update("product", "p", price="2.30")
    settle(one, "3.00")
    assert [o.outcome for o in one.sync()] == ["applied", "applied"]
    assert price(one) == "3.00"
    assert one.conflicts() == []


def test_a_second_settlement_is_journalled_and_dropped(server: Any) -> None:
    one, two = price_conflict(server)
    settle(one, "3.00")
    settle(two, "4.00")
    one.sync()
    assert [o.outcome for o in two.sync()] == ["applied"]
    one.sync()
    assert price(one) == price(two) == "3.00"
    assert two.conflicts("settled")[0]["chosen"] == '"3.00"'
    (entry,) = server.service.journal(one.principal)
    assert (entry.kind, entry.entry["lost"], entry.entry["kept"]) == ("settlement", "4.00", "3.00")
    assert entry.entry["lost_user"] == "bob"
    server.check()


def test_the_same_second_settlement_is_no_news(server: Any) -> None:
    one, two = price_conflict(server)
    settle(one, "3.00")
    settle(two, "3.00")
    one.sync()
    assert [o.outcome for o in two.sync()] == ["applied"]
    assert server.service.journal(one.principal) == []
    assert price(two) == "3.00"


@pytest.mark.parametrize("late", ["2", "2.0", "2e0", " 2.00"])
def test_one_number_is_one_choice_however_it_is_written(server: Any, late: str) -> None:
    """Python writes 2.0 where JavaScript writes 2."""
    one, two = server.peer("d1", user="ada"), server.peer("d2", user="bob")
    one.insert("parcel", "p", weight=1.0, unit="kg")
    one.sync()
    two.sync()
    one.update("parcel", "p", weight=3.0, unit="kg")
    two.update("parcel", "p", weight=5.0, unit="kg")
    for peer in (one, two, one):
        peer.sync()
    for peer, number in ((one, "2.0"), (two, late)):
        (conflict,) = peer.conflicts()
        settling = peer.settling(conflict, None)
        settling.new["chosen"] = f'{{"unit": "kg", "weight": {number}}}'
        write = peer.change("update", "parcel", "p", {"weight": 2.0, "unit": "kg"})
        peer.commit(settling, write)
    for peer in (one, two, one):
        peer.sync()
    assert [o.outcome for o in two.outcomes.values()] == ["applied"] * 2
    assert server.service.journal(one.principal) == [], "the same choice is no news"
    for peer in (one, two):
        assert peer.conflicts() == []
        assert peer.row("parcel", "p")["weight"] == 2.0
        assert peer.conflicts("settled")[0]["chosen"] == '{"weight":2.0,"unit":"kg"}'
    server.check()


def test_a_late_settlement_leaves_other_columns_alone(server: Any) -> None:
    one, two = price_conflict(server)
    settle(one, "3.00")
    (conflict,) = two.conflicts()
    two.commit(
        two.settling(conflict, "4.00"),
        two.change("update", "product", "p", {"price": "4.00", "name": "kept"}),
    )
    one.sync()
    two.sync()
    assert price(two) == "3.00"
    assert two.row("product", "p")["name"] == "kept"


def test_devices_do_nothing_else_to_conflicts(server: Any) -> None:
    _one, two = price_conflict(server)
    (conflict,) = two.conflicts()
    key = conflict["id"]
    columns = {k: v for k, v in conflict.items() if k != "id"}
    two.commit(two.change("delete", "holdfast_conflict", key))
    two.commit(two.change("update", "holdfast_conflict", key, {"mine": '"9.00"'}))
    two.commit(
        two.change("update", "holdfast_conflict", key, {"state": "settled", "theirs": '"9.00"'})
    )
    two.commit(two.change("update", "holdfast_conflict", key, {"state": "other"}))
    two.commit(two.change("insert", "holdfast_conflict", key[:-1] + "0", columns))
    assert [o.code for o in two.sync()] == ["forbidden"] * 5
    assert two.conflicts() == [conflict]


def test_only_those_who_may_write_the_row_settle(server: Any) -> None:
    price_conflict(server)
    reader = server.peer("d3", read=("catalog",))
    stranger = server.peer("d4", read=("store/1",))
    reader.sync()
    stranger.sync()
    settle(reader, "3.00")
    assert [o.code for o in reader.sync()] == ["forbidden"]
    change = reader.settling(reader.conflicts()[0], "3.00")
    stranger.commit(change)
    assert [o.code for o in stranger.sync()] == ["row_gone"]


@pytest.mark.parametrize(
    ("chosen", "code"),
    [(5, "bad_value"), ("1.234", "bad_value"), (None, "not_null"), ({"a": 1}, "bad_value")],
)
def test_a_choice_that_does_not_fit_is_refused(server: Any, chosen: Any, code: str) -> None:
    _, two = price_conflict(server)
    settle(two, chosen, write=False)
    assert [o.code for o in two.sync()] == [code]
    assert len(two.conflicts()) == 1


def test_what_is_written_must_be_what_was_chosen(server: Any) -> None:
    _, two = price_conflict(server)
    (conflict,) = two.conflicts()
    two.commit(
        two.settling(conflict, "3.00"), two.change("update", "product", "p", {"price": "4.00"})
    )
    assert [o.code for o in two.sync()] == ["bad_value"]
    assert price(two) == "2.00"


def test_open_conflicts_follow_their_row(server: Any) -> None:
    boss = server.peer("boss")
    boss.insert("task", "t", store_id="1", text="a")
    boss.sync()
    one = server.peer("d1", write=("store/1", "tasks"))
    two = server.peer("d2", read=("store/2",))
    one.sync()
    two.sync()
    boss.update("task", "t", text="b")
    one.update("task", "t", text="c")
    boss.sync()
    one.sync()
    assert len(one.conflicts()) == 1
    boss.sync()
    boss.update("task", "t", store_id="2")
    boss.sync()
    one.principal = type(one.principal)("user-d1", "d1", ("store/1",))
    one.sync()
    two.sync()
    assert one.conflicts() == []
    (conflict,) = two.conflicts()
    assert json.loads(conflict["scopes"]) == ["store/2", "tasks"]
    server.check()


def test_a_conflict_shows_what_stands(server: Any) -> None:
    one, _two = price_conflict(server)
    one.update("product", "p", price="2.80")
    one.sync()
    (conflict,) = one.conflicts()
    assert (conflict["mine"], conflict["theirs"]) == ('"3.00"', '"2.80"')


# A delete against an edit


def delete_conflict(server: Any, *, delete_first: bool) -> tuple[Any, Any]:
    """``one`` deletes a task, ``two`` edits it; who comes second is in conflict."""
    one, two = server.peer("d1", user="ada"), server.peer("d2", user="bob")
    one.insert("task", "t", store_id="1", text="a")
    one.sync()
    two.sync()
    one.delete("task", "t")
    two.update("task", "t", text="b")
    for peer in (one, two) if delete_first else (two, one):
        peer.sync()
    one.sync()
    two.sync()
    return one, two


def test_an_edit_of_a_deleted_row_brings_it_back_when_chosen(server: Any) -> None:
    one, two = delete_conflict(server, delete_first=True)
    (conflict,) = one.conflicts()
    assert (conflict["kind"], conflict["mine"], conflict["theirs"]) == (
        "delete", '{"text":"b"}', None,
    )  # fmt: skip
    assert one.row("task", "t") is None
    one.commit(one.settling(conflict, {"text": "b"}))
    assert [o.outcome for o in one.sync()] == ["applied"]
    two.sync()
    assert one.row("task", "t") == two.row("task", "t") == {"id": "t", "store_id": "1", "text": "b"}
    assert two.conflicts() == []
    server.check()


def test_an_insert_may_bring_the_deleted_row_back(server: Any) -> None:
    one, _two = delete_conflict(server, delete_first=True)
    (conflict,) = one.conflicts()
    one.commit(
        one.settling(conflict, {"text": "b"}),
        one.change("insert", "task", "t", {"store_id": "1", "text": "b"}),
    )
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert one.row("task", "t")["text"] == "b"
    assert one.conflicts() == []
    server.check()


def test_the_delete_stands_when_chosen(server: Any) -> None:
    _one, two = delete_conflict(server, delete_first=True)
    (conflict,) = two.conflicts()
    two.commit(two.settling(conflict, None))
    assert [o.outcome for o in two.sync()] == ["applied"]
    assert two.row("task", "t") is None
    assert two.conflicts() == []
    server.check()


def test_a_delete_of_an_edited_row_goes_through_when_chosen(server: Any) -> None:
    one, two = delete_conflict(server, delete_first=False)
    (conflict,) = one.conflicts()
    assert (conflict["kind"], conflict["mine"], conflict["theirs"]) == (
        "delete", None, '{"text":"b"}',
    )  # fmt: skip
    assert one.row("task", "t")["text"] == "b"
    one.commit(one.settling(conflict, None), one.change("delete", "task", "t"))
    assert [o.outcome for o in one.sync()] == ["applied"]
    two.sync()
    assert two.row("task", "t") is None
    assert two.conflicts() == []
    server.check()


def test_a_delete_reopens_when_the_row_has_moved_on(server: Any) -> None:
    one, two = delete_conflict(server, delete_first=False)
    two.update("task", "t", text="c")
    two.sync()
    (conflict,) = one.conflicts()
    one.commit(one.settling(conflict, None), one.change("delete", "task", "t"))
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert one.row("task", "t")["text"] == "c"
    (conflict,) = one.conflicts()
    assert (conflict["mine"], conflict["theirs"]) == (None, '{"text":"c"}')
    server.check()


def test_the_edited_row_stays_when_chosen(server: Any) -> None:
    one, _two = delete_conflict(server, delete_first=False)
    (conflict,) = one.conflicts()
    one.commit(one.settling(conflict, {"text": "b"}))
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert one.row("task", "t")["text"] == "b"
    assert one.conflicts() == []


def test_a_second_settlement_of_a_delete_is_dropped(server: Any) -> None:
    one, two = delete_conflict(server, delete_first=True)
    two.commit(two.settling(two.conflicts()[0], None))
    one.commit(one.settling(one.conflicts()[0], {"text": "b"}))
    two.sync()
    assert [o.outcome for o in one.sync()] == ["applied"]
    assert one.row("task", "t") is None
    assert [e.kind for e in server.service.journal(one.principal)] == ["settlement"]
    server.check()


def test_conflicts_of_a_deleted_row_are_closed(server: Any) -> None:
    one, two = price_conflict(server)
    settle(two, "3.00")
    one.delete("product", "p")
    one.sync()
    two.sync()
    one.sync()
    revived, given_up = server.service.journal(two.principal)
    assert (given_up.kind, given_up.entry["lost"]) == ("edit", "3.00")
    assert revived.kind == "delete", "a settlement is an edit, and keeps the row as one does"
    for peer in (one, two):
        assert peer.conflicts() == []
        assert price(peer) == "3.00"
    server.check()


def test_a_direct_delete_closes_the_conflicts_of_its_row(server: Any) -> None:
    one, two = price_conflict(server)
    server.sql("DELETE FROM product")
    for peer in (one, two):
        peer.sync()
        assert peer.row("product", "p") is None
        assert peer.conflicts() == []
    (entry,) = server.service.journal(one.principal)
    assert (entry.kind, entry.entry["lost"], entry.entry["kept_device"]) == (
        "edit",
        "3.00",
        "server",
    )
    server.check()
