"""What the tests here share (`stores`, `canaries`, `histories`) is found beside them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.postgres import PostgresCluster, scratch_schema

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def cluster(request: pytest.FixtureRequest) -> PostgresCluster | None:
    """Where servers have their databases: None stands for files of SQLite."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgres_cluster")  # type: ignore[no-any-return]


@pytest.fixture
def make_stores(cluster: PostgresCluster | None, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes servers on real HTTP that remember every byte they send, each on a new database."""
    from stores import Stores

    from holdfast.server.files.offers import FilePolicy

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
def stores(make_stores: Callable[..., Any]) -> Any:
    return make_stores()
