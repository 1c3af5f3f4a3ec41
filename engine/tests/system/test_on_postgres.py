"""Worlds whose server stands on PostgreSQL: right at every step, and the same again on SQLite.

What the server accepted is done again one by one on a fresh server on SQLite (I13), so that what
the two stores do otherwise shows as a difference of rows, revisions or journals.

Checks I12, I13.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from device import Options
from run import run
from servers import PostgresSchema

from holdfast.server.exchange.budgets import Budgets
from holdfast.testing.postgres import PostgresCluster, scratch_schema

pytestmark = pytest.mark.slow

WORLDS = {
    "0": Options(devices=2, budgets=Budgets(bite_changes=2)),
    "2": Options(devices=3),
    "3": Options(devices=3, sets=True),
}
SOMETIMES = (
    "answer lost after commit",
    "bulk direct write",
    "conflict opened",
    "conflict settled",
    "direct write that counts",
    "forgot removals",
    "held",
    "journal latest",
    "offers written directly",
    "push in bites",
    "refused foreign_key",
    "refused rule:bad_word",
    "refused unique",
    "reopen server",
    "revoked",
    "row moved between scopes",
    "verify",
)


def world(cluster: PostgresCluster, name: str, options: Options) -> Counter[str]:
    with scratch_schema(cluster) as url:
        return run(
            f"postgres/{name}", steps=60, options=replace(options, database=PostgresSchema(url))
        )  # fmt: skip


def test_worlds_on_postgres_come_to_rest_and_are_right(postgres_cluster: PostgresCluster) -> None:
    """And all that should happen sometimes has happened in one of them."""
    happened = Counter[str]()
    for name, options in WORLDS.items():
        happened += world(postgres_cluster, name, options)
    never = [name for name in SOMETIMES if not happened[name]]
    assert not never, f"blind spots: {never}"
