"""A group that is taken apart after some answers: what was written on it comes after its parts.

The server decides in bites, so that a group may be refused while what rests on it is on its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from server_lab import Shop
from test_dependence import SCHEMA

from holdfast.core.errors import Offline
from holdfast.server.exchange.budgets import Budgets
from holdfast.server.push.rules import RuleContext

BAD = "INSERT INTO code (id, text) VALUES ('x', 'no!')"
GOOD = [f"INSERT INTO code (id, text) VALUES ('g{n}', 'good {n}')" for n in range(3)]


def no_bad_words(work: RuleContext) -> None:
    for change in work.changes:
        if (
            change.new is not None
            and "!" in f"{change.new.get('text')!s}{change.new.get('name')!s}"
        ):
            work.refuse("bad_word", "Not such words.")


@pytest.fixture(params=[1, 3, 1000], ids="bites of {}".format)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    budgets = Budgets(bite_changes=request.param, push_changes_max=request.param)
    found = Shop(tmp_path, SCHEMA, rules=[no_bad_words], budgets=budgets)
    found.write("a", "INSERT INTO stock (id, n) VALUES ('s', 100), ('t', 5)")
    found.sync()
    yield found
    found.close()


def codes(shop: Shop) -> list[object]:
    return [key for (key,) in shop.a.query("SELECT id FROM code ORDER BY id")]


def agree(shop: Shop) -> None:
    """What the device shows is what the server has."""
    for table in ("stock", "code", "line"):
        everything = f"SELECT * FROM {table} ORDER BY 1, 2"
        assert shop.a.query(everything) == shop.on_server(everything)
    assert shop.a.verify().repaired == 0


@pytest.mark.parametrize("way", ["discard", "retry"])
def test_a_bad_row_that_ours_has_deleted_stays_away(shop: Shop, way: str) -> None:
    shop.shell("a", *GOOD, BAD)
    shop.write("a", "DELETE FROM code WHERE id = 'x'", "INSERT INTO stock (id) VALUES ('new')")
    shop.write("a", "UPDATE stock SET name = 'newer' WHERE id = 'new'")
    report = shop.sync("a")
    assert (report.refused, report.held, report.repaired_rows) == (1, 2, 0)
    assert codes(shop) == ["g0", "g1", "g2"]
    agree(shop)
    (bad,) = (item for item in shop.a.refused() if item.state == "refused")
    assert [change["key"] for change in bad.changes] == ["x"]
    if way == "retry":
        shop.a.retry(bad.id)
        shop.sync("a")
        assert codes(shop) == ["g0", "g1", "g2"]
        agree(shop)
        (bad,) = (item for item in shop.a.refused() if item.state == "refused")
    shop.a.discard(bad.id)
    shop.sync("a")
    assert shop.waiting() == {}
    assert shop.on_server("SELECT name FROM stock WHERE id = 'new'") == [("newer",)]
    agree(shop)


def test_a_refused_part_leaves_nothing_where_ours_was_taken(shop: Shop) -> None:
    """Ours saw the value that is refused later, on another column, and goes in before."""
    shop.shell("a", *GOOD, "UPDATE stock SET name = 'no!' WHERE id = 's'")
    shop.write("a", "UPDATE stock SET shelf = 'ours' WHERE id = 's'")
    shop.write("a", "UPDATE stock SET n = n - 1 WHERE id = 's'")
    report = shop.sync("a")
    assert (report.refused, report.held, report.repaired_rows) == (1, 0, 0)
    assert shop.a.query("SELECT name, shelf, n FROM stock WHERE id = 's'") == [("new", "ours", 99)]
    agree(shop)
    shop.a.discard(shop.a.refused()[0].id)
    agree(shop)


def test_an_interrupted_sync_takes_the_group_apart_later(shop: Shop) -> None:
    shop.shell("a", *GOOD, BAD)
    shop.write("a", "UPDATE code SET note = 'ours' WHERE id IN ('x', 'g0')")
    real = shop.transports["a"].exchange

    def gone(request, echo):  # type: ignore[no-untyped-def]
        raise Offline("cut off", code="unreachable")

    def once(request, echo):  # type: ignore[no-untyped-def]
        shop.transports["a"].exchange = gone  # type: ignore[method-assign]
        return real(request, echo)

    shop.transports["a"].exchange = once  # type: ignore[method-assign]
    with pytest.raises(Offline):
        shop.a.sync()
    shop.a.close()
    shop.open("a")
    shop.sync("a", "b")
    assert codes(shop) == ["g0", "g1", "g2"]
    agree(shop)
    assert sorted(state for state, _ in shop.waiting().values()) == ["held", "refused"]


def test_what_ours_deleted_does_not_come_back_with_a_part(shop: Shop) -> None:
    shop.shell("a", BAD, *GOOD, "UPDATE stock SET name = 'odd' WHERE id = 't'")
    shop.write("a", "DELETE FROM stock WHERE id = 't'")
    shop.sync("a")
    assert shop.on_server("SELECT id FROM stock") == [("s",)]
    agree(shop)
