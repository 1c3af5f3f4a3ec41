"""Sets from one device to the other, on both stores: merged, refused, written by anybody.

Checks I17, I18.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from server_lab import Shop

from holdfast.core.errors import BadValue, HoldfastError
from holdfast.schema import Column, Schema, Table

SCHEMA = Schema(
    name="tagged",
    tables=(
        Table(
            name="item",
            key=("id",),
            columns=(
                Column("id"),
                Column("tags", "json", merge="set"),
                Column("name", default=""),
                Column("code", nullable=True),
            ),
            scopes=("main",),
            unique=(("code",),),
            existence_public=True,
        ),
    ),
)


def ruled(context: Any) -> None:
    """Whatever is named "dear" is tagged so, by the server."""
    for change in context.changes:
        row = change.new
        if row is not None and row["name"] == "dear" and "dear" not in row["tags"]:
            tags = [*json.loads(row["tags"]), "dear"]
            context.add("item", {"id": row["id"], "tags": json.dumps(tags)})


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    with closing(Shop(tmp_path, SCHEMA, rules=(ruled,), database=url)) as shop:
        shop.url = url  # type: ignore[attr-defined]
        shop.write("a", """INSERT INTO item (id, tags) VALUES ('x', '["red", "blue"]')""")
        shop.sync("a", "b", "a")
        yield shop


def directly(shop: Shop, sql: str) -> list[Any]:
    """Run SQL on the server's tables, past the server."""
    url: str = shop.url  # type: ignore[attr-defined]
    if not url:
        return shop.on_server(sql)
    with psycopg.connect(url, autocommit=True) as db:
        cursor = db.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def set_to(*tags: str) -> str:
    return f"UPDATE item SET tags = '{json.dumps(tags)}' WHERE id = 'x'"


def everywhere(shop: Shop) -> str:
    """The text of the set, the same on all sides."""
    shop.sync("a", "b", "a")
    sql = "SELECT tags FROM item WHERE id = 'x'"
    seen = [shop.devices[name].query(sql) for name in "ab"]
    found = {str(rows[0][0]) for rows in (*seen, directly(shop, sql))}
    assert len(found) == 1
    return found.pop()


def test_what_both_add_and_remove_is_merged(shop: Shop) -> None:
    shop.write("a", set_to("red", "blue", "green"))
    shop.write("b", set_to("blue", "amber"))
    assert everywhere(shop) == '["amber","blue","green"]'


def test_a_set_that_waits_is_sound_however_it_was_written(shop: Shop) -> None:
    """A verification took one that was written with spaces, or in another order, for damaged."""
    shop.write("a", set_to("red", "blue", "green"))
    shop.write("a", set_to("red", "green"))
    assert shop.devices["a"].verify().damaged == ()
    shown = shop.devices["a"].query("SELECT tags FROM item WHERE id = 'x'")
    assert shown == [('["red", "green"]',)]
    directly(shop, """UPDATE item SET tags = '["blue", "red", "amber"]' WHERE id = 'x'""")
    assert shop.devices["a"].verify().damaged == ()
    assert everywhere(shop) == '["amber","green","red"]'


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_an_addition_wins_in_whatever_order_it_arrives(shop: Shop, order: str) -> None:
    shop.write("a", set_to("blue"))
    shop.write("b", set_to("blue"))
    shop.write("b", set_to("blue", "red"))
    shop.sync(*order)
    assert everywhere(shop) == '["blue","red"]'


def test_a_device_removes_what_it_has_seen_though_its_own_change_still_waits(shop: Shop) -> None:
    shop.write("b", set_to("red", "blue", "green"))
    shop.sync("b")
    transport = shop.transports["a"]
    exchange = transport.exchange

    def meanwhile(request: Any, echo: str) -> Any:
        shop.write("a", set_to("red", "blue", "mine"))
        return exchange(request, echo)

    transport.exchange = meanwhile  # type: ignore[method-assign]
    shop.a._syncing.exchanger().exchange()
    transport.exchange = exchange  # type: ignore[method-assign]
    assert shop.a.query("SELECT tags FROM item") == [('["blue","green","mine","red"]',)]
    assert shop.a.status.pending == 1
    shop.write("a", set_to("red", "blue", "mine"))
    assert everywhere(shop) == '["blue","mine","red"]'


def test_another_order_is_no_change_and_a_direct_write_stays_as_it_was_written(shop: Shop) -> None:
    shop.write("a", set_to("blue", "red"))
    assert everywhere(shop) == '["red", "blue"]'
    directly(shop, """UPDATE item SET tags = '[ "blue","red" ]'""")
    assert everywhere(shop) == '[ "blue","red" ]'
    shop.write("a", set_to("blue", "red", "mine"))
    shop.write("b", "UPDATE item SET name = 'b'")
    directly(shop, """UPDATE item SET tags = '["hers", "blue"]'""")
    assert everywhere(shop) == '["blue","hers","mine"]'
    assert directly(shop, "SELECT name FROM item")[0][0] == "b"


def test_other_programs_and_rules_write_sets_too(shop: Shop) -> None:
    shop.shell("a", "UPDATE item SET tags = json_insert(tags, '$[#]', 'shell'), name = 'dear'")
    shop.write("b", set_to("red"))
    assert everywhere(shop) == '["dear","red","shell"]'


def test_a_refused_change_shows_what_it_adds_and_removes_and_is_made_again(shop: Shop) -> None:
    shop.write("b", "INSERT INTO item (id, code) VALUES ('y', 'c')")
    shop.sync("b")
    shop.write("a", """UPDATE item SET tags = '["red","green"]', code = 'c' WHERE id = 'x'""")
    shop.sync("a")
    (item,) = shop.a.refused()
    (change,) = item.changes
    assert change["new"] == {"tags": {"add": ["green"], "remove": ["blue"]}, "code": "c"}
    assert change["current"] == {"tags": ["red", "blue"], "code": None}
    shop.write("b", set_to("red", "blue", "hers"), "UPDATE item SET code = NULL WHERE id = 'y'")
    shop.sync("b", "a")
    shop.a.retry(item.id)
    assert everywhere(shop) == '["green","hers","red"]'


def test_an_addition_revives_a_row_that_was_deleted_unseen(shop: Shop) -> None:
    shop.write("b", "DELETE FROM item")
    shop.write("a", set_to("red", "blue", "green"))
    shop.sync("b")
    assert everywhere(shop) == '["blue","green","red"]'


@pytest.mark.parametrize("text", ["{}", "null", "no json", '"a"'])
def test_what_is_no_set_is_refused_to_who_writes_it(shop: Shop, text: str) -> None:
    with pytest.raises((HoldfastError, BadValue)):
        shop.write("a", f"UPDATE item SET tags = '{text}'")
    with pytest.raises((HoldfastError, psycopg.Error)):
        directly(shop, f"UPDATE item SET tags = '{text}'")
    assert everywhere(shop) == '["red", "blue"]'


def test_edits_of_a_deleted_row_come_back_whole_by_a_settlement(tmp_path: Path) -> None:
    """Two transactions that each add, and sell; the conflict about the row has all of it."""
    (item,) = SCHEMA.tables
    columns = (*item.columns, Column("sold", "integer", merge="counter"))
    schema = Schema(name="asked", tables=(replace(item, columns=columns, on_delete="manual"),))
    with closing(Shop(tmp_path, schema)) as shop:
        shop.write("a", """INSERT INTO item (id, tags, sold) VALUES ('x', '["red"]', 10)""")
        shop.sync("a", "b", "a")
        shop.write("b", "DELETE FROM item")
        shop.sync("b")
        shop.write("a", """UPDATE item SET tags = '["red","one"]', sold = sold + 1""")
        shop.write("a", """UPDATE item SET tags = '["two","one"]', sold = sold + 2""")
        shop.sync("a", "b")
        (conflict,) = shop.devices["b"].conflicts()
        shop.devices["b"].resolve(conflict.id, keep="device")
        shop.sync("b", "a")
        found = [shop.devices[name].query("SELECT tags, sold FROM item") for name in "ab"]
        assert found == [[('["one","two"]', 13)]] * 2
