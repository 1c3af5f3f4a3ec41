"""Planted bugs of merging: each is found within a few worlds.

In some worlds a device is damaged: it claims to have seen revisions that its rows never had.

Checks I18.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from device import Line, Options
from planted import Patch, Plants
from run import run

from holdfast.core.merging import cells, groups, merge
from holdfast.protocol.messages import ExchangeRequest
from holdfast.replica.rebase import overlay
from holdfast.server.merging import conflicts, settle

pytestmark = pytest.mark.slow

ABOVE = 1000
"""Revisions that a damaged device is ahead of its rows."""


class Damaged(Line):
    """Says now and then that it has seen what nobody has written. The same each time it says it."""

    def told(self, request: Any) -> Any:
        if not isinstance(request, ExchangeRequest):
            return request
        transactions = [
            msgspec.structs.replace(
                sent,
                changes=[
                    msgspec.structs.replace(
                        change,
                        base=change.base + ABOVE if change.base else 0,
                        bases={n: base + ABOVE if base else 0 for n, base in change.bases.items()},
                    )
                    for change in sent.changes
                ],
            )
            if sent.number % 3 == 0
            else sent
            for sent in request.transactions
        ]
        return msgspec.structs.replace(request, transactions=transactions)


def damaged() -> Options:
    return Options(devices=3, line=Damaged, damaged=True)


PLANTS = Plants("merge", seeds_max=20, steps=70)
plant, plant_in = PLANTS.plant, PLANTS.plant_in
DAMAGES = Plants("damage", seeds_max=20, steps=60, options=damaged)


@plant
def a_default_beats_a_choice(patch: Patch) -> None:
    patch.setattr(cells.Cell, "unchosen", property(lambda _: False))


@plant_in(16)
def a_conflict_stays_open_on_nothing(patch: Patch) -> None:
    patch.setattr(conflicts, "_close", lambda *_, **__: [])


@plant
def a_settlement_disposes_of_a_side_that_its_maker_has_not_seen(patch: Patch) -> None:
    real = settle._settlement

    def settlement(*what: Any) -> Any:
        return dataclasses.replace(real(*what), unseen=False)

    patch.setattr(settle, "_settlement", settlement)


@plant_in(1)
def a_settlement_writes_over_what_its_maker_has_not_seen(patch: Patch) -> None:
    patch.setattr(settle, "_moved_on", lambda *_: False)


@plant
def a_group_merges_column_by_column(patch: Patch) -> None:
    patch.setattr(merge, "_joined", lambda change: change)
    patch.setattr(merge, "_groups_change", lambda *_: True)


@plant_in(12)
def a_group_is_replayed_column_by_column(patch: Patch) -> None:
    def differing(table: Any, *rows: Any) -> Any:
        return groups.differing(msgspec.structs.replace(table, groups=()), *rows)

    patch.setattr(overlay, "differing", differing)


@DAMAGES.plant_in(14)
def a_base_above_the_row_wins(patch: Patch) -> None:
    for module in (merge, settle):
        patch.setattr(module, "base_in", lambda _row, base: base)


@pytest.mark.parametrize("name", PLANTS.bugs)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS.find(name, monkeypatch)


@pytest.mark.parametrize("name", DAMAGES.bugs)
def test_a_planted_bug_is_found_by_damage(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    DAMAGES.find(name, monkeypatch)


def test_a_damaged_device_harms_nobody() -> None:
    assert run("damage/0", steps=60, options=damaged())
