"""Absent and forbidden: the same answer, to the byte, whatever a device tries to find out.

Checks I23.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.core.errors import SchemaError, SchemaMoved
from holdfast.schema.model import Column, ForeignKey, Schema, Table
from holdfast.schema.reach import parent_is_seen
from holdfast.server.identity.principal import Principal

STORE = ("store/{store_id}",)
SCHEMA = Schema(
    name="reach",
    tables=(
        Table("brand", ("id",), (Column("id"), Column("name", default="")), ("catalog",)),
        Table(
            "label", ("id",), (Column("id"), Column("name", default="")), ("catalog",),
            existence_public=True,
        ),
        Table(
            "shelf", ("store_id", "code"),
            (Column("store_id"), Column("code"), Column("note", merge="manual", default="")), STORE,
        ),
        Table(
            "box", ("id",),
            (
                Column("id"), Column("store_id"), Column("near", default="x"),
                Column("code", nullable=True), Column("other", nullable=True),
                Column("brand_id", nullable=True), Column("label_id", nullable=True),
                Column("inside", nullable=True),
            ),
            STORE,
            foreign_keys=(
                ForeignKey(("store_id", "code"), "shelf"), ForeignKey(("near", "other"), "shelf"),
                ForeignKey(("brand_id",), "brand"), ForeignKey(("label_id",), "label"),
                ForeignKey(("inside",), "box"),
            ),
        ),
    ),
)  # fmt: skip
BOX = SCHEMA.by_name["box"]


@pytest.fixture
def server(make_server: Any) -> Any:
    """Two stores with a box each; all that is in the second has ``2`` in its key."""
    server = make_server(schema=SCHEMA)
    boss = server.peer("boss")
    for store in ("1", "2"):
        boss.insert("brand", f"b{store}")
        boss.insert("label", f"l{store}")
        boss.insert("shelf", (store, f"s{store}"))
        boss.insert("box", f"x{store}", store_id=store)
    assert {o.outcome for o in boss.sync()} == {"applied"}
    server.boss = boss
    return server


def told(peer: Any, key: str) -> list[bytes]:
    """What the peer is told, with the key it has asked for taken out."""
    return [
        msgspec.json.encode(
            [o.outcome, o.code, o.message, o.field, o.held_by, sorted(o.versions)]
        ).replace(key.encode(), b"KEY")
        for o in peer.sync()
    ]


def test_what_a_schema_alone_says_of_parents() -> None:
    assert [parent_is_seen(SCHEMA, BOX, key) for key in BOX.foreign_keys] == [
        True,  # a shelf of the box's own store
        False,  # any shelf
        False,  # the catalog, which a store need not read
        True,  # anybody may know
        False,  # a box that may be in another store
    ]


@pytest.mark.parametrize(
    ("column", "there", "absent"),
    [("brand_id", "b2", "b7"), ("inside", "x2", "x7"), ("other", "s2", "s7")],
)
def test_a_reference_out_of_reach_is_one_to_nothing(
    server: Any, column: str, there: str, absent: str
) -> None:
    answers = []
    for number, key in enumerate((there, absent)):
        one = server.peer(f"d{number}", write=("store/1",))
        one.sync()
        one.insert("box", f"new-{number}", store_id="1", **{"near": "2", column: key})
        one.update("box", "x1", **{"near": "2", column: key})
        one.insert("box", f"last-{number}", store_id="1")  # the batch is decided in parts
        answers.append(told(one, f"-{number}"))
    assert answers[0] == answers[1]
    assert [b"foreign_key" in answer for answer in answers[0]] == [True, True, False]
    server.check()


def test_a_reference_within_reach_is_taken(server: Any) -> None:
    """Also to rows of the same batch, to a scope that can only be read, and where all may know."""
    one = server.peer("d1", read=("catalog",), write=("store/1",))
    one.sync()
    one.insert("box", "a", store_id="1", brand_id="b2", label_id="l2", code="s1", inside="x1")
    one.insert("box", "b", store_id="1", inside="a")
    one.insert("box", "c", store_id="1", inside="x1")
    assert [o.outcome for o in one.sync()] == ["applied"] * 3
    blind = server.peer("d2", write=("store/1",))
    blind.sync()
    blind.insert("box", "d", store_id="1", label_id="l2")
    blind.insert("box", "e", store_id="1", label_id="l7")
    assert [o.outcome for o in blind.sync()] == ["applied", "refused"]


def test_a_row_in_the_batch_that_cannot_be_read_is_no_parent(server: Any) -> None:
    """The batch holds it because the device has tried to change it."""
    answers = []
    for number, key in enumerate(("x2", "x7")):
        one = server.peer(f"d{number}", write=("store/1",))
        one.sync()
        one.update("box", key, label_id="l1")
        one.insert("box", f"y-{number}", store_id="1", inside=key)
        answers.append(told(one, f"-{number}"))
    assert answers[0] == answers[1]


def test_what_others_have_referred_to_stands(server: Any) -> None:
    """A reference beyond the device's sight that it has not made is not its fault."""
    server.boss.update("box", "x1", inside="x2")
    server.boss.sync()
    one = server.peer("d1", write=("store/1",))
    one.sync()
    one.update("box", "x1", label_id="l1")
    assert [o.outcome for o in one.sync()] == ["applied"]
    server.check()


def test_a_rule_refers_to_what_it_likes(make_server: Any) -> None:
    """And where it has written is not told to a device that may not read there."""

    def put_away(context: Any) -> None:
        for change in context.changes:
            if change.table == "box" and change.op == "insert" and change.key == "a":
                context.add("box", {"id": "hidden", "store_id": "9", "brand_id": "b"})

    server = make_server(schema=SCHEMA, rules=[put_away])
    boss = server.peer("boss")
    boss.insert("brand", "b")
    boss.sync()
    one = server.peer("d1", write=("store/1",))
    one.insert("box", "a", store_id="1")
    (outcome,) = one.sync()
    assert outcome.outcome == "applied"
    assert set(outcome.versions) == {"store/1"}
    boss.sync()
    assert boss.row("box", "hidden")["brand_id"] == "b"


def test_an_answer_told_again_names_no_scope_that_was_lost_since(server: Any) -> None:
    one = server.peer("d1", write=("store/1", "store/2"))
    one.sync()
    one.insert("box", "a", store_id="1")
    request = one.request()
    server.service.exchange(one.principal, request, echo="e").close()  # the answer is lost
    one.principal = Principal(one.principal.user, "d1", write=("store/2",))
    (head, *_rest) = server.service.exchange(one.principal, request, echo="e")
    assert [(o.outcome, o.versions) for o in head.outcomes] == [("applied", {})]


def test_a_conflict_that_cannot_be_read_is_one_that_is_not(server: Any) -> None:
    boss = server.boss
    two = server.peer("two", write=("store/2",))
    two.sync()
    boss.update("shelf", ("2", "s2"), note="boss")
    two.update("shelf", ("2", "s2"), note="two")
    boss.sync()
    two.sync()
    (conflict,) = two.conflicts()
    answers = []
    for number, key in enumerate((conflict["id"], "01980000-0000-7000-8000-000000000000")):
        one = server.peer(f"d{number}", write=("store/1",))
        one.sync()
        settling = one.settling({**conflict, "id": key}, "mine")
        one.commit(settling)
        bad = one.change("update", "holdfast_conflict", "x", {"state": "open"})
        one.commit(settling, bad)
        one.commit(one.change("delete", "holdfast_conflict", key))
        answers.append(told(one, key))
    assert answers[0] == answers[1]
    assert b"row_gone" in answers[0][0]


def test_a_conflict_left_behind_does_not_tell_what_its_row_has_become(server: Any) -> None:
    """The row was moved behind the triggers' back, so its conflict did not follow."""
    boss = server.boss
    one = server.peer("one", write=("store/1",))
    one.sync()
    boss.update("shelf", ("1", "s1"), note="boss")
    one.update("shelf", ("1", "s1"), note="one")
    boss.sync()
    one.sync()
    (conflict,) = one.conflicts()
    server.sql_unseen(
        "UPDATE holdfast_conflict SET row_key = '2/s2';"
        "UPDATE shelf SET note = 'canary' WHERE store_id = '2'"
    )
    one.commit(one.settling(conflict, "one"))
    assert [o.code for o in one.sync()] == ["row_gone"]
    assert "canary" not in str(one.rows)


def test_who_still_refers_to_a_row_is_not_told(server: Any) -> None:
    server.boss.insert("box", "y2", store_id="2", inside="x1")
    server.boss.sync()
    one = server.peer("d1", write=("store/1",))
    one.sync()
    one.delete("box", "x1")
    (outcome,) = one.sync()
    assert outcome.code == "foreign_key"
    assert "box: other rows still refer" in outcome.message


def test_numbers_of_the_journal_tell_no_counts(server: Any) -> None:
    """Each device writes what the other has written meanwhile: decisions, in both stores."""
    boss = server.boss
    one = server.peer("d1", write=("store/1",))
    one.sync()
    for number, store in enumerate("122122122"):
        other = server.peer(f"o{number}", write=(f"store/{store}",))
        other.sync()
        other.update("box", f"x{store}", near=f"{number}-other")
        boss.update("box", f"x{store}", near=f"{number}-boss")
        boss.sync()
        other.sync()
        boss.sync()
    entries = server.service.journal(one.principal)
    assert len(entries) == 3
    numbers = [entry.number for entry in entries]
    everything = [entry.number for entry in server.service.journal(boss.principal)]
    assert set(numbers) <= set(everything)
    assert min(abs(a - b) for a in everything for b in everything if a != b) > 1000
    # And with them one reads on, entry by entry.
    read: list[int] = []
    for _ in entries:
        (entry,) = server.service.journal(one.principal, before=read[-1] if read else 0, limit=1)
        read.append(entry.number)
    assert read == numbers
    assert server.service.journal(one.principal, before=read[-1]) == []


def test_a_schema_that_reaches_too_far_is_not_taken() -> None:
    columns = (Column("id", "uuid"), Column("store_id"), Column("name"))
    with pytest.raises(SchemaError, match="reaches beyond"):
        Schema("s", (Table("t", ("id",), columns, STORE, unique=(("name",),)),))


def test_a_server_that_was_left_behind_by_its_database_does_nothing(make_server: Any) -> None:
    """Another process has made the tables grow: what this one would hash lacks a column."""
    old = make_server(schema=SCHEMA)
    peer = old.peer("d1")
    peer.sync()
    grown = msgspec.structs.replace(
        BOX, columns=(*BOX.columns, Column("shelf_mark", default="")), name="box"
    )
    newer = Schema("reach", (*SCHEMA.tables[:3], grown), generation=2)
    new = make_server(old.path, schema=newer)
    peer.insert("brand", "b")
    for attempt in (peer.sync, lambda: old.service.heads(peer.principal)):
        with pytest.raises(SchemaMoved):
            attempt()
    assert new.query("SELECT count(*) FROM brand") == [(0,)]
