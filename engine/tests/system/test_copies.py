"""Worlds whose files are copied, put back and lost, and whose server is put back.

Checks I4, I7, I36.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from copies_run import run_copies

pytestmark = pytest.mark.slow

FILES, SERVERS = (0, 3, 5), (0, 1, 4)
SOMETIMES = (
    "already there",
    "answer lost after commit",
    "copied",
    "error epoch_mismatch",
    "error nonce_mismatch",
    "lost",
    "moved",
    "put back",
    "request repeated later",
    "server put back",
    "told: copied",
    "told: reinitialised",
    "told: restored",
    "told: server_restored",
    "written by another process",
)


@cache
def files(seed: int) -> Counter[str]:
    return run_copies(f"copies/{seed}")


@cache
def servers(seed: int) -> Counter[str]:
    return run_copies(f"restored/{seed}", server=True)


@pytest.mark.parametrize("seed", FILES)
def test_what_any_file_has_is_done_once(seed: int) -> None:
    assert files(seed)


@pytest.mark.parametrize("seed", SERVERS)
def test_a_server_that_was_put_back_is_given_what_it_lost(seed: int) -> None:
    assert servers(seed)


@pytest.mark.parametrize("seed", [13, 40])
def test_a_world_of_files_that_was_wrong_once_is_right(seed: int) -> None:
    """Two copies of a copy had a move that their origin had never sent (13); two of them had given
    the same move different numbers (40)."""
    assert files(seed)


@pytest.mark.parametrize("seed", [13, 26])
def test_a_world_of_servers_that_was_wrong_once_is_right(seed: int) -> None:
    """What was given back had its old version again, and its giver kept the old revisions (26), or
    was told of its new ones as of damage (13)."""
    assert servers(seed)


def test_a_server_that_lost_nothing_but_outcomes_goes_on() -> None:
    """No position proves that it was put back; the number that it expects does."""
    assert run_copies("restored/310", steps=50, server=True)["told: server_restored"]


def test_everything_that_should_happen_sometimes_has_happened() -> None:
    happened = {name for seed in FILES for name in +files(seed)}
    happened |= {name for seed in SERVERS for name in +servers(seed)}
    never = [name for name in SOMETIMES if name not in happened]
    assert not never, f"blind spots: {never}"
