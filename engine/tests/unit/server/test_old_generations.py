"""Generations of the schema that nobody speaks are dropped in time, and what is kept for them goes.

Checks I12, I31.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from holdfast.core.errors import ProtocolError
from holdfast.schema.model import Column, Schema, Table
from holdfast.server.maintenance import old_generations

DAY_S = 86_400


def schema_of(generation: int) -> Schema:
    """Each adds a column to the notes, and from the second on there are tags."""
    more = tuple(Column(f"c{n}", "integer", default=n) for n in range(2, generation + 1))
    note = Table(name="note", key=("id",), scopes=("main",), columns=(Column("id"), *more))
    tag = Table(name="tag", key=("id",), scopes=("main",), columns=(Column("id"),))
    same = Table(name="same", key=("id",), scopes=("main", "side"), columns=(Column("id"),))
    tables = (note, same, tag) if generation > 1 else (note, same)
    return Schema(name="ages", tables=tables, generation=generation)


FIRST, SECOND, THIRD = (schema_of(number) for number in (1, 2, 3))


@pytest.fixture
def server(make_server: Callable[..., Any]) -> Any:
    return make_server(schema=FIRST)


def speaking(server: Any, name: str, schema: Schema) -> Any:
    device = server.peer(name, write=("main", "side"))
    device.speaks = schema
    device.sync()
    return device


def write(device: Any, name: str, tables: tuple[str, ...] = ("note", "same")) -> None:
    for table in tables:
        device.insert(table, name)
    assert {one.outcome for one in device.sync()} == {"applied"}


def noted(server: Any) -> set[int]:
    """The generations for which something is noted with a row."""
    packed = server.query("SELECT older FROM holdfast_feed WHERE older IS NOT NULL")
    read = msgspec.msgpack.Decoder(dict[int, bytes]).decode
    return {number for (one,) in packed for number in read(one)}


def kept(server: Any) -> list[int]:
    return [
        number
        for number, is_kept in server.query(
            "SELECT generation, kept FROM holdfast_generation ORDER BY generation"
        )
        if is_kept
    ]


def digests(server: Any) -> str:
    return "".join(older for (older,) in server.query("SELECT older FROM holdfast_scope"))


def test_what_nobody_speaks_is_dropped_and_forgotten(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_generations, "RETENTION_BITE_ROWS", 2)
    away, stays = speaking(server, "away", FIRST), speaking(server, "stays", FIRST)
    for name in "abc":
        write(away, name)
    server.reopen(SECOND)
    second = speaking(server, "second", SECOND)
    write(second, "d", ("note", "same", "tag"))
    away.sync()
    server.reopen(THIRD)
    write(speaking(server, "third", THIRD), "e", ("note", "same", "tag"))
    assert noted(server) == {1, 2}
    server.service.purge()
    for _ in range(2):
        server.pass_time(100 * DAY_S)
        stays.sync()
        server.service.purge()
    assert kept(server) == [1, 3]  # nobody has spoken the second, somebody the first
    assert server.service.purge().generations == 1
    assert noted(server) == {1} and '"2"' not in digests(server)
    write(stays, "f")
    assert noted(server) == {1}
    server.check()

    with pytest.raises(ProtocolError) as refused:
        second.sync()
    assert refused.value.code in ("schema_mismatch", "upgrade_needed")
    assert (refused.value.detail["generation"], refused.value.detail["name"]) == (3, "ages")
    second.move_to(THIRD)  # its position is of a generation that is gone
    second.sync()
    third = speaking(server, "more", THIRD)
    assert second.rows.keys() <= third.rows.keys() and second.conflicts() == []

    server.pass_time(200 * DAY_S)
    assert server.service.purge().generations == 0
    assert server.service.purge().generations == 1
    assert kept(server) == [3] and noted(server) == set() and '"1"' not in digests(server)
    assert server.query("SELECT 1 FROM holdfast_feed WHERE deviates > 0") == []
    away.insert("note", "queued")
    away.move_to(THIRD)
    head, *_ = list(server.service.exchange(away.principal, away.request(), echo="e"))
    assert [one.outcome for one in head.outcomes] == ["applied"]
    assert head.scopes["main"].reconcile  # nobody knows any more which tags it did not see
    server.reopen(THIRD)
    assert list(server.store.older) == []
    server.check()


def test_a_device_of_which_nobody_knows_what_it_speaks_counts_as_one_of_each(server: Any) -> None:
    speaking(server, "old", FIRST)
    server.reopen(SECOND)
    server.service.purge()
    server.pass_time(170 * DAY_S)
    write(speaking(server, "new", SECOND), "a")
    server.sql("UPDATE holdfast_replica SET generation = 0 WHERE device = 'new'")
    server.pass_time(20 * DAY_S)
    server.service.purge()
    assert kept(server) == [1, 2]
    server.sql("UPDATE holdfast_replica SET generation = 2")
    server.service.purge()
    assert kept(server) == [2]


def test_growth_today_drops_nobody_who_was_away(server: Any) -> None:
    old = speaking(server, "old", FIRST)
    server.pass_time(300 * DAY_S)
    server.reopen(SECOND)
    server.service.purge()
    server.service.purge()
    assert kept(server) == [1, 2]
    write(old, "a")


def test_another_process_serves_no_longer_what_one_has_dropped(
    server: Any, make_server: Callable[..., Any]
) -> None:
    if not server.postgres:
        pytest.skip("one process serves a file")
    old = speaking(server, "old", FIRST)
    server.reopen(SECOND)
    other = make_server(server.path, schema=SECOND)
    server.service.purge()
    server.pass_time(200 * DAY_S)
    server.service.purge()
    server.service.purge()
    assert kept(server) == [2] and '"1"' not in digests(server)
    write(speaking(other, "new", SECOND), "a")  # it has not asked yet
    old.server = other
    with pytest.raises(ProtocolError) as refused:
        old.sync()
    assert refused.value.detail["generation"] == 2
    other.service.renew_generations()
    with pytest.raises(ProtocolError):
        old.sync()
    write(speaking(other, "newer", SECOND), "b")
    assert '"1"' not in digests(server)
    server.check()
