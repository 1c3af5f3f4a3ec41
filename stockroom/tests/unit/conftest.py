"""Fixtures of Stockroom's unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.testing.fixtures import postgres_cluster
from holdfast.testing.postgres import PostgresCluster

__all__ = ["postgres_cluster"]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a server's database, on each store."""
    if request.param == "sqlite":
        return str(tmp_path / "server.db")
    cluster: PostgresCluster = request.getfixturevalue("postgres_cluster")
    return cluster.make_database()
