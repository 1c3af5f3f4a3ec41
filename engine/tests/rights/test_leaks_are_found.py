"""The search for canaries can fail: each leak that is planted in the server is found.

Checks I23.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from histories import History
from stores import Stores

from holdfast.core.errors import Refuse
from holdfast.protocol.messages import Gone
from holdfast.server.exchange import compare, composer
from holdfast.server.feed import feed, pull, ranges
from holdfast.server.merging import access, conflicts, journal
from holdfast.server.push import decide, push

pytestmark = pytest.mark.slow
SEEDS = 8
STEPS = 20


@pytest.fixture(scope="module")
def cluster() -> None:
    """What is planted lies above the stores: one of them will do."""


def rows_whatever_their_scope(patch: pytest.MonkeyPatch) -> None:
    everything = type("Everything", (), {"__contains__": lambda *_: True})()
    honest = ranges.answer_rows
    patch.setattr(
        compare,
        "answer_rows",
        lambda reads, schema, asked, _: honest(reads, schema, asked, everything),
    )


def ranges_whatever_their_scope(patch: pytest.MonkeyPatch) -> None:
    honest = ranges.answer_range
    patch.setattr(
        compare, "answer_range",
        lambda reads, schema, query, _: honest(reads, schema, query, {query.scope}),
    )  # fmt: skip


def removals_for_those_who_held_nothing(patch: pytest.MonkeyPatch) -> None:
    honest = pull._Puller.lines

    def lines(self: Any) -> Iterator[Any]:
        yield from honest(self)
        for _, moved in self._snapshot.moved({s: 0 for s, at in self._since.items() if not at}):
            if moved.removed:
                yield Gone(moved.table, [moved.key])

    patch.setattr(pull._Puller, "lines", lines)


def conflicts_that_stay_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "follow", lambda *_, **__: ())


def conflicts_in_every_scope(patch: pytest.MonkeyPatch) -> None:
    honest = feed.scopes_of

    def scopes(table: Any, row: Any) -> tuple[str, ...]:
        return (*honest(table, row), "catalog")

    patch.setattr(conflicts, "scopes_of", scopes)


def a_journal_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal, "_may_read", lambda *_: True)


def refusals_that_show_the_row(patch: pytest.MonkeyPatch) -> None:
    honest = access.Access.check_before

    def check(self: Any, table: Any, op: str, row: Any) -> Any:
        try:
            return honest(self, table, op, row)
        except Refuse as refusal:
            shown = f"{refusal.message} {row.values or row.image}"
            raise Refuse(refusal.code, shown, table=table.name) from None

    patch.setattr(access.Access, "check_before", check)


def outcomes_with_every_scope(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(push, "_told", lambda outcome, _: outcome)


def a_head_with_every_scope(patch: pytest.MonkeyPatch) -> None:
    """Their names, in a place where no client looks for them."""
    honest = composer.Composer.head

    def head(self: Any, *given: Any, **options: Any) -> Any:
        made = honest(self, *given, **options)
        with contextlib.closing(self._store.read()) as snapshot:
            return msgspec.structs.replace(made, user=f"{made.user} {snapshot.scope_names()}")

    patch.setattr(composer.Composer, "head", head)


def rows_that_moved_away_are_still_merged(patch: pytest.MonkeyPatch) -> None:
    """Whoever knows a key may write into the row, and sees what it says in the conflict."""
    honest = access.Access.check_before

    def check(self: Any, table: Any, op: str, row: Any) -> Any:
        try:
            return honest(self, table, op, row)
        except Refuse:
            return ()

    patch.setattr(access.Access, "check_before", check)
    patch.setattr(access.Access, "check_after", lambda *_: ())
    patch.setattr(conflicts, "scopes_of", lambda *_: ("catalog",))


PLANTED = [
    rows_whatever_their_scope, ranges_whatever_their_scope, removals_for_those_who_held_nothing,
    conflicts_that_stay_behind, conflicts_in_every_scope, a_journal_for_all,
    refusals_that_show_the_row, outcomes_with_every_scope, a_head_with_every_scope,
    rows_that_moved_away_are_still_merged,
]  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_leak_is_found(
    make_stores: Callable[[], Stores],
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
) -> None:
    plant(monkeypatch)
    for seed in range(SEEDS):
        history = History(make_stores(), seed)
        if history.run(STEPS):
            return
    pytest.fail(f"{plant.__name__} was not found in {SEEDS} histories")
