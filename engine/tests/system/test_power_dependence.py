"""The readers find planted faults of what waits for what, each within a few worlds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from device import Options
from run import run

from holdfast.core.errors import HoldfastError
from holdfast.replica import apply, dependence, parts, seal
from holdfast.replica.freeing import Freed, Freeing

pytestmark = pytest.mark.slow

SEEDS_MAX = 24
STEPS = 60

Patch = pytest.MonkeyPatch
PLANTS: dict[str, Callable[[Patch], None]] = {}


def plant(put: Callable[[Patch], None]) -> Callable[[Patch], None]:
    PLANTS[put.__name__] = put
    return put


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


@plant
def a_discard_frees_nothing(patch: Patch) -> None:
    patch.setattr(Freeing, "_run", lambda *_, **__: Freed())


@plant
def a_discard_frees_what_waits_for_others_too(patch: Patch) -> None:
    from holdfast.replica.inbox import Inbox

    patch.setattr(Inbox, "numbers", lambda _self: set())


@plant
def one_bad_row_takes_all_that_other_programs_wrote(patch: Patch) -> None:
    patch.setattr(apply, "take_apart_decided", lambda *_, **__: Counter())


@plant
def what_moves_up_forgets_what_it_rests_on(patch: Patch) -> None:
    patch.setattr(parts, "_rest_anew", lambda *_: None)


@plant
def a_row_is_lost_between_the_parts(patch: Patch) -> None:
    real = parts._shares

    def shares(groups: Any) -> Any:
        return [share[: max(1, len(share) - 1)] for share in real(groups)]

    patch.setattr(parts, "_shares", shares)


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PLANTS[name](monkeypatch)
    for seed in range(SEEDS_MAX):
        try:
            run(f"waits/{seed}", steps=STEPS, options=Options(devices=3))
        except (AssertionError, HoldfastError):
            return
    pytest.fail(f"{name} was not found within {SEEDS_MAX} seeds")
