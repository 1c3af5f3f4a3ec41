"""What holds for every test of the house, before any of them is read."""

from __future__ import annotations

import properties
import pytest
import scratch_folder

properties.load()
FOLDER = scratch_folder.choose()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """Leave the folder of a run that failed to be looked at."""
    if FOLDER is not None and exitstatus == pytest.ExitCode.OK:
        scratch_folder.remove(FOLDER)
