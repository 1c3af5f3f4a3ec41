"""Devices of an older generation of the schema at a newer server, and those that follow.

Checks I12.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from holdfast.core.errors import ProtocolError, SchemaError
from holdfast.protocol.messages import RangeAnswer, RangeQuery, RowQuery
from holdfast.schema.model import Check, Column, Schema, Table

FIRST = Schema(
    name="grow",
    tables=(
        Table(
            name="note",
            key=("id",),
            scopes=("main", "*{also}"),
            columns=(
                Column("id"),
                Column("also", "json", default="[]"),
                Column("text", merge="manual", default=""),
                Column("count", "integer", merge="counter"),
            ),
            on_delete="manual",
        ),
        Table(name="plain", key=("id",), scopes=("main",), columns=(Column("id"), Column("t"))),
    ),
)


def grown(schema: Schema, *columns: Column, tables: tuple[Table, ...] = (), at: int = 2) -> Schema:
    """A schema with columns in the middle of the notes, and more tables first."""
    found = []
    for table in schema.tables:
        if table.name == "note":
            now = (*table.columns[: at + 1], *columns, *table.columns[at + 1 :])
            found.append(msgspec.structs.replace(table, columns=now))
        else:
            found.append(table)
    return msgspec.structs.replace(
        schema, tables=(*tables, *found), generation=schema.generation + 1
    )


TAG = Table(
    name="tag",
    key=("id",),
    scopes=("main",),
    columns=(Column("id"), Column("label", merge="manual", default="")),
    checks=(Check("id", "not_empty"),),
)
SECOND = grown(
    FIRST,
    Column("vat", "integer", merge="manual", default="20"),
    Column("hint", nullable=True),
    tables=(TAG,),
)
THIRD = grown(SECOND, Column("grade", "integer", merge="counter"), at=5)


@pytest.fixture
def server(make_server: Callable[..., Any]) -> Any:
    return make_server(schema=FIRST)


def old_device(server: Any, name: str) -> Any:
    device = server.peer(name, write=("main", "side"))
    device.speaks = FIRST
    device.sync()
    return device


def heads(server: Any) -> dict[str, int]:
    return dict(server.query("SELECT scope, head FROM holdfast_scope"))


def test_growth_changes_nothing_for_who_does_not_know_of_it(server: Any) -> None:
    old = old_device(server, "old")
    old.insert("note", "a", text="one", also='["side"]')
    old.insert("plain", "p", t="x")
    old.sync()
    old.update("note", "a", text="queued")
    before = heads(server)
    server.reopen(SECOND)
    assert heads(server) == before
    (outcome,) = old.sync()
    assert outcome.outcome == "applied" and old.last_rows == [("note", "a")]
    assert old.row("note", "a") == {"id": "a", "also": '["side"]', "text": "queued", "count": 0}
    server.check()
    assert server.query("SELECT vat, hint FROM note") == [(20, None)]
    assert server.query("SELECT generation FROM holdfast_replica") == [(1,)]


def test_a_lost_answer_is_given_again_after_growth(server: Any) -> None:
    old = old_device(server, "old")
    old.insert("note", "a", text="one")
    request = old.request()
    list(server.service.exchange(old.principal, request, echo="e"))
    server.reopen(SECOND)
    lines = list(server.service.exchange(old.principal, request, echo="e"))
    assert [o.outcome for o in old.apply(lines)] == ["applied"]
    assert server.query("SELECT count FROM note") == [(0,)]
    server.check()


def test_both_generations_write_and_everybody_verifies(server: Any) -> None:
    old = old_device(server, "old")
    old.insert("note", "a", text="one", count=1)
    old.insert("note", "c", text="to be deleted")
    old.sync()
    server.reopen(SECOND)
    new = server.peer("new", write=("main", "side"))
    new.sync()
    old.update("note", "a", text="by the old one", count=2)
    old.insert("note", "b", text="made by the old one", also='["side"]')
    new.update("note", "a", text="by the new one", vat=7, count=3)
    new.insert("tag", "t", label="x")
    new.delete("note", "c")
    old.sync()
    new.sync()
    old.update("note", "c", text="edited meanwhile")  # it was deleted: a conflict
    old.sync()
    new.sync()
    old.sync()
    assert old.row("note", "a")["count"] == new.row("note", "a")["count"] == 6
    assert new.row("note", "a")["vat"] == 7 and new.row("note", "b")["vat"] == 20
    assert ("tag", "t") not in old.rows
    assert {c["column_name"] for c in old.conflicts()} == {"text", ""}
    assert {c["id"] for c in old.conflicts()} == {c["id"] for c in new.conflicts()}
    other = server.peer("other", write=("main", "side"))
    other.sync()
    new.update("note", "a", vat=8)
    new.sync()
    other.update("note", "a", vat=9)
    other.sync()  # a conflict about what the old one does not know
    assert len(other.conflicts()) == 3
    old.sync()
    assert len(old.conflicts()) == 2
    (about_text,) = (c for c in old.conflicts() if c["column_name"] == "text")
    old.commit(old.settling(about_text, "settled"))
    assert [o.outcome for o in old.sync()] == ["applied"]
    new.sync()
    server.check()


def test_an_old_device_asks_for_ranges_and_rows_as_it_knows_them(server: Any) -> None:
    old = old_device(server, "old")
    old.commit(*(old.change("insert", "note", f"n{n:03}", {"text": f"t{n}"}) for n in range(100)))
    old.sync()
    server.reopen(SECOND)
    new = server.peer("new", write=("main", "side"))
    new.sync()
    new.insert("tag", "t")
    new.commit(*(new.change("update", "note", f"n{n:03}", {"vat": n}) for n in range(0, 100, 3)))
    new.sync()
    old.sync()
    position = old.checkpoint["main"]
    answers = [
        line for line in old.verify([RangeQuery("main")], [RowQuery("note", "n003")])
        if isinstance(line, RangeAnswer)
    ]  # fmt: skip
    assert (answers[0].count, answers[0].digest) == (position.count, position.digest)
    assert sum(part.count for part in answers[0].parts) == 100
    (part, *_) = answers[0].parts
    (leaf,) = [
        line for line in old.verify([RangeQuery("main", part.start, part.end)])
        if isinstance(line, RangeAnswer)
    ]  # fmt: skip
    assert (leaf.count, leaf.digest) == (part.count, part.digest)
    assert {table for table, *_ in leaf.leaf} <= {"note", "plain"}
    with pytest.raises(ProtocolError) as unknown:
        old.verify(rows=[RowQuery("tag", "t")])
    assert unknown.value.code == "unknown_table"


@pytest.mark.parametrize("steps", [(SECOND,), (SECOND, THIRD), (THIRD,)])
def test_who_follows_gets_what_it_lacks_with_one_answer(
    server: Any, steps: tuple[Schema, ...]
) -> None:
    old = old_device(server, "old")
    for name in "abcdef":
        old.insert("note", name, text=name)
    old.sync()
    new = old
    for schema in (SECOND, THIRD)[: 1 + (THIRD in steps)]:
        server.reopen(schema)
        new = server.peer(f"new{schema.generation}", write=("main", "side"))
        new.sync()
        new.update("note", "a" if schema is SECOND else "b", vat=7)
        new.insert("tag", f"t{schema.generation}")
        if schema is THIRD:
            new.update("note", "c", grade=4)
        new.insert("note", f"x{schema.generation}", text="new", vat=5)
        assert {(one.outcome, one.message) for one in new.sync()} == {("applied", "")}
    old.sync()  # it has all that it can see
    old.insert("note", "q", text="queued")
    new.update("note", "f", text="meanwhile", vat=3)
    new.sync()
    for schema in steps:
        old.move_to(schema)
        old.sync()
        server.check()
    expected = {"a", "f", "q", "x2"} | ({"b", "c", "x3"} if THIRD in steps else set())
    if len(steps) == 1:
        assert {key for table, key in old.last_rows if table == "note"} == expected
    assert {key for table, key in old.rows if table == "tag"} == {
        f"t{schema.generation}" for schema in (SECOND, THIRD)[: 1 + (THIRD in steps)]
    }
    new.sync()
    assert old.rows == new.rows
    old.sync()
    assert old.last_rows == []


@pytest.mark.slow
def test_a_thousand_devices_that_follow_at_once_cost_what_each_lacks(server: Any) -> None:
    """Nothing is committed for them in any scope, and no row is sent to a device that makes the
    same of it by itself. (PostgreSQL has fewer: it is the same server before another store.)"""
    crowd = 50 if server.postgres else 1000
    devices = [old_device(server, f"d{number}") for number in range(crowd)]
    for name in "abcdef":
        devices[0].insert("note", name, text=name)
    for device in devices:
        device.sync()
    server.reopen(SECOND)
    writer = server.peer("new", write=("main", "side"))
    writer.sync()
    writer.update("note", "a", vat=7)
    writer.sync()
    before = heads(server)
    for device in devices:
        device.move_to(SECOND)
        device.sync()
        assert [key for _, key in device.last_rows] == ["a"], device.principal.device
        device.sync()
        assert device.last_rows == []
    assert heads(server) == before
    assert all(device.rows == writer.rows for device in devices)
    server.check()


def test_an_unknown_generation_is_told_of_the_servers(server: Any) -> None:
    old = old_device(server, "old")
    old.speaks = SECOND
    with pytest.raises(ProtocolError) as refused:
        old.sync()
    assert refused.value.code == "schema_mismatch"
    assert refused.value.detail["generation"] == 1


def test_direct_writes_are_kept_for_all_generations(server: Any) -> None:
    old = old_device(server, "old")
    old.insert("note", "a", text="one")
    old.sync()
    server.sql("UPDATE note SET text = 'before growth' WHERE id = 'a'")
    server.reopen(SECOND)
    server.sql("UPDATE note SET vat = 9 WHERE id = 'a'; INSERT INTO tag VALUES ('t', 'x')")
    old.sync()
    assert old.row("note", "a")["text"] == "before growth"
    server.sql("DELETE FROM note; DELETE FROM tag")
    old.sync()
    assert old.rows == {}
    server.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_what_each_generation_sees(
    make_server: Callable[..., Any], seed: int
) -> None:
    chance = random.Random(seed)
    schema = checked(FIRST, Check("t", "one_of", values=CHOICES[:5]))
    server = make_server(schema=schema)
    devices: list[Any] = []
    for step in range(60):
        if step % 15 == 0:
            if step:
                schema = _more(schema, chance)
                server.reopen(schema)
            device = server.peer(f"d{step}", write=("main", "side", "far"))
            device.speaks = schema
            devices.append(device)
        device = chance.choice(devices)
        for _ in range(chance.randrange(3)):
            _act(device, chance)
        if chance.random() < 0.1:
            server.sql(f"UPDATE note SET text = 'direct {step}' WHERE id < 'n3'")
        device.sync()
        if device.schema is not schema and chance.random() < 0.15:
            device.move_to(schema)
            device.sync()
        server.check_older()
    server.check()
    for device in devices:
        device.sync()
        if device.schema is not schema:
            device.move_to(schema)
        device.sync()
    assert all(device.rows == devices[-1].rows for device in devices)


FILLED = grown(
    FIRST,
    Column("size", "integer", nullable=True, fill="length(label)"),
    Column("label", default="-", fill="upper(text) || nullif(count, 9)"),
)
"""The size is worked out before the label."""


def test_rows_that_are_there_and_rows_of_older_devices_are_filled(server: Any) -> None:
    old = old_device(server, "old")
    old.insert("note", "a", text="one", count=1)
    old.insert("note", "n", text="none", count=9)
    old.insert("note", "u", text="touched later", count=2)
    old.sync()
    server.sql("UPDATE note SET text = 'direct' WHERE id = 'n'")
    before = heads(server)
    server.reopen(FILLED)
    assert server.query("SELECT id, size, label FROM note ORDER BY id") == [
        ("a", 1, "ONE1"), ("n", 1, "-"), ("u", 1, "TOUCHED LATER2"),
    ]  # fmt: skip
    assert heads(server) == before | {"main": before["main"] + 1}  # of the direct write alone
    server.check()
    old.sync()
    assert old.last_rows == [("note", "n")]
    new = server.peer("new", write=("main", "side"))
    new.sync()
    new.insert("note", "c", text="said", label="mine", size=7)
    new.insert("note", "d", text="left out")  # as what was queued before it was of this generation
    old.insert("note", "b", text="two", count=2)
    old.update("note", "u", text="other")
    assert {o.outcome for o in [*new.sync(), *old.sync()]} == {"applied"}
    old.insert("note", "c", text="the same key")
    old.sync()
    assert server.query("SELECT id, size, label FROM note WHERE id IN ('b', 'c', 'd', 'u')"
                        " ORDER BY id") == [
        ("b", 1, "TWO2"), ("c", 7, "mine"), ("d", 1, "LEFT OUT0"), ("u", 1, "TOUCHED LATER2"),
    ]  # fmt: skip
    server.check()
    old.move_to(FILLED)
    old.sync()
    assert set(old.last_rows) == {("note", "c"), ("note", "u")}  # others it has by itself
    new.sync()
    assert old.rows == new.rows
    server.check()


def test_a_fill_that_does_not_fit_changes_nothing(server: Any) -> None:
    old = old_device(server, "old")
    old.insert("note", "a", text="fine")
    old.insert("note", "b", text="worse", count=5)
    old.sync()
    before = heads(server)
    bad = {
        "a check": (Column("x", "integer", nullable=True, fill="count + 90"), "'b'", "95"),
        "a type": (Column("x", "date", nullable=True, fill="text || '!'"), "'a'", "fine!"),
        "an error": (Column("x", nullable=True, fill="json_extract(text, '$')"), "'a'", "JSON"),
        "no column": (Column("x", nullable=True, fill="nothing"), "nothing", ""),
    }
    for column, row, value in bad.values():
        schema = grown(FIRST, column)
        if column.type == "integer":
            checks = (Check("x", "range", max=94),)
            note = msgspec.structs.replace(schema.by_name["note"], checks=checks)
            tables = (note, *(t for t in schema.tables if t.name != "note"))
            schema = msgspec.structs.replace(schema, tables=tables)
        with pytest.raises(SchemaError) as refused:
            server.reopen(schema)
        assert refused.value.code == "bad_fill" and "nothing was changed" in refused.value.message
        for word in ("note.x", row, value):
            assert word in refused.value.message
    server.reopen(FIRST)
    assert heads(server) == before
    server.check()
    server.reopen(FILLED)
    server.check()


def test_what_an_older_device_inserts_may_not_fit_its_fill(server: Any) -> None:
    old = old_device(server, "old")
    server.reopen(grown(FIRST, Column("day", "date", nullable=True, fill="nullif(text, '')")))
    old.insert("note", "a", text="no day")
    old.insert("note", "b", text="2026-01-02")
    old.insert("note", "c")
    (refused, *others) = old.sync()
    assert (refused.outcome, refused.code, refused.field) == ("refused", "bad_fill", "day")
    assert [one.outcome for one in others] == ["applied", "applied"]
    assert server.query("SELECT id, day FROM note ORDER BY id") == [
        ("b", "2026-01-02"),
        ("c", None),
    ]
    server.check()


def checked(schema: Schema, *checks: Check, generation: int = 1) -> Schema:
    """A schema with these checks of plain rows."""
    tables = [
        msgspec.structs.replace(t, checks=checks) if t.name == "plain" else t for t in schema.tables
    ]
    return msgspec.structs.replace(schema, tables=tuple(tables), generation=generation)


def test_checks_become_looser_where_they_stand(make_server: Callable[..., Any]) -> None:
    few, short = Check("t", "one_of", values=("v1", "v2")), Check("t", "length", max=2)
    strict = checked(FIRST, few, short)
    server = make_server(schema=strict)
    old = server.peer("old", write=("main", "side"))
    old.speaks = strict
    old.sync()
    old.insert("plain", "a", t="v1")
    old.sync()
    sqlite = not server.postgres
    server.sql("CREATE INDEX somebodys ON plain (t); CREATE TABLE told (id TEXT)")
    if sqlite:
        server.sql(
            "CREATE TRIGGER theirs AFTER INSERT ON plain "
            "BEGIN INSERT INTO told VALUES (NEW.id); END"
        )
    before = heads(server)
    wider = Check("t", "one_of", values=("v1", "v2", "v3", "long"))
    more = checked(grown(FIRST, Column("hint", nullable=True)), short, wider, generation=2)
    last = checked(more, generation=3)
    for schema, values in (
        (more, {"v3": "applied", "long": "refused"}),
        (last, {"long": "applied"}),
    ):
        server.reopen(schema)
        assert heads(server) == before
        for value, outcome in values.items():
            old.insert("plain", f"{value}{schema.generation}", t=value)
            assert [o.outcome for o in old.sync()] == [outcome]
            before = heads(server)
            if outcome == "refused":
                with pytest.raises(Exception, match=r"(?i)check"):
                    server.sql(f"INSERT INTO plain VALUES ('direct', '{value}')")
        server.check()
    server.sql("INSERT INTO plain VALUES ('direct', 'anything')")
    old.sync()
    assert ("plain", "direct") in old.rows
    if sqlite:
        assert ("direct",) in server.query("SELECT id FROM told")
        assert server.query("PRAGMA integrity_check") == [("ok",)]
        assert server.query("SELECT 1 FROM pragma_index_list('plain') WHERE name = 'somebodys'")
    old.move_to(last)
    old.sync()
    assert old.last_rows == []
    server.check()


def test_a_column_of_somebody_else_is_not_lost_with_a_looser_check(
    make_server: Callable[..., Any],
) -> None:
    server = make_server(schema=checked(FIRST, Check("t", "not_empty")))
    server.sql("ALTER TABLE plain ADD COLUMN theirs TEXT")
    if server.postgres:
        server.reopen(checked(FIRST, generation=2))
        return
    with pytest.raises(SchemaError, match="theirs"):
        server.reopen(checked(FIRST, generation=2))


CHOICES = tuple(f"v{number}" for number in range(1, 9))


def _more(schema: Schema, chance: random.Random) -> Schema:
    number = schema.generation + 1
    name = chance.choice(["note", "plain"])
    text, last = ("text", "count") if name == "note" else ("t", "t")
    kinds = [
        Column(f"a{number}", "integer", merge="manual", default=str(number)),
        Column(f"b{number}", nullable=True),
        Column(f"c{number}", "integer", merge="counter"),
        Column(f"d{number}", merge="manual", default="-", fill=f"upper({text}) || '{number}'"),
        Column(f"e{number}", nullable=True, fill=f"nullif({last} || id, '0n1')"),
    ]
    tables = []
    for table in schema.tables:
        now = table
        if table.name == name:
            some = chance.sample(kinds, chance.randrange(4))
            if table.checks and chance.random() < 0.7:
                values = CHOICES[: len(table.checks[0].values) + 1]
                looser = () if chance.random() < 0.3 else (Check("t", "one_of", values=values),)
                now = msgspec.structs.replace(now, checks=looser)
            columns = list(table.columns)
            for column in some:
                columns.insert(chance.randrange(1, len(columns) + 1), column)
            now = msgspec.structs.replace(now, columns=tuple(columns))
        tables.append(now)
    if chance.random() < 0.6:
        fresh = msgspec.structs.replace(TAG, name=f"tag{number}")
        tables.insert(chance.randrange(len(tables) + 1), fresh)
    return msgspec.structs.replace(schema, tables=tuple(tables), generation=number)


def _act(device: Any, chance: random.Random) -> None:
    table = chance.choice(device.schema.tables)
    key = f"n{chance.randrange(6)}"
    there = (table.name, key) in device.rows
    if there and chance.random() < 0.2:
        device.delete(table.name, key)
        return
    new: dict[str, Any] = {}
    for column in table.data_columns:
        if column.name == "also":
            if chance.random() < 0.3:
                new["also"] = chance.choice(["[]", '["side"]', '["far"]'])
        elif chance.random() < 0.5 or column.name == "t":
            number = chance.randrange(1, 9)
            new[column.name] = number if column.type == "integer" else f"v{number}"
    if new or not there:
        device.commit(device.change("update" if there else "insert", table.name, key, new))
