"""Servers on real HTTP that remember every byte they send, on both kinds of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from stores import Stores

from holdfast.server.files.offers import FilePolicy
from holdfast.testing.postgres import PostgresCluster, scratch_schema


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def cluster(request: pytest.FixtureRequest) -> PostgresCluster | None:
    """Where servers have their databases: None stands for files of SQLite."""
    if request.param == "sqlite":
        return None
    found = request.getfixturevalue("postgres_cluster")
    assert isinstance(found, PostgresCluster)
    return found


@pytest.fixture
def make_stores(cluster: PostgresCluster | None, tmp_path: Path) -> Iterator[Callable[..., Stores]]:
    """Makes such servers, each on a new database."""
    with ExitStack() as stack:

        def make(*, by_file: bool = False) -> Stores:
            folder = tmp_path / f"world-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            database: str | Path = folder / "server.db"
            if cluster is not None:
                database = stack.enter_context(scratch_schema(cluster))
            files = FilePolicy(snapshot_rows_min=1, catchup_rows_min=4) if by_file else FilePolicy()
            return stack.enter_context(Stores(folder, database, files=files))

        yield make


@pytest.fixture
def stores(make_stores: Callable[..., Stores]) -> Stores:
    return make_stores()
