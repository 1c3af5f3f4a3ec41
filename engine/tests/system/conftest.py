"""What the tests here share (`bazaar`, `world`, `chance`, `checks`, `run`) is found beside them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def other_process() -> Iterator[None]:
    """The process that writes into replicas with its own SQLite ends with the tests."""
    yield
    from shell import stop_shell

    stop_shell()
