"""The readers find planted faults of what waits for what, each within a few worlds.

Checks I27.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from planted import Patch, Plants

from holdfast.replica.changes import dependence, parts, seal
from holdfast.replica.inbox.freeing import Freed, Freeing
from holdfast.replica.rebase import apply

pytestmark = pytest.mark.slow

PLANTS = Plants("waits", seeds_max=24, steps=60)
plant, plant_in = PLANTS.plant, PLANTS.plant_in


@plant
def all_work_on_a_row_waits_for_what_is_before_it(patch: Patch) -> None:
    real = dependence.on_own_row

    def by_row(notes: Any, table: Any, first: int, *, without: Any, bases: Any) -> Any:
        yield from real(notes, table, first, without=without, bases=bases)
        last: dict[str, int] = {}
        for tx, key in notes.connection.execute(
            notes.program.tables[table.name].touched_keys, (0, dependence.NEVER)
        ):
            if tx >= first and key in last and last[key] not in without:
                yield tx, key, last[key]
            last[key] = tx

    patch.setattr(dependence, "on_own_row", by_row)


@plant
def nothing_waits(patch: Patch) -> None:
    patch.setattr(seal, "sealed_now", lambda *_: {})


@plant_in(18)
def a_discard_frees_nothing(patch: Patch) -> None:
    patch.setattr(Freeing, "_run", lambda *_, **__: Freed())


@plant
def a_discard_frees_what_waits_for_others_too(patch: Patch) -> None:
    from holdfast.replica.inbox.inbox import Inbox

    patch.setattr(Inbox, "numbers", lambda _self: set())


@plant_in(9)
def one_bad_row_takes_all_that_other_programs_wrote(patch: Patch) -> None:
    patch.setattr(apply, "take_apart_decided", lambda *_, **__: Counter())


@plant_in(3)
def what_moves_up_forgets_what_it_rests_on(patch: Patch) -> None:
    patch.setattr(parts, "_rest_anew", lambda *_: None)


@plant_in(3)
def a_row_is_lost_between_the_parts(patch: Patch) -> None:
    real = parts._shares

    def shares(groups: Any) -> Any:
        return [share[: max(1, len(share) - 1)] for share in real(groups)]

    patch.setattr(parts, "_shares", shares)


@pytest.mark.parametrize("name", PLANTS.bugs)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS.find(name, monkeypatch)
