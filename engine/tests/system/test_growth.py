"""Worlds whose schema grows: the server and devices update when they like, with work under way.

Checks I4, I8, I12, I21, I32.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from device import Options
from run import run
from servers import PostgresSchema

from holdfast.testing.postgres import PostgresCluster, scratch_schema

pytestmark = pytest.mark.slow

SEEDS = (0, 4, 5, 9, 11)
SOMETIMES = (
    "filled",
    "server grew",
    "stopped: server_older",
    "stopped: upgrade_needed",
    "upgraded in conflict",
    "upgraded with held",
    "upgraded with pending",
    "upgraded with refused",
    "upgraded with sent",
)


@cache
def world(seed: int) -> Counter[str]:
    return run(f"growth/{seed}", steps=80, options=Options(devices=3, growth=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_that_grows_comes_to_rest_and_is_right(seed: int) -> None:
    assert world(seed)


@pytest.mark.parametrize("seed", [36, 69, 97, 116, 129, 216])
def test_a_world_that_was_wrong_once_is_right(seed: int) -> None:
    """A device came from the one older generation that there was, and that nobody serves (36), and
    its position was taken for one of a lost history after the next growth (97). One grew to a
    generation whose checks rows of a server that was newer still did not pass (216). A direct write
    that writes a row anew clears its new columns, too (69). A row came and went in one request, and
    nothing of it was remembered (116). A request that was turned away whole leaves its numbers free
    for others (129)."""
    assert world(seed)


def test_everything_that_should_happen_sometimes_has_happened() -> None:
    happened = {name for seed in SEEDS for name in +world(seed)}
    never = [name for name in SOMETIMES if name not in happened]
    assert not never, f"blind spots: {never}"


def test_a_world_on_postgres_grows(postgres_cluster: PostgresCluster) -> None:
    with scratch_schema(postgres_cluster) as url:
        options = Options(devices=2, growth=True, database=PostgresSchema(url))
        assert run("growth/postgres/1", steps=40, options=options)["server grew"]
