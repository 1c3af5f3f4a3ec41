"""The power of worlds that grow: each bug of this kind that is planted is found."""

from __future__ import annotations

from typing import Any

import pytest
from device import Options
from planted import Patch, Plants

from holdfast.core.digest import Digest
from holdfast.replica.changes import outbox
from holdfast.replica.migration import migrate, values
from holdfast.schema.projection import Projection
from holdfast.server.exchange import checks, exchange
from holdfast.server.feed import feed
from holdfast.server.generations import keeping, lifting
from holdfast.server.push import decide
from holdfast.server.store.sqlite import store

pytestmark = pytest.mark.slow

PLANTS = Plants("growth", 20, 80, lambda: Options(devices=3, growth=True))
plant, plant_in = PLANTS.plant, PLANTS.plant_in


@plant_in(7)
def what_is_queued_is_translated_twice(patch: Patch) -> None:
    real = migrate._Migration._grow

    def grow(self: Any, old: Any, new: Any) -> None:
        real(self, old, new)
        self._db.execute(
            "UPDATE holdfast_change_tally SET n_n = n_n + (n_n - o_n) WHERE was AND now AND tx IN "
            "(SELECT number FROM holdfast_tx WHERE state IN ('pending', 'sent'))"
        )

    patch.setattr(migrate._Migration, "_grow", grow)


@plant_in(2)
def the_digest_of_another_generation_is_kept(patch: Patch) -> None:
    real = keeping.older_digests

    def older(projections: Any, scope: Any, changes: Any) -> dict[int, Digest]:
        found = real(projections, scope, changes)
        newest = max(found, default=0)
        return dict.fromkeys(found, found[newest]) if found else found

    patch.setattr(feed, "older_digests", older)


@plant
def a_change_is_lifted_without_its_fill(patch: Patch) -> None:
    real = lifting.fill_change

    def fill(change: Any, *, lives: bool) -> Any:
        return real(change, lives=True)

    patch.setattr(decide, "fill_change", fill)


@plant_in(3)
def who_follows_is_not_told_of_new_tables(patch: Patch) -> None:
    patch.setattr(exchange, "origins", lambda *_: checks.HERE)


@plant
def an_old_transaction_is_sent_with_new_columns(patch: Patch) -> None:
    patch.setattr(outbox, "_later", lambda *_: ())


@plant
def rows_keep_their_hashes_when_the_schema_grows(patch: Patch) -> None:
    patch.setattr(values.NewColumns, "_hash", lambda *_: None)


@plant_in(5)
def direct_writes_that_wait_have_nothing_in_new_columns(patch: Patch) -> None:
    patch.setattr(store, "fill_notes", lambda *_: None)


@plant_in(3)
def a_row_is_hidden_from_an_older_generation(patch: Patch) -> None:
    real = Projection.shows

    def shows(self: Any, table: str, row: Any) -> bool:
        return real(self, table, row) and not (table == "tally" and row[0] == -2)

    patch.setattr(Projection, "shows", shows)


@plant_in(73)
def who_comes_from_a_dropped_generation_is_not_told_to_compare(patch: Patch) -> None:
    real = checks.origins

    def origins(*more: Any) -> checks.PositionGenerations:
        return checks.PositionGenerations(real(*more).scopes)

    patch.setattr(exchange, "origins", origins)


@pytest.mark.parametrize("name", PLANTS.bugs)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS.find(name, monkeypatch)
