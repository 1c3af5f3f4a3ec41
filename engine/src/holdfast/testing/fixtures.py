"""Pytest fixtures for tests on a real PostgreSQL; import them in a ``conftest.py``.

Knows: pytest, and the throw-away cluster. Must not know: what is tested.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.testing.postgres import PostgresCluster, PostgresMissing, scratch_schema


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """One cluster for all tests of a session; they are skipped where PostgreSQL is missing."""
    try:
        cluster = PostgresCluster()
    except PostgresMissing as missing:
        pytest.skip(f"needs PostgreSQL: {missing}")
    with cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """The address of an empty schema, dropped after the test."""
    with scratch_schema(postgres_cluster) as url:
        yield url
