"""A request that was turned away whole, and comes to the server all the same, by a second way.

What it was the first to send was taken back, and its numbers have gone to the parts of a group. The
server then knows a number under another id: the device goes on under another identity, and what had
arrived is known by its id.

Checks I7.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_lab import Shop
from test_dependence import SCHEMA
from test_parts_in_answers import BAD, GOOD, agree, codes, no_bad_words

from holdfast.core.errors import Offline, SignInNeeded


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path, SCHEMA, rules=[no_bad_words])
    found.write("a", "INSERT INTO stock (id, n) VALUES ('s', 100)")
    found.sync()
    yield found
    found.close()


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_what_came_by_a_second_way_is_done_once(shop: Shop, again: bool) -> None:
    transport: Any = shop.transports["a"]
    real = transport.exchange
    seen: list[Any] = []

    def lost(request: Any, echo: str) -> Any:
        real(request, echo).close()
        raise Offline("the answer was lost", code="timeout")

    def turned_away(request: Any, echo: str) -> Any:
        seen.append(request)
        raise SignInNeeded("sign in again", code="sign_in")

    shop.shell("a", *GOOD, BAD)
    transport.exchange = lost
    with pytest.raises(Offline):
        shop.a.sync()
    shop.write("a", "UPDATE stock SET n = n - 1 WHERE id = 's'")
    transport.exchange = turned_away
    with pytest.raises(SignInNeeded):
        shop.a.sync()
    ours = seen[0].transactions[-1]
    transport.exchange = real
    shop.a.verify()
    rows = shop.a.query("SELECT number FROM holdfast_tx WHERE id = ?", [ours.id])
    assert rows != [(ours.number,)], "its number has not gone to a part"
    for _ in range(1 + again):
        list(shop.server.service.exchange(shop.principal("a"), seen[0], echo=""))
    assert shop.on_server("SELECT n FROM stock") == [(99,)]
    shop.sync("a", "b")
    assert shop.on_server("SELECT n FROM stock") == [(99,)]
    assert codes(shop) == ["g0", "g1", "g2"]
    assert [item.code for item in shop.a.refused()] == ["rule:bad_word"]
    assert "copied" in [event.kind for event in shop.a.history()]
    agree(shop)
