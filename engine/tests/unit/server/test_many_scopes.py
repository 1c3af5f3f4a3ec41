"""Many scopes of one device are asked for together: PostgreSQL is not asked scope by scope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from holdfast.protocol.messages import Rows

FEW, MANY = 20, 320

pytestmark = pytest.mark.parametrize("cluster", ["postgres"], indirect=True)


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is asked of PostgreSQL meanwhile, by whichever thread."""
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for kind in (psycopg.Connection, psycopg.Cursor, psycopg.RawServerCursor):
            execute = kind.execute

            def counted(
                self: Any, query: Any, *more: Any, _execute: Any = execute, **named: Any
            ) -> Any:
                if not isinstance(self, psycopg.Connection):  # it asks by a cursor of its own
                    asked.append(str(query))
                return _execute(self, query, *more, **named)

            patch.setattr(kind, "execute", counted)
        yield asked


def scopes(count: int) -> tuple[str, ...]:
    return tuple(f"store/s{n:03}" for n in range(count))


def fill(peer: Any, places: range, name: str) -> None:
    peer.commit(
        *(
            peer.change("insert", "shelf", (f"s{n:03}", name.encode()), {"label": name})
            for n in places
        )
    )
    peer.sync()


def test_an_exchange_asks_no_more_for_more_scopes(server: Any) -> None:
    for count in (FEW, MANY):
        fill(server.peer(f"filler{count}"), range(count), f"of{count}-")
    asked: dict[str, list[int]] = {"push": [], "pull": []}
    for count in (FEW, MANY):
        peer = server.peer(f"d{count}", read=("catalog",), write=scopes(count))
        peer.sync()
        assert len(peer.checkpoint) == count + 1
        with statements() as made:
            fill(peer, range(1), f"own{count}-")
        asked["push"].append(len(made))
        with statements() as made:
            peer.sync()
        asked["pull"].append(len(made))
    for what, (few, many) in asked.items():
        assert 2 < few <= 30, (what, few)
        assert many <= few + 4, (what, few, many)


def test_rows_of_many_scopes_come_together(server: Any) -> None:
    """A row each in many scopes: one question for some scopes, and one for all the rows."""
    fill(server.peer("filler"), range(MANY), "a")
    peer = server.peer("reader", read=scopes(MANY), write=())
    with statements() as made:
        lines = list(server.service.exchange(peer.principal, peer.request(), echo="e"))
    rows = [row for line in lines if isinstance(line, Rows) for row in line.rows]
    assert len(rows) == MANY
    assert sum("holdfast_feed" in query for query in made) <= MANY / 10
    assert sum('"shelf"' in query for query in made) <= 2
