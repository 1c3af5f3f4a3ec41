"""The power of worlds with copies: each bug of this kind that is planted is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from copies_run import run_copies
from device import Options
from planted import Patch, Plants

from holdfast.protocol.messages import Transaction
from holdfast.replica.exchange import exchanger
from holdfast.replica.identity import fork
from holdfast.replica.rebase import apply
from holdfast.server.exchange import commit, compare, exchange
from holdfast.server.exchange.histories import HistoryLost, KnownPositions, check_checkpoint
from holdfast.server.push import arrivals

pytestmark = pytest.mark.slow

FILES = Plants("copies", 8, 40, lambda: Options(devices=2), world=run_copies)
SERVERS = Plants(
    "restored", 8, 40, lambda: Options(devices=2), world=partial(run_copies, server=True)
)


@SERVERS.plant_in(0)
def acknowledged_work_is_given_up_before_a_backup_has_it(patch: Patch) -> None:
    def give_up(connection: Any, **_: Any) -> None:
        connection.execute("DELETE FROM holdfast_kept WHERE NOT again")

    patch.setattr(apply, "give_up", give_up)


@FILES.plant_in(0)
def work_is_offered_again_without_its_origin(patch: Patch) -> None:
    patch.setattr(exchanger, "origin_of", lambda _: None)


@FILES.plant_in(0)
def a_fork_drops_what_has_no_outcome(patch: Patch) -> None:
    real = fork.become_another

    def become(connection: Any, *more: Any, **options: Any) -> None:
        real(connection, *more, **options)
        connection.execute("DELETE FROM holdfast_tx WHERE state IN ('pending', 'sent')")

    patch.setattr(fork, "become_another", become)


@SERVERS.plant_in(0)
def a_fork_takes_what_was_sent_for_done(patch: Patch) -> None:
    real = fork.become_another

    def become(connection: Any, *more: Any, **options: Any) -> None:
        real(connection, *more, **options)
        connection.execute("DELETE FROM holdfast_tx WHERE state = 'sent'")

    patch.setattr(fork, "become_another", become)


@FILES.plant_in(0)
def what_is_offered_again_is_matched_by_its_number_alone(patch: Patch) -> None:
    real = arrivals._of_the_line

    def looked_for(reads: Any, line: Any, offered: Sequence[Transaction]) -> Any:
        by_number = {one.number: one for one in offered}

        class Numbers:
            def recorded(self, replica: str, numbers: Sequence[int]) -> dict[int, Any]:
                return {
                    number: dataclasses.replace(
                        found, id=bytes.fromhex(by_number[number].id), answer=None
                    )
                    for number, found in reads.recorded(replica, numbers).items()
                }

        return real(Numbers(), line, offered)  # type: ignore[arg-type]

    patch.setattr(arrivals, "_of_the_line", looked_for)


@FILES.plant_in(40)
def what_is_offered_again_is_not_found_under_another_number(patch: Patch) -> None:
    real = arrivals._relatives

    def alike(*arguments: Any) -> Any:
        return {
            number: same
            for number, found in real(*arguments).items()
            if (same := [one for one in found if one[1].number == number])
        }

    patch.setattr(arrivals, "_relatives", alike)


@FILES.plant_in(13)
def a_copy_does_not_find_what_another_one_has_sent(patch: Patch) -> None:
    patch.setattr(arrivals, "_relatives", lambda *_: {})


@SERVERS.plant_in(0)
def an_epoch_goes_on_though_its_history_is_lost(patch: Patch) -> None:
    def check(reads: Any, store: Any, checkpoint: Any, *more: Any) -> KnownPositions:
        try:
            return check_checkpoint(reads, store, checkpoint, *more)
        except HistoryLost:
            return KnownPositions(dict.fromkeys(checkpoint, 0))

    for module in (commit, compare, exchange):
        patch.setattr(module, "check_checkpoint", check)


@pytest.mark.parametrize("name", FILES.bugs)
def test_a_planted_bug_of_files_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FILES.find(name, monkeypatch)


@pytest.mark.parametrize("name", SERVERS.bugs)
def test_a_planted_bug_of_servers_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SERVERS.find(name, monkeypatch)
