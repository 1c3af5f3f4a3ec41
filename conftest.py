"""What holds for every test of the house, before any of them is read."""

from __future__ import annotations

from collections.abc import Iterator

import properties
import pytest
import scratch_folder

from holdfast.testing.launching import launching

properties.load()
FOLDER = scratch_folder.choose()


@pytest.fixture(scope="session", autouse=True)
def commands_in_memory() -> Iterator[None]:
    """Commands are forks of a process that has imported them: the import was most of their cost."""
    with launching("holdfast", "stockroom"):
        yield


@pytest.hookimpl(tryfirst=True)  # before the marks are asked for
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is told twice: `make test-fast` is for one store and one SQLite library.

    The conformance suites, which are there to compare, run with both libraries even then.
    """
    for item in items:
        if "postgres_cluster" in getattr(item, "fixturenames", ()) or _is_second(item):
            item.add_marker(pytest.mark.slow)


def _is_second(item: pytest.Item) -> bool:
    """Whether a test of SQLite runs on PostgreSQL, or one of APSW with Python's own library."""
    chosen = getattr(item, "callspec", None)
    values = [] if chosen is None else [v for v in chosen.params.values() if isinstance(v, str)]
    return "postgres" in values or ("stdlib" in values and "conformance" not in item.path.parts)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """Leave the folder of a run that failed to be looked at."""
    if FOLDER is not None and exitstatus == pytest.ExitCode.OK:
        scratch_folder.remove(FOLDER)
