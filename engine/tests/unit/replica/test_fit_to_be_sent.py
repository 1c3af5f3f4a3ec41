"""What cannot be sent is refused at the commit; what is committed comes back as it was.

Checks I28.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from holdfast import Column, Replica, Schema, Table
from holdfast.core.errors import BadValue, HoldfastError
from holdfast.core.limits import JSON_NESTING_MAX, KEY_BYTES_MAX, MIB
from holdfast.core.values import check
from holdfast.replica.changes.outbox import next_batch
from holdfast.replica.memory import MemoryTransport
from holdfast.replica.storage.database import transaction
from holdfast.server import Principal, open_server
from holdfast.sqlite import Row, driver
from holdfast.sqlite.driver import OpenOptions

SCHEMA = Schema(
    name="every",
    tables=(
        Table(
            name="thing",
            key=("id",),
            scopes=("store/{store}",),
            columns=(
                Column("id"),
                Column("store", default="s"),
                Column("name", nullable=True),
                Column("more", nullable=True),
                Column("qty", "integer", merge="counter"),
                Column("count", "integer", nullable=True),
                Column("ratio", "real", nullable=True),
                Column("is_new", "boolean", nullable=True),
                Column("raw", "bytes", nullable=True),
                Column("link", "uuid", nullable=True),
                Column("seen", "timestamp", nullable=True),
                Column("day", "date", nullable=True),
                Column("price", "decimal", scale=2, nullable=True),
                Column("facts", "json", nullable=True),
            ),
        ),
        Table(
            name="pair",
            key=("a", "b"),
            scopes=("store/s",),
            columns=(Column("a"), Column("b", "bytes"), Column("note", nullable=True)),
        ),
    ),
)
DATA = [column for column in SCHEMA.tables[0].columns if column.name not in ("id", "store")]
Make = Callable[[], Replica]


@pytest.fixture(params=["apsw", "stdlib"])
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    server = open_server(SCHEMA, tmp_path / "s.db", lambda _: None, maintain=False)
    numbers, made = itertools.count(), []

    def one() -> Replica:
        name = f"d{next(numbers)}"
        who = Principal("ann", name, write=("store/*",), read=("store/*",))
        replica = Replica.open(
            tmp_path / f"{name}.db",
            SCHEMA,
            transport=MemoryTransport(server.service, who),
            synchronous="OFF",
            driver_name=request.param,
        )
        made.append(replica)
        return replica

    yield one
    for replica in made:
        replica.close()
    server.close()


def write(replica: Replica, sql: str, params: tuple[Any, ...] = ()) -> None:
    with replica.transaction() as db:
        db.execute(sql, params)


def write_two(replica: Replica, *statements: tuple[str, tuple[Any, ...]]) -> None:
    with replica.transaction() as db:
        for sql, params in statements:
            db.execute(sql, params)


def stands(replica: Replica) -> list[list[Row]]:
    """What the tables hold; text as bytes, for not all of it may be text."""
    columns = ", ".join(
        f"typeof({c.name}), CAST({c.name} AS BLOB)" for c in SCHEMA.tables[0].columns
    )
    return [
        replica.query(f"SELECT {columns} FROM thing ORDER BY id"),
        replica.query("SELECT a, b, note FROM pair ORDER BY a, b"),
        replica.query("SELECT count(*) FROM holdfast_log"),
        replica.query("SELECT number, state FROM holdfast_tx ORDER BY number"),
    ]


NESTED = "[" * (JSON_NESTING_MAX + 1) + "]" * (JSON_NESTING_MAX + 1)
REFUSED = {
    "text that is Latin-1": ("UPDATE thing SET name = CAST(x'e9' AS TEXT)", (), "name"),
    "text that is cut": ("UPDATE thing SET name = 'ok' || CAST(x'c3' AS TEXT)", (), "name"),
    "a surrogate": ("UPDATE thing SET name = CAST(x'eda080' AS TEXT)", (), "name"),
    "an overlong form": ("UPDATE thing SET name = CAST(x'c0af' AS TEXT)", (), "name"),
    "JSON of bytes": ("UPDATE thing SET facts = '\"' || CAST(x'ff' AS TEXT) || '\"'", (), "facts"),
    "deep JSON": ("UPDATE thing SET facts = ?", (NESTED,), "facts"),
    "a leap": (f"UPDATE thing SET qty = {-(2**63)}", (), "qty"),
    "no scope": ("UPDATE thing SET store = ''", (), ""),
    "a long scope": ("UPDATE thing SET store = ?", ("s" * 200,), ""),
    "a key of bytes": ("INSERT INTO thing (id) VALUES (CAST(x'ff' AS TEXT))", (), "id"),
    "half a key of bytes": ("INSERT INTO pair VALUES (CAST(x'ff' AS TEXT), x'00', '')", (), "a"),
    "a value in another row": (
        "INSERT INTO thing (id, name) VALUES ('b', 'good'), ('c', CAST(x'ff' AS TEXT))", (), "name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_sent_is_refused_at_the_commit(make: Make, what: str) -> None:
    replica, (sql, params, column) = make(), REFUSED[what]
    write(replica, "INSERT INTO thing (id, qty) VALUES ('a', 5)")
    before = stands(replica)
    with pytest.raises(BadValue) as caught:
        write_two(replica, ("INSERT INTO pair VALUES ('p', x'01', 'goes too')", ()), (sql, params))
    assert caught.value.code == "bad_value"
    assert caught.value.detail["table"] in sql
    assert caught.value.detail["key"]
    assert caught.value.detail["column"] == column
    assert "nothing was changed" in str(caught.value)
    assert stands(replica) == before
    write(replica, "UPDATE thing SET name = 'goes on'")
    replica.sync()
    assert replica.refused() == [] and replica.status.pending == 0


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("UPDATE thing SET name = ?", ("a\x00b",)),
        ("UPDATE thing SET name = ?", ("\ud800",)),
        ("UPDATE thing SET ratio = ?", (math.nan,)),
        ("UPDATE thing SET ratio = ?", (math.inf,)),
        ("UPDATE thing SET ratio = 9e999", ()),
        ("UPDATE thing SET count = ?", (2**63,)),
        ("UPDATE thing SET facts = 'no'", ()),
        ("UPDATE thing SET day = '2026-02-30'", ()),
        ("UPDATE thing SET price = '1.5'", ()),
        ("UPDATE thing SET price = '1.50' || char(0)", ()),
        ("UPDATE thing SET link = ? || char(0) || 'x'", ("0190a3f2-0000-7000-8000-000000000000",)),
        ("UPDATE thing SET link = upper(?)", ("0190a3f2-0000-7000-8000-00000000000a",)),
        ("INSERT INTO thing (id) VALUES (?)", ("k" * (KEY_BYTES_MAX + 1),)),
        ("INSERT INTO pair VALUES (?, ?, '')", ("k" * KEY_BYTES_MAX, b"1")),
        ("UPDATE thing SET name = ?, more = ?, raw = ?", ("n" * 3 * MIB, "é" * MIB, b"r" * 4 * MIB))
    ],
)  # fmt: skip
def test_what_sqlite_can_tell_is_refused_in_the_statement_or_the_commit(
    make: Make, sql: str, params: tuple[Any, ...]
) -> None:
    replica = make()
    write(replica, "INSERT INTO thing (id) VALUES ('a')")
    before = stands(replica)
    with pytest.raises(HoldfastError) as caught:
        write(replica, sql, params)
    assert caught.value.code in ("bad_value", "check", "quota_row_bytes")
    assert stands(replica) == before


def test_what_another_program_spoiled_can_be_mended(make: Make) -> None:
    """A bad value that was there before is no fault of whoever writes another one."""
    replica, other = make(), make()
    write(replica, "INSERT INTO thing (id) VALUES ('a')")
    replica.sync()
    shell = driver(replica._database.driver.name).connect(replica.path, OpenOptions())
    shell.execute("UPDATE thing SET name = CAST(x'ff' AS TEXT), count = 1")
    shell.close()
    write(replica, "UPDATE thing SET qty = 3")
    write(replica, "UPDATE thing SET name = 'mended'")
    replica.sync()
    (first, second) = replica.refused()
    assert (first.code, second.code) == ("bad_value", "held")
    replica.discard(first.id)
    replica.sync()
    other.sync()
    assert other.query("SELECT name, qty FROM thing") == [("mended", 3)]
    assert replica.refused() == []


def values(kind: str) -> st.SearchStrategy[Any]:
    """A good or a bad value of a type, as SQL: an expression and its parameters."""
    raw = st.binary(max_size=6) | st.text(max_size=6).map(str.encode)
    text = raw.map(lambda some: ("CAST(? AS TEXT)", some))
    plain = {
        "text": st.text(max_size=8),
        "integer": st.integers(-(2**64), 2**64) | st.sampled_from([2**63 - 1, -(2**63), 0]),
        "real": st.floats(),
        "boolean": st.sampled_from([0, 1, 2]),
        "bytes": st.binary(max_size=8),
        "uuid": st.uuids().map(str) | st.text(max_size=3),
        "timestamp": st.integers(-(2**60), 2**60),
        "date": st.dates().map(str) | st.just("0000-00-00"),
        "decimal": st.decimals(-9999, 9999, places=2).map(str) | st.sampled_from(["1", "-0.00"]),
        "json": st.sampled_from(["{}", "[1e400]", "01", '"\\ud800"', "9" * 5000, NESTED, '"é"']),
    }[kind]
    return (
        plain.map(lambda one: ("?", one)) | text
        if kind != "bytes"
        else plain.map(lambda one: ("?", one))
    )


@pytest.mark.slow
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_committed_can_be_sent_and_comes_back_equal(
    pair: tuple[Replica, Replica], data: st.DataObject
) -> None:
    writer, reader = pair
    codes: set[str] = set()
    for _ in range(data.draw(st.integers(1, 6))):
        column = data.draw(st.sampled_from(DATA))
        sql, param = data.draw(values(column.type))
        key = data.draw(st.sampled_from(["a", "é", "b"]))
        with_key = f"INSERT INTO thing (id, {column.name}) VALUES (?, {sql}) ON CONFLICT (id) "
        try:
            write(writer, f"{with_key} DO UPDATE SET {column.name} = {sql}", (key, param, param))
        except HoldfastError as error:
            codes.add(error.code)
    assert codes <= {"bad_value", "check", "not_null"}
    writer.seal()
    with transaction(writer._database.sync):
        batch = next_batch(writer._database.sync, SCHEMA, writer._database.program)
    assert [sent.void for sent in batch] == [""] * len(batch)
    writer.sync()
    reader.sync()
    refused = writer.refused()
    assert {item.code for item in refused} <= {"overflow", "held"}  # of sums: the server's to say
    for item in refused:
        writer.discard(item.id)
    writer.sync()
    assert stands(writer)[0] == stands(reader)[0]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:
    server = open_server(SCHEMA, tmp_path / "s.db", lambda _: None, maintain=False)
    made = []
    for name in ("writer", "reader"):
        who = Principal("ann", name, write=("store/*",), read=("store/*",))
        transport = MemoryTransport(server.service, who)
        path = tmp_path / f"{name}.db"
        made.append(Replica.open(path, SCHEMA, transport=transport, synchronous="OFF"))
    yield made[0], made[1]
    for replica in made:
        replica.close()
    server.close()


def test_json_is_looked_at_in_one_way_everywhere() -> None:
    """Brackets in strings do not nest; numbers may have more digits than Python reads."""
    quoted = '["' + "[" * 600 + '", "\\"' + "{" * 600 + '"]'
    assert check("json", quoted) == quoted
    flat = "[" + "[]," * 600 + "1]"
    assert check("json", flat) == flat
    deepest = "[" * JSON_NESTING_MAX + "]" * JSON_NESTING_MAX
    assert check("json", deepest) == deepest
    assert check("json", "-" + "9" * 5000) == "-" + "9" * 5000
    for bad in (NESTED, "NaN", "[Infinity]", "01"):
        with pytest.raises(BadValue):
            check("json", bad)
